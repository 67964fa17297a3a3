package roles

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/test/contract/hub"
)

// none is a caller whose token is valid and names no role.
const none = ""

// callers are those of the matrix, in the order in which the document shows them.
func callers() []string {
	return []string{none, auth.RoleReader, auth.RoleSubscriber, auth.RoleMaintainer, auth.RoleProvisioner, auth.RoleDeployer, auth.RoleAdmin}
}

// who may use a method of a path, beside the administrator.
type who []string

func reader() who     { return who{auth.RoleReader} }
func subscriber() who { return who{auth.RoleSubscriber} }
func maintainer() who { return who{auth.RoleMaintainer} }
func readers(others ...string) who {
	return append(reader(), others...)
}
func everybody() who { return callers() }

// row is what the table says of some paths: who may do what. A method that is not there is
// the administrator's, who learns that the path does not have it.
type row struct {
	paths                         []string // {v} stands for v1 and v2
	get, post, put, patch, delete who

	// Methods that the path has not, and that a wildcard of RBAC lets through all the same:
	// they are answered 405.
	through map[string]who

	notAdmin bool // outside of the APIs; the administrator is nobody there
}

const (
	inventory    = "/o2ims-infrastructureInventory"
	monitoring   = "/o2ims-infrastructureMonitoring"
	cluster      = "/o2ims-infrastructureCluster"
	provisioning = "/o2ims-infrastructureProvisioning"
	artifacts    = "/o2ims-infrastructureArtifacts"
)

// table is who may do what, written down from what the roles are for and not from the chart,
// which it judges.
func table() []row {
	return []row{
		{paths: []string{"/metrics"}, get: everybody(), notAdmin: true},
		{paths: []string{inventory + "/{v}/openapi.yaml", monitoring + "/{v}/openapi.yaml"}, get: everybody()},

		{paths: []string{inventory + "/api_versions", inventory + "/{v}/api_versions", inventory + "/{v}"}, get: reader()},
		{paths: resource(inventory+"/{v}/resourceTypes", "resourceTypeId"), get: reader()},
		{paths: []string{inventory + "/{v}/resourceTypes/{resourceTypeId}/alarmDictionary"}, get: reader()},
		{paths: resource(inventory+"/{v}/alarmDictionaries", "alarmDictionaryId"), get: reader()},
		{paths: resource(inventory+"/v2/locations", "globalLocationId"), get: reader()},
		{paths: resource(inventory+"/v2/oCloudSites", "oCloudSiteId"), get: reader()},
		{paths: resource(inventory+"/{v}/resourcePools", "resourcePoolId"), get: reader()},
		{paths: resource(inventory+"/{v}/resourcePools/{resourcePoolId}/resources", "resourceId"), get: reader()},
		// How a cluster is reached is left out for a reader: see TestProfiles.
		{paths: resource(inventory+"/{v}/deploymentManagers", "deploymentManagerId"), get: readers(auth.RoleDeployer)},
		{paths: []string{inventory + "/{v}/subscriptions"}, get: readers(auth.RoleSubscriber), post: subscriber()},
		{paths: []string{inventory + "/{v}/subscriptions/{subscriptionId}"}, get: readers(auth.RoleSubscriber), delete: subscriber()},

		{paths: []string{monitoring + "/api_versions", monitoring + "/{v}/api_versions"}, get: reader()},
		{paths: []string{monitoring + "/{v}/alarms"}, get: reader()},
		{paths: []string{monitoring + "/{v}/alarms/{alarmEventRecordId}"}, get: reader(), patch: maintainer()},
		{paths: []string{monitoring + "/{v}/alarms/purge"}, post: maintainer(), through: map[string]who{"GET": reader(), "PATCH": maintainer()}},
		{paths: []string{monitoring + "/{v}/alarmServiceConfiguration"}, get: readers(auth.RoleMaintainer), put: maintainer(), patch: maintainer()},
		{paths: []string{monitoring + "/{v}/alarmSubscriptions"}, get: readers(auth.RoleSubscriber), post: subscriber()},
		{paths: []string{monitoring + "/{v}/alarmSubscriptions/{alarmSubscriptionId}"}, get: readers(auth.RoleSubscriber), patch: subscriber(), delete: subscriber()},
		{paths: resource(monitoring+"/{v}/probableCauses", "probableCauseId"), get: reader()},
		{paths: resource(monitoring+"/{v}/taskOperations", "operationOccurrenceId"), get: reader()},

		{paths: []string{"/internal/v1/caas-alerts/alertmanager"}},
		{paths: []string{"/admin/v1/delivery", "/admin/v1/delivery/{subscriptionId}", "/admin/v1/delivery/{subscriptionId}/resume"}},
	}
}

// granted are rights on paths that nothing serves yet, or that are no paths at all: the chart
// grants them, and the apiserver is asked for them directly.
func granted() []row {
	readersAndProvisioner := readers(auth.RoleProvisioner)
	return []row{
		{paths: []string{cluster + "/api_versions", cluster + "/v1/nodeClusters", cluster + "/v1/nodeClusters/{nodeClusterId}"}, get: reader()},
		{paths: []string{cluster + "/v1/subscriptions"}, get: readers(auth.RoleSubscriber), post: subscriber()},
		{paths: []string{cluster + "/v1/subscriptions/{subscriptionId}"}, get: readers(auth.RoleSubscriber), delete: subscriber()},
		{paths: resource(artifacts+"/v1/managedInfrastructureTemplates", "templateId"), get: readersAndProvisioner},
		{paths: []string{provisioning + "/v1/provisioningRequests"}, get: readersAndProvisioner, post: who{auth.RoleProvisioner}},
		{paths: []string{provisioning + "/v1/provisioningRequests/{provisioningRequestId}"},
			get: readersAndProvisioner, put: who{auth.RoleProvisioner}, delete: who{auth.RoleProvisioner}},
	}
}

// resource are the paths of a collection and of what is in it.
func resource(collection, id string) []string {
	return []string{collection, collection + "/{" + id + "}"}
}

// templates are the paths of a row with all their versions.
func (r row) templates() []string {
	var all []string
	for _, path := range r.paths {
		if !strings.Contains(path, "{v}") {
			all = append(all, path)
			continue
		}
		for _, version := range []string{"v1", "v2"} {
			all = append(all, strings.Replace(path, "{v}", version, 1))
		}
	}
	return all
}

// allows tells whether the table lets a caller use a method.
func (r row) allows(caller, method string) bool {
	if caller == auth.RoleAdmin && !r.notAdmin {
		return true
	}
	return slices.Contains(r.has(method), caller) || slices.Contains(r.through[method], caller)
}

// has is who may use a method that the path has.
func (r row) has(method string) who {
	return map[string]who{"GET": r.get, "POST": r.post, "PUT": r.put, "PATCH": r.patch, "DELETE": r.delete}[method]
}

// rowOf finds what the table says of a path.
func rowOf(template string) (row, bool) {
	for _, r := range table() {
		if slices.Contains(r.templates(), template) {
			return r, true
		}
	}
	return row{}, false
}

// served are all paths that the server has.
func served(t testing.TB) []hub.Route {
	t.Helper()
	return append(hub.Routes(t), hub.Route{Template: "/metrics", Methods: []string{http.MethodGet}}) // the server's own
}
