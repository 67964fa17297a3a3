package rest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/filter"
)

// The query parameters of the O2 IMS APIs. Any other is ignored.
//
// Source: ETSI GS NFV-SOL 013, clauses 5.2 (filter), 5.3 (selectors) and 5.4 (paging).
const (
	paramFilter         = "filter"
	paramAllFields      = "all_fields"
	paramFields         = "fields"
	paramExcludeFields  = "exclude_fields"
	paramExcludeDefault = "exclude_default"
	paramMarker         = "nextpage_opaque_marker"

	// paramExplain is ours: instead of the list, why the first records match or do not.
	paramExplain = "explain"
)

// maxSelectorBytes is how long all names in the selectors of a request may be together.
const maxSelectorBytes = 4 << 10

// Attributes say what selectors may do with the attributes of a kind of record. Names are
// those of the record's JSON.
//
// Mandatory attributes, that is all that are not named here, are never left out, whatever
// a client selects.
type Attributes struct {
	// Optional are the attributes that may be left out.
	Optional []string

	// Emptied are mandatory attributes that are free-form objects. They cannot be left out;
	// when a client does not select them they are sent as {}.
	Emptied []string

	// ByDefault are those of Optional that lists leave out unless they are selected: the
	// standard's default-exclude set.
	ByDefault []string

	// OnDemand are those of Optional that are too large for a list: there they must be
	// selected by name or with all_fields. Single records have them.
	OnDemand []string

	// Deep are the attributes for which Kind.Deep has to be asked.
	Deep []string
}

// selection is what a client wants to see of each record.
type selection struct {
	mask *mask // nil: everything
	deep bool  // with what is there on demand only

	// plain tells that nothing was selected, so that records go as they are kept.
	plain bool
}

// selectors are what a request says about attributes.
type selectors struct {
	all, excludeDefault bool
	fields, exclude     [][]string // paths
}

// parseQuery reads the query of a request that Normalize has seen. What cannot be decoded is
// refused: to pass over it, as url.URL.Query does, could pass over a filter.
func parseQuery(r *http.Request) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("query: %w: %w", err, fault.Invalid)
	}
	return values, nil
}

// parseSelectors reads the selectors. check tells whether an attribute exists. Errors wrap
// fault.Invalid and name the attribute, or give the offset of what is no path.
func parseSelectors(v url.Values, check func(path []string) error) (selectors, error) {
	var s selectors
	_, s.all = v[paramAllFields]
	_, s.excludeDefault = v[paramExcludeDefault]
	var err error
	if s.fields, err = parsePaths(paramFields, v[paramFields], check); err != nil {
		return s, err
	}
	if s.exclude, err = parsePaths(paramExcludeFields, v[paramExcludeFields], check); err != nil {
		return s, err
	}
	if len(s.exclude) > 0 && !s.all && (len(s.fields) > 0 || s.excludeDefault) {
		return s, fmt.Errorf("%s goes neither with %s nor with %s: %w", paramExcludeFields, paramFields, paramExcludeDefault, fault.Invalid)
	}
	return s, nil
}

func parsePaths(param string, lists []string, check func([]string) error) ([][]string, error) {
	var paths [][]string
	left := maxSelectorBytes
	for _, list := range lists {
		if left -= len(list); left < 0 {
			return nil, fmt.Errorf("%s: offset %d: more than %d bytes: %w", param, len(list)+left, maxSelectorBytes, fault.Invalid)
		}
		if strings.TrimSpace(list) == "" {
			continue // as if it were absent
		}
		offset := 0
		for name := range strings.SplitSeq(list, ",") {
			path, err := filter.ParsePath(name)
			if err == nil {
				err = check(path)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: from offset %d: %w", param, offset, err)
			}
			paths = append(paths, path)
			offset += len(name) + 1
		}
	}
	return paths, nil
}

// inList says what s selects of the records of a list.
func (a Attributes) inList(s selectors) selection {
	return a.choose(s, a.ByDefault, a.OnDemand)
}

// alone says what s selects of a single record, which lacks nothing by default.
func (a Attributes) alone(s selectors) selection {
	return a.choose(s, nil, nil)
}

// choose makes a selection, given what is left out by default and what is there on demand only.
//
// Source: the combinations of ETSI GS NFV-SOL 013, clause 5.3, where they are valid.
// all_fields wins over all others, which is lenient.
func (a Attributes) choose(s selectors, byDefault, onDemand []string) selection {
	m := keepAll()
	leaveOut := func(names []string) {
		for _, name := range names {
			m.drop([]string{name})
		}
	}
	switch {
	case s.all:
	case len(s.fields) > 0 && s.excludeDefault:
		leaveOut(byDefault)
		leaveOut(onDemand)
		m.restore(s.fields)
	case len(s.fields) > 0:
		leaveOut(a.Optional)
		for _, name := range a.Emptied {
			m.empty(name)
		}
		m.restore(s.fields)
	case len(s.exclude) > 0:
		leaveOut(onDemand)
		for _, path := range s.exclude {
			switch name := path[0]; {
			case slices.Contains(a.Emptied, name) && len(path) == 1:
				m.empty(name)
			case slices.Contains(a.Optional, name), slices.Contains(a.Emptied, name):
				m.drop(path)
			}
		}
	default:
		leaveOut(byDefault)
		leaveOut(onDemand)
	}
	return selection{
		mask:  m.whole(),
		deep:  slices.ContainsFunc(a.Deep, m.keeps),
		plain: !s.all && len(s.fields) == 0 && len(s.exclude) == 0,
	}
}
