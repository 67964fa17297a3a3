package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// OCloudSite is a collection of resource pools at one location, such as a data centre or a
// rack under a mast. Its identifier is derived from the oCloudId and its name, so it stays
// when the object is created anew and when its location is corrected.
//
// A site with the name of a ManagedClusterSet is the site of the clusters in that set.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE v11.00, 3.2.6.2.17.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=ocloudsites,scope=Cluster,shortName=o2site,categories=o2ims
// +kubebuilder:printcolumn:name="Location",type=string,JSONPath=`.spec.locationRef.name`
// +kubebuilder:printcolumn:name="Pools",type=integer,JSONPath=`.status.resourcePools`
// +kubebuilder:printcolumn:name="Resources",type=integer,JSONPath=`.status.resources`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="ID",type=string,priority=1,JSONPath=`.status.oCloudSiteId`
type OCloudSite struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec OCloudSiteSpec `json:"spec"`
	// +optional
	Status OCloudSiteStatus `json:"status,omitzero"`
}

// OCloudSiteSpec places a site.
type OCloudSiteSpec struct {
	// locationRef names the Location where the site is.
	//
	// +required
	LocationRef ObjectName `json:"locationRef"`

	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Description string `json:"description,omitempty"`

	// extensions are shown with the site as they are.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Extensions map[string]string `json:"extensions,omitempty"`
}

// ObjectName names another object of this group.
type ObjectName struct {
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// OCloudSiteStatus tells how the API shows the site.
type OCloudSiteStatus struct {
	// observedGeneration is that of the spec which the rest of the status is about.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	OCloudSiteID string `json:"oCloudSiteId,omitempty"`

	// globalLocationId is that of the location at which the site is shown.
	GlobalLocationID string `json:"globalLocationId,omitempty"`

	ResourcePools int32 `json:"resourcePools"`

	// resources counts the servers in the pools of the site.
	Resources int32 `json:"resources"`

	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// OCloudSiteList is a list of OCloudSite.
//
// +kubebuilder:object:root=true
type OCloudSiteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []OCloudSite `json:"items"`
}
