package oidcprovider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// generation is a set of keys, one for each family of algorithms, that sign at the same time.
type generation struct{ keys []jose.JSONWebKey }

func newGeneration() (generation, error) {
	var g generation
	for _, make := range []func() (crypto.Signer, error){
		func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
		func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) },
		func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P521(), rand.Reader) },
		func() (crypto.Signer, error) { _, key, err := ed25519.GenerateKey(rand.Reader); return key, err },
	} {
		private, err := make()
		if err != nil {
			return g, err
		}
		key := jose.JSONWebKey{Key: private, Use: "sig"}
		thumbprint, err := key.Thumbprint(crypto.SHA256)
		if err != nil {
			return g, err
		}
		key.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
		g.keys = append(g.keys, key)
	}
	return g, nil
}

// forAlgorithm finds the key that an algorithm signs with (RFC 7518, clause 3.1; RFC 8037).
func (g generation) forAlgorithm(algorithm string) (jose.JSONWebKey, error) {
	for _, key := range g.keys {
		switch k := key.Key.(type) {
		case *rsa.PrivateKey:
			if strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS") {
				return key, nil
			}
		case *ecdsa.PrivateKey:
			if algorithm == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Params().BitSize] {
				return key, nil
			}
		case ed25519.PrivateKey:
			if algorithm == string(jose.EdDSA) {
				return key, nil
			}
		}
	}
	return jose.JSONWebKey{}, fmt.Errorf("no key signs with algorithm %q", algorithm)
}

// published are all keys, those that sign first. The caller holds the lock.
func (p *Provider) published() jose.JSONWebKeySet {
	set := jose.JSONWebKeySet{Keys: append([]jose.JSONWebKey{}, p.keys.keys...)}
	for _, g := range p.old {
		set.Keys = append(set.Keys, g.keys...)
	}
	return set
}
