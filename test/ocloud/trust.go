package ocloud

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/oidcprovider"
	"github.com/o2ims/o2ims/test/port"
)

// Clients of the authorization server.
const (
	ClientOCloud       = "o2ims"        // us: a certificate, and tokens that are bound to it
	ClientOCloudSecret = "o2ims-secret" // us again: by a secret
	ClientOperator     = "smo-operator" // may do everything, with its certificate
	ClientViewer       = "smo-viewer"   // may read

	OCloudSecret   = "first-secret"
	OperatorSecret = "operator-secret" // of made-up clients on this machine
	ViewerSecret   = "viewer-secret"
)

// Names of what the Inventory refers to, in the manager's namespace.
const (
	SecretOAuth   = "smo-oauth"
	SecretClient  = "smo-client"
	BundleSMO     = "smo-ca"
	BundleCallers = "callers-ca"

	// RegistrationPath is where the SMO takes registrations, and shows them.
	RegistrationPath = "/registration"
)

// Trust is what an O-Cloud and its SMO know each other by: an authorization server that both
// believe, and certificates.
type Trust struct {
	Issuer *oidcprovider.Provider
	SMO    *SMO

	cloud *OCloud
	dir   string
}

// StartTrust brings an authorization server and an SMO up, tells the O-Cloud of both in its
// Inventory, and waits until it has registered.
func (o *OCloud) StartTrust(ctx context.Context) (*Trust, error) {
	t := &Trust{cloud: o, dir: filepath.Join(o.Env.Dir(), "trust")}
	var err error
	t.Issuer, err = oidcprovider.Start(ctx, oidcprovider.Options{
		Dir: filepath.Join(t.dir, "issuer"), Progress: o.progress,
		Clients: []oidcprovider.Client{
			{ID: ClientOCloud, Auth: oidcprovider.TLS, Bound: true, Scopes: []string{"o-cloud.register", "o-cloud.notify"}},
			{ID: ClientOCloudSecret, Secret: OCloudSecret, Scopes: []string{"o-cloud.register", "o-cloud.notify"}},
			{ID: ClientOperator, Secret: OperatorSecret, Bound: true, Claims: map[string]any{"roles": []string{"o2ims-admin"}}},
			{ID: ClientViewer, Secret: ViewerSecret, Claims: map[string]any{"roles": []string{"o2ims-reader"}}},
		},
	})
	if err != nil {
		return nil, err
	}
	if err := t.configure(ctx); err != nil {
		t.Stop()
		return nil, err
	}
	return t, nil
}

// Stop ends the authorization server and the SMO.
func (t *Trust) Stop() {
	if t.SMO != nil {
		t.SMO.Process.Stop(time.Second)
	}
	t.Issuer.Stop()
}

func (t *Trust) configure(ctx context.Context) error {
	var err error
	if err := t.writeFiles(); err != nil {
		return err
	}
	t.SMO, err = t.cloud.StartSMO(ctx, "smo", filepath.Join(t.dir, "smo"),
		"--client-ca-file", t.File("callers-ca.crt"), "--require-client-certificate",
		"--oauth-issuer", t.Issuer.Issuer, "--ca-file", t.File("issuer-ca.crt"))
	if err != nil {
		return err
	}
	if err := t.writeReferences(ctx); err != nil {
		return err
	}
	if err := t.cloud.ChangeInventory(ctx, t.inventory); err != nil {
		return err
	}
	return t.cloud.Eventually(ctx, "registered with the SMO", t.registered)
}

// File is a file with a certificate: issuer-ca.crt, callers-ca.crt, and caller.crt with
// caller.key, which prove an SMO to the O-Cloud.
func (t *Trust) File(name string) string { return filepath.Join(t.dir, name) }

func (t *Trust) writeFiles() error {
	caller, err := t.Issuer.IssueClient(ClientOperator)
	if err != nil {
		return err
	}
	certificate, key, err := oidcprovider.PEM(caller)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(t.File("issuer-ca.crt"), t.Issuer.CA(), 0o644),
		os.WriteFile(t.File("callers-ca.crt"), t.Issuer.ClientCA(), 0o644),
		os.WriteFile(t.File("caller.crt"), certificate, 0o644),
		os.WriteFile(t.File("caller.key"), key, 0o600),
	)
}

// writeReferences writes what the Inventory refers to.
func (t *Trust) writeReferences(ctx context.Context) error {
	own, err := t.Issuer.IssueClient(ClientOCloud)
	if err != nil {
		return err
	}
	smoCA, err := os.ReadFile(t.SMO.CAFile)
	if err != nil {
		return err
	}
	return errors.Join(
		t.cloud.SetSecret(ctx, SecretOAuth, map[string]string{"client-id": ClientOCloud}),
		t.SetClientCertificate(ctx, own),
		t.cloud.SetBundle(ctx, BundleSMO, smoCA, t.Issuer.CA()),
		t.cloud.SetBundle(ctx, BundleCallers, t.Issuer.ClientCA()),
	)
}

