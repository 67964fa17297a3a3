package server

import (
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/o2ims/o2ims/pkg/rest"
)

// minGzipBytes is how long an answer must be for compression to pay: what fits into one
// packet arrives no sooner when it is shorter.
const minGzipBytes = 1400

// gzipWriters are kept for reuse: each has tables of some hundred KiB.
type gzipWriters struct{ pool sync.Pool }

func (g *gzipWriters) get(w http.ResponseWriter) *gzip.Writer {
	if z, ok := g.pool.Get().(*gzip.Writer); ok {
		z.Reset(w)
		return z
	}
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is a valid one
	return z
}

// compressor compresses an answer if its client wants that and it pays. Whether it does is
// decided when the answer begins, so that a handler that fails before leaves no trace.
//
// A ready-made wrapper was the alternative; those we looked at end a stream properly even
// when the handler panics, which would make half an answer look whole.
//
// Source: RFC 9110, clauses 8.4 and 12.5.3.
type compressor struct {
	http.ResponseWriter
	writers *gzipWriters
	request *http.Request
	begun   bool
	gzip    *gzip.Writer // nil: the answer goes as it is
}

func (c *compressor) WriteHeader(status int) {
	if !c.begun && status >= http.StatusOK {
		c.begun = true
		c.begin(status)
	}
	c.ResponseWriter.WriteHeader(status)
}

// begin decides.
func (c *compressor) begin(status int) {
	h := c.Header()
	h.Add("Vary", "Accept-Encoding")
	if status != http.StatusOK || h.Get("Content-Encoding") != "" || !acceptsGzip(c.request.Header) {
		return
	}
	if length, err := strconv.Atoi(h.Get("Content-Length")); err == nil && length < minGzipBytes {
		return
	}
	h.Set("Content-Encoding", "gzip")
	h.Del("Content-Length")
	if tag, ok := strings.CutSuffix(h.Get("ETag"), `"`); ok {
		h.Set("ETag", tag+rest.GzipSuffix+`"`)
	}
	if c.request.Method != http.MethodHead {
		c.gzip = c.writers.get(c.ResponseWriter)
	}
}

func (c *compressor) Write(b []byte) (int, error) {
	if !c.begun {
		c.WriteHeader(http.StatusOK)
	}
	switch {
	case c.request.Method == http.MethodHead:
		return len(b), nil
	case c.gzip == nil:
		return c.ResponseWriter.Write(b)
	default:
		return c.gzip.Write(b)
	}
}

// end completes the answer. It is not called when the handler panicked.
func (c *compressor) end() {
	if c.gzip == nil {
		return
	}
	_ = c.gzip.Close() // the client may be gone; there is nobody else to tell
	c.writers.pool.Put(c.gzip)
	c.gzip = nil
}

// Unwrap lets http.ResponseController reach the connection.
func (c *compressor) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// acceptsGzip tells whether a client asks for gzip by name.
func acceptsGzip(h http.Header) bool {
	for _, line := range h.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(line, ",") {
			name, weight, _ := strings.Cut(coding, ";")
			if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
				continue
			}
			key, value, weighted := strings.Cut(strings.TrimSpace(weight), "=")
			q, err := strconv.ParseFloat(value, 64)
			return !weighted || key != "q" || err == nil && q > 0
		}
	}
	return false
}
