package addon

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"
	"open-cluster-management.io/addon-framework/pkg/addonfactory"
	"open-cluster-management.io/addon-framework/pkg/assets"
	addonutils "open-cluster-management.io/addon-framework/pkg/utils"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	"github.com/o2ims/o2ims/manifests"
	"github.com/o2ims/o2ims/pkg/fault"
)

const (
	testImage        = "quay.io/o2ims/o2ims:v0.1.0"
	defaultNamespace = "open-cluster-management-agent-addon"
)

// hub is what a test's renderer sees of a hub.
type hub struct {
	*renderer
	objects *dynamicfake.FakeDynamicClient
	clock   *clocktesting.FakeClock
	kube    *kubefake.Clientset
}

func newHub(t *testing.T, configs ...*addonv1beta1.AddOnDeploymentConfig) *hub {
	t.Helper()
	scheme := runtime.NewScheme()
	var objects []runtime.Object
	for _, c := range configs {
		objects = append(objects, untyped(t, c))
	}
	h := &hub{
		objects: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(scheme, map[schema.GroupVersionResource]string{
			addonutils.AddOnDeploymentConfigGVR: "AddOnDeploymentConfigList",
		}, objects...),
		clock: clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0)),
		kube:  kubefake.NewClientset(),
	}
	r, err := newRenderer(Options{AgentImage: testImage, ImagePullPolicy: "IfNotPresent"}, h.kube, h.objects, h.clock)
	if err != nil {
		t.Fatal(err)
	}
	h.renderer = r
	return h
}

// untyped is an object as the apiserver stores it: without empty fields.
func untyped(t *testing.T, c *addonv1beta1.AddOnDeploymentConfig) *unstructured.Unstructured {
	t.Helper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(c)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: object}
	u.SetAPIVersion(addonv1beta1.GroupVersion.String())
	u.SetKind("AddOnDeploymentConfig")
	return u
}

func specHash(t *testing.T, c *addonv1beta1.AddOnDeploymentConfig) string {
	t.Helper()
	hash, err := addonutils.GetSpecHash(untyped(t, c))
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func deploymentConfig(spec addonv1beta1.AddOnDeploymentConfigSpec) *addonv1beta1.AddOnDeploymentConfig {
	return &addonv1beta1.AddOnDeploymentConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "o2ims", Name: "site"}, Spec: spec}
}

func managedCluster(name string) *clusterv1.ManagedCluster {
	return &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// managedClusterAddOn is an add-on that OCM has configured.
func managedClusterAddOn(t *testing.T, cluster string, config *addonv1beta1.AddOnDeploymentConfig) *addonv1beta1.ManagedClusterAddOn {
	t.Helper()
	a := &addonv1beta1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: cluster, Name: Name, UID: "0b5c", Generation: 1}}
	meta.SetStatusCondition(&a.Status.Conditions, metav1.Condition{
		Type: addonv1beta1.ManagedClusterAddOnConditionConfigured, Status: metav1.ConditionTrue, Reason: "ConfigurationsConfigured",
	})
	if config != nil {
		a.Status.ConfigReferences = []addonv1beta1.ConfigReference{{
			ConfigGroupResource: addonv1beta1.ConfigGroupResource{Group: addonutils.AddOnDeploymentConfigGVR.Group, Resource: addonutils.AddOnDeploymentConfigGVR.Resource},
			DesiredConfig: &addonv1beta1.ConfigSpecHash{
				ConfigReferent: addonv1beta1.ConfigReferent{Namespace: config.Namespace, Name: config.Name},
				SpecHash:       specHash(t, config),
			},
		}}
	}
	return a
}

func openShiftCluster(name string) *clusterv1.ManagedCluster {
	c := managedCluster(name)
	c.Status.ClusterClaims = []clusterv1.ManagedClusterClaim{{Name: "product.open-cluster-management.io", Value: "OpenShift"}}
	return c
}

