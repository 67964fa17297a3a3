package fleet

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
)

var three = Fleet{Clusters: 40, Nodes: 3, Seed: 7, Prefix: "edge"}

func TestEqualSeedsMakeEqualFleets(t *testing.T) {
	other := three
	other.Seed++
	for i := range 3 {
		if !reflect.DeepEqual(three.Inventory(i), three.Inventory(i)) {
			t.Errorf("cluster %d is not the same twice", i)
		}
		if reflect.DeepEqual(three.Inventory(i).Nodes[0].Server, other.Inventory(i).Nodes[0].Server) {
			t.Errorf("cluster %d is the same with another seed", i)
		}
	}
}

// No two machines may be taken for one, and each is as large as those that the design
// speaks of.
func TestMachinesAreDistinctAndWhole(t *testing.T) {
	keys, models := map[string]string{}, map[string]bool{}
	for i := range three.Clusters {
		for _, m := range three.Inventory(i).Nodes {
			if other, taken := keys[m.Key]; taken || !strings.HasPrefix(m.Key, "uuid:") {
				t.Errorf("key %s of %s: also of %q", m.Key, m.Name, other)
			}
			keys[m.Key] = m.Name
			models[m.Server.Model] = true
			if n := len(m.Elements); n != 34 {
				t.Errorf("%s has %d elements, want 34", m.Name, n)
			}
			if n := len(m.Server.Node.Labels); n < 55 || n > 70 {
				t.Errorf("%s has %d labels, want about 60", m.Name, n)
			}
			if !m.Server.Synthetic {
				t.Errorf("%s does not say that it is made up", m.Name)
			}
		}
	}
	if len(models) != 3 {
		t.Errorf("models %v, want three", models)
	}
}

// What is written is what the hub reads.
func TestReportsAreAccepted(t *testing.T) {
	enc, err := report.NewEncoder(report.DefaultInventoryParts)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := report.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := enc.Encode(three.Inventory(0))
	if err != nil {
		t.Fatal(err)
	}
	stamp := report.Stamp{Epoch: "6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11", Now: time.Now()}
	got, err := dec.Decode(three.Name(0), enc.Compose(nil, stamp, encoded).Entries)
	if err != nil {
		t.Fatal(err)
	}
	if got.Head.Nodes != 3 || got.Head.Detail != report.DetailFull {
		t.Errorf("head = %+v, want 3 nodes in full", got.Head)
	}
}

func TestValidate(t *testing.T) {
	for _, f := range []Fleet{
		{Clusters: 0, Nodes: 3, Prefix: "edge"},
		{Clusters: 10_001, Nodes: 3, Prefix: "edge"},
		{Clusters: 1, Nodes: 0, Prefix: "edge"},
		{Clusters: 10_000, Nodes: 100, Prefix: "edge"},
		{Clusters: 1, Nodes: 1, Prefix: "Edge"},
		{Clusters: 1, Nodes: 1, Prefix: ""},
	} {
		if err := f.Validate(); !errors.Is(err, fault.Invalid) {
			t.Errorf("Validate(%+v) = %v, want invalid", f, err)
		}
	}
	if err := three.Validate(); err != nil {
		t.Error(err)
	}
}

func TestVersionsCount(t *testing.T) {
	for version, want := range map[string]string{"2.3.5": "2.3.5+fleet.1", "2.3.5+fleet.1": "2.3.5+fleet.2", "": "+fleet.1"} {
		if got := nextVersion(version); got != want {
			t.Errorf("nextVersion(%q) = %q, want %q", version, got, want)
		}
	}
}

func TestThePatternIsAboutTheOtherCluster(t *testing.T) {
	p := pattern{addon: addonv1alpha1.ManagedClusterAddOn{
		ObjectMeta: metav1.ObjectMeta{Namespace: "edge-00001", Name: report.AddOnName},
		Status: addonv1alpha1.ManagedClusterAddOnStatus{
			Conditions: []metav1.Condition{{Type: "Configured"}, {Type: report.KindInventory.HeadType(), Message: "of edge-00001"}},
			Registrations: []addonv1alpha1.RegistrationConfig{{Subject: addonv1alpha1.Subject{
				User: "system:open-cluster-management:cluster:edge-00001:addon:o2ims:agent:o2ims-agent",
			}}},
		},
	}}
	other := newAddOn("edge-00002")
	other.Status.Conditions = []metav1.Condition{{Type: report.KindInventory.HeadType(), Message: "of edge-00002"}}
	got := p.statusFor(other, metav1.Condition{Type: report.KindInventory.IngestedType()})
	if user := got.Registrations[0].Subject.User; user != "system:open-cluster-management:cluster:edge-00002:addon:o2ims:agent:o2ims-agent" {
		t.Errorf("user = %s", user)
	}
	if len(got.Conditions) != 3 || got.Conditions[0].Type != "Configured" || got.Conditions[2].Message != "of edge-00002" {
		t.Errorf("conditions = %+v", got.Conditions)
	}
	if p.addon.Status.Registrations[0].Subject.User == got.Registrations[0].Subject.User {
		t.Error("the pattern itself was changed")
	}
}

func TestAppliedStatusNamesEveryManifest(t *testing.T) {
	work := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Name: "addon-o2ims-deploy-0", Generation: 2}}
	for _, raw := range []string{
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"o2ims-agent","namespace":"a"}}`,
		`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"r"}}`,
	} {
		m := workv1.Manifest{}
		m.Raw = []byte(raw)
		work.Spec.Workload.Manifests = append(work.Spec.Workload.Manifests, m)
	}
	got, err := appliedStatus(work, metav1.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.ResourceStatus.Manifests) != 2 || got.ResourceStatus.Manifests[1].ResourceMeta.Resource != "clusterroles" {
		t.Errorf("manifests = %+v", got.ResourceStatus.Manifests)
	}
	if got.Conditions[0].ObservedGeneration != 2 {
		t.Errorf("conditions = %+v, want generation 2", got.Conditions)
	}
}
