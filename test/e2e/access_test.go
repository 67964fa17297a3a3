package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/harness/kubelet"
	"github.com/o2ims/o2ims/test/ocloud"
)

// apiAudience is the audience of tokens for the API.
const apiAudience = "o2ims"

// caller is a service account of the hub.
type caller struct {
	account *corev1.ServiceAccount
	binding *rbacv1.ClusterRoleBinding // nil without rights
}

// newCaller makes a service account, with rights of its own where rules are given.
func newCaller(ctx context.Context, t *testing.T, name string, rules ...rbacv1.PolicyRule) caller {
	t.Helper()
	c := caller{account: &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ocloud.Namespace, Name: name}}}
	create(ctx, t, c.account)
	if len(rules) > 0 {
		create(ctx, t, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "test-" + name}, Rules: rules})
		c.bind(ctx, t, "test-"+name)
	}
	return c
}

// bind gives the caller a ClusterRole.
func (c *caller) bind(ctx context.Context, t *testing.T, role string) {
	t.Helper()
	c.binding = &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "test-" + c.account.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: c.account.Namespace, Name: c.account.Name}},
	}
	create(ctx, t, c.binding)
}

func create(ctx context.Context, t *testing.T, object client.Object) {
	t.Helper()
	if err := cloud.Env.Hub.Client().Create(ctx, object); err != nil {
		t.Fatal(err)
	}
}

func remove(ctx context.Context, t *testing.T, object client.Object) {
	t.Helper()
	if err := cloud.Env.Hub.Client().Delete(ctx, object); err != nil {
		t.Fatal(err)
	}
}

// token asks the hub for a token; without an audience it is one for the apiserver.
func (c caller) token(ctx context.Context, t *testing.T, audience ...string) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audience}}
	if err := cloud.Env.Hub.Client().SubResource("token").Create(ctx, c.account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// answer is what the API said.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask asks one manager.
func ask(ctx context.Context, t *testing.T, pod kubelet.PodInfo, method, path, token string) answer {
	t.Helper()
	response, err := cloud.DoAt(ctx, pod, method, path, token)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, response)
}

func read(t *testing.T, response *http.Response) answer {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

// TestAccess asks the hub's own apiserver, through the API, who may do what.
func TestAccess(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	reader := caller{account: &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ocloud.Namespace, Name: "test-reader"}}}
	nobody := newCaller(ctx, t, "nobody")
	gone := newCaller(ctx, t, "gone")
	gone.bind(ctx, t, "o2ims-reader")
	goneToken := gone.token(ctx, t, apiAudience)
	remove(ctx, t, gone.account)

	all := newCaller(ctx, t, "all", rbacv1.PolicyRule{Verbs: []string{"*"}, NonResourceURLs: []string{"/o2ims-infrastructureInventory/*"}})
	anything := all.token(ctx, t, apiAudience)

	const pools = poolsPath
	valid := reader.token(ctx, t, apiAudience)
	for _, tc := range []struct {
		name, method, path, token string
		want                      int
	}{
		{"a reader reads", http.MethodGet, pools, valid, http.StatusOK},
		{"no token", http.MethodGet, pools, "", http.StatusUnauthorized},
		{"nonsense for a token", http.MethodGet, pools, "nonsense", http.StatusUnauthorized},
		{"a token for the apiserver", http.MethodGet, pools, reader.token(ctx, t), http.StatusUnauthorized},
		{"a token for somebody else", http.MethodGet, pools, reader.token(ctx, t, "vault"), http.StatusUnauthorized},
		{"a token of many audiences", http.MethodGet, pools, reader.token(ctx, t, "vault", apiAudience), http.StatusOK},
		{"a token that we signed", http.MethodGet, pools, reader.forge(ctx, t, time.Now().Add(time.Hour)), http.StatusOK},
		{"a token that has expired", http.MethodGet, pools, reader.forge(ctx, t, time.Now().Add(-time.Minute)), http.StatusUnauthorized},
		{"a token whose account is gone", http.MethodGet, pools, goneToken, http.StatusUnauthorized},
		{"an account without rights", http.MethodGet, pools, nobody.token(ctx, t, apiAudience), http.StatusForbidden},
		{"a reader deletes", http.MethodDelete, pools, valid, http.StatusForbidden},
		{"an unknown path, without rights", http.MethodGet, ocloud.InventoryV1 + "/secrets", valid, http.StatusForbidden},
		{"an unknown pool", http.MethodGet, pools + "/6a3e5c1e-6e0b-4c0f-9d0a-0f6a3a8f9d11", valid, http.StatusNotFound},
		{"a path that is none", http.MethodGet, ocloud.InventoryV1 + "/secrets", anything, http.StatusNotFound},
		{"an id that is none", http.MethodGet, pools + "/1", anything, http.StatusBadRequest},
		{"a method that is none", http.MethodDelete, pools, anything, http.StatusMethodNotAllowed},
		{"a path outside of all", http.MethodGet, "/secrets", "", http.StatusNotFound},
		{"liveness", http.MethodGet, "/healthz", "", http.StatusOK},
		{"readiness", http.MethodGet, "/readyz", "", http.StatusOK},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := through(ctx, t, tc.method, tc.path, tc.token)
			if got.status != tc.want {
				t.Fatalf("%s %s = %d: %s; want %d", tc.method, tc.path, got.status, got.body, tc.want)
			}
			if tc.want >= http.StatusBadRequest && !strings.HasPrefix(got.header.Get("Content-Type"), "application/problem+json") {
				t.Errorf("content type %q", got.header.Get("Content-Type"))
			}
			if tc.want == http.StatusUnauthorized && got.header.Get("WWW-Authenticate") == "" {
				t.Error("no header WWW-Authenticate")
			}
		})
	}

	t.Run("how to reach a cluster", func(t *testing.T) {
		admin := must[string](t)(cloud.Token(ctx, "test-client"))
		const managers = ocloud.InventoryV1 + "/deploymentManagers?all_fields"
		if body := through(ctx, t, http.MethodGet, managers, valid).body; strings.Contains(body, "profileData") || !strings.Contains(body, "profileName") {
			t.Errorf("a reader sees %s", body)
		}
		body := through(ctx, t, http.MethodGet, managers, admin).body
		if server := cloud.Spoke(edge).Server(); !strings.Contains(body, "profileData") || !strings.Contains(body, server) {
			t.Errorf("an admin does not see how to reach %s: %s", server, body)
		}
	})
}

