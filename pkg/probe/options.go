package probe

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Options are the settings of the node probe, one flag each.
type Options struct {
	NodeName      string        // name of the Kubernetes Node; with Once: the host name by default
	Namespace     string        // namespace of the agent, where the observations go
	HostRoot      string        // folder below which the host's sys, proc and etc are mounted
	PCIIDs        string        // database of PCI names; empty: the usual places
	Interval      time.Duration // time between two looks
	Kubeconfig    string        // empty: the pod's service account
	HealthAddress string        // host:port of /healthz and /readyz; empty: none
	Once          bool          // print the observations and stop; needs no cluster

	// Out is where Once prints; nil is standard output.
	Out io.Writer
}

// minInterval keeps a slip of the pen from turning the probe into a load.
const minInterval = time.Second

// AddFlags registers the options with their defaults.
func (o *Options) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.NodeName, "node-name", "", "name of the Node that this machine is (with --once: the host name by default)")
	fs.StringVar(&o.Namespace, "namespace", "", "namespace of the agent, where the observations are written")
	fs.StringVar(&o.HostRoot, "host-root", "/host", "folder below which the host's sys, proc and etc are found")
	fs.StringVar(&o.PCIIDs, "pci-ids", "", "database of PCI names (default: pci.ids where distributions keep it)")
	fs.DurationVar(&o.Interval, "interval", time.Minute, "time between two looks at the machine")
	fs.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig of the cluster (default: the pod's service account)")
	fs.StringVar(&o.HealthAddress, "health-address", "", "host:port to serve /healthz and /readyz on (default: none; the probe is on the host's network)")
	fs.BoolVar(&o.Once, "once", false, "print the observations as JSON and stop; needs no cluster")
}

// Validate reports every bad option; the error wraps fault.Invalid.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(format+": %w", append(args, fault.Invalid)...))
	}
	if info, err := os.Stat(o.HostRoot); err != nil || !info.IsDir() {
		bad("--host-root %q is not a folder", o.HostRoot)
	}
	if o.PCIIDs != "" {
		if _, err := os.Stat(o.PCIIDs); err != nil {
			bad("--pci-ids %q: %s", o.PCIIDs, reasonOf(err))
		}
	}
	if o.Once {
		return errors.Join(errs...)
	}
	if o.NodeName == "" {
		bad("--node-name is empty")
	}
	if o.Namespace == "" {
		bad("--namespace is empty")
	}
	if o.Interval < minInterval {
		bad("--interval %s is below %s", o.Interval, minInterval)
	}
	if o.HealthAddress != "" {
		if _, _, err := net.SplitHostPort(o.HealthAddress); err != nil {
			bad("--health-address %q is not host:port", o.HealthAddress)
		}
	}
	return errors.Join(errs...)
}
