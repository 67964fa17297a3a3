package inventory

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/rest"
)

// access answers every question alike and notes it.
type access struct {
	allowed bool
	err     error
	asked   []string
}

func (a *access) Allowed(_ context.Context, verb, path string) (bool, error) {
	a.asked = append(a.asked, verb+" "+path)
	return a.allowed, a.err
}

// newAPI returns the API in both versions.
func newAPI(m *Model, a Access) *API {
	return NewAPI(m, a, APIOptions{Versions: []string{"v1", "v2"}}, rest.NewPager(rest.PagingOptions{Size: 10_000, Decimal: true}, []byte("a key of replicas")))
}

// serve starts the API of a model on loopback.
func serve(t testing.TB, m *Model, a Access) *httptest.Server {
	t.Helper()
	router := mux.NewRouter().SkipClean(true)
	newAPI(m, a).Routes(router)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { router.ServeHTTP(w, rest.Normalize(r)) }))
	t.Cleanup(s.Close)
	return s
}

// fetch returns the answer to one request.
func fetch(t testing.TB, s *httptest.Server, method, path string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, body
}

func twoClusters(t testing.TB) *Model {
	m := newModel(t)
	m.SetCluster(facts("edge-1", 2))
	m.SetCluster(facts("edge-2", 1))
	m.setNodes("edge-1", machine("a", "uuid:a"), machine("b", "uuid:b"))
	m.setNodes("edge-2", machine("c", "uuid:c"))
	return m
}

