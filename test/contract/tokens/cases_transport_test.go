package tokens

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"time"

	"github.com/o2ims/o2ims/pkg/auth"
)

// transport are attacks on how a token is sent.
func (w *world) transport() []attempt {
	good := w.token()
	header := func(values ...string) shot { return request().set("Authorization", values...) }
	return []attempt{
		{"AUTH-334", letIn, "Bearer", "RFC 6750, 2.1", header("Bearer " + good)},
		{"AUTH-335", letIn, "bearer, for schemes have no case", "RFC 9110, 11.1", header("bearer " + good)},
		{"AUTH-336", letIn, "BEARER", "RFC 9110, 11.1", header("BEARER " + good)},

		{"AUTH-337", notKnown, "no header", "RFC 6750, 3", request()},
		{"AUTH-338", notKnown, "an empty header", "RFC 6750, 3", header("")},
		{"AUTH-339", notKnown, "no token", "RFC 6750, 2.1", header("Bearer")},
		{"AUTH-340", notKnown, "a blank token", "RFC 6750, 2.1", header("Bearer  ")},
		{"AUTH-341", notKnown, "no scheme", "RFC 6750, 2.1", header(good)},
		{"AUTH-342", notKnown, "two headers of the same", "RFC 9110, 11.6.2", header("Bearer "+good, "Bearer "+good)},
		{"AUTH-343", notKnown, "two headers, the second one good", "RFC 9110, 11.6.2", header("Bearer x", "Bearer "+good)},
		{"AUTH-344", notKnown, "two headers, the first one good", "RFC 9110, 11.6.2", header("Bearer "+good, "Basic eDp5")},
		{"AUTH-345", notKnown, "two in one header", "RFC 9110, 11.6.2", header("Bearer " + good + ", Bearer " + good)},
		{"AUTH-346", notKnown, "with a realm", "RFC 6750, 2.1", header(`Bearer realm="o2ims", token="` + good + `"`)},
		{"AUTH-347", notKnown, "with a colon", "RFC 6750, 2.1", header("Bearer: " + good)},
		{"AUTH-348", notKnown, "scheme Basic, with the token for a password", "RFC 6750, 2", header("Basic " + base64.StdEncoding.EncodeToString([]byte("bearer:"+good)))},
		{"AUTH-349", notKnown, "scheme Basic, with the client's secret", "RFC 6750, 2", header("Basic " + base64.StdEncoding.EncodeToString([]byte("smo:the secret of the SMO")))},
		{"AUTH-350", notKnown, "scheme Token", "RFC 6750, 2.1", header("Token " + good)},
		{"AUTH-351", notKnown, "scheme JWT", "RFC 6750, 2.1", header("JWT " + good)},
		{"AUTH-352", notKnown, "scheme DPoP", "RFC 9449, 7.1", header("DPoP " + good)},
		{"AUTH-353", notKnown, "scheme Negotiate", "RFC 6750, 2.1", header("Negotiate " + good)},
		{"AUTH-354", notKnown, "in the query", "RFC 6750, 2.3", request().to(http.MethodGet, readersPath+"?access_token="+url.QueryEscape(good))},
		{"AUTH-355", notKnown, "in a form", "RFC 6750, 2.2", request().to(http.MethodPost, readersPath).set("Content-Type", "application/x-www-form-urlencoded").withBody("access_token=" + url.QueryEscape(good))},
		{"AUTH-356", notKnown, "in a cookie", "RFC 6750, 5.3", request().set("Cookie", "access_token="+good)},
		{"AUTH-357", notKnown, "in Proxy-Authorization", "RFC 9110, 11.7.2", request().set("Proxy-Authorization", "Bearer "+good)},
		{"AUTH-358", notKnown, "in X-Forwarded-Access-Token", "RFC 6750, 2", request().set("X-Forwarded-Access-Token", good)},
		{"AUTH-359", notKnown, "in X-Authorization", "RFC 6750, 2", request().set("X-Authorization", "Bearer "+good)},
		{"AUTH-360", notKnown, "in a protocol of WebSocket, as Kubernetes takes it", "RFC 6750, 2", request().set("Sec-Websocket-Protocol", "base64url.bearer.authorization.k8s.io."+encode([]byte(good)))},
	}
}

