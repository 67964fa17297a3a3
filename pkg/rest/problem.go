package rest

import (
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/fault"
)

// ProblemDetails is the body of every answer that is an error.
//
// There is no type (its absence means about:blank) and no instance: implementations
// disagree on whether that is a string or an array.
//
// Source: ETSI GS NFV-SOL 013, ProblemDetails; RFC 9457.
type ProblemDetails struct {
	Title  string `json:"title"`  // the HTTP reason phrase
	Status int    `json:"status"` // the HTTP status, repeated
	Detail string `json:"detail"` // what happened this time, for a person

	// AdditionalAttributes holds the path parameters of the request and, under
	// correlationId, what to look for in our log.
	AdditionalAttributes map[string]string `json:"additionalAttributes,omitempty"`
}

var statuses = []struct {
	kind   error
	status int
}{
	{fault.Unauthenticated, http.StatusUnauthorized},
	{fault.Forbidden, http.StatusForbidden},
	{errMethod, http.StatusMethodNotAllowed},
	{errPrecondition, http.StatusPreconditionFailed},
	{errMediaType, http.StatusUnsupportedMediaType},
	{errURI, http.StatusRequestURITooLong},
	{errHeader, http.StatusRequestHeaderFieldsTooLarge},
	{fault.Invalid, http.StatusBadRequest},
	{fault.NotFound, http.StatusNotFound},
	{fault.Conflict, http.StatusConflict},
	{fault.TooLarge, http.StatusRequestEntityTooLarge},
	{fault.RateLimited, http.StatusTooManyRequests},
	{fault.Upstream, http.StatusBadGateway},
	{fault.Unavailable, http.StatusServiceUnavailable},
}

// restartTime is when a client should come back after a 429 or 503 whose error does not say.
// What we wait for, an apiserver or a store, restarts within seconds.
const restartTime = 5 * time.Second

// retryAfter is the value of the header: whole seconds, and never too few.
//
// Source: RFC 9110, clause 10.2.3.
func retryAfter(err error) string {
	wait, told := fault.RetryAfter(err)
	if !told {
		wait = restartTime
	}
	return strconv.FormatInt(max(1, int64(math.Ceil(wait.Seconds()))), 10)
}

// problemFor is the only place where an error becomes an HTTP status. The text of an
// error that is the client's to mend goes to the client. Any other text, that of an error
// of no known kind or of a system behind us, goes to the log alone.
func problemFor(err error) ProblemDetails {
	for _, s := range statuses {
		if !errors.Is(err, s.kind) {
			continue
		}
		detail := err.Error()
		switch {
		case s.status == http.StatusUnauthorized:
			detail = "the request does not carry a valid bearer token" // why not would help the wrong people
		case s.status == http.StatusBadGateway:
			detail = "a system that the answer depends on failed"
		case s.status == http.StatusServiceUnavailable:
			detail = "the answer is not to be had at the moment"
		}
		return ProblemDetails{Title: http.StatusText(s.status), Status: s.status, Detail: detail}
	}
	const status = http.StatusInternalServerError
	return ProblemDetails{Title: http.StatusText(status), Status: status, Detail: "the server could not complete the request"}
}

// maxAttributeBytes is the longest path parameter that is repeated to the client.
const maxAttributeBytes = 256

// WriteProblem answers with ProblemDetails for err, and logs what the client is not told.
func WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := problemFor(err)
	if p.Status >= http.StatusInternalServerError {
		slog.ErrorContext(r.Context(), "request not served", "method", r.Method, "status", p.Status,
			"correlationId", RequestID(r.Context()), "error", err)
	}
	p.AdditionalAttributes = attributes(r)

	h := w.Header()
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challenge(r))
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", retryAfter(err))
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Length")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone; there is nobody else to tell
}

func attributes(r *http.Request) map[string]string {
	attrs := make(map[string]string)
	for name, value := range mux.Vars(r) {
		if len(value) <= maxAttributeBytes {
			attrs[name] = value
		}
	}
	if id := RequestID(r.Context()); id != "" {
		attrs["correlationId"] = id
	}
	return attrs
}

// challenge tells how to authenticate, and whether what was sent was the fault.
//
// Source: RFC 6750, clause 3.
func challenge(r *http.Request) string {
	if r.Header.Get("Authorization") == "" {
		return `Bearer realm="o2ims"`
	}
	return `Bearer realm="o2ims", error="invalid_token"`
}
