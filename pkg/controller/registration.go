package controller

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/settings"
	"github.com/o2ims/o2ims/pkg/smo"
)

// SMO takes registrations.
type SMO interface {
	// Register tells the SMO of this O-Cloud. It returns the HTTP status of the answer, 0
	// without one.
	Register(ctx context.Context, r smo.Registration) (int, error)

	// Deregister tells it that the O-Cloud goes.
	Deregister(ctx context.Context, r smo.Registration) (int, error)
}

const (
	registrationTimeout = 30 * time.Second

	// deregisterFor is how long a deleted Inventory waits for an SMO that does not answer.
	deregisterFor = 5 * time.Minute
)

// Registration keeps the SMO informed of who this O-Cloud is and where its APIs are: once
// everything is served, again when what it said is not so any more or an administrator asks
// for it, and for ever until it has been heard. Only the leader runs it.
//
// What was said last is in the Inventory's status, so that another leader, or the next
// process, does not say it again.
type Registration struct {
	client  client.Client
	smo     SMO
	flags   inventory.OCloud // what the O-Cloud is where the Inventory is silent
	ready   func() error     // why an SMO that asked us now would not be served
	now     func() time.Time
	changed func() // tells whoever writes the Inventory's status
	queue   workqueue.TypedRateLimitingInterface[reconcile.Request]

	mu      sync.Mutex
	told    *apiv1alpha1.SMORegistrationStatus // nil: not known yet
	outcome outcome
	attempt smo.Attempt // at registration
	leaving smo.Attempt // at deregistration; of the one worker
}

// outcome is what the condition says.
type outcome struct {
	done    bool
	reason  string
	message string
}

func newRegistration(c client.Client, out SMO, flags inventory.OCloud, ready func() error) *Registration {
	return &Registration{client: c, smo: out, flags: flags, ready: ready, now: time.Now, changed: func() {}}
}

// theRegistration is the one request.
var theRegistration = reconcile.Request{}

func (r *Registration) setUp(mgr manager.Manager) error {
	again := true
	one := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{theRegistration}
	})
	keep := func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.mu.Lock()
		r.queue = q
		r.mu.Unlock()
		q.Add(theRegistration)
		return nil
	}
	return builder.ControllerManagedBy(mgr).Named("registration").
		Watches(&apiv1alpha1.Inventory{}, one).
		WatchesRawSource(source.Func(keep)).
		WithOptions(controller.Options{SkipNameValidation: &again}).
		Complete(r)
}

// Again tries soon what has failed: credentials or trust may have been what was wrong.
func (r *Registration) Again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.attempt.Failures > 0 {
		r.attempt.At = time.Time{}
	}
	if r.queue != nil {
		r.queue.Add(theRegistration)
	}
}

// waitForReady is how soon to look again whether everything is served.
const waitForReady = 2 * time.Second

// Reconcile registers when that is due.
func (r *Registration) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	var inv apiv1alpha1.Inventory
	err := r.client.Get(ctx, client.ObjectKey{Name: apiv1alpha1.InventoryName}, &inv)
	if err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err) // it will be made, which brings us back
	}
	if !inv.DeletionTimestamp.IsZero() {
		return r.deregister(ctx, &inv)
	}
	if err := r.keepFinalizer(ctx, &inv); err != nil {
		return reconcile.Result{}, err
	}
	wanted, missing := r.wanted(&inv)
	if missing != "" {
		r.note(outcome{reason: apiv1alpha1.ReasonSMONotConfigured, message: missing}, nil)
		return reconcile.Result{}, nil
	}
	told, requested := r.known(&inv), inv.Annotations[apiv1alpha1.AnnotationRegister]
	due, at := r.next(wanted.Digest(), requested)
	switch {
	case !due && at.IsZero():
		r.note(outcome{done: true, reason: apiv1alpha1.ReasonSMORegistrationSuccessful, message: "registered at " + told.URL}, nil)
		return reconcile.Result{}, nil
	case !due:
		return reconcile.Result{RequeueAfter: at.Sub(r.now())}, nil
	}
	if err := r.ready(); err != nil {
		r.note(outcome{reason: apiv1alpha1.ReasonSMORegistrationPending, message: "waits until the APIs are served: " + err.Error()}, nil)
		return reconcile.Result{RequeueAfter: waitForReady}, nil
	}
	return r.register(ctx, wanted, requested)
}

