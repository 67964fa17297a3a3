package inventory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/filter"
	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/rest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// examplePools are the three records of the filter examples in package filter, as far as pools
// have such attributes.
func examplePools(t testing.TB) *Model {
	t.Helper()
	m := newModel(t)
	h := Hierarchy{Sites: []apiv1alpha1.OCloudSite{{ObjectMeta: metav1.ObjectMeta{Name: "site"}}}}
	for name, extensions := range map[string]map[string]string{
		"pool-a":  {"country": "ES", "size": "7", "app.io/x": "1", "zone": "z1"},
		"pool, b": {"country": "US", "size": "10"},
		"it's":    nil,
	} {
		p := apiv1alpha1.ResourcePool{ObjectMeta: metav1.ObjectMeta{Name: name}}
		p.Spec.SiteRef.Name, p.Spec.Extensions = "site", extensions
		h.Pools = append(h.Pools, p)
	}
	m.SetHierarchy(h)
	return m
}

// names returns the names in a list.
func names(t testing.TB, body []byte) []string {
	t.Helper()
	var list []struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	found := make([]string, len(list))
	for i, record := range list {
		found[i] = record.Name
	}
	slices.Sort(found)
	return found
}

// TestFilterExamples are those filters that are about a name or an extension,
// through HTTP; package filter has them all.
func TestFilterExamples(t *testing.T) {
	s := serve(t, examplePools(t), &access{})
	const a, b, c = "pool-a", "pool, b", "it's"
	for query, want := range map[string][]string{
		"filter=(eq,name,pool-a)":                                   {a},
		"filter=(EQ,name,pool-a)":                                   {a},
		"filter=(eq,name,'pool, b')":                                {b},
		"filter=(eq,name,pool, b)":                                  nil,
		"filter=(eq,name,'it''s')":                                  {c},
		"filter=(eq,name,it's)":                                     {c},
		"filter=(neq,name,pool-a)":                                  {c, b},
		"filter=(cont,name,pool)":                                   {b, a},
		"filter=(ncont,name,pool)":                                  {c},
		"filter=(in,name,pool-a,'it''s')":                           {c, a},
		"filter=(nin,name,pool-a)":                                  {c, b},
		"filter=(gt,name,j)":                                        {b, a},
		"filter=(eq,extensions/country,ES)":                         {a},
		"filter=(neq,extensions/country,ES)":                        {c, b},
		"filter=(in,extensions/country,ES,US)":                      {b, a},
		"filter=(cont,extensions/country,E)":                        {a},
		"filter=(eq,extensions/app.io~1x,1)":                        {a},
		"filter=(eq,extensions/@key,country)":                       {b, a},
		"filter=(eq,name,pool-a);(eq,extensions/zone,z1)":           {a},
		"filter=(eq,name,pool-a)%3B(eq,extensions/zone,z1)":         {a},
		"filter=(eq,name,pool-a)%3b(eq,extensions/zone,z2)":         {},
		"filter=(eq,name,pool-a) ; (eq,extensions/zone,z1)":         {a},
		"filter=( eq , name , pool-a )":                             {a},
		"filter=(eq,name,a;b)":                                      {},
		"filter=(eq,extensions,x)":                                  nil,
		"filter=(eq,name,null)":                                     {},
		"filter=(eq,extensions/country,null)":                       {c},
		"filter=(eq,WrongAttrName,anyvalue)":                        nil,
		"filter=(foo,name,x)":                                       nil,
		"filter=(eq,name)":                                          nil,
		"filter=eq,name,x":                                          nil,
		"filter=(eq,name,x":                                         nil,
		"filter=(eq,name,'pool-a)":                                  nil,
		"filter=(eq,name,pool-a);":                                  {a},
		"filter=(eq,name,x);;(eq,name,y)":                           nil,
		"filter=(eq,name,x)(eq,name,y)":                             nil,
		"filter=()":                                                 nil,
		"filter=(eq,my~attr,x)":                                     nil,
		"filter=(eq,name,)":                                         nil,
		"filter=(cont,name,pool)&filter=(eq,extensions/country,US)": {b},
		"filter=":                             {c, b, a},
		"filter=(cont,name,pool)&fields=name": {b, a},
		"filter=(eq,extensions/country,ES)&exclude_fields=extensions": {a},
		"Filter=(eq,name,x)": {c, b, a},
		"filter=(eq,name," + strings.Repeat("x", filter.MaxBytes) + ")": nil,
		"filter=" + strings.Repeat("(neq,name,x);", filter.MaxTerms):    {c, b, a},
		"filter=" + strings.Repeat("(neq,name,x);", filter.MaxTerms+1):  nil,
		"fields=WrongAttrName":                             nil,
		"fields=(name,WrongAttrName)":                      nil,
		"exclude_fields=extensions&fields=name":            nil,
		"exclude_fields=extensions&exclude_default":        nil,
		"exclude_fields=extensions&fields=name&all_fields": {c, b, a},
		"nextpage_opaque_marker=nonsense":                  nil,
		"nextpage_opaque_marker=2":                         {c, b, a},
	} {
		for _, version := range []string{"/v1", "/v2"} {
			r, body := fetch(t, s, http.MethodGet, BasePath+version+"/resourcePools?"+strings.NewReplacer(" ", "%20", "'", "%27").Replace(query))
			if want == nil {
				if r.StatusCode != http.StatusBadRequest || r.Header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("%s %.80s: %d %s, want 400", version, query, r.StatusCode, body)
				}
				continue
			}
			if r.StatusCode != http.StatusOK || !slices.Equal(names(t, body), want) {
				t.Errorf("%s %.80s: %d %q, want %q", version, query, r.StatusCode, names(t, body), want)
			}
		}
	}
}

