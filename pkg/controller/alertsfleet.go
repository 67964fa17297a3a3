package controller

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/alarm"
	"github.com/o2ims/o2ims/pkg/report"
)

// Fleet tells how the managed clusters are, from the cache. It implements alarm.Fleet.
//
// The klusterlet watches the Lease of the add-on's agent and says what it finds in
// condition Available of the ManagedClusterAddOn; OCM watches that of the klusterlet.
type Fleet struct{ Reader client.Reader }

var _ alarm.Fleet = Fleet{}

// Health implements alarm.Fleet. A cluster that has not joined is none yet, and one that
// is being detached none any more.
func (f Fleet) Health(ctx context.Context) ([]alarm.Health, error) {
	var addons addonv1beta1.ManagedClusterAddOnList
	if err := f.Reader.List(ctx, &addons, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	byCluster := make(map[string]*addonv1beta1.ManagedClusterAddOn, len(addons.Items))
	for i := range addons.Items {
		if a := &addons.Items[i]; a.Name == report.AddOnName && a.DeletionTimestamp == nil {
			byCluster[a.Namespace] = a
		}
	}
	var clusters clusterv1.ManagedClusterList
	if err := f.Reader.List(ctx, &clusters, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	fleet := make([]alarm.Health, 0, len(clusters.Items))
	for i := range clusters.Items {
		mc := &clusters.Items[i]
		if mc.DeletionTimestamp != nil || !meta.IsStatusConditionTrue(mc.Status.Conditions, clusterv1.ManagedClusterConditionJoined) {
			continue
		}
		fleet = append(fleet, healthOf(mc, byCluster[mc.Name]))
	}
	return fleet, nil
}

func healthOf(mc *clusterv1.ManagedCluster, addon *addonv1beta1.ManagedClusterAddOn) alarm.Health {
	available := stateOf(mc.Status.Conditions, clusterv1.ManagedClusterConditionAvailable, "ManagedCluster")
	if addon == nil {
		return alarm.HealthOf(mc.Name, available, nil, nil, false)
	}
	return alarm.HealthOf(mc.Name, available,
		stateOf(addon.Status.Conditions, addonv1beta1.ManagedClusterAddOnConditionAvailable, "ManagedClusterAddOn"),
		stateOf(addon.Status.Conditions, addonv1beta1.ManagedClusterAddOnConditionDegraded, "ManagedClusterAddOn"), true)
}

func stateOf(conditions []metav1.Condition, kind, of string) *alarm.ConditionState {
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil {
		return nil
	}
	return &alarm.ConditionState{
		Of: "condition " + kind + " of the " + of, Status: string(c.Status), Message: c.Message, Since: c.LastTransitionTime.Time,
	}
}
