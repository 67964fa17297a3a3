package conformance

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// knownMajors are those that any server may have; one that is not served must not be there.
var knownMajors = []string{"v1", "v2", "v3"}

func versionCases() []Case {
	return []Case{
		{ID: "INV-VER-01", Source: "SOL013 9.3; CONF 7.3.5-s1", Expect: "GET {base}/api_versions lists every served major, in SemVer, and no other", once: true, run: rootVersions},
		{ID: "INV-VER-02", Source: "SOL013 9.3; CONF 7.3.5-s1", Expect: "GET {major}/api_versions lists versions of that major only", run: majorVersions},
		{ID: "INV-VER-03", Source: "SOL013 9.3", Expect: "uriPrefix at the root is absolute and names no major", once: true,
			run: func(x *exchange) error { return uriPrefix(x, base+"/api_versions", base) }},
		{ID: "INV-VER-04", Source: "SOL013 9.3", Expect: "uriPrefix of a major is absolute and ends with it",
			run: func(x *exchange) error { return uriPrefix(x, x.root()+"/api_versions", x.root()) }},
		{ID: "INV-VER-05", Source: "CONF 7.3.9-s3; SPEC 3.1.2", Expect: "majors that are not served are 404 on all their paths", once: true, run: unservedMajors},
	}
}

func rootVersions(x *exchange) error { return listedMajors(x, base) }

var semVer = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)

func majorVersions(x *exchange) error {
	o, err := x.object("/api_versions")
	if err != nil {
		return err
	}
	versions := objects(o, "apiVersions")
	if len(versions) == 0 {
		return fmt.Errorf("no version in %s", canonical(o))
	}
	for _, v := range versions {
		if version := text(v, "version"); !semVer.MatchString(version) || !strings.HasPrefix("v"+version, x.major+".") {
			return fmt.Errorf("version %q, want one of major %s", version, x.major)
		}
	}
	return nil
}

func uriPrefix(x *exchange, path, want string) error {
	a, err := x.do(call{path: path})
	if err != nil {
		return err
	}
	if err := a.want(http.StatusOK); err != nil {
		return err
	}
	o, err := a.object()
	if err != nil {
		return err
	}
	u, err := url.Parse(text(o, "uriPrefix"))
	if err != nil || !u.IsAbs() || u.Host == "" || u.Path != want {
		return fmt.Errorf("uriPrefix %q, want scheme://host%s", text(o, "uriPrefix"), want)
	}
	return nil
}

func unservedMajors(x *exchange) error {
	var wrong faults
	tried := false
	for _, major := range knownMajors {
		if slices.Contains(x.run.target.Majors, major) {
			continue
		}
		tried = true
		for _, path := range []string{"", "/api_versions", "/deploymentManagers", "/resourcePools", "/openapi.yaml", "/locations"} {
			a, err := x.do(call{path: base + "/" + major + path})
			if err != nil {
				return err
			}
			if err := a.want(http.StatusNotFound); err != nil {
				wrong.add("%w", err)
			}
		}
	}
	if !tried {
		return skip("every major is served")
	}
	return wrong.err()
}

// readPaths are all paths of a version that answer 200, below its root, one of each template.
func (x *exchange) readPaths() []string {
	paths := []string{"", "/api_versions", "/openapi.yaml"}
	for _, c := range x.found.lists(x.major) {
		if c.path == "" {
			continue
		}
		paths = append(paths, c.path)
		if len(c.records) > 0 {
			paths = append(paths, c.single(url.PathEscape(c.ids()[0])))
		}
	}
	if d := x.dictionaryPath(); d != "" {
		paths = append(paths, d)
	}
	for i, c := range x.found.resources {
		if i == 0 {
			paths = append(paths, c.path, c.single(c.ids()[0]))
		}
	}
	return paths
}

// dictionaryPath is that of a resource type's alarm dictionary; "" when no type has one.
func (x *exchange) dictionaryPath() string {
	for _, t := range x.found.types.records {
		if t["alarmDictionary"] != nil || t["alarmDictionaryId"] != nil {
			return x.found.types.single(text(t, "resourceTypeId")) + "/alarmDictionary"
		}
	}
	return ""
}

