package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/smo"
)

const (
	globalID      = "0b4a4f34-2c1d-4c29-8f5e-6f2d8c1a7e10"
	otherGlobalID = "1c5b5f45-3d2e-4d3a-9a6f-7a3e9d2b8f21"
)

// smoDouble takes registrations, or does not.
type smoDouble struct {
	status int           // of its answers; 0: it does not answer
	wish   time.Duration // for which it asks with a refusal
	calls  []string
}

func (s *smoDouble) answer(verb string, r smo.Registration) (int, error) {
	s.calls = append(s.calls, fmt.Sprintf("%s %s %s %s", verb, r.URL, r.GlobalCloudID, r.IMSEndpoint))
	switch {
	case s.status == 0:
		return 0, errors.New("smo.example: connection refused")
	case s.status/100 != 2:
		return s.status, fault.WithRetryAfter(fmt.Errorf("smo.example answered %d: %w", s.status, fault.Upstream), s.wish)
	}
	return s.status, nil
}

func (s *smoDouble) Register(_ context.Context, r smo.Registration) (int, error) {
	return s.answer("register", r)
}

func (s *smoDouble) Deregister(_ context.Context, r smo.Registration) (int, error) {
	return s.answer("deregister", r)
}

// registering is a leader that registers with an SMO.
type registering struct {
	*testing.T
	hub      client.Client
	smo      *smoDouble
	now      time.Time
	notReady error
	leader   *Registration
}

func newRegistering(t *testing.T, spec apiv1alpha1.InventorySpec) *registering {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	w := &registering{T: t, smo: &smoDouble{status: http.StatusNoContent}, now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	w.hub = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&apiv1alpha1.Inventory{}).
		WithObjects(&apiv1alpha1.Inventory{ObjectMeta: named(apiv1alpha1.InventoryName), Spec: spec}).Build()
	w.elect()
	return w
}

// elect makes another process the leader.
func (w *registering) elect() {
	flags := inventory.OCloud{ID: cloudID, ServiceURI: "https://o2ims.example.net"}
	w.leader = newRegistration(w.hub, w.smo, flags, func() error { return w.notReady })
	w.leader.now = func() time.Time { return w.now }
}

// settle reconciles, writes the status as the status writer does, and returns the calls that
// the SMO got meanwhile.
func (w *registering) settle() []string {
	w.Helper()
	w.smo.calls = nil
	if _, err := w.leader.Reconcile(w.Context(), theRegistration); err != nil {
		w.Fatal(err)
	}
	inv, found := w.inventory()
	if found {
		changed := inv.DeepCopy()
		w.leader.extend(w.Context(), &changed.Status, inv.Generation)
		if err := w.hub.Status().Patch(w.Context(), changed, client.MergeFrom(inv)); err != nil {
			w.Fatal(err)
		}
	}
	return w.smo.calls
}

func (w *registering) inventory() (*apiv1alpha1.Inventory, bool) {
	w.Helper()
	var inv apiv1alpha1.Inventory
	err := w.hub.Get(w.Context(), client.ObjectKey{Name: apiv1alpha1.InventoryName}, &inv)
	if err != nil && !apierrors.IsNotFound(err) {
		w.Fatal(err)
	}
	return &inv, err == nil
}

// change edits the Inventory.
func (w *registering) change(edit func(*apiv1alpha1.Inventory)) {
	w.Helper()
	inv, _ := w.inventory()
	edit(inv)
	if err := w.hub.Update(w.Context(), inv); err != nil {
		w.Fatal(err)
	}
}

// condition is "Status Reason" of the registration.
func (w *registering) condition() string {
	w.Helper()
	inv, _ := w.inventory()
	c := meta.FindStatusCondition(inv.Status.Conditions, apiv1alpha1.ConditionSMORegistrationCompleted)
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Reason
}

func smoSpec() apiv1alpha1.InventorySpec {
	return apiv1alpha1.InventorySpec{
		GlobalCloudID: globalID,
		SMO:           &apiv1alpha1.SMOSpec{URL: "https://smo.example", RegistrationEndpoint: "/o-clouds"},
	}
}

