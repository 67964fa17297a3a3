package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/o2ims/o2ims/test/harness/fleet"
)

// result is everything that was measured on one hub.
type result struct {
	fleet  fleet.Fleet
	load   loading
	starts []start

	servers   int           // in the inventory, at the end
	changing  time.Duration // how long servers changed
	changed   usage         // of the manager, after that
	acks      []time.Duration
	sinceAck  []time.Duration // from the acknowledged apply to the API
	sinceSent []time.Duration // from sending it
	late      int             // changes that did not arrive
	costs     map[string]usage
	lists     []list

	loadBefore, loadAfter string // of the machine
}

// list is a collection that was asked for several times.
type list struct {
	name  string
	bytes int
	took  []time.Duration
}

// String is the result in Markdown, as RESULTS.md has it.
func (r *result) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("\n### %d managed clusters of %d nodes, seed %d\n", r.fleet.Clusters, r.fleet.Nodes, r.fleet.Seed)
	line("Load average before and after: %s; %s. Fleet written in %s, hub settled after %s (%d acknowledged, %d deployed).\n",
		r.loadBefore, r.loadAfter, seconds(r.load.written), seconds(r.load.settled), r.load.counts.Reported, r.load.counts.Deployed)
	line("| what | got | target |\n|---|---|---|")
	pick := func(of func(start) time.Duration) []time.Duration {
		var all []time.Duration
		for _, s := range r.starts {
			all = append(all, of(s))
		}
		return all
	}
	ready := pick(func(s start) time.Duration { return s.ready })
	line("| cold start to ready, median of %d | %s (%s) | %s |", len(ready), seconds(quantile(ready, 0.5)), joined(ready, seconds), seconds(targetStart))
	cpu := pick(func(s start) time.Duration { return s.atReady.CPU })
	line("| processor time until ready | %s | |", seconds(quantile(cpu, 0.5)))
	leads := pick(func(s start) time.Duration { return s.leads })
	line("| agents are deployed again, median | %s | |", seconds(quantile(leads, 0.5)))
	for _, s := range r.starts {
		line("| RSS at ready; at rest; highest so far | %s; %s; %s | %s |", mebibytes(s.atReady.RSS), mebibytes(s.settled.RSS), mebibytes(s.settled.HWM), mebibytes(targetRSS))
	}
	line("| RSS, own memory and highest RSS after %s of changes | %s, %s, %s | %s |",
		seconds(r.changing), mebibytes(r.changed.RSS), mebibytes(r.changed.Anon), mebibytes(r.changed.HWM), mebibytes(targetRSS))
	line("| change acknowledged → in the API, p50 / p99 / max of %d | %s / %s / %s | %s |", len(r.sinceAck),
		millis(quantile(r.sinceAck, 0.5)), millis(quantile(r.sinceAck, 0.99)), millis(quantile(r.sinceAck, 1)), millis(targetChange))
	line("| change sent → in the API, p50 / p99 / max | %s / %s / %s | |",
		millis(quantile(r.sinceSent, 0.5)), millis(quantile(r.sinceSent, 0.99)), millis(quantile(r.sinceSent, 1)))
	line("| the apply itself, p50 / p99 | %s / %s | |", millis(quantile(r.acks, 0.5)), millis(quantile(r.acks, 0.99)))
	for _, l := range r.lists {
		line("| list %s, %d kB, p50 / max of %d | %s / %s | |", l.name, l.bytes/1000, len(l.took), millis(quantile(l.took, 0.5)), millis(quantile(l.took, 1)))
	}
	line("\n| process on the hub | processor time while the fleet was written | RSS then | processor time during %d changes | of a core | RSS |\n|---|---|---|---|---|---|", len(r.sinceAck)+r.late)
	for _, name := range slices.Sorted(maps.Keys(r.costs)) {
		l, u := r.load.costs[name], r.costs[name]
		line("| %s | %s | %s | %s | %.0f %% | %s |", name, seconds(l.CPU), mebibytes(l.RSS), seconds(u.CPU), 100*u.CPU.Seconds()/r.changing.Seconds(), mebibytes(u.RSS))
	}
	return b.String()
}

// quantile returns the smallest value that a share q of all values does not exceed.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	i := int(q*float64(len(sorted))+0.9999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

func joined(values []time.Duration, text func(time.Duration) string) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = text(v)
	}
	return strings.Join(texts, ", ")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
