package conformance

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	"github.com/o2ims/o2ims/pkg/inventory/openapi"
)

// validator checks answers against the OpenAPI document of one version.
type validator struct {
	document record
	paths    []documentedPath
	schemas  map[string]*jsonschema.Schema // by location in the document
	compiler *jsonschema.Compiler
}

// documentedPath is one entry of paths.
type documentedPath struct {
	template string
	match    *regexp.Regexp
	item     record
}

// documentURL names the document to the compiler of schemas; nothing is fetched from it.
const documentURL = "https://o2ims.invalid/openapi.json"

func newValidator(major string) (*validator, error) {
	v, err := validatorOf(openapi.Document(major))
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document of %s: %w", major, err)
	}
	return v, nil
}

func validatorOf(text []byte) (*validator, error) {
	document, err := parseDocument(text)
	if err != nil {
		return nil, err
	}
	v := &validator{document: document, schemas: map[string]*jsonschema.Schema{}, compiler: jsonschema.NewCompiler()}
	v.compiler.AssertFormat()
	if err := v.compiler.AddResource(documentURL, document); err != nil {
		return nil, err
	}
	paths, _ := v.document["paths"].(record)
	for template, item := range paths {
		pattern := regexp.MustCompile(`\\\{[^/]*\\\}`).ReplaceAllString(regexp.QuoteMeta(template), "[^/]+")
		p := documentedPath{template: template, match: regexp.MustCompile("^" + pattern + "/?$")}
		p.item, _ = item.(record)
		v.paths = append(v.paths, p)
	}
	return v, nil
}

// parseDocument reads an OpenAPI document in YAML.
func parseDocument(text []byte) (record, error) {
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return nil, err
	}
	document, ok := v.(record)
	if !ok {
		return nil, fmt.Errorf("it is %s, want an object", kind(v))
	}
	return document, nil
}

// path returns the entry for a request's path: of several, the one without parameters.
//
// Source: OpenAPI 3.1.0, 4.8.8.2.
func (v *validator) path(path string) (found documentedPath, known bool) {
	for _, p := range v.paths {
		if p.match.MatchString(path) && (!known || !strings.Contains(p.template, "{")) {
			found, known = p, true
		}
	}
	return found, known
}

// undocumented are the statuses that any path may answer; what they mean is said once, in
// the description of the document.
var undocumented = map[int]bool{
	http.StatusMethodNotAllowed: true, http.StatusRequestEntityTooLarge: true, http.StatusRequestURITooLong: true,
	http.StatusUnsupportedMediaType: true, http.StatusTooManyRequests: true, http.StatusRequestHeaderFieldsTooLarge: true,
}

const problemType = "application/problem+json"

// check returns what is wrong with an answer, as an error, or nil.
func (v *validator) check(a answer) error {
	if a.call.method == http.MethodHead || a.status == http.StatusRequestHeaderFieldsTooLarge {
		return nil // no body; an answer given before the request was one
	}
	u, err := url.ParseRequestURI(a.call.path)
	if err != nil {
		return nil // not a request that a document could know
	}
	problem := "#/components/schemas/ProblemDetails"
	p, known := v.path(u.EscapedPath())
	operation, _ := p.item[strings.ToLower(a.call.method)].(record)
	if !known || operation == nil || undocumented[a.status] {
		if a.status < 400 {
			return fmt.Errorf("%s: %d, but the document has no such operation", a.call, a.status)
		}
		return v.body(a, problemType, problem)
	}
	responses, _ := operation["responses"].(record)
	code := fmt.Sprint(a.status)
	response, there := responses[code].(record)
	if !there {
		return fmt.Errorf("%s: the document does not know status %d for this path", a.call, a.status)
	}
	at := "#/paths/" + pointer(p.template) + "/" + strings.ToLower(a.call.method) + "/responses/" + code
	if ref, is := response["$ref"].(string); is {
		at = ref
		if response, there = v.at(ref); !there {
			return fmt.Errorf("the document refers to %s, which it does not have", ref)
		}
	}
	if err := requiredHeaders(a, response); err != nil {
		return err
	}
	content, _ := response["content"].(record)
	if len(content) == 0 {
		if len(a.body) > 0 {
			return fmt.Errorf("%s: %d has a body of %d bytes, the document none", a.call, a.status, len(a.body))
		}
		return nil
	}
	if _, there := content[a.mediaType()]; !there {
		return fmt.Errorf("%s: %d has Content-Type %q, which the document does not know", a.call, a.status, a.header.Get("Content-Type"))
	}
	return v.body(a, a.mediaType(), at+"/content/"+pointer(a.mediaType())+"/schema")
}

func requiredHeaders(a answer, response record) error {
	headers, _ := response["headers"].(record)
	for name, h := range headers {
		if h, ok := h.(record); ok && h["required"] == true && a.header.Get(name) == "" {
			return fmt.Errorf("%s: %d without header %s", a.call, a.status, name)
		}
	}
	return nil
}

// body validates a body against the schema at a place in the document.
func (v *validator) body(a answer, mediaType, at string) error {
	if a.mediaType() != mediaType {
		return fmt.Errorf("%s: %d has Content-Type %q, want %s", a.call, a.status, a.header.Get("Content-Type"), mediaType)
	}
	if !strings.HasSuffix(mediaType, "json") {
		return nil
	}
	schema, compiled := v.schemas[at]
	if !compiled {
		var err error
		if schema, err = v.compiler.Compile(documentURL + at); err != nil {
			return fmt.Errorf("schema %s: %w", at, err)
		}
		v.schemas[at] = schema
	}
	value, err := a.value()
	if err != nil {
		return err
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("%s: %d: %w", a.call, a.status, err)
	}
	return nil
}

// at returns the object at a place in the document, such as #/components/responses/NotFound.
func (v *validator) at(ref string) (record, bool) {
	var here any = v.document
	for _, token := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		object, ok := here.(record)
		if !ok {
			return nil, false
		}
		here = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(token)]
	}
	object, ok := here.(record)
	return object, ok
}

// pointer escapes one token of a JSON pointer in a URL's fragment.
func pointer(token string) string {
	return url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
}