// TestRegistration follows an O-Cloud through its life with an SMO.
func TestRegistration(t *testing.T) {
	w := newRegistering(t, apiv1alpha1.InventorySpec{})
	const (
		first    = "register https://smo.example/o-clouds " + globalID + " https://o2ims.example.net"
		second   = "register https://smo.example/o-clouds " + otherGlobalID + " https://o2ims.example.net"
		moved    = "register https://other.example/o-clouds " + otherGlobalID + " https://o2ims.example.net"
		readdres = "register https://other.example/o-clouds " + otherGlobalID + " https://o2.example.org"
	)
	edit := func(f func(*apiv1alpha1.Inventory)) func() { return func() { w.change(f) } }
	for _, step := range []struct {
		story     string
		do        func()
		calls     []string
		condition string
	}{
		{"nobody to register with", func() {}, nil, "False SmoNotConfigured"},
		{"an SMO, but no name", edit(func(i *apiv1alpha1.Inventory) { i.Spec = smoSpec(); i.Spec.GlobalCloudID = "" }), nil, "False SmoNotConfigured"},
		{"a name, but nothing is served yet", edit(func(i *apiv1alpha1.Inventory) { i.Spec = smoSpec(); w.notReady = errors.New("first ingest") }), nil, "False SmoRegistrationPending"},
		{"the SMO is down", func() { w.notReady, w.smo.status = nil, 0 }, []string{first}, "False SmoRegistrationFailed"},
		{"it is not asked at once again", func() {}, nil, "False SmoRegistrationFailed"},
		{"but later; it fails", func() { w.now, w.smo.status = w.now.Add(time.Minute), http.StatusBadGateway }, []string{first}, "False SmoRegistrationFailed"},
		{"and asks for time", func() {
			w.now, w.smo.status, w.smo.wish = w.now.Add(time.Minute), http.StatusServiceUnavailable, 8*time.Minute
		}, []string{first}, "False SmoRegistrationFailed"},
		{"which it gets", func() { w.now = w.now.Add(8*time.Minute - time.Second) }, nil, "False SmoRegistrationFailed"},
		{"and no more", func() { w.now, w.smo.wish = w.now.Add(time.Second), 0 }, []string{first}, "False SmoRegistrationFailed"},
		{"asks for time again", func() { w.now, w.smo.wish = w.now.Add(5*time.Minute), 8*time.Minute }, []string{first}, "False SmoRegistrationFailed"},
		{"new credentials do not wait", func() { w.leader.Again(); w.smo.status = http.StatusUnauthorized }, []string{first}, "False SmoRegistrationFailed"},
		{"it takes it", func() { w.now, w.smo.status = w.now.Add(time.Hour), http.StatusCreated }, []string{first}, "True SmoRegistrationSuccessful"},
		{"once", func() {}, nil, "True SmoRegistrationSuccessful"},
		{"another leader knows", w.elect, nil, "True SmoRegistrationSuccessful"},
		{"another name", edit(func(i *apiv1alpha1.Inventory) { i.Spec.GlobalCloudID = otherGlobalID }), []string{second}, "True SmoRegistrationSuccessful"},
		{"another SMO, which refuses", edit(func(i *apiv1alpha1.Inventory) { i.Spec.SMO.URL, w.smo.status = "https://other.example/", 500 }), []string{moved}, "False SmoRegistrationFailed"},
		{"and takes it", func() { w.now, w.smo.status = w.now.Add(time.Hour), http.StatusOK }, []string{moved}, "True SmoRegistrationSuccessful"},
		{"another address of ours", edit(func(i *apiv1alpha1.Inventory) { i.Spec.ExternalURL = "https://o2.example.org" }), []string{readdres}, "True SmoRegistrationSuccessful"},
		{"the annotation asks", edit(func(i *apiv1alpha1.Inventory) { i.Annotations = map[string]string{apiv1alpha1.AnnotationRegister: "1"} }), []string{readdres}, "True SmoRegistrationSuccessful"},
		{"once", w.elect, nil, "True SmoRegistrationSuccessful"},
		{"and again", edit(func(i *apiv1alpha1.Inventory) { i.Annotations[apiv1alpha1.AnnotationRegister] = "2" }), []string{readdres}, "True SmoRegistrationSuccessful"},
	} {
		step.do()
		if got := w.settle(); !slices.Equal(got, step.calls) {
			t.Errorf("%s: the SMO heard %q, want %q", step.story, got, step.calls)
		}
		if got := w.condition(); got != step.condition {
			t.Errorf("%s: condition is %q, want %q", step.story, got, step.condition)
		}
	}
	inv, _ := w.inventory()
	if s := inv.Status.SMORegistration; s == nil || s.GlobalCloudID != otherGlobalID || s.IMSEndpoint != "https://o2.example.org" || s.RegisteredAt == nil || s.Requested != "2" {
		t.Errorf("status.smoRegistration = %+v", s)
	}
}

