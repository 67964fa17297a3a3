package conformance

import (
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"
)

// collection is one list of the server, read whole.
type collection struct {
	path    string // below the root, such as /resourcePools
	key     string // attribute that identifies its records
	records []record
}

// single is the path of one of its records.
func (c collection) single(id string) string { return c.path + "/" + id }

func (c collection) ids() []string { return ids(c.records, c.key) }

// discovery is what a server has, in one version.
type discovery struct {
	cloud        record
	managers     collection
	types        collection
	dictionaries collection
	locations    collection // v2
	sites        collection // v2
	pools        collection
	resources    []collection // one for each pool with resources, the largest first

	paths map[string][]leafPath // by path of the collection, as they are asked for
}

// mostServers is how many servers are read: enough to try everything, however large the fleet.
const mostServers = 2000

// discover reads all that a version of the API has.
func discover(x *exchange) (*discovery, error) {
	d := &discovery{
		managers:     collection{path: "/deploymentManagers", key: "deploymentManagerId"},
		types:        collection{path: "/resourceTypes", key: "resourceTypeId"},
		dictionaries: collection{path: "/alarmDictionaries", key: "alarmDictionaryId"},
		locations:    collection{path: "/locations", key: "globalLocationId"},
		sites:        collection{path: "/oCloudSites", key: "oCloudSiteId"},
		pools:        collection{path: "/resourcePools", key: "resourcePoolId"},
	}
	var wrong faults
	var err error
	if d.cloud, err = x.object("?all_fields"); err != nil {
		wrong.add("O-Cloud: %w", err)
	}
	for _, c := range d.lists(x.major) {
		if c.records, err = x.list(c.path + "?all_fields"); err != nil {
			wrong.add("%s: %w", c.path, err)
		}
	}
	servers := 0
	for _, pool := range d.pools.ids() {
		c := collection{path: d.pools.single(pool) + "/resources", key: "resourceId"}
		if c.records, err = x.list(c.path + "?all_fields"); err != nil {
			wrong.add("%s: %w", c.path, err)
			continue
		}
		if len(c.records) > 0 {
			d.resources = append(d.resources, c)
		}
		if servers += len(c.records); servers >= mostServers {
			break
		}
	}
	slices.SortStableFunc(d.resources, func(a, b collection) int { return len(b.records) - len(a.records) })
	return d, wrong.err()
}

