package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/hardware/source"
	"github.com/o2ims/o2ims/pkg/report"
)

// sourceFunc is a source whose answer a test can change.
type sourceFunc func() (map[string][]hardware.Observation, error)

func (f sourceFunc) Observe(context.Context) (map[string][]hardware.Observation, error) { return f() }
func (sourceFunc) Watches() []source.Watch                                              { return nil }

// site is a managed cluster, its report on the hub, and the agent between them.
type site struct {
	*reporter
	clock *clocktesting.FakePassiveClock
	spoke client.Client

	observed   map[string][]hardware.Observation
	collectErr error
	applyErr   error
	applied    int
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{
		clock:    clocktesting.NewFakePassiveClock(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)),
		spoke:    fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).Build(),
		observed: map[string][]hardware.Observation{},
	}
	encoder, err := report.NewEncoder(report.DefaultInventoryParts)
	if err != nil {
		t.Fatal(err)
	}
	everything := sourceFunc(func() (map[string][]hardware.Observation, error) { return s.observed, s.collectErr })
	s.reporter = &reporter{
		cluster: "c1", epoch: "6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11", encoder: encoder, clock: s.clock, hub: s.newHub(t),
		assembler:  &assembler{cluster: "c1", sources: []source.Source{everything}, expectProbe: true, grace: time.Minute, clock: s.clock},
		identities: identityStore{client: s.spoke, reader: s.spoke, namespace: "agents"},
		pace:       pace{debounce: 10 * time.Second, minInterval: time.Minute},
	}
	return s
}

// newHub keeps the conditions that are applied as the apiserver would keep them for one
// field manager: the fake client's own apply knows no map lists.
func (s *site) newHub(t *testing.T) client.Client {
	scheme := runtime.NewScheme()
	if err := addonv1beta1.Install(scheme); err != nil {
		t.Fatal(err)
	}
	addon := &addonv1beta1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: "c1", Name: report.AddOnName}}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(addon).WithStatusSubresource(addon).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourceApply: func(ctx context.Context, c client.Client, _ string, o runtime.ApplyConfiguration, _ ...client.SubResourceApplyOption) error {
				if s.applyErr != nil {
					return s.applyErr
				}
				s.applied++
				current := s.addOn(t, c)
				current.Status.Conditions = conditionsOf(t, o)
				return c.Status().Update(ctx, current)
			},
		}).Build()
}

func (s *site) addOn(t *testing.T, c client.Client) *addonv1beta1.ManagedClusterAddOn {
	t.Helper()
	var addon addonv1beta1.ManagedClusterAddOn
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "c1", Name: report.AddOnName}, &addon); err != nil {
		t.Fatal(err)
	}
	return &addon
}

func conditionsOf(t *testing.T, o runtime.ApplyConfiguration) []metav1.Condition {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	var addon addonv1beta1.ManagedClusterAddOn
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &addon); err != nil {
		t.Fatal(err)
	}
	return addon.Status.Conditions
}

// node lets the sources say that there is a machine with this serial number.
func (s *site) node(name, serial string) {
	s.observed[name] = []hardware.Observation{
		{Source: "node", Machine: hardware.Machine{Server: hardware.Server{Node: &hardware.NodeState{Ready: "True"}}}},
		{Source: "probe", Machine: hardware.Machine{Server: hardware.Server{Vendor: "Dell Inc.", Serial: serial}}},
	}
}

func (s *site) reconcile(t *testing.T) (time.Duration, error) {
	t.Helper()
	result, err := s.Reconcile(t.Context(), reconcile.Request{})
	return result.RequeueAfter, err
}