// TestDeregistration checks that a deleted Inventory stays until the SMO has heard of it, but
// not for ever.
func TestDeregistration(t *testing.T) {
	const gone = "deregister https://smo.example/gone " + globalID + " https://o2ims.example.net"
	for _, tc := range []struct {
		name     string
		endpoint string
		status   int           // of the SMO
		wish     time.Duration // for which the SMO asks
		rounds   []time.Duration
		calls    []string
		stays    bool
	}{
		{"the SMO hears of it", "/gone", 204, 0, []time.Duration{0}, []string{gone}, false},
		{"it is tried again", "/gone", 500, 0, []time.Duration{0, time.Second, time.Minute}, []string{gone, gone}, true},
		{"five minutes are enough", "/gone", 500, 0, []time.Duration{0, 6 * time.Minute}, []string{gone, gone}, false},
		{"the SMO asks for time", "/gone", 503, 2 * time.Minute, []time.Duration{0, time.Minute, 59 * time.Second}, []string{gone}, true},
		{"and is asked again", "/gone", 503, 2 * time.Minute, []time.Duration{0, 2 * time.Minute}, []string{gone, gone}, true},
		{"for more than there is", "/gone", 503, 10 * time.Minute, []time.Duration{0, 4 * time.Minute, 2 * time.Minute}, []string{gone, gone}, false},
		{"nobody is to hear of it", "", 500, 0, []time.Duration{0}, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spec := smoSpec()
			spec.SMO.DeregistrationEndpoint = tc.endpoint
			w := newRegistering(t, spec)
			w.settle()
			inv, _ := w.inventory()
			if err := w.hub.Delete(t.Context(), inv); err != nil {
				t.Fatal(err)
			}
			w.now = time.Now() // the apiserver's time is in the deletion
			w.smo.status, w.smo.wish = tc.status, tc.wish
			var calls []string
			for _, pass := range tc.rounds {
				w.now = w.now.Add(pass)
				calls = append(calls, w.settle()...)
			}
			if !slices.Equal(calls, tc.calls) {
				t.Errorf("the SMO heard %q, want %q", calls, tc.calls)
			}
			if _, found := w.inventory(); found != tc.stays {
				t.Errorf("the Inventory is there: %t, want %t", found, tc.stays)
			} else if found && w.condition() != "False SmoRegistrationFailed" {
				t.Errorf("condition is %q, want it to say what the deletion waits for", w.condition())
			}
		})
	}
}

// TestDeregistrationComesBackInTime has an SMO that asks for more time than there is: it is
// asked a last time at the end, not when it wants to be.
func TestDeregistrationComesBackInTime(t *testing.T) {
	spec := smoSpec()
	spec.SMO.DeregistrationEndpoint = "/gone"
	w := newRegistering(t, spec)
	w.settle()
	inv, _ := w.inventory()
	if err := w.hub.Delete(t.Context(), inv); err != nil {
		t.Fatal(err)
	}
	inv, _ = w.inventory()
	w.now, w.smo.status, w.smo.wish = inv.DeletionTimestamp.Time, http.StatusServiceUnavailable, time.Hour
	for _, left := range []time.Duration{deregisterFor, deregisterFor - time.Minute, deregisterFor - 2*time.Minute} {
		result, err := w.leader.Reconcile(t.Context(), theRegistration)
		if err != nil || result.RequeueAfter != left {
			t.Errorf("with %s left: back in %s, %v", left, result.RequeueAfter, err)
		}
		w.now = w.now.Add(time.Minute)
	}
}

// TestRegistrationSaysWhatFailed checks that the status says of a failure what the client
// said.
func TestRegistrationSaysWhatFailed(t *testing.T) {
	w := newRegistering(t, smoSpec())
	w.smo.status = http.StatusForbidden
	w.settle()
	inv, _ := w.inventory()
	c := meta.FindStatusCondition(inv.Status.Conditions, apiv1alpha1.ConditionSMORegistrationCompleted)
	if want := "attempt 1: smo.example answered 403"; c == nil || !strings.HasPrefix(c.Message, want) {
		t.Errorf("condition = %+v, want a message that begins with %q", c, want)
	}
}
