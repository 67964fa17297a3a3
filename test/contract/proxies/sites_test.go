package proxies

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/server"
	"github.com/o2ims/o2ims/pkg/settings"
	"github.com/o2ims/o2ims/test/contract/hub"
	"github.com/o2ims/o2ims/test/oidcprovider"
	"github.com/o2ims/o2ims/test/proxy"
)

// Addresses of this machine's, by who uses them.
const (
	smoAddress   = "127.0.0.5"  // clients of the proxies
	proxyAddress = "127.0.0.66" // the proxies, towards the manager
	elsewhere    = "127.0.0.7"  // somebody who knows where the manager is
)

const document = "mtls.md"

// site is a manager behind a proxy, both as one recipe of the document has them.
type site struct {
	name    string
	program proxy.Program

	demands bool // the proxy lets nobody in without a certificate
	binds   bool // the manager takes no token that is bound to none
	urls    int  // the longest URL that the proxy takes, bytes; 0: longer ones than the manager

	server *hub.Server
	config auth.Config // of the server
	proxy  *proxy.Server
	ca     []byte // PEM; trust this for the proxy
}

// recipes are what there is to try, by the text of the document.
type recipes struct {
	ingress     map[string]string                    // annotations
	optional    map[string]string                    // those that differ where certificates are optional
	controller  map[string]string                    // ingress-nginx' ConfigMap, for those
	haproxy     string                               // configuration
	verify      string                               // of the IngressController, as HAProxy spells it
	inventories map[string]apiv1alpha1.InventorySpec // by the header of their proxies
}

func readRecipes(t *testing.T) recipes {
	t.Helper()
	r := recipes{inventories: map[string]apiv1alpha1.InventorySpec{}}
	for _, block := range hub.Blocks(t, document, "yaml") {
		var object struct {
			Kind     string
			Metadata metav1.ObjectMeta
			Data     map[string]string
			Spec     struct {
				ClientTLS struct{ ClientCertificatePolicy string }
			}
		}
		if err := yaml.Unmarshal([]byte(block), &object); err != nil {
			t.Fatalf("%v in\n%s", err, block)
		}
		switch object.Kind {
		case "Ingress":
			if object.Metadata.Annotations[annotation+"auth-tls-secret"] != "" {
				r.ingress = object.Metadata.Annotations
			}
		case "ConfigMap":
			r.controller = object.Data
		case "IngressController":
			r.verify = strings.ToLower(object.Spec.ClientTLS.ClientCertificatePolicy)
		case "Inventory":
			var inventory apiv1alpha1.Inventory
			if err := yaml.UnmarshalStrict([]byte(block), &inventory); err != nil {
				t.Fatalf("%v in\n%s", err, block)
			}
			if p := inventory.Spec.Authentication.TrustedProxies; p != nil {
				r.inventories[p.Header] = inventory.Spec
			}
		case "": // annotations alone, or something else that is no object
			if !strings.HasPrefix(block, annotation) {
				continue
			}
			if err := yaml.Unmarshal([]byte(block), &r.optional); err != nil {
				t.Fatalf("%v in\n%s", err, block)
			}
		}
	}
	r.haproxy = strings.Join(hub.Blocks(t, document, "haproxy"), "")
	if r.ingress == nil || r.optional == nil || r.controller == nil || r.haproxy == "" || r.verify != "optional" || len(r.inventories) != 2 {
		t.Fatalf("docs/%s has not what this test tries: %+v", document, r)
	}
	return r
}

