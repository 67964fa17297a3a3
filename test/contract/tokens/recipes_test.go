package tokens

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/o2ims/o2ims/test/contract/hub"
)

// testRecipes has the apiserver judge every Inventory that the documents recommend, by the
// schema and the rules of its definition, and refuse fields that there are not.
func (w *world) testRecipes(t *testing.T) {
	strict := client.NewDryRunClient(client.WithFieldValidation(w.env.Hub.Client(), "Strict"))
	for name, want := range map[string]int{"oauth.md": 1, "mtls.md": 3, "smo.md": 1} {
		judged := 0
		for _, block := range hub.Blocks(t, name, "yaml") {
			object := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(block), &object.Object); err != nil {
				t.Errorf("docs/%s: %v in\n%s", name, err, block)
				continue
			}
			if object.GetKind() != "Inventory" {
				continue
			}
			judged++
			if err := strict.Create(t.Context(), object); err != nil {
				t.Errorf("docs/%s: %v in\n%s", name, err, block)
			}
		}
		if judged != want {
			t.Errorf("docs/%s has %d Inventories, want %d", name, judged, want)
		}
	}
}
