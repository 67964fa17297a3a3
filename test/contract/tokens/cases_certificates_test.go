package tokens

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"net/url"
	"slices"
	"strings"
)

// confirmed is a token whose claim cnf is this.
func (w *world) confirmed(cnf any) string { return w.token(claim("cnf", cnf)) }

// boundTo is a token that is bound to somebody's certificate.
func (w *world) boundTo(p person) string {
	return w.confirmed(map[string]any{"x5t#S256": p.thumbprint()})
}

// bindings are attacks with tokens that are bound to certificates, or should be.
func (w *world) bindings() []attempt {
	ann := w.people.ann
	anns := bearer(w.boundTo(ann)).at(mutual)
	shown := func(cnf any) shot { return bearer(w.confirmed(cnf)).at(mutual).with(ann) }
	x5t := func(value any) shot { return shown(map[string]any{"x5t#S256": value}) }
	sum := sha256.Sum256(ann.der())
	tbs := sha256.Sum256(ann.Leaf.RawTBSCertificate)
	spki := sha256.Sum256(ann.Leaf.RawSubjectPublicKeyInfo)
	asPEM := sha256.Sum256(ann.pem)
	unbound := w.token()
	return []attempt{
		{"AUTH-388", letIn, "bound, with its certificate", "RFC 8705, 3", anns.with(ann)},
		{"AUTH-389", letIn, "bound by the provider, with its certificate", "RFC 8705, 3", bearer(w.issued.bound).at(mutual).with(w.issued.holder)},
		{"AUTH-390", letIn, "bound by the provider, where binding is demanded", "RFC 8705, 3", bearer(w.issued.bound).at(bound).with(w.issued.holder)},
		{"AUTH-391", letIn, "not bound, without a certificate", "RFC 6750, 2.1", bearer(unbound).at(mutual)},
		{"AUTH-392", letIn, "not bound, with a certificate", "RFC 6750, 2.1", bearer(unbound).at(mutual).with(ann)},

		{"AUTH-393", notKnown, "bound, without a certificate", "RFC 8705, 3", anns},
		{"AUTH-394", notKnown, "bound, where no certificate can be shown", "RFC 8705, 3", anns.at(plain)},
		{"AUTH-395", notKnown, "bound, with another's certificate", "RFC 8705, 3", anns.with(w.people.bob)},
		{"AUTH-396", notKnown, "bound, with a certificate of the same key and name", "RFC 8705, 3.1", anns.with(w.people.reissue)},
		{"AUTH-397", notKnown, "bound by the provider, replayed without a certificate", "RFC 8705, 7.2", bearer(w.issued.bound).at(mutual)},
		{"AUTH-398", notKnown, "bound by the provider, replayed with another certificate", "RFC 8705, 7.2", bearer(w.issued.bound).at(mutual).with(w.people.bob)},
		{"AUTH-399", letIn, "and again with its own", "RFC 8705, 3", bearer(w.issued.bound).at(mutual).with(w.issued.holder)},
		{"AUTH-400", notKnown, "not bound, where binding is demanded", "RFC 8705, 3", bearer(unbound).at(bound)},
		{"AUTH-401", notKnown, "not bound, with a certificate, where binding is demanded", "RFC 8705, 3", bearer(unbound).at(bound).with(ann)},
		{"AUTH-402", notKnown, "bound to a key of DPoP", "RFC 9449, 6.1; RFC 7800, 3.1", shown(map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})},
		{"AUTH-403", notKnown, "bound to its certificate and to a key of DPoP", "RFC 7800, 3.1", shown(map[string]any{"x5t#S256": ann.thumbprint(), "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})},
		{"AUTH-404", notKnown, "bound to a JWK", "RFC 7800, 3.2", shown(map[string]any{"jwk": publicOf(w.keys["ES256"])})},
		{"AUTH-405", notKnown, "bound to the SHA-1 of its certificate", "RFC 8705, 3.1", shown(map[string]any{"x5t": encode(sum[:20])})},
		{"AUTH-406", notKnown, "an empty cnf", "RFC 7800, 3.1", shown(map[string]any{})},
		{"AUTH-407", notKnown, "cnf is null", "RFC 7800, 3.1", shown(nil)},
		{"AUTH-408", notKnown, "cnf is a text", "RFC 7800, 3.1", shown(ann.thumbprint())},
		{"AUTH-409", notKnown, "cnf is a list", "RFC 7800, 3.1", shown([]any{map[string]any{"x5t#S256": ann.thumbprint()}})},
		{"AUTH-410", notKnown, "the thumbprint is empty", "RFC 8705, 3.1", x5t("")},
		{"AUTH-411", notKnown, "the thumbprint is null", "RFC 8705, 3.1", x5t(nil)},
		{"AUTH-412", notKnown, "the thumbprint is a list", "RFC 8705, 3.1", x5t([]string{ann.thumbprint()})},
		{"AUTH-413", notKnown, "the thumbprint in hexadecimal", "RFC 8705, 3.1", x5t(hex.EncodeToString(sum[:]))},
		{"AUTH-414", notKnown, "the thumbprint with padding", "RFC 8705, 3.1", x5t(ann.thumbprint() + "=")},
		{"AUTH-415", notKnown, "half of the thumbprint", "RFC 8705, 3.1", x5t(encode(sum[:16]))},
		{"AUTH-416", notKnown, "the thumbprint of what was signed", "RFC 8705, 3.1", x5t(encode(tbs[:]))},
		{"AUTH-417", notKnown, "the thumbprint of the key", "RFC 8705, 3.1", x5t(encode(spki[:]))},
		{"AUTH-418", notKnown, "the thumbprint of the PEM", "RFC 8705, 3.1", x5t(encode(asPEM[:]))},
		{"AUTH-419", notKnown, "the thumbprint of the CA", "RFC 8705, 3.1", x5t(w.people.ca.thumbprint())},
		{"AUTH-420", notKnown, "the name of the member in another case", "RFC 8705, 3.1", shown(map[string]any{"X5T#s256": ann.thumbprint()})},
	}
}

// certificates are attacks on the TLS connection.
func (w *world) certificates() []attempt {
	token := bearer(w.token())
	account := bearer(w.accounts.reader)
	chained := w.people.mallory
	chained.Certificate.Certificate = append([][]byte{w.people.mallory.der()}, w.people.ca.der())
	return []attempt{
		{"AUTH-421", letIn, "demanded and shown", "RFC 8446, 4.4.2", token.at(demanding).with(w.people.ann)},
		{"AUTH-422", letIn, "demanded and shown with a Kubernetes token", "RFC 8446, 4.4.2", account.at(demanding).with(w.people.bob)},
		{"AUTH-423", letIn, "the subject that is wanted", "RFC 5280, 4.2.1.6", token.at(selective).with(w.issued.holder)},

		{"AUTH-424", notKnown, "demanded and not shown", "RFC 8705, 2", token.at(demanding)},
		{"AUTH-425", notKnown, "demanded and not shown with a Kubernetes token", "RFC 8705, 2", account.at(demanding)},
		{"AUTH-426", notKnown, "a certificate for a token", "RFC 6750, 3", request().at(demanding).with(w.people.ann)},
		{"AUTH-427", notKnown, "another subject", "RFC 8705, 2.1", token.at(selective).with(w.people.ann)},
		{"AUTH-428", noHandshake, "expired", "RFC 5280, 4.1.2.5", token.at(mutual).with(w.people.late)},
		{"AUTH-429", noHandshake, "not valid yet", "RFC 5280, 4.1.2.5", token.at(mutual).with(w.people.early)},
		{"AUTH-430", noHandshake, "for servers alone", "RFC 5280, 4.2.1.12", token.at(mutual).with(w.people.server)},
		{"AUTH-431", noHandshake, "of another CA of the same name", "RFC 5280, 6", token.at(mutual).with(w.people.mallory)},
		{"AUTH-432", noHandshake, "of another CA, with ours behind it", "RFC 5280, 6", token.at(mutual).with(chained)},
		{"AUTH-433", noHandshake, "of another CA, with a token that is bound to it", "RFC 8705, 2", bearer(w.boundTo(w.people.mallory)).at(mutual).with(w.people.mallory)},
	}
}

// haproxy are attacks with the headers of HAProxy, which OpenShift's router sets.
func (w *world) haproxy() []attempt {
	ann, bob := w.people.ann, w.people.bob
	anns := bearer(w.boundTo(ann)).at(haproxy)
	with := func(verify, der string) shot {
		return anns.set("X-Ssl-Client-Verify", verify).set("X-Ssl-Client-Der", der)
	}
	good := with("0", ann.base64())
	through := func(verify, der string) shot { return with(verify, der).fromProxy() }
	return []attempt{
		{"AUTH-434", letIn, "from the proxy", "RFC 8705, 6.5", good.fromProxy()},
		{"AUTH-435", letIn, "from the proxy, in quotes, as OpenShift's router does it", "RFC 8705, 6.5", through("0", `"`+ann.base64()+`"`)},
		{"AUTH-436", letIn, "from a stranger, who is not believed, with a certificate of its own", "RFC 8705, 6.5", with("0", bob.base64()).with(ann)},
		{"AUTH-437", letIn, "from the proxy, which checks alone", "RFC 8705, 6.5", good.at(unverified).fromProxy()},
		{"AUTH-438", letIn, "from the proxy, about a client without a certificate", "RFC 6750, 2.1", bearer(w.token()).at(haproxy).fromProxy().set("X-Ssl-Client-Verify", "0").set("X-Ssl-Client-Der", "")},

		{"AUTH-439", notKnown, "forged by a stranger", "RFC 8705, 6.5", good},
		{"AUTH-440", notKnown, "forged by a stranger, where we have no CAs", "RFC 8705, 6.5", good.at(unverified)},
		{"AUTH-441", notKnown, "forged by a stranger that says it is the proxy", "RFC 8705, 6.5", good.set("X-Forwarded-For", proxy).set("Forwarded", "for="+proxy).set("X-Real-Ip", proxy)},
		{"AUTH-442", notKnown, "forged by a stranger beside its own certificate", "RFC 8705, 6.5", good.with(bob)},
		{"AUTH-443", notKnown, "forged where no proxy is trusted", "RFC 8705, 6.5", good.at(mutual)},
		{"AUTH-444", notKnown, "forged where certificates are unknown", "RFC 8705, 6.5", good.at(plain)},
		{"AUTH-445", notKnown, "another's certificate", "RFC 8705, 3", through("0", bob.base64())},
		{"AUTH-446", notKnown, "not verified", "RFC 8705, 6.5", through("1", ann.base64())},
		{"AUTH-447", notKnown, "verified as SUCCESS, which is another proxy's word", "RFC 8705, 6.5", through("SUCCESS", ann.base64())},
		{"AUTH-448", notKnown, "verified as nothing", "RFC 8705, 6.5", through("", ann.base64())},
		{"AUTH-449", notKnown, "verified as 00", "RFC 8705, 6.5", through("00", ann.base64())},
		{"AUTH-450", notKnown, "verified as 0, 1", "RFC 8705, 6.5", through("0, 1", ann.base64())},
		{"AUTH-451", notKnown, "no word about verification", "RFC 8705, 6.5", anns.fromProxy().set("X-Ssl-Client-Der", ann.base64())},
		{"AUTH-452", notKnown, "two words about verification", "RFC 8705, 6.5", good.fromProxy().set("X-Ssl-Client-Verify", "0", "0")},
		{"AUTH-453", notKnown, "two certificates, ours first", "RFC 8705, 6.5", good.fromProxy().set("X-Ssl-Client-Der", ann.base64(), bob.base64())},
		{"AUTH-454", notKnown, "two certificates, ours last", "RFC 8705, 6.5", good.fromProxy().set("X-Ssl-Client-Der", bob.base64(), ann.base64())},
		{"AUTH-455", notKnown, "verified, and no certificate", "RFC 8705, 3", anns.fromProxy().set("X-Ssl-Client-Verify", "0")},
		{"AUTH-456", notKnown, "an empty certificate", "RFC 8705, 3", through("0", "")},
		{"AUTH-457", notKnown, "no base64", "RFC 8705, 6.5", through("0", "%%%")},
		{"AUTH-458", notKnown, "the base64 of URLs", "RFC 8705, 6.5", through("0", encode(ann.der()))},
		{"AUTH-459", notKnown, "the PEM", "RFC 8705, 6.5", through("0", strings.ReplaceAll(string(ann.pem), "\n", " "))},
		{"AUTH-460", notKnown, "garbage for DER", "RFC 8705, 6.5", through("0", base64.StdEncoding.EncodeToString([]byte("certificate")))},
		{"AUTH-461", notKnown, "half of the DER", "RFC 8705, 6.5", through("0", base64.StdEncoding.EncodeToString(ann.der()[:len(ann.der())/2]))},
		{"AUTH-462", notKnown, "something behind the DER", "RFC 8705, 6.5", through("0", base64.StdEncoding.EncodeToString(slices.Concat(ann.der(), []byte{0})))},
		{"AUTH-463", notKnown, "two certificates in one DER", "RFC 8705, 6.5", through("0", base64.StdEncoding.EncodeToString(slices.Concat(ann.der(), bob.der())))},
		{"AUTH-464", notKnown, "a quote that is not closed", "RFC 8705, 6.5", through("0", `"`+ann.base64())},
		{"AUTH-465", notKnown, "50 kB", "RFC 8725, 3.10", through("0", strings.Repeat("A", 50000))},
		{"AUTH-466", notKnown, "an expired certificate", "RFC 5280, 4.1.2.5", bearer(w.boundTo(w.people.late)).at(haproxy).fromProxy().set("X-Ssl-Client-Verify", "0").set("X-Ssl-Client-Der", w.people.late.base64())},
		{"AUTH-467", notKnown, "a certificate of another CA, which the proxy should not have let through", "RFC 5280, 6", bearer(w.boundTo(w.people.mallory)).at(haproxy).fromProxy().set("X-Ssl-Client-Verify", "0").set("X-Ssl-Client-Der", w.people.mallory.base64())},
		{"AUTH-468", notKnown, "in Client-Cert, which this proxy does not set", "RFC 9440, 4", anns.fromProxy().set("Client-Cert", ":"+ann.base64()+":")},
		{"AUTH-469", notKnown, "in X-Forwarded-Client-Cert, which this proxy does not set", "RFC 9440, 4", anns.fromProxy().set("X-Forwarded-Client-Cert", "Cert="+percent(ann.pem))},
		{"AUTH-470", notKnown, "the hash alone", "RFC 8705, 3.1", anns.fromProxy().set("X-Ssl-Client-Verify", "0").set("X-Ssl-Client-Sha1", ann.thumbprint())},
	}
}

// percent is a text as Envoy has it in a header, a space as %20.
func percent(text []byte) string {
	return strings.ReplaceAll(url.QueryEscape(string(text)), "+", "%20")
}

// clientCert are attacks with the header Client-Cert.
func (w *world) clientCert() []attempt {
	ann, bob := w.people.ann, w.people.bob
	with := func(values ...string) shot { return bearer(w.boundTo(ann)).at(rfc9440).set("Client-Cert", values...) }
	through := func(values ...string) shot { return with(values...).fromProxy() }
	quoted := func(p person) string { return ":" + p.base64() + ":" }
	return []attempt{
		{"AUTH-471", letIn, "from the proxy", "RFC 9440, 2.2", through(quoted(ann))},
		{"AUTH-472", letIn, "from the proxy, with a chain", "RFC 9440, 2.3", through(quoted(ann)).set("Client-Cert-Chain", quoted(w.people.ca))},

		{"AUTH-473", notKnown, "forged by a stranger", "RFC 9440, 4", with(quoted(ann))},
		{"AUTH-474", notKnown, "forged by a stranger beside its own certificate", "RFC 9440, 4", with(quoted(ann)).with(bob)},
		{"AUTH-475", notKnown, "forged in another case, which the proxy may overlook", "RFC 9440, 4", bearer(w.boundTo(ann)).at(rfc9440).set("CLIENT-CERT", quoted(ann))},
		{"AUTH-476", notKnown, "another's certificate", "RFC 8705, 3", through(quoted(bob))},
		{"AUTH-477", notKnown, "the client's and the proxy's, side by side", "RFC 9440, 4", through(quoted(ann), quoted(bob))},
		{"AUTH-478", notKnown, "a list", "RFC 9440, 2.2", through(quoted(ann) + ", " + quoted(bob))},
		{"AUTH-479", notKnown, "empty", "RFC 9440, 2.2", through("")},
		{"AUTH-480", notKnown, "no bytes between the colons", "RFC 9440, 2.2", through("::")},
		{"AUTH-481", notKnown, "no colons", "RFC 8941, 3.3.5", through(ann.base64())},
		{"AUTH-482", notKnown, "one colon", "RFC 8941, 3.3.5", through(":" + ann.base64())},
		{"AUTH-483", notKnown, "a string", "RFC 8941, 3.3.5", through(`"` + ann.base64() + `"`)},
		{"AUTH-484", notKnown, "the base64 of URLs", "RFC 8941, 3.3.5", through(":" + encode(ann.der()) + ":")},
		{"AUTH-485", notKnown, "garbage for DER", "RFC 9440, 2.2", through(":" + base64.StdEncoding.EncodeToString([]byte("certificate")) + ":")},
		{"AUTH-486", notKnown, "the chain alone", "RFC 9440, 2.3", bearer(w.boundTo(ann)).at(rfc9440).fromProxy().set("Client-Cert-Chain", quoted(ann))},
		{"AUTH-487", notKnown, "in the headers of HAProxy, which this proxy does not set", "RFC 9440, 4", bearer(w.boundTo(ann)).at(rfc9440).fromProxy().set("X-Ssl-Client-Verify", "0").set("X-Ssl-Client-Der", ann.base64())},
		{"AUTH-488", notKnown, "nothing from the proxy", "RFC 8705, 3", bearer(w.boundTo(ann)).at(rfc9440).fromProxy()},
		{"AUTH-489", notKnown, "the proxy's own certificate for the client's", "RFC 9440, 4", bearer(w.boundTo(bob)).at(rfc9440).fromProxy().with(bob)},
	}
}

// forwardedClientCert are attacks with the header X-Forwarded-Client-Cert.
func (w *world) forwardedClientCert() []attempt {
	ann, bob := w.people.ann, w.people.bob
	with := func(values ...string) shot {
		return bearer(w.boundTo(ann)).at(xfcc).set("X-Forwarded-Client-Cert", values...)
	}
	through := func(values ...string) shot { return with(values...).fromProxy() }
	element := func(p person) string {
		sum := sha256.Sum256(p.der())
		return `By=spiffe://hub/gateway;Hash=` + hex.EncodeToString(sum[:]) + `;Subject="CN=` + p.Leaf.Subject.CommonName + `";Cert="` + percent(p.pem) + `"`
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: ann.der()})
	return []attempt{
		{"AUTH-490", letIn, "from the proxy", "RFC 8705, 6.5", through(element(ann))},
		{"AUTH-491", letIn, "from the proxy, the certificate alone", "RFC 8705, 6.5", through("Cert=" + percent(ann.pem))},

		{"AUTH-492", notKnown, "forged by a stranger", "RFC 8705, 6.5", with(element(ann))},
		{"AUTH-493", notKnown, "forged by a stranger beside its own certificate", "RFC 8705, 6.5", with(element(ann)).with(bob)},
		{"AUTH-494", notKnown, "another's certificate", "RFC 8705, 3", through(element(bob))},
		{"AUTH-495", notKnown, "the client's before the proxy's", "RFC 8705, 6.5", through(element(ann) + "," + element(bob))},
		{"AUTH-496", notKnown, "the client's after the proxy's", "RFC 8705, 6.5", through(element(bob) + "," + element(ann))},
		{"AUTH-497", notKnown, "the client's and the proxy's, side by side", "RFC 8705, 6.5", through(element(ann), element(bob))},
		{"AUTH-498", notKnown, "two certificates in one element", "RFC 8705, 6.5", through("Cert=" + percent(ann.pem) + ";Cert=" + percent(bob.pem))},
		{"AUTH-499", notKnown, "an element within quotes", "RFC 8705, 6.5", through(`Subject="CN=x,Cert=` + percent(ann.pem) + `";Cert="` + percent(bob.pem) + `"`)},
		{"AUTH-500", notKnown, "the hash alone", "RFC 8705, 3.1", through("Hash=" + strings.Split(strings.Split(element(ann), "Hash=")[1], ";")[0])},
		{"AUTH-501", notKnown, "two certificates in one PEM", "RFC 8705, 6.5", through("Cert=" + percent(slices.Concat(ann.pem, bob.pem)))},
		{"AUTH-502", notKnown, "a certificate that says it is a key", "RFC 7468, 5", through("Cert=" + percent(key))},
		{"AUTH-503", notKnown, "DER for PEM", "RFC 7468, 5", through("Cert=" + ann.base64())},
		{"AUTH-504", notKnown, "an escape that is none", "RFC 3986, 2.1", through("Cert=%zz" + percent(ann.pem))},
		{"AUTH-505", notKnown, "a quote that is not closed", "RFC 8705, 6.5", through(`Cert="` + percent(ann.pem))},
		{"AUTH-506", notKnown, "empty", "RFC 8705, 6.5", through("")},
		{"AUTH-507", notKnown, "garbage", "RFC 8705, 6.5", through(";;=,=;Cert")},
	}
}
