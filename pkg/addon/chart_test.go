package addon

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/inventory"
)

// install renders the chart as `helm install o2ims -n o2ims` would, and returns the objects
// by kind and name. Values are JSON.
func install(t *testing.T, values string) (map[string]runtime.Object, error) {
	t.Helper()
	chart, err := loader.Load("../../charts/o2ims")
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]any{}
	if err := json.Unmarshal([]byte(values), &set); err != nil {
		t.Fatal(err)
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = chartutil.KubeVersion{Version: "v1.35.4", Major: "1", Minor: "35"}
	render, err := chartutil.ToRenderValues(chart, set, chartutil.ReleaseOptions{Name: "o2ims", Namespace: "o2ims", IsInstall: true}, capabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{Strict: true}.Render(chart, render)
	if err != nil {
		return nil, err
	}
	objects := map[string]runtime.Object{}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(file, "NOTES.txt") {
			if strings.TrimSpace(files[file]) == "" {
				t.Errorf("%s is empty", file)
			}
			continue
		}
		all, err := decodeAllStrictly([]byte(files[file]))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, o := range all {
			m, err := meta.Accessor(o)
			if err != nil {
				t.Fatal(err)
			}
			name := o.GetObjectKind().GroupVersionKind().Kind + "/" + m.GetName()
			if objects[name] != nil {
				t.Errorf("%s is rendered twice", name)
			}
			objects[name] = o
		}
	}
	return objects, nil
}

