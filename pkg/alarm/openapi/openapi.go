// Package openapi holds the OpenAPI documents of the monitoring API, one per major version.
//
// The documents are written by hand, not generated: they say what we promise, and a test in
// test/contract holds the server to it. Each route that the server has must be in them and
// the other way round, and each answer that the conformance suite is given must validate.
//
// Source: OpenAPI Specification 3.1.0, whose schemas are JSON Schema 2020-12.
package openapi

import "embed"

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
