package simulator

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

func post(t *testing.T, url, body string) int {
	t.Helper()
	response, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func body(id string, kind int, prior, post string) string {
	text := fmt.Sprintf(`{"notificationId":%q,"notificationEventType":%d,"objectRef":"https://o/pools/a"`, id, kind)
	if prior != "" {
		text += `,"priorObjectState":` + prior
	}
	if post != "" {
		text += `,"postObjectState":` + post
	}
	return text + "}"
}

func start(t *testing.T, o Options, out io.Writer) (*Simulator, string) {
	t.Helper()
	o.Listen, o.RegistrationPath = "127.0.0.1:0", "/registration"
	if o.Status == 0 {
		o.Status = 204
	}
	s, err := New(o, out)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(func() { server.Close(); s.Close() })
	return s, server.URL
}

func TestItShowsWhatItReceives(t *testing.T) {
	var out bytes.Buffer
	file := filepath.Join(t.TempDir(), "journal")
	s, url := start(t, Options{Journal: file}, &out)
	for _, n := range []string{
		body("1", 0, "", `{"name":"a","ext":{"x":1}}`),
		body("2", 1, `{"name":"a","ext":{"x":1}}`, `{"name":"b","ext":{"x":1,"y":[true]}}`),
		body("2", 1, `{"name":"a","ext":{"x":1}}`, `{"name":"b","ext":{"x":1,"y":[true]}}`),
		body("4", 2, `{"name":"c"}`, ""),
	} {
		if status := post(t, url+"/cb", n); status != 204 {
			t.Fatalf("answer %d", status)
		}
	}
	if status := post(t, url+"/cb", `{"some":"thing"}`); status != 400 {
		t.Errorf("what is no notification: %d, want 400", status)
	}
	for _, want := range []string{"created", `name: "a" → "b"`, "ext/y/0: true", "second time", "(!)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "ext/x: 1 →") {
		t.Errorf("output shows what did not change:\n%s", &out)
	}
	entries, err := ReadJournal(file)
	if err != nil || len(entries) != 4 || !entries[2].Duplicate || !entries[3].Break || entries[1].Break {
		t.Errorf("journal = %+v, %v", entries, err)
	}
	if got := s.Entries(); len(got) != 4 {
		t.Errorf("%d entries", len(got))
	}

	// A second run goes on from the journal.
	again, err := New(Options{Listen: "127.0.0.1:0", Status: 204, Journal: file, Quiet: true}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	e := Entry{Path: "/cb", NotificationID: "2"}
	if again.take(&e); !e.Duplicate {
		t.Error("a notification of the first run is not known in the second")
	}
}

func TestItBehavesBadly(t *testing.T) {
	s, url := start(t, Options{FailRate: 0.5, LostAckRate: 0.2, Seed: 7, Quiet: true}, io.Discard)
	acknowledged := 0
	for i := range 200 {
		if status := post(t, url+"/cb", body(fmt.Sprint(i), 0, "", `{}`)); status == 204 {
			acknowledged++
		}
	}
	taken := 0
	for _, e := range s.Entries() {
		if e.Taken {
			taken++
		}
	}
	if acknowledged < 40 || acknowledged > 80 || taken-acknowledged < 20 || taken-acknowledged > 60 {
		t.Errorf("of 200, %d were acknowledged and %d taken without, want about 60 and 40", acknowledged, taken-acknowledged)
	}
}

func TestValidate(t *testing.T) {
	for _, o := range []Options{
		{Listen: "nowhere", Status: 204}, {Listen: ":0", Status: 99}, {Listen: ":0", Status: 204, FailRate: 2},
		{Listen: ":0", Status: 204, CertFile: "x", TLS: true}, {Listen: ":0", Status: 204, CAOut: "x"},
	} {
		if o.Validate() == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

func TestItUnderstandsAlarms(t *testing.T) {
	out := &strings.Builder{}
	s, url := start(t, Options{Status: 204}, out)
	alarm := func(id string, sequence, kind int) string {
		return fmt.Sprintf(`{"consumerSubscriptionId":null,"notificationEventType":%d,"objectRef":"https://o2/alarms/1","alarmEventRecordId":"1",`+
			`"perceivedSeverity":0,"extensions":{"labels":{"alertname":"Down"},"notificationId":%q,"sequence":%d}}`, kind, id, sequence)
	}
	for _, body := range []string{
		alarm("a", 1, 0), alarm("a", 1, 0), alarm("b", 2, 2), alarm("d", 4, 0),
		`{"consumerSubscriptionId":null,"objectRef":"https://o2/alarms","extensions":{"notificationId":"e","resync":{"firstEvent":1}}}`,
	} {
		if status := post(t, url, body); status != 204 {
			t.Errorf("status %d for %s", status, body)
		}
	}
	got := ""
	for _, e := range s.Entries() {
		got += fmt.Sprintf("%s %d duplicate=%t break=%t\n", e.NotificationID, e.Type, e.Duplicate, e.Break)
	}
	const want = "a 0 duplicate=false break=false\na 0 duplicate=true break=false\nb 2 duplicate=false break=false\n" +
		"d 0 duplicate=false break=true\ne 0 duplicate=false break=false\n"
	if got != want {
		t.Errorf("took\n%s\nwant\n%s", got, want)
	}
	for _, part := range []string{"NEW", "CLEAR", "map[alertname:Down]", "events are missing"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("printed %q, which lacks %q", out, part)
		}
	}
}
