package conformance

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func httpCases() []Case {
	return []Case{
		{ID: "INV-HTP-01", Source: "RFC 9110", Expect: "answers are application/json, whatever Accept says", run: accepts},
		{ID: "INV-HTP-02", Source: "RFC 9110 9.3.2; RFC 9110", Expect: "HEAD has the head of GET and no body, on every path", run: heads},
		{ID: "INV-HTP-03", Source: "RFC 9110 9.3.2", Expect: "HEAD of what does not exist is 404 without body", run: func(x *exchange) error {
			a, err := x.do(call{method: http.MethodHead, path: x.root() + "/resourcePools/" + unknownID()})
			if err != nil {
				return err
			}
			return a.want(http.StatusNotFound)
		}},
		{ID: "INV-HTP-04", Source: "RFC 9110 8.8.3; RFC 9110", Expect: "every JSON answer has an ETag in quotes, the same when read again", run: tags},
		{ID: "INV-HTP-05", Source: "api.md.2", Expect: "the ETag depends on the content: it differs from record to record", run: tagsDiffer},
		{ID: "INV-HTP-06", Source: "RFC 9110 13.1.2", Expect: "If-None-Match with the ETag is 304: no body, the same ETag", run: notModified},
		{ID: "INV-HTP-07", Source: "RFC 9110 13.1.2", Expect: "If-None-Match: a list of tags and * match, other tags do not, weak comparison", run: noneMatch},
		{ID: "INV-HTP-08", Source: "RFC 9110 13.1.2", Expect: "HEAD with If-None-Match is 304, too", run: func(x *exchange) error {
			tag, err := x.tag("")
			if err != nil {
				return err
			}
			a, err := x.do(call{method: http.MethodHead, path: x.root(), header: http.Header{"If-None-Match": {tag}}})
			if err != nil {
				return err
			}
			return a.want(http.StatusNotModified)
		}},
		{ID: "INV-HTP-09", Source: "RFC 9110 13.1.2", Expect: "404 stays 404 with If-None-Match: *", run: func(x *exchange) error {
			a, err := x.do(call{path: x.root() + "/resourcePools/" + unknownID(), header: http.Header{"If-None-Match": {"*"}}})
			if err != nil {
				return err
			}
			return a.want(http.StatusNotFound)
		}},
		{ID: "INV-HTP-10", Source: "RFC 9110 8.4, 12.5.3", Expect: "a large answer is compressed for who takes gzip, decodes to the same, and says Vary: Accept-Encoding", run: compressed},
		{ID: "INV-HTP-11", Source: "RFC 9110 12.5.3", Expect: "nothing is compressed for who does not ask for gzip, or refuses it with q=0", run: uncompressed},
		{ID: "INV-HTP-12", Source: "RFC 9110 8.8.3.3", Expect: "the ETag of a compressed answer is good for If-None-Match, and not the strong one of the plain answer", run: compressedTag},
		{ID: "INV-HTP-13", Source: "SOL013 5.4", Expect: "lists have X-Total-Count: how many records there are, on all pages", run: totals},
		{ID: "INV-HTP-14", Source: "SOL013 5.4", Expect: "under a filter X-Total-Count is how many match", run: filteredTotals},
		{ID: "INV-HTP-15", Source: "SOL013 5.2 (OCPBUGS-105287)", Expect: "a raw ; in the query is as good as %3B and %3b", run: semicolons},
		{ID: "INV-HTP-17", Source: "RFC 9110 9.3.2", Expect: "not one byte follows the head of an answer to HEAD", run: bodiless},
		{ID: "INV-HTP-16", Source: "SOL013 5.4", Expect: "lists are in ascending order of the identifier, each record once", run: sorted},
	}
}

func accepts(x *exchange) error {
	var wrong faults
	for _, path := range x.readPaths() {
		if path == "/openapi.yaml" {
			continue
		}
		for _, accept := range []string{"application/json", "*/*", "text/html", "application/xml;q=0.9"} {
			a, err := x.do(call{path: x.root() + path, header: http.Header{"Accept": {accept}}})
			if err != nil {
				return err
			}
			if a.status != http.StatusOK || a.mediaType() != "application/json" {
				wrong.add("%s with Accept %s: %d %s", a.call, accept, a.status, a.header.Get("Content-Type"))
			}
		}
	}
	return wrong.err()
}

func heads(x *exchange) error {
	var wrong faults
	for _, path := range x.readPaths() {
		get, err := x.get(path)
		if err != nil {
			return err
		}
		head, err := x.do(call{method: http.MethodHead, path: x.root() + path})
		if err != nil {
			return err
		}
		if head.status != get.status || len(head.body) > 0 {
			wrong.add("%s: %d and %d bytes, want %d and none", head.call, head.status, len(head.body), get.status)
		}
		for _, name := range []string{"Content-Type", "ETag", "X-Total-Count", "Link"} {
			if got, want := head.header.Get(name), get.header.Get(name); got != want {
				wrong.add("%s: %s is %q, of GET it is %q", head.call, name, got, want)
			}
		}
		if length := head.header.Get("Content-Length"); length != "" && length != strconv.Itoa(len(get.body)) {
			wrong.add("%s: Content-Length %s, the body of GET has %d bytes", head.call, length, len(get.body))
		}
	}
	return wrong.err()
}

