package addon

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"open-cluster-management.io/addon-framework/pkg/addonfactory"
	"open-cluster-management.io/addon-framework/pkg/agent"
	addonutils "open-cluster-management.io/addon-framework/pkg/utils"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	"github.com/o2ims/o2ims/pkg/fault"
)

const (
	// anyCluster stands for the managed cluster's name in a rendering that is kept. It is
	// not a valid name, so it cannot occur otherwise.
	anyCluster = "@cluster@"

	// renderingsKept bounds the memory of renderings, about 20 kB each. A fleet needs one
	// per AddOnDeploymentConfig in use, times two where some clusters are OpenShift.
	renderingsKept = 256
)

// renderer renders the manifests of one managed cluster. It wraps the template builder of
// addon-framework, which would render twice at every event.
type renderer struct {
	agent.AgentAddon // the template builder

	image, pullPolicy string
	configs           *deploymentConfigs

	mu   sync.Mutex
	kept map[renderKey]*rendering
	turn int // counts requests, to tell which rendering was not used for longest

	renders, hits prometheus.Counter
}

// renderKey is everything that a rendering depends on, except the name of the managed
// cluster: so one rendering serves all clusters that are configured alike. The status of
// the ManagedClusterAddOn is not part of it, which is the point: a report renders nothing.
type renderKey struct {
	config           configRef
	openShift        bool
	registries       string // annotation of the ManagedCluster
	installNamespace string // annotation of the ManagedClusterAddOn, from its v1alpha1 spec
}

type rendering struct {
	objects  []runtime.Object
	lastUsed int
}

// Manifests returns what is to run on a managed cluster; the caller owns the objects. An
// error over a bad AddOnDeploymentConfig wraps fault.Invalid.
func (r *renderer) Manifests(ctx context.Context, cluster *clusterv1.ManagedCluster, addon *addonv1beta1.ManagedClusterAddOn) ([]runtime.Object, error) {
	ref, err := configRefOf(addon)
	if err != nil {
		return nil, err
	}
	_, exact, err := r.configs.get(ctx, ref)
	if err != nil {
		return nil, err
	}
	key := renderKey{
		config:           ref,
		openShift:        isOpenShift(cluster),
		registries:       cluster.Annotations[clusterv1.ClusterImageRegistriesAnnotationKey],
		installNamespace: addon.Annotations[addonv1beta1.InstallNamespaceAnnotation],
	}
	objects, ok := r.recall(key)
	if !ok {
		if objects, err = r.render(ctx, cluster, addon); err != nil {
			return nil, err
		}
		if exact && isConfigured(addon) { // else the install namespace may still change under this key
			r.remember(key, objects)
		}
	}
	return stamp(objects, cluster.Name), nil
}

// render fills the templates in for a cluster without a name. The template builder panics
// over a template that does not execute; that would be our mistake, but one add-on's
// mistake must not end the process that serves the API.
func (r *renderer) render(ctx context.Context, cluster *clusterv1.ManagedCluster, addon *addonv1beta1.ManagedClusterAddOn) (objects []runtime.Object, err error) {
	defer func() {
		if p := recover(); p != nil {
			objects, err = nil, fmt.Errorf("manifests of the agent: %v", p)
		}
	}()
	r.renders.Inc()
	nameless := *cluster
	nameless.Name = anyCluster
	return r.AgentAddon.Manifests(ctx, &nameless, addon)
}

func (r *renderer) recall(key renderKey) ([]runtime.Object, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.kept[key]
	if !ok {
		return nil, false
	}
	r.turn++
	found.lastUsed = r.turn
	r.hits.Inc()
	return found.objects, true
}

func (r *renderer) remember(key renderKey, objects []runtime.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) >= renderingsKept {
		var oldest renderKey
		least := r.turn + 1
		for k, kept := range r.kept {
			if kept.lastUsed < least {
				oldest, least = k, kept.lastUsed
			}
		}
		delete(r.kept, oldest)
	}
	r.turn++
	r.kept[key] = &rendering{objects: objects, lastUsed: r.turn}
}

// stamp copies a rendering and writes the managed cluster's name into it. The name occurs
// in the arguments of containers and nowhere else.
func stamp(objects []runtime.Object, cluster string) []runtime.Object {
	out := make([]runtime.Object, len(objects))
	for i, o := range objects {
		out[i] = o.DeepCopyObject()
		d, ok := out[i].(*appsv1.Deployment)
		if !ok {
			continue
		}
		for _, c := range d.Spec.Template.Spec.Containers {
			for n, arg := range c.Args {
				c.Args[n] = strings.ReplaceAll(arg, anyCluster, cluster)
			}
		}
	}
	return out
}

