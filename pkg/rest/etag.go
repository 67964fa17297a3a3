package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
)

// Digest names a content: equal bytes have equal digests, on every replica.
type Digest [16]byte

// DigestOf returns the digest of the parts, one after the other.
func DigestOf(parts ...[]byte) Digest {
	h := sha256.New()
	for _, part := range parts {
		h.Write(part)
	}
	return Digest(h.Sum(nil)[:len(Digest{})])
}

// etag is the digest as a strong validator.
func (d Digest) etag() string { return `"` + base64.RawURLEncoding.EncodeToString(d[:]) + `"` }

// GzipSuffix is what the server adds to the ETag of an answer that it compresses: the
// bytes differ, and so must a strong validator.
const GzipSuffix = "-gzip"

// unmodified sets the headers of an answer with this digest, and tells whether the client
// has the answer already. If so it has been told, and nothing may be written any more.
//
// Source: RFC 9110, clauses 8.8.3 and 13.1.2.
func unmodified(w http.ResponseWriter, r *http.Request, d Digest) bool {
	h := w.Header()
	h.Set("ETag", d.etag())
	h.Set("Cache-Control", "private, no-cache") // it may be kept, but not used without asking us
	matched := match(r.Header.Values("If-None-Match"), d.etag())
	if matched == "" {
		return false
	}
	h.Set("ETag", matched)
	w.WriteHeader(http.StatusNotModified)
	return true
}

// WriteDocument answers with a document of any media type, unless the client has it already.
func WriteDocument(w http.ResponseWriter, r *http.Request, mediaType string, document []byte) error {
	if unmodified(w, r, DigestOf(document)) {
		return nil
	}
	w.Header().Set("Content-Type", mediaType)
	_, _ = w.Write(document) // the client may be gone; there is nobody else to tell
	return nil
}

// match returns the tag that a header If-None-Match names, which is etag or that of the
// same answer compressed; "" when it names neither.
func match(header []string, etag string) string {
	compressed := strings.TrimSuffix(etag, `"`) + GzipSuffix + `"`
	for _, line := range header {
		for candidate := range strings.SplitSeq(line, ",") {
			switch candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/"); candidate {
			case etag, "*":
				return etag
			case compressed:
				return compressed
			}
		}
	}
	return ""
}
