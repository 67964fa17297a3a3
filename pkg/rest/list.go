package rest

import (
	"bufio"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/filter"
)

// Kind is one kind of record as one version of an API shows it. Its lists and single
// records know filters, selectors, pages and conditional requests. It never changes and is
// safe for concurrent use.
type Kind[R any] struct {
	// Schema is what filters may ask for, and selectors may name.
	Schema *filter.Schema[R]

	// IDName is the name of the attribute that tells records apart, and ID its text. Lists
	// are in ascending order of it, byte by byte.
	IDName string
	ID     func(R) string

	Attributes Attributes

	// Signature returns the signature of a record, which tells most records that a filter
	// does not match without a look at them. nil: there are none.
	Signature func(R) *filter.Signature

	// Encoded returns the JSON of a record. Where Deep is always asked, it may have no more
	// than the DeepDigest.
	Encoded func(R) Encoded

	// Deep returns the JSON of a record with all its attributes, also those that are not
	// kept encoded (Attributes.Deep). nil when there are none.
	Deep func(R) []byte

	Pager *Pager
}

// Encoded is the JSON of a record, as Encode writes it, without what only Kind.Deep has.
type Encoded struct {
	Whole []byte
	Brief []byte // as a list shows it when nothing is selected

	Digest Digest // of Whole

	// DeepDigest differs when what Deep returns does. Not used without Deep.
	DeepDigest Digest
}

// Encode returns the encoded form of a record from its view. Brief shares its bytes with
// Whole when there is nothing to leave out.
func (a Attributes) Encode(view any) (Encoded, error) {
	whole, err := Encode(view)
	if err != nil {
		return Encoded{}, err
	}
	e := Encoded{Whole: whole, Brief: whole, Digest: DigestOf(whole)}
	if m := a.inList(selectors{}).mask; m != nil {
		brief := m.apply(nil, whole)
		if len(brief) < len(whole) {
			e.Brief = slices.Clip(brief)
		}
	}
	return e, nil
}

// Source is where the records of a list come from.
type Source[R any] struct {
	// After yields the records whose id is greater than the one given, ascending. "" is
	// less than any.
	After func(id string) iter.Seq[R]

	// Get returns the record with an id. nil: it has to be looked for in the list.
	Get func(id string) (R, bool)

	// Len tells how many there are. nil: they have to be counted.
	Len func() int
}

// Query is what a request asks of the records of a kind. It is read before anything is looked
// for: what is wrong with it is wrong whether or not there is such a record.
type Query[R any] struct {
	kind      *Kind[R]
	request   *http.Request
	values    url.Values
	matcher   *filter.Matcher[R]
	selectors selectors
	list      []byte // see listOf
	from      place
}

// Query reads what a request asks of one record. Errors wrap fault.Invalid.
func (k *Kind[R]) Query(r *http.Request) (*Query[R], error) {
	values, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	q := &Query[R]{kind: k, request: r, values: values}
	f, err := filter.ParseAll(values[paramFilter])
	if err != nil {
		return nil, err
	}
	if q.matcher, err = k.Schema.Compile(f); err != nil {
		return nil, err
	}
	q.selectors, err = parseSelectors(values, k.Schema.Check)
	return q, err
}

// ListQuery reads what a request asks of a list. Errors wrap fault.Invalid.
func (k *Kind[R]) ListQuery(r *http.Request) (*Query[R], error) {
	q, err := k.Query(r)
	if err != nil {
		return nil, err
	}
	q.list = listOf(r, q.values)
	q.from, err = k.Pager.place(q.list, q.values[paramMarker])
	return q, err
}

// Object answers with one record. With a filter that it does not match it is not found.
func (q *Query[R]) Object(w http.ResponseWriter, record R) error {
	return q.object(w, record, q.kind.Attributes.alone(q.selectors))
}

// Singleton answers with the only record of its kind. What a list of it would leave out by
// default, it leaves out.
func (q *Query[R]) Singleton(w http.ResponseWriter, record R) error {
	return q.object(w, record, q.kind.Attributes.inList(q.selectors))
}

func (q *Query[R]) object(w http.ResponseWriter, record R, s selection) error {
	k := q.kind
	if reason := q.matcher.Explain(record); reason != nil {
		return fmt.Errorf("%s %s does not satisfy %s: %w", k.IDName, k.ID(record), reason.Term, fault.NotFound)
	}
	if unmodified(w, q.request, k.digest(record, s)) {
		return nil
	}
	return WriteEncoded(w, http.StatusOK, k.render(nil, record, s))
}

// digest names what a client gets of a record, given what it selects.
func (k *Kind[R]) digest(record R, s selection) Digest {
	if s.deep && k.Deep != nil {
		return k.Encoded(record).DeepDigest
	}
	return k.Encoded(record).Digest
}

// render returns what a client gets of a record. buffer is used where bytes must be moved;
// what is returned may or may not be it, and must not be changed.
func (k *Kind[R]) render(buffer []byte, record R, s selection) []byte {
	src := k.Encoded(record).Whole
	if s.deep && k.Deep != nil {
		src = k.Deep(record)
	}
	if s.mask == nil {
		return src
	}
	return s.mask.apply(buffer[:0], src)
}

// List answers with those records of a source that the client asks for.
func (q *Query[R]) List(w http.ResponseWriter, source Source[R]) error {
	k := q.kind
	if _, explain := q.values[paramExplain]; explain && !q.matcher.Everything() {
		return k.explain(w, source, q.matcher)
	}
	found := k.page(source, q.matcher, q.from)
	h := w.Header()
	h.Set("X-Total-Count", strconv.Itoa(found.total))
	if found.more {
		last := found.records[len(found.records)-1]
		h.Set("Link", k.Pager.nextLink(q.request, q.values, q.list, k.ID(last)))
	}
	return k.write(w, q.request, found.records, k.Attributes.inList(q.selectors))
}

