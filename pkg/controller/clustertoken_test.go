package controller

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/o2ims/o2ims/pkg/fault"
)

// jwtOf is a token that says this of itself.
func jwtOf(payload string) string {
	b := base64.RawURLEncoding.EncodeToString
	return b([]byte(`{"alg":"RS256"}`)) + "." + b([]byte(payload)) + "." + b([]byte("very-secret"))
}

func TestClusterTokens(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	later := now.Add(time.Hour)
	good := jwtOf(fmt.Sprintf(`{"exp":%d,"sub":"system:serviceaccount:x:o2ims-deployer"}`, later.Unix()))
	managed := map[string]string{labelManagedServiceAccount: "true"}
	secret := func(namespace, name string, labels map[string]string, token string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
			Data: map[string][]byte{"ca.crt": []byte("PEM"), "token": []byte(token)}}
	}
	for _, tc := range []struct {
		name    string
		secret  *corev1.Secret
		down    error
		want    string
		expires time.Time
		err     error
	}{
		{"the add-on's", secret("edge-1", "o2ims-deployer", managed, good), nil, good, later, nil},
		{"of another cluster", secret("edge-2", "o2ims-deployer", managed, good), nil, "", time.Time{}, fault.NotFound},
		{"of another account", secret("edge-1", "admin", managed, good), nil, "", time.Time{}, fault.NotFound},
		{"somebody else's", secret("edge-1", "o2ims-deployer", nil, good), nil, "", time.Time{}, fault.Invalid},
		{"not the add-on's any more", secret("edge-1", "o2ims-deployer", map[string]string{labelManagedServiceAccount: "false"}, good), nil, "", time.Time{}, fault.Invalid},
		{"empty", secret("edge-1", "o2ims-deployer", managed, ""), nil, "", time.Time{}, fault.NotFound},
		{"expired", secret("edge-1", "o2ims-deployer", managed, jwtOf(fmt.Sprintf(`{"exp":%d}`, now.Unix()))), nil, "", time.Time{}, fault.NotFound},
		{"without an end", secret("edge-1", "o2ims-deployer", managed, jwtOf(`{}`)), nil, jwtOf(`{}`), time.Time{}, nil},
		{"no JWT", secret("edge-1", "o2ims-deployer", managed, "opaque"), nil, "opaque", time.Time{}, nil},
		{"not fit for a header", secret("edge-1", "o2ims-deployer", managed, "very-secret\r\nX: y"), nil, "", time.Time{}, fault.Invalid},
		{"too long", secret("edge-1", "o2ims-deployer", managed, strings.Repeat("very-secret", 2000)), nil, "", time.Time{}, fault.Invalid},
		{"not allowed", nil, apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "o2ims-deployer", errors.New("no")), "", time.Time{}, fault.Unavailable},
		{"away", nil, errors.New("connection refused"), "", time.Time{}, fault.Unavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			clients := kubefake.NewClientset()
			if tc.secret != nil {
				clients = kubefake.NewClientset(tc.secret)
			}
			if tc.down != nil {
				clients.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, tc.down })
			}
			token, expires, err := ClusterTokens(clients.CoreV1(), "o2ims-deployer", func() time.Time { return now }).ClusterToken(t.Context(), "edge-1")
			if string(token) != tc.want || !expires.Equal(tc.expires) || !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) {
				t.Errorf("%s, %s, %v, want %s, %s, %v", token, expires, err, tc.want, tc.expires, tc.err)
			}
			if err != nil && strings.Contains(err.Error(), "very-secret") {
				t.Errorf("the error tells the token: %v", err)
			}
			for _, action := range clients.Actions() {
				if action.GetVerb() != "get" { // the manager may do nothing else
					t.Errorf("it did %s", action.GetVerb())
				}
			}
		})
	}
	if ClusterTokens(kubefake.NewClientset().CoreV1(), "", time.Now) != nil {
		t.Error("without an account there are credentials")
	}
}

// TestClusterTokensAreNotKept: the add-on replaces them when it likes.
func TestClusterTokensAreNotKept(t *testing.T) {
	clients := kubefake.NewClientset()
	credentials := ClusterTokens(clients.CoreV1(), "o2ims-deployer", time.Now)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "o2ims-deployer", Labels: map[string]string{labelManagedServiceAccount: "true"}}}
	for i, token := range []string{"first", "second", ""} {
		secret.Data = map[string][]byte{"token": []byte(token)}
		var err error
		if i == 0 {
			_, err = clients.CoreV1().Secrets("edge-1").Create(t.Context(), secret, metav1.CreateOptions{})
		} else {
			_, err = clients.CoreV1().Secrets("edge-1").Update(t.Context(), secret, metav1.UpdateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := credentials.ClusterToken(t.Context(), "edge-1"); string(got) != token || (err == nil) != (token != "") {
			t.Errorf("%s, %v, want %s", got, err, token)
		}
	}
}

func FuzzExpiryOf(f *testing.F) {
	for _, payload := range []string{`{}`, `{"exp":1700000000}`, `{"exp":1.7e9}`, `{"exp":-1}`, `{"exp":1e300}`, `{"exp":"soon"}`, `[]`, `{"exp":null}`} {
		f.Add([]byte(jwtOf(payload)))
	}
	f.Add([]byte("a.b"))
	f.Add([]byte("..."))
	f.Fuzz(func(t *testing.T, token []byte) {
		expires := expiryOf(token)
		if expires.IsZero() {
			return
		}
		text, err := expires.MarshalJSON() // as an answer has it
		if err != nil {
			t.Fatalf("%q expires %v, which cannot be written: %v", token, expires, err)
		}
		var again time.Time
		if err := again.UnmarshalJSON(text); err != nil || !again.Equal(expires) {
			t.Errorf("%s is read again as %s, %v", expires, again, err)
		}
		if read := expiryOf([]byte(jwtOf(fmt.Sprintf(`{"exp":%d}`, expires.Unix())))); !read.Equal(expires) {
			t.Errorf("%s, written again, is %s", expires, read)
		}
	})
}