// everything is an AddOnDeploymentConfig that sets each field, with values that would
// break YAML if they were not quoted.
func everything() *addonv1beta1.AddOnDeploymentConfig {
	return deploymentConfig(addonv1beta1.AddOnDeploymentConfigSpec{
		AgentInstallNamespace: "o2ims-spoke",
		CustomizedVariables: []addonv1beta1.CustomizedVariable{
			{Name: "PROBE", Value: "true"},
			{Name: "PROBE_INTERVAL", Value: "2s"},
			{Name: "REPORT_DEBOUNCE", Value: "0s"},
			{Name: "REPORT_MIN_INTERVAL", Value: "1500ms"},
			{Name: "MAX_REPORT_PARTS", Value: "4"},
			{Name: "LOG_LEVEL", Value: "debug"},
			{Name: "ALERTMANAGER_URL", Value: "https://am-0.monitoring.svc:9093/x, http://am-1:9093"},
			{Name: "PROMETHEUS_URL", Value: "https://prometheus.monitoring.svc:9090"},
			{Name: "ALERT_SENDERS", Value: "monitoring/alertmanager-main,monitoring/prometheus.k8s"},
			{Name: "ALERT_TOKEN_AUDIENCES", Value: "o2ims,https://kubernetes.default.svc"},
			{Name: "ALERT_POLL_INTERVAL", Value: "5s"},
			{Name: "ALERTS_MIN_INTERVAL", Value: "1s"},
			{Name: "SOMEBODY_ELSES", Value: "}} x: [\n"},
		},
		NodePlacement: &addonv1beta1.NodePlacement{
			NodeSelector: map[string]string{"node-role.kubernetes.io/infra": "", "a": "\"b: {c"},
			Tolerations:  []corev1.Toleration{{Key: "edge", Operator: corev1.TolerationOpEqual, Value: "true", Effect: corev1.TaintEffectNoExecute}},
		},
		Registries: []addonv1beta1.ImageMirror{{Source: "quay.io/o2ims", Mirror: "mirror.example.com:5000/o"}},
		ProxyConfig: addonv1beta1.ProxyConfig{
			HTTPProxy: "http://proxy.example.com:3128", HTTPSProxy: "http://proxy.example.com:3129", NoProxy: "10.0.0.0/8,.example.com",
			CABundle: []byte("-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n"),
		},
		ResourceRequirements: []addonv1beta1.ContainerResourceRequirements{
			{ContainerID: "*:*:*", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("200Mi")}}},
			{ContainerID: "deployments:o2ims-agent:agent", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}}},
		},
	})
}

var plainObjects = []string{
	"ServiceAccount/o2ims-agent", "ClusterRole/o2ims-agent", "ClusterRoleBinding/o2ims-agent", "Role/o2ims-agent", "RoleBinding/o2ims-agent",
	"ClusterRole/o2ims-alert-sender", "Service/o2ims-alerts", "ServiceAccount/o2ims-probe", "Role/o2ims-probe", "RoleBinding/o2ims-probe", "Deployment/o2ims-agent", "DaemonSet/o2ims-probe",
}

