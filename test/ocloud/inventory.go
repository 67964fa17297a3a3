package ocloud

import (
	"context"
	"fmt"

	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/report"
)

// InventoryV1 is where version 1 of the inventory begins.
const InventoryV1 = "/o2ims-infrastructureInventory/v1"

// Resource is what a client reads of a Resource, a server or one of its elements.
type Resource struct {
	ID         string     `json:"resourceId"`
	PoolID     string     `json:"resourcePoolId"`
	TypeID     string     `json:"resourceTypeId"`
	AssetID    string     `json:"globalAssetId"`
	Elements   []Resource `json:"elements"`
	Extensions Extensions `json:"extensions"`
}

// Extensions are those of a server or of an element.
type Extensions struct {
	AdminState       string            `json:"adminState"`
	OperationalState string            `json:"operationalState"`
	DuplicateOf      string            `json:"duplicateOf"`
	Labels           map[string]string `json:"labels"`
	Node             struct {
		Name string `json:"name"`
	} `json:"node"`
	Reporting struct {
		State string `json:"state"`
		Error string `json:"error"`
	} `json:"reporting"`

	Class  string `json:"class"`
	Slot   string `json:"slot"`
	Model  string `json:"model"`
	Serial string `json:"serial"`
	Port   struct {
		Name string `json:"name"`
		Link string `json:"link"`
	} `json:"port"`
}

// ElementsOf returns the elements of one class, such as "storage".
func (r Resource) ElementsOf(class string) []Resource {
	var list []Resource
	for _, e := range r.Elements {
		if e.Extensions.Class == class {
			list = append(list, e)
		}
	}
	return list
}

// PoolPath is the path of the default pool of a managed cluster. Without one the error
// wraps ErrNotYet.
func (o *OCloud) PoolPath(ctx context.Context, cluster string) (string, error) {
	var pools []struct {
		ID   string `json:"resourcePoolId"`
		Name string `json:"name"`
	}
	if err := o.Get(ctx, InventoryV1+"/resourcePools", &pools); err != nil {
		return "", err
	}
	for _, p := range pools {
		if p.Name == cluster {
			return InventoryV1 + "/resourcePools/" + p.ID, nil
		}
	}
	return "", fmt.Errorf("resource pool of %s among %d: %w", cluster, len(pools), ErrNotYet)
}

// Servers returns the servers of a managed cluster, elements included, by node name.
func (o *OCloud) Servers(ctx context.Context, cluster string) (map[string]Resource, error) {
	pool, err := o.PoolPath(ctx, cluster)
	if err != nil {
		return nil, err
	}
	var list []Resource
	if err := o.Get(ctx, pool+"/resources?all_fields", &list); err != nil {
		return nil, err
	}
	servers := make(map[string]Resource, len(list))
	for _, r := range list {
		servers[r.Extensions.Node.Name] = r
	}
	return servers, nil
}

// AddOn is the ManagedClusterAddOn of a managed cluster, as the hub has it.
func (o *OCloud) AddOn(ctx context.Context, cluster string) (*addonv1beta1.ManagedClusterAddOn, error) {
	var addon addonv1beta1.ManagedClusterAddOn
	err := o.Env.Hub.Client().Get(ctx, client.ObjectKey{Namespace: cluster, Name: report.AddOnName}, &addon)
	return &addon, err
}

// Report is the report that stands on the hub for a managed cluster.
func (o *OCloud) Report(ctx context.Context, cluster string) (report.Report, error) {
	addon, err := o.AddOn(ctx, cluster)
	if err != nil {
		return report.Report{}, err
	}
	decoder, err := report.NewDecoder()
	if err != nil {
		return report.Report{}, err
	}
	return decoder.Decode(cluster, addon.Status.Conditions)
}
