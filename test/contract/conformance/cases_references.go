package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// referenceCases: what a record refers to is there, and refers back where it should.
func referenceCases() []Case {
	return []Case{
		{ID: "INV-REF-01", Source: "SPEC InfrastructureInventory", Expect: "resourcePoolId of a resource and of its elements is the pool it is listed in", run: poolOfResources},
		{ID: "INV-REF-02", Source: "SPEC InfrastructureInventory", Expect: "resourceTypeId of every resource and element resolves", run: typesResolve},
		{ID: "INV-REF-03", Source: "SPEC InfrastructureInventory", Expect: "every resourceType is that of some resource or element, of a cluster, or of the O-Cloud", run: typesInUse},
		{ID: "INV-REF-04", Source: "SPEC InfrastructureInventory", Expect: "oCloudId of pools and deploymentManagers is that of the O-Cloud", run: cloudOf},
		{ID: "INV-REF-05", Source: "SPEC InfrastructureInventory", Expect: "oCloudSiteId of a pool resolves, and the site lists the pool", majors: onlyV2, run: siteOfPools},
		{ID: "INV-REF-06", Source: "SPEC InfrastructureInventory", Expect: "every pool that a site lists is there and names the site", majors: onlyV2, run: poolsOfSites},
		{ID: "INV-REF-07", Source: "SPEC InfrastructureInventory", Expect: "globalLocationId of a site resolves, and the location lists the site", majors: onlyV2, run: locationOfSites},
		{ID: "INV-REF-08", Source: "SPEC InfrastructureInventory", Expect: "every site that a location lists is there and names the location", majors: onlyV2, run: sitesOfLocations},
		{ID: "INV-REF-09", Source: "SPEC InfrastructureInventory", Expect: "supportedLocations are globalLocationIds of pools", run: supportedLocations},
		{ID: "INV-REF-10", Source: "SPEC InfrastructureInventory", Expect: "alarmDictionaryId resolves, and is that of the type's alarmDictionary", majors: onlyV2, run: dictionaryIDs},
		{ID: "INV-REF-11", Source: "SPEC InfrastructureInventory", Expect: "the embedded alarmDictionary is the one in the collection and below the type", majors: onlyV1, run: embeddedDictionaries},
		{ID: "INV-REF-12", Source: "SPEC InfrastructureInventory", Expect: "every alarmDictionary belongs to a resourceType; dictionary and definition ids are unique", run: dictionariesInUse},
		{ID: "INV-REF-13", Source: "SPEC InfrastructureInventory", Expect: "extensions.parentId of an element is another element of its server", run: parents},
		{ID: "INV-REF-14", Source: "api.md.5", Expect: "extensions.duplicateOf is a resource that is there", run: duplicates},
		{ID: "INV-REF-15", Source: "api.md.9; api.md", Expect: "v1 and v2 have the same records under the same identifiers", once: true, run: bothVersions},
		{ID: "INV-REF-16", Source: "api.md", Expect: "globalLocationId of a v1 pool is that of the v2 pool's site", once: true, run: locationsOfBoth},
	}
}

func poolOfResources(x *exchange) error {
	if _, err := x.found.pool(); err != nil {
		return err
	}
	var wrong faults
	for _, c := range x.found.resources {
		for _, r := range withElements(c.records) {
			if want := strings.Split(c.path, "/")[2]; text(r, "resourcePoolId") != want {
				wrong.add("resource %s: resourcePoolId %s, listed in %s", text(r, "resourceId"), text(r, "resourcePoolId"), want)
			}
		}
	}
	return wrong.err()
}

func typesResolve(x *exchange) error {
	if _, err := x.found.pool(); err != nil {
		return err
	}
	var wrong faults
	known := x.found.types.ids()
	for _, r := range withElements(x.found.servers()) {
		if id := text(r, "resourceTypeId"); !slices.Contains(known, id) {
			wrong.add("resource %s: resourceTypeId %s is not there", text(r, "resourceId"), id)
		}
	}
	return wrong.err()
}

func typesInUse(x *exchange) error {
	servers := x.found.servers()
	if len(servers) >= mostServers {
		return skip("there are more resources than were read")
	}
	if len(x.found.types.records) == 0 {
		return skip("there are no resourceTypes")
	}
	used := map[string]bool{}
	for _, r := range withElements(servers) {
		used[text(r, "resourceTypeId")] = true
	}
	var wrong faults
	for _, t := range x.found.types.records {
		extensions, _ := t["extensions"].(record)
		class := text(extensions, "class")
		if id := text(t, "resourceTypeId"); !used[id] && class != "cluster" && class != "o-cloud" {
			wrong.add("resourceType %s %q is nobody's", id, text(t, "name"))
		}
	}
	return wrong.err()
}