// page is a part of a list.
type page[R any] struct {
	records []R
	total   int  // how many records match on all pages
	more    bool // there is a page after this
}

// page finds the records of one page.
func (k *Kind[R]) page(source Source[R], m *filter.Matcher[R], from place) page[R] {
	size := k.Pager.options.Size
	if m.Everything() && from.page == 0 {
		return k.wholePage(source, from.after, size)
	}
	p := k.search(source, m, from, size)
	if from.page > 1 && len(p.records) == 0 && p.total > 0 { // beyond the end: the last page
		p = k.search(source, m, place{page: (p.total + size - 1) / size}, size)
	}
	return p
}

// wholePage is a page of a list without a filter: it need not look at records before it.
func (k *Kind[R]) wholePage(source Source[R], after string, size int) page[R] {
	var p page[R]
	known := source.Len != nil
	if known {
		p.total = source.Len()
		p.records = make([]R, 0, min(p.total, size))
	}
	for record := range source.After(after) {
		if len(p.records) == size {
			p.more = true
			break
		}
		p.records = append(p.records, record)
	}
	switch {
	case known:
	case after == "" && !p.more:
		p.total = len(p.records)
	default:
		for range source.After("") {
			p.total++
		}
	}
	return p
}

// search is a page of the records that match.
func (k *Kind[R]) search(source Source[R], m *filter.Matcher[R], from place, size int) page[R] {
	var p page[R]
	skip := 0
	if from.page > 0 {
		skip = (from.page - 1) * size
	}
	for record := range k.candidates(source, m) {
		if k.Signature != nil && !m.May(k.Signature(record)) || !m.Match(record) {
			continue
		}
		p.total++
		switch {
		case p.total <= skip || from.after != "" && k.ID(record) <= from.after:
		case len(p.records) < size:
			p.records = append(p.records, record)
		default:
			p.more = true
		}
	}
	return p
}

// candidates yields the records that may match: where the filter names ids, those alone.
func (k *Kind[R]) candidates(source Source[R], m *filter.Matcher[R]) iter.Seq[R] {
	ids, named := m.Exact(k.IDName)
	if !named || source.Get == nil {
		return source.After("")
	}
	return func(yield func(R) bool) {
		found := make(map[string]R, len(ids))
		for _, id := range ids {
			if record, ok := source.Get(id); ok {
				found[k.ID(record)] = record
			}
		}
		sorted := make([]string, 0, len(found))
		for id := range found {
			sorted = append(sorted, id)
		}
		slices.Sort(sorted)
		for _, id := range sorted {
			if !yield(found[id]) {
				return
			}
		}
	}
}

// write answers with records.
func (k *Kind[R]) write(w http.ResponseWriter, r *http.Request, records []R, s selection) error {
	brief := s.plain && (!s.deep || k.Deep == nil)
	digests := make([]byte, 0, len(records)*len(Digest{}))
	length := len("[]") + max(0, len(records)-1) // with commas
	for _, record := range records {
		d := k.digest(record, s)
		digests = append(digests, d[:]...)
		if brief {
			length += len(k.Encoded(record).Brief)
		}
	}
	if unmodified(w, r, DigestOf(digests)) {
		return nil
	}
	w.Header().Set("Content-Type", jsonType)
	if brief {
		w.Header().Set("Content-Length", strconv.Itoa(length))
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	out := bufio.NewWriterSize(w, listBufferBytes)
	_ = out.WriteByte('[')
	var buffer []byte
	for i, record := range records {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		var b []byte
		if brief {
			b = k.Encoded(record).Brief
		} else {
			b = k.render(buffer, record, s)
			if s.mask != nil {
				buffer = b
			}
		}
		if _, err := out.Write(b); err != nil {
			return nil // the client is gone
		}
	}
	_ = out.WriteByte(']')
	_ = out.Flush() // the client may be gone; there is nobody else to tell
	return nil
}

// explanation is why a record is or is not in a list.
type explanation struct {
	ID      string   `json:"id"`
	Matches bool     `json:"matches"`
	Term    string   `json:"term,omitempty"` // the first that the record does not satisfy
	Have    []string `json:"have,omitempty"` // what the record has where that term looks
}

// maxExplained is for how many records a filter is explained.
const maxExplained = 10

// explain answers with how the filter judges the first records of a list. The parameter is
// ours, so no client meets this who did not ask for it.
func (k *Kind[R]) explain(w http.ResponseWriter, source Source[R], m *filter.Matcher[R]) error {
	answer := struct {
		Filter  string        `json:"filter"` // as it was understood
		Matched int           `json:"matched"`
		Total   int           `json:"total"`
		Explain []explanation `json:"explain"`
	}{Filter: m.String(), Explain: []explanation{}}
	for record := range source.After("") {
		answer.Total++
		if m.Match(record) {
			answer.Matched++
		}
		if len(answer.Explain) == maxExplained {
			continue
		}
		e := explanation{ID: k.ID(record), Matches: true}
		if reason := m.Explain(record); reason != nil {
			e = explanation{ID: e.ID, Term: reason.Term, Have: reason.Have}
		}
		answer.Explain = append(answer.Explain, e)
	}
	return WriteJSON(w, http.StatusOK, answer)
}
