// Package rest is what the O2 IMS and A1 APIs have in common: handlers that return
// errors, the methods of a path, ProblemDetails, versions, and the reading and writing of
// JSON.
//
// A handler answers or returns an error, never both. It does not choose a status: the
// kind of the error does, in one table (see problemFor). So an answer for "not found" or
// "try again" looks the same in every API, and the text of an error that is our own fault
// never leaves the process.
//
// Routes are registered by path alone, with Methods as their handler, because an answer
// 405 must name the methods that are allowed, and because the template of the path is
// wanted for metrics before the caller is known.
//
// Sources: ETSI GS NFV-SOL 013, clause 6 (errors); RFC 9457.
package rest

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/fault"
)

// How long parts of a request may be.
const (
	MaxBodyBytes   = 1 << 20
	MaxURIBytes    = 32 << 10 // a filter may be 4 KiB, three times that with escapes
	MaxHeaderBytes = 64 << 10 // all header fields together
)

// Handler serves one method of one path. When it returns an error it has written nothing.
type Handler func(w http.ResponseWriter, r *http.Request) error

// ServeHTTP calls h and turns its error into ProblemDetails.
func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h(w, r); err != nil {
		WriteProblem(w, r, err)
	}
}

// Methods are the handlers of one path by HTTP method. GET serves HEAD as well. Any other
// method is answered 405 with the header Allow, a body of another type than JSON 415.
type Methods map[string]Handler

// ServeHTTP chooses the handler.
func (m Methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler, ok := m[r.Method]
	if !ok && r.Method == http.MethodHead {
		handler, ok = m[http.MethodGet]
	}
	if !ok {
		w.Header().Set("Allow", m.allow())
		WriteProblem(w, r, fmt.Errorf("method %s on this path: %w", r.Method, errMethod))
		return
	}
	if err := checkMediaType(r); err != nil {
		WriteProblem(w, r, err)
		return
	}
	handler.ServeHTTP(w, r)
}

func (m Methods) allow() string {
	methods := make([]string, 0, len(m)+1)
	for method := range m {
		methods = append(methods, method)
	}
	if _, ok := m[http.MethodGet]; ok {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return strings.Join(slices.Compact(methods), ", ")
}

// checkMediaType refuses a body that declares itself to be something we do not read. A
// body that declares nothing is read as JSON, and refused as 400 if it is none.
func checkMediaType(r *http.Request) error {
	declared := r.Header.Get("Content-Type")
	if declared == "" {
		return nil
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
	default:
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(declared)
	if err == nil && (mediaType == "application/json" ||
		r.Method == http.MethodPatch && mediaType == "application/merge-patch+json") {
		return nil
	}
	return fmt.Errorf("content type: want application/json: %w", errMediaType)
}

// UUID returns the path parameter with this name, which the standard wants to be a UUID.
// The error wraps fault.Invalid and does not repeat what the client sent.
func UUID(r *http.Request, name string) (uuid.UUID, error) {
	text := mux.Vars(r)[name]
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 { // uuid.Parse takes urn:uuid: and braces, too
		return uuid.UUID{}, fmt.Errorf("path parameter %s is not a UUID: %w", name, fault.Invalid)
	}
	return id, nil
}

// Normalize makes a request fit for routing: one trailing slash goes, and raw semicolons
// in the query, which separate the terms of a filter, are escaped, because url.ParseQuery
// drops every parameter that has one.
func Normalize(r *http.Request) *http.Request {
	trailing := len(r.URL.Path) > 1 && strings.HasSuffix(r.URL.Path, "/")
	semicolon := strings.Contains(r.URL.RawQuery, ";")
	if !trailing && !semicolon {
		return r
	}
	u := *r.URL
	if trailing {
		u.Path = strings.TrimSuffix(u.Path, "/")
		u.RawPath = strings.TrimSuffix(u.RawPath, "/")
	}
	u.RawQuery = strings.ReplaceAll(u.RawQuery, ";", "%3B")
	copied := *r
	copied.URL = &u
	return &copied
}

// CheckSize refuses a request whose URI or header fields are too long.
func CheckSize(r *http.Request) error {
	if len(r.RequestURI) > MaxURIBytes {
		return fmt.Errorf("URI of %d bytes, more than %d: %w", len(r.RequestURI), MaxURIBytes, errURI)
	}
	size := 0
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	if size > MaxHeaderBytes {
		return fmt.Errorf("header fields of %d bytes, more than %d: %w", size, MaxHeaderBytes, errHeader)
	}
	return nil
}

type requestIDKey struct{}

// WithRequestID gives the request the identifier under which it is found in the log.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns the identifier of the request, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

var (
	errMethod    = errors.New("method not allowed")
	errMediaType = errors.New("unsupported media type")
	errURI       = errors.New("URI too long")
	errHeader    = errors.New("request header fields too large")
)
