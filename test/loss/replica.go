package loss

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/o2ims/o2ims/pkg/smo"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
)

// settings are what a replica is told by its environment.
type settings struct {
	Redis string
	Truth string // URL
}

// settingsVariable makes the test's own program a replica.
const settingsVariable = "O2IMS_LOSS_REPLICA"

// replica is the program of one replica: it follows the truth, and leads from the moment
// that it is told to on standard input. It ends when that is closed, or when it finds that
// another leads.
func replica(text string) error {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	db, err := store.Open(store.Options{URL: s.Redis, Timeout: time.Second})
	if err != nil {
		return err
	}
	caller, err := smo.New(smo.Options{AllowNetworks: []string{"127.0.0.0/8"}, AllowHTTP: true, Timeout: time.Second}, smo.Parts{})
	if err != nil {
		return err
	}
	m := &model{url: s.Truth, objects: make(map[string]object), ready: make(chan struct{})}
	engine, err := subscription.New(engineOptions(), subscription.Parts{
		Store: db, Client: caller, BaseURL: "https://o2ims.example.net", Sources: []subscription.Source{m},
		Services: []subscription.Service{service()},
	})
	if err != nil {
		return err
	}
	ctx := context.Background()
	go m.follow(ctx, engine)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if in.Text() == "lead" {
			go func() {
				err := engine.Run(ctx)
				slog.Info("leads no more", "error", err)
				os.Exit(fencedStatus)
			}()
		}
	}
	return in.Err()
}

// fencedStatus is how a replica ends that another took over from.
const fencedStatus = 42

func engineOptions() subscription.Options {
	return subscription.Options{
		RequestTimeout: time.Second, FirstRetry: 10 * time.Millisecond, LongestRetry: 200 * time.Millisecond, SuspendAfter: time.Hour,
		RetainFor: time.Hour, RetainEvents: 1_000_000, MaxSubscriptions: 100, WindowBytes: 8 << 20,
		FilterMode: string(subscription.Exclude), CallbackCheck: string(subscription.CheckOff), DuplicateStatus: 400,
	}
}

func service() subscription.Service {
	anything := func([]string) error { return nil }
	return subscription.Service{
		Name: "inventory", Versions: []string{"v2"},
		Kinds: func(string) subscription.Kinds {
			return subscription.Kinds{"ResourceInfo": anything, "ResourcePoolInfo": anything}
		},
	}
}

// model is what a replica knows of the truth.
type model struct {
	url   string
	ready chan struct{}
	once  sync.Once

	mu      sync.Mutex
	version uint64
	objects map[string]object
}

func (m *model) Name() string { return "inventory" }

// Objects implements subscription.Source.
func (m *model) Objects(ctx context.Context) (uint64, iter.Seq[subscription.Object], error) {
	select {
	case <-m.ready:
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []subscription.Object
	for _, o := range m.objects {
		if o.Number != 0 {
			all = append(all, announced(o))
		}
	}
	return m.version, func(yield func(subscription.Object) bool) {
		for _, o := range all {
			if !yield(o) {
				return
			}
		}
	}, nil
}

// follow keeps the model up to date. The first answer makes it complete.
func (m *model) follow(ctx context.Context, engine *subscription.Engine) {
	for ctx.Err() == nil {
		answer, err := m.ask(ctx)
		if err != nil {
			_ = wait(ctx, 50*time.Millisecond) // ended, if it fails
			continue
		}
		m.mu.Lock()
		m.version = answer.Version
		var changed []subscription.Object
		for _, o := range answer.Objects {
			m.objects[o.Name] = o
			changed = append(changed, announced(o))
		}
		engine.Changed("inventory", answer.Version, changed...)
		m.mu.Unlock()
		m.once.Do(func() { close(m.ready) })
	}
}

func (m *model) ask(ctx context.Context) (state, error) {
	m.mu.Lock()
	url := fmt.Sprintf("%s?after=%d", m.url, m.version)
	m.mu.Unlock()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return state{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return state{}, err
	}
	defer response.Body.Close()
	var answer state
	return answer, json.NewDecoder(response.Body).Decode(&answer)
}

// shown is the state of an object in a notification.
type shown struct {
	Name   string `json:"name"`
	Number int    `json:"number"`
}

func announced(o object) subscription.Object {
	a := subscription.Object{Kind: o.Kind, ID: o.Name}
	if o.Number == 0 {
		return a
	}
	a.Render = func() subscription.Document {
		text, err := json.Marshal(shown{o.Name, o.Number})
		if err != nil { // two plain values always can
			panic(err)
		}
		return subscription.Document{"v2": {Ref: "/o2ims-infrastructureInventory/v2/" + o.Kind + "/" + o.Name, State: text}}
	}
	return a
}
