package rest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/filter"
)

// thing is a record whose place in its stream is not its id.
type thing struct {
	ID    string `json:"id"`
	Rank  int    `json:"rank"`
	Color string `json:"color"`
}

// things are a stream of n things, the ranks of which ascend while their ids descend. Reading
// the thing of rank broken fails.
func things(n, broken int) Stream[thing] {
	at := func(rank int) thing {
		return thing{fmt.Sprintf("id-%03d", n-rank), rank, []string{"red", "blue"}[rank%2]}
	}
	return Stream[thing]{
		After: func(_ context.Context, place string) iter.Seq2[thing, error] {
			first := 1
			if place != "" {
				_, _ = fmt.Sscan(place, &first)
				first++
			}
			return func(yield func(thing, error) bool) {
				for rank := first; rank <= n; rank++ {
					if rank == broken {
						yield(thing{}, fault.Unavailable)
						return
					}
					if !yield(at(rank), nil) {
						return
					}
				}
			}
		},
		Place: func(t thing) string { return fmt.Sprint(t.Rank) },
		Get: func(_ context.Context, id string) (thing, bool, error) {
			var back int
			if _, err := fmt.Sscanf(id, "id-%d", &back); err != nil || back >= n {
				return thing{}, false, nil
			}
			return at(n - back), true, nil
		},
		Len: func(context.Context) (int, error) { return n, nil },
	}
}

func thingKind(size int) *Kind[thing] {
	return &Kind[thing]{
		Schema: filter.NewSchema(func(t thing) thing { return t }), IDName: "id", ID: func(t thing) string { return t.ID },
		Encoded: func(t thing) Encoded {
			e, err := Attributes{}.Encode(t)
			if err != nil {
				panic(err)
			}
			return e
		},
		Pager: NewPager(PagingOptions{Size: size, Decimal: true, BaseURL: "https://o2ims.example.net"}, replicaKey),
	}
}

func askStream(t *testing.T, k *Kind[thing], s Stream[thing], query string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(func(w http.ResponseWriter, r *http.Request) error {
		q, err := k.ListQuery(r)
		if err != nil {
			return err
		}
		return q.Stream(w, s)
	}).ServeHTTP(w, Normalize(httptest.NewRequest(http.MethodGet, "/things?"+query, nil)))
	return w
}

func TestStream(t *testing.T) {
	for _, tc := range []struct {
		query  string
		size   int
		broken int
		status int
		want   string // ids, or part of the detail
		total  string
		next   bool
	}{
		{"", 3, 0, 200, "id-006 id-005 id-004", "7", true},
		{"", 7, 0, 200, "id-006 id-005 id-004 id-003 id-002 id-001 id-000", "7", false},
		{"", 3, 5, 200, "id-006 id-005 id-004", "7", true}, // does not read that far
		{"", 3, 4, 503, "at the moment", "", false},
		{"nextpage_opaque_marker=2", 3, 0, 200, "id-003 id-002 id-001", "", true},
		{"nextpage_opaque_marker=3", 3, 0, 200, "id-000", "7", false},
		{"nextpage_opaque_marker=9", 3, 0, 200, "id-000", "7", false},
		{"filter=(eq,color,red)", 3, 0, 200, "id-005 id-003 id-001", "3", false},
		{"filter=(eq,color,blue)", 3, 0, 200, "id-006 id-004 id-002", "", true},
		{"filter=(eq,color,blue)", 3, 6, 503, "at the moment", "", false},
		{"filter=(eq,color,blue)&nextpage_opaque_marker=2", 3, 0, 200, "id-000", "4", false},
		{"filter=(eq,color,green)", 3, 0, 200, "", "0", false},
		{"filter=(eq,id,id-002)", 3, 1, 200, "id-002", "1", false}, // asks for it alone
		{"filter=(eq,id,id-099)", 3, 1, 200, "", "0", false},
		{"filter=(in,id,id-002,id-001)", 3, 0, 200, "id-002 id-001", "2", false},
		{"filter=(eq,size,1)", 3, 0, 400, "size", "", false},
		{"filter=(eq,color,red)&explain", 3, 0, 200, `"matched":3,"total":7`, "", false},
		{"filter=(eq,color,red)&explain", 3, 7, 503, "at the moment", "", false},
	} {
		w := askStream(t, thingKind(tc.size), things(7, tc.broken), tc.query)
		got := w.Body.String()
		if tc.status == 200 && !strings.Contains(tc.query, "explain") {
			var ids []string
			for _, part := range strings.Split(got, `"id":"`)[1:] {
				ids = append(ids, part[:6])
			}
			if got = strings.Join(ids, " "); got != tc.want {
				t.Errorf("%s: %s, want %s", tc.query, got, tc.want)
			}
		}
		if w.Code != tc.status || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %d %s, want %d %s", tc.query, w.Code, got, tc.status, tc.want)
		}
		if total := w.Header().Get("X-Total-Count"); total != tc.total {
			t.Errorf("%s: X-Total-Count %q, want %q", tc.query, total, tc.total)
		}
		if next := w.Header().Get("Link") != ""; next != tc.next {
			t.Errorf("%s: next page: %t, want %t", tc.query, next, tc.next)
		}
	}
}

