package agent

import (
	"context"
	"fmt"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"open-cluster-management.io/addon-framework/pkg/lease"
	ctrl "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/o2ims/o2ims/pkg/report"
)

// newAddOnLease renews the Lease by which OCM knows that the add-on is alive. Only the
// agent that holds the leader's Lease renews it, so it stands for the reports, too.
func newAddOnLease(spoke *rest.Config, namespace string) (ctrl.Runnable, error) {
	kube, err := kubernetes.NewForConfig(spoke)
	if err != nil {
		return nil, fmt.Errorf("managed cluster: %w", err)
	}
	updater := lease.NewLeaseUpdater(kube, report.AddOnName, namespace)
	return ctrl.RunnableFunc(func(ctx context.Context) error {
		updater.Start(ctx)
		return nil
	}), nil
}
