package simulator

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Options are the settings of the simulator, one flag each.
type Options struct {
	Listen string // host:port

	TLS      bool
	CertFile string // with TLS; without them, a certificate is made
	KeyFile  string
	CAOut    string // where to write the certificate to trust

	ClientCAFile             string // PEM: whose client certificates count; empty: none are asked for
	RequireClientCertificate bool   // for notifications and registrations

	OAuthIssuer   string // whose tokens notifications and registrations need; empty: none
	OAuthAudience string // that a token must be for; empty: any
	CAFile        string // PEM, to trust beside the system's when the issuer is asked

	Status      int           // answer to a notification or registration
	FailRate    float64       // share of them that are refused, in varying ways
	LostAckRate float64       // share that are taken, but whose sender does not hear of it
	Delay       time.Duration // before each answer
	Seed        uint64        // of what is random

	Journal          string // file, a line of JSON for each notification and registration; empty for none
	RegistrationPath string // empty: nobody can register
	Quiet            bool
}

// AddFlags registers the settings with their defaults.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Listen, "listen", "127.0.0.1:9090", "host:port to listen on")
	f.BoolVar(&o.TLS, "tls", false, "serve with TLS, with a certificate of its own unless one is given")
	f.StringVar(&o.CertFile, "tls-cert-file", "", "certificate in PEM")
	f.StringVar(&o.KeyFile, "tls-key-file", "", "private key in PEM")
	f.StringVar(&o.CAOut, "tls-ca-out", "", "write the certificate that clients must trust to this file")
	f.StringVar(&o.ClientCAFile, "client-ca-file", "", "ask for client certificates that these, in PEM, have signed")
	f.BoolVar(&o.RequireClientCertificate, "require-client-certificate", false, "refuse notifications and registrations without a client certificate")
	f.StringVar(&o.OAuthIssuer, "oauth-issuer", "", "refuse notifications and registrations without a bearer token (JWT) of this issuer")
	f.StringVar(&o.OAuthAudience, "oauth-audience", "", "audience that a token must be for; empty for any")
	f.StringVar(&o.CAFile, "ca-file", "", "certificates in PEM to trust when the issuer is asked, beside the system's")
	f.IntVar(&o.Status, "status", http.StatusNoContent, "HTTP status that answers a notification or registration")
	f.Float64Var(&o.FailRate, "fail-rate", 0, "share of notifications and registrations to refuse, from 0 to 1")
	f.Float64Var(&o.LostAckRate, "lost-ack-rate", 0, "share of notifications and registrations to take without the sender hearing of it, from 0 to 1")
	f.DurationVar(&o.Delay, "delay", 0, "how long to wait before each answer")
	f.Uint64Var(&o.Seed, "seed", 0, "of what is random; 0 takes one by chance and prints it")
	f.StringVar(&o.Journal, "journal", "", "file to append every notification and registration to, a line of JSON each")
	f.StringVar(&o.RegistrationPath, "registration-path", "/registration", "path at which an O-Cloud registers")
	f.BoolVar(&o.Quiet, "quiet", false, "do not print notifications and registrations")
}

// Validate reports everything that is wrong with o.
func (o *Options) Validate() error {
	var faults []error
	bad := func(flag string, value any, want string) {
		faults = append(faults, fmt.Errorf("--%s is %v, want %s: %w", flag, value, want, fault.Invalid))
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		bad("listen", o.Listen, "host:port")
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		bad("tls-cert-file", o.CertFile, "it together with --tls-key-file")
	}
	if !o.TLS && (o.CertFile != "" || o.CAOut != "" || o.ClientCAFile != "") {
		bad("tls", o.TLS, "true when a certificate is given or wanted")
	}
	if o.RequireClientCertificate && o.ClientCAFile == "" {
		bad("require-client-certificate", true, "--client-ca-file with it")
	}
	if u, err := url.Parse(o.OAuthIssuer); o.OAuthIssuer != "" && (err != nil || u.Host == "") {
		bad("oauth-issuer", o.OAuthIssuer, "a URL")
	}
	if o.OAuthAudience != "" && o.OAuthIssuer == "" {
		bad("oauth-audience", o.OAuthAudience, "--oauth-issuer with it")
	}
	if o.Status < 200 || o.Status > 599 {
		bad("status", o.Status, "200 to 599")
	}
	if p := o.RegistrationPath; p != "" && (!strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/") || p == journalPath) {
		bad("registration-path", p, "a path such as /registration")
	}
	for flag, rate := range map[string]float64{"fail-rate": o.FailRate, "lost-ack-rate": o.LostAckRate} {
		if rate < 0 || rate > 1 {
			bad(flag, rate, "0 to 1")
		}
	}
	return errors.Join(faults...)
}
