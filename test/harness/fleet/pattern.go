package fleet

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/report"
)

// pattern is a managed cluster with its add-on of which nobody has anything to say any
// more, with the ManifestWorks that deploy it.
type pattern struct {
	cluster clusterv1.ManagedCluster
	addon   addonv1alpha1.ManagedClusterAddOn
	works   []workv1.ManifestWork
}

// settlePatience is how long the hub's controllers get for one add-on.
const settlePatience = 2 * time.Minute

// settle writes the first cluster and waits until its add-on has its rights, its
// configuration and its manifests; the last of these needs a work agent, which we play.
func (w *Writer) settle(ctx context.Context, f Fleet) (*pattern, error) {
	if err := w.writeCluster(ctx, f, 0, nil); err != nil {
		return nil, err
	}
	p := &pattern{}
	missing := ""
	err := wait.PollUntilContextTimeout(ctx, time.Second, settlePatience, true, func(ctx context.Context) (bool, error) {
		before := p.addon.ResourceVersion
		if err := w.hub.Get(ctx, client.ObjectKey{Namespace: f.Name(0), Name: report.AddOnName}, &p.addon); err != nil {
			return false, err
		}
		if err := w.deploy(ctx, p, f.Name(0)); err != nil {
			return false, err
		}
		for _, kind := range []string{
			addonv1beta1.ManagedClusterAddOnRegistrationApplied, addonv1beta1.ManagedClusterAddOnConditionConfigured,
			addonv1beta1.ManagedClusterAddOnManifestApplied, report.KindInventory.IngestedType(),
		} {
			if !meta.IsStatusConditionTrue(p.addon.Status.Conditions, kind) {
				missing = kind
				return false, nil
			}
		}
		missing = "rest"
		return p.addon.ResourceVersion == before, nil
	})
	if err == nil {
		err = w.hub.Get(ctx, client.ObjectKey{Name: f.Name(0)}, &p.cluster)
	}
	if wait.Interrupted(err) {
		return nil, fmt.Errorf("its add-on does not come to %s; do OCM's controllers and the manager run?: %w", missing, err)
	}
	return p, err
}

// deploy says of the ManifestWorks that are there what the work agent says when it has
// applied everything.
func (w *Writer) deploy(ctx context.Context, p *pattern, cluster string) error {
	var list workv1.ManifestWorkList
	if err := w.hub.List(ctx, &list, client.InNamespace(cluster), client.MatchingLabels{addonv1beta1.AddonLabelKey: report.AddOnName}); err != nil {
		return err
	}
	p.works = list.Items
	for i := range p.works {
		work := &p.works[i]
		if meta.IsStatusConditionTrue(work.Status.Conditions, workv1.WorkApplied) {
			continue
		}
		status, err := appliedStatus(work, metav1.NewTime(w.now().Truncate(time.Second)))
		if err != nil {
			return err
		}
		work.Status = status
		if err := w.hub.Status().Update(ctx, work, client.FieldOwner(fieldManagerKlusterlet)); err != nil && !apierrors.IsConflict(err) {
			return err
		}
	}
	return nil
}

func appliedStatus(work *workv1.ManifestWork, now metav1.Time) (workv1.ManifestWorkStatus, error) {
	said := func(kind, reason, message string) metav1.Condition {
		return metav1.Condition{
			Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message,
			ObservedGeneration: work.Generation, LastTransitionTime: now,
		}
	}
	status := workv1.ManifestWorkStatus{Conditions: []metav1.Condition{
		said(workv1.WorkApplied, "AppliedManifestWorkComplete", "Apply manifest work complete"),
		said(workv1.WorkAvailable, "ResourcesAvailable", "All resources are available"),
	}}
	for i, m := range work.Spec.Workload.Manifests {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(m.Raw); err != nil {
			return status, fmt.Errorf("manifest %d of ManifestWork %s: %w", i, work.Name, err)
		}
		kind := object.GroupVersionKind()
		resource, _ := meta.UnsafeGuessKindToResource(kind)
		status.ResourceStatus.Manifests = append(status.ResourceStatus.Manifests, workv1.ManifestCondition{
			ResourceMeta: workv1.ManifestResourceMeta{
				Ordinal: int32(i), Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Resource: resource.Resource,
				Name: object.GetName(), Namespace: object.GetNamespace(),
			},
			Conditions: []metav1.Condition{
				said(workv1.WorkApplied, "AppliedManifestComplete", "Apply manifest complete"),
				said(workv1.WorkAvailable, "ResourceAvailable", "Resource is available"),
			},
		})
	}
	return status, nil
}

