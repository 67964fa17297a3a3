package filter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Limits on what a client may send.
const (
	MaxBytes  = 4 << 10 // of all filters of a request together
	MaxTerms  = 32      // likewise
	MaxValues = 64      // of one term
	MaxDepth  = 8       // names in one path
)

// Op is an operator.
type Op string

// The operators.
const (
	Eq    Op = "eq"    // equal
	Neq   Op = "neq"   // not equal
	Gt    Op = "gt"    // greater
	Gte   Op = "gte"   // greater or equal
	Lt    Op = "lt"    // less
	Lte   Op = "lte"   // less or equal
	In    Op = "in"    // one of the values
	Nin   Op = "nin"   // none of the values
	Cont  Op = "cont"  // contains one of the values as a substring
	Ncont Op = "ncont" // contains none of them
)

// operators tells for each operator whether it takes several values.
var operators = map[Op]bool{
	Eq: false, Neq: false, Gt: false, Gte: false, Lt: false, Lte: false,
	In: true, Nin: true, Cont: true, Ncont: true,
}

// Filter is a list of terms, all of which must hold. An empty filter matches everything.
type Filter []Term

// Term is one condition on one attribute.
type Term struct {
	Op   Op
	Path []string // names, with escapes resolved

	// Keys tells that the path ended in @key: the term is about the keys of the map at Path.
	Keys bool

	// Null tells that the value is JSON null; Values is empty then.
	Null bool

	Values []string
}

// keysName is the last name of a path that means the keys of a map.
const keysName = "@key"

// Parse reads a filter such as
//
//	(eq,location/city,Ottawa);(in,resourceTypeId,server,switch)
//
// An error wraps fault.Invalid and gives the byte offset of what is wrong.
func Parse(s string) (Filter, error) { return ParseAll([]string{s}) }

// ParseAll reads several filters, all of which must hold, as when a request has the
// parameter more than once. The limits are on all of them together.
func ParseAll(texts []string) (Filter, error) {
	var f Filter
	left := MaxBytes
	for i, text := range texts {
		which := "filter"
		if len(texts) > 1 {
			which = fmt.Sprintf("filter %d", i+1)
		}
		if left -= len(text); left < 0 {
			return nil, fmt.Errorf("%s: offset %d: more than %d bytes: %w", which, len(text)+left, MaxBytes, fault.Invalid)
		}
		p := parser{input: text}
		terms, err := p.filter(MaxTerms - len(f))
		if err != nil {
			return nil, fmt.Errorf("%s: offset %d: %v: %w", which, p.pos, err, fault.Invalid)
		}
		f = append(f, terms...)
	}
	return f, nil
}

// parser reads one text. When a method fails, pos is where what is wrong begins.
type parser struct {
	input string
	pos   int
}

func (p *parser) done() bool { return p.pos == len(p.input) }

// peek returns the next byte, and 0 at the end.
func (p *parser) peek() byte {
	if p.done() {
		return 0
	}
	return p.input[p.pos]
}

