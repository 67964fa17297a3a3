package auth

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/auth/authtest"
	"github.com/o2ims/o2ims/pkg/fault"
)

func TestAlgorithms(t *testing.T) {
	w := newWorld(t)
	for _, a := range signatureAlgorithms() {
		if _, err := w.show(t, w.issuer.Token(w.issuer.Claims(), authtest.Algorithm(a))); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	w.config.Issuers[0].Algorithms = []string{"ES256"}
	w.configure(t)
	for _, a := range signatureAlgorithms() {
		want := fault.Unauthenticated
		if a == "ES256" {
			want = nil
		}
		_, err := w.show(t, w.issuer.Token(w.issuer.Claims(), authtest.Algorithm(a)))
		expect(t, a+" where only ES256 is accepted", err, want)
	}
}

// TestAccessTokens tells access tokens from what else an issuer signs.
func TestAccessTokens(t *testing.T) {
	w := newWorld(t)
	claims := w.issuer.Claims()
	for _, tc := range []struct {
		name   string
		typ    any // nil: absent
		claims authtest.Claims
		want   error
	}{
		{"at+jwt", "at+jwt", claims, nil},
		{"media type", "application/at+jwt", claims, nil},
		{"in capitals", "Application/AT+JWT", claims, nil},
		{"JWT", "JWT", claims, nil},
		{"none", nil, claims, nil},
		{"ID token by type", "id_token+jwt", claims, fault.Unauthenticated},
		{"logout token", "logout+jwt", claims, fault.Unauthenticated},
		{"security event", "secevent+jwt", claims, fault.Unauthenticated},
		{"DPoP proof", "dpop+jwt", claims, fault.Unauthenticated},
		{"empty type", "", claims, fault.Unauthenticated},
		{"type that is no text", 7, claims, fault.Unauthenticated},
		{"type in a list", []string{"at+jwt"}, claims, fault.Unauthenticated},
		{"application twice", "application/application/at+jwt", claims, fault.Unauthenticated},
		{"access token with a nonce", "at+jwt", claims.With("nonce", "n"), nil},
		{"ID token with a nonce", "JWT", claims.With("nonce", "n"), fault.Unauthenticated},
		{"ID token with at_hash", nil, claims.With("at_hash", "h"), fault.Unauthenticated},
		{"ID token with c_hash", "JWT", claims.With("c_hash", "h"), fault.Unauthenticated},
		{"event token", "JWT", claims.With("events", map[string]any{}), fault.Unauthenticated},
		{"Keycloak's access token", "JWT", claims.With("typ", "Bearer").With("nonce", "n"), nil},
		{"Keycloak's ID token", "JWT", claims.With("typ", "ID"), fault.Unauthenticated},
		{"Keycloak's refresh token", "JWT", claims.With("typ", "Refresh"), fault.Unauthenticated},
		{"purpose that is no text", "JWT", claims.With("typ", []string{"Bearer"}), fault.Unauthenticated},
	} {
		_, err := w.show(t, w.issuer.Token(tc.claims, authtest.Header("typ", tc.typ)))
		expect(t, tc.name, err, tc.want)
	}
}

// TestHostileTokens checks not only that tokens are refused, but that each is for the reason
// that it is there for.
func TestHostileTokens(t *testing.T) {
	w := newWorld(t)
	i := w.issuer
	type claims = authtest.Claims
	with := func(options ...authtest.Option) func(claims) string {
		return func(c claims) string { return i.Token(c, options...) }
	}
	set := func(name string, value any) func(claims) string {
		return func(c claims) string { return i.Token(c.With(name, value)) }
	}
	without := func(name string) func(claims) string {
		return func(c claims) string { return i.Token(c.Without(name)) }
	}
	at := func(name string, d time.Duration) func(claims) string {
		return func(c claims) string { return i.Token(c.With(name, w.clock.Now().Add(d).Unix())) }
	}
	spelled := func(change func(head, payload, signature string) string) func(claims) string {
		return func(c claims) string {
			parts := strings.Split(i.Token(c), ".")
			return change(parts[0], parts[1], parts[2])
		}
	}
	raw := func(payload string) func(claims) string {
		return with(authtest.Payload(strings.ReplaceAll(payload, "ISS", `"iss":"`+i.URL+`"`)))
	}
	for _, tc := range []struct {
		name, why string
		token     func(claims) string
	}{
		{"alg none", "part 3 of the token: empty", with(authtest.Unsigned("none"), authtest.Header("kid", nil))},
		{"alg none with a signature", `algorithm "none"`, with(authtest.Header("alg", "none"))},
		{"alg nOnE", `algorithm "nOnE"`, with(authtest.Header("alg", "nOnE"))},
		{"alg empty", "alg is no text", with(authtest.Header("alg", ""))},
		{"alg missing", "no alg", with(authtest.Header("alg", nil))},
		{"alg in a list", "alg is no text", with(authtest.Header("alg", []string{"RS256"}))},
		{"no signature", "part 3", with(authtest.Unsigned("RS256"))},
		{"public key as secret", `algorithm "HS256"`, with(authtest.PublicKeyAsSecret())},
		{"public key as secret under another name", "signature does not fit", with(authtest.PublicKeyAsSecret(), authtest.Header("alg", "RS256"))},
		{"foreign key", "signature does not fit", with(authtest.ForeignKey())},
		{"foreign key without id", "signature does not fit", with(authtest.ForeignKey(), authtest.Header("kid", nil))},
		{"brought key", `publishes no RS256 key "brought"`, with(authtest.BroughtKey())},
		{"unknown key id", `publishes no RS256 key "nobody's"`, with(authtest.Header("kid", "nobody's"))},
		{"key id of another kind", `publishes no RS256 key "P-256-1"`, with(authtest.Header("kid", "P-256-1"))},
		{"key id that is a path", "publishes no RS256 key", with(authtest.Header("kid", "../../etc/passwd"))},
		{"key id that is no text", "kid is no text", with(authtest.Header("kid", 1))},
		{"giant key id", "kid is no text", with(authtest.Header("kid", strings.Repeat("k", 257)))},
		{"algorithm of another kind", "publishes no ES256 key", with(authtest.Header("alg", "ES256"))},
		{"critical header", "crit is not understood", with(authtest.Header("crit", []string{"exp"}), authtest.Header("exp", 1))},
		{"critical b64", "crit is not understood", with(authtest.Header("crit", []string{"b64"}), authtest.Header("b64", true))},
		{"unencoded payload", "b64 is not understood", with(authtest.Header("b64", false))},
		{"encrypted", "enc is not understood", with(authtest.Header("enc", "A256GCM"))},
		{"giant header", "a header of", with(authtest.Header("x", strings.Repeat("x", 5000)))},
		{"giant token", "a token of", set("x", strings.Repeat("x", 16<<10))},

		{"five parts", "token review", spelled(func(h, p, s string) string { return h + "." + p + "." + s + ".a.b" })},
		{"padded", "part 3 of the token: not base64url", spelled(func(h, p, s string) string { return h + "." + p + "." + s + "==" })},
		{"signature spelled otherwise", "part 3 of the token: not base64url", spelled(func(h, p, s string) string { return h + "." + p + "." + s[:len(s)-1] + nextLetter(s[len(s)-1]) })},
		{"line break inside", "part 3 of the token", spelled(func(h, p, s string) string { return h + "." + p + ".\n" + s })},
		{"space inside", "part 3 of the token", spelled(func(h, p, s string) string { return h + "." + p + ". " + s })},
		{"JSON serialization", "token review", spelled(func(h, p, s string) string {
			return `{"protected":"` + h + `","payload":"` + p + `","signature":"` + s + `"}`
		})},
		{"other claims", "signature does not fit", func(c claims) string {
			return authtest.Forge(t, i.Token(c), func(c claims) claims { return c.With("roles", "o2ims-admin") })
		}},
		{"claims that are no object", "token review", raw(`["iss"]`)},
		{"claims that are no JSON", "token review", raw(`{ISS`)},
		{"claim given twice", "duplicate key", raw(`{ISS,"aud":"o2ims","sub":"a","exp":4e9,"sub":"b"}`)},
		{"claim in other case", "sub: missing", raw(`{ISS,"aud":"o2ims","SUB":"a","exp":4e9}`)},
		{"deeply nested", "aud:", raw(`{ISS,"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`)},

		{"no audience", "aud: neither", without("aud")},
		{"another audience", "aud: for others", set("aud", "other")},
		{"audience by prefix", "aud: for others", set("aud", "o2ims2")},
		{"empty audiences", "aud: for others", set("aud", []string{})},
		{"audiences of other types", "aud: neither", set("aud", []any{"o2ims", 7})},
		{"audience as an object", "aud: neither", set("aud", map[string]any{"o2ims": true})},
		{"audiences in one text", "aud: for others", set("aud", "o2ims other")},
		{"too many audiences", "aud: neither", set("aud", slices.Repeat([]string{"o2ims"}, 65))},
		{"expired", "exp: the token has expired", at("exp", -31*time.Second)},
		{"without end", "exp: missing", without("exp")},
		{"end as text", "exp: no time", set("exp", "4000000000")},
		{"end beyond all years", "exp: no time", set("exp", 1e300)},
		{"end before all years", "exp: no time", set("exp", -1)},
		{"end null", "exp: no time", set("exp", nil)},
		{"not yet", "nbf: the token is not valid yet", at("nbf", 31*time.Second)},
		{"begin as text", "nbf: no time", set("nbf", "1")},
		{"issued in the future", "iat: the token is not valid yet", at("iat", 31*time.Second)},
		{"no subject", "sub: missing", without("sub")},
		{"empty subject", "sub: missing", set("sub", "")},
		{"blank subject", "sub: a name with white space", set("sub", "  ")},
		{"subject with space around", "sub: a name with white space", set("sub", "ann ")},
		{"subject of two lines", "sub: a name with white space", set("sub", "ann\nbob")},
		{"subject with a NUL", "sub: a name with white space", set("sub", "ann\x00")},
		{"subject written backwards", "sub: a name with white space", set("sub", "ann\u202enimda")},
		{"subject not in UTF-8", "sub: a name with white space", raw("{ISS,\"aud\":\"o2ims\",\"exp\":4e9,\"sub\":\"a\xff\"}")},
		{"giant subject", "sub: a name of 257 bytes", set("sub", strings.Repeat("a", 257))},
		{"subject that is no text", "sub: missing", set("sub", 7)},
		{"subject in a list", "sub: missing", set("sub", []string{"ann"})},
		{"client that is no text", "client_id: missing", set("client_id", 7)},
		{"client of two lines", "client_id: a name", set("client_id", "smo\r\nrole: admin")},
		{"scope that is no text", "scope: no list", set("scope", 7)},
		{"too many scopes", "scope: no list", set("scope", strings.Repeat("a ", 65))},
	} {
		w.clock.pass(10 * time.Second) // so that no search for keys is refused for want of time
		token := tc.token(i.Claims())
		id, err := w.show(t, token)
		expect(t, tc.name, err, fault.Unauthenticated)
		switch {
		case id.Name != "" || len(id.Groups) > 0:
			t.Errorf("%s: identity %+v beside an error", tc.name, id)
		case err != nil && !strings.Contains(err.Error(), tc.why):
			t.Errorf("%s: refused for %q, want %q", tc.name, err, tc.why)
		case err != nil && strings.Contains(err.Error(), token[len(token)-40:]):
			t.Errorf("%s: the error shows the token: %v", tc.name, err)
		}
	}
	if _, err := w.show(t, i.Token(i.Claims())); err != nil {
		t.Errorf("a good token after all these: %v", err)
	}
}

// nextLetter returns a base64url letter that decodes to the same bits, but for those that
// are not used at the end.
func nextLetter(c byte) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return letters[strings.IndexByte(letters, c)+1:][:1]
}

