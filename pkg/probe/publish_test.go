package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/hardware"
)

func observed(serial string) []hardware.Observation {
	return []hardware.Observation{{Source: "probe", Machine: hardware.Machine{Name: "edge-1-a", Server: hardware.Server{Serial: serial}}}}
}

func TestPut(t *testing.T) {
	ctx := context.Background()
	client := fake.NewClientset()
	p := &publisher{client: client, namespace: "agents", node: "edge-1-a"}
	put := func(serial string, want bool) {
		t.Helper()
		written, err := p.put(ctx, observed(serial))
		if err != nil || written != want {
			t.Fatalf("put(%s) = %t, %v, want %t", serial, written, err, want)
		}
	}
	read := func() *corev1.ConfigMap {
		t.Helper()
		cm, err := client.CoreV1().ConfigMaps("agents").Get(ctx, "o2ims-probe-edge-1-a", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return cm
	}

	put("A", true)
	put("A", false) // nothing new: no write
	cm := read()
	if cm.Labels["o2ims.open-cluster-management.io/source"] != "probe" || cm.Annotations["o2ims.open-cluster-management.io/node"] != "edge-1-a" {
		t.Errorf("metadata = %+v", cm.ObjectMeta)
	}
	var back []hardware.Observation
	if err := json.Unmarshal([]byte(cm.Data["observations.json"]), &back); err != nil || back[0].Machine.Server.Serial != "A" {
		t.Errorf("observations.json = %s, %v", cm.Data["observations.json"], err)
	}

	// What others put on the object stays; what they took away comes back.
	cm.Labels = map[string]string{"theirs": "1"}
	if _, err := client.CoreV1().ConfigMaps("agents").Update(ctx, cm, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	put("A", true)
	if cm := read(); cm.Labels["theirs"] != "1" || cm.Labels[SourceLabel] != SourceValue {
		t.Errorf("labels = %v", cm.Labels)
	}

	put("B", true)
	if data := read().Data[DataKey]; !strings.Contains(data, `"serial":"B"`) {
		t.Errorf("observations.json = %s", data)
	}
}

func TestPutRaces(t *testing.T) {
	configMaps := schema.GroupResource{Resource: "configmaps"}
	for _, tc := range []struct {
		name, verb string
		err        error
		times      int
		wantErr    error
	}{
		{name: "changed meanwhile", verb: "update", err: apierrors.NewConflict(configMaps, "x", errors.New("changed")), times: 2},
		{name: "made meanwhile", verb: "create", err: apierrors.NewAlreadyExists(configMaps, "x"), times: 1},
		{name: "deleted meanwhile", verb: "update", err: apierrors.NewNotFound(configMaps, "x"), times: 1},
		{name: "refused", verb: "get", err: apierrors.NewForbidden(configMaps, "x", errors.New("no rule")), times: 1, wantErr: fault.Upstream},
		{name: "no namespace", verb: "create", err: apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "agents"), times: 99, wantErr: fault.Upstream},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := fake.NewClientset()
			p := &publisher{client: client, namespace: "agents", node: "n"}
			if tc.verb == "update" {
				if _, err := p.put(context.Background(), observed("before")); err != nil {
					t.Fatal(err)
				}
			}
			left, asked := tc.times, 0
			client.PrependReactor(tc.verb, "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
				asked++
				left--
				return left >= 0, nil, tc.err
			})
			written, err := p.put(context.Background(), observed("after"))
			if !errors.Is(err, tc.wantErr) || written != (tc.wantErr == nil) {
				t.Errorf("put = %t, %v, want error %v", written, err, tc.wantErr)
			}
			if tc.wantErr != nil && asked != 1 {
				t.Errorf("asked %d times at once: what cannot be mended by that is left for later", asked)
			}
		})
	}
}

func TestConfigMapName(t *testing.T) {
	long := strings.Repeat("a", 250)
	for _, tc := range []struct{ node, want string }{
		{node: "edge-1-a.example.com", want: "o2ims-probe-edge-1-a.example.com"},
		{node: long + "b"},
		{node: strings.Repeat("a", 223) + ".b" + strings.Repeat("c", 20)},
	} {
		got := ConfigMapName(tc.node)
		if tc.want != "" && got != tc.want {
			t.Errorf("ConfigMapName(%q) = %q, want %q", tc.node, got, tc.want)
		}
		if errs := validation.IsDNS1123Subdomain(got); len(errs) > 0 {
			t.Errorf("ConfigMapName(%q) = %q: %v", tc.node, got, errs)
		}
	}
	if ConfigMapName(long+"b") == ConfigMapName(long+"c") {
		t.Error("two long node names share a name")
	}
}

// logBuffer is a log that a test can read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// looking runs a loop whose every look waits for the test to say how it ends.
type looking struct {
	clock *clocktesting.FakeClock
	loop  *loop
	log   *logBuffer
	looks chan struct{} // one value per look
	ends  chan error    // how the look ends
	seen  []hardware.Observation
}

