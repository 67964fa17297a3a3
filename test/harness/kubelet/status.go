package kubelet

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// deploymentStatus is what the Deployment controller would write.
func deploymentStatus(d *appsv1.Deployment, hash string, pods []podView, refusal string, now metav1.Time) appsv1.DeploymentStatus {
	s := *d.Status.DeepCopy()
	s.ObservedGeneration = d.Generation
	s.Replicas, s.UpdatedReplicas, s.ReadyReplicas, s.AvailableReplicas = 0, 0, 0, 0
	for _, p := range pods {
		if p.stopping {
			continue
		}
		s.Replicas++
		s.UpdatedReplicas += one(p.hash == hash)
		s.ReadyReplicas += one(p.ready)
		s.AvailableReplicas += one(p.available)
	}
	r := rolloutOf(d)
	replicas := int32(r.replicas)
	s.UnavailableReplicas = max(0, max(replicas, s.Replicas)-s.AvailableReplicas)

	set := func(kind appsv1.DeploymentConditionType, is bool, reason, message string) {
		s.Conditions = withCondition(s.Conditions, kind, is, reason, message, now)
	}
	least := replicas
	if !r.recreate {
		least -= int32(r.unavailable)
	}
	if s.AvailableReplicas >= least {
		set(appsv1.DeploymentAvailable, true, "MinimumReplicasAvailable", "Deployment has minimum availability.")
	} else {
		set(appsv1.DeploymentAvailable, false, "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
	}
	if s.UpdatedReplicas == replicas && s.Replicas == replicas && s.AvailableReplicas == replicas {
		set(appsv1.DeploymentProgressing, true, "NewReplicaSetAvailable", fmt.Sprintf("ReplicaSet %q has successfully progressed.", d.Name+"-"+hash))
	} else {
		set(appsv1.DeploymentProgressing, true, "ReplicaSetUpdated", fmt.Sprintf("ReplicaSet %q is progressing.", d.Name+"-"+hash))
	}
	if refusal != "" {
		set(appsv1.DeploymentReplicaFailure, true, "FailedCreate", refusal)
	} else {
		s.Conditions = slices.DeleteFunc(s.Conditions, func(c appsv1.DeploymentCondition) bool {
			return c.Type == appsv1.DeploymentReplicaFailure
		})
	}
	return s
}

func one(is bool) int32 {
	if is {
		return 1
	}
	return 0
}

// withCondition sets a condition; times move only with what they are the times of.
func withCondition(list []appsv1.DeploymentCondition, kind appsv1.DeploymentConditionType, is bool, reason, message string, now metav1.Time) []appsv1.DeploymentCondition {
	status := corev1.ConditionFalse
	if is {
		status = corev1.ConditionTrue
	}
	next := appsv1.DeploymentCondition{Type: kind, Status: status, Reason: reason, Message: message, LastUpdateTime: now, LastTransitionTime: now}
	i := slices.IndexFunc(list, func(c appsv1.DeploymentCondition) bool { return c.Type == kind })
	if i < 0 {
		return append(list, next)
	}
	was := list[i]
	if was.Status == status {
		next.LastTransitionTime = was.LastTransitionTime
		if was.Reason == reason && was.Message == message {
			next.LastUpdateTime = was.LastUpdateTime
		}
	}
	list[i] = next
	return list
}

// daemonSetStatus is what the DaemonSet controller would write; nodes are those that
// should run a pod.
func daemonSetStatus(d *appsv1.DaemonSet, hash string, nodes []string, pods []podView) appsv1.DaemonSetStatus {
	s := *d.Status.DeepCopy()
	s.ObservedGeneration = d.Generation
	s.DesiredNumberScheduled = int32(len(nodes))
	s.CurrentNumberScheduled, s.UpdatedNumberScheduled, s.NumberReady, s.NumberAvailable, s.NumberMisscheduled = 0, 0, 0, 0, 0
	for _, p := range pods {
		switch {
		case p.stopping:
		case !slices.Contains(nodes, p.node):
			s.NumberMisscheduled++
		default:
			s.CurrentNumberScheduled++
			s.UpdatedNumberScheduled += one(p.hash == hash)
			s.NumberReady += one(p.ready)
			s.NumberAvailable += one(p.available)
		}
	}
	s.NumberUnavailable = max(0, s.DesiredNumberScheduled-s.NumberAvailable)
	return s
}

// writeDeploymentStatus writes a status that differs. A conflict means that we have not
// seen the newest object yet: its arrival brings us back.
func (k *Kubelet) writeDeploymentStatus(ctx context.Context, d *appsv1.Deployment, status appsv1.DeploymentStatus) {
	if equality.Semantic.DeepEqual(d.Status, status) {
		return
	}
	next := d.DeepCopy()
	next.Status = status
	_, err := k.client.AppsV1().Deployments(d.Namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{})
	k.noteStatus(ctx, ref{"Deployment", d.Namespace, d.Name}, err)
}

func (k *Kubelet) writeDaemonSetStatus(ctx context.Context, d *appsv1.DaemonSet, status appsv1.DaemonSetStatus) {
	if equality.Semantic.DeepEqual(d.Status, status) {
		return
	}
	next := d.DeepCopy()
	next.Status = status
	_, err := k.client.AppsV1().DaemonSets(d.Namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{})
	k.noteStatus(ctx, ref{"DaemonSet", d.Namespace, d.Name}, err)
}

func (k *Kubelet) noteStatus(ctx context.Context, r ref, err error) {
	if err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		k.opts.Log.Warn("status not written", "workload", r.String(), "error", err)
	}
}
