package tokens

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/o2ims/o2ims/test/harness"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// testRecipes has the apiserver judge every Inventory that the documents recommend, by the
// schema and the rules of its definition, and refuse fields that there are not.
func (w *world) testRecipes(t *testing.T) {
	root, err := harness.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	strict := client.NewDryRunClient(client.WithFieldValidation(w.env.Hub.Client(), "Strict"))
	for name, want := range map[string]int{"oauth.md": 1, "mtls.md": 3, "smo.md": 1} {
		text, err := os.ReadFile(filepath.Join(root, "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		judged := 0
		for _, block := range yamlBlock.FindAllSubmatch(text, -1) {
			object := &unstructured.Unstructured{}
			if err := yaml.Unmarshal(block[1], &object.Object); err != nil {
				t.Errorf("docs/%s: %v in\n%s", name, err, block[1])
				continue
			}
			if object.GetKind() != "Inventory" {
				continue
			}
			judged++
			if err := strict.Create(t.Context(), object); err != nil {
				t.Errorf("docs/%s: %v in\n%s", name, err, block[1])
			}
		}
		if judged != want {
			t.Errorf("docs/%s has %d Inventories, want %d", name, judged, want)
		}
	}
}
