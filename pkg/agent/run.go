package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	addonutils "open-cluster-management.io/addon-framework/pkg/utils"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrl "sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	crsource "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/o2ims/o2ims/pkg/hardware/source"
	"github.com/o2ims/o2ims/pkg/report"
)

// Run reports the hardware of the managed cluster until ctx ends. It returns an error
// when it cannot start, or when it loses the Lease that keeps a second agent from
// reporting at the same time.
func Run(ctx context.Context, o Options) error {
	spoke, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return fmt.Errorf("managed cluster: %w", err)
	}
	hub, err := clientcmd.BuildConfigFromFlags("", o.HubKubeconfig)
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	skew := &clockSkew{}
	hub.Wrap(skew.wrap)
	mgr, err := newManager(spoke, o)
	if err != nil {
		return err
	}
	hubCluster, err := newHubCluster(hub, o.ClusterName)
	if err != nil {
		return err
	}
	if err := mgr.Add(inBackground{hubCluster}); err != nil {
		return err
	}
	if err := addReporter(mgr, hubCluster, o); err != nil {
		return err
	}
	path := newAlertPath(ctx, spoke, o.Namespace)
	rules, err := addIntakes(mgr, path, o)
	if err != nil {
		return err
	}
	if err := addAlerts(mgr, spoke, hubCluster, path, rules, skew, o); err != nil {
		return err
	}
	if err := addSweeper(mgr, o.Namespace); err != nil {
		return err
	}
	if err := addHealth(mgr, o); err != nil {
		return err
	}
	lease, err := newAddOnLease(spoke, o.Namespace)
	if err != nil {
		return err
	}
	if err := mgr.Add(lease); err != nil {
		return err
	}
	slog.InfoContext(ctx, "agent starts", "managedCluster", o.ClusterName, "hub", hub.Host, "namespace", o.Namespace)
	return mgr.Start(ctx)
}

func newManager(spoke *rest.Config, o Options) (ctrl.Manager, error) {
	health := "0"
	if o.HealthPort != 0 {
		health = net.JoinHostPort(o.BindAddress, strconv.Itoa(o.HealthPort))
	}
	mgr, err := ctrl.New(spoke, ctrl.Options{
		Scheme:                        clientgoscheme.Scheme,
		Logger:                        logr.FromSlogHandler(slog.Default().Handler()),
		Metrics:                       server.Options{BindAddress: "0"},
		HealthProbeBindAddress:        health,
		GracefulShutdownTimeout:       &o.ShutdownTimeout,
		LeaderElection:                o.LeaderElection,
		LeaderElectionID:              "o2ims-agent",
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &o.LeaseDuration,
		RenewDeadline:                 ptr.To(o.LeaseDuration * 2 / 3),
		RetryPeriod:                   ptr.To(o.LeaseDuration / 6),
		Controller:                    config.Controller{CacheSyncTimeout: hubPatience},
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&corev1.Node{}:      {Transform: stripNode},
				&corev1.ConfigMap{}: {Namespaces: map[string]cache.Config{o.Namespace: {LabelSelector: probesOnly()}}},
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("managed cluster: %w", err)
	}
	return mgr, nil
}

// hubPatience is how long the hub may be away when the agent starts.
const hubPatience = 365 * 24 * time.Hour

// inBackground starts the connection to the hub without waiting for it, on every replica.
// Alerts are taken and journalled while the hub is away, also by an agent that starts then.
type inBackground struct{ hub cluster.Cluster }

func (b inBackground) Start(ctx context.Context) error { return b.hub.Start(ctx) }

// NeedLeaderElection implements controller-runtime's LeaderElectionRunnable.
func (inBackground) NeedLeaderElection() bool { return false }

// newHubCluster sees one object of the hub: our own add-on. Its role allows no more. It
// asks the hub nothing, not even for its kinds.
func newHubCluster(hub *rest.Config, clusterName string) (cluster.Cluster, error) {
	scheme := runtime.NewScheme()
	if err := addonv1beta1.Install(scheme); err != nil {
		return nil, err
	}
	c, err := cluster.New(hub, func(o *cluster.Options) {
		o.Scheme = scheme
		o.MapperProvider = func(*rest.Config, *http.Client) (meta.RESTMapper, error) {
			mapper := meta.NewDefaultRESTMapper(nil)
			mapper.Add(schema.GroupVersion(addonv1beta1.GroupVersion).WithKind("ManagedClusterAddOn"), meta.RESTScopeNamespace)
			return mapper, nil
		}
		o.Logger = logr.FromSlogHandler(slog.Default().Handler())
		o.Cache.ByObject = map[client.Object]cache.ByObject{&addonv1beta1.ManagedClusterAddOn{}: {
			Namespaces: map[string]cache.Config{clusterName: {
				FieldSelector: fields.OneTermEqualSelector("metadata.name", report.AddOnName),
			}},
			Transform: cache.TransformStripManagedFields(),
		}}
	})
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return c, nil
}

func addReporter(mgr ctrl.Manager, hub cluster.Cluster, o Options) error {
	encoder, err := report.NewEncoder(o.MaxReportParts)
	if err != nil {
		return err
	}
	sources := []source.Source{
		source.Nodes{Reader: mgr.GetClient()},
		source.Probes{Reader: mgr.GetClient(), Namespace: o.Namespace},
	}
	r := &reporter{
		cluster: o.ClusterName,
		epoch:   uuid.NewString(),
		assembler: &assembler{
			cluster: o.ClusterName, sources: sources, expectProbe: o.ExpectProbe, grace: o.IdentityGrace, clock: clock.RealClock{},
		},
		encoder:    encoder,
		identities: identityStore{client: mgr.GetClient(), reader: mgr.GetAPIReader(), namespace: o.Namespace},
		hub:        hub.GetClient(),
		pace:       pace{debounce: o.ReportDebounce, minInterval: o.MinInterval},
		clock:      clock.RealClock{},
	}

	// Whatever happens, the one thing to do is to look at the report of this cluster.
	theReport := reconcile.Request{NamespacedName: client.ObjectKey{Namespace: o.ClusterName, Name: report.AddOnName}}
	toReport := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{theReport}
	})
	b := builder.ControllerManagedBy(mgr).Named("inventory-report").
		WatchesRawSource(crsource.Kind(hub.GetCache(), client.Object(&addonv1beta1.ManagedClusterAddOn{}), toReport))
	for _, s := range sources {
		for _, w := range s.Watches() {
			b = b.Watches(w.Object, toReport, builder.WithPredicates(w.Filter))
		}
	}
	return b.Complete(r)
}

// addHealth makes the agent restart when the hub's kubeconfig changes: its certificate
// files are read again by themselves, the address and the CA of the hub are not.
func addHealth(mgr ctrl.Manager, o Options) error {
	kubeconfig, err := addonutils.NewConfigChecker("hub-kubeconfig", o.HubKubeconfig)
	if err != nil {
		return fmt.Errorf("hub kubeconfig %s: %w", o.HubKubeconfig, err)
	}
	synced := func(r *http.Request) error {
		if !mgr.GetCache().WaitForCacheSync(r.Context()) {
			return errors.New("objects of the managed cluster are not read yet")
		}
		return nil
	}
	return errors.Join(
		mgr.AddHealthzCheck("hub-kubeconfig", kubeconfig.Check),
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("cache", synced),
	)
}
