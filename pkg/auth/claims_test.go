package auth

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestClaimAt(t *testing.T) {
	var claims map[string]any
	err := json.Unmarshal([]byte(`{"a":{"b":{"c":1,"c.d":2},"x":null},"a.b":{"c":3},"a.x.y":4,"e":5,"e.f":{"g":6},"r":{"my.client":{"roles":7}}}`), &claims)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{
		"e":                 5.0,
		"a.b.c":             3.0, // the longest name that exists
		"a.b.c.d":           nil,
		"a.x.y":             4.0,
		"a.x":               nil,
		"a.x.z":             nil,
		"e.f.g":             6.0,
		"e.g":               nil,
		"r.my.client.roles": 7.0,
		"missing":           nil,
		"missing.too":       nil,
		"":                  nil,
	} {
		if got := claimAt(claims, path); got != want {
			t.Errorf("claimAt(%q) = %v, want %v", path, got, want)
		}
	}
}

// FuzzClaimAt checks that a claim is found exactly where its path leads.
func FuzzClaimAt(f *testing.F) {
	f.Add("a.b.c", 1)
	f.Add("..", 0)
	f.Add("realm_access.roles", 12)
	f.Fuzz(func(t *testing.T, path string, cut int) {
		if path == "" || strings.Count(path, ".") > 100 {
			return
		}
		whole := map[string]any{path: "found"}
		if got := claimAt(whole, path); got != "found" {
			t.Errorf("claimAt(%q) = %v in %v", path, got, whole)
		}
		if cut = cut % len(path); cut < 1 || path[cut] != '.' {
			return
		}
		nested := map[string]any{path[:cut]: map[string]any{path[cut+1:]: "found"}}
		if got := claimAt(nested, path); got != "found" && cut+1 < len(path) {
			t.Errorf("claimAt(%q) = %v in %v", path, got, nested)
		}
	})
}

// FuzzJudge checks what must hold of an identity whatever an issuer signs.
func FuzzJudge(f *testing.F) {
	f.Add([]byte(`{"iss":"https://idp.example","aud":"o2ims","sub":"ann","exp":4e9,"a":{"b":["o2ims-admin","system:masters"]},"scope":"role:o2ims-reader role:operator"}`), false, "")
	f.Add([]byte(`{"iss":"https://idp.example","aud":["o2ims"],"sub":"em:masters","exp":4e9.5,"client_id":"smo","cnf":{"x5t#S256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}`), true, "syst")
	f.Add([]byte(`{"iss":"https://idp.example","aud":"o2ims","sub":"a","sub":"b","exp":"1"}`), true, "sso:")
	f.Add([]byte(`{"iss":"https://idp.example","aud":"o2ims","sub":"ann","exp":4e9,"typ":"Bearer","a.b":"operator"}`), false, "sso:")
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, payload []byte, access bool, prefix string) {
		s := Issuer{URL: "https://idp.example", Audiences: []string{"o2ims"}, GroupsClaim: "a.b", UsernamePrefix: prefix,
			RoleNames: map[string]string{"operator": RoleMaintainer}}.withDefaults()
		var h header
		if access {
			h.typ = typeAccessToken
		}
		v, err := s.judge(payload, h, now)
		if err != nil {
			if !reflect.DeepEqual(v.identity, Identity{}) {
				t.Errorf("identity %+v beside %v", v.identity, err)
			}
			return
		}
		id := v.identity
		roles, last := id.Groups[:len(id.Groups)-1], id.Groups[len(id.Groups)-1]
		switch {
		case !strings.HasPrefix(id.Name, s.UsernamePrefix), len(id.Name) <= len(s.UsernamePrefix), len(id.Name) > len(s.UsernamePrefix)+maxNameBytes, strings.HasPrefix(id.Name, systemPrefix):
			t.Errorf("user name %q", id.Name)
		case slices.ContainsFunc(roles, func(g string) bool { return !slices.Contains(Roles(), g) }), !slices.IsSorted(roles), len(slices.Compact(slices.Clone(roles))) != len(roles), last != authenticatedGroup:
			t.Errorf("groups %q", id.Groups)
		case len(id.Extra) > 0, id.UID != "", len(id.Client) > maxNameBytes, len(id.Scopes) > maxScopes, id.Issuer != s.URL:
			t.Errorf("identity %+v", id)
		case !v.expires.Add(s.Leeway).After(now):
			t.Errorf("a token that ended at %v", v.expires)
		case strings.Contains(string(payload), `"cnf"`) && v.bound == nil:
			var claims map[string]any
			if json.Unmarshal(payload, &claims) == nil && claims["cnf"] != nil {
				t.Error("a bound token is bound to nothing")
			}
		}
	})
}
