package subscription

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/fault"
)

func TestPause(t *testing.T) {
	const first, longest = time.Second, 5 * time.Minute
	for _, tc := range []struct {
		failures int
		most     time.Duration
	}{
		{1, time.Second}, {2, 2 * time.Second}, {3, 4 * time.Second}, {9, 256 * time.Second},
		{10, longest}, {100, longest}, {1 << 30, longest},
	} {
		low, high := pause(tc.failures, first, longest, 0), pause(tc.failures, first, longest, 1)
		if low != tc.most/2 || high != tc.most {
			t.Errorf("pause after %d failures is %s to %s, want %s to %s", tc.failures, low, high, tc.most/2, tc.most)
		}
	}
}

func TestVerdict(t *testing.T) {
	for status, want := range map[int]string{
		200: "delivered", 201: "delivered", 202: "delivered", 204: "delivered", 206: "delivered", 299: "delivered",
		301: "again", 302: "again", 307: "again", 308: "again",
		400: "again", 401: "again", 403: "again", 404: "again", 422: "again", 429: "again", 500: "again", 503: "again",
		http.StatusGone: "suspended",
	} {
		got := "again"
		switch err := verdict(status); {
		case err == nil:
			got = "delivered"
		case errors.Is(err, errGone):
			got = "suspended"
		}
		if got != want {
			t.Errorf("verdict(%d): %s, want %s", status, got, want)
		}
	}
}

func TestQueueCoalescesOnlyWhenCrowded(t *testing.T) {
	q := newQueue()
	object := func(id string) Object { return Object{Kind: "ResourceInfo", ID: id} }
	q.put(1, []Object{object("ignored")})
	q.record(true)
	for i := range longest {
		q.put(uint64(i+1), []Object{object([]string{"a", "b"}[i%2])})
	}
	if n, coalesced := q.length(); n != longest || coalesced != 0 {
		t.Errorf("%d waiting, %d coalesced, want all of %d", n, coalesced, longest)
	}
	q.put(longest+1, []Object{object("c")})
	if n, coalesced := q.length(); n != 3 || coalesced != longest-2 {
		t.Errorf("%d waiting, %d coalesced, want the last of three objects", n, coalesced)
	}
	entries, version := q.take(2)
	if len(entries) != 2 || entries[0].object.ID != "a" || entries[1].object.ID != "b" || version != longest {
		t.Errorf("take = %v up to %d", entries, version)
	}
	if entries, version = q.take(10); len(entries) != 1 || version != longest+1 {
		t.Errorf("take = %v up to %d", entries, version)
	}
}

func TestOptionsValidate(t *testing.T) {
	good := testOptions()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Options){
		"timeout":    func(o *Options) { o.RequestTimeout = 0 },
		"retry":      func(o *Options) { o.FirstRetry = time.Hour },
		"suspend":    func(o *Options) { o.SuspendAfter = -1 },
		"retain":     func(o *Options) { o.RetainEvents = 0 },
		"limit":      func(o *Options) { o.MaxSubscriptions = 0 },
		"window":     func(o *Options) { o.WindowBytes = 1 },
		"mode":       func(o *Options) { o.FilterMode = "maybe" },
		"check":      func(o *Options) { o.CallbackCheck = "ping" },
		"duplicates": func(o *Options) { o.DuplicateStatus = 200 },
	} {
		o := testOptions()
		spoil(&o)
		if err := o.Validate(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}
