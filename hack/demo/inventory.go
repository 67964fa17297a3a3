package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/ocloud"
)

const inventoryV1 = "/o2ims-infrastructureInventory/v1"

// server is what the demo reads of a Resource.
type server struct {
	ID       string `json:"resourceId"`
	PoolID   string `json:"resourcePoolId"`
	Elements []struct {
		ID string `json:"resourceId"`
	} `json:"elements"`
}

// servers returns the servers in the default pool of a managed cluster.
func (d *demo) servers(ctx context.Context, cluster string) ([]server, error) {
	var pools []struct {
		ID   string `json:"resourcePoolId"`
		Name string `json:"name"`
	}
	if err := d.Get(ctx, inventoryV1+"/resourcePools", &pools); err != nil {
		return nil, err
	}
	for _, p := range pools {
		if p.Name == cluster {
			var list []server
			err := d.Get(ctx, inventoryV1+"/resourcePools/"+p.ID+"/resources?all_fields", &list)
			return list, err
		}
	}
	return nil, fmt.Errorf("no resource pool %s: %w", cluster, ocloud.ErrNotYet)
}

func (d *demo) addOnAvailable(ctx context.Context, cluster string) error {
	var addon addonv1beta1.ManagedClusterAddOn
	if err := d.Env.Hub.Client().Get(ctx, client.ObjectKey{Namespace: cluster, Name: "o2ims"}, &addon); err != nil {
		return err
	}
	if !meta.IsStatusConditionTrue(addon.Status.Conditions, "Available") {
		return fmt.Errorf("add-on is not Available: %w", ocloud.ErrNotYet)
	}
	return nil
}
