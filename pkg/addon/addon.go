// Package addon registers o2ims with Open Cluster Management and renders manifests/ for
// each managed cluster on which the add-on is enabled.
//
// It stands on addon-framework, whose controllers turn our manifests into ManifestWorks,
// approve the certificate requests of agents, and call back for the permissions that an
// agent gets on the hub. What this package adds is about cost and trust. Cost: every report
// is a write to a ManagedClusterAddOn and wakes all of those controllers, so a rendering is
// kept until one of its inputs changes, and permissions are checked again only after a
// while. Trust: a certificate request must come from the cluster that it speaks of, and the
// manifests' values are typed.
//
// The controllers write the status of ManagedClusterAddOns with merge patches that carry
// the whole list of conditions. So nothing here may ever remove our own, large conditions
// from their caches to save memory: the next patch would delete the report from the hub.
// Only managedFields are stripped, by us and by whoever lends us a cache (Options.Cache).
//
// A hub that is too old is refused (see CheckHub).
package addon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apiextensionsclient "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"open-cluster-management.io/addon-framework/pkg/addonfactory"
	"open-cluster-management.io/addon-framework/pkg/addonmanager"
	"open-cluster-management.io/addon-framework/pkg/agent"
	addonutils "open-cluster-management.io/addon-framework/pkg/utils"
	addonclient "open-cluster-management.io/api/client/addon/clientset/versioned"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/o2ims/o2ims/manifests"
	"github.com/o2ims/o2ims/pkg/report"
)

const (
	// Name is the name of the add-on, of its ClusterManagementAddOn and of every
	// ManagedClusterAddOn of ours.
	Name = report.AddOnName

	// AgentName is the last part of an agent's user name on the hub. It never changes: with
	// another name every agent of a fleet would need a new certificate at once.
	AgentName = "o2ims-agent"

	// hubRetry is how long a refused hub is left alone before it is looked at again.
	hubRetry = time.Minute
)

// Options are the settings of the add-on manager.
type Options struct {
	// RESTConfig reaches the hub. Its rate limit is replaced by QPS and Burst.
	RESTConfig *rest.Config

	// AgentImage is the image that spokes run, before a managed cluster's or an
	// AddOnDeploymentConfig's registries override it.
	AgentImage string

	// ImagePullPolicy is that of the agent and the probe.
	ImagePullPolicy string

	// QPS and Burst limit the requests of the add-on controllers. The defaults of client-go
	// (5 and 10) would take half an hour to serve a fleet of thousands after a restart.
	QPS   float32
	Burst int

	// Registerer takes the metrics of this package; nil leaves them unregistered.
	Registerer prometheus.Registerer

	// Cache is the process's own cache, when it runs one that holds ManagedClusters and the
	// ManagedClusterAddOns of our name whole but for managedFields (see the package comment);
	// nil: the add-on controllers make their own.
	Cache cache.Informers
}

// AddFlags registers the options that are settings of a process, with their defaults.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.AgentImage, "agent-image", "", "image of the agent and the node probe on managed clusters")
	flags.StringVar(&o.ImagePullPolicy, "agent-image-pull-policy", string(corev1.PullIfNotPresent), "when managed clusters pull that image: Always, IfNotPresent or Never")
	flags.Float32Var(&o.QPS, "addon-qps", 200, "requests per second of the add-on controllers to the hub")
	flags.IntVar(&o.Burst, "addon-burst", 100, "requests that the add-on controllers may send at once")
}

// Validate reports every bad option, not only the first.
func (o *Options) Validate() error {
	var faults []error
	if o.AgentImage == "" {
		faults = append(faults, errors.New("--agent-image is required"))
	}
	switch corev1.PullPolicy(o.ImagePullPolicy) {
	case corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
	default:
		faults = append(faults, fmt.Errorf("--agent-image-pull-policy is %q, want Always, IfNotPresent or Never", o.ImagePullPolicy))
	}
	if o.QPS <= 0 {
		faults = append(faults, fmt.Errorf("--addon-qps is %v, want more than 0", o.QPS))
	}
	if o.Burst < 1 {
		faults = append(faults, fmt.Errorf("--addon-burst is %d, want at least 1", o.Burst))
	}
	return errors.Join(faults...)
}

// State says what the add-on manager is doing.
type State string

const (
	// Waiting means that this process does not deploy: it has not started, does not lead,
	// or could not ask the hub yet.
	Waiting State = "Waiting"

	// Refused means that this hub cannot carry reports; Status.Message says why.
	Refused State = "Refused"

	// Deploying means that agents are deployed and kept up to date.
	Deploying State = "Deploying"
)

// Status is what a readiness answer or a person may want to know about the add-on manager.
type Status struct {
	State   State
	Message string
	Since   time.Time // when State or Message last changed
}

// Manager deploys the agent to managed clusters. It is a Runnable of controller-runtime.
type Manager struct {
	config *rest.Config
	cache  cache.Informers // nil: none to share
	agent  *renderer
	addons addonclient.Interface
	kube   kubernetes.Interface
	crds   apiextensionsclient.Interface
	events events.EventRecorder
	sink   events.EventBroadcaster // carries what events records to the hub
	clock  clock.Clock

	mu     sync.Mutex
	status Status
}

