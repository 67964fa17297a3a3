package ocloud

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/harness/kubelet"
)

// Manager is a manager beside those of the environment.
type Manager struct {
	cloud      *OCloud
	deployment unstructured.Unstructured
}

// StartManager runs one more manager: the chart's Deployment under another name and with other
// values, which change is given as they are below manager. It is a replica like the others, of
// the same account, store and Lease, but the Service does not lead to it. StartManager returns
// when it is ready. The caller stops it with Stop.
func (o *OCloud) StartManager(ctx context.Context, name string, change func(manager map[string]any)) (*Manager, error) {
	root, err := harness.RepositoryRoot()
	if err != nil {
		return nil, err
	}
	values := o.values(o.URL)
	manager := values["manager"].(map[string]any)
	manager["replicas"] = 1
	change(manager)
	objects, err := harness.RenderChart(filepath.Join(root, "charts", "o2ims"), "o2ims", Namespace, values)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(objects, func(u unstructured.Unstructured) bool {
		return u.GetKind() == "Deployment" && u.GetName() == "o2ims-manager"
	})
	if i < 0 {
		return nil, fmt.Errorf("the chart has no Deployment o2ims-manager")
	}
	m := &Manager{cloud: o, deployment: objects[i]}
	m.deployment.SetName(name)
	for _, labels := range [][]string{{"spec", "selector", "matchLabels"}, {"spec", "template", "metadata", "labels"}} {
		path := append(labels, "app.kubernetes.io/component")
		if err := unstructured.SetNestedField(m.deployment.Object, name, path...); err != nil {
			return nil, err
		}
	}
	if err := o.Env.Hub.Apply(ctx, m.deployment); err != nil {
		return nil, err
	}
	return m, o.Eventually(ctx, "manager "+name, func(context.Context) error {
		_, err := m.Pod()
		return err
	})
}

// Pod is the manager's pod while it is ready; otherwise the error wraps ErrNotYet.
func (m *Manager) Pod() (kubelet.PodInfo, error) {
	pods := podsOf(m.cloud.hub, "Deployment/"+m.deployment.GetName())
	if len(pods) != 1 || !pods[0].Ready {
		return kubelet.PodInfo{}, fmt.Errorf("pods of %s: %+v: %w", m.deployment.GetName(), pods, ErrNotYet)
	}
	return pods[0], nil
}

// Stop takes the manager away, and does not wait until it has gone.
func (m *Manager) Stop(ctx context.Context) error {
	return m.cloud.Env.Hub.DeleteObjects(ctx, m.deployment)
}
