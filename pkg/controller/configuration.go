package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/settings"
	"github.com/o2ims/o2ims/pkg/smo"
)

// Configured is what follows the Inventory while the manager runs. What is given to it is
// complete; an error means that all stays as it was.
type Configured interface {
	// ConfigureCallers says whose calls are accepted.
	ConfigureCallers(c auth.Config) error

	// ConfigureOutbound says who we are towards the SMO.
	ConfigureOutbound(s smo.Settings) error

	// ConfigureServices says what is served, and how long what has passed is kept.
	ConfigureServices(spec apiv1alpha1.InventorySpec)

	// IssuerFaults tells, by URL, which issuers' keys are not known and why; "" is none.
	IssuerFaults() map[string]string

	// Services tells how the services are, in the order in which it is to be shown.
	Services(ctx context.Context) []ServiceState
}

// ServiceState is how one service is.
type ServiceState struct {
	Condition string // type of the Inventory's condition about it
	Available bool
	Reason    string
	Message   string
}

// Configuration configures the manager as the Inventory says, and the Secrets and ConfigMaps
// that it names: again, as a whole, whenever one of them changes. It runs on every replica.
//
// What cannot be used leaves in use what was used before, except for an issuer that the
// Inventory does not name any more: nobody who takes one out can wait until all else is
// mended. After a start there is nothing
// before: then an issuer with a fault is unknown and its callers are refused, and certificates
// that are required but cannot be checked leave nobody.
type Configuration struct {
	reader     client.Reader
	namespace  string
	configured Configured
	changed    func() // tells whoever writes the Inventory's status

	first   chan struct{} // closed after the first pass
	callers *auth.Config  // in use; nil: none yet
	whole   bool          // it was complete once: what cannot be used leaves it in use

	mu     sync.Mutex
	faults error // of the last pass
	spec   apiv1alpha1.InventorySpec
}

func newConfiguration(reader client.Reader, namespace string, to Configured) *Configuration {
	return &Configuration{reader: reader, namespace: namespace, configured: to, changed: func() {}, first: make(chan struct{})}
}

// theConfiguration is the one request.
var theConfiguration = reconcile.Request{}

func (c *Configuration) setUp(mgr manager.Manager) error {
	everywhere, again := false, true
	one := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{theConfiguration}
	})
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	return builder.ControllerManagedBy(mgr).Named("configuration").
		Watches(&apiv1alpha1.Inventory{}, one, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Secret{}, one).
		Watches(&corev1.ConfigMap{}, one).
		// A hub without an Inventory is configured once, too.
		WatchesRawSource(source.Func(func(_ context.Context, q queue) error { q.Add(theConfiguration); return nil })).
		WithOptions(controller.Options{NeedLeaderElection: &everywhere, SkipNameValidation: &again}).
		Complete(c)
}

// Reconcile configures everything anew.
func (c *Configuration) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	var inv apiv1alpha1.Inventory
	err := c.reader.Get(ctx, client.ObjectKey{Name: apiv1alpha1.InventoryName}, &inv)
	if err != nil && !apierrors.IsNotFound(err) {
		return reconcile.Result{}, err
	}
	refs, err := c.references(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	faults := errors.Join(c.configureCallers(inv.Spec, refs), c.configureOutbound(inv.Spec, refs))
	c.configured.ConfigureServices(inv.Spec)
	c.note(ctx, inv.Spec, faults)
	return reconcile.Result{}, nil // a fault is mended by a change, which brings us back
}

func (c *Configuration) configureCallers(spec apiv1alpha1.InventorySpec, refs settings.References) error {
	config, err := settings.Callers(spec, refs)
	if err == nil || !c.whole {
		applied := c.useCallers(config)
		c.whole = c.whole || err == nil && applied == nil
		if err = errors.Join(err, applied); applied == nil {
			return err
		}
	}
	return errors.Join(err, c.dropIssuers(spec))
}

func (c *Configuration) useCallers(config auth.Config) error {
	err := c.configured.ConfigureCallers(config)
	if err == nil {
		c.callers = &config
	}
	return err
}

// dropIssuers takes out of what is in use the issuers that are not named any more.
func (c *Configuration) dropIssuers(spec apiv1alpha1.InventorySpec) error {
	if c.callers == nil {
		return nil
	}
	named := make(map[string]bool)
	if spec.Authentication != nil {
		for _, i := range spec.Authentication.Issuers {
			named[i.URL] = true
		}
	}
	left := *c.callers
	left.Issuers = slices.DeleteFunc(slices.Clone(left.Issuers), func(i auth.Issuer) bool { return !named[i.URL] })
	if len(left.Issuers) == len(c.callers.Issuers) {
		return nil
	}
	return c.useCallers(left)
}

