package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	ctrl "sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	crsource "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/o2ims/o2ims/pkg/alert"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
)

// alertPath connects intakes, the journal and the report.
type alertPath struct {
	recorder *alert.Standby // takes alerts while this agent leads
	events   chan event.GenericEvent

	// lastAlive is when an agent last held the add-on's Lease, before this one; zero when
	// that is not known.
	lastAlive time.Time
}

func newAlertPath(ctx context.Context, spoke *rest.Config, namespace string) *alertPath {
	return &alertPath{
		recorder: &alert.Standby{}, events: make(chan event.GenericEvent, 1), lastAlive: lastRenewal(ctx, spoke, namespace),
	}
}

// changed says that there is something new to report. It does not block.
func (p *alertPath) changed() {
	select {
	case p.events <- event.GenericEvent{Object: &addonv1beta1.ManagedClusterAddOn{}}:
	default: // one is under way already
	}
}

// addAlerts opens the journal while this agent leads, and reports what is in it. rules may
// be nil.
func addAlerts(mgr ctrl.Manager, spoke *rest.Config, hub cluster.Cluster, path *alertPath, rules alert.Rules, skew *clockSkew, o Options) error {
	// The journal's writes are one at a time, and somebody waits for each.
	unthrottled := rest.CopyConfig(spoke)
	unthrottled.QPS = -1
	direct, err := client.New(unthrottled, client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return fmt.Errorf("managed cluster: %w", err)
	}
	keeper := &journalKeeper{path: path, options: alert.JournalOptions{
		Client: direct, Namespace: o.Namespace, Cluster: o.ClusterName, Clock: clock.RealClock{},
		LastReport: lastReport(hub.GetAPIReader(), o.ClusterName), Changed: path.changed,
	}}
	if err := mgr.Add(keeper); err != nil {
		return err
	}
	reporter, err := alert.NewReporter(alert.ReporterOptions{
		Cluster: o.ClusterName, Journal: path.recorder, Hub: hub.GetClient(), Rules: rules,
		Clock: clock.RealClock{}, MinInterval: o.AlertsMinInterval, Skew: skew.ahead,
	})
	if err != nil {
		return err
	}
	theReport := reconcile.Request{NamespacedName: client.ObjectKey{Namespace: o.ClusterName, Name: report.AddOnName}}
	toReport := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{theReport}
	})
	return builder.ControllerManagedBy(mgr).Named("alerts-report").
		WatchesRawSource(crsource.Kind(hub.GetCache(), client.Object(&addonv1beta1.ManagedClusterAddOn{}), toReport)).
		WatchesRawSource(crsource.Channel(path.events, toReport)).
		Complete(reporter)
}

// lastRenewal reads when the add-on's Lease was renewed last, which only an agent that leads
// does. It is good to know, and not worth failing for.
func lastRenewal(ctx context.Context, spoke *rest.Config, namespace string) time.Time {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	kube, err := kubernetes.NewForConfig(spoke)
	if err != nil {
		return time.Time{}
	}
	lease, err := kube.CoordinationV1().Leases(namespace).Get(ctx, report.AddOnName, metav1.GetOptions{})
	if err != nil || lease.Spec.RenewTime == nil {
		slog.InfoContext(ctx, "not known when an agent last worked here", "error", err)
		return time.Time{}
	}
	return lease.Spec.RenewTime.Time
}

// lastReport reads the conditions of the add-on from the hub itself: a cache may be behind.
func lastReport(hub client.Reader, clusterName string) func(context.Context) ([]metav1.Condition, error) {
	return func(ctx context.Context) ([]metav1.Condition, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		var addon addonv1beta1.ManagedClusterAddOn
		err := hub.Get(ctx, client.ObjectKey{Namespace: clusterName, Name: report.AddOnName}, &addon)
		switch {
		case apierrors.IsNotFound(err):
			return nil, fmt.Errorf("ManagedClusterAddOn %s/%s: %w", clusterName, report.AddOnName, fault.NotFound)
		case err != nil:
			return nil, fmt.Errorf("ManagedClusterAddOn %s/%s: %w", clusterName, report.AddOnName, err)
		}
		return addon.Status.Conditions, nil
	}
}

// journalKeeper has the journal open while this agent holds the Lease. An agent that finds
// that another one writes the journal ends.
type journalKeeper struct {
	path    *alertPath
	options alert.JournalOptions
}

// Start opens the journal, as soon as that can be done, and closes it when ctx ends.
func (k *journalKeeper) Start(ctx context.Context) error {
	lost := make(chan error, 1)
	o := k.options
	o.Lost = func(err error) { lost <- err }
	var journal *alert.Journal
	backoff := wait.Backoff{Duration: 250 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 7, Cap: 15 * time.Second}
	for journal == nil {
		var err error
		journal, err = alert.OpenJournal(ctx, o)
		switch {
		case err == nil:
		case errors.Is(err, fault.Conflict):
			return err
		case ctx.Err() != nil:
			return nil
		default:
			slog.ErrorContext(ctx, "alert journal not open: no alert is taken", "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(backoff.Step()):
			}
		}
	}
	k.path.recorder.Use(journal)
	k.path.changed()
	defer journal.Close()
	defer k.path.recorder.Use(nil)
	select {
	case <-ctx.Done():
		return nil
	case err := <-lost:
		return err
	}
}

// clockSkew measures how far our clock is ahead of the hub's, by what the hub's answers say
// of the time.
type clockSkew struct{ measured atomic.Int64 } // nanoseconds

// minSkew is what is worth telling: the hub tells whole seconds, and answers take a while.
const minSkew = 5 * time.Second

// wrap is for rest.Config.Wrap.
func (s *clockSkew) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err == nil {
			if date, parseErr := http.ParseTime(answer.Header.Get("Date")); parseErr == nil {
				s.measured.Store(int64(time.Since(date)))
			}
		}
		return answer, err
	})
}

// ahead is negative when our clock is behind, and 0 when it is about right.
func (s *clockSkew) ahead() time.Duration {
	d := time.Duration(s.measured.Load()).Truncate(time.Second)
	if d.Abs() < minSkew {
		return 0
	}
	return d
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
