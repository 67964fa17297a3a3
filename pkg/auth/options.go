package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Options are the settings of authentication.
type Options struct {
	// Audiences are those for which Kubernetes tokens must have been issued.
	Audiences []string
}

// DefaultAudience is the audience that tokens for our APIs carry:
// kubectl create token smo --audience=o2ims.
const DefaultAudience = "o2ims"

// AddFlags registers the settings with their defaults.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.Audiences, "token-audiences", []string{DefaultAudience},
		"audiences for which Kubernetes tokens must have been issued; add the apiserver's own to accept the tokens that pods are given by default")
}

// Validate reports everything that is wrong with o.
func (o *Options) Validate() error {
	var faults []error
	if len(o.Audiences) == 0 {
		faults = append(faults, fmt.Errorf("--token-audiences: at least one is needed: %w", fault.Invalid))
	}
	if slices.ContainsFunc(o.Audiences, func(a string) bool { return strings.TrimSpace(a) == "" }) {
		faults = append(faults, fmt.Errorf("--token-audiences: an audience is empty: %w", fault.Invalid))
	}
	return errors.Join(faults...)
}
