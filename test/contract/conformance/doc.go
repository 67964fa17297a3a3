// Package conformance judges an O2 IMS infrastructure inventory from outside: it has a URL
// and tokens, and knows the standards. It never looks into the server and never assumes what
// the server holds; it finds out what is there and asks about that.
//
// Each requirement is a Case with an identifier that never changes its meaning, the clause
// it comes from and what is expected. A case that finds nothing to try itself on is skipped
// and says why, unless the Target declares that nothing may be skipped.
//
// What a filter must return is worked out by a second implementation of the query language
// (oracle.go) on the whole records, read without any filter; the server has to agree. And
// each answer to any case is checked against the OpenAPI document of its path and status.
//
// Clauses are cited by short names: SPEC is O-RAN.WG6.TS.O2IMS-INTERFACE, SOL013 is ETSI GS
// NFV-SOL 013, CONF is the O-RAN SC conformance suite (O-RAN.WG6 O-CLOUD_CONF_TEST). Where they
// leave something open, api.md, roles.md and security.md are what we decided, in docs/.
package conformance
