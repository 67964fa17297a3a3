package inventory

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/rest"
)

// BasePath is where the API is served.
const BasePath = "/o2ims-infrastructureInventory"

const (
	baseV1    = BasePath + "/v1"
	versionV1 = "1.0.0"
)

// VerbProfile is the verb that a caller needs on the collection of deploymentManagers, as
// .../v1/deploymentManagers, to see extensions.profileData in it.
//
// It is a verb and not a path of its own because the rules that let readers get single
// deploymentManagers end in an asterisk, which would match any path below them.
const VerbProfile = "profile"

// Access tells what the caller of a request may do beyond the request itself.
type Access interface {
	// Allowed tells whether the caller that ctx carries may do verb on path. An error
	// means that nobody could tell and wraps fault.Unavailable.
	Allowed(ctx context.Context, verb, path string) (bool, error)
}

// API serves a model.
type API struct {
	model  *Model
	access Access
}

// NewAPI returns the API of a model.
func NewAPI(m *Model, a Access) *API { return &API{model: m, access: a} }

// Routes registers the paths below BasePath.
func (a *API) Routes(r *mux.Router) {
	get := func(path string, h rest.Handler) { r.Handle(path, rest.Methods{http.MethodGet: h}) }

	get(BasePath+"/api_versions", a.apiVersions)
	get(baseV1+"/api_versions", a.apiVersionsV1)
	get(baseV1, a.getOCloudInfo)
	get(baseV1+"/deploymentManagers", a.listDeploymentManagers)
	get(baseV1+"/deploymentManagers/{deploymentManagerId}", a.getDeploymentManager)
	get(baseV1+"/resourceTypes", a.listResourceTypes)
	get(baseV1+"/resourceTypes/{resourceTypeId}", a.getResourceType)
	get(baseV1+"/resourcePools", a.listResourcePools)
	get(baseV1+"/resourcePools/{resourcePoolId}", a.getResourcePool)
	get(baseV1+"/resourcePools/{resourcePoolId}/resources", a.listResources)
	get(baseV1+"/resourcePools/{resourcePoolId}/resources/{resourceId}", a.getResource)
}

// apiVersions is the answer of the version resources.
//
// Source: ETSI GS NFV-SOL 013, clause 9.3.
type apiVersions struct {
	URIPrefix   string       `json:"uriPrefix"`
	APIVersions []apiVersion `json:"apiVersions"`
}

type apiVersion struct {
	Version string `json:"version"`
}

// apiVersions lists the versions of all majors. One prefix cannot name several majors, so
// here it names none.
func (a *API) apiVersions(w http.ResponseWriter, _ *http.Request) error {
	return rest.WriteJSON(w, http.StatusOK, apiVersions{a.model.options.ServiceURI + BasePath, []apiVersion{{versionV1}}})
}

func (a *API) apiVersionsV1(w http.ResponseWriter, _ *http.Request) error {
	return rest.WriteJSON(w, http.StatusOK, apiVersions{a.model.options.ServiceURI + baseV1, []apiVersion{{versionV1}}})
}

func (a *API) getOCloudInfo(w http.ResponseWriter, r *http.Request) error {
	o := a.model.options
	info := oCloudInfoV1{
		OCloudID:      o.OCloudID,
		GlobalCloudID: o.GlobalCloudID,
		Globalcloudid: o.GlobalCloudID,
		Name:          o.Name,
		Description:   o.Description,
		ServiceURI:    o.ServiceURI,
	}
	if asksFor(r.URL.Query(), "extensions") {
		info.Extensions = o.Extensions
		if info.Extensions == nil {
			info.Extensions = map[string]string{}
		}
	}
	return rest.WriteJSON(w, http.StatusOK, info)
}

func (a *API) listDeploymentManagers(w http.ResponseWriter, r *http.Request) error {
	profile, err := a.mayReadProfiles(r.Context())
	if err != nil {
		return err
	}
	return rest.WriteList(w, records(a.model.Snapshot().DeploymentManagers, func(d *DeploymentManager) []byte {
		return a.deploymentManagerV1(d, profile)
	}))
}

func (a *API) getDeploymentManager(w http.ResponseWriter, r *http.Request) error {
	id, err := rest.UUID(r, "deploymentManagerId")
	if err != nil {
		return err
	}
	d, found := a.model.Snapshot().DeploymentManager(id)
	if !found {
		return unknown("deployment manager", id)
	}
	profile, err := a.mayReadProfiles(r.Context())
	if err != nil {
		return err
	}
	return rest.WriteEncoded(w, http.StatusOK, a.deploymentManagerV1(d, profile))
}

