package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/smo/simulator"
	"github.com/o2ims/o2ims/test/harness/kubelet"
	"github.com/o2ims/o2ims/test/ocloud"
)

// trusting is an O-Cloud that has registered with an SMO, both of which believe a certified
// OpenID provider.
type trusting struct {
	*testing.T
	*ocloud.Trust
	hub client.Client
}

func newTrusting(t *testing.T) *trusting {
	t.Helper()
	w := &trusting{T: t, hub: hierarchyClient(t), Trust: must[*ocloud.Trust](t)(cloud.StartTrust(t.Context()))}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := cloud.ChangeInventory(ctx, func(s *apiv1alpha1.InventorySpec) { *s = apiv1alpha1.InventorySpec{} }); err != nil {
			t.Error(err)
		}
		w.eventually(ctx, "nobody to register with", apiv1alpha1.ConditionSMORegistrationCompleted, apiv1alpha1.ReasonSMONotConfigured)
		w.Stop()
	})
	return w
}

// change changes the Inventory's spec.
func (w *trusting) change(change func(*apiv1alpha1.InventorySpec)) {
	w.Helper()
	if err := cloud.ChangeInventory(w.Context(), change); err != nil {
		w.Fatal(err)
	}
}

// eventually waits until a condition of the Inventory has a reason.
func (w *trusting) eventually(ctx context.Context, what, conditionType, reason string) {
	w.Helper()
	eventuallyInventory(ctx, w.T, w.hub, what, func(i *apiv1alpha1.Inventory) error {
		return condition(i.Status.Conditions, i.Generation, conditionType, reason)
	})
}

// registrations are what an SMO heard: "POST" or "DELETE" of each.
func (w *trusting) registrations(smo *ocloud.SMO) []string {
	w.Helper()
	entries, err := simulator.ReadRegistrations(smo.Journal)
	if err != nil && !os.IsNotExist(err) {
		w.Fatal(err)
	}
	var methods []string
	for _, e := range entries {
		if e.Taken {
			methods = append(methods, e.Method)
		}
	}
	return methods
}

// registerAgain asks for another registration and waits until the SMO has taken it.
func (w *trusting) registerAgain(smo *ocloud.SMO, why string) {
	w.Helper()
	before := len(w.registrations(smo))
	inv := eventuallyInventory(w.Context(), w.T, w.hub, "there", func(*apiv1alpha1.Inventory) error { return nil })
	changed := inv.DeepCopy()
	metav1.SetMetaDataAnnotation(&changed.ObjectMeta, apiv1alpha1.AnnotationRegister, why)
	if err := w.hub.Patch(w.Context(), changed, client.MergeFrom(&inv)); err != nil {
		w.Fatal(err)
	}
	eventually(w.Context(), w.T, "registration with "+why, func(context.Context) error {
		return is("registrations", fmt.Sprint(len(w.registrations(smo)) > before), "true")
	})
}

// visitor returns a client that trusts the API and shows a certificate; nil: none. It asks
// one replica, where one is named.
func visitor(certificate *tls.Certificate, replica ...kubelet.PodInfo) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cloud.CA)
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	for _, pod := range replica {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(pod.IP, "8443"))
		}
	}
	return &http.Client{Timeout: time.Minute, Transport: transport}
}

