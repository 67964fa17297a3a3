package agent

import (
	"context"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	ctrl "sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/o2ims/o2ims/pkg/hardware/source"
)

// sweeper deletes the ConfigMap of a node probe whose node is gone. Nobody else does:
// the probe went with the node, and cannot own it since it may not read Nodes.
type sweeper struct {
	client    client.Client
	reader    client.Reader // uncached: a deletion must not rest on an outdated cache
	namespace string
}

func addSweeper(mgr ctrl.Manager, namespace string) error {
	s := &sweeper{client: mgr.GetClient(), reader: mgr.GetAPIReader(), namespace: namespace}
	return builder.ControllerManagedBy(mgr).Named("probe-sweeper").
		For(&corev1.ConfigMap{}, builder.WithPredicates(source.Probes{Namespace: namespace}.Watches()[0].Filter)).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(s.probeOf), builder.WithPredicates(deletions)).
		Complete(s)
}

// deletions lets only deletions through: a node that comes or changes sweeps nothing.
var deletions = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	UpdateFunc:  func(event.UpdateEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
}

// probeOf finds the ConfigMaps of a node.
func (s *sweeper) probeOf(ctx context.Context, node client.Object) []reconcile.Request {
	var list corev1.ConfigMapList
	if err := s.client.List(ctx, &list, client.InNamespace(s.namespace), client.MatchingLabels{source.SourceLabel: "probe"}); err != nil {
		slog.ErrorContext(ctx, "node probe ConfigMaps not listed", "error", err)
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if list.Items[i].Annotations[source.NodeAnnotation] == node.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}

// Reconcile deletes the ConfigMap when its node does not exist.
func (s *sweeper) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var cm corev1.ConfigMap
	if err := s.client.Get(ctx, req.NamespacedName, &cm); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	var node corev1.Node
	err := s.reader.Get(ctx, client.ObjectKey{Name: cm.Annotations[source.NodeAnnotation]}, &node)
	if !apierrors.IsNotFound(err) {
		return reconcile.Result{}, err
	}
	slog.InfoContext(ctx, "node probe swept away with its node", "node", cm.Annotations[source.NodeAnnotation])
	return reconcile.Result{}, client.IgnoreNotFound(s.client.Delete(ctx, &cm))
}
