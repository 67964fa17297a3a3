package subscription

import (
	"bytes"
	"strconv"
	"sync"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/store"
)

// Renderer shows an event as one version of an API does, to whoever subscribed. It is
// called once for each event and version, from several goroutines, and must not change e.
// An error is an event that cannot be shown: it is logged, and counted as dropped.
type Renderer func(e *store.Event, version, baseURL string) (Shown, error)

// Shown is an event as one version shows it.
type Shown struct {
	// Type is the notificationEventType.
	Type int

	// State is JSON of the object that filters look at.
	State []byte

	// Body makes the JSON of a callback; nil: the version has nothing to tell. It may be
	// called from several goroutines, and always makes the same of the same.
	Body func(n Notification) []byte
}

// Notification is what differs between the notifications of one event.
type Notification struct {
	ID         uuid.UUID // the same whenever this event is delivered
	ConsumerID *string   // consumerSubscriptionId; nil when the consumer gave none

	// Sequence counts the notifications that the subscription got, this one included: 1,
	// 2, 3 … without gaps. 0 for a resync notice, which is not counted.
	Sequence uint64
}

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
	body       func(Notification) []byte // nil when there is nothing to tell
}

func newEvent(e store.Event, storeID string) *event {
	return &event{Event: e, id: e.NotificationID(storeID), rendered: make(map[string]*rendered, 1)}
}

// cost is roughly what the event occupies in memory: its documents, and once more in the
// versions that are rendered.
func (e *event) cost() int { return 2*(len(e.Prior)+len(e.Post)) + 512 }

// in returns the event as a version of its service shows it.
func (e *event) in(version, baseURL string, render Renderer) (*rendered, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r, known := e.rendered[version]; known {
		return r, nil
	}
	r, err := e.show(version, baseURL, render)
	if err != nil {
		return nil, err
	}
	e.rendered[version] = r
	return r, nil
}

func (e *event) show(version, baseURL string, render Renderer) (*rendered, error) {
	if render != nil {
		shown, err := render(&e.Event, version, baseURL)
		r := &rendered{body: shown.Body}
		r.occurrence.Kind, r.occurrence.Type, r.occurrence.State = e.Kind, shown.Type, shown.State
		return r, err
	}
	e.once.Do(func() {
		if e.prior, e.err = decode(e.Prior); e.err == nil {
			e.post, e.err = decode(e.Post)
		}
	})
	if e.err != nil {
		return nil, e.err
	}
	return e.render(version, baseURL), nil
}

// render shows a change of a Document. An object may exist in one version and not in
// another, so the type of the event is found for each: nothing is told when the version
// shows no difference.
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
	tail := notificationTail(r.occurrence.Type, baseURL+ref, prior.State, post.State, "")
	r.body = func(n Notification) []byte { return notification(n.ID, n.ConsumerID, tail) }
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