func TestManifests(t *testing.T) {
	openShiftObjects := append(slices.Clone(plainObjects), "ClusterRole/o2ims-work-scc", "SecurityContextConstraints/o2ims-probe", "Role/o2ims-probe-scc", "RoleBinding/o2ims-probe-scc")
	vendor := managedCluster("edge-1")
	vendor.Labels = map[string]string{"vendor": "OpenShift"}
	annotated := managedCluster("edge-1")
	annotated.Annotations = map[string]string{clusterv1.ClusterImageRegistriesAnnotationKey: `{"registries":[{"source":"quay.io/o2ims","mirror":"local.example.com/x"}]}`}
	noProbe := deploymentConfig(addonv1beta1.AddOnDeploymentConfigSpec{CustomizedVariables: []addonv1beta1.CustomizedVariable{{Name: "PROBE", Value: "false"}}})

	for _, tc := range []struct {
		name      string
		cluster   *clusterv1.ManagedCluster
		config    *addonv1beta1.AddOnDeploymentConfig
		objects   []string
		namespace string
		image     string
	}{
		{name: "plain", cluster: managedCluster("edge-1"), objects: plainObjects, namespace: defaultNamespace, image: testImage},
		{name: "OpenShift by claim", cluster: openShiftCluster("edge-1"), objects: openShiftObjects, namespace: defaultNamespace, image: testImage},
		{name: "OpenShift by label", cluster: vendor, objects: openShiftObjects, namespace: defaultNamespace, image: testImage},
		{name: "everything configured", cluster: managedCluster("edge-1"), config: everything(),
			objects: append(slices.Clone(plainObjects), "Namespace/o2ims-spoke", "ConfigMap/o2ims-proxy-ca"), namespace: "o2ims-spoke", image: "mirror.example.com:5000/o/o2ims:v0.1.0"},
		{name: "registries of the managed cluster", cluster: annotated, objects: plainObjects, namespace: defaultNamespace, image: "local.example.com/x/o2ims:v0.1.0"},
		{name: "registries of the configuration win", cluster: annotated, config: everything(),
			objects: append(slices.Clone(plainObjects), "Namespace/o2ims-spoke", "ConfigMap/o2ims-proxy-ca"), namespace: "o2ims-spoke", image: "mirror.example.com:5000/o/o2ims:v0.1.0"},
		{name: "no probe", cluster: openShiftCluster("edge-1"), config: noProbe,
			objects: []string{"ServiceAccount/o2ims-agent", "ClusterRole/o2ims-agent", "ClusterRoleBinding/o2ims-agent", "Role/o2ims-agent", "RoleBinding/o2ims-agent",
				"ClusterRole/o2ims-alert-sender", "Service/o2ims-alerts", "Deployment/o2ims-agent"},
			namespace: defaultNamespace, image: testImage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var configs []*addonv1beta1.AddOnDeploymentConfig
			if tc.config != nil {
				configs = append(configs, tc.config)
			}
			h := newHub(t, configs...)
			addon := managedClusterAddOn(t, "edge-1", tc.config)
			objects, err := h.Manifests(context.Background(), tc.cluster, addon)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, o := range objects {
				m, err := meta.Accessor(o)
				if err != nil {
					t.Fatal(err)
				}
				kind := o.GetObjectKind().GroupVersionKind().Kind
				names = append(names, kind+"/"+m.GetName())
				clusterScoped := strings.HasPrefix(kind, "Cluster") || kind == "Namespace" || kind == "SecurityContextConstraints"
				if got := m.GetNamespace(); got != tc.namespace && !(clusterScoped && got == "") {
					t.Errorf("%s %s is in namespace %q, want %q", kind, m.GetName(), got, tc.namespace)
				}
			}
			slices.Sort(names)
			want := slices.Sorted(slices.Values(tc.objects))
			if !slices.Equal(names, want) {
				t.Errorf("rendered %v, want %v", names, want)
			}
			if ns, err := h.installNamespace(context.Background(), addon); err != nil || (ns != tc.namespace && !(ns == "" && tc.namespace == defaultNamespace)) {
				t.Errorf("registration uses namespace %q, %v; the manifests %q", ns, err, tc.namespace)
			}
			text, err := json.Marshal(objects)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), anyCluster) {
				t.Errorf("the stand-in for the managed cluster's name is left in %s", text)
			}
			for _, pod := range podSpecs(objects) {
				if got := pod.Containers[0].Image; got != tc.image {
					t.Errorf("image %q, want %q", got, tc.image)
				}
			}
			strictly(t, h, tc.cluster, addon, objects)
		})
	}
}

