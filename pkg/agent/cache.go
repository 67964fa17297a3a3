package agent

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/o2ims/o2ims/pkg/hardware/source"
)

// stripNode drops what a Node carries and the report does not: the list of images alone
// is most of its size.
func stripNode(object any) (any, error) {
	if n, ok := object.(*corev1.Node); ok {
		n.ManagedFields, n.Annotations = nil, nil
		n.Status.Images, n.Status.VolumesInUse, n.Status.VolumesAttached = nil, nil, nil
	}
	return object, nil
}

func probesOnly() labels.Selector {
	return labels.SelectorFromSet(labels.Set{source.SourceLabel: "probe"})
}