// installNamespace returns where the agent runs on the spoke; nothing means OCM's default.
//
// While OCM has not decided which configuration applies, an add-on stays where it is, and a
// new one waits: otherwise its credentials would first go to the default namespace and
// then move.
func (r *renderer) installNamespace(ctx context.Context, addon *addonv1beta1.ManagedClusterAddOn) (string, error) {
	ref, err := configRefOf(addon)
	undecided := err != nil || (ref == configRef{} && !isConfigured(addon))
	switch {
	case undecided && addon.Status.Namespace != "":
		return addon.Status.Namespace, nil
	case err != nil:
		return "", err
	case undecided:
		return "", fmt.Errorf("install namespace of add-on %s: its configuration is not resolved yet: %w", addon.Name, fault.Unavailable)
	}
	config, _, err := r.configs.get(ctx, ref)
	if err != nil || config == nil {
		return "", err
	}
	return config.Spec.AgentInstallNamespace, nil
}

// manifestValues are the values of the templates, beside the built-in ones of
// addon-framework. Fields called JSON hold JSON and go in as they are; all other strings
// are quoted by the template.
type manifestValues struct {
	Image           string
	ImagePullPolicy string
	OpenShift       bool

	Probe             bool
	ProbeInterval     string
	ReportDebounce    string
	ReportMinInterval string
	MaxReportParts    int
	LogLevel          string

	AlertmanagerURLs    string // these lists are separated by commas
	PrometheusURL       string
	AlertSenders        string
	AlertTokenAudiences string
	AlertPollInterval   string
	AlertsMinInterval   string

	NodeSelector     string // JSON
	AgentTolerations string // JSON
	ProbeTolerations string // JSON
	AgentResources   string // JSON
	ProbeResources   string // JSON

	AgentMemoryLimit string // for GOMEMLIMIT; empty without a limit
	ProbeMemoryLimit string

	HTTPProxy     string
	HTTPSProxy    string
	NoProxy       string
	ProxyCABundle string // PEM
}

// values is the GetValuesFunc of the template builder, which hands no context on.
func (r *renderer) values(cluster *clusterv1.ManagedCluster, addon *addonv1beta1.ManagedClusterAddOn) (addonfactory.Values, error) {
	ref, err := configRefOf(addon)
	if err != nil {
		return nil, err
	}
	config, _, err := r.configs.get(context.Background(), ref)
	if err != nil {
		return nil, err
	}
	if config == nil {
		config = &addonv1beta1.AddOnDeploymentConfig{}
	}
	v, err := r.valuesFrom(config.Spec, cluster)
	if err != nil && ref != (configRef{}) {
		return nil, fmt.Errorf("AddOnDeploymentConfig %s/%s: %w", ref.namespace, ref.name, err)
	}
	if err != nil {
		return nil, err
	}
	return addonfactory.StructToValues(v), nil
}

func (r *renderer) valuesFrom(spec addonv1beta1.AddOnDeploymentConfigSpec, cluster *clusterv1.ManagedCluster) (manifestValues, error) {
	s, err := settingsFrom(spec.CustomizedVariables)
	if err != nil {
		return manifestValues{}, err
	}
	image, err := overrideImage(spec.Registries, cluster.Annotations, r.image)
	if err != nil {
		return manifestValues{}, err
	}
	v := manifestValues{
		Image:             image,
		ImagePullPolicy:   r.pullPolicy,
		OpenShift:         isOpenShift(cluster),
		Probe:             s.probe,
		ProbeInterval:     s.probeInterval.String(),
		ReportDebounce:    s.reportDebounce.String(),
		ReportMinInterval: s.reportMinInterval.String(),
		MaxReportParts:    s.maxReportParts,
		LogLevel:          s.logLevel,

		AlertmanagerURLs:    strings.Join(s.alertmanagerURLs, ","),
		PrometheusURL:       s.prometheusURL,
		AlertSenders:        strings.Join(s.alertSenders, ","),
		AlertTokenAudiences: strings.Join(s.alertTokenAudiences, ","),
		AlertPollInterval:   s.alertPollInterval.String(),
		AlertsMinInterval:   s.alertsMinInterval.String(),

		HTTPProxy:     spec.ProxyConfig.HTTPProxy,
		HTTPSProxy:    spec.ProxyConfig.HTTPSProxy,
		NoProxy:       spec.ProxyConfig.NoProxy,
		ProxyCABundle: string(spec.ProxyConfig.CABundle),
	}
	if v.NoProxy == "" && (v.HTTPProxy != "" || v.HTTPSProxy != "") {
		v.NoProxy = ".svc,.cluster.local" // the template adds the apiserver's address
	}

	placement := addonv1beta1.NodePlacement{}
	if spec.NodePlacement != nil {
		placement = *spec.NodePlacement
	}
	agentNeeds, err := resourcesFor("deployments:o2ims-agent:agent", needs("10m", "48Mi", "128Mi"), spec.ResourceRequirements)
	if err != nil {
		return manifestValues{}, err
	}
	probeNeeds, err := resourcesFor("daemonsets:o2ims-probe:probe", needs("5m", "32Mi", "96Mi"), spec.ResourceRequirements)
	if err != nil {
		return manifestValues{}, err
	}
	v.AgentMemoryLimit, v.ProbeMemoryLimit = memoryLimit(agentNeeds), memoryLimit(probeNeeds)

	selector := placement.NodeSelector
	if selector == nil {
		selector = map[string]string{}
	}
	for _, f := range []struct {
		to   *string
		from any
	}{
		{&v.NodeSelector, selector},
		{&v.AgentTolerations, append(agentTolerations(), placement.Tolerations...)},
		{&v.ProbeTolerations, append(probeTolerations(), placement.Tolerations...)},
		{&v.AgentResources, agentNeeds},
		{&v.ProbeResources, probeNeeds},
	} {
		b, err := json.Marshal(f.from)
		if err != nil {
			return manifestValues{}, err
		}
		*f.to = string(b)
	}
	return v, nil
}

