package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/harness/kubelet"
	"github.com/o2ims/o2ims/test/ocloud"
)

// TestOneOfTwoManagersWrites shows that replicas share nothing but the hub: both serve
// the same bytes, under certificates of one CA, and only the leader writes.
func TestOneOfTwoManagersWrites(t *testing.T) {
	ctx := t.Context()
	leader, follower, _ := replicas(ctx, t)
	scraper := newCaller(ctx, t, "scraper", rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics"}})

	cordonAndBack(ctx, t, edge, edgeDell) // from here on the leader has seen all
	before := metric(metrics(ctx, t, leader, scraper), "o2ims_addon_renders_total")
	cordonAndBack(ctx, t, edge, edgeDell)
	acknowledged(ctx, t, edge)
	sameBytes(ctx, t)
	if after := metric(metrics(ctx, t, leader, scraper), "o2ims_addon_renders_total"); after != before {
		t.Errorf("reports had manifests rendered: %s times in all, before %s", after, before)
	}

	for _, tc := range []struct {
		pod   kubelet.PodInfo
		leads bool
	}{{leader, true}, {follower, false}} {
		if deploys := metric(metrics(ctx, t, tc.pod, scraper), "o2ims_addon_renders_total") != "0"; deploys != tc.leads {
			t.Errorf("%s renders manifests: %t, leads: %t", tc.pod.Name, deploys, tc.leads)
		}
		// The leader's Lease is a PUT, an answer to a report a PATCH; followers only ask, by
		// GET and, for reviews of tokens and access, POST.
		for _, method := range []string{"PATCH", "PUT"} {
			if writes := hasSent(metrics(ctx, t, tc.pod, scraper), method); writes != tc.leads {
				t.Errorf("%s has sent %s: %t, leads: %t", tc.pod.Name, method, writes, tc.leads)
			}
		}
		verifyCertificate(ctx, t, tc.pod)
	}
}

// metric is the value of a metric without labels; "" without one.
func metric(metrics []string, name string) string {
	for _, line := range metrics {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return value
		}
	}
	return ""
}

// hasSent tells whether a manager has sent requests with a method to the hub.
func hasSent(metrics []string, method string) bool {
	return slices.ContainsFunc(metrics, func(line string) bool {
		return strings.HasPrefix(line, "rest_client_requests_total{") && strings.Contains(line, `method="`+method+`"`)
	})
}

// metrics are the lines that a manager shows to Prometheus.
func metrics(ctx context.Context, t *testing.T, pod kubelet.PodInfo, caller caller) []string {
	t.Helper()
	answer := ask(ctx, t, pod, http.MethodGet, "/metrics", caller.token(ctx, t, apiAudience))
	lines := strings.Split(answer.body, "\n")
	for _, name := range []string{"o2ims_addon_renders_total", "rest_client_requests_total"} {
		if !strings.Contains(answer.body, name) {
			t.Fatalf("%s: %d, and no metric %s", pod.Name, answer.status, name)
		}
	}
	return lines
}

// verifyCertificate checks what a client of the Service checks that trusts the Secret's
// ca.crt and nothing else.
func verifyCertificate(ctx context.Context, t *testing.T, pod kubelet.PodInfo) {
	t.Helper()
	var secret corev1.Secret
	if err := cloud.Env.Hub.Client().Get(ctx, client.ObjectKey{Namespace: ocloud.Namespace, Name: "o2ims-serving-cert"}, &secret); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(secret.Data["ca.crt"]) {
		t.Fatalf("ca.crt of Secret o2ims-serving-cert holds no certificate")
	}
	external, _, err := net.SplitHostPort(strings.TrimPrefix(cloud.URL, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"o2ims", "o2ims.o2ims.svc", external} {
		dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12}}
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(pod.IP, "8443"))
		if err != nil {
			t.Errorf("%s as %s: %v", pod.Name, name, err)
			continue
		}
		conn.Close()
	}
}