// othersHeaders are headers by which others are told who is calling.
func (w *world) othersHeaders() []attempt {
	reader := bearer(w.token())
	nobody := bearer(w.token(without("roles")))
	return []attempt{
		{"AUTH-361", letIn, "a reader through proxies", "design: a header chooses nothing", reader.set("X-Forwarded-For", "10.0.0.1")},
		{"AUTH-362", letIn, "a Kubernetes token through proxies", "design: a header chooses nothing", bearer(w.accounts.reader).set("X-Forwarded-For", "10.0.0.1")},

		{"AUTH-363", notKnown, "X-Remote-User and -Group without a token", "Kubernetes' authenticating proxy", request().set("X-Remote-User", "system:admin").set("X-Remote-Group", "system:masters")},
		{"AUTH-364", mayNot, "X-Remote-Group beside a token", "Kubernetes' authenticating proxy", nobody.set("X-Remote-User", "system:admin").set("X-Remote-Group", "system:masters")},
		{"AUTH-365", mayNot, "Impersonate-Group beside a token", "Kubernetes' impersonation", reader.set("Impersonate-User", "system:admin").set("Impersonate-Group", "system:masters").to(http.MethodGet, adminsPath)},
		{"AUTH-366", mayNot, "X-Forwarded-User beside a token", "OpenShift's oauth-proxy", nobody.set("X-Forwarded-User", "system:admin").set("X-Forwarded-Groups", "o2ims-admin")},
		{"AUTH-367", notKnown, "X-Forwarded-For, which elsewhere chooses who judges", "design: a header chooses nothing", bearer(w.token(claim("aud", "vault"))).set("X-Forwarded-For", "10.0.0.1")},
		{"AUTH-368", mayNot, "X-Original-Url of another path", "design: a header chooses nothing", reader.set("X-Original-Url", readersPath).set("X-Rewrite-Url", readersPath).to(http.MethodGet, adminsPath)},
		{"AUTH-369", notKnown, "Forwarded by ourselves", "RFC 7239, 8.1", request().set("Forwarded", "for=127.0.0.1;proto=https;host=localhost")},
	}
}

// kubernetes are attacks with tokens that the apiserver judges.
func (w *world) kubernetes() []attempt {
	a := w.accounts
	claims := func(name string, value any) shot { return bearer(w.account(claim(name, value))) }
	other := func(name string, uid any) shot {
		return bearer(w.account(claim("sub", "system:serviceaccount:o2ims:"+name), claim("kubernetes.io", map[string]any{
			"namespace": "o2ims", "serviceaccount": map[string]any{"name": name, "uid": uid},
		})))
	}
	return []attempt{
		{"AUTH-370", letIn, "for us", "Kubernetes TokenRequest", bearer(a.reader)},
		{"AUTH-371", letIn, "for us among others", "Kubernetes TokenRequest", bearer(a.bothAudiences)},
		{"AUTH-372", letIn, "made by the apiserver's key", "RFC 7515, 5.2", bearer(w.account())},

		{"AUTH-373", mayNot, "of an account without a role", "RFC 6750, 3.1", bearer(a.nobody)},
		{"AUTH-509", letIn, "of an account without a role, where all may whom Kubernetes knows", "RFC 6750, 3.1", bearer(a.nobody).to(http.MethodGet, knownPath)},
		{"AUTH-374", notKnown, "for another", "RFC 7519, 4.1.3", bearer(a.otherAudience)},
		{"AUTH-375", notKnown, "for the apiserver itself", "RFC 7519, 4.1.3", bearer(a.apiserver)},
		{"AUTH-376", notKnown, "of an account that is gone", "Kubernetes TokenReview", bearer(a.deleted)},
		{"AUTH-377", notKnown, "bound to a Secret that is gone", "Kubernetes TokenRequest, boundObjectRef", bearer(a.unbound)},
		{"AUTH-378", notKnown, "expired", "RFC 7519, 4.1.4", claims("exp", in(-time.Minute))},
		{"AUTH-379", notKnown, "not valid yet", "RFC 7519, 4.1.5", claims("nbf", in(time.Hour))},
		{"AUTH-380", notKnown, "signed by another key", "RFC 7515, 5.2", bearer(w.account(key(w.keys["ES256"], "ES256")))},
		{"AUTH-381", notKnown, "not signed", "RFC 8725, 3.2", bearer(w.account(head("alg", "none"), signedWith(nil, "none")))},
		{"AUTH-382", notKnown, "of an account that was made anew under the same name", "Kubernetes TokenReview", other("reader", "6a3e5c1e-6e0b-4c0f-9d0a-0f6a3a8f9d11")},
		{"AUTH-383", notKnown, "of an account that never was", "Kubernetes TokenReview", other("nowhere", a.uid)},
		{"AUTH-384", mayNot, "with roles of ours, which are not Kubernetes' to give", "RFC 9068, 5", bearer(w.account(claim("roles", []string{auth.RoleAdmin}))).to(http.MethodGet, adminsPath)},
		{"AUTH-385", notKnown, "that names our issuer", "RFC 8725, 3.8", claims("iss", w.provider.Issuer)},
		{"AUTH-386", notKnown, "that names our issuer, of type at+jwt and with its kid", "RFC 8725, 3.8", bearer(w.account(claim("iss", w.provider.Issuer), head("typ", "at+jwt"), head("kid", w.keys["ES256"].KeyID)))},
		{"AUTH-387", notKnown, "that names another issuer", "RFC 7519, 4.1.1", claims("iss", "https://kubernetes.example.net")},
	}
}
