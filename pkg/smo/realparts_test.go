package smo

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/smo/simulator"
	"github.com/o2ims/o2ims/test/oidcprovider"
)

// reality is a certified OpenID provider, and an SMO that wants its tokens and a client
// certificate.
type reality struct {
	*testing.T
	provider *oidcprovider.Provider
	url      string // of the SMO
	ca       []byte // of both, and of the provider's next certificate
	client   *Client
	asNobody *http.Client // may look
}

func newReality(t *testing.T, clients ...oidcprovider.Client) *reality {
	t.Helper()
	if testing.Short() {
		t.Skip("a real OpenID provider")
	}
	p, err := oidcprovider.Start(t.Context(), oidcprovider.Options{Dir: t.TempDir(), Progress: t.Output(), Audience: "smo", Clients: clients})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	r := &reality{T: t, provider: p}
	smoCA := r.startSMO()
	r.ca = bytes.Join([][]byte{smoCA, p.CA(), p.NextCA()}, nil)
	r.client = client(t, withTLS, Parts{})
	roots, err := r.client.roots(smoCA)
	if err != nil {
		t.Fatal(err)
	}
	r.asNobody = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	return r
}

// startSMO runs what `o2ims smo` runs, and returns the certificate to trust.
func (r *reality) startSMO() []byte {
	r.Helper()
	dir := r.TempDir()
	write := func(name string, text []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			r.Fatal(err)
		}
		return file
	}
	o := simulator.Options{
		Listen: "127.0.0.1:0", Status: http.StatusNoContent, Quiet: true, RegistrationPath: "/registration",
		TLS: true, CAOut: filepath.Join(dir, "smo.pem"),
		ClientCAFile: write("clients.pem", r.provider.ClientCA()), RequireClientCertificate: true,
		OAuthIssuer: r.provider.Issuer, OAuthAudience: "smo", CAFile: write("issuer.pem", append(r.provider.CA(), r.provider.NextCA()...)),
	}
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- simulator.Run(ctx, o, in)
		in.Close()
	}()
	r.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.Errorf("SMO: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if r.url = regexp.MustCompile(`https://[^, ]+`).FindString(line); err != nil || r.url == "" {
		r.Fatalf("SMO says %q, %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	ca, err := os.ReadFile(o.CAOut)
	if err != nil {
		r.Fatal(err)
	}
	return ca
}

func (r *reality) certificate(name string) *tls.Certificate {
	r.Helper()
	certificate, err := r.provider.IssueClient(name)
	if err != nil {
		r.Fatal(err)
	}
	return &certificate
}

func (r *reality) settings(certificate *tls.Certificate, oauth OAuth) Settings {
	oauth.Issuer = r.provider.Issuer
	return Settings{CABundle: r.ca, Certificate: certificate, OAuth: &oauth, Hosts: []string{strings.TrimPrefix(r.url, "https://")}}
}

// registered returns what the SMO shows about whom it took a registration from last.
func (r *reality) registered() simulator.Registration {
	r.Helper()
	response, err := r.asNobody.Get(r.url + "/registration/" + oCloud)
	if err != nil {
		r.Fatal(err)
	}
	defer response.Body.Close()
	var shown simulator.Registration
	if err := json.NewDecoder(response.Body).Decode(&shown); err != nil {
		r.Fatal(err)
	}
	return shown
}

// TestRegisterWithARealProvider registers by each way to prove who one is. Tokens are bound
// to the certificate, and the SMO checks that.
func TestRegisterWithARealProvider(t *testing.T) {
	r := newReality(t,
		oidcprovider.Client{ID: "basic", Secret: "s:/+&%", Bound: true, Scopes: []string{"role:o2ims-admin"}},
		oidcprovider.Client{ID: "body", Secret: "in the body", Auth: oidcprovider.Body, Bound: true},
		oidcprovider.Client{ID: "tls.example.net", Auth: oidcprovider.TLS, Bound: true},
	)
	for n, tc := range []struct {
		oauth OAuth
		err   string
	}{
		{oauth: OAuth{ClientID: "basic", ClientSecret: "s:/+&%", Scopes: []string{"role:o2ims-admin"}}},
		{oauth: OAuth{ClientID: "body", ClientSecret: "in the body", AuthStyle: "body"}},
		{oauth: OAuth{ClientID: "tls.example.net", AuthStyle: "tls"}},
		{oauth: OAuth{ClientID: "basic", ClientSecret: "wrong"}, err: "answered 401 invalid_client"},
		{oauth: OAuth{ClientID: "nobody", ClientSecret: "s:/+&%"}, err: "answered 401 invalid_client"},
		{oauth: OAuth{ClientID: "body", ClientSecret: "in the body", AuthStyle: "tls"}, err: "invalid_client"},
	} {
		configure(t, r.client, r.settings(r.certificate("tls.example.net"), tc.oauth))
		status, err := r.client.Register(t.Context(), registration(r.url+"/registration"))
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), strings.TrimPrefix(r.provider.Issuer, "https://")) {
				t.Errorf("%+v: %v, want %q and the issuer's host", tc.oauth, err, tc.err)
			}
			continue
		}
		if err != nil || status != http.StatusNoContent {
			t.Errorf("%+v: %d, %v, want 204", tc.oauth, status, err)
			continue
		}
		if got := r.registered(); got.Client != tc.oauth.ClientID || !strings.Contains(got.Certificate, "tls.example.net") || got.Times != n+1 {
			t.Errorf("%+v: the SMO shows %+v", tc.oauth, got)
		}
	}
	configure(t, r.client, r.settings(nil, OAuth{ClientID: "basic", ClientSecret: "s:/+&%"}))
	if status, err := r.client.Register(t.Context(), registration(r.url+"/registration")); err == nil {
		t.Errorf("without a certificate: %d, want an error", status)
	}
	configure(t, r.client, r.settings(r.certificate("tls.example.net"), OAuth{ClientID: "tls.example.net", AuthStyle: "tls"}))
	if status, err := r.client.Deregister(t.Context(), registration(r.url+"/registration")); err != nil || status != http.StatusNoContent {
		t.Errorf("deregistration: %d, %v, want 204", status, err)
	}
}

