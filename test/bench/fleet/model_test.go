package fleet

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"

	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/test/harness/fleet"
)

var (
	modelSize    = flag.String("fleet.model", "50x3", "fleet that TestModel takes in: clusters x nodes")
	modelProfile = flag.String("fleet.model-profile", "", "file for a profile of the heap with the fleet in it")
)

// mostPerServer is what a server with its 34 elements may take in memory, everything that
// the manager keeps of it included: at it the fleet of the design takes 315 MB.
const mostPerServer = 30_000

// TestModel takes a fleet in without a hub: what the manager keeps of the reports, and the
// time to read them, without what the machine's other work does to it.
func TestModel(t *testing.T) {
	f := fleet.Fleet{Seed: *seed, Prefix: "fleet"}
	if _, err := fmt.Sscanf(*modelSize, "%dx%d", &f.Clusters, &f.Nodes); err != nil {
		t.Fatalf("-fleet.model: %q: %v", *modelSize, err)
	}
	addons := writtenAddOns(t, f)
	decoder, err := report.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	model, err := inventory.New(inventory.Options{OCloudID: "5b4c3f0e-8f5e-4b57-9d5c-3f4d5a0e6c11"})
	if err != nil {
		t.Fatal(err)
	}
	before, began := liveHeap(), time.Now()
	var decoding time.Duration
	for i, addon := range addons {
		start := time.Now()
		rep, err := decoder.Decode(addon.Namespace, addon.Status.Conditions)
		decoding += time.Since(start)
		if err != nil {
			t.Fatal(err)
		}
		model.SetCluster(inventory.ClusterFacts{
			Name: addon.Namespace, UID: fmt.Sprint(i), ClusterID: fmt.Sprint(i), Available: "True", Accepted: true,
		})
		model.SetReporting(addon.Namespace, inventory.Reporting{AddOn: inventory.Enabled, AddOnAvailable: "True"})
		model.SetReport(addon.Namespace, rep.Inventory, rep.Head)
	}
	took, grown := time.Since(began), liveHeap()-before
	servers := f.Clusters * f.Nodes
	t.Logf("%s: %s live, %d bytes a server; taken in within %s, %s of it for reading reports",
		*modelSize, mebibytes(grown), grown/int64(servers), took.Round(time.Millisecond), decoding.Round(time.Millisecond))
	if *modelProfile != "" {
		writeHeapProfile(t, *modelProfile)
	}
	if servers >= 1000 && grown/int64(servers) > mostPerServer { // below, what is shared does not pay yet
		t.Errorf("%d bytes a server, want at most %d", grown/int64(servers), mostPerServer)
	}
	runtime.KeepAlive(addons)
	runtime.KeepAlive(model)
}

// writtenAddOns are the add-ons of a fleet as the manager's cache has them.
func writtenAddOns(t *testing.T, f fleet.Fleet) []*addonv1beta1.ManagedClusterAddOn {
	t.Helper()
	encoder, err := report.NewEncoder(report.DefaultInventoryParts)
	if err != nil {
		t.Fatal(err)
	}
	stamp := report.Stamp{Epoch: "6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11", Now: time.Unix(0, 0)}
	addons := make([]*addonv1beta1.ManagedClusterAddOn, f.Clusters)
	for i := range addons {
		encoded, err := encoder.Encode(f.Inventory(i))
		if err != nil {
			t.Fatal(err)
		}
		addons[i] = &addonv1beta1.ManagedClusterAddOn{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.Name(i), Name: report.AddOnName},
			Status:     addonv1beta1.ManagedClusterAddOnStatus{Conditions: encoder.Compose(nil, stamp, encoded).Entries},
		}
	}
	return addons
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers of the first have let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func writeHeapProfile(t *testing.T, path string) {
	t.Helper()
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := pprof.Lookup("heap").WriteTo(out, 0); err != nil {
		t.Fatal(err)
	}
}