// SetClientCertificate is the certificate that the O-Cloud shows.
func (t *Trust) SetClientCertificate(ctx context.Context, c tls.Certificate) error {
	certificate, key, err := oidcprovider.PEM(c)
	if err != nil {
		return err
	}
	return t.cloud.SetSecret(ctx, SecretClient, map[string]string{corev1.TLSCertKey: string(certificate), corev1.TLSPrivateKeyKey: string(key)})
}

func (t *Trust) inventory(spec *apiv1alpha1.InventorySpec) {
	spec.CABundleName = BundleSMO
	spec.SMO = &apiv1alpha1.SMOSpec{
		URL: t.SMO.URL, RegistrationEndpoint: RegistrationPath, DeregistrationEndpoint: RegistrationPath,
		OAuth: &apiv1alpha1.OAuthSpec{URL: t.Issuer.Issuer, ClientSecretName: SecretOAuth, ClientAuthentication: "tls", Scopes: []string{"o-cloud.register", "o-cloud.notify"}},
		TLS:   &apiv1alpha1.ClientTLSSpec{SecretName: SecretClient},
	}
	spec.Authentication = &apiv1alpha1.AuthenticationSpec{
		Issuers:            []apiv1alpha1.IssuerSpec{{URL: t.Issuer.Issuer, Audiences: []string{"o2ims"}}},
		ClientCertificates: &apiv1alpha1.ClientCertificatesSpec{CABundleName: BundleCallers},
	}
}

// registered tells whether the Inventory says that everything is as it describes.
func (t *Trust) registered(ctx context.Context) error {
	inv, err := t.cloud.Inventory(ctx)
	if err != nil {
		return err
	}
	for _, condition := range []string{apiv1alpha1.ConditionConfigurationApplied, apiv1alpha1.ConditionSMORegistrationCompleted, apiv1alpha1.ConditionReady} {
		c := meta.FindStatusCondition(inv.Status.Conditions, condition)
		if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != inv.Generation {
			return fmt.Errorf("condition %s is %+v: %w", condition, c, ErrNotYet)
		}
	}
	return nil
}

// Inventory is the O-Cloud's Inventory.
func (o *OCloud) Inventory(ctx context.Context) (*apiv1alpha1.Inventory, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(apiv1alpha1.GroupVersion.WithKind("Inventory"))
	if err := o.Env.Hub.Client().Get(ctx, client.ObjectKey{Name: apiv1alpha1.InventoryName}, u); err != nil {
		return nil, err
	}
	inv := &apiv1alpha1.Inventory{}
	return inv, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, inv)
}

// ChangeInventory changes the spec of the Inventory as an administrator does.
func (o *OCloud) ChangeInventory(ctx context.Context, change func(*apiv1alpha1.InventorySpec)) error {
	inv, err := o.Inventory(ctx)
	if err != nil {
		return err
	}
	change(&inv.Spec)
	spec, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&inv.Spec)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(apiv1alpha1.GroupVersion.WithKind("Inventory"))
	u.SetName(inv.Name)
	return o.Env.Hub.Client().Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.ForceOwnership, client.FieldOwner("administrator"))
}

// SetSecret makes or replaces a Secret in the manager's namespace.
func (o *OCloud) SetSecret(ctx context.Context, name string, data map[string]string) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name}}
	_, err := controllerutil.CreateOrUpdate(ctx, o.Env.Hub.Client(), secret, func() error {
		secret.Data = make(map[string][]byte, len(data))
		for key, value := range data {
			secret.Data[key] = []byte(value)
		}
		return nil
	})
	return err
}

// SetBundle makes or replaces a ConfigMap of certificates in the manager's namespace.
func (o *OCloud) SetBundle(ctx context.Context, name string, certificates ...[]byte) error {
	bundle := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name}}
	_, err := controllerutil.CreateOrUpdate(ctx, o.Env.Hub.Client(), bundle, func() error {
		text := ""
		for _, c := range certificates {
			text += string(c)
		}
		bundle.Data = map[string]string{"ca-bundle.crt": text}
		return nil
	})
	return err
}

// SMO is a running `o2ims smo`.
type SMO struct {
	URL     string // https://127.0.0.1:port
	CAFile  string // PEM; trust this for URL
	Journal string // file
	Process *harness.Process
}

// StartSMO runs `o2ims smo` with TLS and the flags given, and waits until it serves. Its files
// are in dir.
func (o *OCloud) StartSMO(ctx context.Context, name, dir string, flags ...string) (*SMO, error) {
	port, err := port.Keep()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	s := &SMO{URL: "https://" + address, CAFile: filepath.Join(dir, "ca.crt"), Journal: filepath.Join(dir, "journal.jsonl")}
	s.Process, err = o.Env.StartProcess(ctx, harness.ProcessSpec{
		Name: name, Path: o.Binary(),
		Args:  append([]string{"smo", "--listen", address, "--tls", "--tls-ca-out", s.CAFile, "--journal", s.Journal}, flags...),
		Ready: s.ready,
	})
	if err != nil {
		return nil, fmt.Errorf("SMO: %w", err)
	}
	return s, nil
}

func (s *SMO) ready(ctx context.Context) error {
	ca, err := os.ReadFile(s.CAFile)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/journal", nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}