// copyTo writes the add-on and its ManifestWorks for another cluster, and reports. The
// manager's answer to the report is there before the report itself, so that it need not
// answer; while it is not, the manager puts that right.
func (w *Writer) copyTo(ctx context.Context, p *pattern, inv report.Inventory) error {
	addon := newAddOn(inv.Cluster)
	addon.OwnerReferences = p.addon.OwnerReferences
	err := w.hub.Create(ctx, addon)
	switch {
	case apierrors.IsAlreadyExists(err):
		if err := w.hub.Get(ctx, client.ObjectKeyFromObject(addon), addon); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	for i := range p.works {
		if err := w.copyWork(ctx, &p.works[i], addon); err != nil {
			return err
		}
	}
	encoded, err := w.encoder.Encode(inv)
	if err != nil {
		return err
	}
	update := w.encoder.Compose(addon.Status.Conditions, w.stamp(), encoded)
	if !update.Changed {
		return nil // an earlier run came so far
	}
	head, err := report.ParseHead(update.Entries[0].Message)
	if err != nil {
		return err
	}
	answer := report.Answer(head, nil)
	if err := w.updateStatus(ctx, addon, func() { addon.Status = p.statusFor(addon, answer.Condition(nil, w.now())) }); err != nil {
		return err
	}
	return w.report(ctx, inv.Cluster, update)
}

func (w *Writer) copyWork(ctx context.Context, from *workv1.ManifestWork, addon *addonv1alpha1.ManagedClusterAddOn) error {
	rename := func(raw []byte) []byte { return bytes.ReplaceAll(raw, []byte(from.Namespace), []byte(addon.Namespace)) }
	work := &workv1.ManifestWork{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: addon.Namespace, Name: from.Name, Labels: maps.Clone(from.Labels), Annotations: maps.Clone(from.Annotations),
			OwnerReferences: slices.Clone(from.OwnerReferences),
		},
		Spec: *from.Spec.DeepCopy(),
	}
	for i := range work.OwnerReferences {
		work.OwnerReferences[i].UID = addon.UID
	}
	for i := range work.Spec.Workload.Manifests {
		m := &work.Spec.Workload.Manifests[i]
		m.Raw = rename(m.Raw)
	}
	if err := w.hub.Create(ctx, work); err != nil {
		return client.IgnoreAlreadyExists(err)
	}
	return w.updateStatus(ctx, work, func() { work.Status = *from.Status.DeepCopy() })
}

// statusFor is the status of the pattern for another add-on, with the manager's answer to
// a report. What stands there of reports stays.
func (p *pattern) statusFor(addon *addonv1alpha1.ManagedClusterAddOn, answer metav1.Condition) addonv1alpha1.ManagedClusterAddOnStatus {
	ours := func(c metav1.Condition) bool { return strings.HasPrefix(c.Type, report.Prefix) }
	status := p.addon.DeepCopy().Status
	status.Conditions = append(slices.DeleteFunc(status.Conditions, ours), answer)
	for _, c := range addon.Status.Conditions {
		if ours(c) && c.Type != answer.Type {
			status.Conditions = append(status.Conditions, c)
		}
	}
	rename := func(text string) string {
		return strings.ReplaceAll(text, ":"+p.addon.Namespace+":", ":"+addon.Namespace+":")
	}
	for i := range status.Registrations {
		subject := &status.Registrations[i].Subject //nolint:staticcheck // how the stored version has it
		subject.User = rename(subject.User)
		for j := range subject.Groups {
			subject.Groups[j] = rename(subject.Groups[j])
		}
	}
	return status
}

// updateStatus writes what set makes of the newest state of an object.
func (w *Writer) updateStatus(ctx context.Context, object client.Object, set func()) error {
	for attempt := 1; ; attempt++ {
		set()
		err := w.hub.Status().Update(ctx, object, client.FieldOwner(fieldManagerKlusterlet))
		if err == nil || attempt == attempts || !apierrors.IsConflict(err) {
			return err
		}
		if err := w.hub.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
	}
}