// digest names all that was found.
func (d *discovery) digest() [sha256.Size]byte {
	h := sha256.New()
	_, _ = io.WriteString(h, canonical(d.cloud))
	for _, c := range d.all("") {
		_, _ = io.WriteString(h, c.path)
		for _, r := range c.records {
			_, _ = io.WriteString(h, canonical(r))
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// lists are the collections at the top of a version.
func (d *discovery) lists(major string) []*collection {
	lists := []*collection{&d.managers, &d.types, &d.dictionaries, &d.pools}
	if major != "v1" {
		lists = append(lists, &d.locations, &d.sites)
	}
	return lists
}

// all are all collections, those with resources too.
func (d *discovery) all(major string) []collection {
	var all []collection
	for _, c := range d.lists(major) {
		if c.path != "" {
			all = append(all, *c)
		}
	}
	return append(all, d.resources...)
}

// inUse are the collections that have records.
func (d *discovery) inUse(major string) []collection {
	return slices.DeleteFunc(d.all(major), func(c collection) bool { return len(c.records) == 0 })
}

// servers are the resources of all pools.
func (d *discovery) servers() []record {
	var all []record
	for _, c := range d.resources {
		all = append(all, c.records...)
	}
	return all
}

// server returns a server that has elements.
func (d *discovery) server() (collection, record, error) {
	for _, c := range d.resources {
		for _, r := range c.records {
			if len(objects(r, "elements")) > 0 {
				return c, r, nil
			}
		}
	}
	return collection{}, nil, skip("no resource has elements")
}

// pool returns a pool with resources.
func (d *discovery) pool() (collection, error) {
	if len(d.resources) == 0 {
		return collection{}, skip("no resource pool has resources")
	}
	return d.resources[0], nil
}

// leafPath is one path at which records of a collection have scalars.
type leafPath struct {
	collection collection
	path       []string
	values     []any // the different ones, in order of appearance
	with       int   // how many records have it
	many       bool  // it crosses an array
}

// leaves returns the paths of one of the collections.
func (d *discovery) leaves(c collection) []leafPath {
	if d.paths == nil {
		d.paths = map[string][]leafPath{}
	}
	if _, known := d.paths[c.path]; !known {
		d.paths[c.path] = leaves(c)
	}
	return d.paths[c.path]
}

// leaves returns the paths of a collection at which there are scalars and nothing else.
func leaves(c collection) []leafPath {
	found := map[string]*leafPath{}
	bad := map[string]bool{}
	for _, r := range c.records {
		seen := map[string]bool{}
		arrays := map[string]bool{}
		visit(r, nil, func(path []string, v any) {
			name := joined(path)
			switch v := v.(type) {
			case record:
				if len(v) > 0 {
					bad[name] = true
				}
			case []any:
				arrays[name] = true
			default:
				p, known := found[name]
				if !known {
					p = &leafPath{collection: c, path: path}
					found[name] = p
				}
				if !seen[name] {
					seen[name] = true
					p.with++
				}
				for i := range path {
					p.many = p.many || arrays[joined(path[:i+1])]
				}
				if !slices.Contains(p.values, v) {
					p.values = append(p.values, v)
				}
			}
		})
	}
	var all []leafPath
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if p := found[name]; !bad[name] && len(p.path) <= deepest && writable(p.path) {
			all = append(all, *p)
		}
	}
	return all
}

// deepest is how many names a path may have.
const deepest = 8

// writable tells whether a path can be written in a filter at all.
func writable(path []string) bool {
	for _, name := range path {
		if name == "" || name[0] == '@' {
			return false
		}
		for _, r := range name {
			if r == '(' || r == ')' || r == ';' || r <= ' ' {
				return false
			}
		}
	}
	return true
}

// leafWhere returns the first path that a test likes, in any collection.
func (d *discovery) leafWhere(major, what string, like func(leafPath) bool) (leafPath, error) {
	for _, c := range d.inUse(major) {
		for _, p := range d.leaves(c) {
			if like(p) {
				return p, nil
			}
		}
	}
	return leafPath{}, skip("no collection has %s", what)
}

// compare asks for a collection under filters and checks that exactly the records that
// satisfy the terms come back, in the order of the whole list.
func (x *exchange) compare(c collection, written []string, terms ...term) error {
	var want []string
	for _, r := range c.records {
		ok, err := matches(r, terms...)
		if err != nil {
			return fmt.Errorf("%s: %w", written, err)
		}
		if ok {
			want = append(want, text(r, c.key))
		}
	}
	return x.expect(c, written, want)
}

// expect asks for a collection under filters and checks which records come back.
func (x *exchange) expect(c collection, written, want []string) error {
	list, err := x.list(filtered(c.path, written...))
	if err != nil {
		return fmt.Errorf("filter %q: %w", written, err)
	}
	if got := ids(list, c.key); !slices.Equal(got, want) {
		return fmt.Errorf("%s under %q: %s", c.path, written, difference(got, want))
	}
	return nil
}

// difference says how a list of identifiers differs from what it should be.
func difference(got, want []string) string {
	var extra, missing []string
	for _, id := range got {
		if !slices.Contains(want, id) {
			extra = append(extra, id)
		}
	}
	for _, id := range want {
		if !slices.Contains(got, id) {
			missing = append(missing, id)
		}
	}
	if extra == nil && missing == nil {
		return fmt.Sprintf("%d records in another order or more than once, want %d: %v", len(got), len(want), got)
	}
	return fmt.Sprintf("%d records, want %d; too many: %v; missing: %v", len(got), len(want), few(extra), few(missing))
}

func few(list []string) []string {
	if len(list) > 3 {
		return append(slices.Clone(list[:3]), "…")
	}
	return list
}
