package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/ocloud"
)

// TestPodSecurity submits what runs, as a dry run, to namespaces that enforce the levels
// of Pod Security: the manager and the agent ask for nothing, the probe for the host.
func TestPodSecurity(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	hub, spoke := cloud.Env.Hub.Client(), cloud.Spoke(edge).Client()
	var manager, agent appsv1.Deployment
	var probe appsv1.DaemonSet
	for _, get := range []struct {
		c         client.Client
		namespace string
		name      string
		o         client.Object
	}{
		{hub, ocloud.Namespace, "o2ims-manager", &manager},
		{spoke, ocloud.AgentNamespace, "o2ims-agent", &agent},
		{spoke, ocloud.AgentNamespace, "o2ims-probe", &probe},
	} {
		if err := get.c.Get(ctx, client.ObjectKey{Namespace: get.namespace, Name: get.name}, get.o); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name     string
		template corev1.PodTemplateSpec
		allowed  map[string]bool
	}{
		{"manager", manager.Spec.Template, map[string]bool{"restricted": true, "baseline": true, "privileged": true}},
		{"agent", agent.Spec.Template, map[string]bool{"restricted": true, "baseline": true, "privileged": true}},
		{"probe", probe.Spec.Template, map[string]bool{"restricted": false, "baseline": false, "privileged": true}},
	} {
		for level, want := range tc.allowed {
			t.Run(tc.name+" under "+level, func(t *testing.T) {
				err := submit(ctx, t, spoke, level, tc.template)
				switch {
				case want && err != nil:
					t.Error(err)
				case !want && !(apierrors.IsForbidden(err) && strings.Contains(err.Error(), "violates PodSecurity")):
					t.Errorf("error = %v, want that it violates PodSecurity", err)
				}
			})
		}
	}
}

// submit creates a pod, as a dry run, in a namespace that enforces a level.
func submit(ctx context.Context, t *testing.T, c client.Client, level string, template corev1.PodTemplateSpec) error {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "security-" + level, Labels: map[string]string{"pod-security.kubernetes.io/enforce": level},
	}}
	if err := c.Create(ctx, namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	account := client.ObjectKey{Namespace: namespace.Name, Name: "default"}
	eventually(ctx, t, fmt.Sprint("service account ", account), func(ctx context.Context) error {
		return c.Get(ctx, account, &corev1.ServiceAccount{})
	})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, GenerateName: "pod-"}, Spec: template.Spec}
	pod.Spec.ServiceAccountName, pod.Spec.DeprecatedServiceAccount = "", ""
	return c.Create(ctx, pod, client.DryRunAll)
}