// sites starts every recipe.
func (w *world) startSites(t *testing.T) []*site {
	t.Helper()
	r := readRecipes(t)
	tls13 := func(o *server.Options) { o.TLSMinVersion = server.TLS13 }
	lenient := func(c *auth.Config) { c.Certificates.Required = false }
	optional := merged(r.ingress, r.optional)
	all := []*site{
		w.start(t, &site{name: "ingress-nginx", program: proxy.Nginx, demands: true, urls: 8 << 10}, r.inventories[auth.HeaderXFCC], nil,
			func(f files) string { return w.ingress(t, f, r.ingress, nil) }, tls13),
		w.start(t, &site{name: "ingress-nginx, optional", program: proxy.Nginx}, r.inventories[auth.HeaderXFCC], lenient,
			func(f files) string { return w.ingress(t, f, optional, r.controller) }),
		w.start(t, &site{name: "router", program: proxy.HAProxy, binds: true}, r.inventories[auth.HeaderHAProxy], nil,
			func(f files) string { return router(f, "optional") }, tls13),
		w.start(t, &site{name: "router, required", program: proxy.HAProxy, binds: true, demands: true}, r.inventories[auth.HeaderHAProxy], nil,
			func(f files) string { return router(f, "required") }),
		w.start(t, &site{name: "HAProxy", program: proxy.HAProxy, binds: true}, r.inventories[auth.HeaderHAProxy], nil,
			func(f files) string { return own(t, f, r.haproxy) }),
	}
	return all
}

func merged(a, b map[string]string) map[string]string {
	m := map[string]string{}
	for _, from := range []map[string]string{a, b} {
		for name, value := range from {
			m[name] = value
		}
	}
	return m
}

// files are where a proxy finds what it needs, and what it needs to know.
type files struct {
	listen   string // for its configuration
	upstream string // host:port of the manager

	certificate string // its own, with its key
	clientCA    string
	managerCA   string

	dir    string
	server *hub.Server
}

// start runs a manager with the Inventory of a recipe, and a proxy in front of it.
func (w *world) start(t *testing.T, s *site, inventory apiv1alpha1.InventorySpec, change func(*auth.Config), configuration func(files) string, options ...func(*server.Options)) *site {
	t.Helper()
	s.server = hub.Start(t, w.env.Hub, options...)
	s.config = w.callers(t, inventory)
	if change != nil {
		change(&s.config)
	}
	s.configure(t, s.config)

	f := files{dir: t.TempDir(), server: s.server, upstream: strings.TrimPrefix(s.server.URL, "https://")}
	pair := w.authority.Client("proxy", func(c *x509.Certificate) {
		c.ExtKeyUsage, c.IPAddresses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []net.IP{net.IPv4(127, 0, 0, 1)}
	})
	s.ca = w.authority.PEM()
	certificate, key, err := oidcprovider.PEM(pair)
	if err != nil {
		t.Fatal(err)
	}
	f.certificate = f.write(t, "proxy.pem", slices.Concat(certificate, key))
	f.clientCA = f.write(t, "callers-ca.crt", w.proxiesCAs)
	f.managerCA = f.write(t, "o2ims-ca.crt", s.server.CA)
	s.proxy, err = proxy.Start(t.Context(), s.program, filepath.Join(f.dir, "run"), func(listen string) string {
		f.listen = listen
		return configuration(f)
	})
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	t.Cleanup(func() {
		s.proxy.Stop()
		if t.Failed() {
			t.Logf("%s: %s", s.name, s.proxy.Log())
		}
	})
	return s
}

