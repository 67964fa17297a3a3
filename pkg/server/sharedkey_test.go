package server

import (
	"bytes"
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// TestSharedKey: replicas get the same key, whoever comes first.
func TestSharedKey(t *testing.T) {
	clients := fake.NewClientset()
	secrets := clients.CoreV1().Secrets("o2ims")
	first, err := SharedKey(t.Context(), secrets, "o2ims-paging", 32)
	if err != nil || len(first) != 32 || bytes.Equal(first, make([]byte, 32)) {
		t.Fatalf("%x, %v", first, err)
	}
	if second, err := SharedKey(t.Context(), secrets, "o2ims-paging", 32); err != nil || !bytes.Equal(second, first) {
		t.Errorf("the second replica has %x, %v, want %x", second, err, first)
	}

	// Another replica is quicker: it makes the Secret between our look and our attempt.
	clients = fake.NewClientset()
	theirs := []byte("01234567890123456789012345678901")
	clients.PrependReactor("create", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		err := clients.Tracker().Add(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "o2ims", Name: "o2ims-paging"}, Data: map[string][]byte{"key": theirs}})
		if err != nil {
			t.Error(err)
		}
		return true, nil, apierrors.NewAlreadyExists(schema.GroupResource{Resource: "secrets"}, "o2ims-paging")
	})
	if got, err := SharedKey(t.Context(), clients.CoreV1().Secrets("o2ims"), "o2ims-paging", 32); err != nil || !bytes.Equal(got, theirs) {
		t.Errorf("%q, %v, want %q", got, err, theirs)
	}
}

// TestSharedKeyIsWaitedFor: nothing is made up while the apiserver does not answer, or the
// Secret holds something else.
func TestSharedKeyIsWaitedFor(t *testing.T) {
	short := fake.NewClientset(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "o2ims", Name: "o2ims-paging"}, Data: map[string][]byte{"key": []byte("short")}})
	away := fake.NewClientset()
	away.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("connection refused")
	})
	for name, clients := range map[string]*fake.Clientset{"short": short, "away": away} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if key, err := SharedKey(ctx, clients.CoreV1().Secrets("o2ims"), "o2ims-paging", 32); err == nil {
			t.Errorf("%s: %q", name, key)
		}
	}
}
