package tokens

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// algorithms are attacks on how a token is signed.
func (w *world) algorithms() []attempt {
	good := w.token()
	rsaKey := w.keys["RS256"]
	public, _ := rsaKey.Public().Key.(*rsa.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err) // an RSA key can be encoded
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	asPKCS1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(public)})
	asJWK, err := json.Marshal(rsaKey.Public())
	if err != nil {
		panic(err) // a JWK can be encoded
	}
	by := func(algorithm string) string { return w.token(key(w.keys[algorithm], algorithm)) }
	as := func(algorithm string, edits ...edit) string {
		return w.token(append([]edit{head("alg", algorithm)}, edits...)...)
	}
	symmetric := func(algorithm string, secret []byte) string {
		return as(algorithm, signedWith(secret, algorithm))
	}
	unsigned := signedWith(nil, "none")
	ec := w.token(key(w.keys["ES256"], "ES256"))

	return []attempt{
		{"AUTH-001", letIn, "RS256", "RFC 7518, 3.1", bearer(by("RS256"))},
		{"AUTH-002", letIn, "RS384", "RFC 7518, 3.1", bearer(by("RS384"))},
		{"AUTH-003", letIn, "RS512", "RFC 7518, 3.1", bearer(by("RS512"))},
		{"AUTH-004", letIn, "PS256", "RFC 7518, 3.1", bearer(by("PS256"))},
		{"AUTH-005", letIn, "PS384", "RFC 7518, 3.1", bearer(by("PS384"))},
		{"AUTH-006", letIn, "PS512", "RFC 7518, 3.1", bearer(by("PS512"))},
		{"AUTH-007", letIn, "ES256", "RFC 7518, 3.1", bearer(by("ES256"))},
		{"AUTH-008", letIn, "ES384", "RFC 7518, 3.1", bearer(by("ES384"))},
		{"AUTH-009", letIn, "ES512", "RFC 7518, 3.1", bearer(by("ES512"))},
		{"AUTH-010", letIn, "EdDSA", "RFC 8037, 3.1", bearer(by("EdDSA"))},
		{"AUTH-011", letIn, "the provider's own token", "RFC 9068, 2", bearer(w.issued.basic)},

		{"AUTH-012", notKnown, "alg none", "RFC 8725, 3.2; RFC 9068, 4", bearer(as("none", unsigned))},
		{"AUTH-013", notKnown, "alg None", "RFC 8725, 3.2", bearer(as("None", unsigned))},
		{"AUTH-014", notKnown, "alg NONE", "RFC 8725, 3.2", bearer(as("NONE", unsigned))},
		{"AUTH-015", notKnown, "alg nOnE", "RFC 8725, 3.2", bearer(as("nOnE", unsigned))},
		{"AUTH-016", notKnown, "alg none with a signature that fits RS256", "RFC 8725, 3.2", bearer(as("none"))},
		{"AUTH-017", notKnown, "no alg", "RFC 7515, 4.1.1", bearer(w.token(headless("alg")))},
		{"AUTH-018", notKnown, "an empty alg", "RFC 7515, 4.1.1", bearer(as(""))},
		{"AUTH-019", notKnown, "alg is a number", "RFC 7515, 4.1.1", bearer(w.token(head("alg", 256)))},
		{"AUTH-020", notKnown, "alg is a list", "RFC 7515, 4.1.1", bearer(w.token(head("alg", []string{"RS256"})))},
		{"AUTH-021", notKnown, "alg rs256, for names are case-sensitive", "RFC 7515, 4.1.1", bearer(as("rs256"))},
		{"AUTH-022", notKnown, "alg with a space", "RFC 7515, 4.1.1", bearer(as("RS256 "))},
		{"AUTH-023", notKnown, "HS256 with the public key in PEM for a secret", "RFC 8725, 2.1", bearer(symmetric("HS256", asPEM))},
		{"AUTH-024", notKnown, "HS256 with the PEM less its line end", "RFC 8725, 2.1", bearer(symmetric("HS256", asPEM[:len(asPEM)-1]))},
		{"AUTH-025", notKnown, "HS256 with the public key in PKCS #1 PEM", "RFC 8725, 2.1", bearer(symmetric("HS256", asPKCS1))},
		{"AUTH-026", notKnown, "HS256 with the public key in DER", "RFC 8725, 2.1", bearer(symmetric("HS256", der))},
		{"AUTH-027", notKnown, "HS256 with the public JWK", "RFC 8725, 2.1", bearer(symmetric("HS256", asJWK))},
		{"AUTH-028", notKnown, "HS256 with the modulus", "RFC 8725, 2.1", bearer(symmetric("HS256", public.N.Bytes()))},
		{"AUTH-029", notKnown, "HS512 with the public key in PEM", "RFC 8725, 2.1", bearer(symmetric("HS512", asPEM))},
		{"AUTH-030", notKnown, "HS256 with the kid for a secret", "RFC 8725, 3.5", bearer(symmetric("HS256", []byte(rsaKey.KeyID)))},
		{"AUTH-031", notKnown, "HS256 with an empty secret", "RFC 8725, 3.5", bearer(symmetric("HS256", []byte{}))},
		{"AUTH-032", notKnown, "says PS256, signed by RS256", "RFC 8725, 3.1", bearer(as("PS256"))},
		{"AUTH-033", notKnown, "says RS256, signed by PS256", "RFC 8725, 3.1", bearer(w.token(signedWith(rsaKey.Key, "PS256")))},
		{"AUTH-034", notKnown, "says RS512, signed by RS256", "RFC 8725, 3.1", bearer(as("RS512"))},
		{"AUTH-035", notKnown, "ES256 with the kid of an RSA key", "RFC 8725, 3.1", bearer(as("ES256"))},
		{"AUTH-036", notKnown, "ES384 with a key of P-256", "RFC 7518, 3.4", bearer(w.token(key(w.keys["ES256"], "ES384")))},
		{"AUTH-037", notKnown, "ES256 with a signature in ASN.1", "RFC 7518, 3.4", bearer(w.asn1())},
		{"AUTH-038", notKnown, "ES256 with a signature of zeros", "RFC 7518, 3.4", bearer(join(parts(ec)[0], parts(ec)[1], encode(make([]byte, 64))))},
		{"AUTH-039", notKnown, "ES256 with a signature of the order of the curve", "RFC 7518, 3.4", bearer(join(parts(ec)[0], parts(ec)[1], encode(orders())))},
		{"AUTH-040", notKnown, "an algorithm that nobody knows", "RFC 7515, 5.2", bearer(as("RS1"))},
		{"AUTH-041", notKnown, "ES256K", "RFC 8725, 3.1", bearer(as("ES256K"))},
		{"AUTH-042", notKnown, "signed by somebody else", "RFC 7515, 5.2", bearer(w.token(signedWith(w.bait.key.Key, "RS256")))},
		{"AUTH-043", notKnown, "one bit of the signature turned", "RFC 7515, 5.2", bearer(turned(good))},
		{"AUTH-044", notKnown, "no signature", "RFC 7515, 5.2", bearer(join(parts(good)[0], parts(good)[1], ""))},
		{"AUTH-045", notKnown, "the signature of another token", "RFC 7515, 5.2", bearer(join(parts(good)[0], parts(w.token(claim("roles", []string{"o2ims-admin"})))[1], parts(good)[2]))},
		{"AUTH-046", notKnown, "the header of another token", "RFC 7515, 5.2", bearer(join(parts(by("PS256"))[0], parts(good)[1], parts(good)[2]))},
		{"AUTH-047", notKnown, "an algorithm that is not among those of the issuer", "RFC 8725, 3.1", bearer(w.token(claim("realm_access", map[string]any{"roles": []string{"o2ims-reader"}}))).at(nested)},
	}
}

