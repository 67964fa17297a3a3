package alarm

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/filter"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/store"
)

// version is one version of the API: how it shows each kind of record. All versions read
// the same records.
type version struct {
	rest.Version

	cloudName string // how it spells globalCloudId in notifications

	records       *rest.Kind[*row]
	configuration *rest.Kind[Configuration]
	subscriptions *rest.Kind[store.Subscription]
	tasks         *rest.Kind[Task]
	causes        *rest.Kind[ProbableCause]

	// event is what filters of subscriptions look at, and notice what subscribers are sent
	// but for what is theirs alone.
	event  func(*row) any
	notice func(*row, notice) any
}

func (v *version) base() string { return BasePath + "/" + v.Name }

// versions are all that there are, by name.
func versions(p *rest.Pager) rest.Versions[*version] {
	return rest.Versions[*version]{"v1": newV1(p), "v2": newV2(p)}
}

// newVersion returns what all versions have in common.
func newVersion(name, number string, p *rest.Pager) *version {
	return &version{
		Version: rest.Version{Name: name, Number: number},
		records: &rest.Kind[*row]{
			IDName: "alarmEventRecordId", ID: func(r *row) string { return r.ID.String() }, Pager: p,
			Attributes: recordAttributes,
		},
		configuration: &rest.Kind[Configuration]{
			IDName: "alarmServiceConfiguration", ID: func(Configuration) string { return "" },
			Schema:     filter.NewSchema(Configuration.view),
			Attributes: configurationAttributes,
			Encoded:    func(c Configuration) rest.Encoded { return encoded(configurationAttributes, c.view()) },
		},
		subscriptions: &rest.Kind[store.Subscription]{
			IDName: "alarmSubscriptionId", ID: func(s store.Subscription) string { return s.ID.String() }, Pager: p,
			Schema:     filter.NewSchema(subscriptionViewOf),
			Attributes: subscriptionAttributes,
			Encoded:    func(s store.Subscription) rest.Encoded { return encoded(subscriptionAttributes, subscriptionViewOf(s)) },
		},
		tasks: &rest.Kind[Task]{
			IDName: "id", ID: func(t Task) string { return t.ID.String() }, Pager: p,
			Schema:     filter.NewSchema(Task.view),
			Attributes: taskAttributes,
			Encoded:    func(t Task) rest.Encoded { return encoded(taskAttributes, t.view()) },
		},
		causes: &rest.Kind[ProbableCause]{
			IDName: "probableCauseId", ID: func(c ProbableCause) string { return c.ID.String() }, Pager: p,
			Schema:     filter.NewSchema(ProbableCause.view),
			Attributes: causeAttributes,
			Encoded:    func(c ProbableCause) rest.Encoded { return encoded(causeAttributes, c.view()) },
		},
	}
}

var (
	recordAttributes        = rest.Attributes{Emptied: []string{"extensions"}}
	configurationAttributes = rest.Attributes{Emptied: []string{"extensions"}}
	subscriptionAttributes  = rest.Attributes{Optional: []string{"consumerSubscriptionId", "filter", "eventFilter", "extensions"}}
	causeAttributes         = rest.Attributes{Emptied: []string{"extensions"}}
	taskAttributes          = rest.Attributes{Optional: []string{"operationParams", "error"}, OnDemand: []string{"operationParams"}}
)

// encoded encodes a view. No view has a value that cannot be encoded, so an error is a
// fault in this package.
func encoded(a rest.Attributes, view any) rest.Encoded {
	e, err := a.Encode(view)
	if err != nil {
		panic(fmt.Sprintf("alarm record %T: %v", view, err))
	}
	return e
}

// row is a record on its way to one client. It is encoded when that is wanted, once, and
// used by one goroutine.
type row struct {
	*Record
	json rest.Encoded
}

// encode returns the JSON of a view of the record. Its digest, which becomes the ETag, tells
// versions of the record apart even when they look the same.
func (r *row) encode(view any) rest.Encoded {
	if r.json.Whole == nil {
		r.json = encoded(recordAttributes, view)
		r.json.Digest = rest.DigestOf(r.json.Whole, fmt.Appendf(nil, "#%d", r.Version))
	}
	return r.json
}

func (r *Record) acknowledged() bool { return !r.Acknowledged.IsZero() }

// recordShortcuts are the ways to attributes that are the same in all versions.
func recordShortcuts() []filter.Shortcut[*row] {
	return []filter.Shortcut[*row]{
		filter.At("alarmEventRecordId", func(r *row) uuid.UUID { return r.ID }),
		filter.At("alarmRaisedTime", func(r *row) time.Time { return r.Raised }),
		filter.At("alarmChangedTime", func(r *row) *time.Time { return known(r.Changed) }),
		filter.At("alarmAcknowledgeTime", func(r *row) *time.Time { return known(r.Acknowledged) }),
		filter.At("alarmAcknowledged", func(r *row) bool { return r.acknowledged() }),
		filter.At("alarmClearedTime", func(r *row) *time.Time { return known(r.Cleared) }),
		filter.At("perceivedSeverity", func(r *row) int { return int(r.Perceived()) }),
		filter.At("extensions/labels", func(r *row) map[string]string { return r.Labels }),
		filter.At("extensions/annotations", func(r *row) map[string]string { return r.Annotations }),
		filter.At("extensions/cluster", func(r *row) string { return r.Cluster }),
		filter.At("extensions/fingerprint", func(r *row) string { return r.Fingerprint }),
		filter.At("extensions/rule", func(r *row) string { return r.Labels["alertname"] }),
		filter.At("extensions/source", func(r *row) string { return r.Via }),
		filter.At("extensions/activeSeverity", func(r *row) int { return int(r.Severity) }),
		filter.At("extensions/clearingType", func(r *row) string { return r.clearingType() }),
	}
}
