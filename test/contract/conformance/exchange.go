package conformance

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// exchange is what a case works with: the server, and what is known to be on it.
type exchange struct {
	ctx    context.Context
	client *client
	major  string
	found  *discovery // of this major; nil for cases about none
	run    *run

	service string // where the API lies that the case is about; empty: the inventory
}

// root is the path of the version in question.
func (x *exchange) root() string { return cmp.Or(x.service, base) + "/" + x.major }

// get asks for a path below the root, with its query.
func (x *exchange) get(path string) (answer, error) { return x.do(call{path: x.root() + path}) }

// do makes any call.
func (x *exchange) do(k call) (answer, error) { return x.client.do(x.ctx, k) }

// status asks for a path below the root and wants this status.
func (x *exchange) status(path string, want int) error {
	a, err := x.get(path)
	if err != nil {
		return err
	}
	return a.want(want)
}

// object asks for one record.
//
// A token, which is there for one answer only, is left out; see clusterTokens.
func (x *exchange) object(path string) (record, error) {
	a, err := x.get(path)
	if err != nil {
		return nil, err
	}
	if err := a.want(http.StatusOK); err != nil {
		return nil, err
	}
	o, err := a.object()
	if err == nil {
		if p, there := profile(o); there {
			delete(p, "token")
			delete(p, "token_expiration")
		}
	}
	return o, err
}

// mostPages is where reading a list page by page ends: a server that gives out the same page
// for ever must not hold us.
const mostPages = 10_000

// pages asks for a list and all its further pages.
func (x *exchange) pages(path string) ([]answer, error) {
	var pages []answer
	next := x.root() + path
	for next != "" {
		if len(pages) == mostPages {
			return nil, fmt.Errorf("GET %s: more than %d pages", x.root()+path, mostPages)
		}
		a, err := x.do(call{path: next})
		if err != nil {
			return nil, err
		}
		if err := a.want(http.StatusOK); err != nil {
			return nil, err
		}
		pages = append(pages, a)
		if next, err = a.nextPage(); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

// list asks for all records of a list, on all its pages.
func (x *exchange) list(path string) ([]record, error) {
	pages, err := x.pages(path)
	if err != nil {
		return nil, err
	}
	var all []record
	for _, page := range pages {
		records, err := page.list()
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	return all, nil
}

// query makes a query of pairs of names and values; a name without a value is a flag.
func query(pairs ...string) string {
	var parts []string
	for _, p := range pairs {
		name, value, hasValue := strings.Cut(p, "=")
		if !hasValue {
			parts = append(parts, url.QueryEscape(name))
			continue
		}
		parts = append(parts, url.QueryEscape(name)+"="+url.QueryEscape(value))
	}
	return "?" + strings.Join(parts, "&")
}

// filtered is the path of a list under a filter.
func filtered(path string, filters ...string) string {
	pairs := make([]string, len(filters))
	for i, f := range filters {
		pairs[i] = "filter=" + f
	}
	return path + query(pairs...)
}
