package inventory

import (
	"cmp"
	"strings"
	"time"

	"github.com/google/uuid"
)

type deploymentManagerView struct {
	DeploymentManagerID uuid.UUID         `json:"deploymentManagerId"`
	Name                string            `json:"name"`
	Description         string            `json:"description"`
	OCloudID            string            `json:"oCloudId"`
	ServiceURI          string            `json:"serviceUri"`
	SupportedLocations  []string          `json:"supportedLocations"`
	Capabilities        map[string]string `json:"capabilities" o2:"open"`
	Capacity            map[string]any    `json:"capacity" o2:"open"`
	Extensions          managerExtensions `json:"extensions" o2:"open"`
}

type managerExtensions struct {
	Available         string            `json:"available"`
	ClusterID         string            `json:"clusterID,omitempty"`
	ClusterSet        string            `json:"clusterSet,omitempty"`
	KubernetesVersion string            `json:"kubernetesVersion,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
	ProfileName       string            `json:"profileName"`
	ProfileData       *managerProfile   `json:"profileData,omitempty"`
	Reporting         *trouble          `json:"reporting,omitempty"`
}

// managerProfile is how to reach a cluster. It has no credentials but in the answer to a GET
// of one deploymentManager, for which withToken makes it: we keep none.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, DeploymentManager, extensions.profileData.
type managerProfile struct {
	ClusterAPIEndpoint string     `json:"cluster_api_endpoint"`
	ClusterCACert      string     `json:"cluster_ca_cert"` // PEM
	Token              string     `json:"token,omitempty"`
	TokenExpiration    *time.Time `json:"token_expiration,omitempty"`
}

func (m *DeploymentManager) view() deploymentManagerView {
	f := m.Facts
	v := deploymentManagerView{
		DeploymentManagerID: m.ID,
		Name:                f.Name,
		Description:         "Managed cluster " + f.Name,
		OCloudID:            m.oCloudID,
		ServiceURI:          f.ServiceURI,
		SupportedLocations:  m.SupportedLocations,
		Capabilities:        capabilities(f, m.Nodes),
		Capacity:            capacity(f),
		Extensions: managerExtensions{
			Available:         m.available(),
			ClusterID:         f.ClusterID,
			ClusterSet:        f.ClusterSet,
			KubernetesVersion: f.KubernetesVersion,
			Labels:            f.Labels,
			ProfileName:       "k8s",
		},
	}
	if t, troubled := troubleOf(f, m.Reporting); troubled {
		v.Extensions.Reporting = &t
	}
	return v
}

func (m *DeploymentManager) available() string { return cmp.Or(m.Facts.Available, "Unknown") }

// capabilities says what the cluster's claims and nodes tell of what it can do.
func capabilities(f ClusterFacts, n NodeSummary) map[string]string {
	c := make(map[string]string)
	set := func(key, value string) {
		if value != "" {
			c[key] = value
		}
	}
	flag := func(key string, on bool) {
		if on {
			c[key] = "true"
		}
	}
	set("kubernetesVersion", f.KubernetesVersion)
	set("platform", f.Claims["platform.open-cluster-management.io"])
	set("product", f.Claims["product.open-cluster-management.io"])
	set("region", f.Claims["region.open-cluster-management.io"])
	set("architecture", strings.Join(n.Architectures, ","))
	set("accelerators", strings.Join(n.Accelerators, ","))
	flag("realtimeKernel", n.RealTimeKernel)
	flag("sriov", n.SRIOV)
	flag("ptp", n.PTP)
	return c
}

// capacityKeys are the resources whose allocatable amounts stand in capacity itself, where
// other implementations have them.
var capacityKeys = [...]string{"cpu", "memory", "pods", "ephemeral-storage", "hugepages-1Gi", "hugepages-2Mi"}

func capacity(f ClusterFacts) map[string]any {
	c := make(map[string]any)
	for _, key := range capacityKeys {
		if quantity, ok := f.Allocatable[key]; ok {
			c[key] = quantity
		}
	}
	if len(f.Capacity) > 0 {
		c["total"] = f.Capacity
	}
	if len(f.Allocatable) > 0 {
		c["allocatable"] = f.Allocatable
	}
	return c
}
