// Package serve runs the manager's server in a test's own process: on 127.0.0.1, until the
// test ends, with a certificate that it makes for itself. What it serves, and to whom, is the
// test's affair.
package serve

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/pkg/server"
	"github.com/o2ims/o2ims/pkg/smo"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
)

// Server is a server that runs.
type Server struct {
	*server.Server
	URL string // https://127.0.0.1:port
	CA  []byte // PEM; trust this for URL
}

// Start runs a server until the test ends, and returns when it is ready. The options
// name the Secret of its certificate, which is among the parts' Secrets, and a BindAddress of
// this machine.
func Start(t testing.TB, o server.Options, p server.Parts) *Server {
	t.Helper()
	s, err := server.New(o, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	awaitReady(t, s)
	own, err := p.Secrets.Get(t.Context(), o.CertSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &Server{Server: s, URL: "https://" + s.APIAddress(), CA: own.Data["ca.crt"]}
}

// awaitReady waits until the server says that it is ready. That the Secret is there would not
// do: another server may have made it, and this one has yet to read it.
func awaitReady(t testing.TB, s *server.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := get(ctx, "http://"+s.HealthAddress()+"/readyz")
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the server is not ready: %v", err)
		case <-tick.C:
		}
	}
}

func get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, 1000))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, said)
	}
	return err
}

// Backing is what the APIs work with beside what they show.
type Backing struct {
	Store    *store.Store
	Callback *smo.Client          // refuses every address of this machine
	Delivery subscription.Options // of subscriptions whose callbacks nobody tries
}

// NewBacking returns an embedded store that is ready, and forgotten when the test ends.
func NewBacking(t testing.TB) Backing {
	t.Helper()
	db, err := store.Open(store.Options{URL: store.Embedded, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	client, err := smo.New(smo.Options{Timeout: time.Second}, smo.Parts{})
	if err != nil {
		t.Fatal(err)
	}
	return Backing{
		Store: db, Callback: client,
		Delivery: subscription.Options{MaxSubscriptions: 100, CallbackCheck: string(subscription.CheckOff), DuplicateStatus: 400},
	}
}
