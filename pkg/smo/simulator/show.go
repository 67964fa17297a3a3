package simulator

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// print shows a notification: what happened to what, and which attributes differ.
func (s *Simulator) print(e *Entry) {
	if s.options.Quiet {
		return
	}
	n, err := parse(e.Body)
	verbs := map[int]string{0: "created", 1: "modified", 2: "deleted"}
	if err == nil && n.aboutAlarm() {
		verbs = map[int]string{0: "NEW", 1: "CHANGE", 2: "CLEAR", 3: "ACKNOWLEDGE"}
	}
	remark := ""
	switch {
	case e.Status == 0 && e.Taken:
		remark = "  taken, and the connection broken off"
	case e.Status == 0:
		remark = "  refused by breaking the connection off"
	case !e.Taken:
		remark = fmt.Sprintf("  refused with %d", e.Status)
	case e.Duplicate:
		remark = "  for the second time"
	case e.Break:
		remark = "  (!) it does not follow on what was told before"
	}
	fmt.Fprintf(s.out, "%s  %s  %-8s %s%s\n", e.Time.Format("15:04:05.000"), e.Path, verbs[e.Type], e.ObjectRef, remark)
	if err != nil || !e.Taken || e.Duplicate {
		return
	}
	if n.Resync != nil {
		fmt.Fprintf(s.out, "    events are missing, read everything anew: %s\n", n.Resync)
	}
	if n.AlarmID != "" {
		fmt.Fprintf(s.out, "    perceivedSeverity %d %v\n", n.Severity, n.Extensions.Labels)
	}
	for _, line := range differences(n.Prior, n.Post) {
		fmt.Fprintf(s.out, "    %s\n", line)
	}
}

// differences lists the attributes that differ, as path: before → after, in the order of
// their names. Of an object that came or went it lists a few.
func differences(prior, post json.RawMessage) []string {
	before, after := flatten(prior), flatten(post)
	var lines []string
	for _, name := range union(before, after) {
		b, had := before[name]
		a, has := after[name]
		switch {
		case had && has && a == b:
		case had && has:
			lines = append(lines, fmt.Sprintf("%s: %s → %s", name, b, a))
		case has:
			lines = append(lines, fmt.Sprintf("%s: %s", name, a))
		default:
			lines = append(lines, fmt.Sprintf("%s: %s → gone", name, b))
		}
	}
	const most = 12
	if (prior == nil || post == nil) && len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("… and %d attributes more", len(lines)-most))
	}
	return lines
}

// flatten returns the plain values of an object by path, printed as JSON.
func flatten(state json.RawMessage) map[string]string {
	flat := make(map[string]string)
	var value any
	if len(state) == 0 || json.Unmarshal(state, &value) != nil {
		return flat
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, child := range v {
				walk(strings.TrimPrefix(path+"/"+name, "/"), child)
			}
		case []any:
			for i, child := range v {
				walk(fmt.Sprintf("%s/%d", path, i), child)
			}
		default:
			text, err := json.Marshal(v)
			if err == nil {
				flat[path] = string(text)
			}
		}
	}
	walk("", value)
	return flat
}

func union(a, b map[string]string) []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(names)
	return slices.Compact(names)
}
