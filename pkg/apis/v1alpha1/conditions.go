package v1alpha1

// Types of conditions.
const (
	// ConditionReady tells whether the API shows the object as it is described.
	ConditionReady = "Ready"

	// ConditionConflict tells that another object of the same kind lays claim to the same:
	// to a node, or to a globalLocationId.
	ConditionConflict = "Conflict"
)

// Reasons of ConditionReady.
const (
	ReasonReady            = "Ready"
	ReasonLocationNotFound = "LocationNotFound" // the site is shown at the unspecified location
	ReasonSiteNotFound     = "SiteNotFound"     // the nodes stay in the pools of their clusters
	ReasonIDTaken          = "IDTaken"          // an older Location has this globalLocationId
	ReasonInvalidSelector  = "InvalidSelector"  // a label selector that cannot be read
)

// Reasons of ConditionConflict.
const (
	ReasonNoConflict   = "NoConflict"
	ReasonNodesClaimed = "NodesClaimed" // by a pool of the same priority
)

// Types of conditions of the Inventory, beside ConditionReady. They are the leader's view.
const (
	// ConditionConfigurationApplied tells whether the spec, and every Secret and ConfigMap
	// that it names, is in use as it is. While it is False the last good one stays in use.
	ConditionConfigurationApplied = "ConfigurationApplied"

	// ConditionIssuersReachable tells whether the keys of every issuer are known.
	ConditionIssuersReachable = "IssuersReachable"

	// ConditionSMORegistrationCompleted tells whether the SMO took the registration that
	// says what is so now.
	ConditionSMORegistrationCompleted = "SmoRegistrationCompleted"

	// ConditionInventoryAvailable and ConditionMonitoringAvailable tell whether a service
	// can do all that it offers.
	ConditionInventoryAvailable  = "InfrastructureInventoryAvailable"
	ConditionMonitoringAvailable = "InfrastructureMonitoringAvailable"
)

// Reasons of the Inventory's conditions.
const (
	ReasonApplied          = "Applied"
	ReasonInvalidReference = "InvalidReference" // a Secret or ConfigMap that is not there, or does not hold what it should
	ReasonInvalidSpec      = "InvalidSpec"      // what no rule of the CRD could see

	ReasonIssuersReachable   = "IssuersReachable"
	ReasonIssuersUnreachable = "IssuersUnreachable"
	ReasonNoIssuers          = "NoIssuers"

	ReasonSMORegistrationSuccessful = "SmoRegistrationSuccessful"
	ReasonSMORegistrationFailed     = "SmoRegistrationFailed"
	ReasonSMONotConfigured          = "SmoNotConfigured"
	ReasonSMORegistrationPending    = "SmoRegistrationPending"

	ReasonAvailable        = "Available"
	ReasonSwitchedOff      = "SwitchedOff"
	ReasonStoreUnavailable = "StoreUnavailable" // Redis; reads go on, subscriptions and alarms wait
)
