package conformance

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// attribute is one row of a type's table in the standard.
type attribute struct {
	name      string
	mandatory bool
	good      form
	majors    []string // nil: all
	source    string   // "" is the table's own
}

// table is a type with its attributes.
type table struct {
	group  string
	source string
	of     func(x *exchange) []record
	rows   []attribute
}

// attributeCases has one case for each attribute of each type, made from the tables, and the
// cases about all types.
func attributeCases() []Case {
	var list []Case
	for _, t := range tables() {
		for i, row := range t.rows {
			source, expect := row.source, row.name+" is "+describe(row)
			if source == "" {
				source = t.source
			}
			list = append(list, Case{
				ID: fmt.Sprintf("INV-%s-%02d", t.group, i+1), Source: source, Expect: expect, majors: row.majors,
				run: func(x *exchange) error { return checkAttribute(t.of(x), row) },
			})
		}
	}
	return append(list,
		Case{ID: "INV-ALL-01", Source: "SOL013 5.4", Expect: "identifiers are unique in every collection", run: unique},
		Case{ID: "INV-ALL-02", Source: "SPEC InfrastructureInventory", Expect: "identifiers are the same when read again", run: stable},
		Case{ID: "INV-ALL-03", Source: "SPEC 3.2.6", Expect: "a record alone is the same as in its list, under all_fields", run: singleAsInList},
		Case{ID: "INV-ALL-04", Source: "api.md.5; SPEC InfrastructureInventory", Expect: "every element of a server is addressable in the server's pool, and is the same there", run: elementsAddressable},
		Case{ID: "INV-ALL-05", Source: "api.md", Expect: "elements are no rows of the list of resources", run: elementsNoRows},
		Case{ID: "INV-ALL-06", Source: "api.md", Expect: "no record has an attribute of the other version", run: otherVersion},
		Case{ID: "INV-LOC-09", Source: "SPEC InfrastructureInventory", Expect: "a location has at least one of coordinate, civicAddress and address", majors: onlyV2, run: somewhere},
	)
}

func describe(a attribute) string {
	if a.mandatory {
		return "there, " + a.good.what
	}
	return "absent or " + a.good.what
}