// uuidLists are the collections whose records are addressed by UUID.
func (x *exchange) uuidLists() []collection {
	return slices.DeleteFunc(x.found.all(x.major), func(c collection) bool { return c.key == "globalLocationId" })
}

func pathCases() []Case {
	return []Case{
		{ID: "INV-PTH-01", Source: "SPEC InfrastructureInventory", Expect: "every path of the version answers 200", run: func(x *exchange) error {
			var wrong faults
			for _, path := range x.readPaths() {
				if err := x.status(path, http.StatusOK); err != nil {
					wrong.add("%w", err)
				}
			}
			return wrong.err()
		}},
		{ID: "INV-PTH-02", Source: "CONF 7.3.2-s1; SPEC 3.1", Expect: "one trailing slash changes nothing, on any path", run: trailingSlash},
		{ID: "INV-PTH-03", Source: "SPEC 3.1", Expect: "paths are case-sensitive: other spellings are 404", run: notFound(
			"/resourcetypes", "/ResourceTypes", "/deploymentmanagers", "/API_VERSIONS")},
		{ID: "INV-PTH-04", Source: "CONF 7.3.9-s2; RFC 9110", Expect: "unknown paths below a major are 404", run: notFound(
			"/nothing", "/resourcePools/"+unknownID()+"/nothing", "/internal/resources/"+unknownID(), "/o2ims-infrastructureInventory", "//resourceTypes", "/resourceTypes//", "/./resourceTypes")},
		{ID: "INV-PTH-05", Source: "CONF 7.3.9-s2; SPEC 3.1", Expect: "paths outside every service are 404, in the service's own spelling only", once: true, run: outside},
		{ID: "INV-PTH-06", Source: "SPEC InfrastructureInventory", Expect: "every record is addressable by its identifier", run: addressable},
		{ID: "INV-PTH-07", Source: "CONF 7.3.9-s4; SPEC InfrastructureInventory", Expect: "unknown identifiers are 404, in every collection", run: unknownObjects},
		{ID: "INV-PTH-08", Source: "SPEC InfrastructureInventory", Expect: "identifiers that are not UUIDs are 400, in every collection that has UUIDs", run: notUUIDs},
		{ID: "INV-PTH-09", Source: "SPEC InfrastructureInventory", Expect: "v1 has neither locations nor oCloudSites", majors: onlyV1, run: notFound("/locations", "/locations/x", "/oCloudSites", "/oCloudSites/"+unknownID())},
		{ID: "INV-PTH-10", Source: "RFC 9562 4", Expect: "UUIDs in paths are taken in upper case, too", run: upperCase},
		{ID: "INV-PTH-11", Source: "SPEC InfrastructureInventory", Expect: "globalLocationId is any text, percent-decoded; unknown ones are 404", majors: onlyV2, run: locationPaths},
		{ID: "INV-PTH-12", Source: "SPEC InfrastructureInventory", Expect: "resources of an unknown pool are 404, a known resource below one, too", run: unknownPools},
		{ID: "INV-PTH-13", Source: "SPEC InfrastructureInventory", Expect: "a resource is 404 below a pool in which it does not live", run: otherPool},
		{ID: "INV-PTH-14", Source: "SPEC InfrastructureInventory", Expect: "an element is 404 below a pool in which its server does not live", run: elementOtherPool},
		{ID: "INV-PTH-15", Source: "SPEC InfrastructureInventory", Expect: "an empty collection is [] with 200", run: emptyList},
		{ID: "INV-PTH-16", Source: "RFC 9110", Expect: "unknown query parameters are ignored", run: func(x *exchange) error {
			return x.same("/resourcePools", "/resourcePools?allFields=no&order=name")
		}},
		{ID: "INV-PTH-17", Source: "SPEC InfrastructureInventory", Expect: "a type's alarmDictionary is 200 when it has one, 404 when it has none or is unknown", run: dictionaryOfType},
	}
}

