package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/test/harness/kubelet"
	"github.com/o2ims/o2ims/test/ocloud"
)

// The limits of TestRateLimits: a client has so few requests, and gets new ones so slowly, that
// a flood exceeds them on any machine. Failures to authenticate have the default.
const (
	floodedBurst  = 20
	floodedRefill = 2 * time.Second // of one request

	// floodSize is far beyond what is let through: a machine on which it were not would take
	// over two minutes for a few hundred requests.
	floodSize = 200
)

// TestRateLimits floods a manager that has limits, unlike the others. Who floods is told when
// to come back, and is served then; nobody else notices.
func TestRateLimits(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	manager, pod := further(ctx, t, "o2ims-limited", func(values map[string]any) {
		args := slices.DeleteFunc(slices.Clone(values["extraArgs"].([]any)), func(arg any) bool { return arg == anyRate || arg == anyFailures })
		values["extraArgs"] = append(args, fmt.Sprintf("--client-qps=%v", 1/floodedRefill.Seconds()), fmt.Sprintf("--client-burst=%d", floodedBurst))
	})
	w := &flooded{pod}
	t.Run("client", w.client)
	t.Run("alerts", w.alerts)
	t.Run("authentication", w.authentication)
	unharmed(ctx, t, manager, pod)
}

// flooded is a manager with limits.
type flooded struct{ pod kubelet.PodInfo }

// limited makes a caller with a role of the chart, and returns its token when the hub knows
// what it may do, which is found out elsewhere.
func limited(ctx context.Context, t *testing.T, name, role, method, path, body string) string {
	t.Helper()
	c := newCaller(ctx, t, name)
	c.bind(ctx, t, role)
	token := c.token(ctx, t, apiAudience)
	eventually(ctx, t, name+" to be let in", func(ctx context.Context) error {
		response, err := cloud.Do(ctx, method, path, token, strings.NewReader(body))
		if err != nil {
			return err
		}
		return errors.Join(is("status", response.Status, "200 OK"), response.Body.Close())
	})
	return token
}

func limitedReader(ctx context.Context, t *testing.T, name string) string {
	t.Helper()
	return limited(ctx, t, name, "o2ims-reader", http.MethodGet, ocloud.InventoryV1, "")
}

func limitedSender(ctx context.Context, t *testing.T, name string) string {
	t.Helper()
	return limited(ctx, t, name, "o2ims-hub-alert-sender", http.MethodPost, hubWebhook, noAlerts)
}

// from is a client at an address of this machine, empty for any. Its connections are kept.
func (w *flooded) from(t *testing.T, address string) *http.Client {
	var local net.Addr
	if address != "" {
		local = &net.TCPAddr{IP: net.ParseIP(address)}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cloud.CA)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DialContext: dialer(w.pod, "8443", local), MaxIdleConnsPerHost: 32,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Timeout: time.Minute, Transport: transport}
}

// call sends a request and reads the answer.
func call(ctx context.Context, c *http.Client, method, path, token, body string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, cloud.URL+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := c.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, err
}

// serves checks that an answer is 200.
func serves(t *testing.T, what string, got answer, err error) {
	t.Helper()
	if err != nil || got.status != http.StatusOK {
		t.Errorf("%s: %d %s, %v, want 200", what, got.status, got.body, err)
	}
}

// floodWorkers send at once.
const floodWorkers = 8

