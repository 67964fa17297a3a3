package tokens

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // crypto.SHA256
	_ "crypto/sha512" // crypto.SHA384 and crypto.SHA512
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// draft is a JWT in the making: what no library would sign, too.
type draft struct {
	header, claims map[string]any
	key            any // *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey, or []byte for HMAC
	signs          string

	// What the parts are, in JSON, whatever the maps say; nil: what they say.
	rawHeader, rawClaims []byte
}

// edit changes a draft.
type edit func(*draft)

func claim(name string, value any) edit { return func(d *draft) { d.claims[name] = value } }
func without(name string) edit          { return func(d *draft) { delete(d.claims, name) } }
func head(name string, value any) edit  { return func(d *draft) { d.header[name] = value } }
func headless(name string) edit         { return func(d *draft) { delete(d.header, name) } }
func rawHeader(text string) edit        { return func(d *draft) { d.rawHeader = []byte(text) } }
func rawClaims(text string) edit        { return func(d *draft) { d.rawClaims = []byte(text) } }

// replaced puts something into the JSON of the claims, as text.
func replaced(from, to string) edit {
	return func(d *draft) { d.rawClaims = []byte(strings.Replace(string(jsonOf(d.claims)), from, to, 1)) }
}

// signedWith signs with another key than the header's algorithm has, or by another algorithm
// than the header says.
func signedWith(key any, algorithm string) edit {
	return func(d *draft) { d.key, d.signs = key, algorithm }
}

// key signs with a key of the issuer, as an honest token does.
func key(k jose.JSONWebKey, algorithm string) edit {
	return func(d *draft) {
		d.header["alg"], d.header["kid"] = algorithm, k.KeyID
		d.key, d.signs = k.Key, algorithm
	}
}

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

// token is a token that the issuer would give out, with changes.
func (w *world) token(edits ...edit) string {
	d := &draft{
		header: map[string]any{"typ": "at+jwt"},
		claims: map[string]any{
			"iss": w.provider.Issuer, "aud": audience, "sub": "smo", "client_id": "smo", "jti": rand.Text(),
			"iat": in(-time.Second), "exp": in(10 * time.Minute), "scope": "o2ims.read", "roles": []string{"o2ims-reader"},
		},
	}
	key(w.keys["RS256"], "RS256")(d)
	for _, e := range edits {
		e(d)
	}
	return d.compact()
}

func (d *draft) compact() string {
	header, claims := d.rawHeader, d.rawClaims
	if header == nil {
		header = jsonOf(d.header)
	}
	if claims == nil {
		claims = jsonOf(d.claims)
	}
	input := encode(header) + "." + encode(claims)
	return input + "." + encode(sign(d.signs, d.key, input))
}

func jsonOf(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // what we put in ourselves
	}
	return text
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// sign signs as RFC 7518 says, clause 3; by algorithm "none" with nothing.
func sign(algorithm string, key any, input string) []byte {
	if algorithm == "none" {
		return nil
	}
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512, "DSA": crypto.SHA512}[algorithm[2:]]
	sum := hash.New()
	sum.Write([]byte(input)) // never fails
	digest := sum.Sum(nil)
	signature, err := func() ([]byte, error) {
		switch k := key.(type) {
		case []byte:
			mac := hmac.New(hash.New, k)
			mac.Write([]byte(input)) // never fails
			return mac.Sum(nil), nil
		case *rsa.PrivateKey:
			if strings.HasPrefix(algorithm, "PS") {
				return rsa.SignPSS(rand.Reader, k, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
			}
			return rsa.SignPKCS1v15(rand.Reader, k, hash, digest)
		case *ecdsa.PrivateKey:
			r, s, err := ecdsa.Sign(rand.Reader, k, digest)
			return joined(r, s, k), err
		case ed25519.PrivateKey:
			return ed25519.Sign(k, []byte(input)), nil
		}
		return nil, fmt.Errorf("no key of type %T signs", key)
	}()
	if err != nil {
		panic(err) // our own keys fit
	}
	return signature
}

// joined is a signature as RFC 7518 has it, clause 3.4.
func joined(r, s *big.Int, key *ecdsa.PrivateKey) []byte {
	size := (key.Params().BitSize + 7) / 8
	raw := make([]byte, 2*size)
	r.FillBytes(raw[:size])
	s.FillBytes(raw[size:])
	return raw
}

// parts splits a token; join puts parts together.
func parts(token string) []string    { return strings.Split(token, ".") }
func join(segments ...string) string { return strings.Join(segments, ".") }

// publicOf is the public part of a key.
func publicOf(k jose.JSONWebKey) jose.JSONWebKey { return k.Public() }
