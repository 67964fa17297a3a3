package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// InventoryName is the name of the one Inventory.
const InventoryName = "default"

// Inventory says who this O-Cloud is. There is one, named default; the manager creates it
// when it is absent. What it leaves open is as the manager's flags say.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=inventories,scope=Cluster,shortName=o2inv,categories=o2ims
// +kubebuilder:printcolumn:name="O-Cloud",type=string,JSONPath=`.status.oCloudId`
// +kubebuilder:printcolumn:name="Managers",type=integer,JSONPath=`.status.deploymentManagers`
// +kubebuilder:printcolumn:name="Sites",type=integer,JSONPath=`.status.oCloudSites`
// +kubebuilder:printcolumn:name="Pools",type=integer,JSONPath=`.status.resourcePools`
// +kubebuilder:printcolumn:name="Resources",type=integer,JSONPath=`.status.resources`
// +kubebuilder:printcolumn:name="Registered",type=string,JSONPath=`.status.conditions[?(@.type=="SmoRegistrationCompleted")].status`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="URI",type=string,priority=1,JSONPath=`.status.serviceUri`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'default'",message="there is one Inventory, and its name is default"
type Inventory struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec InventorySpec `json:"spec"`
	// +optional
	Status InventoryStatus `json:"status,omitzero"`
}

// InventorySpec overrides the manager's flags.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.oCloudId) || has(self.oCloudId) && self.oCloudId == oldSelf.oCloudId",message="oCloudId cannot be changed or removed once it is set: every other identifier is derived from it"
type InventorySpec struct {
	// oCloudId names the O-Cloud, a UUID in lower case. Without it, it is the UID of the
	// hub's namespace kube-system. Every other identifier is derived from it, so setting
	// it gives everything a new identifier; it cannot be changed afterwards.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=36
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$') && self != '00000000-0000-0000-0000-000000000000'",message="oCloudId must be a UUID in lower case, and not the nil UUID"
	OCloudID string `json:"oCloudId,omitempty"`

	// globalCloudId is the UUID that the SMO gave to this O-Cloud.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=36
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$') && self != '00000000-0000-0000-0000-000000000000'",message="globalCloudId must be a UUID in lower case, and not the nil UUID"
	GlobalCloudID string `json:"globalCloudId,omitempty"`

	// name of the O-Cloud, as the SMO knows it.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`

	// description of the O-Cloud.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Description string `json:"description,omitempty"`

	// externalURL is where an SMO finds the APIs: https://host[:port], without a path. It
	// is shown as serviceUri. The serving certificate is made for the manager's flag.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/?#@]+$') && isURL(self)",message="externalURL must be http(s)://host[:port] without user, path or query"
	ExternalURL string `json:"externalURL,omitempty"`

	// extensions are shown with the O-Cloud as they are.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Extensions map[string]string `json:"extensions,omitempty"`

	// services that are served. What is not named answers 404, except to those who may not
	// know. Empty: all of them.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Services []ServiceSpec `json:"services,omitempty"`

	// smo is whom this O-Cloud registers with.
	//
	// +optional
	SMO *SMOSpec `json:"smo,omitempty"`

	// authentication says whose calls are accepted.
	//
	// +optional
	Authentication *AuthenticationSpec `json:"authentication,omitempty"`

	// caBundleName names a ConfigMap in the manager's namespace whose ca-bundle.crt is
	// trusted beside the system's, for the SMO, its callbacks and OAuth servers.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	CABundleName string `json:"caBundleName,omitempty"`

	// retention says how long what has passed is kept.
	//
	// +optional
	Retention *RetentionSpec `json:"retention,omitempty"`
}

// ServiceSpec is one service of the O2 IMS interface.
type ServiceSpec struct {
	// name of the service, as in its path.
	//
	// +required
	// +kubebuilder:validation:Enum=infrastructureInventory;infrastructureMonitoring
	Name string `json:"name"`

	// versions that are served. Empty: all that the manager's flags allow.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:Enum=v1;v2
	Versions []string `json:"versions,omitempty"`
}

// RetentionSpec says how long what has passed is kept.
type RetentionSpec struct {
	// alarmDays is how long cleared alarms are kept, until a client says otherwise in the
	// alarmServiceConfiguration. Empty: 15.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3650
	AlarmDays int32 `json:"alarmDays,omitempty"`
}

// InventoryStatus counts what the API shows.
type InventoryStatus struct {
	// observedGeneration is that of the spec which the rest of the status is about.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// oCloudId is the one in effect.
	OCloudID string `json:"oCloudId,omitempty"`

	// serviceUri is where the API says it is.
	ServiceURI string `json:"serviceUri,omitempty"`

	DeploymentManagers int32 `json:"deploymentManagers"`
	Locations          int32 `json:"locations"`
	OCloudSites        int32 `json:"oCloudSites"`
	ResourcePools      int32 `json:"resourcePools"`
	ResourceTypes      int32 `json:"resourceTypes"`

	// resources counts servers, without the elements in them.
	Resources int32 `json:"resources"`

	// smoRegistration is what the SMO was told last.
	// +optional
	SMORegistration *SMORegistrationStatus `json:"smoRegistration,omitempty"`

	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// InventoryList is a list of Inventory.
//
// +kubebuilder:object:root=true
type InventoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Inventory `json:"items"`
}
