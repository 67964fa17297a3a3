// Package contract holds the tests that ask whether we keep our word: the inventory API
// against the O-RAN documents, by the conformance suite, and the OpenAPI documents and
// docs/api.md against the server.
//
// The server under test is the manager's own, in this process: TLS, tokens, permissions,
// routes and model are the product's; only the apiserver behind tokens and permissions is a
// fake, and reports are put into the model directly.
package contract
