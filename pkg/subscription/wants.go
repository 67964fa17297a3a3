package subscription

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/store"
)

// wants says which events of its service a subscription is told of. The zero value: all.
type wants struct {
	filter *Matcher // nil: none
	mode   FilterMode
	types  []int // event types that are told; nil: all
}

func (w wants) event(o *Occurrence) bool {
	if w.types != nil && !slices.Contains(w.types, o.Type) {
		return false
	}
	return w.filter == nil || w.filter.Match(o) == (w.mode == Include)
}

// CheckFilters tells whether a subscription's filter and eventFilter can be understood.
// The error wraps fault.Invalid and says what is wrong.
func (s *Service) CheckFilters(sub *store.Subscription) error {
	_, err := s.wants(sub, Exclude)
	return err
}

// wants reads a subscription's filter, whose meaning depends on the mode, and its
// eventFilter, which always names what is told.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, AlarmSubscriptionInfo; a filter of one bare word is
// what the openshift-kni implementation knows.
func (s *Service) wants(sub *store.Subscription, mode FilterMode) (wants, error) {
	w := wants{mode: mode}
	for _, word := range sub.EventFilter {
		kind, known := s.EventNames[word]
		if !known {
			return wants{}, fmt.Errorf("eventFilter %q is none of %s: %w", word, s.eventNames(), fault.Invalid)
		}
		w.types = append(w.types, kind)
	}
	if sub.Filter == nil {
		return w, nil
	}
	types := s.EventTypes
	if types == nil {
		types = defaultEventTypes
	}
	text := strings.TrimSpace(*sub.Filter)
	if kind, known := s.EventNames[text]; known {
		text = fmt.Sprintf("(eq,%s,%d)", eventType, kind)
	}
	var err error
	if w.filter, err = compileFilter(text, s.Kinds(sub.Version), types); err != nil {
		return wants{}, err
	}
	return w, nil
}

func (s *Service) eventNames() string {
	return strings.Join(slices.Sorted(maps.Keys(s.EventNames)), ", ")
}
