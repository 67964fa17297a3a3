package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxKeys    = 128  // that an issuer may publish
	minRSABits = 2048 // RFC 7518, clause 3.3
)

// keySet is what an issuer published at one time. It does not change.
type keySet struct {
	keys []jose.JSONWebKey
	at   time.Time // when it was asked for
}

// parseKeySet reads a JWK set. Keys that are not for verifying signatures, or of a kind that
// we do not know, are left out.
//
// Source: RFC 7517, clause 5.
func parseKeySet(body []byte, at time.Time) (*keySet, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	if len(raw.Keys) > maxKeys {
		return nil, fmt.Errorf("key set: %d keys, more than %d", len(raw.Keys), maxKeys)
	}
	set := &keySet{at: at}
	for _, text := range raw.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(text, &key) == nil && key.Valid() && (key.Use == "" || key.Use == "sig") {
			set.keys = append(set.keys, key.Public())
		}
	}
	if len(set.keys) == 0 {
		return nil, errors.New("key set: no key in it that verifies signatures")
	}
	return set, nil
}

// verify returns the payload of a token that a key of the set signed. known tells whether
// the set has a key that the token may mean: without one, a newer set may.
func (s *keySet) verify(token *jose.JSONWebSignature, h header) (payload []byte, known bool) {
	for i := range s.keys {
		key := &s.keys[i]
		if h.keyID != "" && key.KeyID != h.keyID || !fits(key, h.algorithm) {
			continue
		}
		known = true
		if payload, err := token.Verify(key.Key); err == nil {
			return payload, true
		}
	}
	return nil, known
}

// fits tells whether a key may sign with an algorithm: one key, one algorithm, and for
// elliptic curves the one that belongs to it.
//
// Sources: RFC 7517, clause 4.4; RFC 7518, clauses 3.3 to 3.5; RFC 8725, clause 3.1.
func fits(key *jose.JSONWebKey, algorithm string) bool {
	if key.Algorithm != "" && key.Algorithm != algorithm {
		return false
	}
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		return (strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")) && k.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		return map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}[algorithm] == k.Params().BitSize
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}