func tables() []table {
	one := func(of func(*discovery) record) func(*exchange) []record {
		return func(x *exchange) []record {
			if r := of(x.found); r != nil {
				return []record{r}
			}
			return nil
		}
	}
	many := func(of func(*discovery) collection) func(*exchange) []record {
		return func(x *exchange) []record { return of(x.found).records }
	}
	return []table{
		{"CLD", "SPEC InfrastructureInventory", one(func(d *discovery) record { return d.cloud }), []attribute{
			{name: "oCloudId", mandatory: true, good: isID},
			{name: "globalCloudId", good: isID},
			{name: "globalcloudId", good: isID, majors: onlyV1, source: "SPEC InfrastructureInventory; CONF 7.3.2-s1"},
			{name: "name", mandatory: true, good: isName},
			{name: "description", mandatory: true, good: isText},
			{name: "serviceUri", mandatory: true, good: isServiceURI, source: "SPEC InfrastructureInventory; CONF 7.3.2-s1"},
			{name: "extensions", mandatory: true, good: isMap},
		}},
		{"LOC", "SPEC 3.2.6.2.16; SPEC InfrastructureInventory", many(func(d *discovery) collection { return d.locations }), in(onlyV2,
			attribute{name: "globalLocationId", mandatory: true, good: isName},
			attribute{name: "name", mandatory: true, good: isName},
			attribute{name: "description", mandatory: true, good: isText},
			attribute{name: "oCloudSiteIds", mandatory: true, good: isIDs},
			attribute{name: "coordinate", good: isPoint},
			attribute{name: "civicAddress", good: isCivicAddress},
			attribute{name: "address", good: isText},
			attribute{name: "extensions", mandatory: true, good: isMap},
		)},
		{"SIT", "SPEC 3.2.6.2.17; SPEC InfrastructureInventory", many(func(d *discovery) collection { return d.sites }), in(onlyV2,
			attribute{name: "oCloudSiteId", mandatory: true, good: isID},
			attribute{name: "globalLocationId", mandatory: true, good: isText},
			attribute{name: "name", mandatory: true, good: isName},
			attribute{name: "description", mandatory: true, good: isText},
			attribute{name: "resourcePools", mandatory: true, good: isIDs},
			attribute{name: "extensions", mandatory: true, good: isMap},
		)},
		{"POL", "SPEC 3.2.6.2.5; SPEC InfrastructureInventory", many(func(d *discovery) collection { return d.pools }), []attribute{
			{name: "resourcePoolId", mandatory: true, good: isID},
			{name: "name", mandatory: true, good: isName},
			{name: "description", mandatory: true, good: isText},
			{name: "oCloudSiteId", mandatory: true, good: isID, majors: onlyV2},
			{name: "oCloudId", mandatory: true, good: isID, majors: onlyV1},
			{name: "globalLocationId", mandatory: true, good: isText, majors: onlyV1},
			{name: "location", mandatory: true, good: isText, majors: onlyV1, source: "SPEC InfrastructureInventory; CONF 7.3.2-s8"},
			{name: "extensions", mandatory: true, good: isMap, source: "SPEC InfrastructureInventory; CONF 7.3.2-s8"},
		}},
		{"TYP", "SPEC InfrastructureInventory", many(func(d *discovery) collection { return d.types }), []attribute{
			{name: "resourceTypeId", mandatory: true, good: isID},
			{name: "name", mandatory: true, good: isTypeName, source: "SPEC InfrastructureInventory"},
			{name: "description", mandatory: true, good: isText},
			{name: "vendor", mandatory: true, good: isText},
			{name: "model", mandatory: true, good: isText},
			{name: "version", mandatory: true, good: isText},
			{name: "resourceKind", mandatory: true, good: isKind},
			{name: "resourceClass", mandatory: true, good: isClass},
			{name: "extensions", mandatory: true, good: isMap},
			{name: "alarmDictionaryId", good: isID, majors: onlyV2},
			{name: "alarmDictionary", good: isDictionary, majors: onlyV1, source: "SPEC InfrastructureInventory; CONF 7.3.2-s5"},
		}},
		{"RES", "SPEC InfrastructureInventory", func(x *exchange) []record { return withElements(x.found.servers()) }, []attribute{
			{name: "resourceId", mandatory: true, good: isID},
			{name: "resourcePoolId", mandatory: true, good: isID},
			{name: "resourceTypeId", mandatory: true, good: isID},
			{name: "globalAssetId", mandatory: true, good: isText},
			{name: "description", mandatory: true, good: isText},
			{name: "elements", mandatory: true, good: isObjects, source: "SPEC InfrastructureInventory"},
			{name: "tags", mandatory: true, good: isTexts, source: "SPEC InfrastructureInventory"},
			{name: "groups", mandatory: true, good: isTexts, source: "SPEC InfrastructureInventory"},
			{name: "extensions", mandatory: true, good: isMap},
		}},
		{"SRV", "SPEC InfrastructureInventory", func(x *exchange) []record { return extensionsOf(x.found.servers()) }, []attribute{
			{name: "adminState", mandatory: true, good: isAdminState},
			{name: "operationalState", mandatory: true, good: isOperationalState},
			{name: "usageState", mandatory: true, good: isUsageState},
			{name: "labels", mandatory: true, good: isMap},
			{name: "vendor", good: isText},
			{name: "model", good: isText},
			{name: "memory", good: isMemory},
			{name: "processors", mandatory: true, good: isObjects},
			{name: "nics", mandatory: true, good: isMap},
			{name: "storage", mandatory: true, good: isMap},
		}},
		{"DMS", "SPEC InfrastructureInventory", many(func(d *discovery) collection { return d.managers }), []attribute{
			{name: "deploymentManagerId", mandatory: true, good: isID},
			{name: "name", mandatory: true, good: isName},
			{name: "description", mandatory: true, good: isText},
			{name: "oCloudId", mandatory: true, good: isID},
			{name: "serviceUri", mandatory: true, good: isText},
			{name: "supportedLocations", mandatory: true, good: isNames, source: "SPEC InfrastructureInventory; CONF 7.3.10"},
			{name: "capabilities", mandatory: true, good: isMap, source: "SPEC InfrastructureInventory; CONF 7.3.10"},
			{name: "capacity", mandatory: true, good: isCapacity, source: "SPEC InfrastructureInventory; CONF 7.3.10"},
			{name: "extensions", mandatory: true, good: isManagerExtensions},
		}},
		{"DIC", "SPEC InfrastructureInventory", many(func(d *discovery) collection { return d.dictionaries }), dictionaryRows()},
	}
}

func dictionaryRows() []attribute {
	return []attribute{
		{name: "alarmDictionaryId", mandatory: true, good: isID},
		{name: "alarmDictionaryVersion", mandatory: true, good: isText},
		{name: "alarmDictionarySchemaVersion", mandatory: true, good: isName, source: "SPEC InfrastructureInventory"},
		{name: "entityType", mandatory: true, good: isName},
		{name: "vendor", mandatory: true, good: isText},
		{name: "managementInterfaceId", mandatory: true, good: isManagementInterface, source: "SPEC InfrastructureInventory; CONF 7.3.2-s5"},
		{name: "pkNotificationField", mandatory: true, good: isNames},
		{name: "alarmDefinition", mandatory: true, good: isDefinitions},
		{name: "probableCauses", mandatory: true, good: isCauses, source: "SPEC AlarmDictionary"},
	}
}

func in(majors []string, rows ...attribute) []attribute {
	for i := range rows {
		rows[i].majors = majors
	}
	return rows
}

