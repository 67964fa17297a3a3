// Package agent puts the spoke together: hardware in, the report out.
//
// The agent runs once in every managed cluster. It merges what its sources say about
// each node (pkg/hardware), and writes the result into the status of the cluster's
// ManagedClusterAddOn on the hub (pkg/report). It holds no state that cannot be made
// again, except which identity each node was given; that is kept in a ConfigMap.
package agent

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/alert/intake"
	"github.com/o2ims/o2ims/pkg/report"
)

// Options are the settings of the agent, one flag each.
type Options struct {
	Kubeconfig    string // of the managed cluster; empty: the pod's service account
	HubKubeconfig string // file that OCM's registration agent writes and renews
	ClusterName   string // name of the ManagedCluster, and of its namespace on the hub
	Namespace     string // where the agent runs
	BindAddress   string // address of the health and metrics endpoint
	HealthPort    int

	ExpectProbe       bool          // node probes are deployed, so wait for them before naming a machine
	IdentityGrace     time.Duration // how long to wait for a clue to a new machine's identity
	ReportDebounce    time.Duration // how long a change waits for others
	MinInterval       time.Duration // least time between two writes of the inventory
	AlertsMinInterval time.Duration // least time between two writes of the alerts
	MaxReportParts    int
	LeaderElection    bool
	LeaseDuration     time.Duration // how long a second agent waits after the first fell silent
	ShutdownTimeout   time.Duration

	Intakes intake.Options // of alerts
}

// AddFlags registers the options with their defaults.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig of the managed cluster; empty takes the pod's service account")
	flags.StringVar(&o.HubKubeconfig, "hub-kubeconfig", "/var/run/o2ims/hub/kubeconfig", "kubeconfig of the hub")
	flags.StringVar(&o.ClusterName, "cluster-name", "", "name of the managed cluster on the hub")
	flags.StringVar(&o.Namespace, "namespace", "", "namespace the agent runs in")
	flags.StringVar(&o.BindAddress, "bind-address", "", "address of the health and metrics endpoint; empty means all")
	flags.IntVar(&o.HealthPort, "health-port", 8081, "port of the health and metrics endpoint")
	flags.BoolVar(&o.ExpectProbe, "expect-probe", true, "wait for the node probe before a new machine is named")
	flags.DurationVar(&o.IdentityGrace, "identity-grace", time.Minute, "how long to wait for a clue to a new machine's identity")
	flags.DurationVar(&o.ReportDebounce, "report-debounce", 10*time.Second, "how long a change waits for others before it is reported")
	flags.DurationVar(&o.MinInterval, "report-min-interval", time.Minute, "least time between two inventory reports")
	flags.DurationVar(&o.AlertsMinInterval, "alerts-min-interval", 5*time.Second, "least time between two alerts reports")
	flags.IntVar(&o.MaxReportParts, "max-report-parts", report.DefaultInventoryParts, "conditions of 32 KiB that an inventory report may use")
	flags.BoolVar(&o.LeaderElection, "leader-elect", true, "hold a Lease, so that two agents never report at the same time")
	flags.DurationVar(&o.LeaseDuration, "leader-lease-duration", 15*time.Second, "how long a second agent waits after the first fell silent")
	o.Intakes.AddFlags(flags)
	flags.DurationVar(&o.ShutdownTimeout, "shutdown-timeout", 5*time.Second, "how long a write in progress may take after the signal to stop")
}

// Validate reports every bad option, not only the first.
func (o *Options) Validate() error {
	var faults []error
	for _, required := range []struct{ flag, value string }{
		{"hub-kubeconfig", o.HubKubeconfig}, {"cluster-name", o.ClusterName}, {"namespace", o.Namespace},
	} {
		if required.value == "" {
			faults = append(faults, fmt.Errorf("--%s is required", required.flag))
		}
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"identity-grace", o.IdentityGrace}, {"report-debounce", o.ReportDebounce}, {"report-min-interval", o.MinInterval},
		{"alerts-min-interval", o.AlertsMinInterval},
	} {
		if d.value < 0 {
			faults = append(faults, fmt.Errorf("--%s is %s: a time cannot be negative", d.flag, d.value))
		}
	}
	if o.MaxReportParts < 1 || o.MaxReportParts > report.MaxParts {
		faults = append(faults, fmt.Errorf("--max-report-parts is %d, want 1 to %d", o.MaxReportParts, report.MaxParts))
	}
	if o.BindAddress != "" && net.ParseIP(o.BindAddress) == nil {
		faults = append(faults, fmt.Errorf("--bind-address is %q, want an IP address", o.BindAddress))
	}
	if o.LeaseDuration < time.Second {
		faults = append(faults, fmt.Errorf("--leader-lease-duration is %s, want at least 1s", o.LeaseDuration))
	}
	if err := o.Intakes.Validate(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}