func (s *site) reported(t *testing.T) report.Report {
	t.Helper()
	decoder, err := report.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	r, err := decoder.Decode("c1", s.addOn(t, s.hub).Status.Conditions)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReporterWritesTheFirstReportAtOnceAndLaterOnesInTime(t *testing.T) {
	s := newSite(t)
	s.node("n1", "BT5P242")
	if wait, err := s.reconcile(t); wait != 0 || err != nil || s.applied != 1 {
		t.Fatalf("first pass: wait %s, error %v, %d writes", wait, err, s.applied)
	}
	if got := s.reported(t); len(got.Inventory.Nodes) != 1 || got.Inventory.Nodes[0].Key != "sn:dell inc.|BT5P242" {
		t.Errorf("reported %+v", got.Inventory)
	}

	s.node("n2", "CX7K991")
	s.clock.SetTime(s.clock.Now().Add(5 * time.Minute))
	if wait, err := s.reconcile(t); wait != 10*time.Second || err != nil || s.applied != 1 {
		t.Fatalf("change: wait %s, error %v, %d writes; want it to wait for others", wait, err, s.applied)
	}
	s.clock.SetTime(s.clock.Now().Add(10 * time.Second))
	if wait, err := s.reconcile(t); wait != 0 || err != nil || s.applied != 2 {
		t.Fatalf("when due: wait %s, error %v, %d writes", wait, err, s.applied)
	}
	if got := s.reported(t); len(got.Inventory.Nodes) != 2 || got.Head.Seq != 2 {
		t.Errorf("reported %d nodes with seq %d, want 2 and 2", len(got.Inventory.Nodes), got.Head.Seq)
	}
}

func TestReporterWritesNothingWhenItRestarts(t *testing.T) {
	s := newSite(t)
	s.node("n1", "BT5P242")
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	restarted := newSite(t)
	restarted.observed, restarted.hub = s.observed, s.hub
	restarted.identities = s.identities
	restarted.epoch = "0b6d0c0e-5f1b-4f0e-9f43-0a5f0a9f8d11"
	if _, err := restarted.reconcile(t); err != nil || s.applied+restarted.applied != 1 {
		t.Errorf("error %v, %d writes after the restart, want none", err, s.applied+restarted.applied-1)
	}
}

func TestReporterRestoresWhatWasWiped(t *testing.T) {
	s := newSite(t)
	s.node("n1", "BT5P242")
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	addon := s.addOn(t, s.hub)
	addon.Status.Conditions = nil
	if err := s.hub.Status().Update(t.Context(), addon); err != nil {
		t.Fatal(err)
	}
	s.clock.SetTime(s.clock.Now().Add(5 * time.Minute))
	if wait, _ := s.reconcile(t); wait > 0 {
		s.clock.SetTime(s.clock.Now().Add(wait))
	}
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	if got := s.reported(t); len(got.Inventory.Nodes) != 1 {
		t.Errorf("reported %+v", got.Inventory)
	}
}

func TestReporterTakesKeysFromTheLastReportWhenItsMemoryIsGone(t *testing.T) {
	s := newSite(t)
	s.observed["n1"] = []hardware.Observation{{Source: "probe", Machine: hardware.Machine{Elements: []hardware.Element{
		{Class: hardware.Port, Slot: "0000:01:00.0", Port: &hardware.PortState{MAC: macA}},
	}}}}
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	memory := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: identityConfigMap}}
	if err := s.spoke.Delete(t.Context(), memory); err != nil {
		t.Fatal(err)
	}

	restarted := newSite(t)
	restarted.hub = s.hub
	restarted.observed["n1"] = append(s.observed["n1"], hardware.Observation{Source: "smbios", Machine: hardware.Machine{
		Server: hardware.Server{SystemUUID: uuidA},
	}})
	if _, err := restarted.reconcile(t); err != nil {
		t.Fatal(err)
	}
	if got := restarted.reported(t).Inventory.Nodes[0].Key; got != "mac:"+macA {
		t.Errorf("key = %q, want the one it had", got)
	}
}

func TestReporterWaitsForAClueToANewMachine(t *testing.T) {
	s := newSite(t)
	s.observed["n1"] = []hardware.Observation{{Source: "node", Machine: hardware.Machine{
		Server: hardware.Server{Node: &hardware.NodeState{Ready: "True"}},
	}}}
	if wait, err := s.reconcile(t); wait == 0 || err != nil || s.applied != 0 {
		t.Fatalf("wait %s, error %v, %d writes; want it to wait", wait, err, s.applied)
	}

	t.Run("until the probe speaks", func(t *testing.T) {
		s.node("n1", "BT5P242")
		if _, err := s.reconcile(t); err != nil || s.applied != 1 {
			t.Fatalf("error %v, %d writes", err, s.applied)
		}
	})
	t.Run("or the grace is over", func(t *testing.T) {
		late := newSite(t)
		late.observed["n1"] = []hardware.Observation{{Source: "node"}}
		if _, err := late.reconcile(t); err != nil {
			t.Fatal(err)
		}
		late.clock.SetTime(late.clock.Now().Add(time.Minute))
		if _, err := late.reconcile(t); err != nil || late.applied != 1 {
			t.Fatalf("error %v, %d writes", err, late.applied)
		}
		if got := late.reported(t).Inventory.Nodes[0].Key; got != "node:c1/n1" {
			t.Errorf("key = %q", got)
		}
	})
}

func TestReporterSaysThatItCouldNotCollect(t *testing.T) {
	s := newSite(t)
	s.node("n1", "BT5P242")
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	s.collectErr = errors.New("nodes is forbidden")
	s.clock.SetTime(s.clock.Now().Add(5 * time.Minute))
	if wait, _ := s.reconcile(t); wait > 0 {
		s.clock.SetTime(s.clock.Now().Add(wait))
	}
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	head := s.addOn(t, s.hub).Status.Conditions[0]
	if head.Status != metav1.ConditionFalse || head.Reason != report.HeadCollectFailed {
		t.Errorf("head = %s %s", head.Status, head.Reason)
	}
	if !strings.Contains(head.Message, "nodes=1") {
		t.Errorf("head %q, want the last report kept", head.Message)
	}
}

func TestReporterKeepsAChangeThatTheHubRefused(t *testing.T) {
	s := newSite(t)
	s.node("n1", "BT5P242")
	s.applyErr = errors.New("the hub is down")
	if _, err := s.reconcile(t); err == nil {
		t.Fatal("no error, although nothing was written")
	}
	s.applyErr = nil
	if _, err := s.reconcile(t); err != nil || s.applied != 1 {
		t.Errorf("error %v, %d writes", err, s.applied)
	}
}
