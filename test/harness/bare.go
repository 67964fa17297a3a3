package harness

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// StartBare starts what is left of a hub when everything that acts is taken away: etcd, and
// an apiserver that knows the kinds of Open Cluster Management. Nobody converts between
// their versions, fills in what is missing, or answers. It is for tests that break our own
// processes and what is between them, where OCM would only take part of the machine.
//
// Env.Hub is the apiserver. There are no managed clusters, and none can be added: whoever
// needs one writes its objects, and takes namespaces of the hub for the cluster's own.
func StartBare(ctx context.Context, opts Options) (*Env, error) {
	return start(ctx, opts, (*Env).startBare)
}

func (e *Env) startBare(ctx context.Context) error {
	e.Hub = newCluster(e, hubName)
	if err := e.Hub.prepare(); err != nil {
		return err
	}
	if err := e.Hub.StartAPIServer(ctx); err != nil {
		return err
	}
	e.progress("kube-apiserver ready")
	objects, err := e.ocmManifests(ctx, "hub", "--webhook-url=https://"+loopback(1), "--webhook-ca="+e.Hub.pki.file("ca.crt"))
	if err != nil {
		return err
	}
	var definitions []unstructured.Unstructured
	for _, object := range objects {
		if object.GetKind() != "CustomResourceDefinition" {
			continue
		}
		if err := storeNewest(&object); err != nil {
			return err
		}
		definitions = append(definitions, object)
	}
	return e.Hub.Apply(ctx, definitions...)
}

// storeNewest makes a definition keep objects in its last version, the one that we speak,
// and leaves them as they are when they are read in another.
func storeNewest(definition *unstructured.Unstructured) error {
	unstructured.RemoveNestedField(definition.Object, "spec", "conversion")
	versions, found, err := unstructured.NestedSlice(definition.Object, "spec", "versions")
	if err != nil || !found {
		return fmt.Errorf("%s has no versions: %w", describe(*definition), err)
	}
	for i, v := range versions {
		version, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: version %d is no object", describe(*definition), i)
		}
		version["storage"] = i == len(versions)-1
	}
	return unstructured.SetNestedSlice(definition.Object, versions, "spec", "versions")
}
