package agent

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/o2ims/o2ims/pkg/alert"
	"github.com/o2ims/o2ims/pkg/alert/intake"
	"github.com/o2ims/o2ims/pkg/alert/intake/wire"
	"github.com/o2ims/o2ims/pkg/alert/rules"
)

// rulesInterval is how often alerting rules are looked at. They change with releases, and
// the hub makes no hurry of them.
const rulesInterval = 5 * time.Minute

// addIntakes starts what hears of alerts and hands it to path.recorder, and what collects
// the alerting rules, which it returns. It calls path.changed when the rules have changed.
// Both work only while this agent leads.
func addIntakes(mgr ctrl.Manager, path *alertPath, o Options) (alert.Rules, error) {
	spoke, err := kubernetes.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("managed cluster: %w", err)
	}
	objects, err := dynamic.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("managed cluster: %w", err)
	}
	settings := o.Intakes
	settings.BindAddress, settings.Namespace = o.BindAddress, o.Namespace
	intakes, err := intake.New(settings, intake.Parts{
		Recorder: path.recorder, Client: spoke, Dropped: path.recorder.Dropped,
		LastAlive: func(context.Context) (time.Time, error) { return path.lastAlive, nil },
	})
	if err != nil {
		return nil, err
	}
	if err := mgr.Add(ctrl.RunnableFunc(intakes.Run)); err != nil {
		return nil, err
	}
	var prometheus *wire.Endpoint
	if settings.PrometheusURL != "" {
		if prometheus, err = wire.NewEndpoint(settings.PrometheusURL, settings.TokenFile, settings.CAFile); err != nil {
			return nil, fmt.Errorf("--prometheus-url: %w", err)
		}
	}
	collector := rules.NewCollector(prometheus, objects)
	return collector, mgr.Add(ctrl.RunnableFunc(func(ctx context.Context) error {
		collector.Run(ctx, rulesInterval, path.changed)
		return nil
	}))
}