func TestRoutes(t *testing.T) {
	m := twoClusters(t)
	s := serve(t, m, &access{})
	pool, other := PoolID(oCloudID, "default", "edge-1").String(), PoolID(oCloudID, "default", "edge-2").String()
	srv := server(t, m, "edge-1", "a")
	nobody := uuid.NewString()
	for _, tc := range []struct {
		method, path string
		status       int
		want         string // part of the body
	}{
		{"GET", "/api_versions", 200, `"uriPrefix":"https://o2ims.example.net/o2ims-infrastructureInventory","apiVersions":[{"version":"1.0.0"},{"version":"2.0.0"}]`},
		{"GET", "/v1/api_versions", 200, `"uriPrefix":"https://o2ims.example.net/o2ims-infrastructureInventory/v1"`},
		{"GET", "/v1", 200, `"oCloudId":"` + oCloudID},
		{"GET", "/v1/", 200, `"serviceUri":"https://o2ims.example.net"`},
		{"GET", "/v1/deploymentManagers", 200, `"name":"edge-2"`},
		{"GET", "/v1/deploymentManagers/" + DeploymentManagerID(oCloudID, "id-edge-1").String(), 200, `"serviceUri":"https://api.edge-1.example.net:6443"`},
		{"GET", "/v1/deploymentManagers/" + nobody, 404, nobody},
		{"GET", "/v1/deploymentManagers/edge-1", 400, "deploymentManagerId"},
		{"GET", "/v1/resourceTypes", 200, `"name":"Dell Inc./PowerEdge XR8620t"`},
		{"GET", "/v1/resourceTypes/" + srv.Type.ID.String(), 200, `"resourceClass":"COMPUTE"`},
		{"GET", "/v1/resourceTypes/" + strings.ToUpper(srv.Type.ID.String()), 200, `"resourceKind":"PHYSICAL"`},
		{"GET", "/v1/resourceTypes/" + nobody, 404, nobody},
		{"GET", "/v1/resourceTypes/x", 400, "resourceTypeId"},
		{"GET", "/v1/resourcePools", 200, `"oCloudId":"` + oCloudID},
		{"GET", "/v1/resourcePools/" + pool, 200, `"name":"edge-1"`},
		{"GET", "/v1/resourcePools/" + pool + "/", 200, `"globalLocationId":"unspecified"`},
		{"GET", "/v1/resourcePools/" + nobody, 404, nobody},
		{"GET", "/v1/resourcePools/x", 400, "resourcePoolId"},
		{"GET", "/v1/resourcePools/" + pool + "/resources", 200, `"globalAssetId":"SN-a"`},
		{"GET", "/v1/resourcePools/" + pool + "/resources?filter=(eq,a,b);(eq,c,d)", 400, `attribute \"a\" is not known`},
		{"GET", "/v1/resourcePools/" + pool + "/resources?filter=(eq,globalAssetId,SN-a);(eq,extensions/clusterName,edge-1)", 200, `"globalAssetId":"SN-a"`},
		{"GET", "/v1/resourcePools/" + nobody + "/resources", 404, nobody},
		{"GET", "/v1/resourcePools/x/resources", 400, "resourcePoolId"},
		{"GET", "/v1/resourcePools/" + pool + "/resources/" + srv.ID.String(), 200, `"elements":[{`},
		{"GET", "/v1/resourcePools/" + pool + "/resources/" + srv.elements[4].id.String(), 200, `"cores":32`},
		{"GET", "/v1/resourcePools/" + other + "/resources/" + srv.ID.String(), 404, "resource " + srv.ID.String()},
		{"GET", "/v1/resourcePools/" + other + "/resources/" + srv.elements[4].id.String(), 404, `"resourcePoolId":"` + other},
		{"GET", "/v1/resourcePools/" + nobody + "/resources/" + srv.ID.String(), 404, "resource pool"},
		{"GET", "/v1/resourcePools/" + pool + "/resources/" + nobody, 404, nobody},
		{"GET", "/v1/resourcePools/" + pool + "/resources/x", 400, "resourceId"},
		{"GET", "/v1/resourceTypes/" + srv.Type.ID.String() + "/alarmDictionary", 200, `"managementInterfaceId":["O2IMS"]`},
		{"GET", "/v1/resourceTypes/" + nobody + "/alarmDictionary", 404, nobody},
		{"GET", "/v1/alarmDictionaries", 200, srv.Type.Dictionary.ID.String()},
		{"GET", "/v1/alarmDictionaries/" + srv.Type.Dictionary.ID.String(), 200, `"entityType":"PowerEdge XR8620t"`},
		{"GET", "/v1/locations", 404, ""},
		{"GET", "/v1/oCloudSites", 404, ""},
		{"GET", "/v1/openapi.yaml", 200, "openapi: 3.1.0"},
		{"GET", "/v2/api_versions", 200, `"uriPrefix":"https://o2ims.example.net/o2ims-infrastructureInventory/v2","apiVersions":[{"version":"2.0.0"}]`},
		{"GET", "/v2", 200, `"extensions":{}`},
		{"GET", "/v2/deploymentManagers", 200, `"name":"edge-2"`},
		{"GET", "/v2/resourceTypes/" + srv.Type.ID.String(), 200, `"alarmDictionaryId":"` + srv.Type.Dictionary.ID.String()},
		{"GET", "/v2/resourceTypes/" + srv.Type.ID.String() + "/alarmDictionary", 200, `"pkNotificationField":["alarmDefinitionId"]`},
		{"GET", "/v2/resourcePools/" + pool, 200, `"oCloudSiteId":"` + SiteID(oCloudID, "default").String()},
		{"GET", "/v2/resourcePools/" + pool + "/resources/" + srv.ID.String(), 200, `"elements":[{`},
		{"GET", "/v2/oCloudSites", 200, `"resourcePools":["`},
		{"GET", "/v2/oCloudSites/" + SiteID(oCloudID, "default").String(), 200, `"name":"default"`},
		{"GET", "/v2/oCloudSites/" + nobody, 404, nobody},
		{"GET", "/v2/oCloudSites/default", 400, "oCloudSiteId"},
		{"GET", "/v2/locations", 200, `"globalLocationId":"unspecified"`},
		{"GET", "/v2/locations/unspecified", 200, `"oCloudSiteIds":["`},
		{"GET", "/v2/locations/nowhere%20at%20all", 404, "nowhere at all"},
		{"GET", "/v3", 404, ""},
		{"GET", "/v1/resourcetypes", 404, ""},
		{"GET", "/v1//resourceTypes", 404, ""},
		{"POST", "/v1", 405, `"status":405`},
		{"POST", "/v1/resourcePools", 405, ""},
		{"DELETE", "/v1/resourcePools/" + pool, 405, ""},
		{"POST", "/v1/resourcePools/x/resources", 405, ""}, // before the 400 of the parameter
		{"PUT", "/v1/resourceTypes/" + nobody, 405, ""},
		{"POST", "/v1/deploymentManagers", 405, ""},
		{"PATCH", "/api_versions", 405, ""},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			r, body := fetch(t, s, tc.method, BasePath+tc.path)
			if r.StatusCode != tc.status || !strings.Contains(string(body), tc.want) {
				t.Errorf("%d %s\nwant %d and %s", r.StatusCode, body, tc.status, tc.want)
			}
			if r.StatusCode == http.StatusOK && !strings.HasSuffix(tc.path, ".yaml") && (!json.Valid(body) || r.Header.Get("Content-Type") != "application/json") {
				t.Errorf("not JSON: %s %s", r.Header.Get("Content-Type"), body)
			}
			if got := r.Header.Get("Allow"); (got == "GET, HEAD") != (tc.status == http.StatusMethodNotAllowed) {
				t.Errorf("Allow = %q with status %d", got, tc.status)
			}
			if tc.method != http.MethodGet {
				return
			}
			head, nothing := fetch(t, s, http.MethodHead, BasePath+tc.path)
			if head.StatusCode != tc.status || len(nothing) > 0 || head.Header.Get("Content-Type") != r.Header.Get("Content-Type") {
				t.Errorf("HEAD: %d %s, want the head of GET", head.StatusCode, head.Header.Get("Content-Type"))
			}
		})
	}
}

