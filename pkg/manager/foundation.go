package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
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

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/controller"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/server"
	"github.com/o2ims/o2ims/pkg/smo"
	"github.com/o2ims/o2ims/pkg/store"
)

// foundation is what every service stands on: the hub, Redis, the way out, and who may ask.
type foundation struct {
	options  Options // with an OCloudID in any case
	registry *prometheus.Registry

	hub  *restclient.Config
	kube kubernetes.Interface
	mgr  ctrl.Manager

	access access
	pager  *rest.Pager

	store *store.Store
	out   *smo.Client
}

// newFoundation connects to the hub, which must answer, and to Redis, which need not yet.
// The caller closes the store.
func newFoundation(ctx context.Context, o Options) (*foundation, error) {
	hub, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	hub.QPS, hub.Burst = o.QPS, o.Burst
	kube, err := kubernetes.NewForConfig(hub)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	if o.OCloudID, err = oCloudID(ctx, kube, o.OCloudID); err != nil {
		return nil, err
	}
	mgr, err := newManager(hub, o)
	if err != nil {
		return nil, err
	}
	registry := newRegistry()
	pager, err := newPager(ctx, kube, o)
	if err != nil {
		return nil, err
	}
	out, err := smo.New(o.Outbound, smo.Parts{})
	if err != nil {
		return nil, err
	}
	o.Store.Registerer = registry
	db, err := store.Open(o.Store)
	if err != nil {
		return nil, err
	}
	return &foundation{
		options: o, registry: registry, hub: hub, kube: kube, mgr: mgr,
		access: newAccess(kube, o.Auth, registry), pager: pager, store: db, out: out,
	}, nil
}

// newRegistry has the metrics of controller-runtime and of the Go runtime, which are in a
// global registry.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	if collected, ok := ctrlmetrics.Registry.(prometheus.Collector); ok {
		registry.MustRegister(collected)
	}
	return registry
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
