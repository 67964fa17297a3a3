// Package v1alpha1 holds the custom resources in which an administrator of the hub says
// what no report can tell: where things are, how they are grouped, and who the O-Cloud is.
//
//	Location ◄── OCloudSite ◄── ResourcePool ──selects──► nodes of managed clusters
//
// All of them are cluster-scoped. What they describe is one hierarchy per O-Cloud, its
// names enter identifiers that must be unique in the O-Cloud, and a ResourcePool selects
// nodes of any managed cluster: were it namespaced, the right to create one in some
// namespace would be the right to take over machines of other tenants. Where tenants are
// to edit their own pools, RBAC with resourceNames gives them that.
//
// None of them is needed. Without any there is one site for each ManagedClusterSet and one
// pool for each managed cluster; a resource that bears such a name describes that site or
// pool, whose identifier stays.
//
// +kubebuilder:object:generate=true
// +groupName=o2ims.open-cluster-management.io
package v1alpha1
