package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fieldOwner names what we applied in managedFields.
const fieldOwner = client.FieldOwner("o2ims-harness")

// discoveryLag bounds how long the apiserver may take to offer a kind whose definition
// it has just established.
const discoveryLag = 20 * time.Second

// ParseObjects reads Kubernetes objects from YAML documents; empty documents are skipped.
func ParseObjects(text []byte) ([]unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	var objects []unstructured.Unstructured
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object.Object)
		switch {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, fmt.Errorf("YAML document %d: %w", len(objects)+1, err)
		case len(object.Object) == 0:
			continue
		}
		objects = append(objects, object)
	}
}

// Apply creates or updates objects by server-side apply, whatever their order: namespaces
// first, then definitions (until they are established), accounts and roles, the rest,
// and webhooks last. A namespaced object without a namespace goes to "default".
func (c *Cluster) Apply(ctx context.Context, objects ...unstructured.Unstructured) error {
	for _, stage := range stages(objects) {
		var applies []func(context.Context) error
		for _, object := range stage {
			applies = append(applies, func(ctx context.Context) error { return c.apply(ctx, object) })
		}
		if err := together(ctx, applies...); err != nil {
			return err
		}
		for _, object := range stage {
			if err := c.waitEstablished(ctx, object); err != nil {
				return err
			}
		}
	}
	return nil
}

// DeleteObjects deletes objects in the reverse of the order in which Apply makes them.
// Those that are gone already, or whose kind is, do not matter. It does not wait for
// finalizers.
func (c *Cluster) DeleteObjects(ctx context.Context, objects ...unstructured.Unstructured) error {
	order := stages(objects)
	slices.Reverse(order)
	for _, stage := range order {
		for _, object := range stage {
			err := c.defaultNamespace(&object)
			if err == nil {
				err = c.client.Delete(ctx, &object, client.PropagationPolicy(metav1.DeletePropagationBackground))
			}
			if err != nil && !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
				return fmt.Errorf("delete %s on %s: %w", describe(object), c.Name, err)
			}
		}
	}
	return nil
}

// stages sorts copies of objects into groups, each of which needs the one before.
func stages(objects []unstructured.Unstructured) [][]unstructured.Unstructured {
	result := make([][]unstructured.Unstructured, 5)
	for _, object := range objects {
		i := stageOf(object.GetKind())
		result[i] = append(result[i], *object.DeepCopy())
	}
	return result
}

func stageOf(kind string) int {
	switch kind {
	case "Namespace":
		return 0
	case "CustomResourceDefinition":
		return 1
	case "ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding":
		return 2
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
		return 4
	default:
		return 3
	}
}

func (c *Cluster) apply(ctx context.Context, object unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, discoveryLag)
	defer cancel()
	err := poll(ctx, 100*time.Millisecond, func() error {
		err := c.defaultNamespace(&object)
		if err == nil {
			err = c.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(&object), fieldOwner, client.ForceOwnership)
		}
		if err != nil && !meta.IsNoMatchError(err) {
			return final(err)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("apply %s on %s: %w", describe(object), c.Name, err)
	}
	return nil
}

func (c *Cluster) defaultNamespace(object *unstructured.Unstructured) error {
	return c.fillNamespace(object, metav1.NamespaceDefault)
}

// fillNamespace gives a namespaced object that names no namespace the given one.
func (c *Cluster) fillNamespace(object *unstructured.Unstructured, namespace string) error {
	if object.GetNamespace() != "" {
		return nil
	}
	namespaced, err := c.client.IsObjectNamespaced(object)
	if err == nil && namespaced {
		object.SetNamespace(namespace)
	}
	return err
}

// waitEstablished returns when the apiserver serves the custom resources that object
// defines; for any other kind at once.
func (c *Cluster) waitEstablished(ctx context.Context, object unstructured.Unstructured) error {
	if object.GetKind() != "CustomResourceDefinition" {
		return nil
	}
	return poll(ctx, 50*time.Millisecond, func() error {
		var definition apiextensionsv1.CustomResourceDefinition
		if err := c.client.Get(ctx, client.ObjectKey{Name: object.GetName()}, &definition); err != nil {
			return err
		}
		for _, condition := range definition.Status.Conditions {
			if condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("%s is not established on %s", object.GetName(), c.Name)
	})
}

func describe(object unstructured.Unstructured) string {
	return fmt.Sprintf("%s %s", object.GetKind(), client.ObjectKeyFromObject(&object))
}

// Existing is a cluster that somebody else runs, for applying charts and objects to it.
// It has no more than RESTConfig, Client and what stands in this file and chart.go.
func Existing(name string, config *rest.Config) (*Cluster, error) {
	c, err := newClient(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &Cluster{Name: name, config: config, client: c}, nil
}
