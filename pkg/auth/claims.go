package auth

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4/json"
)

// systemPrefix begins the names that Kubernetes gives to its own users and groups.
const systemPrefix = "system:"

// authenticatedGroup is that of everybody whom an issuer of ours vouches for: for them it is what
// system:authenticated is for those whom Kubernetes knows. It is a name of our own, so that
// what somebody granted to that group on the hub is not granted to strangers.
const authenticatedGroup = "o2ims-authenticated"

// verdict is what the claims of one token come to. It holds for every request that shows
// the token before it expires, except for the binding, which each request has to prove anew.
type verdict struct {
	identity Identity
	expires  time.Time
	bound    *digest // SHA-256 of the certificate that the token is bound to; nil: none
}

// judge reads the claims of a token whose signature has been verified. Errors are those of
// a token that must be refused.
//
// RFC 9068 also demands client_id, iat and jti. Issuers in use leave them out, and nothing is
// decided by them here, so only what they say must make sense.
//
// Sources: RFC 9068, clause 4; RFC 7519, clause 4.1.
func (s Issuer) judge(payload []byte, h header, now time.Time) (verdict, error) {
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		return verdict{}, fmt.Errorf("claims: %s", clip(err.Error()))
	}
	if claims["iss"] != s.URL {
		return verdict{}, errors.New("iss: another issuer's")
	}
	if err := refuseOtherPurposes(claims, h); err != nil {
		return verdict{}, err
	}
	if err := s.checkAudience(claims["aud"]); err != nil {
		return verdict{}, err
	}
	expires, err := s.checkTimes(claims, now)
	if err != nil {
		return verdict{}, err
	}
	bound, err := confirmation(claims)
	if err != nil {
		return verdict{}, fmt.Errorf("%w: %w", errBinding, err)
	}
	id, err := s.identity(claims)
	return verdict{identity: id, expires: expires, bound: bound}, err
}

// refuseOtherPurposes refuses what an issuer signs beside access tokens.
//
// A token of type at+jwt is an access token (RFC 9068, clause 4). Most issuers in use do not
// say so; theirs are told by what only others have: ID tokens a nonce or the hash of
// something (OpenID Connect Core 1.0, clauses 2 and 3.3.2.11), logout and security event
// tokens their events (RFC 8417). Keycloak names the purpose in a claim typ, and there
// Bearer settles it, as its older versions repeat the nonce in access tokens. An audience of
// ours does not make an ID token an access token: it proves to a client who logged in, and
// every client that gets to see it could otherwise call us as that user.
func refuseOtherPurposes(claims map[string]any, h header) error {
	if h.typ == typeAccessToken {
		return nil
	}
	if purpose, present := claims["typ"]; present {
		if text, ok := purpose.(string); !ok || !strings.EqualFold(text, "Bearer") {
			return errors.New("typ: not an access token")
		}
		return nil
	}
	for _, name := range []string{"nonce", "at_hash", "c_hash", "s_hash", "events"} {
		if _, present := claims[name]; present {
			return fmt.Errorf("%s: an ID or event token, not an access token", name)
		}
	}
	return nil
}

// checkAudience checks that the token is for us.
//
// Source: RFC 7519, clause 4.1.3: one text, or a list of texts.
func (s Issuer) checkAudience(claim any) error {
	audiences, ok := texts(claim, false)
	if !ok || len(audiences) > maxAudiences {
		return fmt.Errorf("aud: neither a text nor a list of at most %d texts", maxAudiences)
	}
	if !slices.ContainsFunc(audiences, func(a string) bool { return slices.Contains(s.Audiences, a) }) {
		return errors.New("aud: for others than us")
	}
	return nil
}

// checkTimes returns when the token ends.
func (s Issuer) checkTimes(claims map[string]any, now time.Time) (time.Time, error) {
	expires, present, err := numericDate(claims, "exp")
	switch {
	case err != nil:
		return time.Time{}, err
	case !present:
		return time.Time{}, errors.New("exp: missing")
	case !now.Before(expires.Add(s.Leeway)):
		return time.Time{}, errors.New("exp: the token has expired")
	}
	for _, name := range []string{"nbf", "iat"} {
		from, present, err := numericDate(claims, name)
		if err != nil {
			return time.Time{}, err
		}
		if present && now.Add(s.Leeway).Before(from) {
			return time.Time{}, fmt.Errorf("%s: the token is not valid yet", name)
		}
	}
	return expires, nil
}