// wanted is what the SMO should know, or what is missing for it.
func (r *Registration) wanted(inv *apiv1alpha1.Inventory) (smo.Registration, string) {
	o := overlay(r.flags, inv.Spec)
	wanted := smo.Registration{
		URL: settings.RegistrationURL(inv.Spec), GlobalCloudID: o.GlobalCloudID, OCloudID: o.ID, IMSEndpoint: o.ServiceURI,
	}
	switch {
	case wanted.URL == "":
		return wanted, "there is no spec.smo.registrationEndpoint"
	case wanted.GlobalCloudID == "":
		return wanted, "there is no spec.globalCloudId, by which the SMO would know this O-Cloud"
	}
	return wanted, ""
}

// known is what the SMO was told last, by this process or by one before it.
func (r *Registration) known(inv *apiv1alpha1.Inventory) apiv1alpha1.SMORegistrationStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told == nil {
		r.told = &apiv1alpha1.SMORegistrationStatus{}
		if s := inv.Status.SMORegistration; s != nil {
			r.told = s.DeepCopy()
			r.attempt = smo.Attempt{Digest: s.Digest, Trigger: s.Requested, At: s.RegisteredAt.Time}
		}
	}
	return *r.told
}

// next tells whether a registration is due, and if not, when; zero is never.
func (r *Registration) next(digest, requested string) (due bool, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.attempt.Next(digest, requested, r.now())
}

