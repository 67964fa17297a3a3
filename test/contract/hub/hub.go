// Package hub serves the manager's APIs in a test's own process, before a real
// kube-apiserver with the roles of the chart: who calls and what they may do is judged as in
// production, by the manager's service account and its rights. What the APIs show is empty.
//
// The manager as a process of its own was the alternative. It needs Open Cluster Management
// around it and gives its log and its metrics only from outside, where these tests look for
// what must not be in either.
package hub

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/o2ims/o2ims/pkg/alarm"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/server"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
	"github.com/o2ims/o2ims/test/contract/serve"
	"github.com/o2ims/o2ims/test/harness"
)

// Names on the hub.
const (
	Namespace = "o2ims"
	account   = "o2ims-manager"
	secret    = "o2ims-serving-cert"
)

// Audience is that of Kubernetes tokens.
const Audience = auth.DefaultAudience

// Server serves the APIs.
type Server struct {
	URL     string
	CA      []byte // PEM; trust this for URL
	Metrics *prometheus.Registry
	Callers *auth.Callers
	Client  kubernetes.Interface // with the manager's rights
}

// Install applies the chart to a cluster, and nobody runs what it deploys.
func Install(ctx context.Context, cluster *harness.Cluster) error {
	root, err := harness.RepositoryRoot()
	if err != nil {
		return err
	}
	_, err = cluster.InstallChart(ctx, filepath.Join(root, "charts", "o2ims"), "o2ims", Namespace, nil)
	return err
}

// Start serves the APIs until the test ends; change may make the server another one. The
// chart must be installed on the cluster.
func Start(t testing.TB, cluster *harness.Cluster, change ...func(*server.Options)) *Server {
	t.Helper()
	client, err := asManager(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	registry, clock := prometheus.NewRegistry(), auth.SystemClock{}
	authorizer := auth.NewAuthorizer(client.AuthorizationV1().SubjectAccessReviews(), clock)
	reviews := auth.NewTokenReviews(client.AuthenticationV1().TokenReviews(), []string{Audience}, clock)
	callers := auth.NewCallers(reviews, clock, registry)
	options := server.Options{BindAddress: "127.0.0.1", CertSecret: secret, ServiceName: "o2ims", Namespace: Namespace, ExternalURL: externalURL}
	for _, c := range change {
		c(&options)
	}
	s := serve.Start(t, options, server.Parts{
		Mounts: apis(t, authorizer), Gate: auth.NewGate(callers, authorizer, registry), Metrics: registry,
		Secrets: client.CoreV1().Secrets(Namespace), ClientCAs: callers.ClientCAs, TrustedProxy: callers.TrustsProxy,
	})
	return &Server{URL: s.URL, Metrics: registry, Callers: callers, Client: client, CA: s.CA}
}

// asManager is a client with the rights that the chart gives to the manager.
func asManager(ctx context.Context, cluster *harness.Cluster) (kubernetes.Interface, error) {
	file, err := cluster.TokenKubeconfig(ctx, Namespace, account)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // the apiserver's own fairness will do
	return kubernetes.NewForConfig(config)
}

// WaitUntilAllowed waits until the apiserver has read the roles and bindings by which somebody
// may read a path: a server of ours would remember a refusal for a while.
func (s *Server) WaitUntilAllowed(ctx context.Context, t testing.TB, user, group, path string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		review, err := s.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User: user, Groups: []string{group}, NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if review.Status.Allowed {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s of %s may not read %s", user, group, path)
		case <-tick.C:
		}
	}
}

const externalURL = "https://o2ims.example.net"

// apis are what the manager serves, over an O-Cloud without managed clusters and an
// embedded store.
func apis(t testing.TB, access inventory.Access) []server.Mount {
	t.Helper()
	model, err := inventory.New(inventory.Options{OCloudID: "262c8f17-52b5-4614-9e56-812ae21fa8a7", Name: "north", ServiceURI: externalURL})
	if err != nil {
		t.Fatal(err)
	}
	with := serve.NewBacking(t)
	pager := rest.NewPager(rest.PagingOptions{Size: 100, BaseURL: externalURL}, make([]byte, rest.MarkerKeyBytes))
	versions := []string{"v1", "v2"}
	api := inventory.NewAPI(model, access, inventory.APIOptions{Versions: versions}, pager)
	subscriptions := subscription.NewAPI(with.Delivery, subscription.APIParts{
		Store: with.Store, Callbacks: with.Callback, Pager: pager, BaseURL: externalURL, Service: subscription.Service{
			Name: "inventory", Versions: versions, Kinds: func(version string) subscription.Kinds { return api.ObjectTypes(version) },
		},
	})
	alarms := alarm.NewAPI(alarm.APIOptions{Versions: versions}, alarm.Parts{
		Records: alarm.NewRedisRecords(with.Store, alarm.Configuration{RetentionDays: 1}),
		Store:   with.Store, Callbacks: with.Callback, Subscriptions: with.Delivery,
		Pager: pager, BaseURL: externalURL, GlobalCloudID: func() string { return "" }, Now: time.Now,
	})
	follower := alarm.NewIngest(alarm.IngestOptions{Registerer: prometheus.NewRegistry()}, with.Store, func() *store.Term { return nil }, nil)
	admin := subscription.Admin{Store: with.Store, Clusters: func(context.Context) ([]subscription.ClusterLedger, error) { return nil, nil }}
	return []server.Mount{
		{Prefix: inventory.BasePath, Routes: func(r *mux.Router) {
			api.Routes(r)
			subscriptions.Routes(r, inventory.BasePath)
		}},
		{Prefix: alarm.BasePath, Alias: alarm.Alias, Routes: alarms.Routes},
		{Prefix: "/internal", Routes: alarm.NewWebhook(alarm.WebhookOptions{}, follower, model).Routes, MaxBodyBytes: alarm.MaxWebhookBytes, Retries5xxOnly: true},
		{Prefix: "/admin", Routes: admin.Routes},
	}
}

// Route is a path that the APIs serve.
type Route struct {
	Template string   // such as /o2ims-infrastructureInventory/v2/resourcePools/{resourcePoolId}
	Methods  []string // that it has
}

// Routes are those of all APIs, as they are matched.
func Routes(t testing.TB) []Route {
	t.Helper()
	router := mux.NewRouter()
	for _, m := range apis(t, nil) {
		m.Routes(router)
	}
	var routes []Route
	err := router.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		template, err := route.GetPathTemplate()
		if err != nil {
			return err
		}
		methods, ok := route.GetHandler().(rest.Methods)
		if !ok {
			return fmt.Errorf("%s: its handler is a %T, whose methods nobody knows", template, route.GetHandler())
		}
		r := Route{Template: template}
		for _, method := range Methods() {
			if _, has := methods[method]; has {
				r.Methods = append(r.Methods, method)
			}
		}
		routes = append(routes, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return routes
}
