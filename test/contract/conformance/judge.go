package conformance

import (
	"fmt"
	"net/http"
)

// Document is an OpenAPI document that answers can be held to. Unlike a run it does not ask a
// server: it is for tests that have an answer already. It is used by one goroutine at a time.
type Document struct{ validator *validator }

// ParseDocument reads an OpenAPI document in YAML.
func ParseDocument(text []byte) (*Document, error) {
	v, err := validatorOf(text)
	if err != nil {
		return nil, err
	}
	return &Document{v}, nil
}

// Check tells what is wrong with the answer to a request. path has no query.
func (d *Document) Check(method, path string, status int, header http.Header, body []byte) error {
	a := answer{call: call{method: method, path: path}, status: status, header: header, body: body}
	if err := d.validator.check(a); err != nil {
		return err
	}
	if status >= http.StatusBadRequest && method != http.MethodHead {
		return problem(a)
	}
	return nil
}

// CheckComponent tells what is wrong with JSON that is to satisfy the schema with this name.
func (d *Document) CheckComponent(name string, body []byte) error {
	a := answer{call: call{method: http.MethodPost, path: name}, status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: body}
	if err := d.validator.body(a, "application/json", "#/components/schemas/"+name); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
