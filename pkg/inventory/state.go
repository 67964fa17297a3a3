package inventory

import (
	"time"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// States of a resource, in the words of ITU-T X.731 as the O-RAN implementations use them.
const (
	adminUnlocked = "UNLOCKED"
	adminLocked   = "LOCKED"

	operationalEnabled  = "ENABLED"
	operationalDisabled = "DISABLED"

	usageActive = "ACTIVE"
	usageBusy   = "BUSY"

	stateUnknown = "UNKNOWN"
)

// trouble is why what we show of a cluster may be old. Empty when nothing is wrong.
type trouble struct {
	State string     `json:"state,omitempty"`
	Since *time.Time `json:"since,omitempty"`
	Error string     `json:"error,omitempty"`
}

// Reasons for which a report may be old.
const (
	clusterUnreachable = "ClusterUnreachable"
	addOnDisabled      = "AddOnDisabled"
	agentUnavailable   = "AgentUnavailable"
	reportRejected     = "ReportRejected"
)

// troubleOf names the outermost thing that is wrong: without the cluster there is no
// agent, and without an agent no report.
func troubleOf(f ClusterFacts, r Reporting) (trouble, bool) {
	var t trouble
	switch {
	case f.Available != "True":
		t.State = clusterUnreachable
	case r.AddOn == Disabled:
		t.State = addOnDisabled
	case r.AddOnAvailable == "False" || r.AddOnAvailable == "Unknown":
		t.State = agentUnavailable
	case r.ReportErr != "":
		t.State = reportRejected
	default:
		return trouble{}, false
	}
	t.Error = r.ReportErr
	if !r.Since.IsZero() {
		since := r.Since.UTC()
		t.Since = &since
	}
	return t, true
}

// live tells whether the last report still speaks for the present. A report that we
// could not use does not make the one before it wrong.
func live(f ClusterFacts, r Reporting) bool {
	t, troubled := troubleOf(f, r)
	return !troubled || t.State == reportRejected
}

// operationalState tells whether a node works, as far as anybody knows now.
func operationalState(n *hardware.NodeState, live bool) string {
	if n == nil || !live {
		return stateUnknown
	}
	switch n.Ready {
	case "True":
		return operationalEnabled
	case "False":
		return operationalDisabled
	default:
		return stateUnknown
	}
}

// administrativeState is LOCKED for a node that takes no new work.
func administrativeState(n *hardware.NodeState) string {
	switch {
	case n == nil:
		return stateUnknown
	case n.Unschedulable:
		return adminLocked
	default:
		return adminUnlocked
	}
}

// usageState follows from the operational state: a node of a cluster is in use, and one
// that does not work cannot be used by anybody else.
func usageState(operational string) string {
	switch operational {
	case operationalEnabled:
		return usageActive
	case operationalDisabled:
		return usageBusy
	default:
		return stateUnknown
	}
}
