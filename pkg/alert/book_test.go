package alert

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/o2ims/o2ims/pkg/report"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 200_000_000, time.UTC)

func TestFingerprintIsThatOfPrometheus(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		labels, want := map[string]string{}, model.LabelSet{}
		for range rng.IntN(12) {
			name, value := fmt.Sprint("l", rng.IntN(1000)), fmt.Sprint("wärtig", rng.Uint64())
			labels[name], want[model.LabelName(name)] = value, model.LabelValue(value)
		}
		if got := Fingerprint(labels); got != want.Fingerprint().String() {
			t.Fatalf("Fingerprint(%v) = %s, want %s", labels, got, want.Fingerprint())
		}
	}
	if Fingerprint(map[string]string{"a": "b", "empty": ""}) != Fingerprint(map[string]string{"a": "b"}) {
		t.Error("an empty label counts")
	}
}

// said is one message about the one alert of a test, times in milliseconds after noon;
// unset stands for a time that is not told.
type said struct {
	at, starts, ends int64
	via              string
	resolved         bool
	annotation       string
	suppressed       bool
	estimated        bool
}

const unset = -1 << 40

func after(ms int64) time.Time {
	if ms == unset {
		return time.Time{}
	}
	return noon.Add(time.Duration(ms) * time.Millisecond)
}

func (s said) observation(labels map[string]string) Observation {
	a := Alert{Labels: labels, Starts: after(s.starts), Suppressed: s.suppressed, Estimated: s.estimated}
	if s.resolved {
		a.Ends = after(s.ends)
	}
	if s.annotation != "" {
		a.Annotations = map[string]string{"summary": s.annotation}
	}
	via := s.via
	if via == "" {
		via = ViaWebhook
	}
	return Observation{Via: via, At: after(s.at), Alerts: []Alert{a}}
}

// line prints a transition as the tests below write it.
func line(e *entry) string {
	base := noon.UnixMilli()
	text := fmt.Sprintf("%s %d", e.Type, e.Starts-base)
	if e.Ends != 0 {
		text += fmt.Sprintf("-%d", e.Ends-base)
	}
	if e.Estimated {
		text += "?"
	}
	if e.Suppress {
		text += " suppressed"
	}
	return text
}

