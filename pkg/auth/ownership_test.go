package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/o2ims/o2ims/pkg/fault"
)

// TestResolveOwner goes through the rule: what is declared and not blank, else the client.
func TestResolveOwner(t *testing.T) {
	rapp := Identity{Name: "https://idp.example.net#7", Client: "rapp-7", Issuer: "https://idp.example.net"}
	account := Identity{Name: "system:serviceaccount:smo:o2", Client: "system:serviceaccount:smo:o2"}
	long := strings.Repeat("x", maxOwnerBytes)
	for _, tc := range []struct {
		name     string
		id       Identity
		declared string
		want     Ownership
		err      error
	}{
		{"client alone", rapp, "", Ownership{"rapp-7", "rapp-7"}, nil},
		{"blank counts as nothing", rapp, " \t ", Ownership{"rapp-7", "rapp-7"}, nil},
		{"declared", rapp, "rapp-8", Ownership{"rapp-8", "rapp-7"}, nil},
		{"declared as itself", rapp, "rapp-7", Ownership{"rapp-7", "rapp-7"}, nil},
		{"white space around it", rapp, " rapp-8 ", Ownership{"rapp-8", "rapp-7"}, nil},
		{"any script", rapp, "службa 7", Ownership{"службa 7", "rapp-7"}, nil},
		{"a service account", account, "", Ownership{account.Name, account.Name}, nil},
		{"no client, but a name", Identity{Name: "ann"}, "", Ownership{"ann", "ann"}, nil},
		{"a blank client", Identity{Name: "ann", Client: " "}, "", Ownership{"ann", "ann"}, nil},
		{"nobody", Identity{}, "", Ownership{}, nil},
		{"nobody, for somebody", Identity{}, "rapp-8", Ownership{"rapp-8", ""}, nil},
		{"as long as can be", rapp, long, Ownership{long, "rapp-7"}, nil},
		{"too long", rapp, long + "x", Ownership{}, fault.Invalid},
		{"a line break", rapp, "rapp\n8", Ownership{}, fault.Invalid},
		{"a control character beyond ASCII", rapp, "rapp\u00858", Ownership{}, fault.Invalid},
		{"not UTF-8", rapp, "rapp\xff", Ownership{}, fault.Invalid},
		{"a client too long", Identity{Client: long + "x", Issuer: "i"}, "", Ownership{}, fault.Forbidden},
		{"a client with a line break", Identity{Client: "a\nb", Issuer: "i"}, "rapp-8", Ownership{}, fault.Forbidden},
		{"an issuer's client with Kubernetes' name", Identity{Client: account.Name, Issuer: "i"}, "", Ownership{}, fault.Forbidden},
	} {
		got, err := ResolveOwner(tc.id, tc.declared)
		if got != tc.want || !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) {
			t.Errorf("%s: %+v, %v, want %+v, %v", tc.name, got, err, tc.want, tc.err)
		}
	}
}

// grants is what access reviews allow, as "verb path"; away: nobody can tell.
type grants map[string]bool

func (g grants) Allowed(_ context.Context, verb, path string) (bool, error) {
	if g["away"] {
		return false, fmt.Errorf("access review: %w", fault.Unavailable)
	}
	return g[verb+" "+path], nil
}

const things = "/o2ims-infrastructureTest/v1/things"

func TestOwnershipOf(t *testing.T) {
	rapp := Identity{Name: "https://idp#7", Client: "rapp-7", Issuer: "https://idp"}
	delegate := rapp
	delegate.Scopes = []string{"openid", ScopeDelegate}
	for _, tc := range []struct {
		name    string
		id      Identity
		access  Access
		headers []string
		want    Ownership
		err     error
	}{
		{"for itself", rapp, nil, nil, Ownership{"rapp-7", "rapp-7"}, nil},
		{"for itself, by name", rapp, nil, []string{"rapp-7"}, Ownership{"rapp-7", "rapp-7"}, nil},
		{"for itself, blank", rapp, grants{"away": true}, []string{" "}, Ownership{"rapp-7", "rapp-7"}, nil},
		{"for another", rapp, grants{}, []string{"rapp-8"}, Ownership{}, fault.Forbidden},
		{"for another, without anybody to ask", rapp, nil, []string{"rapp-8"}, Ownership{}, fault.Forbidden},
		{"for another, with the scope", delegate, nil, []string{"rapp-8"}, Ownership{"rapp-8", "rapp-7"}, nil},
		{"for another, as an administrator", rapp, grants{"delegate " + things: true}, []string{"rapp-8"}, Ownership{"rapp-8", "rapp-7"}, nil},
		{"with a right of another collection", rapp, grants{"delegate " + things + "2": true}, []string{"rapp-8"}, Ownership{}, fault.Forbidden},
		{"with another right", rapp, grants{"delete-any " + things: true}, []string{"rapp-8"}, Ownership{}, fault.Forbidden},
		{"nobody can tell", rapp, grants{"away": true}, []string{"rapp-8"}, Ownership{}, fault.Unavailable},
		{"two owners", delegate, nil, []string{"rapp-8", "rapp-9"}, Ownership{}, fault.Invalid},
		{"no name", delegate, nil, []string{strings.Repeat("x", 300)}, Ownership{}, fault.Invalid},
	} {
		r := httptest.NewRequest("POST", things, nil)
		r = r.WithContext(WithIdentity(r.Context(), tc.id))
		r.Header[HeaderOnBehalfOf] = tc.headers
		got, err := OwnershipOf(r, tc.access, things)
		if !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) || err == nil && got != tc.want {
			t.Errorf("%s: %+v, %v, want %+v, %v", tc.name, got, err, tc.want, tc.err)
		}
	}
}

