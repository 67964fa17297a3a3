package tokens

import (
	"strings"
	"time"
)

// json are attacks on how the claims are read.
func (w *world) json() []attempt {
	with := func(from, to string) shot { return bearer(w.token(replaced(from, to))) }
	raw := func(text string) shot { return bearer(w.token(rawClaims(text))) }
	ours := `"iss":"` + w.provider.Issuer + `"`
	other := `"iss":"` + w.stranger.Issuer + `"`
	nesting := func(depth int) string {
		return `{"x":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `,`
	}
	return []attempt{
		{"AUTH-124", letIn, "white space between claims", "RFC 8259, 2", with(`{"aud"`, "{ \n\t\"aud\"")},
		{"AUTH-125", letIn, "an escape in a name", "RFC 8259, 7", with(`"iss"`, `"\u0069ss"`)},
		{"AUTH-126", letIn, "claims that mean nothing to us", "RFC 7519, 4", bearer(w.token(claim("x", map[string]any{"iss": "other", "exp": 0})))},
		{"AUTH-127", letIn, "a claim nested 4,000 levels deep, which is not looked at", "RFC 8259, 9", with("{", nesting(4000))},

		{"AUTH-128", notKnown, "iss twice, ours first", "RFC 7519, 4", with(ours, ours+","+other)},
		{"AUTH-129", notKnown, "iss twice, ours last", "RFC 7519, 4", with(ours, other+","+ours)},
		{"AUTH-130", notKnown, "iss twice, once in another spelling", "RFC 7519, 4", with(ours, ours+`,"i\u0073s":"`+w.stranger.Issuer+`"`)},
		{"AUTH-131", notKnown, "sub twice", "RFC 7519, 4", with(`"sub":"smo"`, `"sub":"smo","sub":"root"`)},
		{"AUTH-132", notKnown, "aud twice", "RFC 7519, 4", with(`"aud":"o2ims"`, `"aud":"other","aud":"o2ims"`)},
		{"AUTH-133", notKnown, "exp twice", "RFC 7519, 4", with(`"exp":`, `"exp":1,"exp":`)},
		{"AUTH-134", notKnown, "roles twice", "RFC 7519, 4", with(`"roles":`, `"roles":["o2ims-admin"],"roles":`)},
		{"AUTH-135", notKnown, "a name twice, deep inside", "RFC 8259, 4", with(`{"aud"`, `{"x":{"a":1,"a":2},"aud"`)},
		{"AUTH-136", notKnown, "ISS for iss", "RFC 7519, 4", with(`"iss"`, `"ISS"`)},
		{"AUTH-137", notKnown, "Exp for exp", "RFC 7519, 4", with(`"exp"`, `"Exp"`)},
		{"AUTH-138", notKnown, "no JSON", "RFC 7519, 7.2", raw("iss=us")},
		{"AUTH-139", notKnown, "a list", "RFC 7519, 7.2", raw(`[{` + ours + `}]`)},
		{"AUTH-140", notKnown, "null", "RFC 7519, 7.2", raw("null")},
		{"AUTH-141", notKnown, "a text", "RFC 7519, 7.2", raw(`"iss"`)},
		{"AUTH-142", notKnown, "nothing", "RFC 7519, 7.2", raw("")},
		{"AUTH-143", notKnown, "no claims", "RFC 7519, 7.2", raw("{}")},
		{"AUTH-144", notKnown, "something after the claims", "RFC 8259, 2", bearer(w.token(func(d *draft) { d.rawClaims = append(jsonOf(d.claims), `{"roles":["o2ims-admin"]}`...) }))},
		{"AUTH-145", notKnown, "a comma too many", "RFC 8259, 4", with(`{"aud"`, `{,"aud"`)},
		{"AUTH-146", notKnown, "a comment", "RFC 8259, 2", with(`{"aud"`, `{/**/"aud"`)},
		{"AUTH-147", notKnown, "a byte order mark", "RFC 8259, 8.1", with(`{"aud"`, "\ufeff{\"aud\"")},
		{"AUTH-148", notKnown, "UTF-16", "RFC 8259, 8.1", raw("{\x00\"\x00i\x00s\x00s\x00\"\x00}\x00")},
		{"AUTH-149", notKnown, "the end missing", "RFC 8259, 2", bearer(w.token(func(d *draft) { text := jsonOf(d.claims); d.rawClaims = text[:len(text)-1] }))},
		{"AUTH-150", notKnown, "nested 1,600 objects deep, and not closed", "RFC 8259, 9", raw(strings.Repeat(`{"x":`, 1600))},
		{"AUTH-151", notKnown, "nested 5,900 levels deep, twice as large as we read", "RFC 8259, 9", with("{", nesting(5900)+strings.Repeat(" ", 2000))},
	}
}

// times are attacks on when a token holds.
func (w *world) times() []attempt {
	at := func(name string, value any) shot { return bearer(w.token(claim(name, value))) }
	literally := func(value string) shot {
		return bearer(w.token(claim("exp", "EXP"), replaced(`"EXP"`, value)))
	}
	return []attempt{
		{"AUTH-152", letIn, "ends in ten minutes", "RFC 7519, 4.1.4", bearer(w.token())},
		{"AUTH-153", letIn, "ended five seconds ago, which clocks may differ by", "RFC 7519, 4.1.4", at("exp", in(-5*time.Second))},
		{"AUTH-154", letIn, "begins in five seconds, which clocks may differ by", "RFC 7519, 4.1.5", at("nbf", in(5*time.Second))},
		{"AUTH-155", letIn, "ends amid a second", "RFC 7519, 2, NumericDate", at("exp", float64(in(time.Minute))+0.5)},
		{"AUTH-156", letIn, "neither nbf nor iat", "RFC 7519, 4.1.5", bearer(w.token(without("iat")))},

		{"AUTH-157", notKnown, "ended a minute ago", "RFC 7519, 4.1.4", at("exp", in(-time.Minute))},
		{"AUTH-158", notKnown, "ended a year ago", "RFC 7519, 4.1.4", at("exp", in(-365*24*time.Hour))},
		{"AUTH-159", notKnown, "begins in a minute", "RFC 7519, 4.1.5", at("nbf", in(time.Minute))},
		{"AUTH-160", notKnown, "issued in an hour", "RFC 7519, 4.1.6", at("iat", in(time.Hour))},
		{"AUTH-161", notKnown, "no exp", "RFC 9068, 2.2", bearer(w.token(without("exp")))},
		{"AUTH-162", notKnown, "exp is null", "RFC 7519, 4.1.4", at("exp", nil)},
		{"AUTH-163", notKnown, "exp is a text", "RFC 7519, 2, NumericDate", at("exp", "4102444800")},
		{"AUTH-164", notKnown, "exp is a date", "RFC 7519, 2, NumericDate", at("exp", "2099-12-31T00:00:00Z")},
		{"AUTH-165", notKnown, "exp is a list", "RFC 7519, 2, NumericDate", at("exp", []int64{in(time.Hour)})},
		{"AUTH-166", notKnown, "exp is an object", "RFC 7519, 2, NumericDate", at("exp", map[string]int64{"exp": in(time.Hour)})},
		{"AUTH-167", notKnown, "exp is true", "RFC 7519, 2, NumericDate", at("exp", true)},
		{"AUTH-168", notKnown, "exp is 0", "RFC 7519, 4.1.4", at("exp", 0)},
		{"AUTH-169", notKnown, "exp is negative", "RFC 7519, 2, NumericDate", at("exp", -in(time.Hour))},
		{"AUTH-170", notKnown, "exp in milliseconds", "RFC 7519, 2, NumericDate", at("exp", time.Now().Add(time.Hour).UnixMilli())},
		{"AUTH-171", notKnown, "exp is 1e300", "RFC 7519, 2, NumericDate", literally("1e300")},
		{"AUTH-172", notKnown, "exp is 1e400, more than a float holds", "RFC 7519, 2, NumericDate", literally("1e400")},
		{"AUTH-173", notKnown, "exp overflows 64 bits", "RFC 7519, 2, NumericDate", literally("18446744073709551616")},
		{"AUTH-174", notKnown, "exp is NaN", "RFC 8259, 6", literally("NaN")},
		{"AUTH-175", notKnown, "exp is hexadecimal", "RFC 8259, 6", literally("0xFFFFFFFF")},
		{"AUTH-176", notKnown, "exp has a zero before it", "RFC 8259, 6", literally("04102444800")},
		{"AUTH-177", notKnown, "nbf is a text", "RFC 7519, 2, NumericDate", at("nbf", "0")},
		{"AUTH-178", notKnown, "nbf is null", "RFC 7519, 4.1.5", at("nbf", nil)},
		{"AUTH-179", notKnown, "iat is a text", "RFC 7519, 2, NumericDate", at("iat", "now")},
		{"AUTH-180", notKnown, "iat is negative", "RFC 7519, 2, NumericDate", at("iat", -1)},
	}
}

// audiences are attacks with tokens for others.
func (w *world) audiences() []attempt {
	aud := func(value any) shot { return bearer(w.token(claim("aud", value))) }
	many := make([]string, 100)
	many[99] = audience
	return []attempt{
		{"AUTH-181", letIn, "a text", "RFC 7519, 4.1.3", aud(audience)},
		{"AUTH-182", letIn, "a list with one", "RFC 7519, 4.1.3", aud([]string{audience})},
		{"AUTH-183", letIn, "a list with ours", "RFC 7519, 4.1.3", aud([]string{"vault", audience})},

		{"AUTH-184", notKnown, "somebody else's", "RFC 9068, 4", aud("vault")},
		{"AUTH-185", notKnown, "a list of others", "RFC 9068, 4", aud([]string{"vault", "account"})},
		{"AUTH-186", notKnown, "none", "RFC 9068, 2.2", bearer(w.token(without("aud")))},
		{"AUTH-187", notKnown, "null", "RFC 7519, 4.1.3", aud(nil)},
		{"AUTH-188", notKnown, "an empty text", "RFC 7519, 4.1.3", aud("")},
		{"AUTH-189", notKnown, "an empty list", "RFC 7519, 4.1.3", aud([]string{})},
		{"AUTH-190", notKnown, "a list in a list", "RFC 7519, 4.1.3", aud([]any{[]string{audience}})},
		{"AUTH-191", notKnown, "an object", "RFC 7519, 4.1.3", aud(map[string]any{audience: true})},
		{"AUTH-192", notKnown, "a number", "RFC 7519, 4.1.3", aud(2)},
		{"AUTH-193", notKnown, "a list of ours and a number", "RFC 7519, 4.1.3", aud([]any{audience, 1})},
		{"AUTH-194", notKnown, "in another case", "RFC 7519, 4.1.3", aud("O2IMS")},
		{"AUTH-195", notKnown, "with a space", "RFC 7519, 4.1.3", aud("o2ims ")},
		{"AUTH-196", notKnown, "two in one text", "RFC 7519, 4.1.3", aud("vault o2ims")},
		{"AUTH-197", notKnown, "the beginning of ours", "RFC 7519, 4.1.3", aud("o2")},
		{"AUTH-198", notKnown, "ours and more", "RFC 7519, 4.1.3", aud("o2ims-test")},
		{"AUTH-199", notKnown, "every", "RFC 7519, 4.1.3", aud("*")},
		{"AUTH-200", notKnown, "the issuer itself", "RFC 9068, 4", aud(w.provider.Issuer)},
		{"AUTH-201", notKnown, "the client itself", "RFC 9068, 5", aud("smo")},
		{"AUTH-202", notKnown, "a hundred", "RFC 8725, 3.10", aud(many)},
	}
}

// issuers are attacks on whose a token is.
func (w *world) issuers() []attempt {
	iss := func(value any) shot { return bearer(w.token(claim("iss", value))) }
	ours := w.provider.Issuer
	k, err := w.stranger.Key("RS256")
	if err != nil {
		panic(err) // every provider has one
	}
	return []attempt{
		{"AUTH-203", letIn, "ours", "RFC 9068, 4", iss(ours)},
		{"AUTH-204", letIn, "ours, where other issuers do not answer", "RFC 9068, 4", iss(ours).at(several)},

		{"AUTH-205", notKnown, "none", "RFC 9068, 2.2", bearer(w.token(without("iss")))},
		{"AUTH-206", notKnown, "empty", "RFC 9068, 4", iss("")},
		{"AUTH-207", notKnown, "null", "RFC 9068, 4", iss(nil)},
		{"AUTH-208", notKnown, "a list", "RFC 7519, 4.1.1", iss([]string{ours})},
		{"AUTH-209", notKnown, "an object", "RFC 7519, 4.1.1", iss(map[string]any{"iss": ours})},
		{"AUTH-210", notKnown, "with a slash", "RFC 9068, 4; RFC 8414, 2", iss(ours + "/")},
		{"AUTH-211", notKnown, "with a path", "RFC 9068, 4", iss(ours + "/realms/other")},
		{"AUTH-212", notKnown, "with a dot in the path", "RFC 9068, 4", iss(ours + "/.")},
		{"AUTH-213", notKnown, "with a fragment", "RFC 8414, 2", iss(ours + "#")},
		{"AUTH-214", notKnown, "with a query", "RFC 8414, 2", iss(ours + "?")},
		{"AUTH-215", notKnown, "in another case", "RFC 9068, 4", iss(strings.Replace(ours, "https", "HTTPS", 1))},
		{"AUTH-216", notKnown, "without TLS", "RFC 8414, 2", iss(strings.Replace(ours, "https", "http", 1))},
		{"AUTH-217", notKnown, "another name of its host", "RFC 9068, 4", iss(strings.Replace(ours, "127.0.0.1", "localhost", 1))},
		{"AUTH-218", notKnown, "with a user", "RFC 9068, 4", iss(strings.Replace(ours, "https://", "https://x@", 1))},
		{"AUTH-219", notKnown, "ours, and then somebody's domain", "RFC 9068, 4", iss(ours + ".example.net")},
		{"AUTH-220", notKnown, "with a space", "RFC 9068, 4", iss(" " + ours)},
		{"AUTH-221", notKnown, "percent-encoded", "RFC 9068, 4", iss(strings.Replace(ours, "127", "%3127", 1))},
		{"AUTH-222", notKnown, "another issuer's own token", "RFC 9068, 4", bearer(w.issued.stranger)},
		{"AUTH-223", notKnown, "ours, with another issuer's key", "RFC 8725, 3.8", bearer(w.token(key(k, "RS256")))},
		{"AUTH-224", notKnown, "ours, with another issuer's key and our kid", "RFC 8725, 3.8", bearer(w.token(key(k, "RS256"), head("kid", w.keys["RS256"].KeyID)))},
		{"AUTH-225", notKnown, "another issuer, with our key", "RFC 8725, 3.8", iss(w.stranger.Issuer)},
		{"AUTH-226", notKnown, "Kubernetes, with our key", "RFC 8725, 3.8", bearer(w.token(claim("iss", "https://kubernetes.default.svc"), claim("sub", "system:serviceaccount:o2ims:reader")))},
		{"AUTH-227", cannotTell, "an issuer whose metadata names another", "RFC 8414, 3.3", iss(strings.Replace(ours, "127.0.0.1", "localhost", 1)).at(several)},
		{"AUTH-228", cannotTell, "an issuer that shows a certificate that we do not trust", "RFC 8414, 6.1", bearer(w.issued.stranger).at(several)},
		{"AUTH-229", cannotTell, "an issuer that does not answer", "RFC 8414, 3", iss(w.silent).at(several)},
	}
}

// subjects are attacks on who a caller is said to be.
func (w *world) subjects() []attempt {
	sub := func(value any) shot { return bearer(w.token(claim("sub", value))) }
	client := func(value any) shot { return bearer(w.token(claim("client_id", value))) }
	return []attempt{
		{"AUTH-230", letIn, "a name", "RFC 9068, 2.2", sub("smo")},
		{"AUTH-231", letIn, "a name with all that a name may have", "RFC 9068, 2.2", sub("Zoë O'Neil <zoe+smo@example.net>, 東京")},
		{"AUTH-232", letIn, "256 bytes", "RFC 9068, 2.2", sub(strings.Repeat("n", 256))},
		{"AUTH-233", letIn, "neither client_id nor azp", "RFC 9068, 2.2", bearer(w.token(without("client_id")))},

		{"AUTH-234", notKnown, "none", "RFC 9068, 2.2", bearer(w.token(without("sub")))},
		{"AUTH-235", notKnown, "empty", "RFC 7519, 4.1.2", sub("")},
		{"AUTH-236", notKnown, "blank", "RFC 7519, 4.1.2", sub("   ")},
		{"AUTH-237", notKnown, "null", "RFC 7519, 4.1.2", sub(nil)},
		{"AUTH-238", notKnown, "a number", "RFC 7519, 4.1.2", sub(7)},
		{"AUTH-239", notKnown, "a list", "RFC 7519, 4.1.2", sub([]string{"smo"})},
		{"AUTH-240", notKnown, "an object", "RFC 7519, 4.1.2", sub(map[string]any{"sub": "smo"})},
		{"AUTH-241", notKnown, "10 kB", "RFC 8725, 3.10", sub(strings.Repeat("n", 10000))},
		{"AUTH-242", notKnown, "a NUL", "RFC 8725, 3.10", sub("smo\x00admin")},
		{"AUTH-243", notKnown, "a line end, to write into the log", "RFC 8725, 3.10", sub("smo\n{\"level\":\"INFO\",\"msg\":\"forged\"}")},
		{"AUTH-244", notKnown, "an escape of a terminal", "RFC 8725, 3.10", sub("smo\x1b[2J")},
		{"AUTH-245", notKnown, "a change of direction", "RFC 8725, 3.10", sub("smo\u202enimda")},
		{"AUTH-246", notKnown, "a space of no width", "RFC 8725, 3.10", sub("sm\u200bo")},
		{"AUTH-247", notKnown, "a space before it", "RFC 7519, 4.1.2", sub(" smo")},
		{"AUTH-248", notKnown, "a tab after it", "RFC 7519, 4.1.2", sub("smo\t")},
		{"AUTH-249", notKnown, "half a surrogate", "RFC 8259, 8.2", bearer(w.token(replaced(`"sub":"smo"`, `"sub":"smo\ud800"`)))},
		{"AUTH-250", notKnown, "no UTF-8", "RFC 8259, 8.1", bearer(w.token(replaced(`"sub":"smo"`, "\"sub\":\"smo\xff\"")))},
		{"AUTH-251", notKnown, "client_id is a number", "RFC 9068, 2.2", client(7)},
		{"AUTH-252", notKnown, "client_id is empty", "RFC 9068, 2.2", client("")},
		{"AUTH-253", notKnown, "client_id with a line end", "RFC 8725, 3.10", client("smo\r\n")},
		{"AUTH-254", notKnown, "the claim of the user name is another, and missing", "RFC 9068, 5", bearer(w.token(without("client_id"), key(w.keys["PS256"], "PS256"))).at(nested)},
		{"AUTH-510", notKnown, "a name that becomes one of Kubernetes' own with the issuer's prefix", "RFC 9068, 5", bearer(w.token(claim("client_id", "tem:admin"), key(w.keys["PS256"], "PS256"))).at(nested)},
	}
}
