package alarm

// Alarms that nobody reports: the hub raises them itself.
const (
	alertClusterSilent      = "O2IMSClusterSilent"
	alertClusterUnavailable = "O2IMSClusterUnavailable"
	alertFleetSilent        = "O2IMSFleetSilent"
	alertWatchdog           = "O2IMSWatchdogMissing"
	alertAddOnDegraded      = "O2IMSAddOnDegraded"
)

// ownAlarms are their names, in a fixed order.
var ownAlarms = []string{alertFleetSilent, alertClusterSilent, alertClusterUnavailable, alertWatchdog, alertAddOnDegraded}

// ownSeverity is the severity label of one of our own alarms.
func ownSeverity(name string) string {
	for _, r := range ownRules() {
		if r.name == name {
			return r.severity
		}
	}
	return ""
}

// ownRules are the definitions of our own alarms.
func ownRules() []*rule {
	return []*rule{
		{name: alertClusterSilent, severity: "critical", inUse: true,
			description: "Nothing has been heard of the managed cluster: its klusterlet or the add-on's agent does not renew its Lease.",
			repair:      "Check that the managed cluster runs and reaches the hub; then the Deployment o2ims-agent on it."},
		{name: alertClusterUnavailable, severity: "critical", inUse: true,
			description: "The managed cluster's klusterlet says that the apiserver of the cluster does not answer.",
			repair:      "Check the control plane of the managed cluster. Until it answers, no alert of the cluster is taken."},
		{name: alertFleetSilent, severity: "critical", inUse: true,
			description: "A large part of the managed clusters fell silent at once. The cause is likely to be the hub or its network.",
			repair:      "Check the hub's apiserver and the network between it and the managed clusters."},
		{name: alertWatchdog, severity: "major", inUse: true,
			description: "The alert Watchdog, which always fires, has ended: the managed cluster's alerting does not work.",
			repair:      "Check Prometheus and Alertmanager on the managed cluster."},
		{name: alertAddOnDegraded, severity: "minor", inUse: true,
			description: "The add-on says that it is degraded.",
			repair:      "See the conditions of the ManagedClusterAddOn o2ims."},
	}
}