// asn1 is a token whose signature is right, and in the form that certificates have.
func (w *world) asn1() string {
	token := parts(w.token(key(w.keys["ES256"], "ES256")))
	private, _ := w.keys["ES256"].Key.(*ecdsa.PrivateKey)
	digest := sha256.Sum256([]byte(join(token[0], token[1])))
	signature, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
	if err != nil {
		panic(err) // the key is good
	}
	return join(token[0], token[1], encode(signature))
}

// orders is a signature of r = s = n.
func orders() []byte {
	n, _ := new(big.Int).SetString("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551", 16)
	return append(n.Bytes(), n.Bytes()...)
}

func turned(token string) string {
	signature, err := base64.RawURLEncoding.DecodeString(parts(token)[2])
	if err != nil {
		panic(err) // ours
	}
	signature[10] ^= 1
	return join(parts(token)[0], parts(token)[1], encode(signature))
}

// keySelection are attacks on which key verifies a token.
func (w *world) keySelection() []attempt {
	evil := w.bait.key
	forged := func(edits ...edit) string {
		return w.token(append([]edit{key(evil, "RS256")}, edits...)...)
	}
	kid := func(id any) string { return w.token(head("kid", id)) }
	certificate := w.people.mallory.base64()
	ours := head("kid", w.keys["RS256"].KeyID)
	return []attempt{
		{"AUTH-048", letIn, "the kid of the key", "RFC 7515, 4.1.4", bearer(w.token())},
		{"AUTH-049", letIn, "no kid, where one key fits", "RFC 7515, 4.1.4", bearer(w.token(headless("kid")))},
		{"AUTH-050", letIn, "a good kid, and a jku that is not looked at", "RFC 7515, 4.1.2", bearer(w.token(head("jku", w.bait.url)))},

		{"AUTH-051", notKnown, "a kid that nobody has", "RFC 7515, 4.1.4", bearer(kid("nobody's"))},
		{"AUTH-052", notKnown, "the kid of another key of the issuer", "RFC 7515, 4.1.4", bearer(kid(w.keys["ES256"].KeyID))},
		{"AUTH-053", notKnown, "a kid in another case", "RFC 7515, 4.1.4", bearer(kid(strings.ToUpper(w.keys["RS256"].KeyID)))},
		{"AUTH-054", notKnown, "a kid that is a path", "RFC 8725, 3.10", bearer(w.token(head("kid", "../../../../dev/null"), head("alg", "HS256"), signedWith([]byte{}, "HS256")))},
		{"AUTH-055", notKnown, "a kid that is a URL", "RFC 8725, 3.10", bearer(forged(head("kid", w.bait.url)))},
		{"AUTH-056", notKnown, "a kid that is SQL", "RFC 8725, 3.10", bearer(kid("x' UNION SELECT 'key' --"))},
		{"AUTH-057", notKnown, "a kid with a line end", "RFC 8725, 3.10", bearer(kid("x\r\nlevel=INFO msg=forged"))},
		{"AUTH-058", notKnown, "a kid that is a number", "RFC 7515, 4.1.4", bearer(kid(1))},
		{"AUTH-059", notKnown, "an empty kid", "RFC 7515, 4.1.4", bearer(kid(""))},
		{"AUTH-060", notKnown, "a kid of 3 kB", "RFC 8725, 3.10", bearer(kid(strings.Repeat("k", 3000)))},
		{"AUTH-061", notKnown, "jku of the attacker's keys", "RFC 8725, 3.10", bearer(forged(head("jku", w.bait.url)))},
		{"AUTH-062", notKnown, "jku of the attacker's keys, and our kid", "RFC 8725, 3.10", bearer(forged(head("jku", w.bait.url), ours))},
		{"AUTH-063", notKnown, "x5u of the attacker's certificate", "RFC 8725, 3.10", bearer(forged(head("x5u", w.bait.url)))},
		{"AUTH-064", notKnown, "jwk, the attacker's own", "RFC 7515, 4.1.3; CVE-2018-0114", bearer(forged(head("jwk", evil.Public())))},
		{"AUTH-065", notKnown, "jwk, the attacker's own, and our kid", "RFC 7515, 4.1.3", bearer(forged(head("jwk", evil.Public()), ours))},
		{"AUTH-066", notKnown, "jwk, the attacker's own, and no kid", "RFC 7515, 4.1.3", bearer(forged(head("jwk", evil.Public()), headless("kid")))},
		{"AUTH-067", notKnown, "x5c, the attacker's own", "RFC 7515, 4.1.6", bearer(forged(head("x5c", []string{certificate})))},
		{"AUTH-068", notKnown, "a key that the issuer has withdrawn", "RFC 8725, 3.5", bearer(w.token(key(w.retired, "RS256")))},
		{"AUTH-069", notKnown, "our key, told to be the attacker's by iss and jku", "RFC 8725, 3.8", bearer(forged(claim("iss", strings.TrimSuffix(w.bait.url, "/jwks")), head("jku", w.bait.url)))},
	}
}

