package server

import (
	"errors"
	"net/http"
	"strings"
)

// traceID returns what a request is known by in every system that it touches: the trace-id
// of its traceparent, or fallback when it brings none that is valid.
func traceID(r *http.Request, fallback string) string {
	headers := r.Header.Values("Traceparent")
	if len(headers) != 1 {
		return fallback
	}
	parent, err := parseTraceParent(headers[0])
	if err != nil {
		return fallback
	}
	return parent.traceID
}

// traceParent is what a caller says of the trace that its request is part of.
type traceParent struct {
	version, traceID, parentID, flags string // lower-case hexadecimal
}

func (p traceParent) String() string {
	return p.version + "-" + p.traceID + "-" + p.parentID + "-" + p.flags
}

var errTraceParent = errors.New("not a traceparent")

// parseTraceParent reads a traceparent such as
//
//	00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//
// Of a version that is newer than ours it reads what it knows, as the standard asks.
//
// Source: W3C Trace Context, clauses 3.2 and 4.
func parseTraceParent(text string) (traceParent, error) {
	const length = 2 + 1 + 32 + 1 + 16 + 1 + 2
	if len(text) < length || text[2] != '-' || text[35] != '-' || text[52] != '-' {
		return traceParent{}, errTraceParent
	}
	p := traceParent{version: text[:2], traceID: text[3:35], parentID: text[36:52], flags: text[53:length]}
	for _, part := range []string{p.version, p.traceID, p.parentID, p.flags} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return traceParent{}, errTraceParent
		}
	}
	switch {
	case p.version == "ff", // which no version will be
		p.version == "00" && len(text) != length,
		len(text) > length && text[length] != '-',
		strings.Trim(p.traceID, "0") == "",
		strings.Trim(p.parentID, "0") == "":
		return traceParent{}, errTraceParent
	}
	return p, nil
}
