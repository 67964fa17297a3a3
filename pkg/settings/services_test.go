package settings

import (
	"testing"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
)

func TestServed(t *testing.T) {
	all := ServedBy(apiv1alpha1.InventorySpec{})
	inventoryV1 := ServedBy(apiv1alpha1.InventorySpec{Services: []apiv1alpha1.ServiceSpec{{Name: "infrastructureInventory", Versions: []string{"v1"}}}})
	inventory := ServedBy(apiv1alpha1.InventorySpec{Services: []apiv1alpha1.ServiceSpec{{Name: "infrastructureInventory"}}})
	for _, tc := range []struct {
		name   string
		served Served
		path   string
		hidden bool
	}{
		{"everything by default", all, "/o2ims-infrastructureMonitoring/v2/alarms", false},
		{"a version that is named", inventoryV1, "/o2ims-infrastructureInventory/v1/resourcePools", false},
		{"a version that is not", inventoryV1, "/o2ims-infrastructureInventory/v2/resourcePools", true},
		{"the version itself", inventoryV1, "/o2ims-infrastructureInventory/v2", true},
		{"what is above versions", inventoryV1, "/o2ims-infrastructureInventory/api_versions", false},
		{"the service itself", inventoryV1, "/o2ims-infrastructureInventory", false},
		{"no version at all", inventoryV1, "/o2ims-infrastructureInventory/vv/x", false},
		{"every version of a service", inventory, "/o2ims-infrastructureInventory/v2", false},
		{"a service that is not named", inventory, "/o2ims-infrastructureMonitoring/api_versions", true},
		{"what is no service", inventory, "/admin/v1/delivery", false},
		{"metrics", inventory, "/metrics", false},
	} {
		if got := tc.served.Hidden(tc.path); got != tc.hidden {
			t.Errorf("%s: Hidden(%q) = %t, want %t", tc.name, tc.path, got, tc.hidden)
		}
	}
}
