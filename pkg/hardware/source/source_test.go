package source

import (
	"encoding/json"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/o2ims/o2ims/pkg/hardware"
)

func node() *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{
			"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": "", "zone": "a",
		}},
		Spec: corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{{Key: "maintenance", Effect: corev1.TaintEffectNoSchedule}}},
		Status: corev1.NodeStatus{
			Capacity:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("16"), "vendor.example/fec": resource.MustParse("2")},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.7"}, {Type: corev1.NodeHostName, Address: "n1"}},
			NodeInfo:   corev1.NodeSystemInfo{SystemUUID: "4C4C4544-0042-3510-8054-B2C04F503432", KernelVersion: "6.1.0", Architecture: "amd64"},
		},
	}
}

func TestNodes(t *testing.T) {
	nodes := Nodes{Reader: fake.NewClientBuilder().WithObjects(node()).Build()}
	observed, err := nodes.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := hardware.Server{
		SystemUUID: "4c4c4544-0042-3510-8054-b2c04f503432",
		OS:         &hardware.OS{Architecture: "amd64", Kernel: "6.1.0"},
		Node: &hardware.NodeState{
			Addresses:     []string{"Hostname=n1", "InternalIP=192.0.2.7"},
			Capacity:      map[string]string{"cpu": "16", "vendor.example/fec": "2"},
			Labels:        node().Labels,
			Ready:         "True",
			Roles:         []string{"control-plane", "worker"},
			Taints:        []string{"maintenance:NoSchedule"},
			Unschedulable: true,
		},
	}
	if got := observed["n1"][0]; got.Source != "node" || !reflect.DeepEqual(got.Machine.Server, want) {
		t.Errorf("observed %+v, want %+v", got.Machine.Server, want)
	}
}

func TestANodeThatNobodyReportedOnIsUnknown(t *testing.T) {
	observed := observeNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	if got := observed.Machine.Server; got.Node.Ready != "Unknown" || got.OS != nil {
		t.Errorf("observed %+v", got)
	}
}

func TestAHeartbeatIsNoChange(t *testing.T) {
	changes := Nodes{}.Watches()[0].Filter
	for _, tc := range []struct {
		name   string
		change func(*corev1.Node)
		want   bool
	}{
		{"heartbeat", func(n *corev1.Node) { n.Status.Conditions[0].LastHeartbeatTime = metav1.Now() }, false},
		{"image pulled", func(n *corev1.Node) { n.Status.Images = []corev1.ContainerImage{{SizeBytes: 1}} }, false},
		{"not ready", func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionFalse }, true},
		{"label", func(n *corev1.Node) { n.Labels["zone"] = "b" }, true},
		{"uncordoned", func(n *corev1.Node) { n.Spec.Unschedulable = false }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			after := node()
			tc.change(after)
			if got := changes.Update(event.UpdateEvent{ObjectOld: node(), ObjectNew: after}); got != tc.want {
				t.Errorf("change = %t, want %t", got, tc.want)
			}
		})
	}
}

func probeConfigMap(name, nodeName, data string) client.Object {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "agents", Name: name,
			Labels: map[string]string{SourceLabel: "probe"}, Annotations: map[string]string{NodeAnnotation: nodeName},
		},
		Data: map[string]string{ObservationsKey: data},
	}
}

func TestProbes(t *testing.T) {
	good, err := json.Marshal([]hardware.Observation{{Source: "probe", Machine: hardware.Machine{Server: hardware.Server{CPUs: 16}}}})
	if err != nil {
		t.Fatal(err)
	}
	probes := Probes{Namespace: "agents", Reader: fake.NewClientBuilder().WithObjects(
		probeConfigMap("o2ims-probe-n1", "n1", string(good)),
		probeConfigMap("o2ims-probe-n2", "n2", `[{"source":"probe"`),
		probeConfigMap("o2ims-probe-n3", "n3", `[{"source":"oracle"}]`),
	).Build()}
	observed, err := probes.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := observed["n1"][0]; got.Machine.Server.CPUs != 16 || got.Err != "" {
		t.Errorf("n1: %+v", got)
	}
	for _, name := range []string{"n2", "n3"} {
		if got := observed[name]; len(got) != 1 || got[0].Err == "" {
			t.Errorf("%s: %+v, want an observation with an error", name, got)
		}
	}
}

func FuzzParseObservations(f *testing.F) {
	f.Add([]byte(`[{"source":"probe","machine":{"name":"n1","server":{"cpus":16},"elements":[{"class":"port","slot":"0000:01:00.0","port":{"mac":"b8:ce:f6:00:00:01"}}]}}]`))
	f.Add([]byte(`[{"source":"smbios","error":"x"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		observations, err := ParseObservations(data)
		if err != nil {
			return
		}
		// Whatever a probe writes must merge, and the result must be reportable.
		m := hardware.Merge("n1", observations)
		seen := map[string]bool{}
		for _, e := range m.Elements {
			path := string(e.Class) + "|" + e.Slot
			if seen[path] {
				t.Errorf("element %q stands there twice", path)
			}
			seen[path] = true
		}
	})
}
