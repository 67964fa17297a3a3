package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4/json"
)

// Limits of what a token may hold.
const (
	maxHeaderBytes = 4 << 10
	maxNameBytes   = 256 // user names, client ids, key ids
	maxAudiences   = 64
	maxScopes      = 64
)

// header is what we heed of a token's JOSE header. Keys that a token brings along (jwk, jku,
// x5c, x5u) are not among it: only the issuer's key set says which keys are the issuer's.
type header struct {
	algorithm string
	keyID     string // empty: not given
	typ       string // in lower case, without application/; empty: not given
}

// parseHeader reads the header of a JWT in compact serialization. It is stricter than
// the library that verifies the signature, which takes white space, the JSON
// serialization and base64 with stray bits.
//
// The JSON package is that of go-jose: names are case-sensitive, and a name that occurs
// twice is an error, so that nobody reads another value than we.
//
// Sources: RFC 7515, clauses 4 and 7.1; RFC 7519, clause 4; RFC 8725; RFC 9068, clause 4.
func parseHeader(token string) (header, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return header{}, fmt.Errorf("a token of %d parts, not 3", len(parts))
	}
	if len(parts[0]) > maxHeaderBytes {
		return header{}, fmt.Errorf("a header of %d bytes", len(parts[0]))
	}
	var raw []byte
	for i, part := range parts {
		decoded, err := base64url(part)
		if err != nil {
			return header{}, fmt.Errorf("part %d of the token: %w", i+1, err)
		}
		if i == 0 {
			raw = decoded
		}
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return header{}, fmt.Errorf("header: %s", clip(err.Error()))
	}
	for _, name := range []string{"crit", "b64", "enc", "zip"} {
		if _, present := fields[name]; present {
			return header{}, fmt.Errorf("header: %s is not understood", name)
		}
	}
	return headerOf(fields)
}

func headerOf(fields map[string]any) (header, error) {
	var h header
	for name, into := range map[string]*string{"alg": &h.algorithm, "kid": &h.keyID, "typ": &h.typ} {
		value, present := fields[name]
		text, ok := value.(string)
		if present && (!ok || text == "" || len(text) > maxNameBytes) {
			return header{}, fmt.Errorf("header: %s is no text of 1 to %d bytes", name, maxNameBytes)
		}
		*into = text
	}
	h.typ = strings.TrimPrefix(strings.ToLower(h.typ), "application/")
	switch {
	case h.algorithm == "":
		return header{}, errors.New("header: no alg")
	case h.typ != "" && h.typ != typeJWT && h.typ != typeAccessToken:
		return header{}, fmt.Errorf("header: a token of type %q", h.typ)
	}
	return h, nil
}

// Types of tokens that may be access tokens. RFC 9068 asks for at+jwt alone; most issuers
// in use say JWT, or nothing. See refuseOtherPurposes for what we do about that.
const (
	typeAccessToken = "at+jwt"
	typeJWT         = "jwt"
)

// base64url decodes what must have exactly one spelling.
func base64url(text string) ([]byte, error) {
	if text == "" || strings.ContainsAny(text, "\r\n") { // which package base64 skips
		return nil, errors.New("empty, or not base64url")
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("not base64url")
	}
	return raw, nil
}