// flood sends floodSize requests from several at once, and returns the answers by status.
func flood(t *testing.T, send func(n int) (answer, error)) map[int][]answer {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	answers := map[int][]answer{}
	for worker := range floodWorkers {
		all.Go(func() {
			for n := worker; n < floodSize; n += floodWorkers {
				got, err := send(n)
				mu.Lock()
				if err != nil {
					t.Errorf("request %d: %v", n, err)
				}
				answers[got.status] = append(answers[got.status], got)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return answers
}

// comesBack sends requests, one after another, until one is refused, and the next when that
// says, which must be served.
func comesBack(ctx context.Context, t *testing.T, status int, longest time.Duration, send func() (answer, error)) {
	t.Helper()
	for range floodSize {
		got, err := send()
		if err == nil && got.status == status {
			pause(ctx, told(t, status, []answer{got}, longest))
			got, err = send()
			serves(t, "who comes back when told", got, err)
			return
		}
		serves(t, "who comes back", got, err)
	}
	t.Errorf("none of %d requests was answered %d", floodSize, status)
}

// told checks that refusals say in how many seconds to come back, at most the longest, and
// what is wrong. It returns what the last of them says.
func told(t *testing.T, status int, refusals []answer, longest time.Duration) (wait time.Duration) {
	t.Helper()
	if len(refusals) == 0 {
		t.Fatalf("none of %d requests was answered %d", floodSize, status)
	}
	for _, r := range refusals {
		var problem struct {
			Status int    `json:"status"`
			Title  string `json:"title"`
			Detail string `json:"detail"`
		}
		err := json.Unmarshal([]byte(r.body), &problem)
		if err != nil || problem.Status != status || problem.Title != http.StatusText(status) || problem.Detail == "" || r.header.Get("Content-Type") != "application/problem+json" {
			t.Fatalf("%d with %q: %s is no ProblemDetails, %v", status, r.header.Get("Content-Type"), r.body, err)
		}
		seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
		if wait = time.Duration(seconds) * time.Second; err != nil || wait < time.Second || wait > longest {
			t.Fatalf("Retry-After: %q, want 1 to %v seconds", r.header.Get("Retry-After"), longest.Seconds())
		}
	}
	return wait
}

// client has one client flood the manager, and others use it meanwhile.
func (w *flooded) client(t *testing.T) {
	ctx := t.Context()
	flooder, reader, sender := limitedReader(ctx, t, "flooder"), limitedReader(ctx, t, "patient"), limitedSender(ctx, t, "hub-alertmanager")
	c := w.from(t, "")

	var others sync.WaitGroup
	begin := make(chan struct{})
	meanwhile := func(times int, what string, send func() (answer, error)) {
		others.Go(func() {
			<-begin
			for range times {
				got, err := send()
				serves(t, what, got, err)
			}
		})
	}
	meanwhile(floodedBurst, "another client", func() (answer, error) {
		return call(ctx, c, http.MethodGet, ocloud.InventoryV1, reader, "")
	})
	meanwhile(floodedBurst, "alerts", func() (answer, error) { return call(ctx, c, http.MethodPost, hubWebhook, sender, noAlerts) })
	for _, path := range []string{"/healthz", "/readyz"} { // more often than any client may ask
		meanwhile(2*floodedBurst, path, func() (answer, error) { return call(ctx, c, http.MethodGet, path, "", "") })
		meanwhile(2*floodedBurst, path+", plain", func() (answer, error) { return w.probe(ctx, path) })
	}

	began := time.Now()
	close(begin)
	ask := func() (answer, error) { return call(ctx, c, http.MethodGet, ocloud.InventoryV1, flooder, "") }
	answers := flood(t, func(int) (answer, error) { return ask() })
	took := time.Since(began)
	others.Wait()
	served, refused := len(answers[http.StatusOK]), len(answers[http.StatusTooManyRequests])
	t.Logf("%d requests in %s: %d served, %d refused", floodSize, took, served, refused)
	if most := floodedBurst + int(took/floodedRefill) + 1; served < floodedBurst || served > most || served+refused != floodSize {
		t.Errorf("%d of %d served and %d answered 429, want %d to %d served and all others 429", served, floodSize, refused, floodedBurst, most)
	}
	told(t, http.StatusTooManyRequests, answers[http.StatusTooManyRequests], floodedRefill)
	comesBack(ctx, t, http.StatusTooManyRequests, floodedRefill, ask)
}

// probe asks the plain port, as the kubelet does.
func (w *flooded) probe(ctx context.Context, path string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(w.pod.IP, "8081")+path, nil)
	if err != nil {
		return answer{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	return answer{status: response.StatusCode, header: response.Header}, response.Body.Close()
}

// The intake of the hub's Alertmanager, and a notification that changes nothing.
const (
	hubWebhook = "/internal/v1/caas-alerts/alertmanager"
	noAlerts   = `{"version":"4","status":"firing","alerts":[]}`
)

// alerts has an Alertmanager send more than a client may: it is told so in a way that makes it
// try again, which 429 does not.
func (w *flooded) alerts(t *testing.T) {
	ctx := t.Context()
	sender := limitedSender(ctx, t, "busy-alertmanager")
	c := w.from(t, "")
	send := func() (answer, error) { return call(ctx, c, http.MethodPost, hubWebhook, sender, noAlerts) }
	answers := flood(t, func(int) (answer, error) { return send() })
	if len(answers[http.StatusOK])+len(answers[http.StatusServiceUnavailable]) != floodSize {
		t.Errorf("answers other than 200 and 503: %v", answers)
	}
	told(t, http.StatusServiceUnavailable, answers[http.StatusServiceUnavailable], floodedRefill)
	comesBack(ctx, t, http.StatusServiceUnavailable, floodedRefill, send)
}

// authentication has one address show tokens that are none, more often than it may by default.
// Who is there with a token that was good goes on, and so does whoever comes from elsewhere.
func (w *flooded) authentication(t *testing.T) {
	ctx := t.Context()
	const spent, elsewhere = "127.0.0.2", "127.0.0.3"
	known := limitedReader(ctx, t, "known")
	fresh := caller{account: &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ocloud.Namespace, Name: "known"}}}.token(ctx, t, apiAudience)
	here, there := w.from(t, spent), w.from(t, elsewhere)
	got, err := call(ctx, here, http.MethodGet, ocloud.InventoryV1, known, "")
	serves(t, "before", got, err)

	began := time.Now()
	answers := flood(t, func(n int) (answer, error) {
		return call(ctx, here, http.MethodGet, ocloud.InventoryV1, fmt.Sprintf("not-a-token-%d", n), "")
	})
	took := time.Since(began)
	judged, refused := len(answers[http.StatusUnauthorized]), len(answers[http.StatusTooManyRequests])
	t.Logf("%d bad tokens in %s: %d judged, %d refused unseen", floodSize, took, judged, refused)
	const perMinute = 60 // the default of --auth-failures-per-minute
	if most := perMinute + int(took.Seconds()) + 1; judged < perMinute-floodWorkers || judged > most || judged+refused != floodSize {
		t.Errorf("%d of %d tokens were judged and %d answered 429, want about %d to %d judged and all others 429", judged, floodSize, refused, perMinute, most)
	}
	told(t, http.StatusTooManyRequests, answers[http.StatusTooManyRequests], floodWorkers*time.Second) // those that are being judged count, too

	for what, client := range map[string]*http.Client{"a token that was good here before": here, "the same elsewhere": there} {
		got, err := call(ctx, client, http.MethodGet, ocloud.InventoryV1, known, "")
		serves(t, what, got, err)
	}
	// A new token of somebody good is judged as soon as there is room.
	got, err = call(ctx, here, http.MethodGet, ocloud.InventoryV1, fresh, "")
	if err == nil && got.status == http.StatusTooManyRequests {
		pause(ctx, told(t, http.StatusTooManyRequests, []answer{got}, time.Second))
		got, err = call(ctx, here, http.MethodGet, ocloud.InventoryV1, fresh, "")
	}
	serves(t, "a new token, when told", got, err)
}
