package contract

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/mux"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	"github.com/o2ims/o2ims/pkg/alarm"
	alarmapi "github.com/o2ims/o2ims/pkg/alarm/openapi"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/inventory/openapi"
	"github.com/o2ims/o2ims/pkg/rest"
)

// nobody may do anything beyond the request itself.
type nobody struct{}

func (nobody) Allowed(context.Context, string, string) (bool, error) { return false, nil }

var allMajors = []string{"v1", "v2"}

// documented are the APIs and their documents.
var documented = []struct {
	name, base string
	numbers    map[string]string // version that a document is of, by major
	document   func(major string) []byte
	routes     func(t testing.TB, r *mux.Router)
}{
	{"inventory", inventory.BasePath, map[string]string{"v1": "1.0.0", "v2": "2.0.0"}, openapi.Document,
		func(t testing.TB, r *mux.Router) { routes(t, r, nobody{}, allMajors...) }},
	{"monitoring", alarm.BasePath, map[string]string{"v1": "1.2.0", "v2": "2.2.0"}, alarmapi.Document,
		func(t testing.TB, r *mux.Router) { monitoringRoutes(t, r, nobody{}, allMajors...) }},
}

// documentOf is a document of the inventory.
func documentOf(t *testing.T, major string) map[string]any {
	t.Helper()
	return parsed(t, openapi.Document(major))
}

func parsed(t *testing.T, text []byte) map[string]any {
	t.Helper()
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	document, ok := v.(map[string]any)
	if !ok {
		t.Fatal("the document is no object")
	}
	return document
}

func object(v any) map[string]any { o, _ := v.(map[string]any); return o }

// TestEveryRouteIsDocumented compares the routes of the server with the paths of the
// documents, both ways, each with its methods.
func TestEveryRouteIsDocumented(t *testing.T) {
	for _, api := range documented {
		t.Run(api.name, func(t *testing.T) {
			router := mux.NewRouter()
			api.routes(t, router)
			served := methodsOf(t, router)
			known := map[string][]string{}
			for _, major := range allMajors {
				for template, item := range object(parsed(t, api.document(major))["paths"]) {
					if !strings.HasPrefix(template, api.base+"/"+major) && template != api.base+"/api_versions" {
						t.Errorf("%s: path %s is of another version", major, template)
					}
					known[template] = slices.DeleteFunc(slices.Sorted(maps.Keys(object(item))), func(key string) bool { return key == "parameters" })
				}
			}
			for template, methods := range served {
				if !slices.Equal(methods, known[template]) {
					t.Errorf("%s is served with %v, documented with %v", template, methods, known[template])
				}
			}
			for template := range known {
				if served[template] == nil {
					t.Errorf("%s is documented and not served", template)
				}
			}
		})
	}
}

// methodsOf are the methods of a router by template of the path, sorted.
func methodsOf(t *testing.T, router *mux.Router) map[string][]string {
	t.Helper()
	served := map[string][]string{}
	err := router.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		template, err := route.GetPathTemplate()
		if err != nil {
			return err
		}
		methods, ok := route.GetHandler().(rest.Methods)
		if !ok {
			return fmt.Errorf("%s: its handler is a %T, whose methods nobody knows", template, route.GetHandler())
		}
		for method := range methods {
			served[template] = append(served[template], strings.ToLower(method))
		}
		slices.Sort(served[template])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return served
}

// TestDocumentsAreSound checks what a reader of a document relies on: references resolve,
// operations have names of their own, path parameters are declared, statuses are complete.
func TestDocumentsAreSound(t *testing.T) {
	for _, api := range documented {
		for _, major := range allMajors {
			t.Run(api.name+"-"+major, func(t *testing.T) {
				document := parsed(t, api.document(major))
				if got := document["openapi"]; got != "3.1.0" {
					t.Errorf("openapi: %v", got)
				}
				if got, want := fmt.Sprint(object(document["info"])["version"]), api.numbers[major]; got != want {
					t.Errorf("version %s, want %s", got, want)
				}
				if security, _ := document["security"].([]any); len(security) == 0 {
					t.Error("nothing says that a token is needed")
				}
				checkReferences(t, document)
				operations := map[string]string{}
				for template, item := range object(document["paths"]) {
					checkParameters(t, document, template, object(item))
					for method, operation := range object(item) {
						if method != "parameters" {
							checkOperation(t, operations, method+" "+template, object(operation))
						}
					}
				}
			})
		}
	}
}

func checkReferences(t *testing.T, document map[string]any) {
	walk(document, "", func(at string, o map[string]any) {
		if ref, is := o["$ref"].(string); is && resolve(document, ref) == nil {
			t.Errorf("%s: %s is not there", at, ref)
		}
		required, _ := o["required"].([]any)
		properties := object(o["properties"])
		for _, name := range required {
			if properties != nil && properties[fmt.Sprint(name)] == nil {
				t.Errorf("%s: %v is required and not described", at, name)
			}
		}
	})
}

// checkOperation checks that an operation has a name that no other has, and says what it can
// be answered with.
func checkOperation(t *testing.T, names map[string]string, operation string, o map[string]any) {
	id := fmt.Sprint(o["operationId"])
	if other, taken := names[id]; taken || o["operationId"] == nil {
		t.Errorf("%s: operationId %q is that of %q", operation, id, other)
	}
	names[id] = operation
	method, template, _ := strings.Cut(operation, " ")
	statuses := []string{"401", "403", "429", "500", "503"}
	if method == "get" {
		statuses = append(statuses, "200", "304")
	} else {
		statuses = append(statuses, "400")
	}
	for _, status := range statuses {
		if object(o["responses"])[status] == nil {
			t.Errorf("%s: status %s is not described", operation, status)
		}
	}
	if has404 := object(o["responses"])["404"] != nil; has404 != strings.Contains(template, "{") {
		t.Errorf("%s: 404 described: %t", operation, has404)
	}
}