func (p *parser) skipSpace() {
	for !p.done() && isSpace(p.input[p.pos]) {
		p.pos++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// accept passes over c, with white space before it.
func (p *parser) accept(c byte) bool {
	p.skipSpace()
	if p.done() || p.input[p.pos] != c {
		return false
	}
	p.pos++
	return true
}

func (p *parser) expect(c byte) error {
	if !p.accept(c) {
		return fmt.Errorf("want %q", c)
	}
	return nil
}

// filter reads terms with semicolons between them, and maybe one at the end.
func (p *parser) filter(maxTerms int) (Filter, error) {
	var f Filter
	for p.skipSpace(); !p.done(); p.skipSpace() {
		if len(f) == maxTerms {
			return nil, fmt.Errorf("more than %d terms", MaxTerms)
		}
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		f = append(f, t)
		if p.skipSpace(); p.done() {
			break
		}
		if err := p.expect(';'); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// term reads one condition in parentheses.
func (p *parser) term() (Term, error) {
	var t Term
	if err := p.expect('('); err != nil {
		return t, err
	}
	several, err := p.op(&t)
	if err != nil {
		return t, err
	}
	if err := p.expect(','); err != nil {
		return t, err
	}
	if err := p.path(&t); err != nil {
		return t, err
	}
	if p.peek() != ',' {
		return t, fmt.Errorf("want %q and a value", ',')
	}
	if err := p.values(&t, several); err != nil {
		return t, err
	}
	return t, p.expect(')')
}

func (p *parser) op(t *Term) (several bool, err error) {
	p.skipSpace()
	length := strings.IndexAny(p.input[p.pos:], ",()/; \t\r\n")
	if length < 0 {
		length = len(p.input) - p.pos
	}
	t.Op = Op(strings.ToLower(p.input[p.pos : p.pos+length]))
	several, known := operators[t.Op]
	if !known {
		return false, fmt.Errorf("operator %q is not known", clip(p.input[p.pos:p.pos+length]))
	}
	p.pos += length
	return several, nil
}

// path reads names with slashes between them, up to the comma that follows.
func (p *parser) path(t *Term) error {
	for {
		p.skipSpace()
		start := p.pos
		name, literal, err := p.name()
		if err != nil {
			return err
		}
		switch {
		case t.Keys:
			p.pos = start
			return fmt.Errorf("%s is only known at the end of a path", keysName)
		case literal == keysName:
			t.Keys = true
		case len(t.Path) == MaxDepth:
			p.pos = start
			return fmt.Errorf("more than %d names in a path", MaxDepth)
		default:
			t.Path = append(t.Path, name)
		}
		if p.peek() != '/' {
			if len(t.Path) == 0 {
				p.pos = start
				return fmt.Errorf("%s needs a path before it", keysName)
			}
			return nil
		}
		p.pos++
	}
}

// name reads one name. It returns it as it is meant and as it was written, which only
// differ by escapes.
func (p *parser) name() (name, literal string, err error) {
	length := strings.IndexAny(p.input[p.pos:], ",/();")
	if length < 0 {
		length = len(p.input) - p.pos
	}
	literal = strings.TrimRight(p.input[p.pos:p.pos+length], " \t\r\n")
	if literal == "" {
		return "", "", fmt.Errorf("want the name of an attribute")
	}
	name, bad := unescape(literal)
	if bad >= 0 {
		p.pos += bad
		return "", "", fmt.Errorf("want ~0, ~1, ~a or ~b after %q", '~')
	}
	p.pos += length
	return name, literal, nil
}

// escapes of characters in names that have a meaning in paths.
//
// Source: ETSI GS NFV-SOL 013, clause 5.2.
var (
	unescaper = map[byte]byte{'0': '~', '1': '/', 'a': ',', 'b': '@'}
	escaper   = strings.NewReplacer("~", "~0", "/", "~1", ",", "~a", "@", "~b")
)

// unescape returns the name that s writes, and the offset of a bad escape, or -1.
func unescape(s string) (name string, bad int) {
	if !strings.Contains(s, "~") {
		return s, -1
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '~' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 == len(s) || unescaper[s[i+1]] == 0 {
			return "", i
		}
		i++
		b.WriteByte(unescaper[s[i]])
	}
	return b.String(), -1
}

// ParsePath reads the names of a path such as extensions/labels/app.io~1name, as they
// stand in a selector. An error wraps fault.Invalid and gives the byte offset.
func ParsePath(s string) ([]string, error) {
	p := parser{input: s}
	var t Term
	err := p.path(&t)
	if err == nil && !p.done() {
		err = fmt.Errorf("%q is no part of a path", p.peek())
	}
	if err == nil && t.Keys {
		err = fmt.Errorf("%s is no attribute", keysName)
	}
	if err != nil {
		return nil, fmt.Errorf("path: offset %d: %v: %w", p.pos, err, fault.Invalid)
	}
	return t.Path, nil
}

// values reads values up to the closing parenthesis.
func (p *parser) values(t *Term, several bool) error {
	for p.accept(',') {
		switch {
		case len(t.Values) == MaxValues:
			return fmt.Errorf("more than %d values", MaxValues)
		case len(t.Values) > 0 && !several:
			return fmt.Errorf("operator %s takes one value", t.Op)
		}
		value, quoted, err := p.value()
		if err != nil {
			return err
		}
		t.Values = append(t.Values, value)
		if value == null && !quoted && (t.Op == Eq || t.Op == Neq) {
			t.Null = true
		}
	}
	if t.Null {
		if len(t.Values) > 1 {
			return fmt.Errorf("operator %s takes one value", t.Op)
		}
		t.Values = nil
	}
	return nil
}

// null is the bare value that means JSON null.
const null = "null"

func (p *parser) value() (value string, quoted bool, err error) {
	p.skipSpace()
	if p.peek() == '\'' {
		value, err = p.quoted()
		return value, true, err
	}
	length := strings.IndexAny(p.input[p.pos:], ",)")
	if length < 0 {
		p.pos = len(p.input)
		return "", false, fmt.Errorf("want %q", ')')
	}
	value = strings.TrimRight(p.input[p.pos:p.pos+length], " \t\r\n")
	if value == "" {
		return "", false, fmt.Errorf("want a value; an empty one is written ''")
	}
	p.pos += length
	return value, false, nil
}

// quoted reads a value in quotes, in which two quotes stand for one.
func (p *parser) quoted() (string, error) {
	start := p.pos
	var b strings.Builder
	for rest := p.input[start+1:]; ; {
		text, after, closed := strings.Cut(rest, "'")
		if !closed {
			return "", fmt.Errorf("the quote is not closed")
		}
		b.WriteString(text)
		if !strings.HasPrefix(after, "'") {
			p.pos = len(p.input) - len(after)
			return b.String(), nil
		}
		b.WriteByte('\'')
		rest = after[1:]
	}
}

// clip keeps what a client sent from filling an error.
func clip(s string) string {
	const longest = 64
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}

// String prints the filter so that Parse reads the same again.
func (f Filter) String() string {
	terms := make([]string, len(f))
	for i, t := range f {
		terms[i] = t.String()
	}
	return strings.Join(terms, ";")
}

// String prints the term as Parse reads it.
func (t Term) String() string {
	parts := append(make([]string, 0, 2+len(t.Values)), string(t.Op), t.path())
	if t.Null {
		parts = append(parts, null)
	}
	for _, v := range t.Values {
		parts = append(parts, quote(v))
	}
	return "(" + strings.Join(parts, ",") + ")"
}

// path prints the path of the term.
func (t Term) path() string {
	s := PathString(t.Path)
	if t.Keys {
		s += "/" + keysName
	}
	return s
}

// PathString prints a path so that ParsePath reads the same again.
func PathString(path []string) string {
	names := make([]string, len(path))
	for i, name := range path {
		names[i] = escaper.Replace(name)
	}
	return strings.Join(names, "/")
}

// quote prints a value, in quotes where it would be read as something else without.
func quote(v string) string {
	bare := v != "" && v != null && v[0] != '\'' && !strings.ContainsAny(v, ",)") &&
		!isSpace(v[0]) && !isSpace(v[len(v)-1])
	if bare {
		return v
	}
	return "'" + strings.ReplaceAll(v, "'", "''") + "'"
}

// positive returns the operator that o is, or negates.
func (o Op) positive() (positive Op, negated bool) {
	switch o {
	case Neq:
		return Eq, true
	case Nin:
		return In, true
	case Ncont:
		return Cont, true
	default:
		return o, false
	}
}

// positive is the term that t is, or negates.
func (t Term) positive() Term {
	if t.Null {
		t.Op = Neq // there is a value
		return t
	}
	t.Op, _ = t.Op.positive()
	return t
}

// Equal tells whether two filters are written alike.
func (f Filter) Equal(g Filter) bool {
	return slices.EqualFunc(f, g, func(a, b Term) bool {
		return a.Op == b.Op && a.Keys == b.Keys && a.Null == b.Null && slices.Equal(a.Path, b.Path) && slices.Equal(a.Values, b.Values)
	})
}