// strictly renders the templates once more and decodes them so that a misspelt or
// misplaced field is an error; what comes out must be what Manifests gave.
func strictly(t *testing.T, h *hub, cluster *clusterv1.ManagedCluster, addon *addonv1beta1.ManagedClusterAddOn, want []runtime.Object) {
	t.Helper()
	values, err := h.values(cluster, addon)
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := h.installNamespace(context.Background(), addon)
	if err != nil {
		t.Fatal(err)
	}
	if namespace == "" {
		namespace = defaultNamespace
	}
	values = addonfactory.MergeValues(values, addonfactory.Values{
		"ClusterName": cluster.Name, "AddonInstallNamespace": namespace, "HubKubeConfigSecret": "o2ims-hub-kubeconfig",
	})
	files, err := fs.Glob(manifests.FS, manifests.Agent+"/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got []runtime.Object
	for _, file := range files {
		content, err := manifests.FS.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := assets.MustCreateAssetFromTemplate(file, content, values).Data
		if strings.Contains(string(text), "<no value>") {
			t.Errorf("%s asks for a value that nobody gives:\n%s", file, text)
		}
		object, err := decodeStrictly(text)
		if err != nil {
			t.Errorf("%s: %v\n%s", file, err, text)
		}
		if object != nil {
			got = append(got, object)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d objects decode strictly, %d were rendered", len(got), len(want))
	}
	for i := range got {
		g, w := asMap(t, got[i]), asMap(t, want[i])
		if !equality.Semantic.DeepEqual(g, w) {
			t.Errorf("object %d differs:\n%v\n%v", i, g, w)
		}
	}
}

func asMap(t *testing.T, o runtime.Object) map[string]any {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func podSpecs(objects []runtime.Object) []corev1.PodSpec {
	var pods []corev1.PodSpec
	for _, o := range objects {
		switch w := o.(type) {
		case *appsv1.Deployment:
			pods = append(pods, w.Spec.Template.Spec)
		case *appsv1.DaemonSet:
			pods = append(pods, w.Spec.Template.Spec)
		}
	}
	return pods
}

func find[T runtime.Object](t *testing.T, objects []runtime.Object) T {
	t.Helper()
	for _, o := range objects {
		if found, ok := o.(T); ok {
			return found
		}
	}
	var none T
	t.Fatalf("no %T was rendered", none)
	return none
}

func TestManifestsCarryTheConfiguration(t *testing.T) {
	config := everything()
	h := newHub(t, config)
	objects, err := h.Manifests(context.Background(), managedCluster("edge-1"), managedClusterAddOn(t, "edge-1", config))
	if err != nil {
		t.Fatal(err)
	}
	agent, probe := find[*appsv1.Deployment](t, objects).Spec.Template.Spec, find[*appsv1.DaemonSet](t, objects).Spec.Template.Spec

	wantArgs := []string{
		"agent", "--hub-kubeconfig=/var/run/o2ims/hub/kubeconfig", "--cluster-name=edge-1", "--namespace=$(POD_NAMESPACE)", "--bind-address=$(POD_IP)",
		"--expect-probe=true", "--max-report-parts=4", "--report-debounce=0s", "--report-min-interval=1.5s", "--log-level=debug",
		"--alerts-client-ca-file=/var/run/o2ims/alerts-client-ca/ca.crt", "--monitoring-ca-file=/var/run/o2ims/monitoring-ca/ca.crt", "--alerts-min-interval=1s", "--alert-poll-interval=5s",
		"--alertmanager-url=https://am-0.monitoring.svc:9093/x,http://am-1:9093", "--prometheus-url=https://prometheus.monitoring.svc:9090",
		"--alert-senders=monitoring/alertmanager-main,monitoring/prometheus.k8s", "--alert-token-audiences=o2ims,https://kubernetes.default.svc",
	}
	if got := agent.Containers[0].Args; !slices.Equal(got, wantArgs) {
		t.Errorf("agent's arguments %q, want %q", got, wantArgs)
	}
	wantArgs = []string{"probe", "--node-name=$(NODE_NAME)", "--namespace=$(POD_NAMESPACE)", "--host-root=/host", "--interval=2s", "--log-level=debug"}
	if got := probe.Containers[0].Args; !slices.Equal(got, wantArgs) {
		t.Errorf("probe's arguments %q, want %q", got, wantArgs)
	}

	env := map[string]string{}
	for _, e := range agent.Containers[0].Env {
		env[e.Name] = e.Value
	}
	for name, want := range map[string]string{
		"HTTP_PROXY":   "http://proxy.example.com:3128",
		"HTTPS_PROXY":  "http://proxy.example.com:3129",
		"NO_PROXY":     "10.0.0.0/8,.example.com,$(KUBERNETES_SERVICE_HOST)",
		"SSL_CERT_DIR": "/var/run/o2ims/proxy-ca",
		"GOMEMLIMIT":   "966367638", // nine tenths of 1 GiB
	} {
		if env[name] != want {
			t.Errorf("%s=%q, want %q", name, env[name], want)
		}
	}
	if got, want := agent.Containers[0].Resources.Limits.Memory().String(), "1Gi"; got != want {
		t.Errorf("agent's memory limit %s, want %s: the last rule that matches", got, want)
	}
	if got, want := probe.Containers[0].Resources.Limits.Memory().String(), "200Mi"; got != want {
		t.Errorf("probe's memory limit %s, want %s", got, want)
	}

	spec := config.Spec
	if !reflect.DeepEqual(agent.NodeSelector, spec.NodePlacement.NodeSelector) {
		t.Errorf("agent's node selector %v, want %v", agent.NodeSelector, spec.NodePlacement.NodeSelector)
	}
	if want := map[string]string{"kubernetes.io/os": "linux"}; !reflect.DeepEqual(probe.NodeSelector, want) {
		t.Errorf("probe's node selector %v, want %v", probe.NodeSelector, want)
	}
	for _, pod := range []corev1.PodSpec{agent, probe} {
		if !slices.ContainsFunc(pod.Tolerations, func(x corev1.Toleration) bool {
			return equality.Semantic.DeepEqual(x, spec.NodePlacement.Tolerations[0])
		}) {
			t.Errorf("%s: tolerations %v lack %v", pod.Containers[0].Name, pod.Tolerations, spec.NodePlacement.Tolerations[0])
		}
	}
	if !slices.ContainsFunc(probe.Tolerations, func(x corev1.Toleration) bool {
		return x.Operator == corev1.TolerationOpExists && x.Key == "" && x.Effect == ""
	}) {
		t.Errorf("probe does not tolerate every taint: %v", probe.Tolerations)
	}
	if got, want := find[*corev1.ConfigMap](t, objects).Data["ca-bundle.crt"], string(spec.ProxyConfig.CABundle); got != want {
		t.Errorf("proxy CA %q, want %q", got, want)
	}
	namespace := find[*corev1.Namespace](t, objects)
	if _, orphaned := namespace.Annotations[addonv1beta1.DeletionOrphanAnnotationKey]; !orphaned || namespace.Labels["pod-security.kubernetes.io/enforce"] != "privileged" {
		t.Errorf("namespace: %v %v", namespace.Labels, namespace.Annotations)
	}
}

// Every right that the manifests take is listed here, so that a change of one is a change of
// two files.
func TestManifestsTakeNoMoreThanTheyNeed(t *testing.T) {
	h := newHub(t)
	objects, err := h.Manifests(context.Background(), managedCluster("edge-1"), managedClusterAddOn(t, "edge-1", nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range podSpecs(objects) {
		c := pod.Containers[0]
		s := c.SecurityContext
		if *s.AllowPrivilegeEscalation || *s.Privileged || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) != 0 {
			t.Errorf("%s: %+v", c.Name, s)
		}
		if pod.HostPID || pod.HostIPC || *pod.AutomountServiceAccountToken || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: %+v", c.Name, pod)
		}
		for _, m := range c.VolumeMounts {
			if !m.ReadOnly {
				t.Errorf("%s: mount %s can be written", c.Name, m.Name)
			}
		}
		if probe := c.Name == "probe"; pod.HostNetwork != probe || (*pod.SecurityContext.RunAsUser == 0) != probe {
			t.Errorf("%s: host network %t, uid %d", c.Name, pod.HostNetwork, *pod.SecurityContext.RunAsUser)
		}
	}
	for _, v := range find[*appsv1.Deployment](t, objects).Spec.Template.Spec.Volumes {
		if v.HostPath != nil {
			t.Errorf("the agent mounts %s of its host", v.HostPath.Path)
		}
	}
	var mounted []string
	for _, v := range find[*appsv1.DaemonSet](t, objects).Spec.Template.Spec.Volumes {
		if v.HostPath != nil {
			mounted = append(mounted, v.HostPath.Path)
		}
	}
	if want := []string{"/sys", "/proc", "/etc/os-release"}; !slices.Equal(mounted, want) { // which every node has: a pod waits for what is missing
		t.Errorf("the probe mounts %q of its host, want %q", mounted, want)
	}

	got := map[string][]string{}
	for _, o := range objects {
		var name string
		var rules []rbacv1.PolicyRule
		switch r := o.(type) {
		case *rbacv1.Role:
			name, rules = "Role/"+r.Name, r.Rules
		case *rbacv1.ClusterRole:
			name, rules = "ClusterRole/"+r.Name, r.Rules
		}
		for _, r := range rules {
			got[name] = append(got[name], strings.Join(append(r.Resources, r.NonResourceURLs...), ",")+" "+strings.Join(r.Verbs, ","))
		}
	}
	want := map[string][]string{
		"ClusterRole/o2ims-agent":        {"nodes get,list,watch", "tokenreviews create", "subjectaccessreviews create", "prometheusrules get,list,watch"},
		"ClusterRole/o2ims-alert-sender": {"/alerts/v1/webhook,/api/v2/alerts create"},
		"Role/o2ims-agent": {"configmaps get,list,watch,create,update,delete", "secrets get,update", "secrets create",
			"leases get,create,update,patch", "events create,patch"},
		"Role/o2ims-probe": {"configmaps get,create,update"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("rights on the spoke %v, want %v", got, want)
	}
}

func TestBadConfigurationNamesTheVariable(t *testing.T) {
	for _, tc := range []struct{ name, value string }{
		{"PROBE", "yes"}, {"PROBE", ""}, {"PROBE_INTERVAL", "often"}, {"PROBE_INTERVAL", "10ms"}, {"PROBE_INTERVAL", "48h"},
		{"REPORT_DEBOUNCE", "-1s"}, {"REPORT_MIN_INTERVAL", "60"}, {"MAX_REPORT_PARTS", "0"}, {"MAX_REPORT_PARTS", "25"},
		{"MAX_REPORT_PARTS", "x"}, {"LOG_LEVEL", "loud"},
		{"ALERTMANAGER_URL", "am:9093"}, {"ALERTMANAGER_URL", "https://am,"}, {"ALERTMANAGER_URL", "https://user:secret@am"},
		{"PROMETHEUS_URL", "prometheus"}, {"PROMETHEUS_URL", "http://a,http://b"}, {"PROMETHEUS_URL", "http://a\"\n- --kubeconfig=/x"},
		{"ALERT_SENDERS", "alertmanager-main"}, {"ALERT_SENDERS", "a/b/c"}, {"ALERT_SENDERS", "system:serviceaccount:a:b"},
		{"ALERT_TOKEN_AUDIENCES", "a, "}, {"ALERT_POLL_INTERVAL", "1ms"}, {"ALERTS_MIN_INTERVAL", "-1s"},
	} {
		t.Run(tc.name+"="+tc.value, func(t *testing.T) {
			config := deploymentConfig(addonv1beta1.AddOnDeploymentConfigSpec{CustomizedVariables: []addonv1beta1.CustomizedVariable{{Name: tc.name, Value: tc.value}}})
			h := newHub(t, config)
			_, err := h.Manifests(context.Background(), managedCluster("edge-1"), managedClusterAddOn(t, "edge-1", config))
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tc.name) || !strings.Contains(err.Error(), "o2ims/site") {
				t.Errorf("error %v, want one that is invalid and names o2ims/site and %s", err, tc.name)
			}
		})
	}
}

func TestAReportRendersNothing(t *testing.T) {
	config := everything()
	h := newHub(t, config)
	ctx, cluster := context.Background(), managedCluster("edge-1")
	addon := managedClusterAddOn(t, "edge-1", config)
	first, err := h.Manifests(ctx, cluster, addon)
	if err != nil {
		t.Fatal(err)
	}
	first[len(first)-1] = nil // the caller's to spoil

	reported := addon.DeepCopy()
	reported.ResourceVersion = "2"
	meta.SetStatusCondition(&reported.Status.Conditions, metav1.Condition{
		Type: "o2ims.open-cluster-management.io/Inventory.0", Status: metav1.ConditionTrue, Reason: "Data", Message: "KLUv/Q==",
	})
	find[*appsv1.Deployment](t, first).Spec.Template.Spec.Containers[0].Args[0] = "spoilt"
	again, err := h.Manifests(ctx, cluster, reported)
	if err != nil {
		t.Fatal(err)
	}
	if got := find[*appsv1.Deployment](t, again).Spec.Template.Spec.Containers[0].Args[0]; got != "agent" {
		t.Errorf("a caller's change came back: %q", got)
	}
	// another cluster that is configured alike shares the rendering, not the name
	other, err := h.Manifests(ctx, managedCluster("edge-2"), managedClusterAddOn(t, "edge-2", config))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := find[*appsv1.Deployment](t, other).Spec.Template.Spec.Containers[0].Args[2], "--cluster-name=edge-2"; got != want {
		t.Errorf("argument %q, want %q", got, want)
	}
	if got := count(t, h.renders); got != 1 {
		t.Errorf("rendered %v times, want once", got)
	}
	if got := count(t, h.hits); got != 2 {
		t.Errorf("served %v times from memory, want 2", got)
	}
	if got := len(h.objects.Actions()); got != 1 {
		t.Errorf("asked the hub %d times for the AddOnDeploymentConfig, want once: %v", got, h.objects.Actions())
	}
}

func TestEveryInputRendersAnew(t *testing.T) {
	ctx := context.Background()
	base := deploymentConfig(addonv1beta1.AddOnDeploymentConfigSpec{})
	changed := deploymentConfig(addonv1beta1.AddOnDeploymentConfigSpec{AgentInstallNamespace: "elsewhere"})
	for _, tc := range []struct {
		name   string
		change func(h *hub, cluster *clusterv1.ManagedCluster, addon *addonv1beta1.ManagedClusterAddOn)
	}{
		{"registries of the cluster", func(_ *hub, c *clusterv1.ManagedCluster, _ *addonv1beta1.ManagedClusterAddOn) {
			c.Annotations = map[string]string{clusterv1.ClusterImageRegistriesAnnotationKey: `{"registries":[{"source":"","mirror":"m"}]}`}
		}},
		{"product of the cluster", func(_ *hub, c *clusterv1.ManagedCluster, _ *addonv1beta1.ManagedClusterAddOn) {
			c.Labels = map[string]string{"vendor": "OpenShift"}
		}},
		{"configuration", func(h *hub, _ *clusterv1.ManagedCluster, a *addonv1beta1.ManagedClusterAddOn) {
			update(t, h, changed)
			a.Status.ConfigReferences[0].DesiredConfig.SpecHash = specHash(t, changed)
		}},
		{"install namespace of v1alpha1", func(_ *hub, _ *clusterv1.ManagedCluster, a *addonv1beta1.ManagedClusterAddOn) {
			a.Annotations = map[string]string{addonv1beta1.InstallNamespaceAnnotation: "old-style"}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHub(t, base)
			cluster, addon := managedCluster("edge-1"), managedClusterAddOn(t, "edge-1", base)
			before, err := h.Manifests(ctx, cluster, addon)
			if err != nil {
				t.Fatal(err)
			}
			tc.change(h, cluster, addon)
			after, err := h.Manifests(ctx, cluster, addon)
			if err != nil {
				t.Fatal(err)
			}
			if got := count(t, h.renders); got != 2 {
				t.Errorf("rendered %v times, want twice", got)
			}
			if equality.Semantic.DeepEqual(before, after) {
				t.Error("the manifests did not change")
			}
		})
	}
}

func update(t *testing.T, h *hub, c *addonv1beta1.AddOnDeploymentConfig) {
	t.Helper()
	if err := h.objects.Tracker().Update(addonutils.AddOnDeploymentConfigGVR, untyped(t, c), c.Namespace); err != nil {
		t.Fatal(err)
	}
}

// While a change is on its way, the content read may be newer than the hash that OCM has
// put into the status. Remembering it under that hash would serve it again when somebody
// takes the change back.
func TestAChangeOnItsWayIsNotRemembered(t *testing.T) {
	ctx := context.Background()
	before := deploymentConfig(addonv1beta1.AddOnDeploymentConfigSpec{AgentInstallNamespace: "before"})
	after := deploymentConfig(addonv1beta1.AddOnDeploymentConfigSpec{AgentInstallNamespace: "after"})
	h := newHub(t, after)
	addon := managedClusterAddOn(t, "edge-1", before) // OCM still speaks of the old hash

	objects, err := h.Manifests(ctx, managedCluster("edge-1"), addon)
	if err != nil {
		t.Fatal(err)
	}
	if got := find[*appsv1.Deployment](t, objects).Namespace; got != "after" {
		t.Fatalf("namespace %q, want what the hub has", got)
	}
	update(t, h, before)
	if objects, err = h.Manifests(ctx, managedCluster("edge-1"), addon); err != nil {
		t.Fatal(err)
	}
	if got := find[*appsv1.Deployment](t, objects).Namespace; got != "before" {
		t.Errorf("namespace %q, want %q", got, "before")
	}
}

func TestRenderingsAreBounded(t *testing.T) {
	r := newHub(t).renderer
	for i := range renderingsKept + 10 {
		r.remember(renderKey{installNamespace: strings.Repeat("x", i+1)}, nil)
	}
	if got := len(r.kept); got != renderingsKept {
		t.Errorf("%d renderings are kept, want %d", got, renderingsKept)
	}
	if _, ok := r.recall(renderKey{installNamespace: strings.Repeat("x", renderingsKept+10)}); !ok {
		t.Error("the newest rendering was dropped")
	}
	if _, ok := r.recall(renderKey{installNamespace: "x"}); ok {
		t.Error("the oldest rendering was kept")
	}
}

func TestInstallNamespaceWaitsForTheConfiguration(t *testing.T) {
	config := deploymentConfig(addonv1beta1.AddOnDeploymentConfigSpec{AgentInstallNamespace: "elsewhere"})
	unresolved := managedClusterAddOn(t, "edge-1", config)
	unresolved.Status.ConfigReferences[0].DesiredConfig.SpecHash = ""
	fresh := managedClusterAddOn(t, "edge-1", nil)
	fresh.Status.Conditions = nil
	installed := fresh.DeepCopy()
	installed.Status.Namespace = "here"

	for _, tc := range []struct {
		name  string
		addon *addonv1beta1.ManagedClusterAddOn
		want  string
		wait  bool
	}{
		{name: "configured", addon: managedClusterAddOn(t, "edge-1", config), want: "elsewhere"},
		{name: "configured with nothing", addon: managedClusterAddOn(t, "edge-1", nil), want: ""},
		{name: "new", addon: fresh, wait: true},
		{name: "reference without a hash", addon: unresolved, wait: true},
		{name: "installed before", addon: installed, want: "here"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := newHub(t, config).installNamespace(context.Background(), tc.addon)
			if errors.Is(err, fault.Unavailable) != tc.wait || got != tc.want {
				t.Errorf("namespace %q, error %v; want %q, to wait: %t", got, err, tc.want, tc.wait)
			}
		})
	}
}

func count(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