// headers are attacks by what else is in a header.
func (w *world) headers() []attempt {
	with := func(name string, value any) shot { return bearer(w.token(head(name, value))) }
	kid := w.keys["RS256"].KeyID
	return []attempt{
		{"AUTH-070", letIn, "type at+jwt", "RFC 9068, 2.1", with("typ", "at+jwt")},
		{"AUTH-071", letIn, "type application/at+jwt", "RFC 9068, 2.1", with("typ", "application/at+jwt")},
		{"AUTH-072", letIn, "type JWT, as most issuers say", "RFC 7519, 5.1", with("typ", "JWT")},
		{"AUTH-073", letIn, "no type", "RFC 7519, 5.1", bearer(w.token(headless("typ")))},
		{"AUTH-074", letIn, "a name that means nothing to us", "RFC 7515, 4", with("x-vendor", map[string]any{"a": 1})},

		{"AUTH-075", notKnown, "crit of an extension that is not there", "RFC 7515, 4.1.11", with("crit", []string{"urn:example:x"})},
		{"AUTH-076", notKnown, "crit of an extension that is there", "RFC 7515, 4.1.11", bearer(w.token(head("crit", []string{"x"}), head("x", true)))},
		{"AUTH-077", notKnown, "crit of a registered name", "RFC 7515, 4.1.11", with("crit", []string{"exp"})},
		{"AUTH-078", notKnown, "an empty crit", "RFC 7515, 4.1.11", with("crit", []string{})},
		{"AUTH-079", notKnown, "crit is a text", "RFC 7515, 4.1.11", with("crit", "exp")},
		{"AUTH-080", notKnown, "b64 false", "RFC 7797, 6", with("b64", false)},
		{"AUTH-081", notKnown, "b64 false, and critical", "RFC 7797, 6", bearer(w.token(head("b64", false), head("crit", []string{"b64"})))},
		{"AUTH-082", notKnown, "compressed", "RFC 7516, 4.1.3; RFC 8725, 3.6", with("zip", "DEF")},
		{"AUTH-083", notKnown, "encrypted, it says", "RFC 7516, 4.1.2", with("enc", "A256GCM")},
		{"AUTH-084", notKnown, "type dpop+jwt", "RFC 8725, 3.11", with("typ", "dpop+jwt")},
		{"AUTH-085", notKnown, "type logout+jwt", "RFC 8725, 3.11", with("typ", "logout+jwt")},
		{"AUTH-086", notKnown, "type secevent+jwt", "RFC 8725, 3.11; RFC 8417, 2.3", with("typ", "secevent+jwt")},
		{"AUTH-087", notKnown, "type token-introspection+jwt", "RFC 8725, 3.11; RFC 9701, 5", with("typ", "token-introspection+jwt")},
		{"AUTH-088", notKnown, "the type is a number", "RFC 7519, 5.1", with("typ", 1)},
		{"AUTH-089", notKnown, "the type is a list", "RFC 7519, 5.1", with("typ", []string{"at+jwt"})},
		{"AUTH-090", notKnown, "alg twice, none first", "RFC 7515, 4", bearer(w.token(rawHeader(`{"alg":"none","alg":"RS256","kid":"` + kid + `"}`)))},
		{"AUTH-091", notKnown, "alg twice, none last", "RFC 7515, 4", bearer(w.token(rawHeader(`{"alg":"RS256","kid":"` + kid + `","alg":"none"}`)))},
		{"AUTH-092", notKnown, "alg twice, once in another spelling", "RFC 7515, 4", bearer(w.token(rawHeader(`{"alg":"RS256","\u0061lg":"none","kid":"` + kid + `"}`)))},
		{"AUTH-093", notKnown, "ALG", "RFC 7515, 4", bearer(w.token(rawHeader(`{"ALG":"RS256","kid":"` + kid + `"}`)))},
		{"AUTH-094", notKnown, "a header that is no JSON", "RFC 7515, 5.2", bearer(w.token(rawHeader(`alg=RS256`)))},
		{"AUTH-095", notKnown, "a header that is a list", "RFC 7515, 5.2", bearer(w.token(rawHeader(`["RS256"]`)))},
		{"AUTH-096", notKnown, "a header that is null", "RFC 7515, 5.2", bearer(w.token(rawHeader(`null`)))},
		{"AUTH-097", notKnown, "something after the header", "RFC 7515, 5.2", bearer(w.token(rawHeader(`{"alg":"RS256","kid":"` + kid + `"}{}`)))},
		{"AUTH-098", notKnown, "a header of 5 kB", "RFC 8725, 3.10", with("x-vendor", strings.Repeat("x", 5000))},
	}
}