func TestLeeway(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Issuers[0].Leeway = 2 * time.Minute })
	in := func(d time.Duration) int64 { return w.clock.Now().Add(d).Unix() }
	for _, tc := range []struct {
		name  string
		claim string
		at    time.Duration
		want  error
	}{
		{"expired within the leeway", "exp", -119 * time.Second, nil},
		{"expired by the leeway", "exp", -120 * time.Second, fault.Unauthenticated},
		{"valid within the leeway", "nbf", 120 * time.Second, nil},
		{"valid after the leeway", "nbf", 121 * time.Second, fault.Unauthenticated},
		{"issued within the leeway", "iat", 120 * time.Second, nil},
		{"issued after the leeway", "iat", 121 * time.Second, fault.Unauthenticated},
	} {
		_, err := w.show(t, w.issuer.Token(w.issuer.Claims().With(tc.claim, in(tc.at))))
		expect(t, tc.name, err, tc.want)
	}
	_, err := w.show(t, w.issuer.Token(w.issuer.Claims().With("exp", float64(in(time.Minute))+0.5)))
	expect(t, "end with a fraction", err, nil)
}

// FuzzParseHeader checks that what is read of a header was there in so many words.
func FuzzParseHeader(f *testing.F) {
	f.Add(`{"alg":"RS256","kid":"1","typ":"at+jwt"}`, "e30", "c2ln")
	f.Add(`{"alg":"none"}`, "e30", "")
	f.Add(`{"alg":"RS256","crit":["exp"]}`, "e30", "c2ln")
	f.Add(`{"alg":"RS256","ALG":"none","alg":"HS256"}`, "e30", "c2ln")
	f.Fuzz(func(t *testing.T, head, payload, signature string) {
		token := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + payload + "." + signature
		h, err := parseHeader(token)
		if err != nil {
			return
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(head), &fields); err != nil {
			t.Fatalf("header %q was read: %+v", head, h)
		}
		if fields["alg"] != h.algorithm || h.keyID != "" && fields["kid"] != h.keyID || fields["crit"] != nil {
			t.Errorf("header %q was read as %+v", head, h)
		}
		if h.typ != "" && h.typ != typeJWT && h.typ != typeAccessToken {
			t.Errorf("type %q was accepted", h.typ)
		}
	})
}