func (c *Configuration) configureOutbound(spec apiv1alpha1.InventorySpec, refs settings.References) error {
	out, err := settings.Outbound(spec, refs)
	if err != nil {
		return err
	}
	return c.configured.ConfigureOutbound(out)
}

func (c *Configuration) note(ctx context.Context, spec apiv1alpha1.InventorySpec, faults error) {
	c.mu.Lock()
	news := fmt.Sprint(faults) != fmt.Sprint(c.faults)
	c.faults, c.spec = faults, spec
	c.mu.Unlock()
	if faults != nil && news {
		slog.ErrorContext(ctx, "Inventory not applied as a whole", "name", apiv1alpha1.InventoryName, "error", faults)
	}
	select {
	case <-c.first:
	default:
		close(c.first) // there is one worker
	}
	c.changed()
}

// references reads the Secrets and ConfigMaps of the manager's namespace from the cache.
func (c *Configuration) references(ctx context.Context) (settings.References, error) {
	refs := settings.References{Secrets: map[string]*corev1.Secret{}, ConfigMaps: map[string]*corev1.ConfigMap{}}
	var secrets corev1.SecretList
	if err := c.reader.List(ctx, &secrets, client.InNamespace(c.namespace), client.UnsafeDisableDeepCopy); err != nil {
		return refs, err
	}
	for i := range secrets.Items {
		refs.Secrets[secrets.Items[i].Name] = &secrets.Items[i]
	}
	var maps corev1.ConfigMapList
	if err := c.reader.List(ctx, &maps, client.InNamespace(c.namespace), client.UnsafeDisableDeepCopy); err != nil {
		return refs, err
	}
	for i := range maps.Items {
		refs.ConfigMaps[maps.Items[i].Name] = &maps.Items[i]
	}
	return refs, nil
}

// Applied is closed when the Inventory has been looked at once: before, nobody knows whose
// calls to accept.
func (c *Configuration) Applied() <-chan struct{} { return c.first }

// Ready is a check for /readyz.
func (c *Configuration) Ready() error {
	select {
	case <-c.first:
		return nil
	default:
		return fmt.Errorf("the Inventory has not been read yet: %w", fault.Unavailable)
	}
}

// extend adds to the Inventory's status what became of its spec, and how the services are.
func (c *Configuration) extend(ctx context.Context, status *apiv1alpha1.InventoryStatus, generation int64) {
	c.mu.Lock()
	faults, issuers := c.faults, 0
	if c.spec.Authentication != nil {
		issuers = len(c.spec.Authentication.Issuers)
	}
	c.mu.Unlock()
	reason, message := apiv1alpha1.ReasonApplied, "the spec and all that it names is in use"
	if faults != nil {
		reason, message = apiv1alpha1.ReasonInvalidReference, sentences(faults)
	}
	set := func(condition string, is bool, reason, message string) {
		status.Conditions = with(status.Conditions, generation, condition, is, reason, message)
	}
	set(apiv1alpha1.ConditionConfigurationApplied, faults == nil, reason, message)
	unreachable := c.configured.IssuerFaults()
	switch {
	case issuers == 0:
		reason, message = apiv1alpha1.ReasonNoIssuers, "no issuer is configured: tokens of Kubernetes alone are accepted"
	case len(unreachable) > 0:
		reason, message = apiv1alpha1.ReasonIssuersUnreachable, joined(unreachable)
	default:
		reason, message = apiv1alpha1.ReasonIssuersReachable, "the keys of every issuer are known"
	}
	set(apiv1alpha1.ConditionIssuersReachable, len(unreachable) == 0, reason, message)
	for _, s := range c.configured.Services(ctx) {
		set(s.Condition, s.Available, s.Reason, s.Message)
	}
}

// joined puts faults by name into one line, in the order of the names.
func joined(faults map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(&b, "%s: %s; ", name, faults[name])
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// sentences puts joined errors into one line. What several parts stumble over is said once.
func sentences(err error) string {
	var all []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !slices.Contains(all, line) {
			all = append(all, line)
		}
	}
	return strings.Join(all, "; ")
}
