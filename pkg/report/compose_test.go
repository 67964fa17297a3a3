package report

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/pkg/hardware"
)

const (
	epochA = "6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11"
	epochB = "11111111-5a3c-4b3e-9f55-0a6f2f3b8a11"
)

var monday = time.Date(2026, 11, 23, 8, 0, 0, 999, time.UTC)

func mustEncode(tb testing.TB, enc *Encoder, inv Inventory) Encoded {
	tb.Helper()
	encoded, err := enc.Encode(inv)
	if err != nil {
		tb.Fatal(err)
	}
	return encoded
}

func headIn(tb testing.TB, conditions []metav1.Condition) Head {
	tb.Helper()
	i := slices.IndexFunc(conditions, func(c metav1.Condition) bool { return c.Type == KindInventory.HeadType() })
	if i < 0 {
		tb.Fatal("no head")
	}
	h, err := ParseHead(conditions[i].Message)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// others are conditions that are not ours to touch, nor to be disturbed by.
func others() []metav1.Condition {
	return []metav1.Condition{
		{Type: "Available", Status: metav1.ConditionTrue, Reason: "ManagedClusterAddOnLeaseUpdated"},
		{Type: KindInventory.IngestedType(), Status: metav1.ConditionTrue, Reason: ReasonIngested},
		{Type: KindAlerts.HeadType(), Status: metav1.ConditionTrue, Reason: HeadReported, Message: "v=1"},
		{Type: KindAlerts.PartType(0), Status: metav1.ConditionTrue, Reason: "Data"},
	}
}

func TestFirstReport(t *testing.T) {
	enc := mustEncoder(t, 16)
	update := enc.Compose(others(), Stamp{epochA, monday}, mustEncode(t, enc, synthetic("edge-1", 3, 1)))
	if !update.Changed || len(update.Entries) != 2 {
		t.Fatalf("%d entries, changed %t, want 2, true", len(update.Entries), update.Changed)
	}
	head, part := update.Entries[0], update.Entries[1]
	wantTime := metav1.NewTime(monday.Truncate(time.Second))
	if head.Type != "o2ims.open-cluster-management.io/Inventory" || head.Status != "True" || head.Reason != "Reported" || !head.LastTransitionTime.Equal(&wantTime) {
		t.Errorf("head = %+v", head)
	}
	if part.Type != "o2ims.open-cluster-management.io/Inventory.0" || part.Status != "True" || part.Reason != "Data" || !part.LastTransitionTime.Equal(&wantTime) {
		t.Errorf("part = %s %s %s", part.Type, part.Status, part.Reason)
	}
	got := headIn(t, update.Entries)
	if got.Seq != 1 || got.Epoch != epochA || !got.Observed.Equal(wantTime.Time) || got.Nodes != 3 || got.Resources != 3*35 || got.Parts != 1 {
		t.Errorf("head = %+v", got)
	}
}

func TestUnchangedReportIsNoWrite(t *testing.T) {
	enc := mustEncoder(t, 16)
	first := enc.Compose(nil, Stamp{epochA, monday}, mustEncode(t, enc, synthetic("edge-1", 3, 1)))
	current := append(others(), first.Entries...)
	slices.Reverse(current)

	// Another run of the agent, a day later, finds the same machines.
	again := enc.Compose(current, Stamp{epochB, monday.Add(24 * time.Hour)}, mustEncode(t, enc, synthetic("edge-1", 3, 1)))
	if again.Changed || !reflect.DeepEqual(again.Entries, first.Entries) {
		t.Errorf("changed %t, entries equal %t, want the same entries", again.Changed, reflect.DeepEqual(again.Entries, first.Entries))
	}
}

func TestOtherCompressionIsNoChange(t *testing.T) {
	enc := mustEncoder(t, 16)
	encoded := mustEncode(t, enc, synthetic("edge-1", 3, 1))
	older := encoded
	body, _ := synthetic("edge-1", 3, 1).Canonical()
	packedBody := compress(t, body)
	older.frame = packed(packedBody, len(body), digestOf(body))
	first := enc.Compose(nil, Stamp{epochA, monday}, older)
	if again := enc.Compose(first.Entries, Stamp{epochA, monday.Add(time.Hour)}, encoded); again.Changed {
		t.Error("a report that another version compressed was written again")
	}
}

func TestChangedContentMovesTheSequence(t *testing.T) {
	enc := mustEncoder(t, 16)
	first := enc.Compose(nil, Stamp{epochA, monday}, mustEncode(t, enc, synthetic("edge-1", 3, 1)))
	later := monday.Add(time.Hour)

	second := enc.Compose(first.Entries, Stamp{epochA, later}, mustEncode(t, enc, synthetic("edge-1", 4, 1)))
	h := headIn(t, second.Entries)
	if !second.Changed || h.Seq != 2 || !h.Observed.Equal(later.Truncate(time.Second)) || second.Entries[0].LastTransitionTime.Time != later.Truncate(time.Second) {
		t.Errorf("changed %t, head %+v, want seq 2 of now", second.Changed, h)
	}

	restarted := enc.Compose(second.Entries, Stamp{epochB, later}, mustEncode(t, enc, synthetic("edge-1", 5, 1)))
	if h := headIn(t, restarted.Entries); h.Seq != 1 || h.Epoch != epochB {
		t.Errorf("after a restart: %+v, want seq 1 of the new epoch", h)
	}
}

func TestAPartThatStaysKeepsItsTransition(t *testing.T) {
	enc := mustEncoder(t, 16)
	first := enc.Compose(nil, Stamp{epochA, monday}, mustEncode(t, enc, synthetic("edge-1", 3, 1)))
	failed := enc.ComposeCollectFailed(first.Entries, Stamp{epochA, monday.Add(time.Hour)})
	if got := failed.Entries[1].LastTransitionTime; !got.Equal(&first.Entries[1].LastTransitionTime) {
		t.Errorf("the part's transition moved to %s", got)
	}
}

func TestCollectFailedKeepsTheBody(t *testing.T) {
	enc := mustEncoder(t, 16)
	encoded := mustEncode(t, enc, synthetic("edge-1", 3, 1))
	first := enc.Compose(nil, Stamp{epochA, monday}, encoded)

	failed := enc.ComposeCollectFailed(first.Entries, Stamp{epochA, monday.Add(time.Hour)})
	head := failed.Entries[0]
	if head.Status != "False" || head.Reason != HeadCollectFailed || failed.Entries[1].Message != first.Entries[1].Message {
		t.Errorf("head %s %s, want False CollectFailed with the last body", head.Status, head.Reason)
	}
	if h := headIn(t, failed.Entries); h.Seq != 2 || h.Detail != DetailFull || h.Nodes != 3 {
		t.Errorf("head %+v, want seq 2 about the last body", h)
	}
	if again := enc.ComposeCollectFailed(failed.Entries, Stamp{epochA, monday.Add(2 * time.Hour)}); again.Changed {
		t.Error("a failure that goes on was written again")
	}
	back := enc.Compose(failed.Entries, Stamp{epochA, monday.Add(3 * time.Hour)}, encoded)
	if h := headIn(t, back.Entries); !back.Changed || h.Seq != 3 || back.Entries[0].Status != "True" {
		t.Errorf("after the failure: changed %t, %+v, want seq 3, status True", back.Changed, h)
	}
}

func TestCollectFailedWithoutABody(t *testing.T) {
	enc := mustEncoder(t, 16)
	update := enc.ComposeCollectFailed(others(), Stamp{epochA, monday})
	if len(update.Entries) != 1 || update.Entries[0].Reason != HeadCollectFailed {
		t.Fatalf("entries %+v, want a head alone", update.Entries)
	}
	if h := headIn(t, update.Entries); h.Parts != 0 || h.Detail != DetailNone {
		t.Errorf("head %+v", h)
	}
	if again := enc.ComposeCollectFailed(update.Entries, Stamp{epochA, monday.Add(time.Hour)}); again.Changed {
		t.Error("a failure that goes on was written again")
	}
}

func TestDamageIsMendedWithoutANewSequence(t *testing.T) {
	enc := mustEncoder(t, 16)
	encoded := mustEncode(t, enc, synthetic("edge-1", 60, 1))
	first := enc.Compose(nil, Stamp{epochA, monday}, encoded)
	if len(first.Entries) < 3 {
		t.Fatalf("%d entries: the test needs several parts", len(first.Entries))
	}
	for _, tc := range []struct {
		name   string
		damage func([]metav1.Condition) []metav1.Condition
	}{
		{"a part is gone", func(c []metav1.Condition) []metav1.Condition { return c[:len(c)-1] }},
		{"a part is other text", func(c []metav1.Condition) []metav1.Condition { c[1].Message = "A" + c[1].Message[1:]; return c }},
		{"a part has another reason", func(c []metav1.Condition) []metav1.Condition { c[1].Reason = "Other"; return c }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			current := tc.damage(slices.Clone(first.Entries))
			got := enc.Compose(current, Stamp{epochB, monday.Add(time.Hour)}, encoded)
			if !got.Changed || len(got.Entries) != len(first.Entries) || !reflect.DeepEqual(got.Entries[0], first.Entries[0]) {
				t.Errorf("changed %t, %d entries, head %+v, want the first report again", got.Changed, len(got.Entries), got.Entries[0])
			}
		})
	}
	t.Run("everything is gone", func(t *testing.T) {
		if got := enc.Compose(others(), Stamp{epochA, monday}, encoded); !got.Changed || len(got.Entries) != len(first.Entries) {
			t.Error("want the report written again")
		}
	})
	t.Run("the head is nonsense", func(t *testing.T) {
		current := slices.Clone(first.Entries)
		current[0].Message = "hello"
		if got := enc.Compose(current, Stamp{epochA, monday}, encoded); !got.Changed || headIn(t, got.Entries).Seq != 1 {
			t.Error("want the report written again")
		}
	})
}