func startLoop(t *testing.T, seen ...hardware.Observation) *looking {
	t.Helper()
	r := &looking{
		clock: clocktesting.NewFakeClock(time.Unix(0, 0)), log: &logBuffer{},
		looks: make(chan struct{}), ends: make(chan error), seen: seen,
	}
	if r.seen == nil {
		r.seen = observed("A")
	}
	r.loop = &loop{
		collect:  func(context.Context) []hardware.Observation { return r.seen },
		interval: time.Minute, clock: r.clock, changed: make(chan struct{}, 1),
		log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.loop.publish = func(context.Context, []hardware.Observation) (bool, error) {
		select {
		case r.looks <- struct{}{}:
			return false, <-r.ends
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	done := make(chan struct{})
	go func() { r.loop.run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// look waits for the next look, ends it, and returns once the loop waits again.
func (r *looking) look(t *testing.T, end error) {
	t.Helper()
	select {
	case <-r.looks:
	case <-time.After(30 * time.Second):
		t.Fatal("the loop does not look")
	}
	r.ends <- end
	r.waitFor(t, 1)
}

// waitFor returns once the loop waits for so many timers.
func (r *looking) waitFor(t *testing.T, timers int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for r.clock.Waiters() != timers {
		if time.Now().After(deadline) {
			t.Fatalf("the loop waits for %d timers, want %d", r.clock.Waiters(), timers)
		}
		goruntime.Gosched()
	}
}

func (r *looking) idle(t *testing.T) {
	t.Helper()
	select {
	case <-r.looks:
		t.Fatal("the loop looks too early")
	case <-time.After(20 * time.Millisecond):
	}
}

func TestRunLooksAtOnceAndAtEveryInterval(t *testing.T) {
	r := startLoop(t)
	r.look(t, nil)
	r.clock.Step(59 * time.Second)
	r.idle(t)
	r.clock.Step(8 * time.Second) // the interval and its jitter
	r.look(t, nil)
}

func TestRunLooksSoonAfterALinkChange(t *testing.T) {
	r := startLoop(t)
	r.look(t, nil)
	r.loop.notify()
	r.waitFor(t, 2)
	r.clock.Step(linkQuiet - time.Millisecond)
	r.idle(t)
	r.clock.Step(time.Millisecond)
	r.look(t, nil)
}

func TestRunRetriesSooner(t *testing.T) {
	r := startLoop(t)
	r.look(t, errors.New("apiserver away"))
	if r.loop.ready.Load() {
		t.Error("ready although nothing was written")
	}
	r.clock.Step(1500 * time.Millisecond) // a second and its jitter
	r.look(t, errors.New("apiserver away"))
	r.clock.Step(1500 * time.Millisecond)
	r.idle(t) // the second pause is longer
	r.clock.Step(1500 * time.Millisecond)
	r.look(t, nil)
	if !r.loop.ready.Load() {
		t.Error("not ready although the observations were written")
	}
}

func TestRunSaysOnceWhatIsMissing(t *testing.T) {
	blind := observed("A")
	blind[0].Missing = []string{"dmi: permission denied on product_serial"}
	r := startLoop(t, blind...)
	r.look(t, nil)
	r.clock.Step(70 * time.Second)
	r.look(t, nil)
	if n := r.log.count("permission denied on product_serial"); n != 1 {
		t.Errorf("said %d times what could not be read, want once", n)
	}
	r.seen = observed("A")
	r.clock.Step(70 * time.Second)
	r.look(t, nil)
	if n := r.log.count(`msg="everything could be read"`); n != 1 {
		t.Errorf("said %d times that everything could be read, want once", n)
	}
}

func TestRunOnce(t *testing.T) {
	var out bytes.Buffer
	err := Run(context.Background(), Options{Once: true, HostRoot: tree(t, map[string]string{"etc/os-release": "PRETTY_NAME=\"Edge Linux\"\n"}), NodeName: "here", Out: &out})
	var got []hardware.Observation
	if err != nil || json.Unmarshal(out.Bytes(), &got) != nil {
		t.Fatalf("Run = %v, printed %s", err, out.String())
	}
	if len(got) != 1 || got[0].Machine.Name != "here" || got[0].Machine.Server.OS == nil || got[0].Machine.Server.OS.Name != "Edge Linux" {
		t.Errorf("printed %s", out.String())
	}
}

func TestValidate(t *testing.T) {
	bad := Options{HostRoot: "/does/not/exist", PCIIDs: "/does/not/exist", HealthAddress: "8081"}
	err := bad.Validate()
	if !errors.Is(err, fault.Invalid) {
		t.Fatalf("Validate = %v, want invalid", err)
	}
	for _, flag := range []string{"--host-root", "--pci-ids", "--node-name", "--namespace", "--interval", "--health-address"} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("Validate does not name %s: %v", flag, err)
		}
	}
	good := Options{HostRoot: "/", NodeName: "n", Namespace: "ns", Interval: time.Minute}
	if err := good.Validate(); err != nil {
		t.Errorf("Validate = %v", err)
	}
}

func TestHealth(t *testing.T) {
	l := &loop{}
	server := httptest.NewServer(healthHandler(&l.ready))
	defer server.Close()
	status := func(path string) int {
		t.Helper()
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if h, r := status("/healthz"), status("/readyz"); h != 200 || r != 503 {
		t.Errorf("before the first write: healthz %d, readyz %d, want 200 and 503", h, r)
	}
	l.ready.Store(true)
	if r := status("/readyz"); r != 200 {
		t.Errorf("after a write: readyz %d, want 200", r)
	}
}
