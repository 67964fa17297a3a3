package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/auth/authtest"
	"github.com/o2ims/o2ims/test/oidcprovider"
)

// configurations answer a request with their own name.
var configurations = map[string]func(listen, certificate string) string{
	Nginx.String(): func(listen, certificate string) string {
		return fmt.Sprintf("server { listen %s ssl; ssl_certificate %s; ssl_certificate_key %s; location / { return 200 nginx; } }", listen, certificate, certificate)
	},
	HAProxy.String(): func(listen, certificate string) string {
		return fmt.Sprintf(`defaults
  mode http
  timeout client 1m
frontend f
  bind %s ssl crt %s
  http-request return status 200 content-type text/plain string haproxy`, listen, certificate)
	},
}

func TestStart(t *testing.T) {
	if testing.Short() {
		t.Skip("real proxies")
	}
	ca := authtest.NewCA(t, "proxies", time.Now)
	certificate, key, err := oidcprovider.PEM(ca.Client("proxy", func(c *x509.Certificate) {
		c.ExtKeyUsage, c.IPAddresses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []net.IP{net.IPv4(127, 0, 0, 1)}
	}))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "proxy.pem")
	if err := os.WriteFile(file, slices.Concat(certificate, key), 0o600); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}

	for _, p := range []Program{Nginx, HAProxy} {
		t.Run(p.String(), func(t *testing.T) {
			if version, err := p.Version(t.Context()); err != nil || !strings.Contains(strings.ToLower(version), p.String()) {
				t.Errorf("version %q, %v", version, err)
			}
			s, err := Start(t.Context(), p, filepath.Join(t.TempDir(), "new"), func(listen string) string { return configurations[p.String()](listen, file) })
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Stop)
			response, err := client.Get("https://" + s.Address)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); err != nil || string(body) != p.String() {
				t.Errorf("%s, %v, want %s", body, err, p)
			}
			s.Stop()
			s.Stop()
			if _, err := client.Get("https://" + s.Address); err == nil {
				t.Error("it answers after its end")
			}

			s, err = Start(t.Context(), p, t.TempDir(), func(string) string { return "nonsense;" })
			if err == nil {
				s.Stop()
			}
			if err == nil || !strings.Contains(err.Error(), "nonsense") {
				t.Errorf("error = %v, want what is wrong with the configuration", err)
			}
		})
	}
}
