package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/report"
)

// Change is one event in the life of a fleet: the firmware of one server was upgraded.
// Where to look for it in the API follows from Key.
type Change struct {
	Cluster string
	Node    string
	Key     string // identity of the machine; see hardware.ServerID
	BIOS    string // the new version

	Sent         time.Time // when the apply was sent
	Acknowledged time.Time // when the hub's answer was there
}

// ResourceID is the resourceId of the server, unless two clusters claim it.
func (c Change) ResourceID() uuid.UUID { return hardware.ServerID(c.Key) }

// Plan is a change before it is made.
type Plan struct {
	Change
	inventory report.Inventory
}

// PlanChange picks a server of a fleet and reads what its agent reported last.
func (w *Writer) PlanChange(ctx context.Context, f Fleet, rng *rand.Rand) (Plan, error) {
	cluster := f.Name(rng.IntN(f.Clusters))
	var addon addonv1beta1.ManagedClusterAddOn
	if err := w.hub.Get(ctx, client.ObjectKey{Namespace: cluster, Name: report.AddOnName}, &addon); err != nil {
		return Plan{}, err
	}
	last, err := w.decoder.Decode(cluster, addon.Status.Conditions)
	if err != nil {
		return Plan{}, err
	}
	inv := last.Inventory
	if len(inv.Nodes) == 0 {
		return Plan{}, fmt.Errorf("managed cluster %s reports no nodes", cluster)
	}
	inv.Nodes = slices.Clone(inv.Nodes)
	m := &inv.Nodes[rng.IntN(len(inv.Nodes))]
	bios := hardware.BIOS{}
	if m.Server.BIOS != nil {
		bios = *m.Server.BIOS
	}
	bios.Version = nextVersion(bios.Version)
	m.Server.BIOS = &bios
	return Plan{Change: Change{Cluster: cluster, Node: m.Name, Key: m.Key, BIOS: bios.Version}, inventory: inv}, nil
}

// versionMark stands before the number that counts our upgrades.
const versionMark = "+fleet."

// nextVersion counts upgrades: 2.3.5, 2.3.5+fleet.1, 2.3.5+fleet.2.
func nextVersion(version string) string {
	base, count, _ := strings.Cut(version, versionMark)
	n, _ := strconv.Atoi(count) // nothing there counts as 0
	return base + versionMark + strconv.Itoa(n+1)
}

var errNotWritten = errors.New("the report stood there already")

// Make writes a planned change as the agent would, and says when.
func (w *Writer) Make(ctx context.Context, p Plan) (Change, error) {
	written, took, err := w.readAndReport(ctx, p.inventory)
	p.Acknowledged = time.Now()
	p.Sent = p.Acknowledged.Add(-took)
	if err == nil && !written {
		err = errNotWritten
	}
	if err != nil {
		return p.Change, fmt.Errorf("change of %s: %w", p.Cluster, err)
	}
	return p.Change, nil
}