func TestApplyObject(t *testing.T) {
	enc := mustEncoder(t, 16)
	update := enc.Compose(nil, Stamp{epochA, monday}, mustEncode(t, enc, synthetic("edge-1", 1, 1)))
	u := ApplyObject("edge-1", update.Entries)
	if u.GetAPIVersion() != "addon.open-cluster-management.io/v1beta1" || u.GetKind() != "ManagedClusterAddOn" || u.GetName() != "o2ims" || u.GetNamespace() != "edge-1" {
		t.Errorf("object %s %s %s/%s", u.GetAPIVersion(), u.GetKind(), u.GetNamespace(), u.GetName())
	}
	if len(u.Object) != 4 || len(u.Object["status"].(map[string]any)) != 1 {
		t.Errorf("the apply claims more than its conditions: %v", u.Object)
	}
	entry := u.Object["status"].(map[string]any)["conditions"].([]any)[0].(map[string]any)
	if entry["lastTransitionTime"] != "2026-11-23T08:00:00Z" || len(entry) != 5 {
		t.Errorf("entry %v", entry)
	}
}

// twoThousand is more than fits into 16 parts, or 24, in full detail.
func twoThousand() Inventory { return synthetic("edge-1", 2000, 3) }

func TestDetailIsDroppedInTheDeclaredOrder(t *testing.T) {
	skipUnderRace(t)
	inv := twoThousand()
	before, _ := inv.Canonical()
	full := mustFrame(t, before)
	if len(full.Parts) <= MaxParts {
		t.Fatalf("two thousand nodes fit into %d parts: the test needs more", len(full.Parts))
	}

	// Every level must be the answer for some cap, each with fewer parts than the last.
	order := []Detail{DetailNoLLDP, DetailNoIDs, DetailNoDIMMs, DetailNoSerials, DetailServers}
	reduced, last := inv.ordered(), 1<<30
	for i, s := range steps() {
		if s.to != order[i] {
			t.Fatalf("step %d leads to %s, want %s", i, s.to, order[i])
		}
		reduced = s.apply(reduced)
		body, err := reduced.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		if len(body) >= last {
			t.Errorf("%s has %d bytes, no less than %d", s.to, len(body), last)
		}
		last = len(body)
	}
	if after, _ := inv.Canonical(); string(after) != string(before) {
		t.Error("dropping detail changed the caller's inventory")
	}
}