// forms are attacks on the serialization.
func (w *world) forms() []attempt {
	good := w.token()
	for !strings.ContainsAny(parts(good)[2], "-_") { // what the other alphabet spells in another way
		good = w.token()
	}
	p := parts(good)
	jwe := w.encrypted(good)
	last := string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", good[len(good)-1])^1])
	standard := strings.NewReplacer("-", "+", "_", "/").Replace(p[2])
	return []attempt{
		{"AUTH-099", letIn, "compact", "RFC 7515, 7.1", bearer(good)},
		{"AUTH-100", letIn, "15 kB", "RFC 8725, 3.10", bearer(w.token(claim("x", strings.Repeat("x", 10000))))},

		{"AUTH-101", notKnown, "20 kB", "RFC 8725, 3.10", bearer(w.token(claim("x", strings.Repeat("x", 15000))))},
		{"AUTH-102", tooMuch, "100 kB", "RFC 6585, 5", bearer(w.token(claim("x", strings.Repeat("x", 75000))))},
		{"AUTH-103", notKnown, "one segment", "RFC 7515, 7.1", bearer(p[1])},
		{"AUTH-104", notKnown, "two segments", "RFC 7515, 7.1", bearer(join(p[0], p[1]))},
		{"AUTH-105", notKnown, "four segments", "RFC 7515, 7.1", bearer(join(good, p[2]))},
		{"AUTH-106", notKnown, "a dot at the end", "RFC 7515, 7.1", bearer(good + ".")},
		{"AUTH-107", notKnown, "a dot at the beginning", "RFC 7515, 7.1", bearer("." + good)},
		{"AUTH-108", notKnown, "nothing but dots", "RFC 7515, 7.1", bearer("..")},
		{"AUTH-109", notKnown, "encrypted for the issuer", "RFC 7516, 7.1; RFC 9068, 4", bearer(jwe)},
		{"AUTH-110", notKnown, "the JSON serialization", "RFC 7515, 7.2", bearer(`{"payload":"` + p[1] + `","protected":"` + p[0] + `","signature":"` + p[2] + `"}`)},
		{"AUTH-111", notKnown, "padding at the signature", "RFC 7515, 2", bearer(good + "==")},
		{"AUTH-112", notKnown, "padding at the header", "RFC 7515, 2", bearer(join(p[0]+"=", p[1], p[2]))},
		{"AUTH-113", notKnown, "an alphabet of another base64", "RFC 7515, 2", bearer(join(p[0], p[1], standard))},
		{"AUTH-114", notKnown, "other spare bits in the last character", "RFC 4648, 3.5", bearer(good[:len(good)-1] + last)},
		{"AUTH-115", notKnown, "a character too many", "RFC 7515, 5.2", bearer(good + "A")},
		{"AUTH-116", notKnown, "a character too few", "RFC 7515, 5.2", bearer(good[:len(good)-1])},
		{"AUTH-117", notKnown, "something behind it", "RFC 6750, 2.1", bearer(good + "#admin")},
		{"AUTH-118", notKnown, "white space within", "RFC 7515, 7.1", bearer(join(p[0], " "+p[1], p[2]))},
		{"AUTH-119", notKnown, "a tab within", "RFC 7515, 7.1", bearer(join(p[0], p[1]+"\t", p[2]))},
		{"AUTH-120", notKnown, "in quotes", "RFC 6750, 2.1", bearer(`"` + good + `"`)},
		{"AUTH-121", notKnown, "percent-encoded", "RFC 6750, 2.1", bearer(strings.ReplaceAll(good, ".", "%2E"))},
		{"AUTH-122", notKnown, "base64 of it", "RFC 6750, 2.1", bearer(encode([]byte(good)))},
		{"AUTH-123", notKnown, "empty segments but the signature", "RFC 7515, 7.1", bearer(join("", "", p[2]))},
	}
}

// encrypted is a token in a JWE for the issuer's public key.
func (w *world) encrypted(token string) string {
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.RSA_OAEP_256, Key: publicOf(w.keys["RS256"])}, (&jose.EncrypterOptions{}).WithContentType("JWT"))
	if err != nil {
		panic(err) // the key is good
	}
	object, err := encrypter.Encrypt([]byte(token))
	if err != nil {
		panic(err) // as above
	}
	text, err := object.CompactSerialize()
	if err != nil {
		panic(err) // as above
	}
	return text
}
