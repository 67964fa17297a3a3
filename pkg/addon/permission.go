package addon

import (
	"context"
	"slices"
	"sync"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
	addonutils "open-cluster-management.io/addon-framework/pkg/utils"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
)

const (
	// agentRole names the Role and the RoleBinding of an agent in its cluster's namespace.
	agentRole = "o2ims-agent"

	// permissionsHeld is how long applied permissions are taken to be still there. Somebody
	// may delete them by hand; within this time they are back.
	permissionsHeld = 10 * time.Minute
)

// agentRules are all that an agent may do on the hub, and only in its cluster's namespace:
// read its own ManagedClusterAddOn and patch that one's status, which is the report.
// get alone would do for a report; with list and watch (by the field selector
// metadata.name=o2ims) the agent sees at once what the hub acknowledges or asks for.
func agentRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{
		APIGroups:     []string{addonv1beta1.GroupName},
		Resources:     []string{"managedclusteraddons"},
		ResourceNames: []string{Name},
		Verbs:         []string{"get", "list", "watch"},
	}, {
		APIGroups:     []string{addonv1beta1.GroupName},
		Resources:     []string{"managedclusteraddons/status"},
		ResourceNames: []string{Name},
		Verbs:         []string{"patch"},
	}}
}

// permissions gives agents their rights on the hub.
type permissions struct {
	kube  kubernetes.Interface
	clock clock.PassiveClock

	mu      sync.Mutex
	applied map[string]grant // by managed cluster
}

// grant is what was applied last for a managed cluster, and when.
type grant struct {
	addon    types.UID
	subjects []rbacv1.Subject
	at       time.Time
}

// apply is the PermissionConfig of addon-framework, which calls it at every event of a
// ManagedClusterAddOn, hence after every report. It costs two requests, so what was applied
// is remembered for permissionsHeld.
//
// The subjects come from the status, where OCM put them: a user and groups with
// certificates, a service account with tokens. Groups are left out but for the one that is
// this cluster's alone: another has the agents of all clusters in it, and bound to that,
// each could write the reports of all. An agent can write that status, so the most that a
// stolen agent can do here is to lend these small rights to another user.
func (p *permissions) apply(ctx context.Context, cluster *clusterv1.ManagedCluster, addon *addonv1beta1.ManagedClusterAddOn) error {
	now := p.clock.Now()
	addon = registeredAlone(cluster.Name, addon)
	subjects := addonutils.BuildSubjectsFromRegistration(addon, kubeClientSigner) // whom BindKubeClientRole will bind
	want := grant{addon: addon.UID, subjects: subjects, at: now}
	p.mu.Lock()
	had, ok := p.applied[cluster.Name]
	p.mu.Unlock()
	if ok && had.addon == want.addon && equality.Semantic.DeepEqual(had.subjects, want.subjects) && now.Sub(had.at) < permissionsHeld {
		return nil
	}

	// made anew each time: the builder writes namespace and owner into it
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: agentRole, Labels: map[string]string{addonv1beta1.AddonLabelKey: Name}},
		Rules:      agentRules(),
	}
	bind := addonutils.NewRBACPermissionConfigBuilder(p.kube).BindKubeClientRole(role).Build()
	if err := bind(ctx, cluster, addon); err != nil {
		return err // its kind matters to the caller, and it names the object already
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applied[cluster.Name] = want
	return nil
}

// registeredAlone returns the add-on with no group registered that reaches beyond its
// managed cluster. It shares everything else with the one that it is given.
func registeredAlone(cluster string, addon *addonv1beta1.ManagedClusterAddOn) *addonv1beta1.ManagedClusterAddOn {
	own := *addon
	own.Status.Registrations = slices.Clone(addon.Status.Registrations)
	for i, r := range own.Status.Registrations {
		if r.KubeClient == nil {
			continue
		}
		registered := *r.KubeClient
		registered.Subject.Groups = slices.DeleteFunc(slices.Clone(registered.Subject.Groups), func(group string) bool {
			return group != "system:open-cluster-management:cluster:"+cluster+":addon:"+Name
		})
		own.Status.Registrations[i].KubeClient = &registered
	}
	return &own
}