// same wants two paths to have the same answer.
func (x *exchange) same(path, other string) error {
	a, err := x.get(path)
	if err != nil {
		return err
	}
	b, err := x.get(other)
	if err != nil {
		return err
	}
	if a.status != b.status || string(a.body) != string(b.body) {
		return fmt.Errorf("%s: %d %s\nwant as %s: %d %s", b.call, b.status, excerpt(b.body), a.call, a.status, excerpt(a.body))
	}
	return nil
}

func notFound(paths ...string) func(*exchange) error {
	return func(x *exchange) error {
		var wrong faults
		for _, path := range paths {
			if err := x.status(path, http.StatusNotFound); err != nil {
				wrong.add("%w", err)
			}
		}
		return wrong.err()
	}
}

func trailingSlash(x *exchange) error {
	var wrong faults
	for _, path := range x.readPaths() {
		if err := x.same(path, path+"/"); err != nil {
			wrong.add("%w", err)
		}
	}
	if err := x.same("/resourceTypes?fields=name", "/resourceTypes/?fields=name"); err != nil {
		wrong.add("%w", err)
	}
	return wrong.err()
}

func outside(x *exchange) error {
	var wrong faults
	for _, path := range []string{"/", "/nothing", strings.ToLower(base) + "/api_versions", base + "X/api_versions", "/o2ims-InfrastructureInventory/v1"} {
		a, err := x.do(call{path: path})
		if err != nil {
			return err
		}
		if err := a.want(http.StatusNotFound); err != nil {
			wrong.add("%w", err)
		}
	}
	return wrong.err()
}

// mostTried is how many records of one collection are tried one by one.
const mostTried = 25

func (c collection) sample() []record { return c.records[:min(len(c.records), mostTried)] }

func addressable(x *exchange) error {
	var wrong faults
	for _, c := range x.found.inUse(x.major) {
		for _, r := range c.sample() {
			id := text(r, c.key)
			o, err := x.object(c.single(url.PathEscape(id)))
			if err != nil {
				wrong.add("%w", err)
			} else if text(o, c.key) != id {
				wrong.add("%s: %s is %q", c.single(id), c.key, text(o, c.key))
			}
		}
	}
	return wrong.err()
}

func unknownObjects(x *exchange) error {
	var wrong faults
	for _, c := range x.uuidLists() {
		a, err := x.get(c.single(unknownID()))
		if err != nil {
			return err
		}
		if err := a.want(http.StatusNotFound); err != nil {
			wrong.add("%w", err)
		}
	}
	return wrong.err()
}

func notUUIDs(x *exchange) error {
	var wrong faults
	id := unknownID()
	for _, c := range x.uuidLists() {
		for _, bad := range []string{"x", "1", id[:35], id + "0", strings.ReplaceAll(id, "-", ""), "%7B" + id + "%7D", "urn:uuid:" + id} {
			if err := x.status(c.single(bad), http.StatusBadRequest); err != nil {
				wrong.add("%w", err)
			}
		}
	}
	if err := x.status("/resourcePools/x/resources", http.StatusBadRequest); err != nil {
		wrong.add("%w", err)
	}
	return wrong.err()
}

func upperCase(x *exchange) error {
	var wrong faults
	tried := false
	for _, c := range x.found.inUse(x.major) {
		if c.key == "globalLocationId" {
			continue
		}
		tried = true
		id := c.ids()[0]
		if err := x.same(c.single(id), c.single(strings.ToUpper(id))); err != nil {
			wrong.add("%w", err)
		}
	}
	if !tried {
		return skip("there are no records")
	}
	return wrong.err()
}