// TestSchemasKnowEveryAttribute: what a client sees, it can ask for, by the name and with
// the value that it sees, and shortcuts lead to what the view has.
func TestSchemasKnowEveryAttribute(t *testing.T) {
	m := twoClusters(t)
	m.setNodes("edge-2", machine("c", "uuid:c"), hardware.Machine{Name: "bare", Key: "uuid:bare"}, machine("dup", "uuid:a"))
	silent := facts("edge-3", 4)
	silent.Available, silent.Labels = "Unknown", map[string]string{"a.io/b,c": "it's, here"}
	m.SetCluster(silent)
	m.setNodes("edge-3", machine("d", "uuid:d"))
	s := serve(t, m, &access{allowed: true})

	collections := []string{"/resourceTypes", "/alarmDictionaries", "/resourcePools", "/deploymentManagers"}
	for p := range m.Snapshot().ResourcePools {
		collections = append(collections, "/resourcePools/"+p.ID.String()+"/resources")
	}
	terms := 0
	for _, version := range []string{"/v1", "/v2"} {
		for _, path := range append([]string{"/locations", "/oCloudSites"}, collections...) {
			if version == "/v1" && (path == "/locations" || path == "/oCloudSites") {
				continue
			}
			_, body := fetch(t, s, http.MethodGet, BasePath+version+path+"?all_fields")
			var list []any
			if err := json.Unmarshal(body, &list); err != nil || len(list) == 0 {
				t.Fatalf("%s%s: %s", version, path, body)
			}
			asked := make(map[string]bool)
			for _, record := range list {
				eachTerm(record, nil, func(term filter.Term) {
					text := term.String()
					if asked[text] {
						return
					}
					asked[text] = true
					terms++
					_, matched := fetch(t, s, http.MethodGet, BasePath+version+path+"?all_fields&filter="+url.QueryEscape(text))
					if whole, err := json.Marshal(record); err != nil || !containsRecord(t, matched, whole) {
						t.Errorf("%s%s: %s does not find the record that has it: %.300s", version, path, text, matched)
					}
				})
			}
		}
	}
	if terms < 300 {
		t.Errorf("%d terms were asked, want all attributes", terms)
	}
}

// eachTerm yields, for each plain value in a JSON record, the term that asks for it.
func eachTerm(v any, path []string, yield func(filter.Term)) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			eachTerm(value, append(slices.Clip(path), key), yield)
		}
	case []any:
		for _, value := range v {
			eachTerm(value, path, yield)
		}
	default:
		yield(filter.Term{Op: filter.Eq, Path: path, Values: []string{fmt.Sprint(v)}})
	}
}

func containsRecord(t testing.TB, body, record []byte) bool {
	t.Helper()
	var list []any
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return slices.ContainsFunc(list, func(v any) bool {
		b, err := json.Marshal(v)
		return err == nil && bytes.Equal(b, record)
	})
}

