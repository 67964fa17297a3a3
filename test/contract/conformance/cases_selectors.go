package conformance

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// mandatory are the attributes that no selector can remove, by collection and version. The
// identifier is one of them everywhere.
var mandatory = map[string]map[string][]string{
	"v1": {
		"":                    {"oCloudId", "name", "description", "serviceUri"},
		"deploymentManagerId": {"name", "description", "oCloudId", "serviceUri", "supportedLocations", "capabilities", "capacity"},
		"resourceTypeId":      {"name", "description", "vendor", "model", "version", "resourceKind", "resourceClass"},
		"alarmDictionaryId":   {"alarmDictionaryVersion", "alarmDictionarySchemaVersion", "entityType", "vendor", "managementInterfaceId", "pkNotificationField", "alarmDefinition", "probableCauses"},
		"resourcePoolId":      {"name", "description", "oCloudId", "globalLocationId"},
		"resourceId":          {"resourcePoolId", "resourceTypeId", "globalAssetId", "description", "tags", "groups", "extensions"},
	},
	"v2": {
		"":                    {"oCloudId", "name", "description", "serviceUri", "extensions"},
		"deploymentManagerId": {"name", "description", "oCloudId", "serviceUri", "supportedLocations", "capabilities", "capacity"},
		"resourceTypeId":      {"name", "description", "vendor", "model", "version", "resourceKind", "resourceClass", "extensions"},
		"alarmDictionaryId":   {"alarmDictionaryVersion", "alarmDictionarySchemaVersion", "entityType", "vendor", "managementInterfaceId", "pkNotificationField", "alarmDefinition", "probableCauses"},
		"resourcePoolId":      {"name", "description", "oCloudSiteId"},
		"resourceId":          {"resourcePoolId", "resourceTypeId", "globalAssetId", "description", "tags", "groups", "extensions"},
		"globalLocationId":    {"name", "description", "oCloudSiteIds", "extensions"},
		"oCloudSiteId":        {"globalLocationId", "name", "description", "resourcePools", "extensions"},
	},
}

// freeForm are maps whose keys the standards leave open. Where such a map is mandatory its
// keys are still optional: one that is not selected may be whole or empty, but not gone.
var freeForm = []string{"extensions", "capabilities", "capacity"}

// leftOut are the attributes that lists leave out by default.
//
// Source: SOL013 5.3 (default-exclude sets); api.md for elements.
var leftOut = map[string]map[string][]string{
	"v1": {"deploymentManagerId": {"extensions"}, "resourceTypeId": {"alarmDictionary", "extensions"}, "resourcePoolId": {"location", "extensions"}, "resourceId": {"elements"}},
	"v2": {"deploymentManagerId": {"extensions"}, "resourcePoolId": {"extensions"}, "resourceId": {"elements"}},
}

