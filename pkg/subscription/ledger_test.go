package subscription

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/store"
)

// TestLedgerWhileTrimming reads the ledger while events are announced, dealt with and
// removed. Nothing is missing at any time, and it must not say so.
func TestLedgerWhileTrimming(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	db, err := store.Open(store.Options{URL: store.Embedded, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	term, err := db.Lead(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sub := store.Subscription{ID: uuid.New(), Service: "inventory", Version: "v2", Callback: "http://smo.example.net/"}
	if err := db.CreateSubscription(ctx, sub, 10); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- announceAndTrim(ctx, db, term, sub.ID, 400) }()
	admin := Admin{Store: db}
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		ledger, err := admin.Ledger(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(ledger.Missing) > 0 {
			t.Fatalf("the ledger says %q; journal %+v", ledger.Missing, ledger.Journal)
		}
	}
}

func announceAndTrim(ctx context.Context, db *store.Store, term *store.Term, id uuid.UUID, rounds int) error {
	for i := range rounds {
		document := fmt.Appendf(nil, `{"v2":{"ref":"/r/a","state":{"number":%d}}}`, i)
		change := store.Change{Kind: "ResourceInfo", ID: "a", Document: document, Digest: store.DigestOf(document)}
		if _, err := term.Announce(ctx, "inventory", []store.Change{change}); err != nil {
			return err
		}
		newest, err := db.Newest(ctx)
		if err != nil {
			return err
		}
		progress, err := db.ProgressOf(ctx, id)
		if err != nil {
			return err
		}
		from := progress[id].Cursor
		if _, err := term.Move(ctx, []store.Step{{ID: id, From: from, To: newest, Delivered: newest - from}}); err != nil {
			return err
		}
		if _, err := term.Trim(ctx, newest+1); err != nil {
			return err
		}
	}
	return nil
}
