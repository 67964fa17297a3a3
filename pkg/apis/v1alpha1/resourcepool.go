package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ResourcePool is a set of servers at one site. It selects nodes, of as many managed
// clusters as it likes. Its identifier is derived from the oCloudId, the site and its own
// name, so it stays when the object is created anew.
//
// A node that no pool selects is in the pool of its managed cluster, at the site of its
// ManagedClusterSet. A pool with those names describes that one.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE v11.00, 3.2.6.2.5.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=resourcepools,scope=Cluster,shortName=o2pool,categories=o2ims
// +kubebuilder:printcolumn:name="Site",type=string,JSONPath=`.spec.siteRef.name`
// +kubebuilder:printcolumn:name="Clusters",type=integer,JSONPath=`.status.managedClusters`
// +kubebuilder:printcolumn:name="Resources",type=integer,JSONPath=`.status.resources`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Conflict",type=string,JSONPath=`.status.conditions[?(@.type=="Conflict")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="ID",type=string,priority=1,JSONPath=`.status.resourcePoolId`
type ResourcePool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec ResourcePoolSpec `json:"spec"`
	// +optional
	Status ResourcePoolStatus `json:"status,omitzero"`
}

// ResourcePoolSpec places a pool and fills it.
type ResourcePoolSpec struct {
	// siteRef names the OCloudSite that the pool belongs to. Another site gives the pool
	// another resourcePoolId.
	//
	// +required
	SiteRef ObjectName `json:"siteRef"`

	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Description string `json:"description,omitempty"`

	// selectors choose nodes: a node is chosen when any of them matches.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Selectors []ResourcePoolSelector `json:"selectors,omitempty"`

	// priority decides between pools that select the same node: the greater wins. Between
	// equals the older pool does, then the first by name, and both say so in condition
	// Conflict.
	//
	// +optional
	// +kubebuilder:validation:Minimum=-1000
	// +kubebuilder:validation:Maximum=1000
	Priority int32 `json:"priority,omitempty"`

	// extensions are shown with the pool as they are.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Extensions map[string]string `json:"extensions,omitempty"`
}

// ResourcePoolSelector chooses nodes by what they and their clusters are. All that it has
// must match.
//
// +kubebuilder:validation:XValidation:rule="has(self.clusters) || has(self.nodes)",message="a selector must have clusters or nodes; clusters: {labelSelector: {}} selects everything"
type ResourcePoolSelector struct {
	// clusters chooses managed clusters; all of them when absent.
	//
	// +optional
	Clusters *ClusterSelector `json:"clusters,omitempty"`

	// nodes chooses nodes in those clusters; all of them when absent.
	//
	// +optional
	Nodes *NodeSelector `json:"nodes,omitempty"`
}

// ClusterSelector chooses managed clusters. All that it has must match.
//
// +kubebuilder:validation:XValidation:rule="has(self.names) || has(self.clusterSets) || has(self.labelSelector)",message="clusters must have at least one of names, clusterSets and labelSelector"
type ClusterSelector struct {
	// names of ManagedClusters.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4096
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Names []string `json:"names,omitempty"`

	// clusterSets are names of ManagedClusterSets.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	ClusterSets []string `json:"clusterSets,omitempty"`

	// labelSelector is about the labels of the ManagedCluster.
	//
	// +optional
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`
}

// NodeSelector chooses nodes. All that it has must match.
//
// +kubebuilder:validation:XValidation:rule="has(self.names) || has(self.labelSelector)",message="nodes must have at least one of names and labelSelector"
type NodeSelector struct {
	// names of Nodes.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4096
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Names []string `json:"names,omitempty"`

	// labelSelector is about the labels of the Node in its own cluster, as reported.
	//
	// +optional
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`
}

// ResourcePoolStatus tells how the API shows the pool.
type ResourcePoolStatus struct {
	// observedGeneration is that of the spec which the rest of the status is about.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	ResourcePoolID string `json:"resourcePoolId,omitempty"`
	OCloudSiteID   string `json:"oCloudSiteId,omitempty"`

	// managedClusters counts the clusters with nodes in the pool.
	ManagedClusters int32 `json:"managedClusters"`

	// resources counts the servers in the pool, without the elements in them.
	Resources int32 `json:"resources"`

	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ResourcePoolList is a list of ResourcePool.
//
// +kubebuilder:object:root=true
type ResourcePoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ResourcePool `json:"items"`
}
