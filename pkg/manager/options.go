// Package manager puts the hub together: the add-on that deploys agents, the controllers
// that read their reports, and the server of the APIs.
//
// Every replica reads reports and serves; only the leader deploys the add-on and writes.
// So any replica can answer any request, and the loss of one is not seen.
package manager

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/addon"
	"github.com/o2ims/o2ims/pkg/alarm"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/controller"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/server"
	"github.com/o2ims/o2ims/pkg/smo"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
)

// Options are the settings of the hub manager, one flag each.
type Options struct {
	Server    server.Options
	Auth      auth.Options
	AddOn     addon.Options
	Ingest    controller.Options
	Inventory inventory.APIOptions
	Paging    rest.PagingOptions
	Store     store.Options
	Delivery  subscription.Options
	Outbound  smo.Options

	Alarms       alarm.APIOptions
	AlarmMapping alarm.MappingOptions
	AlarmIngest  alarm.IngestOptions
	AlarmWatch   alarm.WatchOptions
	AlarmWebhook alarm.WebhookOptions

	Kubeconfig string // of the hub; empty: the pod's service account
	Namespace  string // where the manager runs

	// QPS and Burst limit the requests to the hub of everything but the add-on
	// controllers. A client that walks single resources costs a SubjectAccessReview each.
	QPS   float32
	Burst int

	OCloudID      string // UUID; empty: that of the hub's namespace kube-system
	GlobalCloudID string // UUID that the SMO gave; empty until it has
	Name          string
	Description   string

	LeaderElection bool
	LeaseDuration  time.Duration
}

// AddFlags registers the options with their defaults.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	o.Server.AddFlags(flags)
	o.Auth.AddFlags(flags)
	o.AddOn.AddFlags(flags)
	o.Ingest.AddFlags(flags)
	o.Inventory.AddFlags(flags)
	o.Paging.AddFlags(flags)
	o.Store.AddFlags(flags)
	o.Delivery.AddFlags(flags)
	o.Outbound.AddFlags(flags)
	o.Alarms.AddFlags(flags)
	o.AlarmMapping.AddFlags(flags)
	o.AlarmIngest.AddFlags(flags)
	o.AlarmWatch.AddFlags(flags)
	o.AlarmWebhook.AddFlags(flags)
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig of the hub; empty takes the pod's service account")
	flags.StringVar(&o.Namespace, "namespace", "o2ims", "namespace the manager runs in")
	flags.Float32Var(&o.QPS, "kube-qps", 200, "requests per second to the hub")
	flags.IntVar(&o.Burst, "kube-burst", 400, "requests that may be sent to the hub at once")
	flags.StringVar(&o.OCloudID, "o-cloud-id", "", "oCloudId, a UUID; empty takes that of the hub's namespace kube-system")
	flags.StringVar(&o.GlobalCloudID, "global-cloud-id", "", "globalCloudId, the UUID that the SMO gave to this O-Cloud")
	flags.StringVar(&o.Name, "o-cloud-name", "O-Cloud", "name of the O-Cloud")
	flags.StringVar(&o.Description, "o-cloud-description", "An O-Cloud of clusters managed by Open Cluster Management", "description of the O-Cloud")
	flags.BoolVar(&o.LeaderElection, "leader-elect", true, "hold a Lease, so that only one replica deploys and writes")
	flags.DurationVar(&o.LeaseDuration, "leader-lease-duration", 15*time.Second, "how long the other replicas wait after the leader fell silent")
}

// externalURL is https://host[:port] by which clients reach the manager.
func (o *Options) externalURL() string {
	return cmp.Or(o.Server.ExternalURL, "https://"+o.Server.ServiceName+"."+o.Namespace+".svc")
}

// Validate reports every bad option, not only the first.
func (o *Options) Validate() error {
	faults := []error{o.Server.Validate(), o.Auth.Validate(), o.AddOn.Validate(), o.Ingest.Validate(),
		o.Inventory.Validate(), o.Paging.Validate(), o.Store.Validate(), o.Delivery.Validate(), o.Outbound.Validate(),
		o.Alarms.Validate(), o.AlarmMapping.Validate(), o.AlarmIngest.Validate(), o.AlarmWatch.Validate()}
	if o.Namespace == "" {
		faults = append(faults, errors.New("--namespace is required"))
	}
	if o.QPS <= 0 || o.Burst < 1 {
		faults = append(faults, fmt.Errorf("--kube-qps is %v and --kube-burst is %d, want more than 0", o.QPS, o.Burst))
	}
	if o.LeaseDuration < time.Second {
		faults = append(faults, fmt.Errorf("--leader-lease-duration is %s, want at least 1s", o.LeaseDuration))
	}
	return errors.Join(faults...)
}