// withElements are records and all that are nested in them.
func withElements(list []record) []record {
	var all []record
	for _, r := range list {
		all = append(append(all, r), withElements(objects(r, "elements"))...)
	}
	return all
}

func extensionsOf(list []record) []record {
	var all []record
	for _, r := range list {
		e, _ := r["extensions"].(record)
		all = append(all, e)
	}
	return all
}

// checkAttribute checks one attribute of all records. An optional attribute that no record
// has cannot be judged.
func checkAttribute(list []record, a attribute) error {
	if len(list) == 0 {
		return skip("there is no record of this type")
	}
	var wrong faults
	with := 0
	for _, r := range list {
		v, there := r[a.name]
		if !there {
			if a.mandatory {
				wrong.add("%s is missing in %s", a.name, excerpt([]byte(canonical(r))))
			}
			continue
		}
		with++
		if err := a.good.check(v); err != nil {
			wrong.add("%s: %w in %s", a.name, err, excerpt([]byte(canonical(r))))
		}
	}
	if with == 0 && !a.mandatory {
		return skip("no record has %s", a.name)
	}
	return wrong.err()
}

func unique(x *exchange) error {
	var wrong faults
	for _, c := range x.found.inUse(x.major) {
		seen := map[string]bool{}
		for _, id := range c.ids() {
			if seen[id] {
				wrong.add("%s: %s %s is there more than once", c.path, c.key, id)
			}
			seen[id] = true
		}
	}
	seen := map[string]bool{}
	for _, r := range withElements(x.found.servers()) {
		id := text(r, "resourceId")
		if seen[id] {
			wrong.add("resourceId %s is there more than once, in one pool, in two, or as an element", id)
		}
		seen[id] = true
	}
	return wrong.err()
}

func stable(x *exchange) error {
	var wrong faults
	for _, c := range x.found.inUse(x.major) {
		list, err := x.list(c.path)
		if err != nil {
			return err
		}
		if got := ids(list, c.key); !slices.Equal(got, c.ids()) {
			wrong.add("%s: %s", c.path, difference(got, c.ids()))
		}
	}
	return wrong.err()
}

func singleAsInList(x *exchange) error {
	var wrong faults
	for _, c := range x.found.inUse(x.major) {
		for _, r := range c.sample() {
			o, err := x.object(c.single(url.PathEscape(text(r, c.key))) + "?all_fields")
			if err != nil {
				wrong.add("%w", err)
			} else if canonical(o) != canonical(r) {
				wrong.add("%s is\n%s\nand in the list\n%s", c.single(text(r, c.key)), canonical(o), canonical(r))
			}
		}
	}
	return wrong.err()
}

func elementsAddressable(x *exchange) error {
	c, server, err := x.found.server()
	if err != nil {
		return err
	}
	var wrong faults
	for _, e := range objects(server, "elements") {
		o, err := x.object(c.single(text(e, "resourceId")) + "?all_fields")
		if err != nil {
			wrong.add("%w", err)
		} else if canonical(o) != canonical(e) {
			wrong.add("element %s is\n%s\nand in its server\n%s", text(e, "resourceId"), canonical(o), canonical(e))
		}
	}
	return wrong.err()
}

func elementsNoRows(x *exchange) error {
	if _, _, err := x.found.server(); err != nil {
		return err
	}
	var wrong faults
	for _, c := range x.found.resources {
		for _, r := range c.records {
			for _, e := range objects(r, "elements") {
				if _, row := find(c.records, "resourceId", text(e, "resourceId")); row {
					wrong.add("%s: element %s is a row", c.path, text(e, "resourceId"))
				}
			}
		}
	}
	return wrong.err()
}

// others are the attributes that only the other version has.
var others = map[string]map[string][]string{
	"v1": {"resourcePools": {"oCloudSiteId"}, "resourceTypes": {"alarmDictionaryId"}},
	"v2": {"resourcePools": {"oCloudId", "globalLocationId", "location"}, "resourceTypes": {"alarmDictionary"}, "": {"globalcloudId"}},
}

func otherVersion(x *exchange) error {
	var wrong faults
	check := func(path string, r record) {
		for _, name := range others[x.major][path] {
			if _, there := r[name]; there {
				wrong.add("/%s has %s, which %s does not", path, name, x.major)
			}
		}
	}
	check("", x.found.cloud)
	for _, c := range x.found.inUse(x.major) {
		for _, r := range c.records {
			check(strings.TrimPrefix(c.path, "/"), r)
		}
	}
	return wrong.err()
}

func somewhere(x *exchange) error {
	if len(x.found.locations.records) == 0 {
		return skip("there are no locations")
	}
	for _, l := range x.found.locations.records {
		if len(lacks(l, "coordinate", "civicAddress", "address")) == 3 {
			return fmt.Errorf("location %s is nowhere: %s", text(l, "globalLocationId"), canonical(l))
		}
	}
	return nil
}

// number returns a JSON number's value.
func number(v any) (float64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return f, err == nil
}