func TestEncodeTakesTheMostDetailThatFits(t *testing.T) {
	skipUnderRace(t)
	inv := synthetic("edge-1", 300, 3) // 8 parts in full detail
	var sizes []int
	var bodies []Detail
	reduced := inv.ordered()
	for _, s := range append([]step{{to: DetailFull, strip: func(*hardware.Machine) {}, lost: func(string) bool { return false }}}, steps()...) {
		reduced = s.apply(reduced)
		body, _ := reduced.Canonical()
		sizes, bodies = append(sizes, len(mustFrame(t, body).Parts)), append(bodies, s.to)
	}
	t.Logf("parts by level: %v %v", bodies, sizes)
	for limit := sizes[len(sizes)-1]; limit <= sizes[0]; limit++ {
		want := bodies[slices.IndexFunc(sizes, func(n int) bool { return n <= limit })]
		encoded := mustEncode(t, mustEncoder(t, limit), inv)
		if got := encoded.Head(); got.Detail != want || got.Parts > limit {
			t.Errorf("at most %d parts: detail %s in %d parts, want %s", limit, got.Detail, got.Parts, want)
		}
		wantReason := HeadDetailReduced
		if want == DetailFull {
			wantReason = HeadReported
		}
		if encoded.Reason() != wantReason {
			t.Errorf("at most %d parts: reason %s, want %s", limit, encoded.Reason(), wantReason)
		}
	}
}

