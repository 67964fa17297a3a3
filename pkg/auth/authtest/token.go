package authtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Audience is the one that Claims gives.
const Audience = "o2ims"

// Claims are what a token says.
type Claims map[string]any

// With returns c with one claim more, or another one.
func (c Claims) With(name string, value any) Claims {
	c = maps.Clone(c)
	c[name] = value
	return c
}

// Without returns c without one claim.
func (c Claims) Without(name string) Claims {
	c = maps.Clone(c)
	delete(c, name)
	return c
}

// Claims returns those of an access token for a reader, valid for five minutes.
//
// Source: RFC 9068, clause 2.2.
func (i *Issuer) Claims() Claims {
	now := i.now()
	return Claims{
		"iss": i.URL, "aud": Audience, "sub": "ann", "client_id": "smo", "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "roles": []string{"o2ims-reader"},
	}
}

// draft is a token before it is signed.
type draft struct {
	issuer  *Issuer
	header  map[string]any
	payload []byte
	signer  crypto.Signer
	secret  []byte // of HS256; wins over the signer
}

// Option makes a token another one than the issuer would make.
type Option func(*draft)

// Token returns a token of these claims: RS256 and at+jwt, unless options say otherwise.
func (i *Issuer) Token(claims Claims, options ...Option) string {
	i.t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		i.t.Fatal(err)
	}
	d := &draft{issuer: i, header: map[string]any{"typ": "at+jwt"}, payload: payload}
	Algorithm("RS256")(d)
	for _, o := range options {
		o(d)
	}
	header, err := json.Marshal(d.header)
	if err != nil {
		i.t.Fatal(err)
	}
	input := encode(header) + "." + encode(d.payload)
	return input + "." + encode(d.sign(input))
}

// Algorithm makes the issuer sign by another algorithm, with its key for that.
func Algorithm(name string) Option {
	return func(d *draft) {
		k := d.issuer.key(name)
		d.header["alg"], d.header["kid"], d.signer = name, k.id, k.signer
	}
}

// Header sets a field of the header to whatever is given; nil removes it.
func Header(name string, value any) Option {
	return func(d *draft) {
		if value == nil {
			delete(d.header, name)
			return
		}
		d.header[name] = value
	}
}

// Payload signs these bytes instead of the claims.
func Payload(raw string) Option { return func(d *draft) { d.payload = []byte(raw) } }

// Unsigned claims the algorithm "none", spelled as given, and leaves the signature empty.
//
// Source: RFC 8725, clause 2.1.
func Unsigned(spelling string) Option {
	return func(d *draft) { d.header["alg"], d.signer, d.secret = spelling, nil, nil }
}

// PublicKeyAsSecret signs by HS256 with the issuer's public RSA key, which everybody knows.
//
// Source: RFC 8725, clause 2.1.
func PublicKeyAsSecret() Option {
	return func(d *draft) {
		d.header["alg"], d.secret = "HS256", publicPEM(d.issuer.t, d.issuer.key("RS256").signer.Public())
	}
}

// ForeignKey signs with a key of the attacker's under the issuer's key id.
func ForeignKey() Option {
	return func(d *draft) { d.signer = d.issuer.generate(kindOf(d.header["alg"].(string))) }
}

// BroughtKey signs with a key of the attacker's and brings it along in the header.
//
// Source: RFC 7515, clause 4.1.3.
func BroughtKey() Option {
	return func(d *draft) {
		ForeignKey()(d)
		d.header["kid"] = "brought"
		d.header["jwk"] = jose.JSONWebKey{Key: d.signer.Public(), KeyID: "brought", Use: "sig"}
	}
}

// Forge returns a token with other claims and the signature that it had.
func Forge(t testing.TB, token string, change func(Claims) Claims) string {
	t.Helper()
	parts := strings.Split(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims Claims
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	if raw, err = json.Marshal(change(claims)); err != nil {
		t.Fatal(err)
	}
	return parts[0] + "." + encode(raw) + "." + parts[2]
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func (i *Issuer) key(algorithm string) key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[kindOf(algorithm)]
}

// kindOf is the kind of key that an algorithm takes; RSA for what is none.
func kindOf(algorithm string) string {
	switch algorithm {
	case "ES256":
		return "P-256"
	case "ES384":
		return "P-384"
	case "ES512":
		return "P-521"
	case "EdDSA":
		return "Ed25519"
	}
	return "RSA"
}

// sign returns the signature over input.
//
// Source: RFC 7518, clauses 3.2 to 3.5; RFC 8037, clause 3.1.
func (d *draft) sign(input string) []byte {
	if d.secret != nil {
		mac := hmac.New(sha256.New, d.secret)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
	if d.signer == nil {
		return nil
	}
	var signature []byte
	var err error
	algorithm, _ := d.header["alg"].(string)
	hash, hashed := hashedFor(algorithm, input)
	switch k := d.signer.(type) {
	case *ecdsa.PrivateKey:
		r, s, failed := ecdsa.Sign(rand.Reader, k, hashed)
		if err = failed; err == nil {
			size := (k.Params().BitSize + 7) / 8
			signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	case *rsa.PrivateKey:
		var options crypto.SignerOpts = hash
		if strings.HasPrefix(algorithm, "PS") {
			options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		}
		signature, err = k.Sign(rand.Reader, hashed, options)
	default: // Ed25519 hashes by itself
		signature, err = k.Sign(rand.Reader, []byte(input), crypto.Hash(0))
	}
	if err != nil {
		d.issuer.t.Fatal(err)
	}
	return signature
}

func hashedFor(algorithm, input string) (crypto.Hash, []byte) {
	hash := crypto.SHA256
	switch {
	case strings.HasSuffix(algorithm, "384"):
		hash = crypto.SHA384
	case strings.HasSuffix(algorithm, "512"):
		hash = crypto.SHA512
	}
	h := hash.New()
	h.Write([]byte(input))
	return hash, h.Sum(nil)
}
