package conformance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// ownerCases are about whose a subscription is, in either API: its collection, and what the
// identifier in it is called.
func ownerCases(id1, id2, collection, idName string) []Case {
	return []Case{
		{ID: id1, Source: "api.md; a1 SOL013 5.4", Expect: "a subscription says who made it and whose it is, in extensions by which lists can be narrowed, and what a client says of that is passed over",
			run: func(x *exchange) error { return subscriptionOwner(x, x.root()+collection, idName) }},
		{ID: id2, Source: "api.md; a1 api.md", Expect: "who may act for others names the owner in X-On-Behalf-Of-Service, others are 403",
			run: func(x *exchange) error { return subscriptionOnBehalf(x, x.root()+collection, idName) }},
	}
}

// made is a subscription that a case made, and how to be rid of it.
type made struct {
	id     string
	shown  record // extensions
	remove func() error
}

// subscribe makes a subscription. Its callback is at an address of RFC 5737, where nobody is.
func subscribe(x *exchange, collection, idName, more string, header http.Header) (answer, made, error) {
	body := fmt.Sprintf(`{"callback":"https://203.0.113.7/%s"%s}`, unknownID(), more)
	a, err := x.do(call{method: http.MethodPost, path: collection, body: body, header: header})
	if err != nil || a.status != http.StatusCreated {
		return a, made{}, err
	}
	got, err := a.object()
	if err != nil {
		return a, made{}, err
	}
	m := made{id: text(got, idName)}
	m.shown, _ = got["extensions"].(record)
	m.remove = func() error {
		a, err := x.do(call{method: http.MethodDelete, path: collection + "/" + m.id})
		if err == nil && !slices.Contains([]int{http.StatusOK, http.StatusNoContent}, a.status) {
			err = fmt.Errorf("DELETE of one's own subscription: %d %s", a.status, excerpt(a.body))
		}
		return err
	}
	return a, m, nil
}

func subscriptionOwner(x *exchange, collection, idName string) error {
	eve := "eve-" + unknownID()
	a, m, err := subscribe(x, collection, idName, fmt.Sprintf(`,"extensions":{"owner":%q,"creator":%q}`, eve, eve), jsonBody)
	if err != nil {
		return err
	}
	if a.status == http.StatusConflict && strings.Contains(string(a.body), "globalCloudId") {
		return skip("the O-Cloud has no globalCloudId")
	}
	if err := a.want(http.StatusCreated); err != nil {
		return err
	}
	var wrong faults
	owner, creator := text(m.shown, "owner"), text(m.shown, "creator")
	if owner == "" || owner != creator || owner == eve {
		wrong.add("extensions are %s, want owner and creator to be the client", canonical(m.shown))
	}
	for _, probe := range []struct {
		filter string
		there  bool
	}{
		{"(eq,extensions/owner,'" + owner + "')", true},
		{"(eq,extensions/creator,'" + creator + "');(eq," + idName + "," + m.id + ")", true},
		{"(eq,extensions/owner," + eve + ")", false},
	} {
		a, err := x.do(call{path: filtered(collection, probe.filter)})
		if err != nil {
			return err
		}
		if err := a.want(http.StatusOK); err != nil {
			wrong.add("%s: %v", probe.filter, err)
		} else if strings.Contains(string(a.body), m.id) != probe.there {
			wrong.add("%s finds the subscription: %t, want %t", probe.filter, !probe.there, probe.there)
		}
	}
	if err := m.remove(); err != nil {
		wrong.add("%v", err)
	}
	return wrong.err()
}

func subscriptionOnBehalf(x *exchange, collection, idName string) error {
	other := "rapp-" + unknownID()
	header := jsonBody.Clone()
	header.Set("X-On-Behalf-Of-Service", other)
	var wrong faults
	a, m, err := subscribe(x, collection, idName, "", header)
	switch {
	case err != nil:
		return err
	case a.status == http.StatusConflict && strings.Contains(string(a.body), "globalCloudId"):
		return skip("the O-Cloud has no globalCloudId")
	case a.status == http.StatusForbidden:
		return skip("this caller may not act for others")
	case a.status != http.StatusCreated:
		return a.want(http.StatusCreated)
	}
	if owner, creator := text(m.shown, "owner"), text(m.shown, "creator"); owner != other || creator == "" || creator == other {
		wrong.add("extensions are %s, want owner %s and creator the client", canonical(m.shown), other)
	}
	if err := m.remove(); err != nil {
		wrong.add("%v", err)
	}
	header.Set("X-On-Behalf-Of-Service", strings.Repeat("x", 257))
	a, m, err = subscribe(x, collection, idName, "", header)
	if err != nil {
		return err
	}
	if err := a.want(http.StatusBadRequest); err != nil {
		wrong.add("an owner of 257 bytes: %v", err)
	}
	if m.remove != nil { // it was made all the same
		if err := m.remove(); err != nil {
			wrong.add("%v", err)
		}
	}
	return wrong.err()
}