// through asks through the Service.
func through(ctx context.Context, t *testing.T, method, path, token string) answer {
	t.Helper()
	response, err := cloud.Do(ctx, method, path, token, nil)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, response)
}

// forge signs a token with the hub's own key, since the hub issues none that expires
// while a test waits.
func (c caller) forge(ctx context.Context, t *testing.T, expires time.Time) string {
	t.Helper()
	account := &corev1.ServiceAccount{}
	if err := cloud.Env.Hub.Client().Get(ctx, client.ObjectKeyFromObject(c.account), account); err != nil {
		t.Fatal(err)
	}
	encode := func(v any) string {
		return base64.RawURLEncoding.EncodeToString(must[[]byte](t)(json.Marshal(v)))
	}
	text := must[[]byte](t)(os.ReadFile(filepath.Join(cloud.Env.Dir(), "clusters", "hub", "pki", "sa.key")))
	block, _ := pem.Decode(text)
	key := must[*ecdsa.PrivateKey](t)(x509.ParseECPrivateKey(block.Bytes))
	signed := encode(map[string]any{"alg": "ES256", "typ": "JWT"}) + "." + encode(map[string]any{
		"iss": "https://kubernetes.default.svc", "aud": []string{apiAudience},
		"sub": "system:serviceaccount:" + account.Namespace + ":" + account.Name,
		"iat": expires.Add(-time.Hour).Unix(), "nbf": expires.Add(-time.Hour).Unix(), "exp": expires.Unix(),
		"kubernetes.io": map[string]any{
			"namespace": account.Namespace, "serviceaccount": map[string]any{"name": account.Name, "uid": account.UID},
		},
	})
	digest := sha256.Sum256([]byte(signed))
	first, second, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64) // RFC 7518, clause 3.4
	first.FillBytes(signature[:32])
	second.FillBytes(signature[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// TestRightsAreTakenAway shows that what an administrator takes away is refused within
// the time for which answers of the apiserver are believed, a minute.
func TestRightsAreTakenAway(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, tc := range []struct {
		name string
		take func(t *testing.T, c caller)
		want int
	}{
		{"unbound", func(t *testing.T, c caller) { remove(ctx, t, c.binding) }, http.StatusForbidden},
		{"deleted", func(t *testing.T, c caller) { remove(ctx, t, c.account) }, http.StatusUnauthorized},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newCaller(ctx, t, tc.name)
			c.bind(ctx, t, "o2ims-reader")
			token := c.token(ctx, t, apiAudience)
			for _, pod := range cloud.Managers() {
				answers(ctx, t, pod, token, http.StatusOK)
			}
			tc.take(t, c)
			taken := time.Now()
			for _, pod := range cloud.Managers() {
				answers(ctx, t, pod, token, tc.want)
			}
			// A minute is ours, ten seconds are the apiserver's own cache; the rest is a busy machine.
			if took := time.Since(taken); took > 2*time.Minute {
				t.Errorf("refused after %s", took)
			}
		})
	}
}

// answers waits until a manager gives an answer of this status to a caller.
func answers(ctx context.Context, t *testing.T, pod kubelet.PodInfo, token string, want int) {
	t.Helper()
	eventually(ctx, t, http.StatusText(want), func(ctx context.Context) error {
		response, err := cloud.DoAt(ctx, pod, http.MethodGet, poolsPath, token)
		if err != nil {
			return err
		}
		if err := response.Body.Close(); err != nil {
			return err
		}
		return is("status", response.Status, fmt.Sprint(want, " ", http.StatusText(want)))
	})
}
