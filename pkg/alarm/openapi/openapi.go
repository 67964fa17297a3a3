// Package openapi holds the OpenAPI documents of the monitoring API, one per major version.
//
// The documents are written by hand, not generated: they say what we promise, and a test in
// test/contract holds the server to it. Each route that the server has must be in them and
// the other way round, and each answer that the conformance suite is given must validate.
//
// Sources: OpenAPI Specification 3.1.0, whose schemas are JSON Schema 2020-12; RFC 9512
// (media type of YAML).
package openapi

import (
	"embed"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/rest"
)

//go:embed v1.yaml v2.yaml
var files embed.FS

// Document returns the document of a major version, such as "v1", in YAML. It is nil for a
// version that we do not have.
func Document(major string) []byte {
	document, err := files.ReadFile(major + ".yaml")
	if err != nil {
		return nil
	}
	return document
}

// Routes registers {base}/{major}/openapi.yaml for each of these majors.
func Routes(r *mux.Router, base string, majors ...string) {
	for _, major := range majors {
		document := Document(major)
		r.Handle(base+"/"+major+"/openapi.yaml", rest.Methods{http.MethodGet: func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", "application/yaml")
			_, _ = w.Write(document) // the client may be gone; there is nobody else to tell
			return nil
		}})
	}
}
