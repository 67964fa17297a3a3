package addon

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	workv1 "open-cluster-management.io/api/work/v1"
)

func workOf(cluster string, manifests ...string) *workv1.ManifestWork {
	w := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{
		Namespace: cluster, Name: "addon-o2ims-deploy-0", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "o2ims"}},
	}}
	for _, m := range manifests {
		w.Spec.Workload.Manifests = append(w.Spec.Workload.Manifests, workv1.Manifest{RawExtension: runtime.RawExtension{Raw: []byte(m)}})
	}
	w.Status.Conditions = []metav1.Condition{{Type: workv1.WorkApplied, Status: metav1.ConditionTrue}}
	w.Status.ResourceStatus.Manifests = []workv1.ManifestCondition{{ResourceMeta: workv1.ManifestResourceMeta{Kind: "Deployment"}}}
	return w
}

func transformed(t *testing.T, l *leanWorks, obj any) *workv1.ManifestWork {
	t.Helper()
	out, err := l.transform(obj)
	if err != nil {
		t.Fatal(err)
	}
	return out.(*workv1.ManifestWork)
}

func TestWorksShareTheirManifests(t *testing.T) {
	const role = `{"kind":"Role"}`
	agent := func(cluster string) string { return `{"kind":"Deployment","args":["--cluster-name=` + cluster + `"]}` }
	l := newLeanWorks()
	first := transformed(t, l, workOf("edge-1", role, agent("edge-1")))
	second := transformed(t, l, workOf("edge-2", role, agent("edge-2")))

	a, b := first.Spec.Workload.Manifests, second.Spec.Workload.Manifests
	if &a[0].Raw[0] != &b[0].Raw[0] {
		t.Error("equal manifests of two clusters are in memory twice")
	}
	for i, want := range []string{role, agent("edge-2")} {
		if got := string(b[i].Raw); got != want {
			t.Errorf("manifest %d = %s, want %s", i, got, want)
		}
	}
	if len(l.known) != 1 {
		t.Errorf("%d manifests are kept for others, want only the one that names no cluster", len(l.known))
	}
}

func TestWorksKeepWhatAddOnFrameworkReads(t *testing.T) {
	w := transformed(t, newLeanWorks(), workOf("edge-1", `{"kind":"Role"}`))
	if len(w.Status.Conditions) != 1 || w.Status.Conditions[0].Type != workv1.WorkApplied {
		t.Errorf("conditions = %+v, want Applied", w.Status.Conditions)
	}
	if w.ManagedFields != nil || w.Status.ResourceStatus.Manifests != nil {
		t.Errorf("managedFields %v and state of manifests %v are still there", w.ManagedFields, w.Status.ResourceStatus.Manifests)
	}
}

func TestWorksForgetManifestsOfThePast(t *testing.T) {
	l := newLeanWorks()
	for i := range 3 * sharedManifests {
		transformed(t, l, workOf("edge-1", fmt.Sprintf(`{"kind":"Role","n":%d}`, i)))
	}
	if len(l.known) > sharedManifests {
		t.Errorf("%d manifests are kept, want at most %d", len(l.known), sharedManifests)
	}
}

// An informer hands over what it knows of a deleted object in a wrapper.
func TestWorksThatAreGone(t *testing.T) {
	gone := cache.DeletedFinalStateUnknown{Key: "edge-1/addon-o2ims-deploy-0", Obj: workOf("edge-1")}
	if _, err := newLeanWorks().transform(gone); err != nil {
		t.Error(err)
	}
}
