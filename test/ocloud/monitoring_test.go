package ocloud

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/o2ims/o2ims/test/harness"
)

// TestMonitoringFollowsTheRecipes holds what runs here to what docs/alertmanager.md tells an
// administrator to deploy.
func TestMonitoringFollowsTheRecipes(t *testing.T) {
	if got, want := configFile(t, "alertmanager", "alertmanager.yml"), recipe(t, "alertmanager.yml"); !reflect.DeepEqual(got, want) {
		t.Errorf("alertmanager.yml is %v, the recipe %v", got, want)
	}
	senders := func(config map[string]any) []any {
		list, _, err := unstructured.NestedSlice(config, "alerting", "alertmanagers")
		if err != nil || len(list) == 0 {
			t.Fatalf("alertmanagers of %v: %v, %v", config, list, err)
		}
		return list
	}
	got, want := senders(configFile(t, "prometheus", "prometheus.yml")), senders(recipe(t, "prometheus.yml"))[0]
	if !slices.ContainsFunc(got, func(one any) bool { return reflect.DeepEqual(one, want) }) {
		t.Errorf("prometheus.yml sends to %v, the recipe to %v", got, want)
	}
}

// configFile is a file in a ConfigMap of the manifests.
func configFile(t *testing.T, name, key string) map[string]any {
	t.Helper()
	objects, err := harness.ParseObjects(monitoringManifests)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.GetKind() == "ConfigMap" && o.GetName() == name {
			text, _, err := unstructured.NestedString(o.Object, "data", key)
			if err != nil {
				t.Fatal(err)
			}
			return parsed(t, []byte(text))
		}
	}
	t.Fatalf("no ConfigMap %s", name)
	return nil
}

// recipe is an example of the documentation, by the comment before it.
func recipe(t *testing.T, name string) map[string]any {
	t.Helper()
	root, err := harness.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "alertmanager.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)<!-- " + regexp.QuoteMeta(name) + " -->\n```yaml\n(.*?)```").FindSubmatch(text)
	if found == nil {
		t.Fatalf("docs/alertmanager.md has no example %s", name)
	}
	return parsed(t, found[1])
}

func parsed(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var value map[string]any
	if err := yaml.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestLibraryPaths(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"amd64", "\tlinux-vdso.so.1 (0x00007fa9c7fe2000)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fa9c7def000)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007fa9c7fe4000)\n",
			[]string{"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"}},
		{"a library that is missing", "\tlibodd.so.1 => not found\n\t/lib/ld-linux-aarch64.so.1 (0x0000ffff)\n", []string{"/lib/ld-linux-aarch64.so.1"}},
		{"static", "\tstatically linked\n", nil},
	} {
		if got := libraryPaths(tc.text); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
