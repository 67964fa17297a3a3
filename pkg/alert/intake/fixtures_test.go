package intake

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/o2ims/o2ims/pkg/alert"
	"github.com/o2ims/o2ims/pkg/fault"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

// notebook is a Recorder that notes what it is told. It opens and closes alerts naively:
// what pkg/alert's book makes of it is not our matter here.
type notebook struct {
	mu    sync.Mutex
	told  []alert.Observation
	open  map[string]alert.Open
	fails int           // how many more times Record fails
	gate  chan struct{} // when set, Record waits for it
}

func (n *notebook) Record(ctx context.Context, o alert.Observation) error {
	if n.gate != nil {
		select {
		case <-n.gate:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), fault.Unavailable)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fails > 0 {
		n.fails--
		return fmt.Errorf("journal: %w", fault.Unavailable)
	}
	n.told = append(n.told, o)
	if n.open == nil {
		n.open = make(map[string]alert.Open)
	}
	for _, a := range o.Alerts {
		fp := alert.Fingerprint(a.Labels)
		known, isOpen := n.open[fp]
		switch {
		case !a.Ends.IsZero():
			delete(n.open, fp)
		case isOpen:
			known.Seen, known.Via = o.At, o.Via
			n.open[fp] = known
		default:
			n.open[fp] = alert.Open{Fingerprint: fp, Labels: a.Labels, Starts: a.Starts, Seen: o.At, Via: o.Via}
		}
	}
	return nil
}

func (n *notebook) Open() []alert.Open {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Values(n.open))
}

// alerts is everything that was told, in order.
func (n *notebook) alerts(via ...string) []alert.Alert {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []alert.Alert
	for _, o := range n.told {
		if len(via) == 0 || slices.Contains(via, o.Via) {
			all = append(all, o.Alerts...)
		}
	}
	return all
}

func names(alerts []alert.Alert) string {
	var all []string
	for _, a := range alerts {
		name := a.Labels["alertname"]
		if !a.Ends.IsZero() {
			name += "-"
		}
		all = append(all, name)
	}
	return strings.Join(all, " ")
}

// cluster answers reviews: tokens are user names, and "allowed" users may send.
func cluster(t *testing.T, allowed ...string) *fake.Clientset {
	t.Helper()
	client := fake.NewClientset()
	client.PrependReactor("create", "tokenreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		token := review.Spec.Token
		if token == "apiserver-down" {
			return true, nil, fmt.Errorf("connection refused")
		}
		review.Status.Authenticated = token != "bad"
		review.Status.User.Username = token
		review.Status.Audiences = review.Spec.Audiences
		return true, review, nil
	})
	client.PrependReactor("create", "subjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		r := review.Spec.NonResourceAttributes
		review.Status.Allowed = slices.Contains(allowed, review.Spec.User) && r.Verb == "create" && (r.Path == WebhookPath || r.Path == PushPath)
		return true, review, nil
	})
	return client
}

const sender = "system:serviceaccount:monitoring:alertmanager-main"

// received is a receiver that lets sender in.
func received(t *testing.T, n *notebook) (*receiver, map[string]uint64) {
	t.Helper()
	counts := make(map[string]uint64)
	o := Options{Senders: []string{"monitoring/alertmanager-main"}, Port: 1, PollInterval: time.Second}
	i, err := New(o, Parts{
		Recorder: n, Client: cluster(t), Now: func() time.Time { return noon },
		Dropped: func(reason string, k uint64) { counts[reason] += k },
	})
	if err != nil {
		t.Fatal(err)
	}
	return i.receiver, counts
}

func post(path, body string) *http.Request {
	r, err := http.NewRequest(http.MethodPost, path, strings.NewReader(body))
	if err != nil {
		panic(err) // a path of ours
	}
	r.Header.Set("Authorization", "Bearer "+sender)
	return r
}
