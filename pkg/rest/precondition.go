package rest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// errPrecondition means that the thing is not as the client saw it.
var errPrecondition = errors.New("precondition failed")

// CheckMatch tells whether a request that changes something may go on, given the digest of
// what a GET of the same path answers now. Without the header If-Match it may. The error is
// answered 412.
//
// Source: RFC 9110, clause 13.1.1. The comparison is strong, so a weak tag matches nothing.
func CheckMatch(r *http.Request, d Digest) error {
	header := r.Header.Values("If-Match")
	if len(header) == 0 {
		return nil
	}
	etag := d.etag()
	compressed := strings.TrimSuffix(etag, `"`) + GzipSuffix + `"`
	for _, line := range header {
		for candidate := range strings.SplitSeq(line, ",") {
			switch strings.TrimSpace(candidate) {
			case etag, compressed, "*":
				return nil
			}
		}
	}
	return fmt.Errorf("If-Match: it has changed since it was read: %w", errPrecondition)
}

// SetETag names what a GET of the path answers after the change that is being answered.
func SetETag(w http.ResponseWriter, d Digest) { w.Header().Set("ETag", d.etag()) }
