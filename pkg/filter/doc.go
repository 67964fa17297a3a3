// Package filter is the attribute filter of the O2 IMS and A1 APIs: it reads the text of
// a filter, checks it against what is known of the records, and tells which records match.
// It knows nothing of HTTP.
//
// A filter is judged on typed records, before anything is serialised. What attributes a
// kind of record has, and of which types they are, is read once from the Go type of its
// view, the struct whose JSON a client gets; so a filter and an answer cannot disagree
// about a name. Making the view of each record for each request would be slow, so a
// Schema may be given shortcuts (see At): functions that fetch one attribute straight
// from the record. What has no shortcut is fetched from the view: slower, and right.
//
// Generated accessors for every view were the alternative: faster by some nanoseconds an
// attribute, and a second place in which every attribute would have to be kept.
//
// What differs from the standard, or is left open there:
//
//   - An attribute that is absent, null or an empty array satisfies no positive operator
//     and every negative one (neq, nin, ncont), as a plain negation does. SQL differs.
//   - Several terms whose paths cross the same array of objects must be satisfied by the
//     same element. When all of them are negative, no element may satisfy the positive of any.
//   - An array of plain values satisfies a term when one of its values does; several terms
//     may be satisfied by different values.
//   - A bare null is JSON null for eq and neq, and so means "absent"; 'null' is a text.
//
// Source: ETSI GS NFV-SOL 013, clause 5.2, attribute-based filtering.
package filter
