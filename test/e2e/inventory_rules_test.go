package e2e

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
)

// TestTheHubRefusesInventoriesThatMakeNoSense asks the hub's apiserver what its rules make of
// an Inventory, without storing any.
func TestTheHubRefusesInventoriesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	hub := hierarchyClient(t)
	issuer := func(more string) string {
		return `{authentication: {issuers: [{url: "https://idp.example/realms/a", audiences: [o2ims]` + more + `}]}}`
	}
	for _, tc := range []struct {
		name, spec string
		refused    string // what the answer says; empty: it is taken
	}{
		{"nothing", `{}`, ""},
		{"an SMO", `{smo: {url: "https://smo.example:8443/base"}}`, ""},
		{"everything about an SMO", `{globalCloudId: 0b4a4f34-2c1d-4c29-8f5e-6f2d8c1a7e10, caBundleName: ca, smo: {url: "https://smo.example", registrationEndpoint: /r, deregistrationEndpoint: /d,
			oauth: {url: "https://idp.example", tokenEndpoint: /token, clientSecretName: s, scopes: [a, "b:c"], audience: smo, clientAuthentication: tls}, tls: {secretName: t}}}`, ""},
		{"an SMO without an address", `{smo: {registrationEndpoint: /r}}`, "spec.smo.url"},
		{"an SMO with a user", `{smo: {url: "https://a:b@smo.example"}}`, "url must be"},
		{"an SMO with a query", `{smo: {url: "https://smo.example/?a=b"}}`, "url must be"},
		{"an SMO that is no URL", `{smo: {url: "smo.example"}}`, "url must be"},
		{"an endpoint that is no path", `{smo: {url: "https://smo.example", registrationEndpoint: r}}`, "registrationEndpoint must be a path"},
		{"an endpoint elsewhere", `{smo: {url: "https://smo.example", registrationEndpoint: "https://other.example/r"}}`, "registrationEndpoint must be a path"},
		{"deregistration alone", `{smo: {url: "https://smo.example", deregistrationEndpoint: /d}}`, "deregistrationEndpoint needs"},
		{"a certificate that nobody named", `{smo: {url: "https://smo.example", oauth: {url: "https://idp.example", clientSecretName: s, clientAuthentication: tls}}}`, "needs tls.secretName"},
		{"OAuth without a client", `{smo: {url: "https://smo.example", oauth: {url: "https://idp.example"}}}`, "clientSecretName"},
		{"a scope with a space", `{smo: {url: "https://smo.example", oauth: {url: "https://idp.example", clientSecretName: s, scopes: ["a b"]}}}`, "scopes"},
		{"an audience with a space", `{smo: {url: "https://smo.example", oauth: {url: "https://idp.example", clientSecretName: s, audience: "a b"}}}`, "audience"},
		{"an issuer", issuer(``), ""},
		{"an issuer with everything", `{authentication: {issuers: [{url: "https://idp.example", audiences: [a, b], usernameClaim: sub, usernamePrefix: "idp:", groupsClaim: realm_access.roles,
			roleNames: [{name: operator, role: o2ims-admin}], algorithms: [ES256], requireCertificateBinding: true, caBundleName: ca, leeway: 1m}],
			clientCertificates: {caBundleName: callers, required: true, subjects: ["CN=smo"]}, trustedProxies: {networks: [10.128.0.0/14, "fd00::/8"], header: HAProxy}}}`, ""},
		{"an issuer without TLS", `{authentication: {issuers: [{url: "http://idp.example", audiences: [a]}]}}`, "url must be"},
		{"an issuer for any audience", `{authentication: {issuers: [{url: "https://idp.example"}]}}`, "audiences"},
		{"an issuer twice", `{authentication: {issuers: [{url: "https://idp.example", audiences: [a]}, {url: "https://idp.example", audiences: [b]}]}}`, "duplicate"},
		{"a role that is none", issuer(`, roleNames: [{name: a, role: "system:masters"}]`), "roleNames[0].role"},
		{"names like Kubernetes'", issuer(`, usernamePrefix: "system:"`), "Kubernetes' own"},
		{"symmetric keys", issuer(`, algorithms: [HS256]`), "algorithms[0]"},
		{"no signature", issuer(`, algorithms: [none]`), "algorithms[0]"},
		{"clocks hours apart", issuer(`, leeway: 1h`), "leeway must be"},
		{"binding to nothing", issuer(`, requireCertificateBinding: true`), "requireCertificateBinding needs"},
		{"required certificates of nobody", `{authentication: {clientCertificates: {required: true}}}`, "caBundleName"},
		{"a proxy everywhere", `{authentication: {trustedProxies: {networks: [everywhere], header: XFCC}}}`, "must be CIDRs"},
		{"a header that nobody knows", `{authentication: {trustedProxies: {networks: [10.0.0.0/8], header: X-Forwarded-For}}}`, "header"},
		{"services", `{services: [{name: infrastructureInventory, versions: [v1]}, {name: infrastructureMonitoring}]}`, ""},
		{"a service that is none", `{services: [{name: infrastructureWeather}]}`, "services[0].name"},
		{"a version that is none", `{services: [{name: infrastructureInventory, versions: [v9]}]}`, "versions[0]"},
		{"retention", `{retention: {alarmDays: 30}}`, ""},
		{"retention of nothing", `{retention: {alarmDays: -1}}`, "alarmDays"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiv1alpha1.GroupVersion.String(), "kind": "Inventory"}}
			o.SetName(apiv1alpha1.InventoryName)
			var spec map[string]any
			if err := yaml.Unmarshal([]byte(tc.spec), &spec); err != nil {
				t.Fatal(err)
			}
			o.Object["spec"] = spec
			err := hub.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.DryRunAll, client.ForceOwnership, client.FieldOwner("test-rules"))
			if (tc.refused == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.refused) {
				t.Errorf("the hub says %v, want %q", err, tc.refused)
			}
		})
	}
}
