package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Location is a place that the SMO knows, such as a street address or a point on the map.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE v11.00, 3.2.6.2.16.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=locations,scope=Cluster,shortName=o2loc,categories=o2ims
// +kubebuilder:printcolumn:name="ID",type=string,JSONPath=`.status.globalLocationId`
// +kubebuilder:printcolumn:name="Sites",type=integer,JSONPath=`.status.oCloudSites`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Address",type=string,priority=1,JSONPath=`.spec.address`
type Location struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec LocationSpec `json:"spec"`
	// +optional
	Status LocationStatus `json:"status,omitzero"`
}

// LocationSpec describes a place in at least one of three ways.
//
// +kubebuilder:validation:XValidation:rule="has(self.coordinate) || has(self.civicAddress) || has(self.address)",message="at least one of coordinate, civicAddress and address is required"
type LocationSpec struct {
	// globalLocationId is the SMO's identifier of the place; the object's name when absent.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^[:cntrl:]]+$') && self == self.trim() && !(self in ['.', '..'])",message="globalLocationId must have no control characters and no white space around it, and must not be . or .."
	GlobalLocationID string `json:"globalLocationId,omitempty"`

	// displayName is shown as the name; globalLocationId when absent.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	DisplayName string `json:"displayName,omitempty"`

	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Description string `json:"description,omitempty"`

	// coordinate is the place on the map.
	//
	// +optional
	Coordinate *Coordinate `json:"coordinate,omitempty"`

	// civicAddress is the address in elements of RFC 4776.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	CivicAddress []CivicAddressElement `json:"civicAddress,omitempty"`

	// address is the address as a person writes it.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Address string `json:"address,omitempty"`

	// extensions are shown with the location as they are.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Extensions map[string]string `json:"extensions,omitempty"`
}

// Coordinate is a point in WGS 84. Numbers are texts because floating point numbers do not
// survive every Kubernetes client.
//
// +kubebuilder:validation:XValidation:rule="double(self.latitude) >= -90.0 && double(self.latitude) <= 90.0",message="latitude must be between -90 and 90"
// +kubebuilder:validation:XValidation:rule="double(self.longitude) >= -180.0 && double(self.longitude) <= 180.0",message="longitude must be between -180 and 180"
type Coordinate struct {
	// latitude in decimal degrees, north positive, such as "45.4215".
	//
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^-?[0-9]{1,3}(\.[0-9]+)?$`
	Latitude string `json:"latitude"`

	// longitude in decimal degrees, east positive, such as "-75.6972".
	//
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^-?[0-9]{1,3}(\.[0-9]+)?$`
	Longitude string `json:"longitude"`

	// altitude in metres above the ellipsoid.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^-?[0-9]{1,6}(\.[0-9]+)?$`
	Altitude string `json:"altitude,omitempty"`
}

// CivicAddressElement is one element of an address. Types are passed on and not
// interpreted: documents number them differently.
//
// Source: RFC 4776, 3.4.
type CivicAddressElement struct {
	// caType is the kind of element, such as 3 for the city.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=255
	CAType int32 `json:"caType"`

	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	CAValue string `json:"caValue"`
}

// LocationStatus tells how the API shows the location.
type LocationStatus struct {
	// observedGeneration is that of the spec which the rest of the status is about.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// globalLocationId is the one in effect.
	GlobalLocationID string `json:"globalLocationId,omitempty"`

	// oCloudSites counts the sites here.
	OCloudSites int32 `json:"oCloudSites"`

	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// LocationList is a list of Location.
//
// +kubebuilder:object:root=true
type LocationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Location `json:"items"`
}
