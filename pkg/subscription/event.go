package subscription

import (
	"bytes"
	"strconv"
	"sync"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/store"
)

// event is an entry of the stream as the workers share it. What all consumers of one
// version are sent alike is rendered once.
type event struct {
	store.Event
	id uuid.UUID // notificationId

	once        sync.Once
	prior, post Document
	err         error

	mu       sync.Mutex
	rendered map[string]*rendered // by version
}

// rendered is an event as one version shows it.
type rendered struct {
	occurrence Occurrence
	tail       []byte // of the notification: all but the identifiers; nil when there is nothing to tell
}

func newEvent(e store.Event, storeID string) *event {
	return &event{Event: e, id: e.NotificationID(storeID), rendered: make(map[string]*rendered, 1)}
}

// cost is roughly what the event occupies in memory: its documents, and once more in the
// versions that are rendered.
func (e *event) cost() int { return 2*(len(e.Prior)+len(e.Post)) + 512 }

// in returns the event as a version shows it. An object may exist in one version and not
// in another, so the type of the event is found for each: nothing is told when the version
// shows no difference.
func (e *event) in(version, baseURL string) (*rendered, error) {
	e.once.Do(func() {
		if e.prior, e.err = decode(e.Prior); e.err == nil {
			e.post, e.err = decode(e.Post)
		}
	})
	if e.err != nil {
		return nil, e.err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r, known := e.rendered[version]
	if !known {
		r = e.render(version, baseURL)
		e.rendered[version] = r
	}
	return r, nil
}

func (e *event) render(version, baseURL string) *rendered {
	prior, had := e.prior[version]
	post, has := e.post[version]
	r := &rendered{}
	r.occurrence.Kind = e.Kind
	ref := post.Ref
	switch {
	case had && has && bytes.Equal(prior.State, post.State):
		return r
	case had && has:
		r.occurrence.Type, r.occurrence.State = int(store.Modified), post.State
	case has:
		r.occurrence.Type, r.occurrence.State = int(store.Created), post.State
	case had:
		r.occurrence.Type, r.occurrence.State = int(store.Deleted), prior.State
		ref = prior.Ref
	default:
		return r
	}
	r.tail = notificationTail(r.occurrence.Type, baseURL+ref, prior.State, post.State, "")
	return r
}

// notificationTail is what comes after the identifiers of a notification. extra is a
// further attribute with its value and a comma before it, or empty.
func notificationTail(kind int, ref string, prior, post []byte, extra string) []byte {
	b := make([]byte, 0, len(prior)+len(post)+len(ref)+len(extra)+128)
	b = append(b, `"notificationEventType":`...)
	b = strconv.AppendInt(b, int64(kind), 10)
	b = appendText(append(b, `,"objectRef":`...), ref)
	if prior != nil {
		b = append(append(b, `,"priorObjectState":`...), prior...)
	}
	if post != nil {
		b = append(append(b, `,"postObjectState":`...), post...)
	}
	return append(append(b, extra...), '}')
}

// notification is the body of one callback.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, notification of inventory changes.
func notification(id uuid.UUID, consumerID *string, tail []byte) []byte {
	b := make([]byte, 0, len(tail)+128)
	b = append(b, `{"notificationId":"`...)
	b = append(append(b, id.String()...), `",`...)
	if consumerID != nil {
		b = append(appendText(append(b, `"consumerSubscriptionId":`...), *consumerID), ',')
	}
	return append(b, tail...)
}