func (r *Registration) register(ctx context.Context, wanted smo.Registration, requested string) (reconcile.Result, error) {
	calling, cancel := context.WithTimeout(ctx, registrationTimeout)
	defer cancel()
	status, err := r.smo.Register(calling, wanted)
	r.mu.Lock()
	r.attempt = r.attempt.Then(wanted.Digest(), requested, err, r.now())
	attempt := r.attempt
	r.mu.Unlock()
	if err != nil {
		_, at := attempt.Next(attempt.Digest, attempt.Trigger, r.now())
		wait := at.Sub(r.now())
		slog.WarnContext(ctx, "not registered with the SMO", "url", wanted.URL, "status", status, "attempt", attempt.Failures, "retryIn", wait.String(), "error", err)
		r.note(outcome{reason: apiv1alpha1.ReasonSMORegistrationFailed, message: fmt.Sprintf("attempt %d: %v", attempt.Failures, err)}, nil)
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	slog.InfoContext(ctx, "registered with the SMO", "url", wanted.URL, "status", status, "globalCloudId", wanted.GlobalCloudID, "oCloudId", wanted.OCloudID)
	registered := metav1.NewTime(attempt.At.UTC().Truncate(time.Second))
	r.note(outcome{done: true, reason: apiv1alpha1.ReasonSMORegistrationSuccessful, message: "registered at " + wanted.URL},
		&apiv1alpha1.SMORegistrationStatus{
			URL: wanted.URL, GlobalCloudID: wanted.GlobalCloudID, OCloudID: wanted.OCloudID, IMSEndpoint: wanted.IMSEndpoint,
			Digest: attempt.Digest, RegisteredAt: &registered, Requested: requested,
		})
	return reconcile.Result{}, nil
}

// note keeps what became of it for the Inventory's status.
func (r *Registration) note(o outcome, told *apiv1alpha1.SMORegistrationStatus) {
	r.mu.Lock()
	news := r.outcome != o || told != nil
	r.outcome, r.told = o, cmp.Or(told, r.told)
	r.mu.Unlock()
	if news {
		r.changed()
	}
}

// extend adds to the Inventory's status what is known of the registration.
func (r *Registration) extend(_ context.Context, status *apiv1alpha1.InventoryStatus, generation int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told != nil && *r.told != (apiv1alpha1.SMORegistrationStatus{}) {
		status.SMORegistration = r.told.DeepCopy()
	}
	if o := r.outcome; o.reason != "" {
		status.Conditions = with(status.Conditions, generation, apiv1alpha1.ConditionSMORegistrationCompleted, o.done, o.reason, o.message)
	}
}

// keepFinalizer makes sure that we hear of the deletion in time when the SMO is to hear of it.
func (r *Registration) keepFinalizer(ctx context.Context, inv *apiv1alpha1.Inventory) error {
	changed := inv.DeepCopy()
	if settings.DeregistrationURL(inv.Spec) == "" {
		if !controllerutil.RemoveFinalizer(changed, apiv1alpha1.FinalizerDeregister) {
			return nil
		}
	} else if !controllerutil.AddFinalizer(changed, apiv1alpha1.FinalizerDeregister) {
		return nil
	}
	return r.client.Patch(ctx, changed, client.MergeFromWithOptions(inv, client.MergeFromWithOptimisticLock{}))
}

// deregister tells the SMO that the O-Cloud goes, and lets the Inventory go.
func (r *Registration) deregister(ctx context.Context, inv *apiv1alpha1.Inventory) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(inv, apiv1alpha1.FinalizerDeregister) {
		return reconcile.Result{}, nil
	}
	told := r.known(inv)
	if url := settings.DeregistrationURL(inv.Spec); url != "" && told.Digest != "" {
		gone := smo.Registration{URL: url, GlobalCloudID: told.GlobalCloudID, OCloudID: told.OCloudID, IMSEndpoint: told.IMSEndpoint}
		if again := r.leave(ctx, gone, inv.DeletionTimestamp.Add(deregisterFor)); again > 0 {
			return reconcile.Result{RequeueAfter: again}, nil
		}
	}
	changed := inv.DeepCopy()
	controllerutil.RemoveFinalizer(changed, apiv1alpha1.FinalizerDeregister)
	err := r.client.Patch(ctx, changed, client.MergeFromWithOptions(inv, client.MergeFromWithOptimisticLock{}))
	if err == nil {
		r.forget()
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}

// leave tells the SMO that the O-Cloud goes. It returns when to try again, 0 when it has heard
// or when it is too late: the last attempt is at the end of the time, whatever the SMO asks for.
func (r *Registration) leave(ctx context.Context, gone smo.Registration, until time.Time) time.Duration {
	if due, at := r.leaving.Next(gone.Digest(), "", r.now()); !due && r.now().Before(until) {
		return sooner(at, until).Sub(r.now())
	}
	calling, cancel := context.WithTimeout(ctx, registrationTimeout)
	defer cancel()
	status, err := r.smo.Deregister(calling, gone)
	r.leaving = r.leaving.Then(gone.Digest(), "", err, r.now())
	if err == nil || !r.now().Before(until) {
		slog.InfoContext(ctx, "the Inventory goes", "deregistered", err == nil, "url", gone.URL, "status", status, "error", err)
		return 0
	}
	_, at := r.leaving.Next(gone.Digest(), "", r.now())
	wait := sooner(at, until).Sub(r.now())
	r.note(outcome{reason: apiv1alpha1.ReasonSMORegistrationFailed, message: fmt.Sprintf("deregistration, attempt %d: %v", r.leaving.Failures, err)}, nil)
	slog.WarnContext(ctx, "not deregistered with the SMO", "url", gone.URL, "status", status, "attempt", r.leaving.Failures, "retryIn", wait.String(), "error", err)
	return wait
}

func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// forget starts anew with the Inventory that will be made in place of the deleted one.
func (r *Registration) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told, r.outcome = &apiv1alpha1.SMORegistrationStatus{}, outcome{}
	r.attempt, r.leaving = smo.Attempt{}, smo.Attempt{}
}
