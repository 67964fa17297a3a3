package alarm

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/o2ims/o2ims/pkg/fault"
)

var severityNames = []string{"CRITICAL", "MAJOR", "MINOR", "WARNING", "INDETERMINATE", "CLEARED"}

// String is the standard's name of a severity.
func (s Severity) String() string {
	if s < 0 || int(s) >= len(severityNames) {
		return fmt.Sprintf("Severity(%d)", int(s))
	}
	return severityNames[s]
}

// Severities say which perceivedSeverity an alert has, by the text of its severity label in
// lower case. What is not in it is INDETERMINATE. CLEARED is a state and no label.
type Severities map[string]Severity

// DefaultSeverities returns what the severity labels in the field mean.
//
// Source: kubernetes-mixin and node-mixin, label severity; docs/alarms.md.
func DefaultSeverities() Severities {
	s := make(Severities)
	for severity, labels := range map[Severity][]string{
		Critical:      {"critical", "crit", "emergency", "page", "disaster"},
		Major:         {"major", "important", "error", "high"},
		Minor:         {"minor", "low"},
		Warning:       {"warning", "warn", "moderate", "info", "notice"},
		Indeterminate: {"none", "unknown", "missing", "unmapped"},
	} {
		for _, label := range labels {
			s[label] = severity
		}
	}
	return s
}

// Of returns the severity that a label's value stands for.
func (s Severities) Of(label string) Severity {
	if severity, known := s[strings.ToLower(strings.TrimSpace(label))]; known {
		return severity
	}
	return Indeterminate
}

// Override changes entries, each given by a label's value and the name of a severity. The
// error wraps fault.Invalid and names every bad one.
func (s Severities) Override(names map[string]string) error {
	var bad []string
	for _, label := range slices.Sorted(maps.Keys(names)) {
		severity := slices.Index(severityNames[:Cleared], strings.ToUpper(names[label]))
		if severity < 0 || label == "" {
			bad = append(bad, fmt.Sprintf("%s=%s", label, names[label]))
			continue
		}
		s[strings.ToLower(label)] = Severity(severity)
	}
	if bad != nil {
		return fmt.Errorf("severities %s: want one of %s: %w", strings.Join(bad, ", "), strings.Join(severityNames[:Cleared], ", "), fault.Invalid)
	}
	return nil
}
