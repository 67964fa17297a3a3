package rest

import (
	"bytes"
	"encoding/json"
)

// mask tells which parts of a JSON value go to the client. It works on the bytes of
// records that are encoded already: decoding them into maps and encoding those again, the
// usual way, costs many times as much, and this costs nothing for what is left out but the
// look for its end.
//
// A nil mask keeps everything.
type mask struct {
	rest  bool             // whether to keep what is not named
	gone  bool             // the value itself goes
	named map[string]*mask // by attribute
}

func keepAll() *mask { return &mask{rest: true, named: make(map[string]*mask)} }

// whole returns nil for a mask that keeps everything.
func (m *mask) whole() *mask {
	if m.rest && !m.gone && len(m.named) == 0 {
		return nil
	}
	return m
}

// at returns the mask at a path below m, made where there is none. What is on the way
// there, and not masked yet, stays.
func (m *mask) at(path []string) *mask {
	for _, name := range path {
		next := m.named[name]
		if next == nil {
			next = keepAll()
			m.named[name] = next
		}
		m = next
	}
	return m
}

// drop leaves out what is at a path.
func (m *mask) drop(path []string) {
	*m.at(path) = mask{gone: true, named: make(map[string]*mask)}
}

// empty leaves out all that is in an attribute, but not the attribute.
func (m *mask) empty(name string) {
	*m.at([]string{name}) = mask{named: make(map[string]*mask)}
}

// restore lets what is at the paths, and was to go, stay. Of what is on the way there
// nothing else comes back.
func (m *mask) restore(paths [][]string) {
	for _, path := range paths {
		at, parent := m, m
		i := 0
		for ; i < len(path); i++ {
			next, named := at.named[path[i]]
			if !named && at.rest || named && next == nil {
				break // it is there already
			}
			if !named {
				next = &mask{named: make(map[string]*mask)}
				at.named[path[i]] = next
			}
			next.gone = false
			parent, at = at, next
		}
		if i == len(path) {
			parent.named[path[i-1]] = nil
		}
	}
}

// keeps tells whether anything of an attribute stays.
func (m *mask) keeps(name string) bool {
	next, named := m.named[name]
	return named && (next == nil || !next.gone) || !named && m.rest
}

// apply appends to dst what the mask leaves of src, which must be JSON as Encode writes it:
// valid and without white space.
func (m *mask) apply(dst, src []byte) []byte {
	if m == nil {
		return append(dst, src...)
	}
	dst, _ = m.value(dst, src, 0)
	return dst
}

// value appends what is left of the value at src[i] and returns where it ends.
func (m *mask) value(dst, src []byte, i int) ([]byte, int) {
	switch src[i] {
	case '{':
		return m.object(dst, src, i+1)
	case '[':
		return m.array(dst, src, i+1)
	default:
		end := endOf(src, i)
		return append(dst, src[i:end]...), end
	}
}

// object goes through the members of an object, from the byte after its brace.
func (m *mask) object(dst, src []byte, i int) ([]byte, int) {
	dst = append(dst, '{')
	first := len(dst)
	for src[i] != '}' {
		if src[i] == ',' {
			i++
		}
		key := i
		i = endOfString(src, i)
		next, named := m.named[string(src[key+1:i-1])]
		if !named && bytes.IndexByte(src[key:i], '\\') >= 0 {
			next, named = m.named[unquoted(src[key:i])]
		}
		value := i + 1 // behind the colon
		plain := src[value] != '{' && src[value] != '['
		keep := m.rest
		if named {
			keep = next == nil || !next.gone && (next.rest || !plain)
		}
		if !keep {
			i = endOf(src, value)
			continue
		}
		if len(dst) > first {
			dst = append(dst, ',')
		}
		if next == nil || plain {
			i = endOf(src, value)
			dst = append(dst, src[key:i]...)
			continue
		}
		dst = append(dst, src[key:value]...)
		dst, i = next.value(dst, src, value)
	}
	return append(dst, '}'), i + 1
}

// array applies the mask to each element of an array, from the byte after its bracket.
func (m *mask) array(dst, src []byte, i int) ([]byte, int) {
	dst = append(dst, '[')
	first := len(dst)
	for src[i] != ']' {
		if src[i] == ',' {
			i++
		}
		if !m.rest && src[i] != '{' && src[i] != '[' {
			i = endOf(src, i) // a plain value has none of the attributes that are wanted
			continue
		}
		if len(dst) > first {
			dst = append(dst, ',')
		}
		dst, i = m.value(dst, src, i)
	}
	return append(dst, ']'), i + 1
}

// unquoted returns the text that a JSON string means.
func unquoted(s []byte) string {
	var text string
	_ = json.Unmarshal(s, &text) // it is valid
	return text
}

// endOf returns where the value that begins at src[i] ends.
func endOf(src []byte, i int) int {
	switch src[i] {
	case '"':
		return endOfString(src, i)
	case '{', '[':
		depth := 0
		for ; ; i++ {
			switch src[i] {
			case '"':
				i = endOfString(src, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for i < len(src) && src[i] != ',' && src[i] != '}' && src[i] != ']' {
		i++
	}
	return i
}

// endOfString returns where the string that begins at src[i] ends.
func endOfString(src []byte, i int) int {
	for i++; ; i++ {
		i += bytes.IndexByte(src[i:], '"')
		backslashes := 0
		for src[i-1-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return i + 1
		}
	}
}