func cloudOf(x *exchange) error {
	want := text(x.found.cloud, "oCloudId")
	lists := []collection{x.found.managers}
	if x.major == "v1" {
		lists = append(lists, x.found.pools)
	}
	var wrong faults
	for _, c := range lists {
		for _, r := range c.records {
			if got := text(r, "oCloudId"); got != want {
				wrong.add("%s: oCloudId %q, want %s", c.single(text(r, c.key)), got, want)
			}
		}
	}
	return wrong.err()
}

// refers checks that each record of a has, under the attribute to, records of b that name it back.
func refers(a, b collection, to func(record) []string, back func(record) []string) error {
	if len(a.records) == 0 {
		return skip("there is nothing in %s", a.path)
	}
	var wrong faults
	tried := false
	for _, r := range a.records {
		for _, id := range to(r) {
			if id == "" {
				continue
			}
			tried = true
			other, there := find(b.records, b.key, id)
			switch {
			case !there:
				wrong.add("%s refers to %s, which is not there", a.single(text(r, a.key)), b.single(id))
			case !slices.Contains(back(other), text(r, a.key)):
				wrong.add("%s refers to %s, which does not refer to it", a.single(text(r, a.key)), b.single(id))
			}
		}
	}
	if err := wrong.err(); err != nil || tried {
		return err
	}
	return skip("nothing in %s refers to anything in %s", a.path, b.path)
}

func one(name string) func(record) []string {
	return func(r record) []string { return []string{text(r, name)} }
}

func several(name string) func(record) []string {
	return func(r record) []string { return texts(r, name) }
}

func siteOfPools(x *exchange) error {
	return refers(x.found.pools, x.found.sites, one("oCloudSiteId"), several("resourcePools"))
}

func poolsOfSites(x *exchange) error {
	return refers(x.found.sites, x.found.pools, several("resourcePools"), one("oCloudSiteId"))
}

func locationOfSites(x *exchange) error {
	return refers(x.found.sites, x.found.locations, one("globalLocationId"), several("oCloudSiteIds"))
}

func sitesOfLocations(x *exchange) error {
	return refers(x.found.locations, x.found.sites, several("oCloudSiteIds"), one("globalLocationId"))
}

func supportedLocations(x *exchange) error {
	known := ids(x.found.pools.records, "globalLocationId")
	if x.major != "v1" {
		known = x.found.locations.ids()
	}
	var wrong faults
	tried := false
	for _, m := range x.found.managers.records {
		for _, id := range texts(m, "supportedLocations") {
			tried = true
			if !slices.Contains(known, id) {
				wrong.add("deploymentManager %s: supported location %q is nowhere", text(m, "name"), id)
			}
		}
	}
	if !tried {
		return skip("no deploymentManager has a supported location")
	}
	return wrong.err()
}

func dictionaryIDs(x *exchange) error {
	var wrong faults
	tried := false
	for _, t := range x.found.types.sample() {
		id := text(t, "alarmDictionaryId")
		if id == "" {
			continue
		}
		tried = true
		if err := x.same(x.found.dictionaries.single(id), x.found.types.single(text(t, "resourceTypeId"))+"/alarmDictionary"); err != nil {
			wrong.add("%w", err)
		}
		if _, there := find(x.found.dictionaries.records, "alarmDictionaryId", id); !there {
			wrong.add("alarmDictionaryId %s of type %q is not in the collection", id, text(t, "name"))
		}
	}
	if !tried {
		return skip("no resourceType has an alarm dictionary")
	}
	return wrong.err()
}

func embeddedDictionaries(x *exchange) error {
	var wrong faults
	tried := false
	for _, t := range x.found.types.sample() {
		d, there := t["alarmDictionary"].(record)
		if !there {
			continue
		}
		tried = true
		id := text(d, "alarmDictionaryId")
		listed, there := find(x.found.dictionaries.records, "alarmDictionaryId", id)
		if !there || canonical(listed) != canonical(d) {
			wrong.add("the dictionary %s of type %q is not, or otherwise, in the collection", id, text(t, "name"))
		}
		o, err := x.object(x.found.types.single(text(t, "resourceTypeId")) + "/alarmDictionary")
		if err != nil {
			return err
		}
		if canonical(o) != canonical(d) {
			wrong.add("the dictionary of type %q is\n%s\nand embedded\n%s", text(t, "name"), canonical(o), canonical(d))
		}
	}
	if !tried {
		return skip("no resourceType has an alarm dictionary")
	}
	return wrong.err()
}