// overrideImage applies the mirrors of the AddOnDeploymentConfig and, where those say
// nothing of the image, the ones that the ManagedCluster is annotated with.
func overrideImage(registries []addonv1beta1.ImageMirror, annotations map[string]string, image string) (string, error) {
	if mirrored := addonfactory.OverrideImage(registries, image); mirrored != image {
		return mirrored, nil
	}
	mirrored, err := addonutils.OverrideImageByAnnotation(annotations, image)
	if err != nil {
		return "", fmt.Errorf("annotation %s: %v: %w", clusterv1.ClusterImageRegistriesAnnotationKey, err, fault.Invalid)
	}
	return mirrored, nil
}

// agentTolerations let the agent run where there is nothing but a control plane, as on a
// small site.
func agentTolerations() []corev1.Toleration {
	return []corev1.Toleration{
		{Key: "node-role.kubernetes.io/control-plane", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
		{Key: "node-role.kubernetes.io/master", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
		{Key: "node-role.kubernetes.io/infra", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	}
}

// probeTolerations let the probe run on every node, whatever its taints.
func probeTolerations() []corev1.Toleration {
	return []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
}

// needs are what a container gets unless it is configured. There is no limit on the
// processor: a probe that may not finish its look would be no gain for anybody.
func needs(cpu, memory, memoryLimit string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(memoryLimit)},
	}
}

// resourcesFor returns the requirements of a container, such as
// "deployments:o2ims-agent:agent": the last that match it, or the default.
func resourcesFor(id string, fallback corev1.ResourceRequirements, configured []addonv1beta1.ContainerResourceRequirements) (corev1.ResourceRequirements, error) {
	rules, err := addonfactory.GetRegexResourceRequirements(configured)
	if err != nil {
		return fallback, fmt.Errorf("resourceRequirements: %v: %w", err, fault.Invalid)
	}
	for _, rule := range rules {
		match, err := regexp.MatchString(rule.ContainerIDRegex, id)
		if err != nil {
			return fallback, fmt.Errorf("resourceRequirements: %v: %w", err, fault.Invalid)
		}
		if match {
			fallback = rule.ResourcesRaw
		}
	}
	return fallback, nil
}

// memoryLimit is the GOMEMLIMIT of a container: nine tenths of its limit, in bytes.
func memoryLimit(r corev1.ResourceRequirements) string {
	limit, ok := r.Limits[corev1.ResourceMemory]
	if !ok || limit.Value() <= 0 {
		return ""
	}
	return fmt.Sprint(limit.Value() / 10 * 9)
}

// isOpenShift tells from what OCM, or its downstream, says of a managed cluster.
func isOpenShift(cluster *clusterv1.ManagedCluster) bool {
	const openShift = "OpenShift"
	if cluster.Labels["vendor"] == openShift {
		return true
	}
	for _, claim := range cluster.Status.ClusterClaims {
		if claim.Name == "product.open-cluster-management.io" {
			return claim.Value == openShift
		}
	}
	return false
}

// clusterMatters tells whether a change of a ManagedCluster changes its manifests.
func clusterMatters(old, new *clusterv1.ManagedCluster) bool {
	const registries = clusterv1.ClusterImageRegistriesAnnotationKey
	return isOpenShift(old) != isOpenShift(new) || old.Annotations[registries] != new.Annotations[registries]
}

// spokeScheme adds to Kubernetes' own kinds the one of OpenShift that we render; importing
// OpenShift's API module for it would not pay.
func spokeScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	s.AddKnownTypeWithName(schema.GroupVersionKind{
		Group: "security.openshift.io", Version: "v1", Kind: "SecurityContextConstraints",
	}, &unstructured.Unstructured{})
	return s
}
