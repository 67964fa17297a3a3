package rest

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Version is one major version of an API.
type Version struct {
	Name   string // as in paths, such as v1
	Number string // such as 1.2.0
}

// Versions are all versions of an API that there are, by name.
type Versions[V any] map[string]V

// Check reports everything that is wrong with the names of versions to serve, as a flag has
// them. Its errors wrap fault.Invalid.
func (v Versions[V]) Check(flag string, names []string) error {
	var faults []error
	for _, name := range names {
		if _, known := v[name]; !known {
			faults = append(faults, fmt.Errorf("%s: %q is none that there is: %w", flag, name, fault.Invalid))
		}
	}
	if len(names) == 0 {
		faults = append(faults, fmt.Errorf("%s: at least one is needed: %w", flag, fault.Invalid))
	}
	return errors.Join(faults...)
}

// Named returns the versions with these names, ascending and each once. Check must have
// found nothing wrong with the names.
func (v Versions[V]) Named(names []string) []V {
	var list []V
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if slices.Contains(names, name) {
			list = append(list, v[name])
		}
	}
	return list
}

// VersionLists are the version resources of an API, which tell what is served.
//
// Source: ETSI GS NFV-SOL 013, clause 9.3.
type VersionLists struct {
	BasePath string                     // above the versions, such as /o2ims-infrastructureInventory
	BaseURL  func(*http.Request) string // https://host[:port] by which the client reaches us

	// Served tells which versions are switched on at the moment; nil: all.
	Served func(version string) bool
}

// Routes registers api_versions below the base path, for all versions, and below each of
// them. One prefix cannot name several majors: for all of them it names none.
func (l VersionLists) Routes(r *mux.Router, versions ...Version) {
	r.Handle(l.BasePath+"/api_versions", Methods{http.MethodGet: l.list(l.BasePath, versions...)})
	for _, v := range versions {
		path := l.BasePath + "/" + v.Name
		r.Handle(path+"/api_versions", Methods{http.MethodGet: l.list(path, v)})
	}
}

type apiVersions struct {
	URIPrefix   string       `json:"uriPrefix"`
	APIVersions []apiVersion `json:"apiVersions"`
}

type apiVersion struct {
	Version string `json:"version"`
}

func (l VersionLists) list(path string, versions ...Version) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		answer := apiVersions{URIPrefix: l.BaseURL(r) + path}
		for _, v := range versions {
			if l.Served == nil || l.Served(v.Name) {
				answer.APIVersions = append(answer.APIVersions, apiVersion{v.Number})
			}
		}
		return WriteCacheable(w, r, answer)
	}
}

// OpenAPI serves the OpenAPI document of a version, in YAML.
//
// Source: RFC 9512 (media type of YAML).
func OpenAPI(document []byte) Methods {
	return Methods{http.MethodGet: func(w http.ResponseWriter, r *http.Request) error {
		return WriteDocument(w, r, "application/yaml", document)
	}}
}