func TestBook(t *testing.T) {
	const (
		second = 1000
		minute = 60 * second
		hour   = 60 * minute
	)
	fires := func(at, starts int64) said { return said{at: at, starts: starts} }
	ends := func(at, starts, end int64) said { return said{at: at, starts: starts, ends: end, resolved: true} }
	by := func(via string, s said) said { s.via = via; return s }
	for _, tc := range []struct {
		name string
		said []said
		want string // transitions, with | between those of different messages
	}{
		{"fires", []said{fires(5, 0)}, "f 0"},
		{"fires twice", []said{fires(5, 0), fires(9, 0)}, "f 0|"},
		{"fires and ends", []said{fires(5, 0), ends(1005, 0, 1000)}, "f 0|r 0-1000"},
		{"two intakes say the same", []said{fires(5, 0), by(ViaPush, fires(6, 0)), ends(1005, 0, 1000), by(ViaPush, ends(1006, 0, 1000))}, "f 0||r 0-1000|"},
		{"missed by a poll that began before the webhook came", []said{fires(50, 0), by(ViaPoll, ends(40, 0, 45))}, "f 0|"},
		{"missed by a poll that began after it", []said{fires(50, 0), by(ViaPoll, ends(60, 0, 55))}, "f 0|r 0-55"},
		{"a poll misses another episode", []said{fires(50, 0), by(ViaPoll, ends(60, -9, 55))}, "f 0|"},
		{"a later start of what is open", []said{fires(5, 0), fires(2000, 1500)}, "f 0|"},
		{"ended with an earlier start", []said{fires(5, 200), ends(1005, 0, 1000)}, "f 200|r 200-1000"},
		{"a sender that leaves out fractions of a second", []said{fires(5, -200), ends(1005, 0, 1000)}, "f -200|r -200-1000"},
		{"ended with a later start: one was missed", []said{fires(5, 0), ends(9005, 5000, 9000)}, "f 0|r 0-5000?,f 5000,r 5000-9000"},
		{"missed altogether", []said{ends(1005, 0, 1000)}, "f 0,r 0-1000"},
		{"missed altogether, after another", []said{fires(5, 0), ends(1005, 0, 1000), ends(9005, 5000, 9000)}, "f 0|r 0-1000|f 5000,r 5000-9000"},
		{"ended twice", []said{fires(5, 0), ends(1005, 0, 1000), ends(1006, 0, 1000)}, "f 0|r 0-1000|"},
		{"ended again for a quarter of an hour", []said{fires(5, 0), ends(1005, 0, 1000), ends(15*minute, 0, 1000)}, "f 0|r 0-1000|"},
		{"ended twice, by clocks that differ", []said{fires(5, 0), ends(1005, 0, 1000), ends(1006, 0, 1900)}, "f 0|r 0-1000|"},
		{"a late message that it fires", []said{fires(5, 0), ends(1005, 0, 1000), fires(1010, 0)}, "f 0|r 0-1000|"},
		{"a late message of another intake", []said{fires(5, 0), ends(1005, 0, 1000), by(ViaPush, fires(1010, 0)), by(ViaPoll, fires(1015, 0))}, "f 0|r 0-1000||"},
		{"it really fires again with its old start", []said{fires(5, 0), ends(1005, 0, 1000), fires(6*minute, 0)}, "f 0|r 0-1000|f 1"},
		{"a poll sees that it fires after all", []said{fires(5, 0), ends(1005, 0, 1000), by(ViaPoll, fires(2*minute, 0))}, "f 0|r 0-1000|f 1"},
		{"the end was a guess", []said{fires(5, 0), {at: 1005, starts: 0, ends: 1000, resolved: true, estimated: true}, fires(1500, 0)}, "f 0|r 0-1000?|f 1"},
		{"fires anew", []said{fires(5, 0), ends(1005, 0, 1000), fires(2005, 2000)}, "f 0|r 0-1000|f 2000"},
		{"fires anew within its end", []said{fires(5, 0), ends(1005, 0, 1000), fires(1100, 900)}, "f 0|r 0-1000|f 900"},
		{"a late end does not end the next", []said{fires(5, 0), ends(1005, 0, 1000), fires(2005, 2000), ends(2010, 0, 1000)}, "f 0|r 0-1000|f 2000|"},
		{"the end of one reopened with its old start", []said{fires(5, 0), ends(1005, 0, 1000), fires(6*minute, 0), ends(7*minute, 0, 7*minute)}, "f 0|r 0-1000|f 1|r 1-420000"},
		{"no start", []said{fires(5, unset)}, "f 5"},
		{"no start, again", []said{fires(5, unset), fires(9, unset)}, "f 5|"},
		{"no start, and ends", []said{fires(5, unset), ends(1000, unset, 900)}, "f 5|r 5-900"},
		{"no start, ended twice", []said{fires(5, unset), ends(1000, unset, 900), ends(1001, unset, 900)}, "f 5|r 5-900|"},
		{"missed altogether, no start", []said{ends(1000, unset, 900)}, "f 900,r 900-900"},
		{"flaps within a millisecond", []said{fires(5, 0), ends(6, 0, 0), fires(7, 1), ends(8, 1, 1), fires(9, unset)}, "f 0|r 0-0|f 1|r 1-1|f 9"},
		{"the sender's clock is hours ahead", []said{fires(5, 3*hour), ends(1005, 3*hour, 3*hour+1000), fires(2005, 3*hour+2000)}, "f 10800000|r 10800000-10801000|f 10802000"},
		{"only ends are hours ahead", []said{fires(5, 0), ends(1005, 0, 3*hour), fires(2005, 2000), ends(3005, 2000, 3000)}, "f 0|r 0-10800000|f 2000|r 2000-3000"},
		{"ends before it starts, by another clock", []said{fires(5, 3*hour), ends(1005, 3*hour, 1000)}, "f 10800000|r 10800000-1000"},
		{"the clock goes back by hours", []said{fires(5, 0), ends(1005, 0, 1000), fires(6*minute, -3*hour), fires(7*minute, -3*hour)}, "f 0|r 0-1000|f 1|"},
		{"annotations change", []said{fires(5, 0), {at: 9, annotation: "worse"}, {at: 10, annotation: "worse"}}, "f 0|u 0|"},
		{"silenced, which a push does not know", []said{fires(5, 0), {at: 9, via: ViaPoll, suppressed: true}, by(ViaPush, fires(11, 0)), by(ViaPoll, fires(12, 0))}, "f 0|u 0 suppressed||u 0"},
		{"a backfill has no annotations", []said{{at: 5, annotation: "bad"}, by(ViaBackfill, fires(9, 0))}, "f 0|"},
		{"a backfill's end of what is open", []said{fires(5, 0), by(ViaBackfill, ends(60*second, 15*second, 45*second))}, "f 0|r 0-45000"},
		{"a backfill sees what is known", []said{fires(5, 0), ends(30*second, 0, 30*second), by(ViaBackfill, ends(60*second, 15*second, 45*second))}, "f 0|r 0-30000|"},
		{"a backfill sees what is not known", []said{fires(5, 0), ends(30*second, 0, 30*second), by(ViaBackfill, ends(30*minute, 10*minute, 20*minute))}, "f 0|r 0-30000|f 600000,r 600000-1200000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, last := NewBook(), uint64(0)
			var got []string
			previous := int64(0)
			for _, s := range tc.said {
				entries, _ := b.Observe(s.observation(map[string]string{"alertname": "A"}), last)
				var lines []string
				for _, e := range entries {
					if last++; e.Seq != last {
						t.Errorf("sequence %d, want %d", e.Seq, last)
					}
					if e.Type == report.Fired {
						if e.Starts <= previous {
							t.Errorf("an episode starts at %d, the one before it at %d", e.Starts, previous)
						}
						previous = e.Starts
					}
					lines = append(lines, line(e))
				}
				got = append(got, strings.Join(lines, ","))
			}
			if text := strings.Join(got, "|"); text != tc.want {
				t.Errorf("got  %s\nwant %s", text, tc.want)
			}
		})
	}
}

