package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	ctrl "sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/o2ims/o2ims/pkg/addon"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/controller"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/server"
)

// Run serves the hub until ctx ends. It returns an error when it cannot start, or when
// it loses the Lease of the leader: what it did as the leader cannot be undone by half,
// so the process starts anew.
func Run(ctx context.Context, o Options) error {
	hub, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	hub.QPS, hub.Burst = o.QPS, o.Burst
	kube, err := kubernetes.NewForConfig(hub)
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	o.OCloudID, err = oCloudID(ctx, kube, o.OCloudID)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	// The metrics of controller-runtime and of the Go runtime are in a global registry.
	if collected, ok := ctrlmetrics.Registry.(prometheus.Collector); ok {
		registry.MustRegister(collected)
	}
	model, err := inventory.New(inventory.Options{
		OCloudID: o.OCloudID, GlobalCloudID: o.GlobalCloudID, Name: o.Name, Description: o.Description,
		ServiceURI: o.externalURL(),
	})
	if err != nil {
		return err
	}

	mgr, err := newManager(hub, o)
	if err != nil {
		return err
	}
	access := newAccess(kube, o.Auth, registry)
	pager, err := newPager(ctx, kube, o)
	if err != nil {
		return err
	}
	outside, err := newOutside(o, registry)
	if err != nil {
		return err
	}
	defer outside.store.Close()
	follow := newConfigured(access.callers, outside)
	ingest, err := controller.SetUp(mgr, model, o.Ingest, controller.Parts{Namespace: o.Namespace, Configured: follow, SMO: outside.client}, registry)
	if err != nil {
		return err
	}
	o.AddOn.RESTConfig, o.AddOn.Registerer, o.AddOn.Cache = hub, registry, mgr.GetCache()
	addons, err := addon.New(o.AddOn)
	if err != nil {
		return err
	}
	o.Inventory.Served = follow.serves(inventoryName)
	o.Inventory.Credentials = controller.ClusterTokens(kube.CoreV1(), o.Inventory.DeployerServiceAccount, time.Now)
	api := inventory.NewAPI(model, access.authorizer, o.Inventory, pager)
	told, err := newNotifications(o, outside, access.authorizer, api, ingest, model, mgr.GetCache(), pager, registry)
	if err != nil {
		return err
	}
	ill, err := newAlarms(mgr, told, ingest, model, o, pager, access.authorizer, follow.serves(monitoringName), registry)
	if err != nil {
		return err
	}
	follow.records = ill.records
	apis, err := newServer(kube, access, api, told, ill.mounts(), ingest, follow, registry, o)
	if err != nil {
		return err
	}
	for _, r := range slices.Concat(told.runnables(), ill.runnables(), []ctrl.Runnable{addons, everywhere{follow.askIssuers}, everywhere{apis.Run}}) {
		if err := mgr.Add(r); err != nil {
			return err
		}
	}
	slog.InfoContext(ctx, "manager starts", "oCloudId", o.OCloudID, "hub", hub.Host, "namespace", o.Namespace)
	return mgr.Start(ctx)
}

// oCloudID asks the hub for the UID of its oldest namespace, which lives as long as the
// hub does, unless the administrator gave an id. Without it nothing can be served under
// the right names, so it is asked for until there is an answer.
func oCloudID(ctx context.Context, kube kubernetes.Interface, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	id := ""
	err := wait.PollUntilContextCancel(ctx, time.Second, true, func(ctx context.Context) (bool, error) {
		ns, err := kube.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
		if err != nil {
			slog.WarnContext(ctx, "oCloudId not known yet", "namespace", metav1.NamespaceSystem, "error", err)
			return false, nil
		}
		id = string(ns.UID)
		return true, nil
	})
	if err != nil {
		return "", fmt.Errorf("oCloudId: namespace %s of the hub: %w", metav1.NamespaceSystem, err)
	}
	return id, nil
}

func newManager(hub *restclient.Config, o Options) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(controller.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	mgr, err := ctrl.New(hub, ctrl.Options{
		Scheme:                        scheme,
		Logger:                        logr.FromSlogHandler(slog.Default().Handler()),
		Cache:                         cache.Options{ByObject: controller.CacheOptions(o.Namespace)},
		Metrics:                       metricsserver.Options{BindAddress: "0"}, // ours are on the API port
		HealthProbeBindAddress:        "0",                                     // and so is health
		GracefulShutdownTimeout:       ptr.To(15 * time.Second),
		LeaderElection:                o.LeaderElection,
		LeaderElectionID:              "o2ims-manager",
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &o.LeaseDuration,
		RenewDeadline:                 ptr.To(o.LeaseDuration * 2 / 3),
		RetryPeriod:                   ptr.To(o.LeaseDuration / 6),
	})
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return mgr, nil
}

// access decides who may do what.
type access struct {
	authorizer *auth.Authorizer
	callers    *auth.Callers
	gate       *auth.Gate
}

func newAccess(kube kubernetes.Interface, o auth.Options, registry prometheus.Registerer) access {
	clock := auth.SystemClock{}
	authorizer := auth.NewAuthorizer(kube.AuthorizationV1().SubjectAccessReviews(), clock)
	tokens := auth.NewTokenReviews(kube.AuthenticationV1().TokenReviews(), o.Audiences, clock)
	callers := auth.NewCallers(tokens, clock, registry)
	return access{authorizer, callers, auth.NewGate(callers, authorizer, registry)}
}

// newPager cuts lists into pages, with markers that every replica can read.
func newPager(ctx context.Context, kube kubernetes.Interface, o Options) (*rest.Pager, error) {
	key, err := server.SharedKey(ctx, kube.CoreV1().Secrets(o.Namespace), o.Paging.KeySecret, rest.MarkerKeyBytes)
	if err != nil {
		return nil, err
	}
	o.Paging.BaseURL = o.Server.ExternalURL
	return rest.NewPager(o.Paging, key), nil
}

func newServer(kube kubernetes.Interface, who access, api *inventory.API, told *notifications, others []server.Mount, ingest *controller.Ingest, follow *configured, registry *prometheus.Registry, o Options) (*server.Server, error) {
	o.Server.Namespace = o.Namespace
	parts := server.Parts{
		Mounts: slices.Concat(told.mounts(), others, []server.Mount{{Prefix: inventory.BasePath, Routes: func(r *mux.Router) {
			api.Routes(r)
			told.inventoryRoutes(r)
		}}}),
		Checks: []server.Check{
			{Name: "configuration", Ready: ingest.Configuration.Ready},
			{Name: "inventory", Ready: func() error { return ingest.Ready(&http.Request{}) }},
		},
		Hidden:    follow.hidden,
		ClientCAs: who.callers.ClientCAs, TrustedProxy: who.callers.TrustsProxy,
		Gate:    who.gate,
		Metrics: registry,
	}
	if o.Server.CertFile == "" {
		parts.Secrets = kube.CoreV1().Secrets(o.Namespace)
	}
	return server.New(o.Server, parts)
}

// everywhere is a Runnable of every replica, leader or not.
type everywhere struct{ run func(context.Context) error }

func (e everywhere) Start(ctx context.Context) error { return e.run(ctx) }

// NeedLeaderElection implements controller-runtime's LeaderElectionRunnable.
func (everywhere) NeedLeaderElection() bool { return false }
