package registration

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/smo"
)

// behaviour is how an SMO takes registrations.
type behaviour struct {
	delay    time.Duration // before each answer
	failures int64         // that many are answered 503
}

// fakeSMO takes registrations as it is told to, and notifications at once. It gives the
// tokens, too, and wants them.
type fakeSMO struct {
	*httptest.Server
	behaviour
	attempts atomic.Int64

	mu    sync.Mutex
	some  *sync.Cond
	heard map[uint64]time.Time // when callbacks began, by version of the object
}

func newFakeSMO(b *testing.B, of behaviour, http2 bool) *fakeSMO {
	s := &fakeSMO{behaviour: of, heard: make(map[uint64]time.Time)}
	s.some = sync.NewCond(&s.mu)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"good","token_type":"Bearer","expires_in":3600}`)
	})
	mux.HandleFunc("POST /registration", wanting("Bearer good", s.register))
	mux.HandleFunc("POST /callback", wanting("Bearer good", s.notify))
	s.Server = httptest.NewUnstartedServer(mux)
	s.EnableHTTP2 = http2
	s.StartTLS()
	b.Cleanup(s.Close)
	return s
}

func wanting(authorization string, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != authorization {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		then(w, r)
	}
}

func (s *fakeSMO) register(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	n := s.attempts.Add(1)
	if s.delay > 0 {
		timer := time.NewTimer(s.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	if n <= s.failures {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *fakeSMO) notify(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	var n struct {
		Post struct {
			Version uint64 `json:"version"`
		} `json:"postObjectState"`
	}
	if err := json.NewDecoder(r.Body).Decode(&n); err != nil || n.Post.Version == 0 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.heard[n.Post.Version] = now
	s.some.Broadcast()
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (s *fakeSMO) heardOf(version uint64) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := s.heard[version]
	return at, found
}

// await returns when a version was notified, or ctx has ended.
func (s *fakeSMO) await(ctx context.Context, version uint64) {
	stop := context.AfterFunc(ctx, s.some.Broadcast)
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.heard[version].IsZero() && ctx.Err() == nil {
		s.some.Wait()
	}
}

func (s *fakeSMO) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func (w *world) registration() smo.Registration {
	return smo.Registration{
		URL:           w.smo.URL + "/registration",
		GlobalCloudID: "6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11", OCloudID: "0d2f7d3c-1f1b-4a51-8f0a-7a4b6e0c9d11", IMSEndpoint: "https://o2ims.example.net",
	}
}

// register registers once.
func (w *world) register(ctx context.Context) error {
	w.registering.Store(true)
	defer w.registering.Store(false)
	_, err := w.client.Register(ctx, w.registration())
	return err
}

// registerNowAndThen has a registration under way about half of the time, which is
// worse than production does.
func (w *world) registerNowAndThen() (stop func()) {
	return background(func(ctx context.Context) {
		for ctx.Err() == nil {
			if err := w.register(ctx); err != nil && ctx.Err() == nil {
				w.Errorf("registration: %v", err)
				return
			}
			select {
			case <-time.After(w.smo.delay):
			case <-ctx.Done():
			}
		}
	})
}

// hurry is how much faster the clock of the schedule runs: five failures take minutes.
const hurry = 60

// registerUntilItSucceeds follows the schedule of production. To stop it is to wait for that.
func (w *world) registerUntilItSucceeds() (stop func()) {
	began := time.Now()
	now := func() time.Time { return began.Add(time.Since(began) * hurry) }
	w.smo.attempts.Store(0)
	var attempt smo.Attempt
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r := w.registration()
		for {
			due, at := attempt.Next(r.Digest(), "", now())
			if !due && at.IsZero() {
				if got := w.smo.attempts.Load(); got != w.smo.failures+1 {
					w.Errorf("it took %d registrations, want %d", got, w.smo.failures+1)
				}
				return
			}
			if !due {
				<-time.After(at.Sub(now()) / hurry)
				continue
			}
			err := w.register(context.Background())
			attempt = attempt.Then(r.Digest(), "", err, now())
		}
	}()
	return func() { <-ended }
}

// background runs something until it is stopped, and waits for its end.
func background(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		f(ctx)
		close(ended)
	}()
	return func() {
		cancel()
		<-ended
	}
}
