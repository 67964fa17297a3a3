package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/test/harness/kubelet"
	"github.com/o2ims/o2ims/test/ocloud"
)

// further gives a test a manager of its own, until it ends.
func further(ctx context.Context, t *testing.T, name string, change func(manager map[string]any)) (*ocloud.Manager, kubelet.PodInfo) {
	t.Helper()
	m := must[*ocloud.Manager](t)(cloud.StartManager(ctx, name, change))
	t.Cleanup(func() {
		if err := m.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	return m, readyPod(ctx, t, m)
}

func readyPod(ctx context.Context, t *testing.T, m *ocloud.Manager) (pod kubelet.PodInfo) {
	t.Helper()
	eventually(ctx, t, "a manager that is ready", func(context.Context) (err error) {
		pod, err = m.Pod()
		return err
	})
	return pod
}

// unharmed checks that a manager has not been restarted or replaced.
func unharmed(ctx context.Context, t *testing.T, m *ocloud.Manager, was kubelet.PodInfo) {
	t.Helper()
	if now := readyPod(ctx, t, m); now.Name != was.Name || now.Restarts != was.Restarts {
		t.Errorf("the pod is %+v, and was %+v", now, was)
	}
}

// TestServingCertificate gives a manager its certificate as cert-manager does: a Secret, which
// the chart mounts. It is renewed, and then comes from another CA, under load: new connections
// are shown the new one, open ones go on, no request fails and nothing restarts.
func TestServingCertificate(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const name = "o2ims-certified" // of the Secret and the Deployment
	cas := []authority{newAuthority(t, "the CA"), newAuthority(t, "the next CA")}
	shown := cas[0].serve(t)
	create(ctx, t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ocloud.Namespace, Name: name},
		Type:       corev1.SecretTypeTLS, StringData: certificateSecret(t, cas[0], shown),
	})
	manager, pod := further(ctx, t, name, func(values map[string]any) {
		values["extraVolumes"] = []any{map[string]any{"name": "serving", "secret": map[string]any{"secretName": name, "defaultMode": 0o440}}}
		values["extraVolumeMounts"] = []any{map[string]any{"name": "serving", "mountPath": "/var/run/o2ims/serving", "readOnly": true}}
		values["extraArgs"] = append(values["extraArgs"].([]any),
			"--tls-cert-file=/var/run/o2ims/serving/tls.crt", "--tls-key-file=/var/run/o2ims/serving/tls.key")
	})

	token := must[string](t)(cloud.Token(ctx, "test-reader"))
	l := newLoad(ctx, badge{token, clientOf(pod, cas...)}, 100*time.Millisecond)
	defer l.end()
	kept := keepOpen(ctx, t, pod, token, cas...)
	l.more(ctx, t, 20)
	for _, step := range []struct {
		what string
		ca   authority
	}{{"a renewed certificate", cas[0]}, {"a certificate of another CA", cas[1]}} {
		shown = step.ca.serve(t)
		if err := cloud.SetSecret(ctx, name, certificateSecret(t, step.ca, shown)); err != nil {
			t.Fatal(err)
		}
		eventually(ctx, t, step.what, func(attempt context.Context) error {
			seen, err := certificateOf(attempt, pod, cas...)
			return errors.Join(kept.ask(ctx), err, is(step.what, fmt.Sprint(seen != nil && seen.Equal(shown.Leaf)), "true"))
		})
		l.more(ctx, t, 20)
	}
	if err := kept.ask(ctx); err != nil {
		t.Error(err)
	}
	if seen, err := certificateOf(ctx, pod, cas[1]); err != nil || !seen.Equal(shown.Leaf) {
		t.Errorf("who trusts the next CA alone: %v", err)
	}
	l.check(t)
	unharmed(ctx, t, manager, pod)
}

// serve signs a certificate for the APIs.
func (a authority) serve(t *testing.T) tls.Certificate {
	t.Helper()
	return a.sign(t, func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		c.IPAddresses = []net.IP{net.ParseIP(must[*url.URL](t)(url.Parse(cloud.URL)).Hostname())}
	})
}

// certificateSecret is what cert-manager writes into a Secret.
func certificateSecret(t *testing.T, ca authority, c tls.Certificate) map[string]string {
	t.Helper()
	key := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(c.PrivateKey))
	return map[string]string{
		"ca.crt":                string(ca.pem),
		corev1.TLSCertKey:       string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})),
		corev1.TLSPrivateKeyKey: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	}
}

func poolOf(cas ...authority) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, ca := range cas {
		pool.AppendCertsFromPEM(ca.pem)
	}
	return pool
}

// clientOf asks one manager, over a new connection each time.
func clientOf(pod kubelet.PodInfo, cas ...authority) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: poolOf(cas...), MinVersion: tls.VersionTLS12},
		DialContext:     dialer(pod, "8443", nil), DisableKeepAlives: true,
	}}
}

// dialer connects to a port of a manager, whatever the address; nil: from any address of ours.
func dialer(pod kubelet.PodInfo, port string, from net.Addr) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: from}).DialContext(ctx, network, net.JoinHostPort(pod.IP, port))
	}
}

// certificateOf is what a manager shows on a new connection.
func certificateOf(ctx context.Context, pod kubelet.PodInfo, cas ...authority) (*x509.Certificate, error) {
	response, err := healthOf(ctx, clientOf(pod, cas...))
	if err != nil {
		return nil, err
	}
	return response.TLS.PeerCertificates[0], nil
}

// healthOf asks for something that needs no token.
func healthOf(ctx context.Context, c *http.Client) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, cloud.URL+"/healthz", nil)
	if err != nil {
		return nil, err
	}
	response, err := c.Do(request)
	if err != nil {
		return nil, err
	}
	return response, response.Body.Close()
}

// open is one connection that is kept open.
type open struct {
	client *http.Client
	token  string
	made   atomic.Int32 // connections
}

func keepOpen(ctx context.Context, t *testing.T, pod kubelet.PodInfo, token string, cas ...authority) *open {
	t.Helper()
	o := &open{token: token, client: clientOf(pod, cas...)}
	transport := o.client.Transport.(*http.Transport)
	transport.DisableKeepAlives, transport.MaxConnsPerHost = false, 1
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		o.made.Add(1)
		return dial(ctx, network, address)
	}
	t.Cleanup(transport.CloseIdleConnections)
	if err := o.ask(ctx); err != nil {
		t.Fatal(err)
	}
	return o
}

// ask sends a request over the connection, which must be the first one still.
func (o *open) ask(ctx context.Context) error {
	got, err := call(ctx, o.client, http.MethodGet, ocloud.InventoryV1, o.token, "")
	return errors.Join(err, is("status", fmt.Sprint(got.status), "200"), is("connections made", fmt.Sprint(o.made.Load()), "1"))
}