var parameterName = regexp.MustCompile(`\{([^}]*)\}`)

func checkParameters(t *testing.T, document map[string]any, template string, item map[string]any) {
	var want, got []string
	for _, m := range parameterName.FindAllStringSubmatch(template, -1) {
		want = append(want, m[1])
	}
	parameters, _ := item["parameters"].([]any)
	own, _ := object(item["get"])["parameters"].([]any)
	for _, p := range append(parameters, own...) {
		parameter := object(p)
		if ref, is := parameter["$ref"].(string); is {
			parameter = object(resolve(document, ref))
		}
		if parameter["in"] == "path" {
			got = append(got, fmt.Sprint(parameter["name"]))
			if parameter["required"] != true {
				t.Errorf("%s: path parameter %v is not required", template, parameter["name"])
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: declares path parameters %v, want %v", template, got, want)
	}
}

// TestExamplesValidate checks the examples of the documents against their schemas.
func TestExamplesValidate(t *testing.T) {
	for _, api := range documented {
		for _, major := range allMajors {
			document := parsed(t, api.document(major))
			compiler := jsonschema.NewCompiler()
			compiler.AssertFormat()
			const url = "https://o2ims.invalid/document.json"
			if err := compiler.AddResource(url, document); err != nil {
				t.Fatal(err)
			}
			examples := 0
			walk(document, "#", func(at string, o map[string]any) {
				for name, e := range object(o["examples"]) {
					value, there := object(e)["value"]
					if !there || o["schema"] == nil || o["in"] != nil {
						continue
					}
					examples++
					schema, err := compiler.Compile(url + at + "/schema")
					if err != nil {
						t.Errorf("%s %s %s: %v", api.name, major, at, err)
						continue
					}
					if err := schema.Validate(value); err != nil {
						t.Errorf("%s %s %s: example %s: %v", api.name, major, at, name, err)
					}
				}
			})
			if examples < 5 {
				t.Errorf("%s %s: %d examples", api.name, major, examples)
			}
		}
	}
}

// TestSchemasRefuse checks that the schemas are not so lax that anything validates.
func TestSchemasRefuse(t *testing.T) {
	const pool = `"resourcePoolId":"0b6d0c0e-5f1b-5f0e-9f43-0a5f0a9f8d11","name":"a","description":"","oCloudSiteId":"77aa3c52-0d2e-5a39-8f5e-0f2b1f4a6d11"`
	for _, tc := range []struct {
		name, schema, body string
		valid              bool
	}{
		{"a pool", "ResourcePool", `{` + pool + `}`, true},
		{"an attribute of v1", "ResourcePool", `{` + pool + `,"oCloudId":"262c8f17-52b5-4614-9e56-812ae21fa8a7"}`, false},
		{"null for a map", "ResourcePool", `{` + pool + `,"extensions":null}`, false},
		{"no name", "ResourcePool", `{` + strings.Replace(pool, `"name":"a"`, `"name":""`, 1) + `}`, false},
		{"the nil UUID", "ResourcePool", `{` + strings.Replace(pool, "0b6d0c0e-5f1b-5f0e-9f43-0a5f0a9f8d11", "00000000-0000-0000-0000-000000000000", 1) + `}`, false},
		{"upper case", "ResourcePool", `{` + strings.Replace(pool, "0b6d", "0B6D", 1) + `}`, false},
		{"nothing mandatory", "ResourcePool", `{}`, false},
		{"a problem", "ProblemDetails", `{"status":404,"detail":"x"}`, true},
		{"a problem with instance", "ProblemDetails", `{"status":404,"detail":"x","instance":[]}`, false},
		{"a problem without detail", "ProblemDetails", `{"status":404}`, false},
		{"latitude before longitude", "Point", `{"type":"Point","coordinates":[38.8,-177.03]}`, false},
		{"no version", "APIVersions", `{"uriPrefix":"https://o2ims.example.net/x","apiVersions":[]}`, false},
	} {
		compiler := jsonschema.NewCompiler()
		compiler.AssertFormat()
		const url = "https://o2ims.invalid/document.json"
		if err := compiler.AddResource(url, documentOf(t, "v2")); err != nil {
			t.Fatal(err)
		}
		schema, err := compiler.Compile(url + "#/components/schemas/" + tc.schema)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); (err == nil) != tc.valid {
			t.Errorf("%s: %v, want valid: %t", tc.name, err, tc.valid)
		}
	}
}

// walk calls f for every object in v, with a JSON pointer to it.
func walk(v any, at string, f func(at string, o map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		f(at, v)
		for key, value := range v {
			walk(value, at+"/"+strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(key), f)
		}
	case []any:
		for i, value := range v {
			walk(value, fmt.Sprintf("%s/%d", at, i), f)
		}
	}
}

// resolve follows a reference within a document; nil when it leads nowhere.
func resolve(document map[string]any, ref string) any {
	var here any = document
	for _, token := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		here = object(here)[strings.NewReplacer("~1", "/", "~0", "~").Replace(token)]
	}
	return here
}

// TestDocument is for whoever asks for a version that is not there.
func TestDocument(t *testing.T) {
	for _, api := range documented {
		if d := api.document("v9"); d != nil {
			t.Errorf("%s: Document(v9) has %d bytes, want none", api.name, len(d))
		}
	}
}
