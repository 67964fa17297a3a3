package inventory

import (
	"strings"

	"github.com/google/uuid"
)

// Namespaces of our UUIDv5 identifiers. They are part of the product's contract: an SMO
// keeps these identifiers, so they never change.
var (
	siteNamespace       = uuid.MustParse("0c1b7f6a-52c7-4b0e-9f35-2e1f6d8a7c41")
	poolNamespace       = uuid.MustParse("a3d9c0e2-7b14-4f6d-8a5e-91c2b7e60f38")
	managerNamespace    = uuid.MustParse("e58f2d17-0a9c-4c3b-b6d4-7f1a5e92c860")
	dictionaryNamespace = uuid.MustParse("4d7e3b90-18c5-4a6f-9e02-c3a1f5b86d27")
)

// SiteID is the oCloudSiteId of a site. Its location is left out: the name of a site is
// unique in the O-Cloud, and correcting a location should not rename all that is there.
func SiteID(oCloudID, site string) uuid.UUID {
	return uuid.NewSHA1(siteNamespace, []byte(oCloudID+"/"+site))
}

// PoolID is the resourcePoolId of the pool with this name at a site.
func PoolID(oCloudID, site, name string) uuid.UUID {
	return uuid.NewSHA1(poolNamespace, []byte(oCloudID+"/"+site+"/"+name))
}

// DeploymentManagerID is the deploymentManagerId of the cluster with this id. It differs
// from the cluster's own id on purpose: that one is the nodeClusterId.
func DeploymentManagerID(oCloudID, clusterID string) uuid.UUID {
	return uuid.NewSHA1(managerNamespace, []byte(oCloudID+"/"+clusterID))
}

// oneLine removes white space that sources put around and into names.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
