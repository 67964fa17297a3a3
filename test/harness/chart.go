package harness

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// RenderChart renders the Helm chart in dir as `helm install` would: its crds/ folder,
// then its templates with values laid over the chart's own and checked against its
// schema. Test hooks and NOTES.txt are left out. Helm's library does it, so no helm
// binary is needed.
func RenderChart(dir, release, namespace string, values map[string]any) ([]unstructured.Unstructured, error) {
	objects, err := renderChart(dir, release, namespace, values)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", dir, err)
	}
	return objects, nil
}

func renderChart(dir, release, namespace string, values map[string]any) ([]unstructured.Unstructured, error) {
	loaded, err := loader.LoadDir(dir)
	if err != nil {
		return nil, err
	}
	rendered, err := renderTemplates(loaded, release, namespace, values)
	if err != nil {
		return nil, err
	}
	var objects []unstructured.Unstructured
	for _, crd := range loaded.CRDObjects() {
		more, err := ParseObjects(crd.File.Data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", crd.Filename, err)
		}
		objects = append(objects, more...)
	}
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if base := path.Base(name); base == "NOTES.txt" || strings.HasPrefix(base, "_") {
			continue
		}
		more, err := ParseObjects([]byte(rendered[name]))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		objects = append(objects, slices.DeleteFunc(more, isTestHook)...)
	}
	return objects, nil
}

func renderTemplates(loaded *chart.Chart, release, namespace string, values map[string]any) (map[string]string, error) {
	// Rendering writes into the values it gets; the caller's stay as they are.
	values = copyMaps(values)
	if err := chartutil.ProcessDependencies(loaded, values); err != nil {
		return nil, err
	}
	version, err := chartutil.ParseKubeVersion(kubeVersion)
	if err != nil {
		return nil, err
	}
	capabilities := chartutil.DefaultCapabilities.Copy() // whose own version is 1.20
	capabilities.KubeVersion = *version
	options := chartutil.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(loaded, values, options, capabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(loaded, all)
}

// copyMaps copies nested maps; whatever else they hold is shared.
func copyMaps(values map[string]any) map[string]any {
	result := make(map[string]any, len(values))
	for k, v := range values {
		if nested, ok := v.(map[string]any); ok {
			v = copyMaps(nested)
		}
		result[k] = v
	}
	return result
}

func isTestHook(object unstructured.Unstructured) bool {
	return strings.HasPrefix(object.GetAnnotations()["helm.sh/hook"], "test")
}

// InstallChart renders a chart and applies it to the cluster, with the namespace made
// first and taken for every namespaced object that names none. It returns what it
// applied, for DeleteObjects; the namespace is not among it.
func (c *Cluster) InstallChart(ctx context.Context, dir, release, namespace string, values map[string]any) ([]unstructured.Unstructured, error) {
	objects, err := RenderChart(dir, release, namespace, values)
	if err != nil {
		return nil, err
	}
	if err := c.Apply(ctx, namespaceObject(namespace)); err != nil {
		return nil, err
	}
	// Definitions first: until they are there, nobody can say whether their kinds have namespaces.
	definitions, rest := splitDefinitions(objects)
	if err := c.Apply(ctx, definitions...); err != nil {
		return nil, err
	}
	for i := range rest {
		if err := c.fillNamespace(&rest[i], namespace); err != nil {
			return nil, fmt.Errorf("chart %s: %w", dir, err)
		}
	}
	return append(definitions, rest...), c.Apply(ctx, rest...)
}

func namespaceObject(name string) unstructured.Unstructured {
	return unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
	}}
}

func splitDefinitions(objects []unstructured.Unstructured) (definitions, rest []unstructured.Unstructured) {
	for _, object := range objects {
		if object.GetKind() == "CustomResourceDefinition" {
			definitions = append(definitions, object)
		} else {
			rest = append(rest, object)
		}
	}
	return definitions, rest
}