func dictionariesInUse(x *exchange) error {
	if len(x.found.dictionaries.records) == 0 {
		return skip("there are no alarm dictionaries")
	}
	used := map[string]bool{}
	for _, t := range x.found.types.records {
		used[text(t, "alarmDictionaryId")] = true
		if d, there := t["alarmDictionary"].(record); there {
			used[text(d, "alarmDictionaryId")] = true
		}
	}
	var wrong faults
	definitions := map[string]string{}
	for _, d := range x.found.dictionaries.records {
		id := text(d, "alarmDictionaryId")
		if !used[id] {
			wrong.add("alarmDictionary %s is no type's", id)
		}
		for _, definition := range objects(d, "alarmDefinition") {
			of := text(definition, "alarmDefinitionId")
			if other, taken := definitions[of]; taken {
				wrong.add("alarmDefinitionId %s is in %s and in %s", of, other, id)
			}
			definitions[of] = id
		}
	}
	return wrong.err()
}

func parents(x *exchange) error {
	var wrong faults
	tried := false
	for _, server := range x.found.servers() {
		elements := objects(server, "elements")
		for _, e := range elements {
			extensions, _ := e["extensions"].(record)
			parent := text(extensions, "parentId")
			if parent == "" {
				continue
			}
			tried = true
			if _, there := find(elements, "resourceId", parent); !there || parent == text(e, "resourceId") {
				wrong.add("element %s: parentId %s is no other element of its server", text(e, "resourceId"), parent)
			}
		}
	}
	if !tried {
		return skip("no element has a parent")
	}
	return wrong.err()
}

func duplicates(x *exchange) error {
	servers := x.found.servers()
	var wrong faults
	tried := false
	for _, server := range servers {
		extensions, _ := server["extensions"].(record)
		of := text(extensions, "duplicateOf")
		if of == "" {
			continue
		}
		tried = true
		if _, there := find(servers, "resourceId", of); !there && len(servers) < mostServers || of == text(server, "resourceId") {
			wrong.add("resource %s: duplicateOf %s is no other resource", text(server, "resourceId"), of)
		}
	}
	if !tried {
		return skip("no resource is a duplicate")
	}
	return wrong.err()
}

// two returns what v1 and v2 have, where both are served.
func (x *exchange) two() (v1, v2 *discovery, err error) {
	v1, v2 = x.run.found["v1"], x.run.found["v2"]
	if v1 == nil || v2 == nil {
		return nil, nil, skip("v1 and v2 are not both served")
	}
	return v1, v2, nil
}

func bothVersions(x *exchange) error {
	v1, v2, err := x.two()
	if err != nil {
		return err
	}
	var wrong faults
	if a, b := text(v1.cloud, "oCloudId"), text(v2.cloud, "oCloudId"); a != b {
		wrong.add("oCloudId %s in v1, %s in v2", a, b)
	}
	byPath := map[string]collection{}
	for _, c := range v2.all("v2") {
		byPath[c.path] = c
	}
	for _, c := range v1.all("v1") {
		if got, want := byPath[c.path].ids(), c.ids(); !slices.Equal(got, want) {
			wrong.add("%s of v2 beside v1: %s", c.path, difference(got, want))
		}
	}
	return wrong.err()
}

func locationsOfBoth(x *exchange) error {
	v1, v2, err := x.two()
	if err != nil {
		return err
	}
	if len(v1.pools.records) == 0 {
		return skip("there are no resource pools")
	}
	var wrong faults
	for _, p := range v1.pools.records {
		other, _ := find(v2.pools.records, "resourcePoolId", text(p, "resourcePoolId"))
		site, _ := find(v2.sites.records, "oCloudSiteId", text(other, "oCloudSiteId"))
		if got, want := text(p, "globalLocationId"), text(site, "globalLocationId"); got != want {
			wrong.add("pool %s: globalLocationId %q in v1, its site in v2 has %q", text(p, "name"), got, want)
		}
	}
	return wrong.err()
}

