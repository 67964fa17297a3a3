package intake

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/o2ims/o2ims/pkg/server"
)

const (
	certificateInterval = 10 * time.Second // between two looks at the files
	publishInterval     = time.Minute
	caKey               = "ca.crt"
)

// identity is what the server shows, and whom it believes by certificate.
//
// Somebody else's certificate, mounted as files, comes first, also when it appears later,
// as OpenShift's does some seconds after the Service. Without one we issue our own; its CA
// is published in a ConfigMap, since those who are to trust it may read no Secrets here.
type identity struct {
	files    *server.Certificate // nil where none are configured
	certFile string
	own      *server.Certificate // nil in tests without a cluster

	clientCAFile string // "": nobody is believed by certificate

	publish func(context.Context) error // the CA of own; nil with own

	clientCAs atomic.Pointer[x509.CertPool]
	stamp     string // of the client CA file
}

// config is the server's, looked at anew for each connection.
func (i *identity) config() *tls.Config {
	base := server.BaseTLS(server.TLS12)
	base.GetCertificate = i.certificate
	if i.clientCAFile == "" {
		return base
	}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := base.Clone()
		c.GetConfigForClient = nil
		if pool := i.clientCAs.Load(); pool != nil {
			c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, pool
			c.SessionTicketsDisabled = true // a ticket must not outlive the CA that let its client in
		}
		return c, nil
	}
	return base
}

func (i *identity) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if i.files != nil && i.files.Ready() == nil {
		return i.files.Get(hello)
	}
	if i.own != nil {
		return i.own.Get(hello)
	}
	return nil, errors.New("there is no certificate yet")
}

// keep keeps everything fresh until ctx ends.
func (i *identity) keep(ctx context.Context) {
	var group sync.WaitGroup
	if i.files != nil {
		group.Go(func() {
			until(ctx, certificateInterval, func(context.Context) bool { return exists(i.certFile) })
			i.files.Keep(ctx)
		})
	}
	if i.own != nil && !(i.files != nil && exists(i.certFile)) {
		group.Go(func() { i.own.Keep(ctx) })
		group.Go(func() { i.keepPublished(ctx) })
	}
	if i.clientCAFile != "" {
		group.Go(func() {
			until(ctx, certificateInterval, func(ctx context.Context) bool {
				if err := i.readClientCAs(); err != nil {
					slog.ErrorContext(ctx, "client CA not read", "file", i.clientCAFile, "error", err)
				}
				return false
			})
		})
	}
	group.Wait()
}

// keepPublished publishes the CA once there is one, and again in case somebody changed it.
func (i *identity) keepPublished(ctx context.Context) {
	until(ctx, time.Second, func(context.Context) bool { return i.own.Ready() == nil })
	until(ctx, publishInterval, func(ctx context.Context) bool {
		if err := i.publish(ctx); err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "CA not published", "configMap", caConfigMap, "error", err)
		}
		return false
	})
}

// readClientCAs reads the file when it changed. A bad one leaves the old CAs in force; when
// it is gone, nobody is believed by certificate any more.
func (i *identity) readClientCAs() error {
	info, err := os.Stat(i.clientCAFile)
	if errors.Is(err, os.ErrNotExist) {
		i.clientCAs.Store(nil)
		i.stamp = ""
		return nil
	}
	if err != nil {
		return err
	}
	stamp := fmt.Sprintf("%d %d", info.ModTime().UnixNano(), info.Size())
	if stamp == i.stamp {
		return nil
	}
	text, err := os.ReadFile(i.clientCAFile)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return errors.New("no certificate in it")
	}
	i.clientCAs.Store(pool)
	i.stamp = stamp
	return nil
}

// publisher copies ca.crt of a Secret into a ConfigMap of the same namespace.
func publisher(client kubernetes.Interface, namespace, secretName, configMapName string) func(context.Context) error {
	return func(ctx context.Context) error {
		secret, err := client.CoreV1().Secrets(namespace).Get(ctx, secretName, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("secret %s: %w", secretName, err)
		}
		ca := string(secret.Data[caKey])
		maps := client.CoreV1().ConfigMaps(namespace)
		found, err := maps.Get(ctx, configMapName, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			_, err = maps.Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: configMapName, Labels: map[string]string{"app.kubernetes.io/name": "o2ims"}},
				Data:       map[string]string{caKey: ca},
			}, metav1.CreateOptions{})
		case err == nil && found.Data[caKey] != ca:
			changed := found.DeepCopy()
			changed.Data = map[string]string{caKey: ca}
			_, err = maps.Update(ctx, changed, metav1.UpdateOptions{})
		}
		if err != nil {
			return fmt.Errorf("configMap %s: %w", configMapName, err)
		}
		return nil
	}
}

// until calls f at once and then at intervals, until it returns true or ctx ends.
func until(ctx context.Context, interval time.Duration, f func(context.Context) bool) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil && !f(ctx) {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
