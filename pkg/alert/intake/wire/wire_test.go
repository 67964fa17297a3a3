package wire

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/fault"
)

func TestNewEndpoint(t *testing.T) {
	for text, valid := range map[string]bool{
		"http://am:9093": true, "https://am/prefix/": true, "https://[::1]:9093": true,
		"am:9093": false, "ftp://am": false, "http://": false, "http://u:p@am": false, "http://am?x=y": false, "http://am#f": false, "": false, "http://a b": false, "%": false,
	} {
		_, err := NewEndpoint(text, "", "")
		if valid != (err == nil) || err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("NewEndpoint(%q) = %v, want valid: %t", text, err, valid)
		}
		if err != nil && strings.Contains(err.Error(), ":p@") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}

func TestGet(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a token was shown over http")
		}
		switch r.URL.Path {
		case "/p/good":
			fmt.Fprint(w, "0123456789"+r.URL.Query().Get("q"))
		case "/p/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/p/broken":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "0123")
		default:
			http.Error(w, "no", http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path  string
		limit int64
		want  error
	}{
		{"/good", 11, nil}, {"/good", 10, fault.TooLarge}, {"/away", 100, fault.Upstream}, {"/broken", 200, fault.Unavailable}, {"/bad", 100, fault.Upstream},
	} {
		e, err := NewEndpoint(server.URL+"/p", token, filepath.Join(t.TempDir(), "not-there"))
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		err = e.Get(t.Context(), tc.path, map[string][]string{"q": {"a"}}, tc.limit, func(a Answer) error {
			if time.Since(a.Date).Abs() > time.Minute {
				t.Errorf("Date %s", a.Date)
			}
			got, err = io.ReadAll(a.Body)
			return err
		})
		if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) || err == nil && string(got) != "0123456789a" {
			t.Errorf("Get(%s, %d) = %q, %v, want %v", tc.path, tc.limit, got, err, tc.want)
		}
	}
	server.Close()
	e, _ := NewEndpoint(server.URL, "", "")
	if err := e.Get(t.Context(), "/", nil, 1, nil); !errors.Is(err, fault.Unavailable) {
		t.Errorf("nobody there: %v, want %v", err, fault.Unavailable)
	}
}

// TestTLS rotates both the CA and the token.
func TestTLS(t *testing.T) {
	var shown string
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { shown = r.Header.Get("Authorization") }))
	defer server.Close()
	server.Config.ErrorLog = nil
	ca, token := filepath.Join(t.TempDir(), "ca.crt"), filepath.Join(t.TempDir(), "token")
	e, err := NewEndpoint(server.URL, token, ca)
	if err != nil {
		t.Fatal(err)
	}
	get := func() error {
		return e.Get(t.Context(), "/", nil, 10, func(Answer) error { return nil })
	}
	if err := get(); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a stranger's certificate: %v, want %v", err, fault.Unavailable)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for file, content := range map[string][]byte{ca: text, token: []byte("one\n")} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := get(); err != nil || shown != "Bearer one" {
		t.Errorf("showed %q, %v", shown, err)
	}
	if err := os.WriteFile(token, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := get(); err != nil || shown != "Bearer two" {
		t.Errorf("then showed %q, %v", shown, err)
	}
	if err := os.WriteFile(ca, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := get(); !errors.Is(err, fault.Invalid) {
		t.Errorf("a bad CA: %v, want %v", err, fault.Invalid)
	}
}

func TestData(t *testing.T) {
	for _, tc := range []struct {
		text, want string
		wantErr    bool
	}{
		{`{"status":"success","data":{"x":[9],"list":[1,{"a":2}],"y":{}}}`, `1 {"a":2}`, false},
		{`{"data":{"list":null}}`, "", false},
		{`{"data":{}}`, "", false},
		{`{}`, "", false},
		{`{"data":[]}`, "", true},
		{`{"data":{"list":{}}}`, "", true},
		{`{"data":{"list":[1,2`, "1 2", true},
		{`{"data":{"list":[1`, "", true},
		{`[]`, "", true},
		{``, "", true},
		{`nonsense`, "", true},
	} {
		var got []string
		err := Data(json.NewDecoder(strings.NewReader(tc.text)), "list", func(raw json.RawMessage) error {
			got = append(got, string(raw))
			return nil
		})
		if (err != nil) != tc.wantErr || err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("Data(%s) = %v, want error: %t", tc.text, err, tc.wantErr)
		}
		if text := strings.Join(got, " "); text != tc.want && !tc.wantErr {
			t.Errorf("Data(%s) = %q, want %q", tc.text, text, tc.want)
		}
	}
}