// conformanceCases are the rows of the O-RAN SC suite that are not cases elsewhere already.
func conformanceCases() []Case {
	must := func(id, source, expect, path string, of func(*exchange) (string, error), names ...string) Case {
		return Case{ID: id, Source: source, Expect: expect, majors: onlyV1, run: func(x *exchange) error {
			at := ""
			if of != nil {
				var err error
				if at, err = of(x); err != nil {
					return err
				}
			}
			return mustHave(x, at+path, names...)
		}}
	}
	types := func(x *exchange) (string, error) {
		if len(x.found.types.records) == 0 {
			return "", skip("there are no resourceTypes")
		}
		return "/resourceTypes", nil
	}
	pool := func(x *exchange) (string, error) {
		c, err := x.found.pool()
		return strings.TrimSuffix(c.path, "/resources"), err
	}
	resource := func(x *exchange) (string, error) {
		c, _, err := x.found.server()
		if err != nil {
			return "", err
		}
		return c.single(c.ids()[0]), nil
	}
	return []Case{
		must("INV-CNF-01", "CONF 7.3.2-s1", "GET /v1/ has oCloudId name description globalcloudId serviceUri", "/", nil, "oCloudId", "name", "description", "globalcloudId", "serviceUri"),
		must("INV-CNF-02", "CONF 7.3.2-s1", "GET /v1?all_fields has extensions, too", "?all_fields", nil, "oCloudId", "name", "description", "globalcloudId", "serviceUri", "extensions"),
		{ID: "INV-CNF-03", Source: "CONF 7.3.2-s3", Expect: "resourceTypes filtered by name is exactly the one type of that name", run: func(x *exchange) error {
			if _, err := types(x); err != nil {
				return err
			}
			name := text(x.found.types.records[0], "name")
			return x.compare(x.found.types, []string{term{op: "eq", path: []string{"name"}, values: []string{name}}.write(true)}, term{op: "eq", path: []string{"name"}, values: []string{name}})
		}},
		{ID: "INV-CNF-04", Source: "CONF 7.3.2-s5", Expect: "a single resourceType under all_fields has alarmDictionary with managementInterfaceId O2IMS", majors: onlyV1, run: func(x *exchange) error {
			path := x.dictionaryPath()
			if path == "" {
				return skip("no resourceType has an alarm dictionary")
			}
			o, err := x.object(strings.TrimSuffix(path, "/alarmDictionary") + "?all_fields")
			if err != nil {
				return err
			}
			d, _ := o["alarmDictionary"].(record)
			return isManagementInterface.check(d["managementInterfaceId"])
		}},
		must("INV-CNF-05", "CONF 7.3.2-s6", "resourcePools have resourcePoolId name description globalLocationId oCloudId", "/resourcePools", nil, "resourcePoolId", "name", "description", "globalLocationId", "oCloudId"),
		must("INV-CNF-06", "CONF 7.3.2-s8", "a pool under all_fields has location and extensions, too", "?all_fields", pool, "resourcePoolId", "name", "description", "globalLocationId", "oCloudId", "location", "extensions"),
		{ID: "INV-CNF-07", Source: "CONF 7.3.2-s10", Expect: "resources of a pool filtered by a resource type are those of that type", run: func(x *exchange) error {
			c, err := x.found.pool()
			if err != nil {
				return err
			}
			t := term{op: "eq", path: []string{"resourceTypeId"}, values: []string{text(c.records[0], "resourceTypeId")}}
			return x.compare(c, []string{t.write(false)}, t)
		}},
		must("INV-CNF-08", "CONF 7.3.2-s11", "resources under exclude_default have resourceId resourcePoolId resourceTypeId description", "/resources?exclude_default", pool, "resourceId", "resourcePoolId", "resourceTypeId", "description"),
		must("INV-CNF-09", "CONF 7.3.2-s13", "a resource under all_fields has elements, globalAssetId and extensions", "?all_fields", resource, "resourceId", "resourcePoolId", "resourceTypeId", "description", "elements", "globalAssetId", "extensions"),
		must("INV-CNF-10", "CONF 7.3.5-s5", "resourceTypes?fields=name,description keep what is mandatory", "?fields=name,description", types, "resourceTypeId", "name", "description", "vendor", "model", "version"),
		must("INV-CNF-11", "CONF 7.3.5-s5", "resourceTypes?fields=extensions have extensions, resourceTypeId and name", "?fields=extensions", types, "resourceTypeId", "name", "extensions"),
		{ID: "INV-CNF-12", Source: "CONF 7.3.5-s5; api.md", Expect: "resourceTypes?exclude_fields=extensions have alarmDictionary as an object", majors: onlyV1, run: excludeKeepsDictionary},
		must("INV-CNF-13", "CONF 7.3.5-s5", "resourceTypes?exclude_default have resourceTypeId name description vendor model version", "?exclude_default", types, "resourceTypeId", "name", "description", "vendor", "model", "version"),
		must("INV-CNF-14", "CONF 7.3.5-s5", "resourceTypes?all_fields have extensions, too", "?all_fields", types, "resourceTypeId", "name", "description", "vendor", "model", "version", "extensions"),
		{ID: "INV-CNF-15", Source: "CONF 7.3.5-s3", Expect: "nextpage_opaque_marker=2 on a list of resources is 200 with at least one element", run: func(x *exchange) error {
			c, err := x.found.pool()
			if err != nil {
				return err
			}
			a, err := x.get(c.path + "?nextpage_opaque_marker=2")
			if err != nil {
				return err
			}
			if err := a.want(200); err != nil {
				return err
			}
			list, err := a.list()
			if err == nil && len(list) == 0 {
				err = fmt.Errorf("%s: no element", a.call)
			}
			return err
		}},
		{ID: "INV-CNF-16", Source: "CONF 7.3.10", Expect: "deploymentManagers filtered by (cont,name,…) are those that contain it", run: func(x *exchange) error {
			if len(x.found.managers.records) == 0 {
				return skip("there are no deploymentManagers")
			}
			name := text(x.found.managers.records[0], "name")
			t := term{op: "cont", path: []string{"name"}, values: []string{name[:(len(name)+1)/2]}}
			return x.compare(x.found.managers, []string{t.write(false)}, t)
		}},
		must("INV-CNF-17", "CONF 7.3.10", "deploymentManagers have what is required", "/deploymentManagers", nil, "deploymentManagerId", "name", "description", "oCloudId", "serviceUri", "supportedLocations", "capabilities", "capacity"),
		{ID: "INV-CNF-18", Source: "CONF 7.3.7-s1", Expect: "(eq,WrongAttrName,anyvalue) is 400 on every collection", run: func(x *exchange) error {
			var wrong faults
			for _, c := range x.found.all(x.major) {
				if err := x.status(filtered(c.path, "(eq,WrongAttrName,anyvalue)"), 400); err != nil {
					wrong.add("%w", err)
				}
			}
			return wrong.err()
		}},
		{ID: "INV-CNF-19", Source: "CONF 7.3.7-s2", Expect: "fields=(…,WrongAttrName) is 400 on every collection and on the O-Cloud", run: func(x *exchange) error {
			var wrong faults
			paths := []string{""}
			for _, c := range x.found.all(x.major) {
				paths = append(paths, c.path)
			}
			for _, path := range paths {
				if err := x.status(path+"?fields=(name,WrongAttrName)", 400); err != nil {
					wrong.add("%w", err)
				}
			}
			return wrong.err()
		}},
	}
}