// TestRotationWithARealProvider changes everything by which the two know each other while
// notifications are sent all the time. Tokens are bound to the certificate of the moment.
func TestRotationWithARealProvider(t *testing.T) {
	r := newReality(t, oidcprovider.Client{ID: "o-cloud", Secret: "first", Bound: true, Lifetime: 5 * time.Minute})
	secret := "first"
	replace := func() { // the certificate, so that a new token is needed
		configure(t, r.client, r.settings(r.certificate("o-cloud"), OAuth{ClientID: "o-cloud", ClientSecret: secret}))
	}
	replace()
	l := newLoad(t, r.client, func() string { return r.url + "/callback" })
	l.body, l.status = `{"notificationId":"1","notificationEventType":0}`, http.StatusNoContent
	l.begin()
	l.goesOn("the first certificate and secret")
	replace()
	l.goesOn("the second certificate")

	secret = "second"
	if err := r.provider.SetSecret(t.Context(), "o-cloud", secret); err != nil {
		t.Fatal(err)
	}
	l.goesOn("the provider knows the second secret alone")
	replace()
	l.goesOn("the second secret")

	for _, change := range []struct {
		name   string
		rotate func(context.Context) error
	}{
		{"signing keys", r.provider.RotateKeys}, {"the provider's certificate", r.provider.RotateCertificate}, {"old signing keys go", r.provider.RetireKeys},
	} {
		if err := change.rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.goesOn(change.name + ", old token")
		replace()
		l.goesOn(change.name + ", new token")
	}
	fmt.Fprintf(t.Output(), "%d notifications\n", l.done)
}
