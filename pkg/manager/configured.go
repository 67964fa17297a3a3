package manager

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/o2ims/o2ims/pkg/alarm"
	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/controller"
	"github.com/o2ims/o2ims/pkg/settings"
	"github.com/o2ims/o2ims/pkg/smo"
	"github.com/o2ims/o2ims/pkg/store"
)

// configured is what follows the Inventory while the manager runs.
type configured struct {
	callers *auth.Callers
	out     *smo.Client
	store   *store.Store
	records *alarm.RedisRecords
	served  atomic.Pointer[settings.Served]
	news    chan struct{} // holds one token while issuers may be new
}

var _ controller.Configured = (*configured)(nil)

// newConfigured returns what serves everything, to nobody until the Inventory has been read.
func newConfigured(f *foundation, records *alarm.RedisRecords) *configured {
	c := &configured{callers: f.access.callers, out: f.out, store: f.store, records: records, news: make(chan struct{}, 1)}
	c.served.Store(&settings.Served{})
	return c
}

// ConfigureCallers implements controller.Configured.
func (c *configured) ConfigureCallers(config auth.Config) error {
	config.Transport = c.out.Transport
	err := c.callers.Configure(config)
	select {
	case c.news <- struct{}{}:
	default:
	}
	return err
}

// issuersInterval is how often issuers are asked whose keys are missing or old.
const issuersInterval = 30 * time.Second

// askIssuers knows the keys of issuers before the first token comes, so that the Inventory
// says in time which of them cannot be reached.
func (c *configured) askIssuers(ctx context.Context) error {
	tick := time.NewTicker(issuersInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-c.news:
		}
		asking, cancel := context.WithTimeout(ctx, issuersInterval)
		_ = c.callers.Refresh(asking) // IssuerFaults has what went wrong
		cancel()
	}
}

// ConfigureOutbound implements controller.Configured.
func (c *configured) ConfigureOutbound(s smo.Settings) error { return c.out.Configure(s) }

// ConfigureServices implements controller.Configured.
func (c *configured) ConfigureServices(spec apiv1alpha1.InventorySpec) {
	served := settings.ServedBy(spec)
	c.served.Store(&served)
	days := defaultRetention
	if spec.Retention != nil && spec.Retention.AlarmDays > 0 {
		days = int(spec.Retention.AlarmDays)
	}
	c.records.SetDefaults(alarm.Configuration{RetentionDays: days})
}

// IssuerFaults implements controller.Configured.
func (c *configured) IssuerFaults() map[string]string {
	faults := make(map[string]string)
	for _, s := range c.callers.Issuers() {
		if s.Err != nil {
			faults[s.URL] = s.Err.Error()
		}
	}
	return faults
}

// Names of services, as in their paths.
const (
	inventoryName  = "infrastructureInventory"
	monitoringName = "infrastructureMonitoring"
)

// storePatience is how long an answer of Redis may take before it counts as away.
const storePatience = 2 * time.Second

// Services implements controller.Configured.
func (c *configured) Services(ctx context.Context) []controller.ServiceState {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	away := c.store.Ping(ctx)
	return []controller.ServiceState{
		c.service(apiv1alpha1.ConditionInventoryAvailable, inventoryName, away, "resources are served, subscriptions are not"),
		c.service(apiv1alpha1.ConditionMonitoringAvailable, monitoringName, away, "alarms are neither taken nor shown, agents keep them"),
	}
}

// service is the state of one service, of which Redis may be away.
func (c *configured) service(condition, name string, away error, meaning string) controller.ServiceState {
	switch {
	case !c.served.Load().Service(name):
		return controller.ServiceState{Condition: condition, Reason: apiv1alpha1.ReasonSwitchedOff, Message: "spec.services does not name it"}
	case away != nil:
		return controller.ServiceState{Condition: condition, Reason: apiv1alpha1.ReasonStoreUnavailable, Message: "Redis does not answer: " + meaning}
	}
	return controller.ServiceState{Condition: condition, Available: true, Reason: apiv1alpha1.ReasonAvailable, Message: "it does all that it offers"}
}

// hidden tells whether a path belongs to a service or version that is switched off.
func (c *configured) hidden(path string) bool { return c.served.Load().Hidden(path) }

// serves tells whether a version of a service is switched on.
func (c *configured) serves(service string) func(version string) bool {
	return func(version string) bool { return c.served.Load().Version(service, version) }
}
