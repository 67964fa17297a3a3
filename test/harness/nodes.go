package harness

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A kubelet renews its node's Lease every 10 seconds and is given 40.
const (
	nodeLeaseInterval = 10 * time.Second
	nodeLeaseSeconds  = 40
)

// heartbeats renews the Leases of a cluster's nodes, one goroutine per node.
type heartbeats struct {
	mu     sync.Mutex
	cancel map[string]context.CancelFunc // by node name
	wg     sync.WaitGroup
}

// AddNode creates a Node with its status, or brings an existing one to it, and keeps its
// Lease in kube-node-lease renewed until RemoveNode. A Node without a Ready condition
// becomes Ready.
func (c *Cluster) AddNode(ctx context.Context, node *corev1.Node) error {
	node = node.DeepCopy()
	setReady(node)
	if err := c.writeNode(ctx, node); err != nil {
		return fmt.Errorf("node %s of %s: %w", node.Name, c.Name, err)
	}
	if err := c.renewLease(ctx, node.Name); err != nil {
		return fmt.Errorf("lease of node %s of %s: %w", node.Name, c.Name, err)
	}
	c.heartbeats.start(node.Name, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, nodeLeaseInterval)
		defer cancel()
		_ = c.renewLease(ctx, node.Name) // an apiserver that is down gets it next time
	})
	return nil
}

// RemoveNode deletes a Node and its Lease. One that is not there is no error.
func (c *Cluster) RemoveNode(ctx context.Context, name string) error {
	c.heartbeats.stop(name)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: name}}
	for _, object := range []client.Object{lease, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}} {
		if err := client.IgnoreNotFound(c.client.Delete(ctx, object)); err != nil {
			return fmt.Errorf("node %s of %s: %w", name, c.Name, err)
		}
	}
	return nil
}

// stopNodes ends all heartbeats; the Nodes stay.
func (c *Cluster) stopNodes() { c.heartbeats.stopAll() }

// setReady adds what a kubelet and the node lifecycle controller, which does not run
// here, would have said of a healthy node.
func setReady(node *corev1.Node) {
	has := func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeReady }
	if slices.ContainsFunc(node.Status.Conditions, has) {
		return
	}
	now := metav1.Now()
	node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status",
		LastHeartbeatTime: now, LastTransitionTime: now,
	})
}

func (c *Cluster) writeNode(ctx context.Context, want *corev1.Node) error {
	node := want.DeepCopy()
	err := c.client.Create(ctx, node)
	switch {
	case apierrors.IsAlreadyExists(err):
		if err := c.client.Get(ctx, client.ObjectKeyFromObject(want), node); err != nil {
			return err
		}
		node.Labels, node.Annotations = want.Labels, want.Annotations
		node.Spec.ProviderID, node.Spec.Taints = want.Spec.ProviderID, want.Spec.Taints
	case err != nil:
		return err
	default:
		// An admission plugin taints every new node as not ready, and the node lifecycle
		// controller takes that away. Nobody else does here.
		node.Spec.Taints = want.Spec.Taints
	}
	if err := c.client.Update(ctx, node); err != nil {
		return err
	}
	node.Status = *want.Status.DeepCopy()
	return c.client.Status().Update(ctx, node)
}

func (c *Cluster) renewLease(ctx context.Context, name string) error {
	var node corev1.Node
	if err := c.client.Get(ctx, client.ObjectKey{Name: name}, &node); err != nil {
		return err
	}
	now := metav1.NowMicro()
	seconds := int32(nodeLeaseSeconds)
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: corev1.NamespaceNodeLease, Name: name,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: name, UID: node.UID}},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now},
	}
	err := c.client.Create(ctx, lease)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	spec := lease.Spec
	if err := c.client.Get(ctx, client.ObjectKeyFromObject(lease), lease); err != nil {
		return err
	}
	lease.Spec = spec
	return c.client.Update(ctx, lease)
}

// start calls beat every nodeLeaseInterval until stop.
func (h *heartbeats) start(name string, beat func(context.Context)) {
	h.stop(name)
	ctx, cancel := context.WithCancel(context.Background())
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cancel == nil {
		h.cancel = map[string]context.CancelFunc{}
	}
	h.cancel[name] = cancel
	h.wg.Go(func() {
		ticker := time.NewTicker(nodeLeaseInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				beat(ctx)
			}
		}
	})
}

func (h *heartbeats) stop(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if cancel := h.cancel[name]; cancel != nil {
		cancel()
		delete(h.cancel, name)
	}
}

func (h *heartbeats) stopAll() {
	h.mu.Lock()
	for _, cancel := range h.cancel {
		cancel()
	}
	h.cancel = nil
	h.mu.Unlock()
	h.wg.Wait()
}