func TestCheckOwner(t *testing.T) {
	rapp := Identity{Name: "https://idp#7", Client: "rapp-7", Issuer: "https://idp"}
	admin := grants{"delete-any " + things: true}
	for _, tc := range []struct {
		name   string
		id     Identity
		access Access
		o      Ownership
		want   error
	}{
		{"its owner", rapp, nil, Ownership{"rapp-7", "rapp-8"}, nil},
		{"its creator", rapp, nil, Ownership{"rapp-8", "rapp-7"}, nil},
		{"its owner, and nobody could tell more", rapp, grants{"away": true}, Ownership{"rapp-7", "rapp-7"}, nil},
		{"somebody else", rapp, grants{}, Ownership{"rapp-8", "rapp-8"}, fault.Forbidden},
		{"somebody else, without anybody to ask", rapp, nil, Ownership{"rapp-8", "rapp-8"}, fault.Forbidden},
		{"an administrator", rapp, admin, Ownership{"rapp-8", "rapp-8"}, nil},
		{"who may change it only", rapp, grants{"patch-any " + things: true}, Ownership{"rapp-8", "rapp-8"}, fault.Forbidden},
		{"nobody can tell", rapp, grants{"away": true}, Ownership{"rapp-8", "rapp-8"}, fault.Unavailable},
		{"nobody's", rapp, grants{}, Ownership{}, fault.Forbidden},
		{"nobody's, and nobody asks", Identity{}, grants{}, Ownership{}, fault.Forbidden},
		{"nobody's, an administrator", rapp, admin, Ownership{}, nil},
		{"in other letters", rapp, grants{}, Ownership{"RAPP-7", "RAPP-7"}, fault.Forbidden},
		{"named like the user, not the client", rapp, grants{}, Ownership{rapp.Name, rapp.Name}, fault.Forbidden},
		{"a client with a service account's name", Identity{Name: "x", Client: "system:serviceaccount:smo:o2", Issuer: "https://idp"}, grants{},
			Ownership{"system:serviceaccount:smo:o2", "system:serviceaccount:smo:o2"}, fault.Forbidden},
	} {
		err := CheckOwner(WithIdentity(t.Context(), tc.id), tc.access, tc.o, VerbDeleteAny, things)
		if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if err != nil && tc.o.Owner != "" && strings.Contains(err.Error(), tc.o.Owner) {
			t.Errorf("%s: %q tells whose it is", tc.name, err)
		}
	}
}

func FuzzResolveOwner(f *testing.F) {
	for _, seed := range []string{"", " ", "rapp-8", "a\x00b", "\xff", strings.Repeat("é", 200), "\u2028"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, client, declared string) {
		o, err := ResolveOwner(Identity{Client: client, Issuer: "https://idp"}, declared)
		if err != nil {
			if !errors.Is(err, fault.Invalid) && !errors.Is(err, fault.Forbidden) {
				t.Errorf("%q, %q: %v is of no kind", client, declared, err)
			}
			return
		}
		for _, name := range []string{o.Owner, o.Creator} {
			if len(name) > maxOwnerBytes || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || strings.TrimSpace(name) != name {
				t.Errorf("%q, %q: %q becomes a name", client, declared, name)
			}
		}
		if again, err := ResolveOwner(Identity{Client: o.Creator, Issuer: "https://idp"}, o.Owner); err != nil || again != o {
			t.Errorf("%+v becomes %+v, %v", o, again, err)
		}
	})
}
