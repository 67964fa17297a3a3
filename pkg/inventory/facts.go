package inventory

import "time"

// ClusterFacts is what the hub knows of one managed cluster, whether or not an agent
// reports from it.
type ClusterFacts struct {
	Name      string    // of the ManagedCluster
	UID       string    // metadata.uid of the ManagedCluster
	ClusterID string    // the cluster's own id: label clusterID, else claim id.k8s.io; may be empty
	Created   time.Time // when the ManagedCluster was created

	ClusterSet string // name of its ManagedClusterSet; may be empty
	ServiceURI string // URL of its Kubernetes API; may be empty
	CABundle   []byte // PEM, of the server at ServiceURI

	Labels      map[string]string // of the ManagedCluster
	Claims      map[string]string // cluster claims by name
	Capacity    map[string]string // quantities as Kubernetes writes them
	Allocatable map[string]string // likewise

	KubernetesVersion string

	// Available is the status of condition ManagedClusterConditionAvailable: "True",
	// "False" or "Unknown"; empty counts as "Unknown".
	Available string

	// Accepted tells that the hub's administrator accepted the cluster. Only accepted
	// clusters are deployment managers.
	Accepted bool
}

// AddOnState tells whether our add-on is meant to run on a cluster.
type AddOnState string

// The states of the add-on.
const (
	Enabled  AddOnState = "Enabled"
	Disabled AddOnState = "Disabled" // the ManagedClusterAddOn is gone or going
)

// Reporting is how well the reports of one cluster reach us.
type Reporting struct {
	AddOn AddOnState

	// AddOnAvailable is the status of the add-on's condition Available.
	AddOnAvailable string

	// Since is when the present state began.
	Since time.Time

	// ReportErr says why the newest report could not be used, while the last good one
	// still stands. Empty when all is well.
	ReportErr string
}
