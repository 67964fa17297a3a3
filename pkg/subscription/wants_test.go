package subscription

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/store"
)

// alarmService has one kind of object, with two attributes.
func alarmService() *Service {
	return &Service{
		Name: "monitoring", Versions: []string{"v2"}, EventTypes: []int{0, 1, 2, 3},
		EventNames: map[string]int{"NEW": 0, "CHANGE": 1, "CLEAR": 2, "ACKNOWLEDGE": 3},
		Kinds: func(string) Kinds {
			return Kinds{"alarm": func(path []string) error {
				if path[0] == "perceivedSeverity" || path[0] == "objectId" {
					return nil
				}
				return fault.Invalid
			}}
		},
	}
}

func TestWants(t *testing.T) {
	s := alarmService()
	for _, tc := range []struct {
		name   string
		filter string // empty: none
		events []string
		mode   FilterMode
		want   [4]bool // by event type, with perceivedSeverity 1
		bad    bool
	}{
		{name: "everything", want: [4]bool{true, true, true, true}},
		{name: "bare word is left out", filter: "CHANGE", want: [4]bool{true, false, true, true}},
		{name: "bare word, by the other reading", filter: " CHANGE ", mode: Include, want: [4]bool{1: true}},
		{name: "eventFilter", events: []string{"NEW", "ACKNOWLEDGE"}, want: [4]bool{0: true, 3: true}},
		{name: "eventFilter is never turned round", events: []string{"NEW"}, mode: Include, want: [4]bool{0: true}},
		{name: "both", filter: "NEW", events: []string{"NEW", "CLEAR"}, want: [4]bool{2: true}},
		{name: "attribute", filter: "(gte,perceivedSeverity,1)"},
		{name: "another value", filter: "(gte,perceivedSeverity,2)", want: [4]bool{true, true, true, true}},
		{name: "event type", filter: "(in,notificationEventType,1,3)", want: [4]bool{0: true, 2: true}},
		{name: "attribute and event type", filter: "(eq,perceivedSeverity,1);(eq,notificationEventType,3)", want: [4]bool{true, true, true, false}},
		{name: "alternatives", filter: "(eq,notificationEventType,0)|(eq,notificationEventType,3)", want: [4]bool{false, true, true, false}},
		{name: "unknown attribute", filter: "(eq,colour,red)", bad: true},
		{name: "unknown word", filter: "OLD", bad: true},
		{name: "unknown event", events: []string{"OLD"}, bad: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sub := &store.Subscription{Version: "v2", EventFilter: tc.events}
			if tc.filter != "" {
				sub.Filter = &tc.filter
			}
			if tc.mode == "" {
				tc.mode = Exclude
			}
			w, err := s.wants(sub, tc.mode)
			if errors.Is(err, fault.Invalid) != tc.bad || errors.Is(s.CheckFilters(sub), fault.Invalid) != tc.bad {
				t.Fatalf("error %v, want invalid: %t", err, tc.bad)
			}
			if tc.bad {
				return
			}
			for kind, want := range tc.want {
				o := &Occurrence{Kind: "alarm", Type: kind, State: json.RawMessage(`{"perceivedSeverity":1}`)}
				if got := w.event(o); got != want {
					t.Errorf("event type %d: %t, want %t", kind, got, want)
				}
			}
		})
	}
}
