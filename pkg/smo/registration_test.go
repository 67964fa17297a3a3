package smo

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/fault"
)

const (
	globalCloud = "6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11"
	oCloud      = "0d2f7d3c-1f1b-4a51-8f0a-7a4b6e0c9d11"
)

func registration(target string) Registration {
	return Registration{URL: target, GlobalCloudID: globalCloud, OCloudID: oCloud, IMSEndpoint: "https://o2ims.example.net"}
}

func TestRegister(t *testing.T) {
	var got []string
	status := http.StatusOK
	smo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.String()+" "+r.Header.Get("Content-Type")+" "+readAll(r))
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		if status >= 200 && status != 204 && status != 304 {
			_, _ = io.WriteString(w, "something private")
		}
	}))
	defer smo.Close()
	c := client(t, toLoopback, Parts{})
	r := registration(smo.URL + "/registration?key=k3y")
	const post = "POST /registration?key=k3y application/json " +
		`{"globalCloudId":"` + globalCloud + `","oCloudId":"` + oCloud + `","IMS_EP":"https://o2ims.example.net"}`
	const remove = "DELETE /registration/" + oCloud + "?key=k3y  "
	for _, tc := range []struct {
		status     int
		ok, gone   bool // of Register, of Deregister
		deregister bool
	}{
		{status: 200, ok: true, gone: true}, {status: 201, ok: true, gone: true}, {status: 202, ok: true, gone: true}, {status: 204, ok: true, gone: true},
		{status: 299, ok: true, gone: true}, {status: 302}, {status: 304}, {status: 400}, {status: 401}, {status: 404, gone: true}, {status: 410, gone: true}, {status: 500}, {status: 503},
	} {
		status = tc.status
		for _, call := range []struct {
			name string
			ok   bool
			want string
			do   func() (int, error)
		}{
			{"Register", tc.ok, post, func() (int, error) { return c.Register(t.Context(), r) }},
			{"Deregister", tc.gone, remove, func() (int, error) { return c.Deregister(t.Context(), r) }},
		} {
			got = nil
			answered, err := call.do()
			if answered != tc.status || (err == nil) != call.ok || len(got) != 1 || got[0] != call.want {
				t.Errorf("%s, answered %d: %d, %v, sent %q, want success: %t, sent %q", call.name, tc.status, answered, err, got, call.ok, call.want)
			}
			if err == nil {
				continue
			}
			if !errors.Is(err, fault.Upstream) || !strings.Contains(err.Error(), smo.Listener.Addr().String()) {
				t.Errorf("%s: error = %v, want upstream, naming the host", call.name, err)
			}
			if strings.Contains(err.Error(), "private") || strings.Contains(err.Error(), "k3y") {
				t.Errorf("%s: error gives away what it should not: %v", call.name, err)
			}
		}
	}
}

// TestRegistrationSaysWhen checks that an error has the pause that the SMO asks for.
func TestRegistrationSaysWhen(t *testing.T) {
	var status int
	var again string
	smo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", again)
		w.WriteHeader(status)
	}))
	defer smo.Close()
	c, now := configured(t, Settings{})
	for _, tc := range []struct {
		status int
		again  string
		want   time.Duration
	}{
		{429, "90", 90 * time.Second}, {503, "90", 90 * time.Second}, {500, "90", 0}, {503, "", 0}, {503, "0", 0}, {429, "86400", longestWish},
		{503, now.Now().Add(time.Minute).UTC().Format(http.TimeFormat), time.Minute},
	} {
		status, again = tc.status, tc.again
		for name, do := range map[string]func() (int, error){
			"Register":   func() (int, error) { return c.Register(t.Context(), registration(smo.URL)) },
			"Deregister": func() (int, error) { return c.Deregister(t.Context(), registration(smo.URL)) },
		} {
			answered, err := do()
			wish, told := fault.RetryAfter(err)
			if answered != tc.status || !errors.Is(err, fault.Upstream) || wish != tc.want || told != (tc.want > 0) {
				t.Errorf("%s, answered %d with %q: %d, %v, wait %s, want %s", name, tc.status, tc.again, answered, err, wish, tc.want)
			}
		}
	}
}

func TestRegisterNowhere(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, tc := range []struct {
		target string
		kind   error
	}{
		{gone.URL, fault.Upstream}, {"http://127.0.0.2/", ErrAddress}, {"http://[::1]/", ErrAddress}, {"ftp://smo/", fault.Invalid},
		{"http://user:password@127.0.0.1/", fault.Invalid}, {"http://a b/", fault.Invalid}, {"", fault.Invalid}, {"/registration", fault.Invalid},
	} {
		c := client(t, toLoopback, Parts{})
		for name, do := range map[string]func() (int, error){
			"Register":   func() (int, error) { return c.Register(t.Context(), registration(tc.target)) },
			"Deregister": func() (int, error) { return c.Deregister(t.Context(), registration(tc.target)) },
		} {
			status, err := do()
			if status != 0 || !errors.Is(err, tc.kind) || strings.Contains(err.Error(), "password") {
				t.Errorf("%s at %s: %d, %v, want %v", name, tc.target, status, err, tc.kind)
			}
		}
	}
}

func TestDigest(t *testing.T) {
	base := registration("https://smo.example.net/registration")
	seen := map[string]string{base.Digest(): "the first"}
	if again := registration("https://smo.example.net/registration").Digest(); again != base.Digest() || len(again) != 64 {
		t.Errorf("digest = %s, then %s", base.Digest(), again)
	}
	for name, change := range map[string]func(*Registration){
		"URL":           func(r *Registration) { r.URL += "s" },
		"globalCloudId": func(r *Registration) { r.GlobalCloudID = oCloud },
		"oCloudId":      func(r *Registration) { r.OCloudID = globalCloud },
		"IMS_EP":        func(r *Registration) { r.IMSEndpoint += ":8443" },
		"ids exchanged": func(r *Registration) { r.GlobalCloudID, r.OCloudID = r.OCloudID, r.GlobalCloudID },
		"shifted":       func(r *Registration) { r.URL, r.GlobalCloudID = r.URL+globalCloud[:1], globalCloud[1:] },
	} {
		r := base
		change(&r)
		if other, found := seen[r.Digest()]; found {
			t.Errorf("the digest with another %s is that of %s", name, other)
		}
		seen[r.Digest()] = name
	}
}