func selectorCases() []Case {
	return []Case{
		{ID: "INV-SEL-01", Source: "SOL013 5.3", Expect: "without selectors a list is as under exclude_default", run: onLists(func(x *exchange, c collection) error {
			return x.same(c.path, c.path+"?exclude_default")
		})},
		{ID: "INV-SEL-02", Source: "SOL013 5.3", Expect: "lists leave out by default what the default-exclude sets name, and nothing else", run: onLists(defaults)},
		{ID: "INV-SEL-03", Source: "SOL013 5.3", Expect: "all_fields is a flag: without value, with true, with anything", run: onLists(func(x *exchange, c collection) error {
			for _, value := range []string{"=", "=true", "=false", "=x"} {
				if err := x.same(c.path+"?all_fields", c.path+"?all_fields"+value); err != nil {
					return err
				}
			}
			return nil
		})},
		{ID: "INV-SEL-04", Source: "SOL013 5.3", Expect: "all_fields wins over every other selector", run: onLists(func(x *exchange, c collection) error {
			for _, other := range []string{"fields=" + c.key, "exclude_fields=" + c.key, "exclude_default", "fields=" + c.key + "&exclude_fields=" + c.key, "exclude_default&exclude_fields=" + c.key} {
				if err := x.same(c.path+"?all_fields", c.path+"?"+other+"&all_fields"); err != nil {
					return err
				}
			}
			return nil
		})},
		{ID: "INV-SEL-05", Source: "SOL013 5.3", Expect: "fields keeps what is mandatory and what is listed, and drops the rest", run: onLists(chosenFields)},
		{ID: "INV-SEL-06", Source: "SOL013 5.3", Expect: "fields takes paths: only that part of a free-form map is kept", run: fieldPaths},
		{ID: "INV-SEL-07", Source: "SOL013 5.3", Expect: "exclude_fields drops what is listed and keeps the rest", run: onLists(excludedFields)},
		{ID: "INV-SEL-08", Source: "SOL013 5.3", Expect: "exclude_fields takes paths: only that part of a free-form map is dropped", run: excludedPaths},
		{ID: "INV-SEL-09", Source: "SOL013 5.3", Expect: "exclude_fields never removes what is mandatory", run: onLists(func(x *exchange, c collection) error {
			names := append([]string{c.key}, mandatory[x.major][c.key]...)
			list, err := x.list(c.path + "?exclude_fields=" + strings.Join(names, ","))
			if err != nil {
				return err
			}
			for _, r := range list {
				if missing := lacks(r, names...); missing != nil {
					return fmt.Errorf("%s: %v are gone", c.path, missing)
				}
			}
			return nil
		})},
		{ID: "INV-SEL-10", Source: "SOL013 5.3", Expect: "fields with exclude_fields is 400", run: onEvery("fields=%s&exclude_fields=%s", http.StatusBadRequest)},
		{ID: "INV-SEL-11", Source: "SOL013 5.3", Expect: "exclude_fields with exclude_default is 400", run: onEvery("exclude_fields=%s&exclude_default", http.StatusBadRequest)},
		{ID: "INV-SEL-12", Source: "SOL013 5.3", Expect: "fields with exclude_default: the default set is left out but for what is listed", run: fieldsWithDefault},
		{ID: "INV-SEL-13", Source: "SOL013 5.3; CONF 7.3.7-s2", Expect: "unknown names are 400, in fields and in exclude_fields", run: func(x *exchange) error {
			var wrong faults
			for _, path := range x.selectable() {
				for _, q := range []string{"fields=wrongAttrName", "exclude_fields=wrongAttrName", "fields=name,wrongAttrName", "exclude_fields=name/x", "fields=(name)", "exclude_fields=Name"} {
					if err := x.status(path+"?"+q, http.StatusBadRequest); err != nil {
						wrong.add("%w", err)
					}
				}
			}
			return wrong.err()
		}},
		{ID: "INV-SEL-14", Source: "SOL013 5.3", Expect: "empty lists are as no selector", run: onLists(func(x *exchange, c collection) error {
			for _, q := range []string{"fields=", "exclude_fields="} {
				if err := x.same(c.path, c.path+"?"+q); err != nil {
					return err
				}
			}
			return nil
		})},
		{ID: "INV-SEL-15", Source: "SOL013 5.3", Expect: "below a free-form map any name is good", run: func(x *exchange) error {
			var wrong faults
			for _, path := range x.selectable() {
				if strings.Contains(path, "alarmDictionar") {
					continue
				}
				for _, q := range []string{"fields=extensions/no~1such.key/deeper", "exclude_fields=extensions/no-such-key"} {
					if err := x.status(path+"?"+q, http.StatusOK); err != nil {
						wrong.add("%w", err)
					}
				}
			}
			return wrong.err()
		}},
		{ID: "INV-SEL-16", Source: "; SOL013 5.3", Expect: "selectors work on single objects", run: singleSelectors},
		{ID: "INV-SEL-17", Source: "SOL013 5.3; SPEC InfrastructureInventory", Expect: "selectors work on the O-Cloud", run: cloudSelectors},
		{ID: "INV-SEL-18", Source: "api.md", Expect: "fields=elements brings the elements of a list, whole", run: listedElements},
		{ID: "INV-SEL-19", Source: "api.md", Expect: "a single resource carries its elements without being asked", run: func(x *exchange) error {
			c, server, err := x.found.server()
			if err != nil {
				return err
			}
			o, err := x.object(c.single(text(server, "resourceId")))
			if err != nil {
				return err
			}
			if got, want := len(objects(o, "elements")), len(objects(server, "elements")); got != want {
				return fmt.Errorf("%d elements, want %d", got, want)
			}
			return nil
		}},
		{ID: "INV-SEL-20", Source: "SOL013 5.3", Expect: "selectors change no value of what they leave", run: onLists(func(x *exchange, c collection) error {
			list, err := x.list(c.path)
			if err != nil {
				return err
			}
			return subset(c, list)
		})},
		{ID: "INV-SEL-21", Source: "SOL013 5.3; api.md", Expect: "exclude_fields starts from everything but elements: what is left out by default is there", run: onLists(func(x *exchange, c collection) error {
			if c.key == "alarmDictionaryId" {
				return nil // it has no extensions
			}
			list, err := x.list(c.path + "?exclude_fields=extensions/no-such-key")
			if err != nil {
				return err
			}
			for i, r := range list {
				whole := maps.Clone(c.records[i])
				delete(whole, "elements")
				if got, want := canonical(r), canonical(whole); got != want {
					return fmt.Errorf("%s?exclude_fields=extensions/no-such-key:\n%s\nwant\n%s", c.path, excerpt([]byte(got)), excerpt([]byte(want)))
				}
			}
			return nil
		})},
	}
}