func TestTheBookDropsWhatItCannotTake(t *testing.T) {
	crowd := map[string]string{}
	for i := range MaxLabels + 1 {
		crowd[fmt.Sprint("l", i)] = "v"
	}
	bulk := map[string]string{}
	for i := range 5 {
		bulk[fmt.Sprint("l", i)] = strings.Repeat("x", MaxValueBytes)
	}
	for _, tc := range []struct {
		reason string
		labels map[string]string
	}{
		{DroppedNoLabels, nil},
		{DroppedNoLabels, map[string]string{"a": ""}},
		{DroppedTooManyLabels, crowd},
		{DroppedLabelTooLong, map[string]string{"a": strings.Repeat("x", MaxValueBytes+1)}},
		{DroppedLabelTooLong, map[string]string{strings.Repeat("x", MaxValueBytes+1): "a"}},
		{DroppedLabelTooLong, bulk},
		{DroppedNotUTF8, map[string]string{"a": "\xff"}},
	} {
		b := NewBook()
		o := said{}.observation(tc.labels)
		o.Alerts = append(o.Alerts, said{}.observation(map[string]string{"good": "one"}).Alerts...)
		entries, dropped := b.Observe(o, 0)
		if len(entries) != 1 || dropped[tc.reason] != 1 || len(dropped) != 1 {
			t.Errorf("%d transitions, dropped %v, want the good one and %s", len(entries), dropped, tc.reason)
		}
	}
	a := Alert{Annotations: maps.Clone(bulk), Labels: map[string]string{"a": "b"}, GeneratorURL: strings.Repeat("ä", MaxValueBytes)}
	a.Annotations["a-long-one"] = strings.Repeat("ä", MaxValueBytes)
	text, reason := textOf(&a)
	bytes := 0
	for k, v := range text.Annotations {
		bytes += len(k) + len(v)
	}
	if reason != "" || bytes > MaxTextBytes || bytes < MaxTextBytes*3/4 || len(text.Annotations["a-long-one"]) != MaxValueBytes || len(text.GeneratorURL) > MaxValueBytes {
		t.Errorf("annotations of %d bytes, reason %q", bytes, reason)
	}
}

