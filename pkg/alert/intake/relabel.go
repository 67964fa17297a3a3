package intake

import (
	"crypto/md5" // Prometheus' hashmod is made of it; nothing is protected by it
	"encoding/binary"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/o2ims/o2ims/pkg/fault"
)

// labelling is what a Prometheus does to the labels of an alert before it sends it: without
// it, the alerts that its time series tell of would have other fingerprints than those that
// were sent.
type labelling struct {
	external map[string]string
	rules    []relabelRule
}

// relabelRule is one of alert_relabel_configs. All actions of Prometheus are there.
//
// Source: Prometheus documentation, relabel_config.
type relabelRule struct {
	sources     []string
	separator   string
	regex       *regexp.Regexp
	modulus     uint64
	target      string
	replacement string
	action      string
}

// rawConfig is as much of a Prometheus configuration as concerns us. What a rule leaves out
// has a default, which is why it is kept apart from what is empty.
type rawConfig struct {
	Global struct {
		ExternalLabels map[string]string `json:"external_labels"`
	} `json:"global"`
	Alerting struct {
		Rules []struct {
			SourceLabels []string `json:"source_labels"`
			Separator    *string  `json:"separator"`
			Regex        *string  `json:"regex"`
			Modulus      uint64   `json:"modulus"`
			TargetLabel  string   `json:"target_label"`
			Replacement  *string  `json:"replacement"`
			Action       string   `json:"action"`
		} `json:"alert_relabel_configs"`
	} `json:"alerting"`
}

// parseLabelling reads a Prometheus configuration in YAML. Relabelling that a configuration
// does for one of its Alertmanagers only (alertmanagers[].alert_relabel_configs) is not
// looked at. An error wraps fault.Invalid.
func parseLabelling(text []byte) (labelling, error) {
	var raw rawConfig
	if err := yaml.Unmarshal(text, &raw); err != nil {
		return labelling{}, fmt.Errorf("configuration of Prometheus: %v: %w", err, fault.Invalid)
	}
	l := labelling{external: raw.Global.ExternalLabels}
	for n, r := range raw.Alerting.Rules {
		pattern := given(r.Regex, "(.*)")
		regex, err := regexp.Compile("^(?s:" + pattern + ")$")
		if err != nil {
			return labelling{}, fmt.Errorf("configuration of Prometheus: alert_relabel_configs[%d]: regex %q: %v: %w", n, pattern, err, fault.Invalid)
		}
		l.rules = append(l.rules, relabelRule{
			sources: r.SourceLabels, separator: given(r.Separator, ";"), regex: regex, modulus: r.Modulus,
			target: r.TargetLabel, replacement: given(r.Replacement, "$1"), action: strings.ToLower(given(&r.Action, "")),
		})
	}
	return l, nil
}

func given(text *string, otherwise string) string {
	if text == nil {
		return otherwise
	}
	return *text
}

// apply returns the labels under which an alert is sent; false when it is not sent at all.
func (l labelling) apply(labels map[string]string) (map[string]string, bool) {
	sent := maps.Clone(labels)
	for name, value := range l.external {
		if sent[name] == "" {
			sent[name] = value
		}
	}
	for _, r := range l.rules {
		if !r.apply(sent) {
			return nil, false
		}
	}
	maps.DeleteFunc(sent, func(_, value string) bool { return value == "" })
	return sent, len(sent) > 0
}

// apply changes labels; false means that the alert is dropped.
func (r relabelRule) apply(labels map[string]string) bool {
	values := make([]string, len(r.sources))
	for n, name := range r.sources {
		values[n] = labels[name]
	}
	value := strings.Join(values, r.separator)
	switch r.action {
	case "drop":
		return !r.regex.MatchString(value)
	case "keep":
		return r.regex.MatchString(value)
	case "dropequal":
		return labels[r.target] != value
	case "keepequal":
		return labels[r.target] == value
	case "", "replace":
		r.replace(labels, value)
	case "lowercase":
		labels[r.target] = strings.ToLower(value)
	case "uppercase":
		labels[r.target] = strings.ToUpper(value)
	case "hashmod":
		if r.modulus > 0 {
			sum := md5.Sum([]byte(value))
			labels[r.target] = fmt.Sprint(binary.BigEndian.Uint64(sum[8:]) % r.modulus)
		}
	case "labelmap":
		for name, value := range maps.Clone(labels) {
			if r.regex.MatchString(name) {
				labels[r.regex.ReplaceAllString(name, r.replacement)] = value
			}
		}
	case "labeldrop":
		maps.DeleteFunc(labels, func(name, _ string) bool { return r.regex.MatchString(name) })
	case "labelkeep":
		maps.DeleteFunc(labels, func(name, _ string) bool { return !r.regex.MatchString(name) })
	}
	return true
}

func (r relabelRule) replace(labels map[string]string, value string) {
	match := r.regex.FindStringSubmatchIndex(value)
	if match == nil {
		return
	}
	target := string(r.regex.ExpandString(nil, r.target, value, match))
	result := string(r.regex.ExpandString(nil, r.replacement, value, match))
	if target == "" {
		return
	}
	if result == "" {
		delete(labels, target)
		return
	}
	labels[target] = result
}
