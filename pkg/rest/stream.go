package rest

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strconv"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Stream is where the records of a list come from that is too long to be held in memory.
// Its order is its own: records have places in it, and pages begin after a place.
type Stream[R any] struct {
	// After yields the records behind a place, ascending; "" is before all. It ends with an
	// error when they are not to be had.
	After func(ctx context.Context, place string) iter.Seq2[R, error]

	// Place is where a record stands. Two records never share a place.
	Place func(R) string

	// Get returns the record with an id, when there is one. nil: it has to be looked for.
	Get func(ctx context.Context, id string) (record R, found bool, err error)

	// Len tells how many there are.
	Len func(ctx context.Context) (int, error)

	// Limit is how many records one request looks at; 0: all that it takes. A page ends
	// there, with a link to what comes after, even if nothing on it matched.
	Limit int
}

// streamPage is a part of a stream.
type streamPage[R any] struct {
	page[R]
	next string // place after which the next page begins, if there is one
}

// Stream answers with those records of a stream that the client asks for. Unlike List it
// reads no further than the page needs, so with a filter X-Total-Count is there only when
// the page is the whole answer. A page that cannot be found within the limit wraps
// fault.Invalid.
func (q *Query[R]) Stream(w http.ResponseWriter, s Stream[R]) error {
	if _, explain := q.values[paramExplain]; explain && !q.matcher.Everything() {
		return q.explainStream(w, s)
	}
	found, err := q.pageOf(s)
	if err != nil {
		return err
	}
	h := w.Header()
	if found.total >= 0 {
		h.Set("X-Total-Count", strconv.Itoa(found.total))
	}
	if found.more {
		h.Set("Link", q.kind.Pager.nextLink(q.request, q.values, q.list, found.next))
	}
	return q.kind.write(w, q.request, found.records, q.kind.Attributes.inList(q.selectors))
}

// pageOf finds the records of one page. Its total is -1 when it is not known.
func (q *Query[R]) pageOf(s Stream[R]) (streamPage[R], error) {
	size := q.kind.Pager.options.Size
	if q.from.page == 0 {
		p, err := q.pageFrom(s, q.from.after, 0, size)
		switch {
		case err != nil:
			return p, err
		case q.matcher.Everything():
			p.total, err = s.Len(q.request.Context())
			return p, err
		case p.more || q.from.after != "":
			p.total = -1
		}
		return p, nil
	}
	p, err := q.pageFrom(s, "", (q.from.page-1)*size, size)
	if err == nil && len(p.records) == 0 && p.total > 0 { // beyond the end: the last page
		p, err = q.pageFrom(s, "", (p.total-1)/size*size, size)
	}
	if p.more {
		p.total = -1
	}
	return p, err
}

// pageFrom reads the records behind a place that match, leaves out the first of them, and
// stops when it knows that there is one more than the page has room for, or when it has
// looked at enough. Without one more, total is how many match.
func (q *Query[R]) pageFrom(s Stream[R], after string, skip, size int) (streamPage[R], error) {
	var p streamPage[R]
	var last R
	looked := 0
	for record, err := range q.candidates(s, after) {
		if err != nil {
			return streamPage[R]{}, err
		}
		if s.Limit > 0 && looked == s.Limit {
			if p.total < skip {
				return p, fmt.Errorf("%s: that page is not among the first %d records; follow the links from the first page: %w", paramMarker, s.Limit, fault.Invalid)
			}
			p.more, p.next = true, s.Place(last)
			return p, nil
		}
		last = record
		looked++
		if !q.matcher.Match(record) {
			continue
		}
		p.total++
		switch {
		case p.total <= skip:
		case len(p.records) < size:
			p.records = append(p.records, record)
			p.next = s.Place(record)
		default:
			p.more = true
			return p, nil
		}
	}
	return p, nil
}

// candidates yields the records behind a place that may match: where the filter names one
// id, that alone.
func (q *Query[R]) candidates(s Stream[R], after string) iter.Seq2[R, error] {
	ctx := q.request.Context()
	ids, named := q.matcher.Exact(q.kind.IDName)
	if !named || len(ids) != 1 || s.Get == nil {
		return s.After(ctx, after)
	}
	return func(yield func(R, error) bool) {
		record, found, err := s.Get(ctx, ids[0])
		if err != nil || found && after == "" {
			yield(record, err)
		}
	}
}

// explainStream is explain for a stream, of which it looks at no more than the limit.
func (q *Query[R]) explainStream(w http.ResponseWriter, s Stream[R]) error {
	var failed error
	all := func(string) iter.Seq[R] {
		return func(yield func(R) bool) {
			looked := 0
			for record, err := range s.After(q.request.Context(), "") {
				if failed = err; err != nil || s.Limit > 0 && looked == s.Limit || !yield(record) {
					return
				}
				looked++
			}
		}
	}
	held := &held{ResponseWriter: w}
	err := q.kind.explain(held, Source[R]{After: all}, q.matcher)
	if failed != nil {
		return fmt.Errorf("explain: %w", failed)
	}
	if err != nil {
		return err
	}
	return WriteEncoded(w, held.status, held.body)
}

// held is an answer that waits until it is known that nothing failed.
type held struct {
	http.ResponseWriter
	status int
	body   []byte
}

func (h *held) WriteHeader(status int) { h.status = status }

func (h *held) Write(b []byte) (int, error) {
	h.body = append(h.body, b...)
	return len(b), nil
}