// mustHave checks that a record, or every record of a list that is not empty, has attributes.
func mustHave(x *exchange, path string, names ...string) error {
	a, err := x.get(path)
	if err != nil {
		return err
	}
	if err := a.want(200); err != nil {
		return err
	}
	v, err := a.value()
	if err != nil {
		return err
	}
	list := []record{}
	if o, is := v.(record); is {
		list = append(list, o)
	} else if list, err = a.list(); err != nil {
		return err
	}
	if len(list) == 0 {
		return skip("%s: the list is empty", a.call)
	}
	var wrong faults
	for _, r := range list {
		if missing := lacks(r, names...); missing != nil {
			wrong.add("%s: %v missing in %s", a.call, missing, excerpt([]byte(canonical(r))))
		}
	}
	return wrong.err()
}

func excludeKeepsDictionary(x *exchange) error {
	if x.dictionaryPath() == "" {
		return skip("no resourceType has an alarm dictionary")
	}
	list, err := x.list("/resourceTypes?exclude_fields=extensions")
	if err != nil {
		return err
	}
	var wrong faults
	for _, whole := range x.found.types.records {
		if whole["alarmDictionary"] == nil {
			continue
		}
		r, _ := find(list, "resourceTypeId", text(whole, "resourceTypeId"))
		if canonical(r["alarmDictionary"]) != canonical(whole["alarmDictionary"]) {
			wrong.add("type %q: alarmDictionary is %s", text(whole, "name"), kind(r["alarmDictionary"]))
		}
		if _, there := r["extensions"]; there {
			wrong.add("type %q has extensions", text(whole, "name"))
		}
	}
	return wrong.err()
}