func (a *API) mayReadProfiles(ctx context.Context) (bool, error) {
	return a.access.Allowed(ctx, VerbProfile, baseV1+"/deploymentManagers")
}

// deploymentManagerV1 returns the record, with how to reach the cluster for those who may
// see that. They are few, so that view is encoded when it is asked for.
func (a *API) deploymentManagerV1(d *DeploymentManager, profile bool) []byte {
	if !profile {
		return d.v1
	}
	v := d.viewV1(a.model.options.OCloudID)
	v.Extensions.ProfileData = &managerProfileV1{
		ClusterAPIEndpoint: d.Facts.ServiceURI,
		ClusterCACert:      string(d.Facts.CABundle),
	}
	return encoded(v)
}

func (a *API) listResourceTypes(w http.ResponseWriter, _ *http.Request) error {
	return rest.WriteList(w, records(a.model.Snapshot().ResourceTypes, func(t *ResourceType) []byte { return t.v1 }))
}

func (a *API) getResourceType(w http.ResponseWriter, r *http.Request) error {
	id, err := rest.UUID(r, "resourceTypeId")
	if err != nil {
		return err
	}
	t, found := a.model.Snapshot().ResourceType(id)
	if !found {
		return unknown("resource type", id)
	}
	return rest.WriteEncoded(w, http.StatusOK, t.v1)
}

func (a *API) listResourcePools(w http.ResponseWriter, _ *http.Request) error {
	return rest.WriteList(w, records(a.model.Snapshot().ResourcePools, func(p *ResourcePool) []byte { return p.v1 }))
}

func (a *API) getResourcePool(w http.ResponseWriter, r *http.Request) error {
	id, err := rest.UUID(r, "resourcePoolId")
	if err != nil {
		return err
	}
	p, found := a.model.Snapshot().ResourcePool(id)
	if !found {
		return unknown("resource pool", id)
	}
	return rest.WriteEncoded(w, http.StatusOK, p.v1)
}

// listResources lists a pool's servers. Their elements come along when they are asked for.
func (a *API) listResources(w http.ResponseWriter, r *http.Request) error {
	pool, err := rest.UUID(r, "resourcePoolId")
	if err != nil {
		return err
	}
	s := a.model.Snapshot()
	if _, found := s.ResourcePool(pool); !found {
		return unknown("resource pool", pool)
	}
	render := func(srv *Server) []byte { return srv.v1 }
	if asksFor(r.URL.Query(), "elements") {
		render = (*Server).withElementsV1
	}
	return rest.WriteList(w, records(s.Servers(pool), render))
}

// getResource returns a server with its elements, or one element. A resource of another
// pool is not found: its path is another.
func (a *API) getResource(w http.ResponseWriter, r *http.Request) error {
	pool, err := rest.UUID(r, "resourcePoolId")
	if err != nil {
		return err
	}
	id, err := rest.UUID(r, "resourceId")
	if err != nil {
		return err
	}
	s := a.model.Snapshot()
	if _, found := s.ResourcePool(pool); !found {
		return unknown("resource pool", pool)
	}
	srv, index, found := s.Resource(pool, id)
	switch {
	case !found:
		return unknown("resource", id)
	case index >= 0:
		return rest.WriteEncoded(w, http.StatusOK, encoded(srv.elementV1(index)))
	default:
		return rest.WriteEncoded(w, http.StatusOK, srv.withElementsV1())
	}
}

func unknown(kind string, id uuid.UUID) error {
	return fmt.Errorf("%s %s: %w", kind, id, fault.NotFound)
}

// records renders a sequence of records for rest.WriteList.
func records[T any](all iter.Seq[T], render func(T) []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for record := range all {
			if !yield(render(record), nil) {
				return
			}
		}
	}
}

// asksFor tells whether a query asks for an attribute that is left out unless it does.
func asksFor(q url.Values, attribute string) bool {
	if _, all := q["all_fields"]; all {
		return true
	}
	return slices.ContainsFunc(q["fields"], func(list string) bool {
		return slices.ContainsFunc(strings.Split(list, ","), func(field string) bool {
			return field == attribute || strings.HasPrefix(field, attribute+"/")
		})
	})
}