// bodiless looks at the bytes on the connection: HTTP libraries would not show a body.
func bodiless(x *exchange) error {
	var wrong faults
	for _, path := range []string{"", "/resourceTypes", "/resourcePools/" + unknownID()} {
		raw, err := x.client.raw(x.ctx, "HEAD "+x.root()+path+" HTTP/1.1\r\nAuthorization: Bearer "+x.run.target.Token+"\r\nConnection: close\r\n")
		if err != nil {
			return err
		}
		if _, body, found := bytes.Cut(raw, []byte("\r\n\r\n")); !found || len(body) > 0 {
			wrong.add("HEAD %s: %d bytes after the head", x.root()+path, len(body))
		}
	}
	return wrong.err()
}

// tag returns the ETag of a path, "" where the answer shows a token, which no ETag can stand for.
func (x *exchange) tag(path string) (string, error) {
	a, err := x.get(path)
	if err != nil {
		return "", err
	}
	if err := a.want(http.StatusOK); err != nil {
		return "", err
	}
	tag := a.header.Get("ETag")
	if tag == "" && showsToken(a) {
		return "", nil
	}
	opaque := strings.TrimPrefix(tag, "W/")
	if len(opaque) < 3 || opaque[0] != '"' || opaque[len(opaque)-1] != '"' || strings.Contains(opaque[1:len(opaque)-1], `"`) {
		return "", fmt.Errorf("%s: ETag %q is no tag in quotes", a.call, tag)
	}
	return tag, nil
}

func tags(x *exchange) error {
	var wrong faults
	for _, path := range x.readPaths() {
		first, err := x.tag(path)
		if err != nil {
			wrong.add("%w", err)
			continue
		}
		if again, err := x.tag(path); err != nil || again != first {
			wrong.add("%s: ETag %q, then %q", path, first, again)
		}
	}
	return wrong.err()
}

func tagsDiffer(x *exchange) error {
	byTag := map[string]string{} // path by ETag
	var wrong faults
	for _, c := range x.found.inUse(x.major) {
		for _, r := range c.sample() {
			path := c.single(url.PathEscape(text(r, c.key)))
			tag, err := x.tag(path)
			if err != nil {
				return err
			}
			if tag == "" {
				continue
			}
			if other, taken := byTag[tag]; taken {
				wrong.add("%s and %s have the ETag %s", path, other, tag)
			}
			byTag[tag] = path
		}
	}
	return wrong.err()
}

func notModified(x *exchange) error {
	var wrong faults
	for _, path := range x.readPaths() {
		tag, err := x.tag(path)
		if err != nil {
			return err
		}
		if tag == "" {
			continue
		}
		a, err := x.do(call{path: x.root() + path, header: http.Header{"If-None-Match": {tag}}})
		if err != nil {
			return err
		}
		if a.status != http.StatusNotModified || len(a.body) > 0 || a.header.Get("ETag") != tag {
			wrong.add("%s with its ETag: %d, %d bytes, ETag %s; want 304, none, %s", a.call, a.status, len(a.body), a.header.Get("ETag"), tag)
		}
	}
	return wrong.err()
}

func noneMatch(x *exchange) error {
	tag, err := x.tag("")
	if err != nil {
		return err
	}
	strong := strings.TrimPrefix(tag, "W/")
	var wrong faults
	for value, want := range map[string]int{
		`"x", ` + tag + `, "y"`: http.StatusNotModified,
		"*":                     http.StatusNotModified,
		"W/" + strong:           http.StatusNotModified,
		`"x"`:                   http.StatusOK,
		`W/"x","y"`:             http.StatusOK,
		"":                      http.StatusOK,
	} {
		a, err := x.do(call{path: x.root(), header: http.Header{"If-None-Match": {value}}})
		if err != nil {
			return err
		}
		if a.status != want {
			wrong.add("If-None-Match: %s: %d, want %d", value, a.status, want)
		}
	}
	return wrong.err()
}

// largeEnough is how long an answer must be for compression to pay without doubt.
const largeEnough = 4 << 10

// large returns the path of a large answer.
func (x *exchange) large() (answer, error) {
	var largest answer
	for _, c := range x.found.inUse(x.major) {
		a, err := x.get(c.path + "?all_fields")
		if err != nil {
			return answer{}, err
		}
		if len(a.body) > len(largest.body) {
			largest = a
		}
	}
	if len(largest.body) < largeEnough {
		return answer{}, skip("no list is longer than %d bytes", largeEnough)
	}
	return largest, nil
}

