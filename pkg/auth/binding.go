package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/o2ims/o2ims/pkg/fault"
)

// errBinding tells the failures of certificate binding apart in metrics: a stolen token
// shows there.
var errBinding = errors.New("certificate binding")

const thumbprintMember = "x5t#S256"

// confirmation returns the SHA-256 of the certificate that a token is bound to, nil when
// it is bound to none. A confirmation that we cannot check (an empty one, or the key of
// another method such as DPoP's jkt) is an error: passing over it would make a bearer token
// of one that its issuer meant to be more.
//
// Sources: RFC 8705, clause 3.1; RFC 7800, clause 3.1.
func confirmation(claims map[string]any) (*digest, error) {
	value, present := claims["cnf"]
	if !present {
		return nil, nil
	}
	methods, ok := value.(map[string]any)
	if !ok || len(methods) != 1 {
		return nil, errors.New("cnf is no object of exactly one method")
	}
	text, ok := methods[thumbprintMember].(string)
	if !ok {
		return nil, fmt.Errorf("cnf has no text %s", thumbprintMember)
	}
	raw, err := base64url(text)
	if err != nil || len(raw) != sha256.Size {
		return nil, fmt.Errorf("cnf: %s is no base64url of %d bytes", thumbprintMember, sha256.Size)
	}
	bound := digest(raw)
	return &bound, nil
}

// checkBinding checks that whoever shows the token also shows the certificate that it is
// bound to.
//
// Source: RFC 8705, clause 3.
func checkBinding(bound *digest, required bool, certificate *x509.Certificate) error {
	switch {
	case bound == nil && required:
		return refusedBinding("the token is bound to no certificate")
	case bound == nil:
		return nil
	case certificate == nil:
		return refusedBinding("the token is bound to a certificate, and none was shown")
	}
	shown := sha256.Sum256(certificate.Raw)
	if subtle.ConstantTimeCompare(bound[:], shown[:]) != 1 {
		return refusedBinding("the token is bound to another certificate")
	}
	return nil
}

func refusedBinding(why string) error {
	return fmt.Errorf("%w: %s: %w", errBinding, why, fault.Unauthenticated)
}