// walk calls visit for every value in a JSON document.
func walk(v any, path string, visit func(path string, v any)) {
	visit(path, v)
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			walk(value, path+"/"+key, visit)
		}
	case []any:
		for _, value := range v {
			walk(value, path, visit)
		}
	}
}

// TestRecordsAreWholesome checks what all records must have: no null, no nil UUID, no
// empty name, unique identifiers in ascending order.
func TestRecordsAreWholesome(t *testing.T) {
	m := twoClusters(t)
	m.setNodes("edge-2", machine("c", "uuid:c"), hardware.Machine{Name: "bare", Key: "uuid:bare"}, machine("dup", "uuid:a"))
	s := serve(t, m, &access{allowed: true})
	lists := make(map[string]string)
	for _, version := range []string{"/v1", "/v2"} {
		lists[version+"/deploymentManagers"] = "deploymentManagerId"
		lists[version+"/resourceTypes"] = "resourceTypeId"
		lists[version+"/alarmDictionaries"] = "alarmDictionaryId"
		lists[version+"/resourcePools"] = "resourcePoolId"
		for p := range m.Snapshot().ResourcePools {
			lists[version+"/resourcePools/"+p.ID.String()+"/resources"] = "resourceId"
		}
	}
	lists["/v2/locations"], lists["/v2/oCloudSites"] = "globalLocationId", "oCloudSiteId"
	for path, id := range maps.Clone(lists) {
		lists[path+"?all_fields"] = id
	}
	for path, idKey := range lists {
		_, body := fetch(t, s, http.MethodGet, BasePath+path)
		var list []map[string]any
		if err := json.Unmarshal(body, &list); err != nil || len(list) == 0 {
			t.Fatalf("%s: %d records, %v", path, len(list), err)
		}
		ids := make([]string, len(list))
		for i, record := range list {
			ids[i] = record[idKey].(string)
			walk(record, "", func(at string, v any) {
				switch {
				case v == nil:
					t.Errorf("%s: %s is null", path, at)
				case v == uuid.Nil.String():
					t.Errorf("%s: %s is the nil UUID", path, at)
				case v == "" && strings.HasSuffix(at, "/name"), v == "/":
					t.Errorf("%s: %s is %q", path, at, v)
				}
			})
			if single, body := fetch(t, s, http.MethodGet, BasePath+strings.TrimSuffix(path, "?all_fields")+"/"+ids[i]); single.StatusCode != 200 {
				t.Errorf("%s of the list is not to be had by itself: %s", ids[i], body)
			}
		}
		if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
			t.Errorf("%s: ids %v are not unique and ascending", path, ids)
		}
	}
}

