package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

const (
	globalCloud = "6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11"
	oCloud      = "0d2f7d3c-1f1b-4a51-8f0a-7a4b6e0c9d11"
)

func registrationBody(global, cloud, endpoint string) string {
	return fmt.Sprintf(`{"globalCloudId":%q,"oCloudId":%q,"IMS_EP":%q,"more":1}`, global, cloud, endpoint)
}

// ask sends a request and returns status, media type and body.
func ask(t *testing.T, method, url, body string) (int, string, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header.Get("Content-Type"), string(text)
}

func TestRegistration(t *testing.T) {
	out := new(strings.Builder)
	file := filepath.Join(t.TempDir(), "journal")
	s, url := start(t, Options{Journal: file}, out)
	url += "/registration"
	for _, step := range []struct {
		method, path, body string
		status             int
		want               string // part of the body
	}{
		{"GET", "", "", 200, "[]"},
		{"POST", "", registrationBody(globalCloud, strings.ToUpper(oCloud), "https://a"), 204, ""},
		{"POST", "", registrationBody(globalCloud, oCloud, "https://b"), 204, ""},
		{"GET", "", "", 200, `"registrations":2`},
		{"GET", "/" + strings.ToUpper(oCloud), "", 200, `"IMS_EP":"https://b"`},
		{"GET", "/" + globalCloud, "", 404, "no O-Cloud"},
		{"DELETE", "/" + globalCloud, "", 404, "no O-Cloud"},
		{"DELETE", "/" + strings.ToUpper(oCloud), "", 204, ""},
		{"DELETE", "/" + oCloud, "", 404, "no O-Cloud"},
		{"PUT", "", "", 405, "Method Not Allowed"},
		{"POST", "/" + oCloud, registrationBody(globalCloud, oCloud, "https://b"), 405, "/registration"},
		{"DELETE", "", "", 404, "no O-Cloud"},
		{"POST", "", registrationBody(globalCloud, oCloud, "https://c"), 204, ""},

		{"POST", "", "", 400, "not an object"}, {"POST", "", "[]", 400, "not an object"}, {"POST", "", `{"oCloudId":7}`, 400, "not an object"},
		{"POST", "", "{}", 400, "IMS_EP is no URL with a host, globalCloudId is no UUID, oCloudId is no UUID"},
		{"POST", "", registrationBody("", oCloud, "https://b"), 400, "globalCloudId"},
		{"POST", "", registrationBody(globalCloud, "{"+oCloud+"}", "https://b"), 400, "oCloudId"},
		{"POST", "", registrationBody(globalCloud, oCloud, "o2ims.example.net"), 400, "IMS_EP"},
		{"POST", "", registrationBody(globalCloud, oCloud, "ftp://o2ims.example.net"), 400, "IMS_EP"},
	} {
		status, media, text := ask(t, step.method, url+step.path, step.body)
		if status != step.status || !strings.Contains(text, step.want) {
			t.Errorf("%s %s %s: %d %s, want %d and %q", step.method, step.path, step.body, status, text, step.status, step.want)
		}
		var problem struct{ Status int }
		if status >= 400 && (media != "application/problem+json" || json.Unmarshal([]byte(text), &problem) != nil || problem.Status != status) {
			t.Errorf("%s %s: %d with %s %s, want ProblemDetails", step.method, step.path, status, media, text)
		}
	}
	if got := len(s.Entries()); got != 0 {
		t.Errorf("%d notifications, want none", got)
	}
	entries, err := ReadRegistrations(file)
	if err != nil || len(entries) != 4 || entries[2].Method != "DELETE" || !entries[3].Taken {
		t.Errorf("journal = %+v, %v", entries, err)
	}
	if notifications, err := ReadJournal(file); err != nil || len(notifications) != 0 {
		t.Errorf("notifications of the journal = %+v, %v, want none", notifications, err)
	}
	for _, part := range []string{"registration of O-Cloud " + oCloud, "for the 2. time", "taken back", "not a registration"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("output lacks %q:\n%s", part, out)
		}
	}

	// A second run goes on from the journal.
	again, err := New(Options{Listen: "127.0.0.1:0", Status: 204, Journal: file, Quiet: true}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := again.Registrations(); len(got) != 1 || got[0].IMSEndpoint != "https://c" || got[0].Times != 1 {
		t.Errorf("registrations of the first run in the second: %+v", got)
	}
}

func TestRegistrationBehavesBadly(t *testing.T) {
	body := registrationBody(globalCloud, oCloud, "https://a")
	refusing, url := start(t, Options{Status: 503, Quiet: true}, io.Discard)
	if status, _, _ := ask(t, "POST", url+"/registration", body); status != 503 || len(refusing.Registrations()) != 0 {
		t.Errorf("with --status=503: %d, %+v, want 503 and none", status, refusing.Registrations())
	}
	s, url := start(t, Options{FailRate: 0.5, LostAckRate: 0.2, Seed: 7, Quiet: true}, io.Discard)
	acknowledged := 0
	for range 200 {
		if status, _, _ := ask(t, "POST", url+"/registration", body); status == 204 {
			acknowledged++
		}
	}
	taken := s.Registrations()[0].Times
	if acknowledged < 40 || acknowledged > 80 || taken-acknowledged < 20 || taken-acknowledged > 60 {
		t.Errorf("of 200, %d were acknowledged and %d taken without, want about 60 and 40", acknowledged, taken-acknowledged)
	}
}

func FuzzRegistration(f *testing.F) {
	for _, seed := range []string{registrationBody(globalCloud, oCloud, "https://a"), "{}", "[", `{"IMS_EP":"http://["}`, `{"oCloudId":null}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var e RegistrationEntry
		if e.read(body) != nil {
			return
		}
		if len(e.OCloudID) != 36 || len(e.GlobalCloudID) != 36 || e.IMSEndpoint == "" {
			t.Errorf("%q is taken for %+v", body, e)
		}
		text, err := json.Marshal(map[string]string{"globalCloudId": e.GlobalCloudID, "oCloudId": e.OCloudID, "IMS_EP": e.IMSEndpoint})
		if err != nil {
			t.Fatal(err)
		}
		if again := (RegistrationEntry{}); again.read(text) != nil || again != e {
			t.Errorf("%q is taken for %+v, and that for %+v", body, e, again)
		}
	})
}
