package inventory

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/inventory/openapi"
	"github.com/o2ims/o2ims/pkg/rest"
)

// BasePath is where the API is served.
const BasePath = "/o2ims-infrastructureInventory"

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

// APIOptions are the settings of the API, one flag each.
type APIOptions struct {
	// Versions are the names of the major versions to serve, such as v1. What is not
	// among them does not exist.
	Versions []string

	// Served tells which of them are switched on at the moment; nil: all. Set by whoever puts
	// the process together.
	Served func(version string) bool

	// DeployerServiceAccount is the name of the managed service account, in the namespace of
	// each managed cluster, whose token callers see who may see profiles. Empty: none.
	DeployerServiceAccount string

	// Credentials read that token; nil: nobody sees one. Set by whoever puts the process
	// together.
	Credentials Credentials
}

// AddFlags registers the settings with their defaults.
func (o *APIOptions) AddFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.Versions, "inventory-versions", []string{"v1", "v2"}, "versions of the inventory API to serve")
	f.StringVar(&o.DeployerServiceAccount, "deployer-service-account", "o2ims-deployer", "name of the ManagedServiceAccount whose token for a managed cluster is shown to callers with verb profile; empty for no token")
}

// Validate reports everything that is wrong with o.
func (o *APIOptions) Validate() error {
	faults := []error{versions(nil).Check("--inventory-versions", o.Versions)}
	if o.DeployerServiceAccount != "" && !accountName.MatchString(o.DeployerServiceAccount) {
		faults = append(faults, fmt.Errorf("--deployer-service-account: %q is not the name of a service account: %w", o.DeployerServiceAccount, fault.Invalid))
	}
	return errors.Join(faults...)
}

// accountName is what a ManagedServiceAccount, and the Secret of its name, can be called.
//
// Source: RFC 1123, subdomains, as Kubernetes takes them.
var accountName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// API serves a model.
type API struct {
	model    *Model
	access   Access
	versions []*version // ascending
	served   func(version string) bool
	counts   counts

	credentials Credentials // nil: there are none
}

// NewAPI returns the API of a model, with lists in pages as p cuts them. o must be valid.
func NewAPI(m *Model, a Access, o APIOptions, p *rest.Pager) *API {
	return &API{model: m, access: a, versions: versions(p).Named(o.Versions), served: o.Served, credentials: o.Credentials}
}

// Routes registers the paths below BasePath.
func (a *API) Routes(r *mux.Router) {
	get := func(path string, h rest.Handler) { r.Handle(path, rest.Methods{http.MethodGet: h}) }

	var served []rest.Version
	for _, v := range a.versions {
		served = append(served, v.Version)
		r.Handle(v.base()+"/openapi.yaml", rest.OpenAPI(openapi.Document(v.Name)))
		get(v.base(), a.getOCloudInfo(v))
		get(v.base()+"/deploymentManagers", a.listDeploymentManagers(v))
		get(v.base()+"/deploymentManagers/{deploymentManagerId}", a.getDeploymentManager(v))
		get(v.base()+"/resourceTypes", list(a, v.types, (*Snapshot).typeSource))
		get(v.base()+"/resourceTypes/{resourceTypeId}", single(a, v.types, "resource type", (*Snapshot).ResourceType))
		get(v.base()+"/resourceTypes/{resourceTypeId}/alarmDictionary", a.getDictionaryOfType(v))
		get(v.base()+"/alarmDictionaries", list(a, v.dictionaries, (*Snapshot).dictionarySource))
		get(v.base()+"/alarmDictionaries/{alarmDictionaryId}", single(a, v.dictionaries, "alarm dictionary", (*Snapshot).AlarmDictionary))
		get(v.base()+"/resourcePools", list(a, v.pools, (*Snapshot).poolSource))
		get(v.base()+"/resourcePools/{resourcePoolId}", single(a, v.pools, "resource pool", (*Snapshot).ResourcePool))
		get(v.base()+"/resourcePools/{resourcePoolId}/resources", a.listResources(v))
		get(v.base()+"/resourcePools/{resourcePoolId}/resources/{resourceId}", a.getResource(v))
		if v.sites != nil {
			get(v.base()+"/oCloudSites", list(a, v.sites, (*Snapshot).siteSource))
			get(v.base()+"/oCloudSites/{oCloudSiteId}", single(a, v.sites, "O-Cloud site", (*Snapshot).OCloudSite))
		}
		if v.locations != nil {
			get(v.base()+"/locations", list(a, v.locations, (*Snapshot).locationSource))
			get(v.base()+"/locations/{globalLocationId}", a.getLocation(v))
		}
	}
	rest.VersionLists{BasePath: BasePath, BaseURL: a.baseURL, Served: a.served}.Routes(r, served...)
}

