package controller

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/inventory"
)

// labelManagedServiceAccount is on the Secrets that the managed-serviceaccount add-on keeps,
// one for each ManagedServiceAccount, of its name, in the namespace of the managed cluster.
//
// Source: open-cluster-management.io/managed-serviceaccount, pkg/common.
const labelManagedServiceAccount = "authentication.open-cluster-management.io/is-managed-serviceaccount"

// clusterTokenTimeout is how long a client waits for a token that is not to be had.
const clusterTokenTimeout = 5 * time.Second

// clusterTokens reads the tokens of one managed service account, always from the apiserver:
// a cache of Secrets would hold those of the whole fleet in our memory, and the add-on
// replaces them when it likes.
type clusterTokens struct {
	secrets corev1client.SecretsGetter
	account string
	now     func() time.Time
}

// ClusterTokens returns the credentials of managed clusters that a managed service account
// has, by its name; nil for "". secrets must ask the apiserver.
func ClusterTokens(secrets corev1client.SecretsGetter, account string, now func() time.Time) inventory.Credentials {
	if account == "" {
		return nil
	}
	return &clusterTokens{secrets: secrets, account: account, now: now}
}

// ClusterToken implements inventory.Credentials. Besides fault.NotFound the error may wrap
// fault.Unavailable, and fault.Invalid for a Secret that is somebody else's.
func (c *clusterTokens) ClusterToken(ctx context.Context, cluster string) ([]byte, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, clusterTokenTimeout)
	defer cancel()
	secret, err := c.secrets.Secrets(cluster).Get(ctx, c.account, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, time.Time{}, fmt.Errorf("secret %s/%s: %w", cluster, c.account, fault.NotFound)
	case err != nil:
		return nil, time.Time{}, fmt.Errorf("secret %s/%s: %w: %w", cluster, c.account, err, fault.Unavailable)
	}
	token, expires, err := c.tokenOf(secret)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("secret %s/%s: %w", cluster, c.account, err)
	}
	return token, expires, nil
}

// tokenOf judges what is in a Secret. Somebody else's Secret of the same name is not shown to
// anybody.
func (c *clusterTokens) tokenOf(secret *corev1.Secret) ([]byte, time.Time, error) {
	token := secret.Data[corev1.ServiceAccountTokenKey]
	switch {
	case secret.Labels[labelManagedServiceAccount] != "true":
		return nil, time.Time{}, fmt.Errorf("it lacks the label %s: %w", labelManagedServiceAccount, fault.Invalid)
	case len(token) == 0:
		return nil, time.Time{}, fmt.Errorf("it has no token yet: %w", fault.NotFound)
	case len(token) > maxClusterToken || bytes.ContainsFunc(token, notOfToken):
		return nil, time.Time{}, fmt.Errorf("what it has is no bearer token: %w", fault.Invalid)
	}
	expires := expiryOf(token)
	if !expires.IsZero() && !expires.After(c.now()) {
		return nil, time.Time{}, fmt.Errorf("its token expired at %s: %w", expires.Format(time.RFC3339), fault.NotFound)
	}
	return token, expires, nil
}

const maxClusterToken = 16 << 10

// notOfToken tells whether a character is one that bearer tokens do not have.
//
// Source: RFC 6750, clause 2.1, b64token.
func notOfToken(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !bytes.ContainsRune([]byte("-._~+/="), r)
}

// expiryOf returns when a JWT says that it expires, without checking anything: whoever uses
// it will be told. The zero time for what says nothing that can be read.
func expiryOf(token []byte) time.Time {
	parts := bytes.Split(token, []byte("."))
	if len(parts) != 3 {
		return time.Time{}
	}
	payload := make([]byte, base64.RawURLEncoding.DecodedLen(len(parts[1])))
	n, err := base64.RawURLEncoding.Decode(payload, parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expires float64 `json:"exp"` // seconds of Unix time
	}
	const year9999 = 253402300799 // the last second that RFC 3339 can write
	if json.Unmarshal(payload[:n], &claims) != nil || claims.Expires <= 0 || claims.Expires > year9999 || math.IsNaN(claims.Expires) {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expires), 0).UTC()
}