// numericDate reads seconds of Unix time, which may have a fraction.
//
// Source: RFC 7519, clause 2, NumericDate.
func numericDate(claims map[string]any, name string) (t time.Time, present bool, err error) {
	const year10000 = 253402300800
	value, present := claims[name]
	if !present {
		return time.Time{}, false, nil
	}
	seconds, ok := value.(float64)
	if !ok || math.IsNaN(seconds) || seconds < 0 || seconds >= year10000 {
		return time.Time{}, true, fmt.Errorf("%s: no time", name)
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), true, nil
}

// identity returns who the claims speak of.
func (s Issuer) identity(claims map[string]any) (Identity, error) {
	user, err := name(s.UsernameClaim, claimAt(claims, s.UsernameClaim))
	if err != nil {
		return Identity{}, err
	}
	if verified, present := claims["email_verified"]; s.UsernameClaim == "email" && present && verified != true {
		return Identity{}, errors.New("email: the issuer has not verified it")
	}
	user = s.UsernamePrefix + user
	if strings.HasPrefix(user, systemPrefix) {
		return Identity{}, fmt.Errorf("%s: user names that begin with %s are Kubernetes' own", s.UsernameClaim, systemPrefix)
	}
	client, err := clientOf(claims)
	if err != nil {
		return Identity{}, err
	}
	scopes, ok := texts(claims["scope"], true)
	if _, present := claims["scope"]; present && !ok || len(scopes) > maxScopes {
		return Identity{}, fmt.Errorf("scope: no list of at most %d texts", maxScopes)
	}
	roles, _ := texts(claimAt(claims, s.GroupsClaim), true)
	for _, scope := range scopes {
		if role, found := strings.CutPrefix(scope, roleScope); found {
			roles = append(roles, role)
		}
	}
	return Identity{Name: user, Client: client, Issuer: s.URL, Scopes: scopes, Groups: append(s.groups(roles), authenticatedGroup)}, nil
}

// clientOf returns the client that the token was issued to; empty when it names none.
//
// Sources: RFC 9068, clause 2.2 (client_id); OpenID Connect Core 1.0, clause 2 (azp).
func clientOf(claims map[string]any) (string, error) {
	for _, claim := range []string{"client_id", "azp"} {
		if value, present := claims[claim]; present {
			return name(claim, value)
		}
	}
	return "", nil
}

// name checks a claim that names somebody. It changes nothing: two names must never become
// one, so what would have to be trimmed or replaced is refused.
func name(claim string, value any) (string, error) {
	text, ok := value.(string)
	switch {
	case !ok || text == "":
		return "", fmt.Errorf("%s: missing, or no text", claim)
	case len(text) > maxNameBytes:
		return "", fmt.Errorf("%s: a name of %d bytes", claim, len(text))
	case strings.TrimSpace(text) != text || !printable(text):
		return "", fmt.Errorf("%s: a name with white space around it or characters that are not printable", claim)
	}
	return text, nil
}

// printable tells whether text has only characters that a reader of the log sees as they
// are. The replacement character stands for what was no UTF-8.
func printable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
}

// claimAt returns the claim at a path such as realm_access.roles, nil when there is none. A
// name that has dots itself wins over a path: the longest name that exists is taken.
func claimAt(object map[string]any, path string) any {
	for end := len(path); end > 0; end = strings.LastIndexByte(path[:end], '.') {
		value, found := object[path[:end]]
		switch {
		case !found:
			continue
		case end == len(path):
			return value
		}
		inner, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		return claimAt(inner, path[end+1:])
	}
	return nil
}

// texts reads a list of texts; in a single text, spaces separate them when split is set.
// Members of a list that are no texts are left out, but for them ok is false.
func texts(value any, split bool) (list []string, ok bool) {
	switch v := value.(type) {
	case string:
		if split {
			return strings.Fields(v), true
		}
		return []string{v}, true
	case []any:
		ok = true
		for _, member := range v {
			text, isText := member.(string)
			if !isText {
				ok = false
				continue
			}
			list = append(list, text)
		}
		return list, ok
	}
	return nil, false
}
