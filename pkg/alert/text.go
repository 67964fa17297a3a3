package alert

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/o2ims/o2ims/pkg/report"
)

// Reasons for which alerts are left out. They are keys of report.Alerts.Dropped.
const (
	DroppedNoLabels      = "NoLabels"
	DroppedTooManyLabels = "TooManyLabels"
	DroppedLabelTooLong  = "LabelTooLong"
	DroppedNotUTF8       = "NotUTF8"
	DroppedTooManyOpen   = "TooManyOpen"
)

// Limits of what one alert may say. Labels beyond them cost the alert, since they are its
// identity; annotations are cut.
const (
	MaxLabels     = report.MaxAlertLabels
	MaxValueBytes = report.MaxStringBytes
	MaxTextBytes  = report.MaxAlertBytes // all labels, or all annotations, of one alert
	MaxOpen       = 10_000
)

// textOf is what an alert says, within the limits, or the reason why it cannot be taken.
func textOf(a *Alert) (text *report.AlertText, reason string) {
	labels := make(map[string]string, len(a.Labels))
	bytes := 0
	for name, value := range a.Labels {
		switch {
		case value == "":
			continue
		case !utf8.ValidString(name) || !utf8.ValidString(value):
			return nil, DroppedNotUTF8
		case len(name) > MaxValueBytes || len(value) > MaxValueBytes:
			return nil, DroppedLabelTooLong
		}
		bytes += len(name) + len(value)
		if labels[name] = value; len(labels) > MaxLabels {
			return nil, DroppedTooManyLabels
		}
	}
	switch {
	case len(labels) == 0:
		return nil, DroppedNoLabels
	case bytes > MaxTextBytes:
		return nil, DroppedLabelTooLong
	}
	return &report.AlertText{Labels: labels, Annotations: annotationsOf(a.Annotations), GeneratorURL: cut(a.GeneratorURL)}, ""
}

// annotationsOf keeps what fits, in the order of the names.
func annotationsOf(all map[string]string) map[string]string {
	if len(all) == 0 {
		return nil
	}
	kept := make(map[string]string, len(all))
	bytes := 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		value := cut(all[name])
		if len(kept) >= MaxLabels || len(name) > MaxValueBytes || !utf8.ValidString(name) || bytes+len(name)+len(value) > MaxTextBytes {
			continue
		}
		bytes += len(name) + len(value)
		kept[name] = value
	}
	return kept
}

func cut(value string) string {
	value = strings.ToValidUTF8(value, "\uFFFD")
	if len(value) <= MaxValueBytes {
		return value
	}
	end := MaxValueBytes
	for !utf8.RuneStart(value[end]) {
		end--
	}
	return value[:end]
}

func sameText(a, b *report.AlertText) bool {
	return a == b || a.GeneratorURL == b.GeneratorURL && maps.Equal(a.Annotations, b.Annotations)
}
