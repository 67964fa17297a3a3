package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// keyEntry is where a Secret has the key.
const keyEntry = "key"

// sharedKeyInterval is how long to wait before the apiserver is asked again.
const sharedKeyInterval = 2 * time.Second

// SharedKey returns a key of this many bytes that all replicas share: what the Secret
// holds, or, when there is none, random bytes that are put there. It asks until there is
// an answer or ctx ends.
func SharedKey(ctx context.Context, secrets corev1client.SecretInterface, name string, size int) ([]byte, error) {
	for {
		key, err := sharedKey(ctx, secrets, name, size)
		if err == nil {
			return key, nil
		}
		slog.WarnContext(ctx, "shared key not known yet", "secret", name, "error", err)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("secret %s: %w", name, err)
		case <-time.After(sharedKeyInterval):
		}
	}
}

// sharedKey asks once. When several replicas make the Secret, one succeeds and the others
// take what it made.
func sharedKey(ctx context.Context, secrets corev1client.SecretInterface, name string, size int) ([]byte, error) {
	secret, err := secrets.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		key := make([]byte, size)
		_, _ = rand.Read(key) // never fails
		secret, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{keyEntry: key},
		}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			secret, err = secrets.Get(ctx, name, metav1.GetOptions{})
		}
	}
	if err != nil {
		return nil, err
	}
	if key := secret.Data[keyEntry]; len(key) >= size {
		return key, nil
	}
	return nil, fmt.Errorf("entry %s has %d bytes, want at least %d", keyEntry, len(secret.Data[keyEntry]), size)
}
