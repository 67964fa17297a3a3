package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/o2ims/o2ims/pkg/fault"
)

// issuer judges the tokens of one issuer by one version of its settings. When they change
// another one takes its place, and with it goes all that was remembered.
//
// The IDTokenVerifier of go-oidc was the alternative for verifying. It is made for ID
// tokens: it knows one audience and no leeway, takes what RFC 8725 warns of as it comes,
// and its errors do not tell whose fault it is. Discovery is go-oidc's.
type issuer struct {
	settings   Issuer
	algorithms []jose.SignatureAlgorithm
	keys       *keys
	clock      Clock
}

func newIssuer(settings Issuer, client *http.Client, clock Clock, count func(string)) *issuer {
	i := &issuer{settings: settings, keys: newKeys(settings.URL, client, clock, count), clock: clock}
	for _, a := range settings.Algorithms {
		i.algorithms = append(i.algorithms, jose.SignatureAlgorithm(a))
	}
	return i
}

// same tells whether i was made of these settings.
func (i *issuer) same(settings Issuer) bool { return reflect.DeepEqual(i.settings, settings) }

// own returns s with defaults, sharing nothing with it.
func (s Issuer) own() Issuer {
	s = s.withDefaults()
	s.Audiences = slices.Clone(s.Audiences)
	s.Algorithms = slices.Clone(s.Algorithms)
	s.RoleNames = maps.Clone(s.RoleNames)
	s.CABundle = slices.Clone(s.CABundle)
	return s
}

// verify checks a token and returns what it comes to. The error wraps fault.Unauthenticated,
// or fault.Unavailable when the issuer's keys are not to be had.
func (i *issuer) verify(ctx context.Context, token string) (verdict, error) {
	h, err := parseHeader(token)
	if err != nil {
		return verdict{}, i.refused(err)
	}
	if !slices.Contains(i.settings.Algorithms, h.algorithm) {
		return verdict{}, i.refused(fmt.Errorf("header: algorithm %q is not accepted", clip(h.algorithm)))
	}
	signed, err := jose.ParseSignedCompact(token, i.algorithms)
	if err != nil {
		return verdict{}, i.refused(errors.New(clip(err.Error())))
	}
	payload, err := i.keys.payload(ctx, signed, h)
	if err != nil {
		return verdict{}, fmt.Errorf("token of %s: %w", i.settings.URL, err)
	}
	v, err := i.settings.judge(payload, h, i.clock.Now())
	if err != nil {
		return verdict{}, i.refused(err)
	}
	return v, nil
}

func (i *issuer) refused(err error) error {
	return fmt.Errorf("token of %s: %w: %w", i.settings.URL, err, fault.Unauthenticated)
}