func TestStreamLenFails(t *testing.T) {
	s := things(3, 0)
	s.Len = func(context.Context) (int, error) { return 0, errors.Join(fault.Unavailable) }
	if w := askStream(t, thingKind(10), s, ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", w.Code)
	}
}

func TestCheckMatch(t *testing.T) {
	d := DigestOf([]byte("a"))
	etag := d.etag()
	compressed := strings.TrimSuffix(etag, `"`) + GzipSuffix + `"`
	for _, tc := range []struct {
		header []string
		ok     bool
	}{
		{nil, true},
		{[]string{etag}, true},
		{[]string{compressed}, true},
		{[]string{"*"}, true},
		{[]string{`"x", ` + etag}, true},
		{[]string{`"x"`, etag}, true},
		{[]string{`"x"`}, false},
		{[]string{"W/" + etag}, false},
		{[]string{strings.Trim(etag, `"`)}, false},
		{[]string{""}, false},
		{[]string{DigestOf([]byte("b")).etag()}, false},
	} {
		r := httptest.NewRequest(http.MethodPatch, "/things/1", nil)
		for _, line := range tc.header {
			r.Header.Add("If-Match", line)
		}
		err := CheckMatch(r, d)
		if (err == nil) != tc.ok {
			t.Errorf("If-Match %q: %v, want ok: %t", tc.header, err, tc.ok)
		}
		if err != nil && problemFor(err).Status != http.StatusPreconditionFailed {
			t.Errorf("If-Match %q: status %d, want 412", tc.header, problemFor(err).Status)
		}
	}
	w := httptest.NewRecorder()
	SetETag(w, d)
	if w.Header().Get("ETag") != etag {
		t.Errorf("ETag %q, want %q", w.Header().Get("ETag"), etag)
	}
}

// However many records there are, one request looks at so many; links lead through all.
func TestStreamLimit(t *testing.T) {
	s, k := things(100, 0), thingKind(10)
	s.Limit = 25
	looked := 0
	after := s.After
	s.After = func(ctx context.Context, place string) iter.Seq2[thing, error] {
		return func(yield func(thing, error) bool) {
			for record, err := range after(ctx, place) {
				looked++
				if !yield(record, err) {
					return
				}
			}
		}
	}
	query, requests, found := "filter=(gte,rank,60)", 0, 0
	for query != "" {
		looked = 0
		w := askStream(t, k, s, query)
		if w.Code != http.StatusOK || looked > s.Limit+1 {
			t.Fatalf("%s: %d after a look at %d records: %s", query, w.Code, looked, w.Body)
		}
		requests++
		found += strings.Count(w.Body.String(), `"id"`)
		_, query, _ = strings.Cut(strings.TrimSuffix(w.Header().Get("Link"), `>; rel="next"`), "?")
	}
	if found != 41 || requests < 4 {
		t.Errorf("%d records on %d pages, want 41", found, requests)
	}
	if w := askStream(t, k, s, "filter=(gte,rank,60)&nextpage_opaque_marker=2"); w.Code != http.StatusBadRequest {
		t.Errorf("a page beyond the limit: %d", w.Code)
	}
	looked = 0
	if w := askStream(t, k, s, "filter=(gte,rank,60)&explain"); w.Code != http.StatusOK || looked > s.Limit+1 {
		t.Errorf("explain: %d after a look at %d records", w.Code, looked)
	}
}
