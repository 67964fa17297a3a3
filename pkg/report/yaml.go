package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/o2ims/o2ims/pkg/fault"
)

// maxInputBytes bounds what ReadYAML reads: a list of some hundred add-ons.
const maxInputBytes = 64 << 20

// Carrier is a ManagedClusterAddOn as far as reports are concerned.
type Carrier struct {
	Cluster    string // its namespace
	Conditions []metav1.Condition
}

// ReadYAML reads a ManagedClusterAddOn, or a List of them, as `kubectl get -o yaml` or
// `-o json` prints it. Of a list it takes those that bear our name. An error wraps
// fault.Invalid.
func ReadYAML(r io.Reader) ([]Carrier, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxInputBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxInputBytes {
		return nil, fmt.Errorf("input: more than %d bytes: %w", maxInputBytes, fault.Invalid)
	}
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		if text, err = yaml.YAMLToJSON(text); err != nil {
			return nil, fmt.Errorf("input: %v: %w", err, fault.Invalid)
		}
	}
	var obj object
	if err := json.Unmarshal(text, &obj); err != nil {
		return nil, fmt.Errorf("input: %v: %w", err, fault.Invalid)
	}
	return obj.carriers()
}

// object is what we read of a ManagedClusterAddOn or of a List, in any version.
type object struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Status struct {
		Conditions []metav1.Condition `json:"conditions"`
	} `json:"status"`
	Items []object `json:"items"`
}

func (o object) carriers() ([]Carrier, error) {
	switch {
	case o.Kind == addOnKind:
		return []Carrier{{Cluster: o.Metadata.Namespace, Conditions: o.Status.Conditions}}, nil
	case !strings.HasSuffix(o.Kind, "List"):
		return nil, fmt.Errorf("input: kind %q is neither %s nor a list: %w", o.Kind, addOnKind, fault.Invalid)
	}
	var found []Carrier
	for _, item := range o.Items {
		if item.Kind != addOnKind || item.Metadata.Name != AddOnName {
			continue
		}
		found = append(found, Carrier{Cluster: item.Metadata.Namespace, Conditions: item.Status.Conditions})
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("input: no %s named %s in the list: %w", addOnKind, AddOnName, fault.Invalid)
	}
	return found, nil
}

const addOnKind = "ManagedClusterAddOn"