func locationPaths(x *exchange) error {
	var wrong faults
	for _, unknown := range []string{"x", unknownID(), "no%20such%2Fplace"} {
		if err := x.status("/locations/"+unknown, http.StatusNotFound); err != nil {
			wrong.add("%w", err)
		}
	}
	if len(x.found.locations.records) == 0 {
		return errorsOr(wrong, skip("there are no locations"))
	}
	id := x.found.locations.ids()[0]
	encoded := fmt.Sprintf("%%%02x", id[0]) + url.PathEscape(id[1:])
	if err := x.same("/locations/"+url.PathEscape(id), "/locations/"+encoded); err != nil {
		wrong.add("%w", err)
	}
	return wrong.err()
}

// errorsOr returns what is wrong, or else why not everything could be tried.
func errorsOr(wrong faults, otherwise error) error {
	if err := wrong.err(); err != nil {
		return err
	}
	return otherwise
}

func unknownPools(x *exchange) error {
	var wrong faults
	if err := x.status("/resourcePools/"+unknownID()+"/resources", http.StatusNotFound); err != nil {
		wrong.add("%w", err)
	}
	c, err := x.found.pool()
	if err != nil {
		return errorsOr(wrong, err)
	}
	if err := x.status("/resourcePools/"+unknownID()+"/resources/"+c.ids()[0], http.StatusNotFound); err != nil {
		wrong.add("%w", err)
	}
	return wrong.err()
}

// stranger returns a pool in which the resources of c do not live.
func (x *exchange) stranger(c collection) (string, error) {
	for _, pool := range x.found.pools.ids() {
		if x.found.pools.single(pool)+"/resources" != c.path {
			return pool, nil
		}
	}
	return "", skip("there is only one resource pool")
}

func otherPool(x *exchange) error {
	c, err := x.found.pool()
	if err != nil {
		return err
	}
	pool, err := x.stranger(c)
	if err != nil {
		return err
	}
	return x.status(x.found.pools.single(pool)+"/resources/"+c.ids()[0], http.StatusNotFound)
}

func elementOtherPool(x *exchange) error {
	c, server, err := x.found.server()
	if err != nil {
		return err
	}
	pool, err := x.stranger(c)
	if err != nil {
		return err
	}
	element := text(objects(server, "elements")[0], "resourceId")
	return x.status(x.found.pools.single(pool)+"/resources/"+element, http.StatusNotFound)
}

func emptyList(x *exchange) error {
	var wrong faults
	for _, c := range x.found.all(x.major) {
		a, err := x.get(filtered(c.path, "(eq,"+c.key+","+unknownID()+")"))
		if err != nil {
			return err
		}
		if a.status != http.StatusOK || strings.TrimSpace(string(a.body)) != "[]" {
			wrong.add("%s: %d %s, want 200 []", a.call, a.status, excerpt(a.body))
		}
	}
	return wrong.err()
}

func dictionaryOfType(x *exchange) error {
	var wrong faults
	for _, bad := range []struct {
		id     string
		status int
	}{{unknownID(), http.StatusNotFound}, {"x", http.StatusBadRequest}} {
		if err := x.status("/resourceTypes/"+bad.id+"/alarmDictionary", bad.status); err != nil {
			wrong.add("%w", err)
		}
	}
	for _, t := range x.found.types.sample() {
		want := http.StatusNotFound
		if t["alarmDictionary"] != nil || t["alarmDictionaryId"] != nil {
			want = http.StatusOK
		}
		if err := x.status(x.found.types.single(text(t, "resourceTypeId"))+"/alarmDictionary", want); err != nil {
			wrong.add("%w", err)
		}
	}
	return wrong.err()
}

func methodCases() []Case {
	var list []Case
	for i, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		list = append(list, Case{
			ID: fmt.Sprintf("INV-MTH-%02d", i+1), Source: "CONF 7.3.6; RFC 9110 15.5.6", Expect: method + " on any read-only path is 405 with Allow: GET, HEAD",
			run: func(x *exchange) error { return notAllowed(x, method) },
		})
	}
	return append(list,
		Case{ID: "INV-MTH-05", Source: "CONF 7.3.6", Expect: "the body of a 405 has status and detail", run: func(x *exchange) error {
			a, err := x.do(call{method: http.MethodPost, path: x.root() + "/resourcePools", body: "{}", header: jsonBody})
			if err != nil {
				return err
			}
			if err := a.want(http.StatusMethodNotAllowed); err != nil {
				return err
			}
			return problem(a)
		}},
	)
}

