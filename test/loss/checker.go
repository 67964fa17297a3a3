package loss

import (
	"encoding/json"
	"fmt"
	"path"

	"github.com/o2ims/o2ims/pkg/smo/simulator"
)

// received is a notification as a subscriber journalled it.
type received struct {
	id            string
	object        string
	kind          int
	prior, number int // of the states; 0 for none
}

// receivedOf reads what a subscriber took, in order, duplicates included.
func receivedOf(entries []simulator.Entry) ([]received, error) {
	var list []received
	for _, e := range entries {
		if !e.Taken {
			continue
		}
		var body struct {
			NotificationID        string
			NotificationEventType int
			ObjectRef             string
			PriorObjectState      *shown
			PostObjectState       *shown
		}
		if err := json.Unmarshal(e.Body, &body); err != nil {
			return nil, fmt.Errorf("notification %s: %w", e.NotificationID, err)
		}
		r := received{id: body.NotificationID, object: path.Base(body.ObjectRef), kind: body.NotificationEventType}
		if body.PriorObjectState != nil {
			r.prior = body.PriorObjectState.Number
		}
		if body.PostObjectState != nil {
			r.number = body.PostObjectState.Number
		}
		list = append(list, r)
	}
	return list, nil
}

// verdict is what the checker found out about one subscriber.
type verdict struct {
	Subscriber string
	Wanted     int // changes of its own
	Got        int // of them, once each
	Duplicates int // taken again
	Late       int // of those, after others had come in between
	Faults     []string
}

// judge compares what a subscriber took with what the generator did. mine tells which
// changes are the subscriber's own.
func judge(name string, taken []received, changes []Change, mine func(Change) bool) verdict {
	v := verdict{Subscriber: name}
	fault := func(format string, args ...any) {
		if len(v.Faults) < 10 {
			v.Faults = append(v.Faults, fmt.Sprintf(format, args...))
		}
	}
	wanted := make(map[string][]Change) // by object, in order
	for _, c := range changes {
		if mine(c) {
			wanted[c.Object] = append(wanted[c.Object], c)
			v.Wanted++
		}
	}
	seen := make(map[string]bool) // by notificationId
	for i, r := range taken {
		if seen[r.id] {
			v.Duplicates++
			if taken[i-1].id != r.id {
				v.Late++
			}
			continue
		}
		seen[r.id] = true
		next := wanted[r.object]
		if len(next) == 0 {
			fault("%s: a notification of type %d from %d to %d that nothing calls for", r.object, r.kind, r.prior, r.number)
			continue
		}
		c := next[0]
		number := c.Number
		if c.Type == 2 {
			number = 0
		}
		if r.kind != c.Type || r.prior != c.Prior || r.number != number {
			fault("%s: got type %d from %d to %d, want type %d from %d to %d", r.object, r.kind, r.prior, r.number, c.Type, c.Prior, number)
		}
		wanted[r.object] = next[1:]
		v.Got++
	}
	for object, rest := range wanted {
		if len(rest) > 0 {
			fault("%s: %d changes are missing, the first is %d of type %d", object, len(rest), rest[0].Number, rest[0].Type)
		}
	}
	return v
}

// sameOrder tells whether two subscribers took what both took in the same order, the first
// time that each notification came.
func sameOrder(a, b []received) error {
	inB := make(map[string]int, len(b))
	for i, r := range b {
		if _, again := inB[r.id]; !again {
			inB[r.id] = i
		}
	}
	last := -1
	seen := make(map[string]bool)
	for _, r := range a {
		i, both := inB[r.id]
		if !both || seen[r.id] {
			continue
		}
		seen[r.id] = true
		if i < last {
			return fmt.Errorf("notification %s of %s comes before another here and after it there", r.id, r.object)
		}
		last = i
	}
	return nil
}
