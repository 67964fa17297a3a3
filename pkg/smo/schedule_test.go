package smo

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/fault"
)

func TestDelay(t *testing.T) {
	b := Backoff{Min: 5 * time.Second, Max: 5 * time.Minute}
	for _, tc := range []struct {
		failures  int
		low, high time.Duration
	}{
		{0, 5 * time.Second, 10 * time.Second}, {1, 10 * time.Second, 20 * time.Second}, {2, 20 * time.Second, 40 * time.Second},
		{4, 80 * time.Second, 160 * time.Second}, {5, 150 * time.Second, 300 * time.Second}, {6, 150 * time.Second, 300 * time.Second},
		{1_000_000, 150 * time.Second, 300 * time.Second},
	} {
		seen := make(map[time.Duration]bool)
		for _, seed := range []string{"a", "b", "c", "d", "e"} {
			d := b.Delay(tc.failures, seed)
			if d < tc.low || d > tc.high {
				t.Errorf("Delay(%d, %s) = %s, want %s to %s", tc.failures, seed, d, tc.low, tc.high)
			}
			if again := b.Delay(tc.failures, seed); again != d {
				t.Errorf("Delay(%d, %s) = %s, then %s", tc.failures, seed, d, again)
			}
			seen[d] = true
		}
		if len(seen) < 5 {
			t.Errorf("Delay(%d) is the same for several: %v", tc.failures, seen)
		}
	}
	if d := (Backoff{Min: time.Minute, Max: time.Minute}).Delay(3, ""); d != time.Minute {
		t.Errorf("with nothing between Min and Max: %s, want 1m", d)
	}
}

func TestNext(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	good := Attempt{Digest: "d", Trigger: "x", At: at}
	bad := Attempt{Digest: "d", Trigger: "x", At: at, Failures: 1}
	for _, tc := range []struct {
		name            string
		last            Attempt
		digest, trigger string
		now             time.Time
		due             bool
		low, high       time.Duration // after at; 0: never
	}{
		{"never tried", Attempt{}, "d", "", at, true, 0, 0},
		{"succeeded", good, "d", "x", at.Add(1000 * time.Hour), false, 0, 0},
		{"succeeded, and something changed", good, "e", "x", at, true, 0, 0},
		{"succeeded, and asked for again", good, "d", "y", at, true, 0, 0},
		{"succeeded, and not asked for any more", good, "d", "", at, true, 0, 0},
		{"failed just now", bad, "d", "x", at, false, 5 * time.Second, 10 * time.Second},
		{"failed a while ago", bad, "d", "x", at.Add(10 * time.Second), true, 0, 0},
		{"failed, and something changed", bad, "e", "x", at, true, 0, 0},
		{"failed often", Attempt{Digest: "d", Trigger: "x", At: at, Failures: 99}, "d", "x", at.Add(time.Second), false, 150 * time.Second, 300 * time.Second},
		{"failed in the future", bad, "d", "x", at.Add(-time.Hour), true, 0, 0},
		{"asked to wait", Attempt{Digest: "d", Trigger: "x", At: at, Failures: 1, Wish: time.Minute}, "d", "x", at.Add(59 * time.Second), false, time.Minute, time.Minute},
		{"has waited", Attempt{Digest: "d", Trigger: "x", At: at, Failures: 1, Wish: time.Minute}, "d", "x", at.Add(time.Minute), true, 0, 0},
		{"asked to wait less than we do", Attempt{Digest: "d", Trigger: "x", At: at, Failures: 1, Wish: time.Second}, "d", "x", at.Add(time.Second), false, 5 * time.Second, 10 * time.Second},
		{"asked to wait, and something changed", Attempt{Digest: "d", Trigger: "x", At: at, Failures: 1, Wish: time.Minute}, "e", "x", at, true, 0, 0},
	} {
		due, when := tc.last.Next(tc.digest, tc.trigger, tc.now)
		switch {
		case due != tc.due:
			t.Errorf("%s: due = %t, want %t", tc.name, due, tc.due)
		case due && !when.Equal(tc.now), !due && tc.high == 0 && !when.IsZero():
			t.Errorf("%s: at %s", tc.name, when)
		case tc.high != 0 && (when.Before(at.Add(tc.low)) || when.After(at.Add(tc.high))):
			t.Errorf("%s: %s after the failure, want %s to %s", tc.name, when.Sub(at), tc.low, tc.high)
		}
	}
}

// TestThenKeepsTheWish checks that the pause of the last failure counts, and no earlier one.
func TestThenKeepsTheWish(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	refused := errors.New("refused")
	a := Attempt{}.Then("d", "", fmt.Errorf("registration: %w", fault.WithRetryAfter(refused, time.Minute)), now)
	if a.Wish != time.Minute || a.Failures != 1 {
		t.Errorf("asked to wait: %+v", a)
	}
	if a = a.Then("d", "", refused, now); a.Wish != 0 || a.Failures != 2 {
		t.Errorf("not asked any more: %+v", a)
	}
}

// TestItNeverGivesUp goes through a day of failures, and then one success.
func TestItNeverGivesUp(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	end := now.Add(24 * time.Hour)
	var a Attempt
	var tries int
	for now.Before(end) {
		due, at := a.Next("d", "", now)
		if !due {
			if !at.After(now) || at.Sub(now) > registrationBackoff.Max {
				t.Fatalf("not due, and next in %s", at.Sub(now))
			}
			now = at
			continue
		}
		tries++
		a = a.Then("d", "", errors.New("refused"), now)
	}
	if tries < 288 || tries > 590 {
		t.Errorf("%d attempts in a day, want 288 to 590", tries)
	}
	if a = a.Then("d", "", nil, now); a.Failures != 0 {
		t.Errorf("%d failures after a success", a.Failures)
	}
	if a = a.Then("e", "", errors.New("refused"), now); a.Failures != 1 {
		t.Errorf("%d failures of something new, want 1", a.Failures)
	}
}