// onLists tries something on every collection that has records.
func onLists(f func(x *exchange, c collection) error) func(*exchange) error {
	return func(x *exchange) error {
		lists := x.found.inUse(x.major)
		if len(lists) == 0 {
			return skip("there are no records")
		}
		var wrong faults
		for _, c := range lists {
			if err := f(x, c); err != nil {
				wrong.add("%w", err)
			}
		}
		return wrong.err()
	}
}

// selectable are paths that take selectors: the O-Cloud, lists, and single objects.
func (x *exchange) selectable() []string {
	paths := []string{""}
	for _, c := range x.found.all(x.major) {
		paths = append(paths, c.path)
		if len(c.records) > 0 {
			paths = append(paths, c.single(url.PathEscape(c.ids()[0])))
		}
	}
	return paths
}

// onEvery wants a status for a query on every collection and one record of each; %s stands
// for an attribute that is there.
func onEvery(format string, status int) func(*exchange) error {
	return func(x *exchange) error {
		var wrong faults
		for _, c := range x.found.inUse(x.major) {
			q := "?" + strings.ReplaceAll(format, "%s", c.key)
			for _, path := range []string{c.path, c.single(url.PathEscape(c.ids()[0]))} {
				if err := x.status(path+q, status); err != nil {
					wrong.add("%w", err)
				}
			}
		}
		if err := x.status("?"+strings.ReplaceAll(format, "%s", "name"), status); err != nil {
			wrong.add("O-Cloud: %w", err)
		}
		return wrong.err()
	}
}