// TestSelectors: what each selector leaves of a record, in lists and alone.
func TestSelectors(t *testing.T) {
	m := twoClusters(t)
	s := serve(t, m, &access{})
	srv := server(t, m, "edge-1", "a")
	pool := "/resourcePools/" + srv.PoolID.String()
	typ := "/resourceTypes/" + srv.Type.ID.String()
	manager := "/deploymentManagers/" + DeploymentManagerID(oCloudID, "id-edge-1").String()
	const (
		typeMandatory    = "resourceTypeId name description vendor model version resourceKind resourceClass"
		poolMandatory    = "resourcePoolId name description oCloudId globalLocationId"
		managerMandatory = "deploymentManagerId name description oCloudId serviceUri supportedLocations capabilities capacity"
		resource         = "resourceId resourcePoolId resourceTypeId globalAssetId description tags groups extensions"
	)
	for _, tc := range []struct{ path, want string }{
		{"/v1", "oCloudId name description serviceUri"},
		{"/v1?all_fields", "oCloudId name description serviceUri extensions"},
		{"/v1?fields=extensions", "oCloudId name description serviceUri extensions"},
		{"/v2", "oCloudId name description serviceUri extensions"},
		{"/v1/resourceTypes", typeMandatory},
		{"/v1/resourceTypes?exclude_default", typeMandatory},
		{"/v1/resourceTypes?all_fields=false", typeMandatory + " extensions alarmDictionary"},
		{"/v1/resourceTypes?fields=name,description", typeMandatory},
		{"/v1/resourceTypes?fields=extensions", typeMandatory + " extensions"},
		{"/v1/resourceTypes?fields=extensions&fields=alarmDictionary", typeMandatory + " extensions alarmDictionary"},
		{"/v1/resourceTypes?exclude_fields=extensions", typeMandatory + " alarmDictionary"},
		{"/v1/resourceTypes?exclude_fields=name", typeMandatory + " extensions alarmDictionary"},
		{"/v1/resourceTypes?fields=", typeMandatory},
		{"/v1" + typ, typeMandatory + " extensions alarmDictionary"},
		{"/v1" + typ + "?exclude_fields=alarmDictionary", typeMandatory + " extensions"},
		{"/v1" + typ + "?fields=name", typeMandatory},
		{"/v2/resourceTypes", typeMandatory + " extensions alarmDictionaryId"},
		{"/v2/resourceTypes?fields=name", typeMandatory + " extensions"},
		{"/v1/resourcePools", poolMandatory},
		{"/v1/resourcePools?fields=location", poolMandatory + " location"},
		{"/v1/resourcePools?fields=location&exclude_default", poolMandatory + " location"},
		{"/v1" + pool, poolMandatory + " location extensions"},
		{"/v1" + pool + "?all_fields", poolMandatory + " location extensions"},
		{"/v1" + pool + "?exclude_fields=location, extensions", poolMandatory},
		{"/v2/resourcePools", "resourcePoolId name description oCloudSiteId"},
		{"/v2" + pool, "resourcePoolId name description oCloudSiteId extensions"},
		{"/v1/deploymentManagers", managerMandatory},
		{"/v1/deploymentManagers?all_fields", managerMandatory + " extensions"},
		{"/v1/deploymentManagers?fields=extensions/available", managerMandatory + " extensions"},
		{"/v1" + manager, managerMandatory + " extensions"},
		{"/v1" + manager + "?exclude_fields=extensions,capacity", managerMandatory},
		{"/v1" + pool + "/resources", resource},
		{"/v1" + pool + "/resources?all_fields", resource + " elements"},
		{"/v1" + pool + "/resources?fields=elements/resourceId", resource + " elements"},
		{"/v1" + pool + "/resources/" + srv.ID.String(), resource + " elements"},
		{"/v1" + pool + "/resources/" + srv.ID.String() + "?fields=description", resource},
		{"/v2" + pool + "/resources/" + srv.ID.String() + "?exclude_fields=elements", resource},
	} {
		_, body := fetch(t, s, http.MethodGet, BasePath+strings.ReplaceAll(tc.path, " ", "%20"))
		if body[0] == '[' {
			var list []json.RawMessage
			if err := json.Unmarshal(body, &list); err != nil || len(list) == 0 {
				t.Fatalf("%s: %s", tc.path, body)
			}
			body = list[0]
		}
		if got := strings.Join(members(t, body), " "); got != tc.want {
			t.Errorf("%s: %s\nwant %s", tc.path, got, tc.want)
		}
	}

	for query, want := range map[string]string{
		"exclude_fields=extensions":                        `"extensions":{}`,
		"fields=extensions/vendor":                         `"extensions":{"vendor":"Dell Inc."}`,
		"fields=extensions/nics/eno1/mac":                  `"extensions":{"nics":{"eno1":{"mac":"00:11:22:33:44:55"}}}`,
		"fields=extensions/numa/id":                        `"extensions":{"numa":[{"id":0}]}`,
		"fields=extensions/vendor/nothing":                 `"extensions":{}`,
		"fields=extensions/nothing":                        `"extensions":{}`,
		"fields=description":                               `"extensions":{}`,
		"fields=extensions/labels/kubernetes.io~1hostname": `"extensions":{"labels":{"kubernetes.io/hostname":"a"}}`,
		"fields=elements/extensions/slot&all_fields=x":     `"slot":"0000:03:00"`,
		"fields=elements/extensions/slot":                  `"elements":[{"extensions":{"slot":"0000:03:00"}},{`,
	} {
		_, body := fetch(t, s, http.MethodGet, BasePath+"/v2"+pool+"/resources/"+srv.ID.String()+"?"+query)
		if !strings.Contains(string(body), want) {
			t.Errorf("%s: %s\nwant %s", query, body, want)
		}
	}
	_, body := fetch(t, s, http.MethodGet, BasePath+"/v2"+pool+"/resources?exclude_fields=extensions/labels,extensions/node/roles,tags")
	if text := string(body); strings.Contains(text, `"labels"`) || strings.Contains(text, `"roles"`) || !strings.Contains(text, `"ready":"True"`) || !strings.Contains(text, `"tags":[]`) {
		t.Errorf("parts of extensions were to go: %s", body)
	}
}