func TestTheBookIsBounded(t *testing.T) {
	b, seq := NewBook(), uint64(0)
	at := func(i int, s said) Observation { return s.observation(map[string]string{"n": fmt.Sprint(i)}) }
	for i := range MaxOpen + 1 {
		_, dropped := b.Observe(at(i, said{}), seq)
		if seq++; (dropped[DroppedTooManyOpen] == 1) != (i == MaxOpen) {
			t.Fatalf("alert %d: dropped %v", i, dropped)
		}
	}
	const all = MaxTombstones + MaxTombstones/2
	for i := range all {
		b.Observe(at(i, said{at: int64(i), ends: 1, resolved: true}), seq)
	}
	b.bury(after(all).UnixMilli())
	if len(b.open) != 0 || len(b.ended) != MaxTombstones {
		t.Errorf("%d open, %d tombstones, want 0 and %d", len(b.open), len(b.ended), MaxTombstones)
	}
	if _, kept := b.ended[Fingerprint(map[string]string{"n": fmt.Sprint(all - 1)})]; !kept {
		t.Error("the youngest tombstone is gone")
	}
	b.bury(noon.Add(TombstoneAge + time.Minute).UnixMilli())
	if len(b.ended) != 0 {
		t.Errorf("%d tombstones are older than %s", len(b.ended), TombstoneAge)
	}
}

// shown is a book as text.
func shown(b *Book) string {
	var text strings.Builder
	for _, e := range b.episodes() {
		fmt.Fprintf(&text, "%s %d %t %v\n", e.Episode, e.opened, e.suppressed, e.text)
	}
	fmt.Fprint(&text, b.ended)
	return text.String()
}

// Whatever is observed, going back restores the book, and the transitions alone make the
// same book again.
func TestTheBookGoesBackAndIsMadeAgain(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	b, replayed, seq := NewBook(), NewBook(), uint64(0)
	for i := range 1000 {
		o := randomObservation(rng, int64(i)*500)
		before := shown(b)
		if _, dropped := b.Observe(o, seq); dropped != nil {
			t.Fatal(dropped)
		}
		b.rollback()
		if got := shown(b); got != before {
			t.Fatalf("went back to\n%s\nwant\n%s", got, before)
		}
		entries, _ := b.Observe(o, seq)
		b.commit()
		seq += uint64(len(entries))
		for _, e := range entries {
			replayed.note(e)
		}
		if got, want := shown(replayed), shown(b); got != want {
			t.Fatalf("made again:\n%s\nwant\n%s", got, want)
		}
	}
}

func randomObservation(rng *rand.Rand, at int64) Observation {
	s := said{at: at, starts: at - rng.Int64N(5000), via: []string{ViaWebhook, ViaPush, ViaPoll, ViaBackfill}[rng.IntN(4)]}
	s.resolved, s.ends = rng.IntN(2) == 0, at-rng.Int64N(1000)
	s.suppressed, s.estimated = rng.IntN(8) == 0, rng.IntN(8) == 0
	if rng.IntN(10) == 0 {
		s.starts = unset
	}
	s.annotation = []string{"", "worse"}[rng.IntN(2)]
	return s.observation(map[string]string{"alertname": "A", "n": fmt.Sprint(rng.IntN(6)), "severity": "critical"})
}

// A storm that is over stays over, however often senders say so.
func TestTheEndOfAStormIsRepeated(t *testing.T) {
	b, seq := NewBook(), uint64(0)
	storm := func(at int64, resolved bool) (transitions int) {
		for i := range MaxOpen {
			s := said{at: at + int64(i), starts: 0, ends: 1000, resolved: resolved, via: ViaPush}
			entries, _ := b.Observe(s.observation(map[string]string{"n": fmt.Sprint(i)}), seq)
			b.commit()
			seq += uint64(len(entries))
			transitions += len(entries)
			if i%500 == 0 {
				b.bury(noon.UnixMilli() + at + int64(i))
			}
		}
		b.bury(noon.UnixMilli() + at + MaxOpen)
		return transitions
	}
	if n := storm(5, false) + storm(60_000, true); n != 2*MaxOpen {
		t.Fatalf("%d transitions, want %d", n, 2*MaxOpen)
	}
	for minute := range int64(3) {
		if n := storm((minute+2)*60_000, true); n != 0 {
			t.Errorf("said again: %d transitions", n)
		}
	}
}