var jsonBody = http.Header{"Content-Type": {"application/json"}}

func notAllowed(x *exchange, method string) error {
	var wrong faults
	for _, path := range x.readPaths() {
		k := call{method: method, path: x.root() + path}
		if method != http.MethodDelete {
			k.body, k.header = "{}", jsonBody
		}
		a, err := x.do(k)
		if err != nil {
			return err
		}
		if err := a.want(http.StatusMethodNotAllowed); err != nil {
			wrong.add("%w", err)
			continue
		}
		allowed := strings.FieldsFunc(a.header.Get("Allow"), func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(allowed)
		if !slices.Equal(allowed, []string{http.MethodGet, http.MethodHead}) {
			wrong.add("%s: Allow %q, want GET, HEAD", a.call, a.header.Get("Allow"))
		}
	}
	return wrong.err()
}

func errorCases() []Case {
	return []Case{
		{ID: "INV-ERR-01", Source: "SOL013 6.3", Expect: "404 of an unknown object repeats the path's identifiers in additionalAttributes, in camelCase", run: func(x *exchange) error {
			id := unknownID()
			a, err := x.get("/resourcePools/" + id)
			if err != nil {
				return err
			}
			return attributesOf(a, http.StatusNotFound, map[string]string{"resourcePoolId": id})
		}},
		{ID: "INV-ERR-02", Source: "SOL013 6.3", Expect: "404 of an unknown resource repeats pool and resource", run: func(x *exchange) error {
			c, err := x.found.pool()
			if err != nil {
				return err
			}
			id := unknownID()
			a, err := x.get(c.single(id))
			if err != nil {
				return err
			}
			return attributesOf(a, http.StatusNotFound, map[string]string{"resourceId": id, "resourcePoolId": text(c.records[0], "resourcePoolId")})
		}},
		{ID: "INV-ERR-03", Source: "SOL013 6.3", Expect: "400 of a filter names the offset of the bad term", run: func(x *exchange) error {
			a, err := x.get(filtered("/resourcePools", "(eq,name,x);(eq,name"))
			if err != nil {
				return err
			}
			return detailed(a, regexp.MustCompile(`offset \d+`))
		}},
		{ID: "INV-ERR-04", Source: "SOL013 6.3", Expect: "400 of an unknown attribute names it", run: func(x *exchange) error {
			a, err := x.get(filtered("/resourcePools", "(eq,wrongAttrName,x)"))
			if err != nil {
				return err
			}
			return detailed(a, regexp.MustCompile("wrongAttrName"))
		}},
		{ID: "INV-ERR-05", Source: "SOL013 6.3", Expect: "400 of an unknown selector names it", run: func(x *exchange) error {
			a, err := x.get("/resourcePools?fields=wrongAttrName")
			if err != nil {
				return err
			}
			return detailed(a, regexp.MustCompile("wrongAttrName"))
		}},
	}
}

func attributesOf(a answer, status int, want map[string]string) error {
	if err := a.want(status); err != nil {
		return err
	}
	p, err := a.object()
	if err != nil {
		return err
	}
	attributes, _ := p["additionalAttributes"].(record)
	for name, value := range want {
		if text(attributes, name) != value {
			return fmt.Errorf("%s: additionalAttributes %s, want %s: %s", a.call, canonical(attributes), name, value)
		}
	}
	return nil
}

func detailed(a answer, want *regexp.Regexp) error {
	if err := a.want(http.StatusBadRequest); err != nil {
		return err
	}
	p, err := a.object()
	if err != nil {
		return err
	}
	if detail := text(p, "detail"); !want.MatchString(detail) {
		return fmt.Errorf("%s: detail %q, want it to have %s", a.call, detail, want)
	}
	return nil
}
