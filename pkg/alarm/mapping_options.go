package alarm

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
)

// MappingOptions say how alerts become alarms, one flag each.
type MappingOptions struct {
	SeverityLabel string            // label by which alerts say how bad they are
	Severities    map[string]string // further values of it → name of a perceivedSeverity
	NodeLabels    []string          // labels that may name a node, the likeliest first
	DeviceLabels  []string          // labels that may name a part of it
}

// AddFlags registers the settings with their defaults.
func (o *MappingOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.SeverityLabel, "alarm-severity-label", report.SeverityLabel, "label by which alerts say how bad they are")
	f.StringToStringVar(&o.Severities, "alarm-severities", nil, "further values of that label and what they mean, such as fatal=CRITICAL,ticket=MINOR")
	f.StringSliceVar(&o.NodeLabels, "alarm-node-labels", []string{"node", "nodename", "kubernetes_node", "exported_node", "node_name", "instance", "hostname", "host"}, "labels of alerts that may name a node, the likeliest first")
	f.StringSliceVar(&o.DeviceLabels, "alarm-device-labels", []string{"pci_address", "pci", "pci_bus_id", "device", "interface", "nic", "iface", "disk"}, "labels of alerts that may name a part of a node, the likeliest first")
}

// Validate reports everything that is wrong with o.
func (o *MappingOptions) Validate() error {
	var faults []error
	if o.SeverityLabel == "" {
		faults = append(faults, fmt.Errorf("--alarm-severity-label is empty: %w", fault.Invalid))
	}
	if _, err := o.severities(); err != nil {
		faults = append(faults, fmt.Errorf("--alarm-severities: %w", err))
	}
	return errors.Join(faults...)
}

func (o *MappingOptions) severities() (Severities, error) {
	s := DefaultSeverities()
	return s, s.Override(o.Severities)
}