// baseURL is how SMOs reach this O-Cloud, whoever asks.
func (a *API) baseURL(*http.Request) string { return a.model.Snapshot().OCloud().ServiceURI }

func (a *API) getOCloudInfo(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := v.oCloud.Query(r)
		if err != nil {
			return err
		}
		return q.Singleton(w, a.model.Snapshot().OCloud())
	}
}

// list serves a list of records that everybody sees alike.
func list[R any](a *API, k *rest.Kind[R], source func(*Snapshot) rest.Source[R]) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := k.ListQuery(r)
		if err != nil {
			return err
		}
		return q.List(w, source(a.model.Snapshot()))
	}
}

// single serves one of them. Its path ends in its identifier, a UUID.
func single[R any](a *API, k *rest.Kind[R], what string, get func(*Snapshot, uuid.UUID) (R, bool)) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := rest.UUID(r, k.IDName)
		if err != nil {
			return err
		}
		q, err := k.Query(r)
		if err != nil {
			return err
		}
		record, found := get(a.model.Snapshot(), id)
		if !found {
			return unknown(what, id)
		}
		return q.Object(w, record)
	}
}

func unknown(kind string, id uuid.UUID) error {
	return fmt.Errorf("%s %s: %w", kind, id, fault.NotFound)
}

func (a *API) listDeploymentManagers(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := v.managers.ListQuery(r)
		if err != nil {
			return err
		}
		profile, err := a.mayReadProfiles(r.Context(), v)
		if err != nil {
			return err
		}
		return q.List(w, a.model.Snapshot().managerSource(profile))
	}
}

func (a *API) getDeploymentManager(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := rest.UUID(r, v.managers.IDName)
		if err != nil {
			return err
		}
		q, err := v.managers.Query(r)
		if err != nil {
			return err
		}
		d, found := a.model.Snapshot().DeploymentManager(id)
		if !found {
			return unknown("deployment manager", id)
		}
		profile, err := a.mayReadProfiles(r.Context(), v)
		if err != nil {
			return err
		}
		return a.showDeploymentManager(w, r, q, managerRow{d, profile})
	}
}

func (a *API) mayReadProfiles(ctx context.Context, v *version) (bool, error) {
	return a.access.Allowed(ctx, VerbProfile, v.base()+"/deploymentManagers")
}

func (a *API) getDictionaryOfType(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := rest.UUID(r, v.types.IDName)
		if err != nil {
			return err
		}
		q, err := v.dictionaries.Query(r)
		if err != nil {
			return err
		}
		t, found := a.model.Snapshot().ResourceType(id)
		if !found {
			return unknown("resource type", id)
		}
		return q.Object(w, t.Dictionary)
	}
}

// getLocation serves a location. The SMO gave it its identifier: any text.
func (a *API) getLocation(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id := mux.Vars(r)[v.locations.IDName]
		q, err := v.locations.Query(r)
		if err != nil {
			return err
		}
		l, found := a.model.Snapshot().Location(id)
		if !found {
			return fmt.Errorf("location %q: %w", strings.ToValidUTF8(id, "?"), fault.NotFound)
		}
		return q.Object(w, l)
	}
}

// listResources lists a pool's servers. Their elements come along when they are asked for.
func (a *API) listResources(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		pool, err := rest.UUID(r, v.pools.IDName)
		if err != nil {
			return err
		}
		q, err := v.servers.ListQuery(r)
		if err != nil {
			return err
		}
		s := a.model.Snapshot()
		if _, found := s.ResourcePool(pool); !found {
			return unknown("resource pool", pool)
		}
		return q.List(w, s.serverSource(pool, &a.counts))
	}
}

// getResource returns a server with its elements, or one element. A resource of another
// pool is not found: its path is another.
func (a *API) getResource(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		pool, err := rest.UUID(r, v.pools.IDName)
		if err != nil {
			return err
		}
		id, err := rest.UUID(r, v.servers.IDName)
		if err != nil {
			return err
		}
		// Servers and elements have different attributes. What is wrong for both is refused
		// before it is known which of them this is, or whether it exists.
		server, serverErr := v.servers.Query(r)
		element, elementErr := v.elements.Query(r)
		if serverErr != nil && elementErr != nil {
			return serverErr
		}
		s := a.model.Snapshot()
		if _, found := s.ResourcePool(pool); !found {
			return unknown("resource pool", pool)
		}
		srv, index, found := s.Resource(pool, id)
		switch {
		case !found:
			return unknown("resource", id)
		case index >= 0 && elementErr != nil:
			return elementErr
		case index >= 0:
			return element.Object(w, elementRow{srv, index})
		case serverErr != nil:
			return serverErr
		default:
			return server.Object(w, srv)
		}
	}
}
