package addon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsclient "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"

	"github.com/o2ims/o2ims/pkg/fault"
)

// managedClusterAddOnCRD is the object whose schema decides whether a hub can carry reports.
const managedClusterAddOnCRD = "managedclusteraddons.addon.open-cluster-management.io"

// HubRefusedError says why no agent may be deployed on this hub. It wraps
// fault.Unavailable: an upgrade of the hub mends it.
type HubRefusedError struct {
	Reason string // one sentence for a person, naming what was found and what is wanted
}

func (e *HubRefusedError) Error() string { return "this hub cannot carry reports: " + e.Reason }

// Unwrap makes the error a fault.Unavailable.
func (e *HubRefusedError) Unwrap() error { return fault.Unavailable }

// CheckHub returns nil when ManagedClusterAddOns of this hub can carry reports, a
// *HubRefusedError when they cannot, any other error when the hub could not be asked.
//
// Two things are needed, both there since OCM 1.2: version v1beta1, which addon-framework
// speaks; and status.conditions as a map keyed by type. In an older schema the list is
// atomic, and an agent's forced apply would delete the conditions of every other
// controller. Deploying nothing is the smaller harm.
func CheckHub(ctx context.Context, hub apiextensionsclient.Interface) error {
	crd, err := hub.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, managedClusterAddOnCRD, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &HubRefusedError{Reason: "it has no CustomResourceDefinition " + managedClusterAddOnCRD + "; is Open Cluster Management installed?"}
	}
	if err != nil {
		return fmt.Errorf("hub: CustomResourceDefinition %s: %w", managedClusterAddOnCRD, err)
	}
	i := slices.IndexFunc(crd.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool {
		return v.Name == "v1beta1" && v.Served
	})
	if i < 0 {
		return &HubRefusedError{Reason: "ManagedClusterAddOn is not served as v1beta1; Open Cluster Management 1.2 or newer is needed"}
	}
	if list := conditionsSchema(crd.Spec.Versions[i].Schema); list == nil || list.XListType == nil ||
		*list.XListType != "map" || !slices.Equal(list.XListMapKeys, []string{"type"}) {
		return &HubRefusedError{Reason: "status.conditions of ManagedClusterAddOn v1beta1 is not a map keyed by type, so a report " +
			"would delete the conditions of others; install the CustomResourceDefinitions of Open Cluster Management 1.2 or newer"}
	}
	return nil
}

// conditionsSchema finds status.conditions, or nil.
func conditionsSchema(v *apiextensionsv1.CustomResourceValidation) *apiextensionsv1.JSONSchemaProps {
	if v == nil || v.OpenAPIV3Schema == nil {
		return nil
	}
	status, ok := v.OpenAPIV3Schema.Properties["status"]
	if !ok {
		return nil
	}
	conditions, ok := status.Properties["conditions"]
	if !ok {
		return nil
	}
	return &conditions
}

// announce leaves a refusal on the ClusterManagementAddOn as an Event, where `kubectl
// describe` shows it. It cannot be a condition: the status of a ClusterManagementAddOn has
// none. A refusal that lasts is one Event with a growing count.
func (m *Manager) announce(ctx context.Context, refusal *HubRefusedError) {
	// v1alpha1, because a hub without v1beta1 has nothing else
	o, err := m.addons.AddonV1alpha1().ClusterManagementAddOns().Get(ctx, Name, metav1.GetOptions{})
	if err != nil {
		slog.WarnContext(ctx, "refusal not recorded as an Event", "addon", Name, "error", err)
		return
	}
	m.events.Eventf(&corev1.ObjectReference{
		APIVersion: addonv1alpha1.GroupVersion.String(), Kind: "ClusterManagementAddOn", Name: o.Name, UID: o.UID,
	}, nil, corev1.EventTypeWarning, "HubRefused", "DeployAgents", "%s", refusal.Error())
}