// members returns the names in an object, in their order.
func members(t testing.TB, object []byte) []string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(object))
	var found []string
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, name.(string))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// TestFilterOnOneRecord: a single record that does not match is not there.
func TestFilterOnOneRecord(t *testing.T) {
	m := twoClusters(t)
	s := serve(t, m, &access{})
	srv := server(t, m, "edge-1", "a")
	for filter, want := range map[string]int{
		"(eq,globalAssetId,SN-a)":                    200,
		"(eq,globalAssetId,SN-b)":                    404,
		"(eq,elements/extensions/class,accelerator)": 200,
		"(eq,elements/extensions/class,quantum)":     404,
		"(eq,elements/extensions/class,storage);(eq,elements/extensions/storage/media,NVME)": 200,
		"(eq,elements/extensions/class,port);(eq,elements/extensions/storage/media,NVME)":    404,
		"(eq,color,red)": 400,
	} {
		r, body := fetch(t, s, http.MethodGet, BasePath+"/v1/resourcePools/"+srv.PoolID.String()+"/resources/"+srv.ID.String()+"?filter="+url.QueryEscape(filter))
		if r.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", filter, r.StatusCode, body, want)
		}
	}
}

// TestProfilesCannotBeGuessed: a filter sees no more than its caller.
func TestProfilesCannotBeGuessed(t *testing.T) {
	m := twoClusters(t)
	const query = "?filter=(cont,extensions/profileData/cluster_ca_cert,PEM)"
	for allowed, want := range map[bool]int{true: 2, false: 0} {
		_, body := fetch(t, serve(t, m, &access{allowed: allowed}), http.MethodGet, BasePath+"/v1/deploymentManagers"+query)
		if got := len(names(t, body)); got != want {
			t.Errorf("allowed %t: %d records, want %d", allowed, got, want)
		}
	}
}

