package addon

import (
	"context"
	"errors"
	"reflect"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"open-cluster-management.io/addon-framework/pkg/agent"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
)

// register puts into the status what OCM puts there with certificates.
func register(a *addonv1beta1.ManagedClusterAddOn, user string, groups ...string) {
	a.Status.Registrations = []addonv1beta1.RegistrationConfig{{
		Type: addonv1beta1.KubeClient,
		KubeClient: &addonv1beta1.KubeClientConfig{Subject: addonv1beta1.KubeClientSubject{
			BaseSubject: addonv1beta1.BaseSubject{User: user, Groups: groups},
		}},
	}}
}

func TestPermissions(t *testing.T) {
	ctx, h := context.Background(), newHub(t)
	apply := h.GetAgentAddonOptions().Registration.PermissionConfig
	cluster, addon := managedCluster("edge-1"), managedClusterAddOn(t, "edge-1", nil)

	var notReady *agent.SubjectNotReadyError
	if err := apply(ctx, cluster, addon); !errors.As(err, &notReady) {
		t.Fatalf("error %v before OCM has named the agent, want SubjectNotReadyError", err)
	}
	user := agent.DefaultUser("edge-1", Name, AgentName)
	groups := agent.DefaultGroups("edge-1", Name) // its own, and one of the agents of all clusters
	register(addon, user, append(groups, "system:authenticated", "system:masters")...)
	if err := apply(ctx, cluster, addon); err != nil {
		t.Fatal(err)
	}

	role, err := h.kube.RbacV1().Roles("edge-1").Get(ctx, agentRole, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []rbacv1.PolicyRule{
		{APIGroups: []string{"addon.open-cluster-management.io"}, Resources: []string{"managedclusteraddons"}, ResourceNames: []string{"o2ims"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{"addon.open-cluster-management.io"}, Resources: []string{"managedclusteraddons/status"}, ResourceNames: []string{"o2ims"}, Verbs: []string{"patch"}},
	}
	if !reflect.DeepEqual(role.Rules, want) {
		t.Errorf("rules %v, want %v", role.Rules, want)
	}
	if len(role.OwnerReferences) != 1 || role.OwnerReferences[0].UID != addon.UID {
		t.Errorf("owners %v, want the add-on, so that its end is the role's end", role.OwnerReferences)
	}
	binding, err := h.kube.RbacV1().RoleBindings("edge-1").Get(ctx, agentRole, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantSubjects := []rbacv1.Subject{
		{Kind: "User", APIGroup: rbacv1.GroupName, Name: user},
		{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "system:open-cluster-management:cluster:edge-1:addon:o2ims"},
	}
	if !reflect.DeepEqual(binding.Subjects, wantSubjects) || binding.RoleRef.Name != agentRole {
		t.Errorf("binding of %v to %v, want %v", binding.RoleRef, binding.Subjects, wantSubjects)
	}
}

func TestPermissionsAreRemembered(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct {
		name   string
		change func(h *hub, addon *addonv1beta1.ManagedClusterAddOn)
		again  bool
	}{
		{name: "a report", change: func(_ *hub, a *addonv1beta1.ManagedClusterAddOn) { a.ResourceVersion = "2" }},
		{name: "just before the time is over", change: func(h *hub, _ *addonv1beta1.ManagedClusterAddOn) { h.clock.Step(permissionsHeld - 1) }},
		{name: "the time is over", change: func(h *hub, _ *addonv1beta1.ManagedClusterAddOn) { h.clock.Step(permissionsHeld) }, again: true},
		{name: "another add-on of the name", change: func(_ *hub, a *addonv1beta1.ManagedClusterAddOn) { a.UID = "1c6d" }, again: true},
		{name: "another agent", change: func(_ *hub, a *addonv1beta1.ManagedClusterAddOn) {
			register(a, "system:serviceaccount:edge-1:o2ims-agent")
		}, again: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHub(t)
			apply := h.GetAgentAddonOptions().Registration.PermissionConfig
			cluster, addon := managedCluster("edge-1"), managedClusterAddOn(t, "edge-1", nil)
			register(addon, "agent")
			if err := apply(ctx, cluster, addon); err != nil {
				t.Fatal(err)
			}
			h.kube.ClearActions()
			tc.change(h, addon)
			if err := apply(ctx, cluster, addon); err != nil {
				t.Fatal(err)
			}
			if got := len(h.kube.Actions()) > 0; got != tc.again {
				t.Errorf("asked the hub: %t, want %t (%v)", got, tc.again, h.kube.Actions())
			}
		})
	}
}
