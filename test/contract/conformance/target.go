package conformance

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Target is the server to judge and what is known of it.
type Target struct {
	URL   string // https://host:port, without a path
	Token string // of a caller who may do everything

	// ReaderToken is that of a caller who may read everything but how clusters are
	// reached, and change nothing. Empty: the cases that need one are skipped.
	ReaderToken string

	// CA are the certificates in PEM to trust; nil stands for the system's.
	CA []byte

	// Majors are the versions that the server must serve, such as "v1", in ascending
	// order. It must not serve any other.
	Majors []string

	// Without names groups of cases, such as "SUB", that are not asked for: the server
	// does not claim to have what they are about.
	Without []string

	// Monitoring tells that the server has the infrastructure monitoring in the same versions.
	// Without it, no case about that runs.
	Monitoring bool

	// Only names the groups to run; nil stands for all.
	Only []string

	// NoSkip makes a case that was skipped a failure.
	NoSkip bool

	// Seed chooses the random filters.
	Seed uint64
}

// Profiles are the sets of versions a server may be configured to serve.
var profiles = map[string][]string{"v1": {"v1"}, "default": {"v1", "v2"}}

// Profile returns the majors of a profile: "v1", or "default" for all.
func Profile(name string) ([]string, error) {
	majors, known := profiles[name]
	if !known {
		return nil, fmt.Errorf("profile %q is neither v1 nor default: %w", name, fault.Invalid)
	}
	return slices.Clone(majors), nil
}

// Validate reports everything that is wrong with t.
func (t *Target) Validate() error {
	var faults []error
	bad := func(what, why string) { faults = append(faults, fmt.Errorf("%s: %s: %w", what, why, fault.Invalid)) }
	if u, err := url.Parse(t.URL); err != nil || u.Host == "" || u.Path != "" || u.Scheme != "https" && u.Scheme != "http" {
		bad("url", fmt.Sprintf("%q is not of the form https://host[:port]", t.URL))
	}
	if t.Token == "" {
		bad("token", "is needed: nothing but health is anonymous")
	}
	if t.CA != nil && !x509.NewCertPool().AppendCertsFromPEM(t.CA) {
		bad("ca", "holds no certificate in PEM")
	}
	if len(t.Majors) == 0 {
		bad("profile", "names no version")
	}
	return errors.Join(faults...)
}
