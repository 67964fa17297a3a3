package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/smo/simulator"
	"github.com/o2ims/o2ims/pkg/subscription"
)

func TestVerify(t *testing.T) {
	sub := func(change func(*subscription.SubscriptionLedger)) subscription.SubscriptionLedger {
		s := subscription.SubscriptionLedger{ID: uuid.New(), State: subscription.Active, Callback: "https://smo/cb", Cursor: 2, Delivered: 2}
		change(&s)
		return s
	}
	whole := []simulator.Entry{{Path: "/cb", NotificationID: "1", Taken: true}, {Path: "/cb", NotificationID: "1", Taken: true}, {Path: "/cb", NotificationID: "2", Taken: true}}
	for _, tc := range []struct {
		name    string
		sub     subscription.SubscriptionLedger
		missing []string
		journal []simulator.Entry
		want    error
		says    string
	}{
		{name: "all well", sub: sub(func(*subscription.SubscriptionLedger) {}), says: "nothing is missing"},
		{name: "late", sub: sub(func(s *subscription.SubscriptionLedger) { s.Pending = 3 }), want: errLate, says: "3 events pending"},
		{name: "lost", sub: sub(func(*subscription.SubscriptionLedger) {}), missing: []string{"it is gone"}, want: errLost, says: "it is gone"},
		{name: "journal agrees", sub: sub(func(*subscription.SubscriptionLedger) {}), journal: whole, says: "nothing is missing"},
		{name: "journal lacks one", sub: sub(func(*subscription.SubscriptionLedger) {}), journal: whole[:2], want: errLost, says: "took 1"},
		{name: "journal has a break", sub: sub(func(*subscription.SubscriptionLedger) {}),
			journal: append(whole[:2:2], simulator.Entry{Path: "/cb", NotificationID: "2", Taken: true, Break: true}), want: errLost, says: "prior state"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != subscription.AdminPath || r.Header.Get("Authorization") != "Bearer secret" {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				_ = json.NewEncoder(w).Encode(subscription.Ledger{Subscriptions: []subscription.SubscriptionLedger{tc.sub}, Missing: tc.missing})
			}))
			defer server.Close()
			t.Setenv(tokenVariable, "secret")
			args := []string{"--url", server.URL}
			if tc.journal != nil {
				args = append(args, "--journal", writeJournal(t, tc.journal))
			}
			var out strings.Builder
			cmd := newVerifyCommand()
			cmd.SetArgs(args)
			cmd.SetOut(&out)
			cmd.SilenceUsage, cmd.SilenceErrors = true, true
			err := cmd.ExecuteContext(t.Context())
			if !errors.Is(err, tc.want) || (err != nil) != (tc.want != nil) || !strings.Contains(out.String(), tc.says) {
				t.Errorf("verify: %v, want %v and %q in:\n%s", err, tc.want, tc.says, &out)
			}
		})
	}
}

func writeJournal(t *testing.T, entries []simulator.Entry) string {
	t.Helper()
	var text strings.Builder
	for _, e := range entries {
		e.Body = json.RawMessage(`{}`)
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&text, string(line))
	}
	file := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