// optional are the attributes of a record that are not mandatory.
func (x *exchange) optional(c collection, r record) []string {
	var names []string
	for name := range r {
		if name != c.key && !slices.Contains(mandatory[x.major][c.key], name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// subset checks that records have nothing that the whole records do not have. Where
// something is selected, mandatory free-form maps may be empty.
func subset(c collection, list []record, mayBeEmpty ...string) error {
	for _, r := range list {
		whole, there := find(c.records, c.key, text(r, c.key))
		if !there {
			return fmt.Errorf("%s: %s is new", c.path, text(r, c.key))
		}
		for name, v := range r {
			if slices.Contains(mayBeEmpty, name) && canonical(v) == "{}" {
				continue
			}
			if canonical(v) != canonical(whole[name]) {
				return fmt.Errorf("%s: %s of %s is %s, want %s", c.path, name, text(r, c.key), excerpt([]byte(canonical(v))), excerpt([]byte(canonical(whole[name]))))
			}
		}
	}
	return nil
}

// exactly checks that each record of a list has those attributes of its whole that keep
// wants, and no other.
func exactly(c collection, list []record, keep func(name string) bool, mayBeEmpty ...string) error {
	if len(list) != len(c.records) {
		return fmt.Errorf("%s: %d records, want %d", c.path, len(list), len(c.records))
	}
	if err := subset(c, list, mayBeEmpty...); err != nil {
		return err
	}
	for _, r := range list {
		whole, _ := find(c.records, c.key, text(r, c.key))
		for name := range whole {
			if _, there := r[name]; there != keep(name) {
				return fmt.Errorf("%s: %s of %s is there: %t, want %t", c.path, name, text(r, c.key), there, keep(name))
			}
		}
	}
	return nil
}

func defaults(x *exchange, c collection) error {
	list, err := x.list(c.path)
	if err != nil {
		return err
	}
	return exactly(c, list, func(name string) bool { return !slices.Contains(leftOut[x.major][c.key], name) })
}

func chosenFields(x *exchange, c collection) error {
	keep := append([]string{c.key}, mandatory[x.major][c.key]...)
	chosen := append([]string{""}, x.optional(c, c.records[0])...)
	for _, name := range chosen {
		fields := c.key
		if name != "" {
			fields += "," + name
		}
		list, err := x.list(c.path + "?fields=" + fields)
		if err != nil {
			return err
		}
		if err := exactly(c, list, func(n string) bool { return n == name || slices.Contains(keep, n) }, unlessListed(name)...); err != nil {
			return fmt.Errorf("fields=%s: %w", fields, err)
		}
	}
	return nil
}

// unlessListed are the maps that may be empty when a client lists one attribute.
func unlessListed(name string) []string {
	return slices.DeleteFunc(slices.Clone(freeForm), func(n string) bool { return n == name })
}

func excludedFields(x *exchange, c collection) error {
	for _, name := range x.optional(c, c.records[0]) {
		list, err := x.list(c.path + "?exclude_fields=" + name)
		if err != nil {
			return err
		}
		if err := exactly(c, list, func(n string) bool { return n != name && n != "elements" }); err != nil {
			return fmt.Errorf("exclude_fields=%s: %w", name, err)
		}
	}
	return nil
}

// mapped returns a collection whose records have a free-form map with at least two keys, and
// such a record.
func (x *exchange) mapped() (collection, record, string, string, error) {
	for _, c := range x.found.inUse(x.major) {
		for _, r := range c.records {
			for _, name := range freeForm {
				if m, ok := r[name].(record); ok && len(m) > 1 {
					for _, key := range slices.Sorted(keysIn(m)) {
						if writable([]string{key}) && !isArray(m[key]) {
							return c, r, name, key, nil
						}
					}
				}
			}
		}
	}
	return collection{}, nil, "", "", skip("no record has a free-form map of two keys")
}

func isArray(v any) bool {
	_, is := v.([]any)
	return is
}

func keysIn(m record) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

func fieldPaths(x *exchange) error {
	c, r, name, key, err := x.mapped()
	if err != nil {
		return err
	}
	list, err := x.list(c.path + query("fields="+joined([]string{name, key})))
	if err != nil {
		return err
	}
	got, _ := find(list, c.key, text(r, c.key))
	want := record{key: r[name].(record)[key]}
	if canonical(got[name]) != canonical(want) {
		return fmt.Errorf("%s?fields=%s/%s: %s is %s, want %s", c.path, name, key, name, canonical(got[name]), canonical(want))
	}
	return nil
}

func excludedPaths(x *exchange) error {
	c, r, name, key, err := x.mapped()
	if err != nil {
		return err
	}
	list, err := x.list(c.path + query("exclude_fields="+joined([]string{name, key})))
	if err != nil {
		return err
	}
	got, _ := find(list, c.key, text(r, c.key))
	want := record{}
	for k, v := range r[name].(record) {
		if k != key {
			want[k] = v
		}
	}
	if canonical(got[name]) != canonical(want) {
		return fmt.Errorf("%s?exclude_fields=%s/%s: %s is %s, want %s", c.path, name, key, name, canonical(got[name]), canonical(want))
	}
	return nil
}

func fieldsWithDefault(x *exchange) error {
	tried := false
	var wrong faults
	for _, c := range x.found.inUse(x.major) {
		out := leftOut[x.major][c.key]
		if len(out) == 0 || c.records[0][out[0]] == nil {
			continue
		}
		tried = true
		list, err := x.list(c.path + "?exclude_default&fields=" + out[0])
		if err != nil {
			return err
		}
		if err := exactly(c, list, func(name string) bool { return name == out[0] || !slices.Contains(out, name) }, unlessListed(out[0])...); err != nil {
			wrong.add("exclude_default&fields=%s: %w", out[0], err)
		}
	}
	if !tried {
		return skip("nothing is left out by default")
	}
	return wrong.err()
}

func singleSelectors(x *exchange) error {
	var wrong faults
	for _, c := range x.found.inUse(x.major) {
		whole := c.records[0]
		keep := append([]string{c.key}, mandatory[x.major][c.key]...)
		path := c.single(url.PathEscape(text(whole, c.key)))
		alone := collection{path: path, key: c.key, records: c.records[:1]}
		for selector, kept := range map[string]func(string) bool{
			"all_fields":      func(string) bool { return true },
			"fields=" + c.key: func(name string) bool { return slices.Contains(keep, name) },
		} {
			o, err := x.object(path + "?" + selector)
			if err == nil {
				err = exactly(alone, []record{o}, kept, map[bool][]string{true: freeForm}[selector != "all_fields"]...)
			}
			if err != nil {
				wrong.add("%s: %w", selector, err)
			}
		}
		for _, name := range x.optional(c, whole) {
			o, err := x.object(path + "?exclude_fields=" + name)
			if err == nil {
				err = exactly(alone, []record{o}, func(n string) bool { return n != name })
			}
			if err != nil {
				wrong.add("exclude_fields=%s: %w", name, err)
			}
		}
	}
	return wrong.err()
}

func cloudSelectors(x *exchange) error {
	whole := x.found.cloud
	keep := mandatory[x.major][""]
	var wrong faults
	for selector, extensions := range map[string]bool{"": x.major != "v1", "?exclude_default": x.major != "v1", "?all_fields": true, "?fields=extensions": true,
		"?fields=name": x.major != "v1", "?exclude_fields=extensions": x.major != "v1"} {
		o, err := x.object(selector)
		if err != nil {
			return err
		}
		if missing := lacks(o, keep...); missing != nil {
			wrong.add("%s: %v are gone", selector, missing)
		}
		if _, there := o["extensions"]; there != extensions {
			wrong.add("%s: extensions there: %t, want %t", selector, there, extensions)
		}
		mayBeEmpty := strings.Contains(selector, "name") || strings.Contains(selector, "exclude_fields")
		for name, v := range o {
			if canonical(v) != canonical(whole[name]) && !(mayBeEmpty && name == "extensions" && canonical(v) == "{}") {
				wrong.add("%s: %s is %s", selector, name, canonical(v))
			}
		}
	}
	return wrong.err()
}

func listedElements(x *exchange) error {
	c, server, err := x.found.server()
	if err != nil {
		return err
	}
	list, err := x.list(c.path + "?fields=elements")
	if err != nil {
		return err
	}
	r, _ := find(list, c.key, text(server, c.key))
	if got, want := canonical(r["elements"]), canonical(server["elements"]); got != want {
		return fmt.Errorf("elements are\n%s\nwant\n%s", excerpt([]byte(got)), excerpt([]byte(want)))
	}
	return nil
}

func pagingCases() []Case {
	return []Case{
		{ID: "INV-PAG-01", Source: "SOL013 5.4", Expect: "the pages of a list, joined, are the whole list: nothing lost, nothing twice, in order", run: pagesJoin},
		{ID: "INV-PAG-02", Source: "SOL013 5.4", Expect: "Link rel=next is there while there is more, and not on the last page", run: lastPage},
		{ID: "INV-PAG-03", Source: "SOL013 5.4", Expect: "the next link is an absolute URL of the same path, with the query of the first page", run: nextLinks},
		{ID: "INV-PAG-04", Source: "SOL013 5.4", Expect: "paging under filter and selectors: every page obeys both", run: filteredPages},
		{ID: "INV-PAG-05", Source: "SOL013 5.4", Expect: "junk, truncated and altered markers are 400", run: badMarkers},
		{ID: "INV-PAG-06", Source: "SOL013 5.4", Expect: "a marker is bound to its filter and selectors: with others it is 400", run: boundMarkers},
		{ID: "INV-PAG-07", Source: "SOL013 5.4", Expect: "a marker is bound to its collection: on another it is 400", run: foreignMarkers},
		{ID: "INV-PAG-08", Source: "SOL013 5.4; CONF 7.3.5-s3", Expect: "a decimal marker N is page N", run: decimalPages},
		{ID: "INV-PAG-09", Source: "SOL013 5.4; CONF 7.3.5-s3", Expect: "a decimal marker beyond the end is the last page", run: beyondLast},
		{ID: "INV-PAG-10", Source: "SOL013 5.4", Expect: "an empty marker is as none", run: func(x *exchange) error {
			return x.same("/resourceTypes", "/resourceTypes?nextpage_opaque_marker=")
		}},
		{ID: "INV-PAG-11", Source: "SOL013 5.4", Expect: "the body of a page is a plain array; X-Total-Count is the same on every page", run: func(x *exchange) error {
			_, pages, err := x.paged()
			if err != nil {
				return err
			}
			for _, p := range pages {
				if got, want := p.header.Get("X-Total-Count"), pages[0].header.Get("X-Total-Count"); got != want || got == "" {
					return fmt.Errorf("%s: X-Total-Count %q, on the first page %q", p.call, got, want)
				}
			}
			return nil
		}},
	}
}

// paged returns a collection that comes in several pages, and these.
func (x *exchange) paged() (collection, []answer, error) {
	for _, c := range x.found.inUse(x.major) {
		first, err := x.get(c.path)
		if err != nil {
			return c, nil, err
		}
		if next, err := first.nextPage(); err != nil {
			return c, nil, err
		} else if next == "" {
			continue
		}
		pages, err := x.pages(c.path)
		return c, pages, err
	}
	return collection{}, nil, skip("no list is longer than a page")
}

// markerOf returns the marker in the link to the next page.
func markerOf(a answer) (string, error) {
	next, err := a.nextPage()
	if err != nil {
		return "", err
	}
	u, err := url.Parse(next)
	if err != nil {
		return "", err
	}
	marker := u.Query().Get("nextpage_opaque_marker")
	if marker == "" {
		return "", fmt.Errorf("%s: the next link has no nextpage_opaque_marker: %s", a.call, next)
	}
	return marker, nil
}

func pagesJoin(x *exchange) error {
	c, pages, err := x.paged()
	if err != nil {
		return err
	}
	var got []string
	for _, p := range pages {
		list, err := p.list()
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return fmt.Errorf("%s: an empty page", p.call)
		}
		got = append(got, ids(list, c.key)...)
	}
	// The whole list was read in pages as well, so identifiers tell more than its length.
	want := slices.Compact(slices.Sorted(slices.Values(got)))
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s: not ascending or not unique over %d pages", c.path, len(pages))
	}
	if total := pages[0].header.Get("X-Total-Count"); total != fmt.Sprint(len(got)) {
		return fmt.Errorf("%s: %d records on %d pages, X-Total-Count %s", c.path, len(got), len(pages), total)
	}
	var wrong faults
	for _, id := range got {
		if err := x.status(c.single(id), http.StatusOK); err != nil {
			wrong.add("%w", err)
		}
	}
	return wrong.err()
}

func lastPage(x *exchange) error {
	_, pages, err := x.paged()
	if err != nil {
		return err
	}
	size := 0
	for i, p := range pages {
		list, err := p.list()
		if err != nil {
			return err
		}
		if i == 0 {
			size = len(list)
		}
		if i < len(pages)-1 && len(list) != size || len(list) > size {
			return fmt.Errorf("%s: %d records, the first page has %d", p.call, len(list), size)
		}
	}
	// A list that fills its pages exactly has no further, empty one: under a filter that
	// lets just one page through there is no link.
	c, _, err := x.paged()
	if err != nil {
		return err
	}
	a, err := x.get(filtered(c.path, "(in,"+c.key+","+strings.Join(c.ids()[:size], ",")+")"))
	if err != nil {
		return err
	}
	next, err := a.nextPage()
	if err == nil && next != "" {
		err = fmt.Errorf("%s: exactly one page, and a link to a next one", a.call)
	}
	return err
}

func nextLinks(x *exchange) error {
	c, _, err := x.paged()
	if err != nil {
		return err
	}
	a, err := x.get(filtered(c.path, "(neq,"+c.key+","+unknownID()+");(neq,"+c.key+",x)") + "&exclude_default")
	if err != nil {
		return err
	}
	link := a.header.Get("Link")
	target, _, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	u, err := url.Parse(target)
	if err != nil || !u.IsAbs() || u.Host == "" {
		return fmt.Errorf("%s: Link %q, want an absolute URL", a.call, link)
	}
	if u.Path != x.root()+c.path {
		return fmt.Errorf("%s: the next page has path %s", a.call, u.Path)
	}
	first, err := url.Parse(a.call.path)
	if err != nil {
		return err
	}
	was, is := first.Query(), u.Query()
	is.Del("nextpage_opaque_marker")
	if !slices.Equal(was["filter"], is["filter"]) || was.Has("exclude_default") != is.Has("exclude_default") {
		return fmt.Errorf("%s: the next page has the query %s", a.call, u.RawQuery)
	}
	return nil
}

func filteredPages(x *exchange) error {
	c, _, err := x.paged()
	if err != nil {
		return err
	}
	out := c.ids()[len(c.records)/2]
	t := term{op: "neq", path: []string{c.key}, values: []string{out}}
	pages, err := x.pages(filtered(c.path, t.write(false)) + "&fields=" + c.key)
	if err != nil {
		return err
	}
	var all []record
	for _, p := range pages {
		list, err := p.list()
		if err != nil {
			return err
		}
		all = append(all, list...)
	}
	want := slices.DeleteFunc(slices.Clone(c.ids()), func(id string) bool { return id == out })
	if got := ids(all, c.key); !slices.Equal(got, want) {
		return fmt.Errorf("%s without %s, page by page: %s", c.path, out, difference(got, want))
	}
	for _, r := range all {
		for name := range r {
			if name != c.key && !slices.Contains(mandatory[x.major][c.key], name) {
				return fmt.Errorf("%s?fields=%s: a later page has %s", c.path, c.key, name)
			}
		}
	}
	return nil
}

func badMarkers(x *exchange) error {
	var wrong faults
	markers := []string{"junk", "-1", "0", "1.5", "%00", "AAAA", "eyJhIjoxfQ"}
	path := "/resourceTypes"
	if c, pages, err := x.paged(); err == nil {
		path = c.path
		good, err := markerOf(pages[0])
		if err != nil {
			return err
		}
		last := "A"
		if good[len(good)/2] == 'A' {
			last = "B"
		}
		markers = append(markers, good[:len(good)-4], good[:len(good)/2]+last+good[len(good)/2+1:], good+"AAAA")
	}
	for _, m := range markers {
		if err := x.status(path+"?nextpage_opaque_marker="+m, http.StatusBadRequest); err != nil {
			wrong.add("%w", err)
		}
	}
	return wrong.err()
}

func boundMarkers(x *exchange) error {
	c, pages, err := x.paged()
	if err != nil {
		return err
	}
	marker, err := markerOf(pages[0])
	if err != nil {
		return err
	}
	var wrong faults
	for _, q := range []string{"filter=" + url.QueryEscape("(neq,"+c.key+",x)"), "fields=" + c.key, "all_fields", "exclude_fields=" + c.key} {
		if err := x.status(c.path+"?"+q+"&nextpage_opaque_marker="+url.QueryEscape(marker), http.StatusBadRequest); err != nil {
			wrong.add("%w", err)
		}
	}
	return wrong.err()
}

func foreignMarkers(x *exchange) error {
	c, pages, err := x.paged()
	if err != nil {
		return err
	}
	marker, err := markerOf(pages[0])
	if err != nil {
		return err
	}
	var wrong faults
	for _, other := range x.found.all(x.major) {
		if other.path == c.path {
			continue
		}
		if err := x.status(other.path+"?nextpage_opaque_marker="+url.QueryEscape(marker), http.StatusBadRequest); err != nil {
			wrong.add("%w", err)
		}
	}
	return wrong.err()
}

func decimalPages(x *exchange) error {
	c, pages, err := x.paged()
	if err != nil {
		return err
	}
	var wrong faults
	for i, p := range pages {
		a, err := x.get(fmt.Sprintf("%s?nextpage_opaque_marker=%d", c.path, i+1))
		if err != nil {
			return err
		}
		if a.status != http.StatusOK || string(a.body) != string(p.body) {
			wrong.add("%s: %d, want page %d as by its marker: %s", a.call, a.status, i+1, excerpt(a.body))
		}
	}
	return wrong.err()
}

func beyondLast(x *exchange) error {
	c, err := x.found.pool()
	if err != nil {
		return err
	}
	pages, err := x.pages(c.path)
	if err != nil {
		return err
	}
	last := pages[len(pages)-1]
	for _, n := range []int{len(pages) + 1, 1_000_000} {
		a, err := x.get(fmt.Sprintf("%s?nextpage_opaque_marker=%d", c.path, n))
		if err != nil {
			return err
		}
		if a.status != http.StatusOK || string(a.body) != string(last.body) {
			return fmt.Errorf("%s: %d %s, want the last page", a.call, a.status, excerpt(a.body))
		}
		if next, _ := a.nextPage(); next != "" {
			return fmt.Errorf("%s: beyond the end, and a link to a next page", a.call)
		}
	}
	return nil
}
