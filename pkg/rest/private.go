package rest

import (
	"net/http"
)

// Private answers with one record that has, at a path, what nobody may keep and no filter may
// ask for, such as a credential. secret returns the JSON of the record with it, as Encode
// writes it; it is called when the record matches the filter and what is at the path is
// among what the client selects. With nil there is no secret, and the answer is that of
// Object.
//
// The answer has no ETag, and no cache stores it: a validator that depends on a secret tells
// something of it, and one that does not would be wrong.
func (q *Query[R]) Private(w http.ResponseWriter, record R, path []string, secret func() []byte) error {
	s := q.kind.Attributes.alone(q.selectors)
	if !s.mask.shows(path) || q.matcher.Explain(record) != nil {
		return q.Object(w, record)
	}
	whole := secret()
	if whole == nil {
		return q.Object(w, record)
	}
	w.Header().Set("Cache-Control", "no-store")
	return WriteEncoded(w, http.StatusOK, s.mask.apply(nil, whole))
}

// shows tells whether a value at a path stays, if it is there.
func (m *mask) shows(path []string) bool {
	for _, name := range path {
		if m == nil {
			return true
		}
		next, named := m.named[name]
		if !named {
			return m.rest
		}
		if next != nil && next.gone {
			return false
		}
		m = next
	}
	return m == nil || m.rest
}
