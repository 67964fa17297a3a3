package report

import (
	"errors"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/o2ims/o2ims/pkg/fault"
)

const mcaYAML = `apiVersion: addon.open-cluster-management.io/v1alpha1
kind: ManagedClusterAddOn
metadata:
  name: o2ims
  namespace: edge-1
spec: {}
status:
  conditions:
  - lastTransitionTime: "2026-11-22T10:00:00Z"
    message: v=1 epoch=6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11
    reason: Reported
    status: "True"
    type: o2ims.open-cluster-management.io/Inventory
`

func indent(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return "- " + strings.Join(lines, "\n  ") + "\n"
}

func TestReadYAML(t *testing.T) {
	asJSON, err := yaml.YAMLToJSON([]byte(mcaYAML))
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(mcaYAML, "name: o2ims", "name: search", 1)
	second := strings.Replace(mcaYAML, "edge-1", "edge-2", 1)
	for _, tc := range []struct {
		name, in string
		want     []string
	}{
		{"one add-on", mcaYAML, []string{"edge-1"}},
		{"as JSON", string(asJSON), []string{"edge-1"}},
		{"a document mark", "---\n" + mcaYAML, []string{"edge-1"}},
		{"a list", "kind: List\nitems:\n" + indent(mcaYAML) + indent(other) + indent(second), []string{"edge-1", "edge-2"}},
		{"a typed list", "kind: ManagedClusterAddOnList\nitems:\n" + indent(mcaYAML), []string{"edge-1"}},
		{"a list without ours", "kind: List\nitems:\n" + indent(other), nil},
		{"another kind", "kind: Pod", nil},
		{"nothing", "", nil},
		{"not YAML", "a: b: c", nil},
		{"conditions of another form", "kind: ManagedClusterAddOn\nstatus: {conditions: 7}", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ReadYAML(strings.NewReader(tc.in))
			if (err != nil) != (tc.want == nil) || (err != nil && !errors.Is(err, fault.Invalid)) {
				t.Fatalf("error %v, want invalid: %t", err, tc.want == nil)
			}
			var clusters []string
			for _, c := range got {
				clusters = append(clusters, c.Cluster)
				if len(c.Conditions) != 1 || c.Conditions[0].Reason != "Reported" || c.Conditions[0].LastTransitionTime.IsZero() {
					t.Errorf("conditions %+v", c.Conditions)
				}
			}
			if strings.Join(clusters, " ") != strings.Join(tc.want, " ") {
				t.Errorf("clusters %v, want %v", clusters, tc.want)
			}
		})
	}
}