func TestExplain(t *testing.T) {
	s := serve(t, twoClusters(t), &access{})
	_, body := fetch(t, s, http.MethodGet, BasePath+"/v1/deploymentManagers?explain&filter=(eq,extensions/available,True);(eq,name,edge-2)")
	var answer struct {
		Filter         string
		Matched, Total int
		Explain        []struct {
			Matches bool
			Term    string
			Have    []string
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Matched != 1 || answer.Total != 2 || len(answer.Explain) != 2 {
		t.Fatalf("%v: %s", err, body)
	}
	for _, e := range answer.Explain {
		if !e.Matches && (e.Term != "(eq,name,edge-2)" || !slices.Equal(e.Have, []string{"edge-1"})) {
			t.Errorf("%+v", e)
		}
	}
	if _, list := fetch(t, s, http.MethodGet, BasePath+"/v1/deploymentManagers?explain"); list[0] != '[' {
		t.Errorf("without a filter there is nothing to explain: %s", list)
	}
}

// TestPages reads lists page by page, on two replicas in turn, while records come and go.
func TestPages(t *testing.T) {
	m := newModel(t)
	m.SetCluster(facts("edge-1", 1))
	var nodes []hardware.Machine
	for i := range 25 {
		nodes = append(nodes, machine(fmt.Sprintf("node-%02d", i), fmt.Sprintf("uuid:%d", i)))
	}
	m.setNodes("edge-1", nodes...)
	replicas := make([]http.Handler, 2)
	for i := range replicas {
		router := mux.NewRouter()
		pager := rest.NewPager(rest.PagingOptions{Size: 10, Decimal: true}, []byte("a key of replicas"))
		NewAPI(m, &access{}, APIOptions{Versions: []string{"v2"}}, pager).Routes(router)
		replicas[i] = router
	}
	first := BasePath + "/v2/resourcePools/" + PoolID(oCloudID, "default", "edge-1").String() + "/resources?filter=(cont,description,node-)&fields=description"
	turn := 0
	next := func(path string) ([]string, http.Header) {
		turn++
		r, body := get(t, replicas[turn%2], path)
		var list []struct {
			ID string `json:"resourceId"`
		}
		if err := json.Unmarshal(body, &list); err != nil {
			t.Fatalf("%s: %d %s", path, r.StatusCode, body)
		}
		ids := make([]string, len(list))
		for i := range list {
			ids[i] = list[i].ID
		}
		return ids, r.Header
	}
	var all []string
	pages := 0
	for path := first; path != ""; pages++ {
		ids, header := next(path)
		if header.Get("X-Total-Count") != "25" {
			t.Errorf("X-Total-Count = %s, want 25", header.Get("X-Total-Count"))
		}
		all = append(all, ids...)
		path = linkOf(t, header)
	}
	if pages != 3 || len(all) != 25 || !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != 25 {
		t.Fatalf("%d pages with %d records, in order: %t", pages, len(all), slices.IsSorted(all))
	}

	// The first page loses a record before the second is asked for: nothing is skipped.
	ids, header := next(first)
	m.setNodes("edge-1", slices.DeleteFunc(slices.Clone(nodes), func(n hardware.Machine) bool {
		return hardware.ServerID(n.Key).String() == ids[0]
	})...)
	if second, header := next(linkOf(t, header)); !slices.Equal(second, all[10:20]) || header.Get("X-Total-Count") != "24" {
		t.Errorf("second page %q of %s, want %q of 24", second, header.Get("X-Total-Count"), all[10:20])
	}

	for marker, want := range map[string][]string{"1": all[1:11], "2": all[11:21], "3": all[21:], "99": all[21:]} {
		if got, _ := next(first + "&nextpage_opaque_marker=" + marker); !slices.Equal(got, want) {
			t.Errorf("page %s: %q, want %q", marker, got, want)
		}
	}
	other := strings.Replace(linkOf(t, header), "node-", "node-0", 1)
	if r, body := get(t, replicas[0], other); r.StatusCode != http.StatusBadRequest {
		t.Errorf("a marker of another list: %d %s, want 400", r.StatusCode, body)
	}
}

// TestIndex: a filter on ids need not look at other records, and says the same.
func TestIndex(t *testing.T) {
	m := twoClusters(t)
	s := serve(t, m, &access{})
	a, b := server(t, m, "edge-1", "a"), server(t, m, "edge-1", "b")
	for filter, want := range map[string]int{
		"(eq,resourceId," + a.ID.String() + ")":                                                        1,
		"(eq,resourceId," + strings.ToUpper(a.ID.String()) + ")":                                       1,
		"(in,resourceId," + a.ID.String() + "," + b.ID.String() + "," + a.ID.String() + ",x)":          2,
		"(eq,resourceId," + a.ID.String() + ");(eq,globalAssetId,SN-b)":                                0,
		"(eq,resourceId," + server(t, m, "edge-2", "c").ID.String() + ")":                              0,
		"(eq,resourceId," + a.ID.String() + ");(eq,resourceId," + b.ID.String() + ")":                  0,
		"(neq,resourceId," + a.ID.String() + ")":                                                       1,
		"(eq,resourceTypeId," + a.Type.ID.String() + ");(eq,resourcePoolId," + a.PoolID.String() + ")": 2,
	} {
		_, body := fetch(t, s, http.MethodGet, BasePath+"/v1/resourcePools/"+a.PoolID.String()+"/resources?filter="+url.QueryEscape(filter))
		if got := len(names(t, body)); got != want {
			t.Errorf("%s: %d, want %d: %s", filter, got, want, body)
		}
	}
}

// TestETags: an answer that did not change is not sent again, one that did is, and
// replicas that never heard of each other agree on the difference.
func TestETags(t *testing.T) {
	m, other := twoClusters(t), twoClusters(t)
	srv := server(t, m, "edge-1", "a")
	pool := "/resourcePools/" + srv.PoolID.String()
	paths := []string{
		"/api_versions", "/v1", "/v1/api_versions", "/v1/deploymentManagers", "/v1/resourceTypes", "/v1/resourcePools", "/v1" + pool, "/v1" + pool + "/resources",
		"/v1" + pool + "/resources?all_fields", "/v1" + pool + "/resources/" + srv.ID.String(), "/v1" + pool + "/resources/" + srv.elements[1].id.String(),
		"/v1" + pool + "/resources?filter=(eq,globalAssetId,SN-a)", "/v2", "/v2/locations", "/v2/oCloudSites", "/v2/alarmDictionaries",
	}
	tags := make(map[string]string)
	for _, path := range paths {
		r, body := get(t, handler(m), BasePath+path)
		tag := r.Header.Get("ETag")
		if twin, _ := get(t, handler(other), BasePath+path); tag == "" || twin.Header.Get("ETag") != tag {
			t.Errorf("%s: ETag %s here and %s there", path, tag, twin.Header.Get("ETag"))
		}
		tags[path] = tag
		for _, condition := range []string{tag, "W/" + tag, `"x", ` + tag, "*", strings.TrimSuffix(tag, `"`) + `-gzip"`} {
			r, rest := get(t, handler(m), BasePath+path, "If-None-Match", condition)
			if got := r.Header.Get("ETag"); r.StatusCode != http.StatusNotModified || len(rest) > 0 || got != tag && got != condition {
				t.Errorf("%s with If-None-Match %s: %d and %d bytes", path, condition, r.StatusCode, len(rest))
			}
		}
		if r, again := get(t, handler(m), BasePath+path, "If-None-Match", `"x"`); r.StatusCode != http.StatusOK || !bytes.Equal(again, body) {
			t.Errorf("%s with another's ETag: %d", path, r.StatusCode)
		}
	}
	if tags["/v1/deploymentManagers"] == tags["/v1/resourceTypes"] {
		t.Error("different answers have one ETag")
	}

	// A part of one server changes, and the digest of the report with it.
	changed := machine("a", "uuid:a")
	changed.Elements[0].Firmware = "2.0"
	inv, head := inventoryOf("edge-1", changed, machine("b", "uuid:b"))
	head.SHA256 = "another"
	m.SetReport("edge-1", inv, head)
	for path, want := range map[string]bool{
		"/v1" + pool + "/resources":                                false,
		"/v1" + pool + "/resources?all_fields":                     true,
		"/v1" + pool + "/resources/" + srv.ID.String():             true,
		"/v1" + pool + "/resources/" + srv.elements[0].id.String(): true,
		"/v1" + pool + "/resources/" + srv.elements[1].id.String(): false,
		"/v1/resourceTypes":                                        false,
	} {
		before, known := tags[path]
		if !known {
			r, _ := get(t, handler(other), BasePath+path)
			before = r.Header.Get("ETag")
		}
		if r, _ := get(t, handler(m), BasePath+path); (r.Header.Get("ETag") != before) != want {
			t.Errorf("%s: ETag changed: %t, want %t", path, !want, want)
		}
	}
}

func handler(m *Model) http.Handler {
	router := mux.NewRouter()
	newAPI(m, &access{}).Routes(router)
	return router
}

// TestVersionsServed: what is not served does not exist.
func TestVersionsServed(t *testing.T) {
	router := mux.NewRouter()
	pager := rest.NewPager(rest.PagingOptions{Size: 10}, nil)
	NewAPI(twoClusters(t), &access{}, APIOptions{Versions: []string{"v1"}}, pager).Routes(router)
	for path, want := range map[string]int{"/v1": 200, "/v1/deploymentManagers": 200, "/v2": 404, "/v2/deploymentManagers": 404, "/v2/api_versions": 404, "/api_versions": 200} {
		if r, body := get(t, router, BasePath+path); r.StatusCode != want || strings.Contains(string(body), "2.0.0") {
			t.Errorf("%s: %d %s, want %d", path, r.StatusCode, body, want)
		}
	}
	for versions, ok := range map[string]bool{"v1": true, "v2": true, "v1,v2": true, "v3": false, "": false} {
		o := APIOptions{Versions: slices.DeleteFunc(strings.Split(versions, ","), func(s string) bool { return s == "" })}
		if err := o.Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", versions, err)
		}
	}
}