func mustInstall(t *testing.T, values string) map[string]runtime.Object {
	t.Helper()
	objects, err := install(t, values)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func get[T runtime.Object](t *testing.T, objects map[string]runtime.Object, name string) T {
	t.Helper()
	o, ok := objects[name].(T)
	if !ok {
		t.Fatalf("the chart renders no %s, only %v", name, slices.Sorted(maps.Keys(objects)))
	}
	return o
}

func TestChart(t *testing.T) {
	basic := []string{
		"ServiceAccount/o2ims-manager", "ClusterRole/o2ims-manager", "ClusterRoleBinding/o2ims-manager", "Role/o2ims-manager", "RoleBinding/o2ims-manager",
		"Role/o2ims-manager-events", "RoleBinding/o2ims-manager-events", "Deployment/o2ims-manager", "Service/o2ims", "ClusterManagementAddOn/o2ims",
		"ClusterRole/o2ims-resources-view", "ClusterRole/o2ims-resources-edit",
		"ClusterRole/o2ims-hub-alert-sender", "ClusterRole/o2ims-all-paths", "ClusterRole/o2ims-documents", "ClusterRoleBinding/o2ims-documents",
	}
	for _, role := range []string{"reader", "subscriber", "maintainer", "provisioner", "deployer", "admin"} {
		basic = append(basic, "ClusterRole/o2ims-"+role, "ClusterRoleBinding/o2ims-"+role)
	}
	for _, tc := range []struct {
		name, values string
		more         []string
	}{
		{name: "defaults", values: `{}`},
		{name: "two replicas", values: `{"manager":{"replicas":2},"redis":{"url":"redis://redis:6379"}}`, more: []string{"PodDisruptionBudget/o2ims-manager"}},
		{name: "every managed cluster", values: `{"installAll":true}`, more: []string{"Placement/o2ims", "ManagedClusterSetBinding/global"}},
		{name: "a configuration", values: `{"addOnDeploymentConfig":{"create":true,"spec":{"agentInstallNamespace":"o2ims-spoke","customizedVariables":[{"name":"REPORT_MIN_INTERVAL","value":"1s"}]}}}`,
			more: []string{"AddOnDeploymentConfig/o2ims"}},
		{name: "test client", values: `{"testClient":{"enabled":true}}`,
			more: []string{"ServiceAccount/test-client", "ServiceAccount/test-reader", "ClusterRoleBinding/o2ims-test-client", "ClusterRoleBinding/o2ims-test-reader"}},
		{name: "network policy", values: `{"networkPolicy":{"enabled":true,"apiFrom":[{"ipBlock":{"cidr":"192.0.2.0/24"}}],"healthFrom":[{"namespaceSelector":{}}]}}`,
			more: []string{"NetworkPolicy/o2ims-manager"}},
		{name: "everything of the pod", values: `{"imagePullSecrets":[{"name":"pull"}],"service":{"type":"NodePort","port":8443,"annotations":{"a":"b"}},
			"manager":{"extraArgs":["--addon-qps=100"],"extraEnv":[{"name":"A","value":"b"}],"extraVolumes":[{"name":"tls","secret":{"secretName":"tls"}}],
			"extraVolumeMounts":[{"name":"tls","mountPath":"/tls","readOnly":true}],"podAnnotations":{"a":"b"},"nodeSelector":{"a":"b"},
			"tolerations":[{"operator":"Exists"}],"affinity":{"nodeAffinity":{}},"resources":{},"goMemLimit":""}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := slices.Sorted(maps.Keys(mustInstall(t, tc.values)))
			want := slices.Sorted(slices.Values(append(slices.Clone(basic), tc.more...)))
			if !slices.Equal(got, want) {
				t.Errorf("rendered %v, want %v", got, want)
			}
		})
	}
}

// A hub may manage itself. Then what the chart installs and what the add-on brings are in
// one cluster, and objects of one name would be fought for.
func TestChartAndManifestsShareNoName(t *testing.T) {
	for name := range mustInstall(t, `{}`) {
		if kind, _, _ := strings.Cut(name, "/"); strings.HasPrefix(kind, "Cluster") && slices.Contains(plainObjects, name) {
			t.Errorf("the chart and the add-on both have %s", name)
		}
	}
}

func TestChartRefusesBadValues(t *testing.T) {
	for _, values := range []string{
		`{"manager":{"logLevel":"loud"}}`, `{"manager":{"replicas":"two"}}`, `{"manager":{"replicas":2}}`, `{"redis":{"url":"redis.example.net"}}`, `{"redis":{"url":"redis://:secret@redis"}}`, `{"managr":{}}`, `{"image":{"repository":""}}`,
		`{"manager":{"externalUrl":"o2ims.example.com"}}`, `{"manager":{"externalUrl":"https://o2ims.example.com/path"}}`, `{"manager":{"extraArgs":["manager"]}}`, `{"deployer":{"managedServiceAccount":"a/b"}}`, `{"service":{"port":0}}`,
	} {
		if _, err := install(t, values); err == nil {
			t.Errorf("values %s are accepted", values)
		}
	}
}

func TestChartRunsTheManager(t *testing.T) {
	for _, tc := range []struct {
		name, values string
		want         []string
	}{
		{name: "defaults", values: `{}`, want: []string{
			"manager", "--bind-address=$(POD_IP)", "--namespace=$(POD_NAMESPACE)", "--agent-image=quay.io/o2ims/o2ims:v0.1.0", "--agent-image-pull-policy=IfNotPresent",
			"--external-url=https://o2ims.o2ims.svc", "--log-level=info", "--deployer-service-account=o2ims-deployer",
		}},
		{name: "set", values: `{"image":{"repository":"r.example.com/o2ims","tag":"t"},"agent":{"image":"s.example.com/o2ims:u","imagePullPolicy":"Never"},
			"deployer":{"managedServiceAccount":"smo"},"manager":{"externalUrl":"https://o2.example.com:8443","logLevel":"debug","extraArgs":["--a=b, c"]}}`, want: []string{
			"manager", "--bind-address=$(POD_IP)", "--namespace=$(POD_NAMESPACE)", "--agent-image=s.example.com/o2ims:u", "--agent-image-pull-policy=Never",
			"--external-url=https://o2.example.com:8443", "--log-level=debug", "--deployer-service-account=smo", "--a=b, c",
		}},
		{name: "another port", values: `{"service":{"port":8443}}`, want: []string{
			"manager", "--bind-address=$(POD_IP)", "--namespace=$(POD_NAMESPACE)", "--agent-image=quay.io/o2ims/o2ims:v0.1.0", "--agent-image-pull-policy=IfNotPresent",
			"--external-url=https://o2ims.o2ims.svc:8443", "--log-level=info", "--deployer-service-account=o2ims-deployer",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			objects := mustInstall(t, tc.values)
			d := get[*appsv1.Deployment](t, objects, "Deployment/o2ims-manager")
			pod := d.Spec.Template.Spec
			c := pod.Containers[0]
			if !slices.Equal(c.Args, tc.want) {
				t.Errorf("arguments %q, want %q", c.Args, tc.want)
			}
			s := c.SecurityContext
			if *s.AllowPrivilegeEscalation || *s.Privileged || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) ||
				!*pod.SecurityContext.RunAsNonRoot || *pod.SecurityContext.RunAsUser != 65532 || *pod.AutomountServiceAccountToken {
				t.Errorf("security %+v, %+v", s, pod.SecurityContext)
			}
			service := get[*corev1.Service](t, objects, "Service/o2ims")
			for key, value := range service.Spec.Selector {
				if d.Spec.Template.Labels[key] != value || d.Spec.Selector.MatchLabels[key] != value {
					t.Errorf("the Service selects %s=%s, which the pods lack", key, value)
				}
			}
			if port := service.Spec.Ports[0]; port.Name != "https" || port.TargetPort.IntValue() != 8443 {
				t.Errorf("port %+v", port)
			}
		})
	}
}

func TestChartRegistersTheAddOn(t *testing.T) {
	for _, tc := range []struct {
		name, values, strategy string
		config                 string
	}{
		{name: "by hand", values: `{}`, strategy: addonv1alpha1.AddonInstallStrategyManual},
		{name: "everywhere", values: `{"installAll":true}`, strategy: addonv1alpha1.AddonInstallStrategyPlacements},
		{name: "configured", values: `{"addOnDeploymentConfig":{"create":true}}`, strategy: addonv1alpha1.AddonInstallStrategyManual, config: "o2ims/o2ims"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addon := get[*addonv1alpha1.ClusterManagementAddOn](t, mustInstall(t, tc.values), "ClusterManagementAddOn/"+Name)
			if got := addon.Spec.InstallStrategy.Type; got != tc.strategy {
				t.Errorf("install strategy %q, want %q", got, tc.strategy)
			}
			if len(addon.Spec.SupportedConfigs) != 1 || addon.Spec.SupportedConfigs[0].Resource != "addondeploymentconfigs" {
				t.Fatalf("supported configurations %+v", addon.Spec.SupportedConfigs)
			}
			got := ""
			if d := addon.Spec.SupportedConfigs[0].DefaultConfig; d != nil {
				got = d.Namespace + "/" + d.Name
			}
			if got != tc.config {
				t.Errorf("default configuration %q, want %q", got, tc.config)
			}
		})
	}
}

// Kubernetes refuses a Role that grants more than its author holds. A rule missing here
// shows only on a real hub, as an agent that may not report.
func TestTheManagerHoldsWhatItHandsOut(t *testing.T) {
	role := get[*rbacv1.ClusterRole](t, mustInstall(t, `{}`), "ClusterRole/o2ims-manager")
	for _, rule := range agentRules() {
		if missing := lacking(role.Rules, rule); len(missing) > 0 {
			t.Errorf("the manager hands out, without holding it: %v", missing)
		}
	}
	if missing := lacking(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}); len(missing) != 1 {
		t.Error("the comparison finds nothing missing in what must be missing")
	}
}

// lacking returns what a rule allows and none of the others does, one right each. A right
// without a name covers the same right for every name.
func lacking(held []rbacv1.PolicyRule, wanted rbacv1.PolicyRule) []string {
	rights := map[string]bool{}
	for _, rule := range held {
		for _, right := range single(rule) {
			rights[right] = true
		}
	}
	return slices.DeleteFunc(single(wanted), func(right string) bool {
		all, _, _ := strings.Cut(right, " named ")
		return rights[right] || rights[all]
	})
}

func single(rule rbacv1.PolicyRule) []string {
	var rights []string
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				right := fmt.Sprintf("%s %s in %q", verb, resource, group)
				if len(rule.ResourceNames) == 0 {
					rights = append(rights, right)
				}
				for _, name := range rule.ResourceNames {
					rights = append(rights, right+" named "+name)
				}
			}
		}
	}
	return rights
}

func TestTheManagerHoldsNothingDangerous(t *testing.T) {
	objects := mustInstall(t, `{}`)
	for name, o := range objects {
		var rules []rbacv1.PolicyRule
		clusterWide := false
		switch r := o.(type) {
		case *rbacv1.ClusterRole:
			rules, clusterWide = r.Rules, true
		case *rbacv1.Role:
			rules = r.Rules
		}
		for _, rule := range rules {
			for _, verb := range rule.Verbs {
				if verb == "*" || verb == "escalate" || verb == "bind" || verb == "impersonate" {
					t.Errorf("%s holds %s: %v", name, verb, rule)
				}
			}
			for _, resource := range rule.Resources {
				if resource == "*" || clusterWide && resource == "secrets" && !(slices.Equal(rule.Verbs, []string{"get"}) && slices.Equal(rule.ResourceNames, []string{"o2ims-deployer"})) {
					t.Errorf("%s: %v", name, rule)
				}
				// The Inventory names Secrets of the manager's own namespace: it may read them all.
				reads := name == "Role/o2ims-manager" && slices.Equal(rule.Verbs, []string{"get", "list", "watch"})
				if resource == "secrets" && len(rule.ResourceNames) == 0 && !slices.Equal(rule.Verbs, []string{"create"}) && !reads {
					t.Errorf("%s changes every Secret of its namespace: %v", name, rule)
				}
			}
		}
	}
}

// TestTheManagerReadsTokensOfOneAccount, or none at all.
func TestTheManagerReadsTokensOfOneAccount(t *testing.T) {
	for values, want := range map[string][]string{
		`{}`: {"o2ims-deployer"},
		`{"deployer":{"managedServiceAccount":"smo.v2"}}`: {"smo.v2"},
		`{"deployer":{"managedServiceAccount":""}}`:       nil,
	} {
		var got []string
		for _, rule := range get[*rbacv1.ClusterRole](t, mustInstall(t, values), "ClusterRole/o2ims-manager").Rules {
			if slices.Contains(rule.Resources, "secrets") {
				got = append(got, rule.ResourceNames...)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the manager reads Secrets named %q, want %q", values, got, want)
		}
	}
}

func TestAPIRoles(t *testing.T) {
	objects := mustInstall(t, `{}`)
	roles := map[string][]rbacv1.PolicyRule{}
	for name, o := range objects {
		r, ok := o.(*rbacv1.ClusterRole)
		if !ok || name == "ClusterRole/o2ims-manager" {
			continue
		}
		roles[r.Name] = append(roles[r.Name], r.Rules...)
		if r.Labels["o2ims.open-cluster-management.io/aggregate-to-admin"] == "true" {
			roles["o2ims-admin"] = append(roles["o2ims-admin"], r.Rules...) // as Kubernetes will
		}
	}
	all := []string{"reader", "subscriber", "maintainer", "provisioner", "deployer", "admin"}
	for _, tc := range []struct {
		verb, path string
		want       []string
	}{
		{"get", "/o2ims-infrastructureInventory/api_versions", []string{"reader", "admin"}},
		{"get", "/o2ims-infrastructureInventory/v1", []string{"reader", "admin"}},
		{"get", "/o2ims-infrastructureInventory/v1/resourcePools/a/resources/b", []string{"reader", "admin"}},
		{"get", "/o2ims-infrastructureInventory/v2/resourceTypes", []string{"reader", "admin"}},
		{"get", "/o2ims-infrastructureInventory/v1/deploymentManagers", []string{"reader", "deployer", "admin"}},
		{"get", "/o2ims-infrastructureInventory/v2/deploymentManagers/a", []string{"reader", "deployer", "admin"}},
		{inventory.VerbProfile, inventory.BasePath + "/v1/deploymentManagers", []string{"deployer", "admin"}},
		{inventory.VerbProfile, inventory.BasePath + "/v2/deploymentManagers", []string{"deployer", "admin"}},
		{auth.VerbDeleteAny, inventory.BasePath + "/v1/subscriptions", []string{"admin"}},
		{auth.VerbDelegate, inventory.BasePath + "/v2/subscriptions", []string{"admin"}},
		{auth.VerbPatchAny, "/o2ims-infrastructureMonitoring/v2/alarmSubscriptions", []string{"admin"}},
		{"get", "/o2ims-infrastructureInventory/v1/subscriptions", []string{"reader", "subscriber", "admin"}},
		{"create", "/o2ims-infrastructureInventory/v1/subscriptions", []string{"subscriber", "admin"}},
		{"delete", "/o2ims-infrastructureInventory/v2/subscriptions/a", []string{"subscriber", "admin"}},
		{"create", "/o2ims-infrastructureCluster/v1/subscriptions", []string{"subscriber", "admin"}},
		{"create", "/o2ims-infrastructureMonitoring/v2/alarmSubscriptions", []string{"subscriber", "admin"}},
		{"get", "/o2ims-infrastructureMonitoring/v1/alarms", []string{"reader", "admin"}},
		{"patch", "/o2ims-infrastructureMonitoring/v1/alarms/a", []string{"maintainer", "admin"}},
		{"update", "/o2ims-infrastructureMonitoring/v1/alarmServiceConfiguration", []string{"maintainer", "admin"}},
		{"get", "/o2ims-infrastructureProvisioning/v1/provisioningRequests/a", []string{"reader", "provisioner", "admin"}},
		{"create", "/o2ims-infrastructureProvisioning/v1/provisioningRequests", []string{"provisioner", "admin"}},
		{"update", "/o2ims-infrastructureProvisioning/v1/provisioningRequests/a", []string{"provisioner", "admin"}},
		// an administrator is told that there is no such method or path, not that it is forbidden
		{"create", "/o2ims-infrastructureInventory/v1/resourcePools", []string{"admin"}},
		{"get", "/o2ims-infrastructureInventory/v9/anything", []string{"admin"}},
		{"get", "/metrics", nil},
		{"get", "/api", nil},
	} {
		var got []string
		for _, role := range all {
			if allows(roles["o2ims-"+role], tc.verb, tc.path) {
				got = append(got, role)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s %s is allowed to %v, want %v", tc.verb, tc.path, got, tc.want)
		}
	}
	for _, role := range all {
		b := get[*rbacv1.ClusterRoleBinding](t, objects, "ClusterRoleBinding/o2ims-"+role)
		if b.RoleRef.Name != "o2ims-"+role || len(b.Subjects) != 1 || b.Subjects[0].Kind != rbacv1.GroupKind || b.Subjects[0].Name != "o2ims-"+role {
			t.Errorf("binding %s: %v to %v", role, b.RoleRef, b.Subjects)
		}
	}
	for account, role := range map[string]string{"test-client": "o2ims-admin", "test-reader": "o2ims-reader"} {
		b := get[*rbacv1.ClusterRoleBinding](t, mustInstall(t, `{"testClient":{"enabled":true}}`), "ClusterRoleBinding/o2ims-"+account)
		if b.RoleRef.Name != role || b.Subjects[0].Name != account || b.Subjects[0].Namespace != "o2ims" {
			t.Errorf("binding of %s: %v to %v", account, b.RoleRef, b.Subjects)
		}
	}
}

// allows decides as Kubernetes does: a path, or everything that begins with what stands
// before a final asterisk.
//
// Source: k8s.io/kubernetes, pkg/apis/rbac/v1, NonResourceURLMatches.
func allows(rules []rbacv1.PolicyRule, verb, path string) bool {
	for _, rule := range rules {
		if !slices.Contains(rule.Verbs, verb) {
			continue
		}
		for _, url := range rule.NonResourceURLs {
			if prefix, ok := strings.CutSuffix(url, "*"); url == path || (ok && strings.HasPrefix(path, prefix)) {
				return true
			}
		}
	}
	return false
}