func TestElements(t *testing.T) {
	m := twoClusters(t)
	s := serve(t, m, &access{})
	list := BasePath + "/v1/resourcePools/" + PoolID(oCloudID, "default", "edge-1").String() + "/resources"
	for query, want := range map[string]bool{
		"":                                 false,
		"?all_fields":                      true,
		"?fields=elements":                 true,
		"?fields=description,elements":     true,
		"?fields=elements/resourceId":      true,
		"?fields=description":              false,
		"?fields=elementsOfStyle":          false,
		"?exclude_fields=extensions":       false,
		"?exclude_default":                 false,
		"?exclude_default&fields=elements": true,
		"?all_fields&filter=(neq,tags,b);(eq,groups,null)": true,
	} {
		_, body := fetch(t, s, http.MethodGet, list+query)
		if got := strings.Contains(string(body), `"elements":`); got != want {
			t.Errorf("%q: elements: %t, want %t", query, got, want)
		}
	}

	srv := server(t, m, "edge-1", "a")
	_, whole := fetch(t, s, http.MethodGet, list+"/"+srv.ID.String())
	var resource struct {
		Elements []json.RawMessage `json:"elements"`
	}
	if err := json.Unmarshal(whole, &resource); err != nil || len(resource.Elements) != srv.Machine.Len() {
		t.Fatalf("%d elements, %v", len(resource.Elements), err)
	}
	classes := make(map[string]string)
	for _, raw := range resource.Elements {
		var e struct {
			ResourceID     string            `json:"resourceId"`
			ResourceTypeID string            `json:"resourceTypeId"`
			ResourcePoolID string            `json:"resourcePoolId"`
			Elements       []json.RawMessage `json:"elements"`
			Extensions     struct{ Class, ParentID string }
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		if _, alone := fetch(t, s, http.MethodGet, list+"/"+e.ResourceID); string(alone) != string(raw) {
			t.Errorf("alone the element is\n%s\nin its server\n%s", alone, raw)
		}
		if e.ResourcePoolID != srv.PoolID.String() || e.Elements == nil {
			t.Errorf("element %s", raw)
		}
		_, typ := fetch(t, s, http.MethodGet, BasePath+"/v1/resourceTypes/"+e.ResourceTypeID)
		var rt struct{ ResourceClass string }
		if err := json.Unmarshal(typ, &rt); err != nil {
			t.Fatal(err)
		}
		classes[e.Extensions.Class] = rt.ResourceClass
		wantParent := ""
		if e.Extensions.Class == "port" {
			wantParent = hardware.ElementID(srv.ID, hardware.Adapter, "0000:01:00").String()
		}
		if e.Extensions.ParentID != wantParent {
			t.Errorf("parentId of %s = %q, want %q", e.Extensions.Class, e.Extensions.ParentID, wantParent)
		}
	}
	want := map[string]string{"processor": "COMPUTE", "memory": "COMPUTE", "accelerator": "COMPUTE",
		"adapter": "NETWORKING", "port": "NETWORKING", "ptpClock": "NETWORKING", "storage": "STORAGE"}
	for class, resourceClass := range want {
		if classes[class] != resourceClass {
			t.Errorf("resourceClass of %s = %q, want %q", class, classes[class], resourceClass)
		}
	}
}

func TestServerExtensions(t *testing.T) {
	m := newModel(t)
	n := machine("a", "uuid:a")
	n.Server.Synthetic, n.Server.Virtual = true, "kvm"
	m.SetCluster(facts("edge-1", 1))
	m.setNodes("edge-1", n)
	srv := server(t, m, "edge-1", "a")
	if srv.Type.Kind != "LOGICAL" {
		t.Errorf("resourceKind of a virtual machine = %s", srv.Type.Kind)
	}
	got := extensions(t, srv.v1.Whole)
	for key, want := range map[string]string{
		"vendor": `"Dell Inc."`, "model": `"PowerEdge XR8620t"`, "memory": `"65536 MiB"`, "clusterName": `"edge-1"`, "synthetic": `true`,
		"processors": `[{"architecture":"amd64","cores":32,"cpus":64,"frequency":2000,"model":"Intel(R) Xeon(R) Gold 6438N","vendor":"Intel"}]`,
		"nics":       `{"eno1":{"link":"up","mac":"00:11:22:33:44:55","model":"E810-C","pciAddress":"0000:01:00.0","speedGbps":25}}`,
		"storage":    `{"/dev/nvme0n1":{"alternateNames":[],"model":"PM9A3","serialNumber":"S1","sizeBytes":1030792151040,"type":"NVME"}}`,
		"labels":     `{"kubernetes.io/hostname":"a"}`,
		"node":       `{"name":"a","ready":"True","roles":["worker"]}`,
		"bios":       `{"vendor":"Dell Inc.","version":"2.1"}`,
		"numa":       `[{"cpus":"0-31","id":0}]`,
	} {
		text, err := json.Marshal(got[key])
		if err != nil || string(text) != want {
			t.Errorf("%s = %s, want %s", key, text, want)
		}
	}
	if _, has := got["powerState"]; has {
		t.Error("powerState is shown, though no source tells it")
	}
}

// TestProfileData: how to reach a cluster is for those who may.
func TestProfileData(t *testing.T) {
	m := twoClusters(t)
	for _, tc := range []struct {
		name    string
		access  access
		status  int
		profile bool
	}{
		{"reader", access{}, 200, false},
		{"deployer", access{allowed: true}, 200, true},
		{"nobody can tell", access{err: fault.Unavailable}, 503, false},
	} {
		for _, path := range []string{"?all_fields", "?fields=extensions/profileData", "/" + DeploymentManagerID(oCloudID, "id-edge-1").String()} {
			t.Run(tc.name+path, func(t *testing.T) {
				a := tc.access
				r, body := fetch(t, serve(t, m, &a), http.MethodGet, BasePath+"/v1/deploymentManagers"+path)
				shown := strings.Contains(string(body), `"profileData":{"cluster_api_endpoint":"https://api.edge-1.example.net:6443","cluster_ca_cert":"PEM of edge-1"}`)
				if r.StatusCode != tc.status || shown != tc.profile {
					t.Errorf("%d, profileData: %t, want %d, %t: %s", r.StatusCode, shown, tc.status, tc.profile, body)
				}
				if want := []string{"profile " + BasePath + "/v1/deploymentManagers"}; !slices.Equal(a.asked, want) {
					t.Errorf("asked %q, want %q", a.asked, want)
				}
			})
		}
	}
}

func TestOCloudInfo(t *testing.T) {
	global := "18f2dc90-b375-47dd-b8dc-ae80072e6cdb"
	for _, tc := range []struct {
		global, query string
		want          string
	}{
		{"", "", `{"oCloudId":"` + oCloudID + `","name":"n","description":"d","serviceUri":"https://h"}`},
		{global, "", `{"oCloudId":"` + oCloudID + `","globalCloudId":"` + global + `","globalcloudId":"` + global + `","name":"n","description":"d","serviceUri":"https://h"}`},
		{"", "?all_fields", `{"oCloudId":"` + oCloudID + `","name":"n","description":"d","serviceUri":"https://h","extensions":{}}`},
	} {
		m, err := New(Options{OCloudID: oCloudID, GlobalCloudID: tc.global, Name: "n", Description: "d", ServiceURI: "https://h"})
		if err != nil {
			t.Fatal(err)
		}
		if _, body := fetch(t, serve(t, m, &access{}), http.MethodGet, BasePath+"/v1"+tc.query); string(body) != tc.want {
			t.Errorf("%s\nwant %s", body, tc.want)
		}
	}
}

// get asks a handler itself. headers are names and values in turn.
func get(t testing.TB, h http.Handler, path string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, rest.Normalize(r))
	return w.Result(), w.Body.Bytes()
}

// linkOf returns the path and query of the next page; "" when there is none.
func linkOf(t testing.TB, h http.Header) string {
	t.Helper()
	link := h.Get("Link")
	if link == "" {
		return ""
	}
	target, found := strings.CutSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
	u, err := url.Parse(target)
	if err != nil || !found || u.Scheme != "https" || u.Host == "" {
		t.Fatalf("Link: %s (%v)", link, err)
	}
	return u.RequestURI()
}
