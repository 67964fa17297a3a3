package harness_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/o2ims/o2ims/test/harness"
)

func TestRenderChart(t *testing.T) {
	dir := writeChart(t, map[string]string{
		"Chart.yaml":        "apiVersion: v2\nname: sample\nversion: 0.1.0\nkubeVersion: \">=1.30.0-0\"\n",
		"values.yaml":       "port: 1\nnested: {kept: yes, name: default}\n",
		"crds/widgets.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\n",
		"templates/all.yaml": `apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}, namespace: {{ .Release.Namespace }}}
data: {name: {{ .Values.nested.name }}, kept: "{{ .Values.nested.kept }}", port: "{{ .Values.port }}", kube: {{ .Capabilities.KubeVersion.Version }}}
---
{{- if .Values.absent }}
apiVersion: v1
kind: Secret
metadata: {name: never}
{{- end }}
`,
		"templates/test.yaml":    "apiVersion: v1\nkind: Pod\nmetadata: {name: test, annotations: {helm.sh/hook: test}}\n",
		"templates/NOTES.txt":    "not: [yaml",
		"templates/_helpers.tpl": "{{- define \"unused\" }}not: [yaml{{ end }}",
	})
	values := map[string]any{"nested": map[string]any{"name": "ours"}}

	objects, err := harness.RenderChart(dir, "release", "space", values)
	if err != nil {
		t.Fatal(err)
	}

	kinds := make([]string, 0, len(objects))
	for _, object := range objects {
		kinds = append(kinds, object.GetKind())
	}
	if want := []string{"CustomResourceDefinition", "ConfigMap"}; !slices.Equal(kinds, want) {
		t.Fatalf("kinds = %v, want %v", kinds, want)
	}
	for field, want := range map[string]string{
		"metadata.name": "release", "metadata.namespace": "space",
		"data.name": "ours", "data.kept": "true", "data.port": "1", "data.kube": "v1.35.4",
	} {
		if got := nested(objects[1], field); got != want {
			t.Errorf("%s = %q, want %q", field, got, want)
		}
	}
	if len(values["nested"].(map[string]any)) != 1 {
		t.Errorf("the caller's values became %v", values)
	}
}

func TestRenderChartChecksValues(t *testing.T) {
	dir := writeChart(t, map[string]string{
		"Chart.yaml":         "apiVersion: v2\nname: sample\nversion: 0.1.0\n",
		"values.schema.json": `{"properties": {"port": {"type": "integer"}}}`,
	})
	if _, err := harness.RenderChart(dir, "release", "space", map[string]any{"port": "http"}); err == nil {
		t.Error("a value against the chart's schema was accepted")
	}
}

func writeChart(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// nested reads a string inside an object, such as metadata.name.
func nested(object unstructured.Unstructured, path string) string {
	value, _, _ := unstructured.NestedString(object.Object, strings.Split(path, ".")...)
	return value
}