func compressed(x *exchange) error {
	plain, err := x.large()
	if err != nil {
		return err
	}
	a, err := x.do(call{path: plain.call.path, header: http.Header{"Accept-Encoding": {"br;q=1.0, gzip;q=0.8"}}})
	if err != nil {
		return err
	}
	if a.encoding != "gzip" || a.wire >= len(plain.body) {
		return fmt.Errorf("%s: Content-Encoding %q, %d of %d bytes", a.call, a.encoding, a.wire, len(plain.body))
	}
	if !bytes.Equal(a.body, plain.body) {
		return fmt.Errorf("%s: decodes to something else than the plain answer", a.call)
	}
	for _, r := range []answer{a, plain} {
		if !strings.Contains(strings.ToLower(strings.Join(r.header.Values("Vary"), ",")), "accept-encoding") {
			return fmt.Errorf("%s with Content-Encoding %q: Vary %q", r.call, r.encoding, r.header.Values("Vary"))
		}
	}
	return nil
}

func uncompressed(x *exchange) error {
	plain, err := x.large()
	if err != nil {
		return err
	}
	var wrong faults
	for _, accept := range []string{"", "identity", "br", "gzip;q=0", "gzip;q=0.0, *;q=0"} {
		k := call{path: plain.call.path, header: http.Header{}}
		if accept != "" {
			k.header.Set("Accept-Encoding", accept)
		}
		a, err := x.do(k)
		if err != nil {
			return err
		}
		if a.encoding != "" || a.status != http.StatusOK {
			wrong.add("%s with Accept-Encoding %q: %d, Content-Encoding %q", a.call, accept, a.status, a.encoding)
		}
	}
	return wrong.err()
}

func compressedTag(x *exchange) error {
	plain, err := x.large()
	if err != nil {
		return err
	}
	gzipped := http.Header{"Accept-Encoding": {"gzip"}}
	a, err := x.do(call{path: plain.call.path, header: gzipped})
	if err != nil {
		return err
	}
	if a.encoding == "" {
		return fmt.Errorf("%s: not compressed", a.call)
	}
	tag, plainTag := a.header.Get("ETag"), plain.header.Get("ETag")
	if tag == plainTag && !strings.HasPrefix(tag, "W/") {
		return fmt.Errorf("%s: the strong ETag %s stands for the plain and for the compressed answer", a.call, tag)
	}
	gzipped.Set("If-None-Match", tag)
	again, err := x.do(call{path: plain.call.path, header: gzipped})
	if err != nil {
		return err
	}
	return again.want(http.StatusNotModified)
}

// decoded undoes gzip.
func decoded(body []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func totals(x *exchange) error {
	var wrong faults
	for _, c := range x.found.all(x.major) {
		pages, err := x.pages(c.path)
		if err != nil {
			return err
		}
		for _, page := range pages {
			if got, want := page.header.Get("X-Total-Count"), strconv.Itoa(len(c.records)); got != want {
				wrong.add("%s: X-Total-Count %q, want %s", page.call, got, want)
			}
		}
	}
	return wrong.err()
}

func filteredTotals(x *exchange) error {
	tried := false
	var wrong faults
	for _, c := range x.found.inUse(x.major) {
		id := c.ids()[0]
		for filter, want := range map[string]int{
			"(eq," + c.key + "," + id + ")": 1, "(neq," + c.key + "," + id + ")": len(c.records) - 1, "(eq," + c.key + "," + unknownID() + ")": 0,
		} {
			tried = true
			a, err := x.get(filtered(c.path, filter))
			if err != nil {
				return err
			}
			if got := a.header.Get("X-Total-Count"); got != strconv.Itoa(want) {
				wrong.add("%s: X-Total-Count %q, want %d", a.call, got, want)
			}
		}
	}
	if !tried {
		return skip("there are no records")
	}
	return wrong.err()
}

func semicolons(x *exchange) error {
	c := x.found.types
	if len(c.records) == 0 {
		return skip("there are no resourceTypes")
	}
	id := c.ids()[0]
	var wrong faults
	for _, semicolon := range []string{";", "%3B", "%3b"} {
		a, err := x.get(c.path + "?filter=(eq,resourceTypeId," + id + ")" + semicolon + "(neq,name,x)&fields=name")
		if err != nil {
			return err
		}
		if err := a.want(http.StatusOK); err != nil {
			wrong.add("%w", err)
			continue
		}
		list, err := a.list()
		if err != nil {
			return err
		}
		if got := ids(list, c.key); !slices.Equal(got, []string{id}) {
			wrong.add("%s: %v, want %s", a.call, got, id)
		}
	}
	return wrong.err()
}

func sorted(x *exchange) error {
	var wrong faults
	for _, c := range x.found.inUse(x.major) {
		list, err := x.list(c.path)
		if err != nil {
			return err
		}
		got := ids(list, c.key)
		if want := slices.Compact(slices.Sorted(slices.Values(got))); !slices.Equal(got, want) {
			wrong.add("%s: not ascending by %s, or not unique", c.path, c.key)
		}
	}
	return wrong.err()
}