func (f files) write(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (s *site) configure(t *testing.T, c auth.Config) {
	t.Helper()
	if err := s.server.Callers.Configure(c); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
}

// callers are those whom an Inventory of the document lets in. What is an example's in it is
// replaced: the issuer, and the proxies' networks.
func (w *world) callers(t *testing.T, spec apiv1alpha1.InventorySpec) auth.Config {
	t.Helper()
	spec = *spec.DeepCopy()
	if len(spec.Authentication.Issuers) == 0 {
		spec.Authentication.Issuers = []apiv1alpha1.IssuerSpec{{Audiences: []string{hub.Audience}}}
	}
	spec.Authentication.Issuers[0].URL, spec.Authentication.Issuers[0].CABundleName = w.provider.Issuer, "idp-ca"
	spec.Authentication.TrustedProxies.Networks = []string{proxyAddress + "/32"}
	bundle := func(pem []byte) *corev1.ConfigMap {
		return &corev1.ConfigMap{Data: map[string]string{settings.KeyCABundle: string(pem)}}
	}
	config, err := settings.Callers(spec, settings.References{ConfigMaps: map[string]*corev1.ConfigMap{
		"idp-ca": bundle(w.provider.CA()), "callers-ca": bundle(w.managersCAs),
	}})
	if err != nil {
		t.Fatal(err)
	}
	config.Transport = hub.Transport
	return config
}

const annotation = "nginx.ingress.kubernetes.io/"

// ingress is nginx as ingress-nginx configures it, with its defaults, by an Ingress with
// these annotations and a ConfigMap of its own. It knows no others than the document has. Two things are harder than
// its defaults: clients may resume sessions by tickets, and share one connection.
//
// Source: kubernetes/ingress-nginx, rootfs/etc/nginx/template/nginx.tmpl, and what
// internal/ingress/annotations/proxyssl and authtls make of annotations.
func (w *world) ingress(t *testing.T, f files, annotations, controller map[string]string) string {
	t.Helper()
	var outer, server, inner strings.Builder
	protocols, buffers := "TLSv1 TLSv1.1 TLSv1.2", "4 8k"
	for name, value := range controller {
		switch name {
		case "http-snippet":
			outer.WriteString(value)
		case "large-client-header-buffers":
			buffers = value
		default:
			t.Fatalf("nobody has said what %s does", name)
		}
	}
	for name, value := range annotations {
		switch strings.TrimPrefix(name, annotation) {
		case "backend-protocol":
			if value != "HTTPS" {
				t.Fatalf("%s: %s", name, value)
			}
		case "proxy-ssl-secret":
			secret := w.secret(t, f.server, value)
			fmt.Fprintf(&inner, "proxy_ssl_trusted_certificate %s;\n", f.write(t, "proxy-ssl-ca.pem", secret["ca.crt"]))
			if len(secret[corev1.TLSCertKey]) > 0 && len(secret[corev1.TLSPrivateKeyKey]) > 0 {
				pair := f.write(t, "proxy-ssl.pem", slices.Concat(secret[corev1.TLSCertKey], secret[corev1.TLSPrivateKeyKey]))
				fmt.Fprintf(&inner, "proxy_ssl_certificate %s;\nproxy_ssl_certificate_key %s;\n", pair, pair)
			}
		case "proxy-ssl-verify":
			fmt.Fprintf(&inner, "proxy_ssl_verify %s;\nproxy_ssl_verify_depth 1;\n", value)
		case "proxy-ssl-name":
			fmt.Fprintf(&inner, "proxy_ssl_name %s;\nproxy_ssl_server_name off;\n", value)
		case "proxy-ssl-protocols":
			protocols = value
		case "auth-tls-secret":
			fmt.Fprintf(&server, "ssl_client_certificate %s;\nssl_verify_depth 1;\n", f.write(t, "auth-tls-ca.pem", w.secret(t, f.server, value)["ca.crt"]))
		case "auth-tls-verify-client":
			fmt.Fprintf(&server, "ssl_verify_client %s;\n", value)
		case "configuration-snippet":
			inner.WriteString(value)
		default:
			t.Fatalf("nobody has said what %s does", name)
		}
	}
	return fmt.Sprintf(`%[1]s
large_client_header_buffers %[9]s;
ssl_session_cache shared:SSL:1m;
ssl_session_tickets on;
upstream manager {
  server %[2]s;
  keepalive 1;
  keepalive_timeout 1h;
}
server {
  listen %[3]s ssl http2;
  ssl_certificate %[4]s;
  ssl_certificate_key %[4]s;
  %[5]s
  location / {
    proxy_bind %[6]s;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Original-Forwarded-For $http_x_forwarded_for;
    proxy_set_header ssl-client-verify $ssl_client_verify;
    proxy_set_header ssl-client-subject-dn $ssl_client_s_dn;
    proxy_ssl_protocols %[7]s;
    %[8]s
    proxy_pass https://manager;
  }
}
`, &outer, f.upstream, f.listen, f.certificate, &server, proxyAddress, protocols, &inner, buffers)
}

// secret is what ingress-nginx reads from the namespace of the manager: what the manager made
// itself, and what the document has one make.
func (w *world) secret(t *testing.T, s *hub.Server, name string) map[string][]byte {
	t.Helper()
	namespace, name, _ := strings.Cut(name, "/")
	switch name {
	case "o2ims-serving-ca":
		return map[string][]byte{"ca.crt": s.CA}
	case "callers-ca":
		return map[string][]byte{"ca.crt": w.proxiesCAs}
	}
	secret, err := s.Client.CoreV1().Secrets(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret.Data
}

// routerHeaders are those that OpenShift's router sets where clientTLS is configured, and by
// which of HAProxy's fetches. All but the first two are in quotes.
//
// Source: openshift/router, images/router/haproxy/conf/haproxy-config.template, frontend
// fe_sni, under ROUTER_MUTUAL_TLS_AUTH.
var routerHeaders = [][2]string{
	{"X-SSL", "ssl_fc"}, {"X-SSL-Client-Verify", "ssl_c_verify"},
	{"X-SSL-Client-Serial", "ssl_c_serial,hex"}, {"X-SSL-Client-Version", "ssl_c_version"}, {"X-SSL-Client-SHA1", "ssl_c_sha1,hex"},
	{"X-SSL-Client-DN", "ssl_c_s_dn"}, {"X-SSL-Client-CN", "ssl_c_s_dn(cn)"}, {"X-SSL-Issuer", "ssl_c_i_dn"},
	{"X-SSL-Client-NotBefore", "ssl_c_notbefore"}, {"X-SSL-Client-NotAfter", "ssl_c_notafter"}, {"X-SSL-Client-DER", "ssl_c_der,base64"},
}

// router is HAProxy as OpenShift's router configures it for a Route with termination
// reencrypt: its buffers, its headers, a server over HTTP/2 whose CA it verifies.
func router(f files, verify string) string {
	var headers strings.Builder
	for i, h := range routerHeaders {
		quote := "{+Q}"
		if i < 2 {
			quote = ""
		}
		fmt.Fprintf(&headers, "  http-request set-header %s %%%s[%s]\n", h[0], quote, h[1])
	}
	return fmt.Sprintf(`  tune.maxrewrite 8192
  tune.bufsize 32768
%[1]s
frontend fe_sni
  bind %[2]s ssl crt %[3]s ca-file %[4]s verify %[5]s alpn h2,http/1.1
%[6]s
  default_backend be_secure
backend be_secure
  option forwardfor
  http-reuse always
  server pod %[7]s ssl verify required ca-file %[8]s alpn h2,http/1.1 source %[9]s pool-purge-delay 1h
`, haproxyDefaults, f.listen, f.certificate, f.clientCA, verify, &headers, f.upstream, f.managerCA, proxyAddress)
}

const haproxyDefaults = `defaults
  mode http
  timeout connect 1m
  timeout client 1h
  timeout server 1h
`

// own is HAProxy by the configuration in the document, with our paths and addresses for its.
func own(t *testing.T, f files, text string) string {
	t.Helper()
	for _, r := range [][2]string{
		{"bind :443", "bind " + f.listen},
		{"/etc/haproxy/o2ims.pem", f.certificate},
		{"/etc/haproxy/callers-ca.crt", f.clientCA},
		{"/etc/haproxy/o2ims-ca.crt", f.managerCA},
		{"o2ims.hub.example.com:443 ", f.upstream + " source " + proxyAddress + " pool-purge-delay 1h "},
		{"option forwardfor", "option forwardfor\n  http-reuse always"},
	} {
		if strings.Count(text, r[0]) != 1 {
			t.Fatalf("docs/%s: %q is not once in\n%s", document, r[0], text)
		}
		text = strings.Replace(text, r[0], r[1], 1)
	}
	return haproxyDefaults + text
}

// client is one that calls through the proxy, and keeps its connection until the test ends.
func (s *site) client(t *testing.T, certificate *tls.Certificate, http2 bool) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.ca)
	config := &tls.Config{RootCAs: roots}
	if certificate != nil {
		// Whoever the proxy trusts: a hostile client does not look at that.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: http2, DialContext: from(smoAddress)}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// url is where the proxy serves a path.
func (s *site) url(path string) string { return "https://" + s.proxy.Address + path }

// without is a configuration that does not trust the proxy.
func without(c auth.Config) auth.Config {
	c.Proxies.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	return c
}
