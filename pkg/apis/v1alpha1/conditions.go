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