// New prepares the add-on manager; nothing is asked of the hub before Start.
func New(o Options) (*Manager, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.RESTConfig == nil {
		return nil, errors.New("add-on manager: no connection to the hub was given")
	}
	config := rest.CopyConfig(o.RESTConfig)
	config.QPS, config.Burst, config.RateLimiter = o.QPS, o.Burst, nil

	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	addons, err := addonclient.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	crds, err := apiextensionsclient.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	spoke, err := newRenderer(o, kube, objects, clock.RealClock{})
	if err != nil {
		return nil, err
	}
	if o.Registerer != nil {
		for _, c := range []prometheus.Collector{spoke.renders, spoke.hits} {
			if err := o.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("add-on manager: metrics: %w", err)
			}
		}
	}
	sink := events.NewBroadcaster(&events.EventSinkImpl{Interface: kube.EventsV1()})
	m := &Manager{
		config: config, cache: o.Cache, agent: spoke, addons: addons, kube: kube, crds: crds,
		events: sink.NewRecorder(scheme.Scheme, "o2ims-manager"), sink: sink, clock: clock.RealClock{},
	}
	m.setStatus(Waiting, "not started: another replica leads, or this one is about to")
	return m, nil
}

// newRenderer puts together what addon-framework calls an agent add-on: manifests,
// registration, health.
func newRenderer(o Options, kube kubernetes.Interface, objects dynamic.Interface, c clock.Clock) (*renderer, error) {
	r := &renderer{
		image: o.AgentImage, pullPolicy: o.ImagePullPolicy,
		configs: &deploymentConfigs{client: objects, known: map[string]knownConfig{}},
		kept:    map[renderKey]*rendering{},
		renders: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "o2ims_addon_renders_total",
			Help: "Times that the spoke's manifests were rendered because an input had changed.",
		}),
		hits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "o2ims_addon_render_cache_hits_total",
			Help: "Times that the spoke's manifests were asked for and an earlier rendering served.",
		}),
	}
	grants := &permissions{kube: kube, clock: c, applied: map[string]grant{}}
	inner, err := addonfactory.NewAgentAddonFactory(Name, manifests.FS, manifests.Agent).
		WithScheme(spokeScheme()).
		WithConfigGVRs(addonutils.AddOnDeploymentConfigGVR).
		WithConfigCheckEnabledOption().
		WithGetValuesFuncs(r.values).
		WithAgentInstallNamespace(r.installNamespace).
		WithAgentDeployTriggerClusterFilter(clusterMatters).
		WithAgentHealthProber(&agent.HealthProber{Type: agent.HealthProberTypeLease}).
		WithAgentRegistrationOption(&agent.RegistrationOption{
			Configurations:   agent.KubeClientSignerConfigurations(Name, AgentName),
			CSRApproveCheck:  addonutils.UnionCSRApprover(comesFromItsCluster, addonutils.DefaultCSRApprover(AgentName)),
			PermissionConfig: grants.apply,
		}).
		BuildTemplateAgentAddon()
	if err != nil {
		return nil, fmt.Errorf("manifests of the agent: %w", err)
	}
	r.AgentAddon = inner
	return r, nil
}

// NeedLeaderElection keeps the add-on controllers to one replica: two would double every
// write and answer each other's.
func (m *Manager) NeedLeaderElection() bool { return true }

// Status tells what the manager is doing.
func (m *Manager) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status
}

// setStatus reports whether the status differs from before.
func (m *Manager) setStatus(state State, message string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.status.State == state && m.status.Message == message {
		return false
	}
	m.status = Status{State: state, Message: message, Since: m.clock.Now()}
	return true
}

// Start deploys agents until ctx ends. On a hub that is too old it deploys nothing, says
// so, and looks again every minute.
func (m *Manager) Start(ctx context.Context) error {
	if err := m.sink.StartRecordingToSinkWithContext(ctx); err != nil {
		return fmt.Errorf("add-on %s: events: %w", Name, err)
	}
	defer m.sink.Shutdown()
	if !m.waitForHub(ctx) {
		return nil
	}
	base := addonmanager.NewBaseAddonManagerImpl(m.config)
	if err := base.AddAgent(m.agent); err != nil {
		return fmt.Errorf("add-on %s: %w", Name, err)
	}
	in, err := newInformers(ctx, m.config, m.addons, m.kube, m.cache)
	if err != nil {
		return err
	}
	if err := base.StartWithInformers(ctx, in.workClient, in.works.Work().V1().ManifestWorks(),
		in.kube, in.addons, in.clusters, in.objects); err != nil {
		return fmt.Errorf("add-on %s: %w", Name, err)
	}
	in.start(ctx)
	m.setStatus(Deploying, "")
	slog.InfoContext(ctx, "deploying agents to managed clusters", "addon", Name)
	<-ctx.Done()
	in.shutdown()
	return nil
}

// waitForHub returns true as soon as the hub can carry reports, false when ctx ends first.
func (m *Manager) waitForHub(ctx context.Context) bool {
	for {
		err := CheckHub(ctx, m.crds)
		if err == nil {
			return true
		}
		var refusal *HubRefusedError
		switch {
		case errors.As(err, &refusal):
			if m.setStatus(Refused, refusal.Error()) {
				slog.ErrorContext(ctx, "agents are not deployed", "addon", Name, "error", err)
			}
			m.announce(ctx, refusal)
		case m.setStatus(Waiting, err.Error()):
			slog.WarnContext(ctx, "the hub could not be checked yet", "addon", Name, "error", err)
		}
		timer := m.clock.NewTimer(hubRetry)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C():
		}
	}
}