func TestTooLargeIsAHeadAlone(t *testing.T) {
	skipUnderRace(t)
	enc := mustEncoder(t, 1)
	inv := synthetic("edge-1", 600, 3)
	encoded := mustEncode(t, enc, inv)
	if encoded.Reason() != HeadTooLarge {
		t.Fatalf("reason %s with %d parts, want %s", encoded.Reason(), encoded.Head().Parts, HeadTooLarge)
	}
	update := enc.Compose(nil, Stamp{epochA, monday}, encoded)
	h := headIn(t, update.Entries)
	if len(update.Entries) != 1 || update.Entries[0].Status != "False" || h.Nodes != 600 || h.Resources != 600*35 || h.Detail != DetailNone || h.Bytes != 0 {
		t.Errorf("%d entries, head %+v, want counts only", len(update.Entries), h)
	}
	if again := enc.Compose(update.Entries, Stamp{epochA, monday.Add(time.Hour)}, encoded); again.Changed {
		t.Error("an unchanged report was written again")
	}
}

func TestTheDefaultCapIsSixteenParts(t *testing.T) {
	for _, tc := range []struct {
		parts int
		want  string
	}{{DefaultInventoryParts, HeadReported}, {DefaultInventoryParts + 1, HeadDetailReduced}} {
		inv := padded(tc.parts)
		body, _ := inv.Canonical()
		if full := mustFrame(t, body); len(full.Parts) != tc.parts {
			t.Fatalf("full detail has %d parts, the test needs %d", len(full.Parts), tc.parts)
		}
		encoded := mustEncode(t, mustEncoder(t, DefaultInventoryParts), inv)
		if encoded.Reason() != tc.want {
			t.Errorf("a report of %d parts: %s, want %s", tc.parts, encoded.Reason(), tc.want)
		}
	}
	for _, n := range []int{0, MaxParts + 1} {
		if _, err := NewEncoder(n); err == nil {
			t.Errorf("NewEncoder(%d) succeeded", n)
		}
	}
}

// padded is an inventory that fills about half of its last part, this many in all, with
// neighbours that do not compress and can be dropped.
func padded(parts int) Inventory {
	const each = 1500
	count := (2*parts - 1) * PartChars * 3 / 4 / 2 / each
	text := noise(count * each)
	inv := synthetic("edge-1", 1, 1)
	for i := range count {
		inv.Nodes[0].Elements = append(inv.Nodes[0].Elements, hardware.Element{
			Class: hardware.Port, Slot: fmt.Sprintf("pad/%03d", i),
			Port: &hardware.PortState{LLDP: &hardware.LLDP{System: hex.EncodeToString(text[i*each : (i+1)*each])}},
		})
	}
	return inv
}