// visit sends a request without a body and returns the status of the answer.
func visit(ctx context.Context, c *http.Client, method, path, token string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, method, cloud.URL+path, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := c.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// TestTrust follows an O-Cloud and its SMO: registration, tokens of a certified provider,
// certificates, what goes wrong, and the end.
func TestTrust(t *testing.T) {
	w := newTrusting(t)
	t.Run("callers", func(t *testing.T) { w.callers(t) })
	t.Run("rotation", func(t *testing.T) { w.rotation(t) })
	t.Run("faults", func(t *testing.T) { w.faults(t) })
	t.Run("credentials", func(t *testing.T) { w.credentials(t) })
	t.Run("services", func(t *testing.T) { w.services(t) })
	t.Run("deregistration", func(t *testing.T) { w.deregistration(t) })
}

// callers: who is served with which token and certificate.
func (w *trusting) callers(t *testing.T) {
	ctx := t.Context()
	bound := must[tls.Certificate](t)(w.Issuer.IssueClient(ocloud.ClientOperator))
	other := must[tls.Certificate](t)(w.Issuer.IssueClient(ocloud.ClientOperator))
	operator := must[string](t)(w.Issuer.TokenWith(ctx, ocloud.ClientOperator, &bound))
	viewer := must[string](t)(w.Issuer.Token(ctx, ocloud.ClientViewer))
	for _, tc := range []struct {
		name        string
		certificate *tls.Certificate
		method      string
		token       string
		want        int
	}{
		{"operator", &bound, http.MethodGet, operator, http.StatusOK},
		{"operator without certificate", nil, http.MethodGet, operator, http.StatusUnauthorized},
		{"operator with another certificate", &other, http.MethodGet, operator, http.StatusUnauthorized},
		{"viewer", nil, http.MethodGet, viewer, http.StatusOK},
		{"viewer with any certificate", &other, http.MethodGet, viewer, http.StatusOK},
		{"viewer writes", nil, http.MethodPost, viewer, http.StatusForbidden},
		{"operator writes nothing", &bound, http.MethodPost, operator, http.StatusBadRequest},
	} {
		if got, err := visit(ctx, visitor(tc.certificate), tc.method, ocloud.InventoryV1+"/subscriptions", tc.token); got != tc.want {
			t.Errorf("%s: %d, %v, want %d", tc.name, got, err, tc.want)
		}
	}
	w.change(func(s *apiv1alpha1.InventorySpec) { s.Authentication.ClientCertificates.Required = true })
	for want, certificate := range map[int]*tls.Certificate{http.StatusOK: &other, http.StatusUnauthorized: nil} {
		eventually(ctx, t, "certificates are required", func(ctx context.Context) error {
			got, err := visit(ctx, visitor(certificate), http.MethodGet, ocloud.InventoryV1, viewer)
			if err != nil {
				return err
			}
			return is("status", fmt.Sprint(got), fmt.Sprint(want))
		})
	}
	w.change(func(s *apiv1alpha1.InventorySpec) { s.Authentication.ClientCertificates.Required = false })
	eventually(ctx, t, "certificates are not required any more", func(ctx context.Context) error {
		got, err := visit(ctx, visitor(nil), http.MethodGet, ocloud.InventoryV1, viewer)
		if err != nil {
			return err
		}
		return is("status", fmt.Sprint(got), "200")
	})
}

// load asks all the time, over a new connection each time, with what the caller has now.
type load struct {
	badge    atomic.Pointer[badge]
	every    time.Duration // between an answer and the next request
	asked    atomic.Int64
	mu       sync.Mutex
	failures []string
	end      context.CancelFunc
	done     sync.WaitGroup
}

type badge struct {
	token  string
	client *http.Client
}

func newLoad(ctx context.Context, c badge, every time.Duration) *load {
	ctx, end := context.WithCancel(ctx)
	l := &load{end: end, every: every}
	l.badge.Store(&c)
	for range 4 {
		l.done.Go(func() {
			for ctx.Err() == nil {
				l.ask(ctx)
				pause(ctx, l.every)
			}
		})
	}
	return l
}

func (l *load) ask(ctx context.Context) {
	c := l.badge.Load()
	status, err := visit(ctx, c.client, http.MethodGet, ocloud.InventoryV1+"/resourcePools", c.token)
	if ctx.Err() != nil {
		return
	}
	l.asked.Add(1)
	if status != http.StatusOK {
		l.mu.Lock()
		l.failures = append(l.failures, fmt.Sprintf("%s: %d %v", time.Now().Format(time.StampMilli), status, err))
		l.mu.Unlock()
	}
}

// more waits until the load has gone through so many further requests.
func (l *load) more(ctx context.Context, t *testing.T, n int64) {
	t.Helper()
	from := l.asked.Load()
	eventually(ctx, t, "further requests", func(context.Context) error {
		return is("enough requests", fmt.Sprint(l.asked.Load() >= from+n), "true")
	})
}

// check ends the load, none of which may have failed.
func (l *load) check(t *testing.T) {
	t.Helper()
	l.end()
	l.done.Wait()
	t.Logf("%d requests, %d of them failed", l.asked.Load(), len(l.failures))
	if len(l.failures) > 0 {
		t.Errorf("%d of %d requests failed: %s", len(l.failures), l.asked.Load(), strings.Join(l.failures[:min(5, len(l.failures))], "; "))
	}
}

// rotation changes everything that is secret or trusted while requests come in all the time,
// none of which fails.
func (w *trusting) rotation(t *testing.T) {
	ctx := t.Context()
	first := must[tls.Certificate](t)(w.Issuer.IssueClient(ocloud.ClientViewer))
	l := newLoad(ctx, badge{must[string](t)(w.Issuer.Token(ctx, ocloud.ClientViewer)), visitor(&first)}, 0)
	defer l.end()
	w.change(func(s *apiv1alpha1.InventorySpec) { s.Authentication.ClientCertificates.Required = true })
	l.more(ctx, t, 20)

	for _, step := range []struct {
		what string
		do   func()
	}{
		{"the issuer's keys", func() {
			before := l.badge.Load()
			if err := w.Issuer.RotateKeys(ctx); err != nil {
				t.Fatal(err)
			}
			l.badge.Store(&badge{must[string](t)(w.Issuer.Token(ctx, ocloud.ClientViewer)), before.client})
			l.more(ctx, t, 20)
			if err := w.Issuer.RetireKeys(ctx); err != nil {
				t.Fatal(err)
			}
		}},
		{"the callers' CA", func() {
			another := newAuthority(t, "another CA of callers")
			w.bundle(ocloud.BundleCallers, w.Issuer.ClientCA(), another.pem)
			second := another.issue(t, "another caller")
			for _, pod := range cloud.Managers() { // each of them, before anybody relies on it
				eventually(ctx, t, "the new CA to be trusted by "+pod.Name, func(ctx context.Context) error {
					_, err := visit(ctx, visitor(&second, pod), http.MethodGet, ocloud.InventoryV1, l.badge.Load().token)
					return err
				})
			}
			l.badge.Store(&badge{l.badge.Load().token, visitor(&second)})
			l.more(ctx, t, 20)
			w.bundle(ocloud.BundleCallers, another.pem)
		}},
		{"our client certificate", func() {
			if err := w.SetClientCertificate(ctx, must[tls.Certificate](t)(w.Issuer.IssueClient(ocloud.ClientOCloud))); err != nil {
				t.Fatal(err)
			}
			w.registerAgain(w.SMO, "another certificate")
		}},
		{"our client secret", func() { w.rotateSecret(t) }},
		{"the SMO, its address and its CA", func() { w.moveSMO(t) }},
	} {
		t.Logf("rotating %s after %d requests", step.what, l.asked.Load())
		step.do()
		l.more(ctx, t, 20)
	}
	l.check(t)
	w.bundle(ocloud.BundleCallers, w.Issuer.ClientCA())
	w.change(func(s *apiv1alpha1.InventorySpec) { s.Authentication.ClientCertificates.Required = false })
}

func (w *trusting) bundle(name string, certificates ...[]byte) {
	w.Helper()
	if err := cloud.SetBundle(w.Context(), name, certificates...); err != nil {
		w.Fatal(err)
	}
}

// rotateSecret makes the O-Cloud prove itself by a secret, and changes that.
func (w *trusting) rotateSecret(t *testing.T) {
	ctx := t.Context()
	for i, secret := range []string{ocloud.OCloudSecret, "second-secret"} {
		if i == 0 {
			w.change(func(s *apiv1alpha1.InventorySpec) { s.SMO.OAuth.ClientAuthentication = "basic" })
		} else if err := w.Issuer.SetSecret(ctx, ocloud.ClientOCloudSecret, secret); err != nil {
			t.Fatal(err)
		}
		if err := cloud.SetSecret(ctx, ocloud.SecretOAuth, map[string]string{"client-id": ocloud.ClientOCloudSecret, "client-secret": secret}); err != nil {
			t.Fatal(err)
		}
		w.registerAgain(w.SMO, secret)
	}
}

// moveSMO registers with another SMO, whose certificate another CA signed.
func (w *trusting) moveSMO(t *testing.T) {
	ctx := t.Context()
	second := must[*ocloud.SMO](t)(cloud.StartSMO(ctx, "smo-2", w.File("smo-2")))
	t.Cleanup(func() { second.Process.Stop(time.Second) })
	old := must[[]byte](t)(os.ReadFile(w.SMO.CAFile))
	ca := must[[]byte](t)(os.ReadFile(second.CAFile))
	w.bundle(ocloud.BundleSMO, old, ca, w.Issuer.CA())
	w.change(func(s *apiv1alpha1.InventorySpec) { s.SMO.URL = second.URL })
	eventually(ctx, t, "registration with another SMO", func(context.Context) error {
		return is("registrations", fmt.Sprint(w.registrations(second)), "[POST]")
	})
	w.bundle(ocloud.BundleSMO, ca, w.Issuer.CA())
	w.registerAgain(second, "its CA alone")
	w.bundle(ocloud.BundleSMO, old, ca, w.Issuer.CA())
	w.change(func(s *apiv1alpha1.InventorySpec) { s.SMO.URL = w.SMO.URL })
	w.eventually(ctx, "back at the first SMO", apiv1alpha1.ConditionSMORegistrationCompleted, apiv1alpha1.ReasonSMORegistrationSuccessful)
}

// faults: what cannot be used is said, and what was used before stays in use.
func (w *trusting) faults(t *testing.T) {
	ctx := t.Context()
	key := client.ObjectKey{Namespace: ocloud.Namespace, Name: ocloud.SecretOAuth}
	var secret corev1.Secret
	if err := cloud.Env.Hub.Client().Get(ctx, key, &secret); err != nil {
		t.Fatal(err)
	}
	if err := cloud.Env.Hub.Client().Delete(ctx, secret.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	w.eventually(ctx, "says what is missing", apiv1alpha1.ConditionConfigurationApplied, apiv1alpha1.ReasonInvalidReference)
	w.eventually(ctx, "is not ready", apiv1alpha1.ConditionReady, apiv1alpha1.ReasonInvalidReference)
	w.registerAgain(w.SMO, "what was used before")
	secret.ResourceVersion, secret.UID = "", ""
	if err := cloud.Env.Hub.Client().Create(ctx, &secret); err != nil {
		t.Fatal(err)
	}
	w.eventually(ctx, "is ready again", apiv1alpha1.ConditionReady, apiv1alpha1.ReasonReady)

	w.change(func(s *apiv1alpha1.InventorySpec) { s.SMO.RegistrationEndpoint = "/nowhere" })
	w.eventually(ctx, "says that the SMO refused", apiv1alpha1.ConditionSMORegistrationCompleted, apiv1alpha1.ReasonSMORegistrationFailed)
	w.change(func(s *apiv1alpha1.InventorySpec) { s.SMO.RegistrationEndpoint = ocloud.RegistrationPath })
	w.eventually(ctx, "registered", apiv1alpha1.ConditionSMORegistrationCompleted, apiv1alpha1.ReasonSMORegistrationSuccessful)
}

// credentials: who may deploy sees the token that the managed-serviceaccount add-on keeps for
// a cluster, and nobody else does.
func (w *trusting) credentials(t *testing.T) {
	ctx := t.Context()
	const token = "token-of-a-managed-serviceaccount"
	create(ctx, t, &corev1.Secret{ // as that add-on writes it
		ObjectMeta: metav1.ObjectMeta{
			Namespace: edge, Name: "o2ims-deployer",
			Labels: map[string]string{"authentication.open-cluster-management.io/is-managed-serviceaccount": "true"},
		},
		Data: map[string][]byte{"token": []byte(token), "ca.crt": []byte("a CA")},
	})
	var managers []struct {
		ID   string `json:"deploymentManagerId"`
		Name string `json:"name"`
	}
	if err := cloud.Get(ctx, ocloud.InventoryV1+"/deploymentManagers", &managers); err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(managers, func(m struct {
		ID   string `json:"deploymentManagerId"`
		Name string `json:"name"`
	}) bool {
		return m.Name == edge
	})
	one := ocloud.InventoryV1 + "/deploymentManagers/" + managers[at].ID
	for _, tc := range []struct {
		account, path string
		shown         bool
	}{
		{"test-client", one, true},
		{"test-reader", one, false},
		{"test-client", ocloud.InventoryV1 + "/deploymentManagers?all_fields", false},
		{"test-client", one + "?fields=name", false},
	} {
		response := must[*http.Response](t)(cloud.Do(ctx, http.MethodGet, tc.path, must[string](t)(cloud.Token(ctx, tc.account)), nil))
		body := must[[]byte](t)(io.ReadAll(response.Body))
		response.Body.Close()
		if shown := strings.Contains(string(body), token); response.StatusCode != http.StatusOK || shown != tc.shown {
			t.Errorf("%s sees the token in %s: %t, want %t (status %d)", tc.account, tc.path, shown, tc.shown, response.StatusCode)
		}
	}
	for _, pod := range cloud.Managers() {
		if log := must[[]byte](t)(os.ReadFile(pod.LogPath)); strings.Contains(string(log), token) {
			t.Errorf("the log of %s has the token", pod.Name)
		}
	}
}

// services: what is switched off does not exist.
func (w *trusting) services(t *testing.T) {
	ctx := t.Context()
	statuses := func(want string) {
		t.Helper()
		eventually(ctx, t, "services", func(ctx context.Context) error {
			var got []string
			for _, path := range []string{ocloud.InventoryV1, "/o2ims-infrastructureInventory/v2", "/o2ims-infrastructureMonitoring/v1/alarms"} {
				got = append(got, fmt.Sprint(statusFor(ctx, t, "test-client", http.MethodGet, path, "")))
			}
			return is("statuses", strings.Join(got, " "), want)
		})
	}
	w.change(func(s *apiv1alpha1.InventorySpec) {
		s.Services = []apiv1alpha1.ServiceSpec{{Name: "infrastructureInventory", Versions: []string{"v1"}}}
	})
	statuses("200 404 404")
	w.eventually(ctx, "says so", apiv1alpha1.ConditionMonitoringAvailable, apiv1alpha1.ReasonSwitchedOff)
	w.change(func(s *apiv1alpha1.InventorySpec) { s.Services = nil })
	statuses("200 200 200")
}

// deregistration: a deleted Inventory tells the SMO, and an empty one takes its place.
func (w *trusting) deregistration(t *testing.T) {
	ctx := t.Context()
	inv := eventuallyInventory(ctx, t, w.hub, "there", func(*apiv1alpha1.Inventory) error { return nil })
	if err := w.hub.Delete(ctx, &inv); err != nil {
		t.Fatal(err)
	}
	eventuallyInventory(ctx, t, w.hub, "made anew", func(i *apiv1alpha1.Inventory) error {
		return is("a new one", fmt.Sprint(i.UID != inv.UID), "true")
	})
	if heard := w.registrations(w.SMO); len(heard) == 0 || heard[len(heard)-1] != http.MethodDelete || slices.Index(heard, http.MethodDelete) != len(heard)-1 {
		t.Errorf("the SMO heard %v, want one DELETE at the end", heard)
	}
}
