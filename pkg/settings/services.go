package settings

import (
	"slices"
	"strings"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
)

// Served tells which services, and which versions of them, are served.
type Served struct{ services map[string][]string }

// ServedBy returns what an Inventory wants to be served; without a list, everything.
func ServedBy(spec apiv1alpha1.InventorySpec) Served {
	if len(spec.Services) == 0 {
		return Served{}
	}
	services := make(map[string][]string, len(spec.Services))
	for _, s := range spec.Services {
		services[s.Name] = s.Versions
	}
	return Served{services}
}

// Service tells whether a service is served, by its name such as infrastructureInventory.
func (s Served) Service(name string) bool {
	_, named := s.services[name]
	return named || s.services == nil
}

// Version tells whether a version of a service is served.
func (s Served) Version(service, version string) bool {
	versions := s.services[service]
	return s.Service(service) && (len(versions) == 0 || slices.Contains(versions, version))
}

// servicePrefix is how the paths of all services begin.
const servicePrefix = "/o2ims-"

// Hidden tells whether a path belongs to what is not served.
func (s Served) Hidden(path string) bool {
	below, isService := strings.CutPrefix(path, servicePrefix)
	if !isService || s.services == nil {
		return false
	}
	service, rest, _ := strings.Cut(below, "/")
	version, _, _ := strings.Cut(rest, "/")
	if !s.Service(service) {
		return true
	}
	return isVersion(version) && !s.Version(service, version)
}

// isVersion tells a version, such as v1, from other words in its place.
func isVersion(s string) bool { return len(s) == 2 && s[0] == 'v' && s[1] >= '0' && s[1] <= '9' }
