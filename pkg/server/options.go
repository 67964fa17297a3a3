package server

import (
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Options are the settings of the server, one flag each unless said otherwise.
type Options struct {
	BindAddress string // IP address to listen on; empty: all
	Port        int    // of the APIs, TLS; 0: any free one
	HealthPort  int    // of health, plain; 0: any free one

	// CertFile and KeyFile hold the certificate in PEM. They are read again when they
	// change. Without them there is a certificate of our own; see certificates.go.
	CertFile string
	KeyFile  string

	// TLSMinVersion is the lowest version of TLS that clients may speak: TLS12 or TLS13.
	// Empty stands for TLS12.
	TLSMinVersion string

	// Limits bound how often one caller may ask.
	Limits RateLimits

	// CertSecret is the name of the Secret, in Namespace, that all replicas share for a
	// certificate of our own.
	CertSecret string
	Namespace  string // set by whoever puts the process together

	// ServiceName is the name of the Service in front of us, in Namespace.
	ServiceName string

	// ExternalURL is how clients outside reach us: https://host[:port]. It is the
	// serviceUri of the O-Cloud. May be empty.
	ExternalURL string
}

// AddFlags registers the settings with their defaults.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.BindAddress, "bind-address", "", "IP address to listen on; empty for all")
	f.IntVar(&o.Port, "api-port", 8443, "port of the APIs (TLS)")
	f.IntVar(&o.HealthPort, "health-port", 8081, "port of /healthz and /readyz (plain)")
	f.StringVar(&o.CertFile, "tls-cert-file", "", "certificate chain in PEM; without it the manager has a CA of its own")
	f.StringVar(&o.KeyFile, "tls-key-file", "", "private key in PEM of the certificate in --tls-cert-file")
	f.StringVar(&o.TLSMinVersion, "tls-min-version", TLS12, "lowest version of TLS that clients may speak: 1.2 or 1.3")
	f.StringVar(&o.CertSecret, "serving-cert-secret", "o2ims-serving-cert", "Secret that holds the manager's own CA; clients trust its ca.crt")
	f.StringVar(&o.ServiceName, "service-name", "o2ims", "name of the Service in front of the manager")
	f.StringVar(&o.ExternalURL, "external-url", "", "https://host[:port] by which clients reach the APIs")
	o.Limits.AddFlags(f)
}

// Validate reports everything that is wrong with o.
func (o *Options) Validate() error {
	var faults []error
	bad := func(flag, why string) { faults = append(faults, fmt.Errorf("--%s: %s: %w", flag, why, fault.Invalid)) }
	if o.BindAddress != "" && net.ParseIP(o.BindAddress) == nil {
		bad("bind-address", fmt.Sprintf("%q is not an IP address", o.BindAddress))
	}
	if o.Port < 0 || o.Port > 65535 {
		bad("api-port", fmt.Sprintf("%d is not a port", o.Port))
	}
	if o.HealthPort < 0 || o.HealthPort > 65535 {
		bad("health-port", fmt.Sprintf("%d is not a port", o.HealthPort))
	}
	if o.Port != 0 && o.Port == o.HealthPort {
		bad("health-port", "is the port of the APIs, too")
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		bad("tls-cert-file", "--tls-key-file is needed with it, and the other way round")
	}
	if o.CertFile == "" && o.CertSecret == "" {
		bad("serving-cert-secret", "is needed without --tls-cert-file")
	}
	switch o.TLSMinVersion {
	case "", TLS12, TLS13:
	default:
		bad("tls-min-version", fmt.Sprintf("%q is neither %s nor %s", o.TLSMinVersion, TLS12, TLS13))
	}
	if err := o.Limits.Validate(); err != nil {
		faults = append(faults, err)
	}
	if o.ExternalURL != "" {
		u, err := url.Parse(o.ExternalURL)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			bad("external-url", fmt.Sprintf("%q is not of the form https://host[:port]", o.ExternalURL))
		}
	}
	return errors.Join(faults...)
}
