package alert

import (
	"github.com/o2ims/o2ims/pkg/report"
)

// reductions are the steps of compaction, in order. Each returns the entries, which cover
// the same sequences without gaps, and how many transitions were merged into others.
func reductions() []func([]*entry) ([]*entry, uint64) {
	return []func([]*entry) ([]*entry, uint64){withoutAnnotations, mergeEpisodes, mergeAlerts}
}

// withoutAnnotations drops the annotations of episodes that have ended.
func withoutAnnotations(entries []*entry) ([]*entry, uint64) {
	ended := make(map[report.Episode]bool)
	for _, e := range entries {
		if e.Ends != 0 {
			ended[e.Episode] = true
		}
	}
	bare := make(map[string]*report.AlertText) // by fingerprint
	out := make([]*entry, len(entries))
	for i, e := range entries {
		out[i] = e
		if !ended[e.Episode] || len(e.text.Annotations) == 0 {
			continue
		}
		text := bare[e.Fingerprint]
		if text == nil {
			text = &report.AlertText{Labels: e.text.Labels, GeneratorURL: e.text.GeneratorURL}
			bare[e.Fingerprint] = text
		}
		next := *e
		next.text = text
		out[i] = &next
	}
	return out, 0
}

// mergeEpisodes makes one transition of all those of an episode, in the place of the last.
func mergeEpisodes(entries []*entry) ([]*entry, uint64) {
	count := make(map[report.Episode]uint64)
	last := make(map[report.Episode]int)
	for i, e := range entries {
		count[e.Episode] += standsFor(e)
		last[e.Episode] = i
	}
	return merge(entries, func(i int) (keep bool, stands uint64) {
		episode := entries[i].Episode
		return last[episode] == i, count[episode]
	})
}

// mergeAlerts keeps of the closed episodes of one alert the first and the last; the last
// stands for those between.
func mergeAlerts(entries []*entry) ([]*entry, uint64) {
	type ends struct{ first, last int }
	closed := make(map[string]*ends)
	for i, e := range entries {
		if e.Ends == 0 {
			continue
		}
		if at := closed[e.Fingerprint]; at != nil {
			at.last = i
		} else {
			closed[e.Fingerprint] = &ends{i, i}
		}
	}
	between := make(map[string]uint64)
	gone := func(i int) bool {
		e := entries[i]
		at := closed[e.Fingerprint]
		return at != nil && at.first < i && i < at.last
	}
	for i, e := range entries {
		if gone(i) {
			between[e.Fingerprint] += standsFor(e)
		}
	}
	return merge(entries, func(i int) (keep bool, stands uint64) {
		e := entries[i]
		stands = standsFor(e)
		if at := closed[e.Fingerprint]; at != nil && at.last == i {
			stands += between[e.Fingerprint]
		}
		return !gone(i), stands
	})
}

func standsFor(e *entry) uint64 { return max(1, e.Count) }

// merge leaves out entries. Each one that stays begins where the one before it ends, so
// that no sequence is missing; one that stands for others, or for a sequence of others, is
// of type CompactedTransitions.
func merge(entries []*entry, keep func(i int) (keep bool, stands uint64)) ([]*entry, uint64) {
	if len(entries) == 0 {
		return nil, 0
	}
	var out []*entry
	first := entries[0].First()
	merged := uint64(0)
	for i, e := range entries {
		stays, stands := keep(i)
		if !stays {
			merged++
			continue
		}
		if stands == standsFor(e) && first == e.First() {
			out = append(out, e)
		} else {
			next := *e
			next.Type, next.From, next.Count = report.CompactedTransitions, first, stands
			out = append(out, &next)
		}
		first = e.Seq + 1
	}
	return out, merged
}
