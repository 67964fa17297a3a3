package alarms

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/smo/simulator"
	"github.com/o2ims/o2ims/pkg/subscription"
	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/port"
	"github.com/o2ims/o2ims/test/redisserver"
)

const (
	clusters     = 3
	hubNamespace = "o2ims"

	// leaseDuration is how long a leader must have been silent before another takes over.
	// In production it is 15 s.
	leaseDuration = 2 * time.Second
)

// world is all that runs.
type world struct {
	settings
	t     testing.TB
	env   *harness.Env
	redis *redisserver.Server

	managersToHub, agentsToHub, agentsToSpoke, managersToRedis *link

	replicas []*unit  // managers
	apis     []string // URLs of the managers
	token    string   // for them
	http     *http.Client
	spokes   []*spoke
	smos     []*subscriber

	mu      sync.Mutex
	agents  []*unit // one for each spoke
	retired []*unit // agents that another took over from
}

// settings are what differs between the loss test and measurements.
type settings struct {
	managers int
	spokes   int
	sync     bool // etcd waits for the disk, as Redis does in any case

	managerFlags, agentFlags []string
}

// impatient makes everything that waits in production wait less.
func impatient() settings {
	lease := "--leader-lease-duration=" + leaseDuration.String()
	return settings{
		managers: 2, spokes: clusters,
		managerFlags: []string{"--redis-timeout=1s", "--notification-timeout=1s", "--notification-first-retry=10ms", "--notification-longest-retry=200ms", lease},
		agentFlags:   []string{"--alerts-min-interval=200ms", lease},
	}
}

func newWorld(ctx context.Context, t testing.TB, s settings) *world {
	t.Helper()
	w := &world{settings: s, t: t, http: &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // who answers is not the question here
	}}
	w.startServers(ctx)
	w.applyObjects(ctx)
	host := strings.TrimPrefix(w.env.Hub.Server(), "https://")
	w.managersToHub, w.agentsToHub, w.agentsToSpoke = newLink(t, host), newLink(t, host), newLink(t, host)
	w.managersToRedis = newLink(t, w.redis.Addr())
	for i := range w.settings.managers {
		u, err := w.startManager(i)
		if err != nil {
			t.Fatal(err)
		}
		w.replicas = append(w.replicas, u)
	}
	for _, s := range w.spokes {
		u, err := w.startAgent(s, "agent of "+s.name)
		if err != nil {
			t.Fatal(err)
		}
		w.agents = append(w.agents, u)
	}
	t.Cleanup(w.stop)
	return w
}

func (w *world) startServers(ctx context.Context) {
	w.t.Helper()
	var err error
	w.redis, err = redisserver.Start(ctx, redisserver.Options{Dir: w.t.TempDir()})
	if errors.Is(err, redisserver.ErrMissing) && os.Getenv("CI") == "" {
		w.t.Skip(err)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.redis.Stop)
	w.env, err = harness.StartBare(ctx, harness.Options{Dir: filepath.Join(w.t.TempDir(), "env"), Progress: os.Stderr, SyncWrites: w.sync})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.env.Stop)
}

// applyObjects makes what an administrator, OCM and the chart would.
func (w *world) applyObjects(ctx context.Context) {
	w.t.Helper()
	root, err := harness.RepositoryRoot()
	if err != nil {
		w.t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "manifests/crds/*.yaml"))
	if err != nil || len(files) == 0 {
		w.t.Fatalf("our definitions: %d files, %v", len(files), err)
	}
	var objects []unstructured.Unstructured
	add := func(text string) {
		parsed, err := harness.ParseObjects([]byte(text))
		if err != nil {
			w.t.Fatal(err)
		}
		objects = append(objects, parsed...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			w.t.Fatal(err)
		}
		add(string(text))
	}
	add(hubObjects)
	for i := range w.settings.spokes {
		s := &spoke{name: fmt.Sprintf("edge-%d", i)}
		w.spokes = append(w.spokes, s)
		add(strings.NewReplacer("CLUSTER", s.name, "AGENT", s.namespace()).Replace(clusterObjects))
	}
	if err := w.env.Hub.Apply(ctx, objects...); err != nil {
		w.t.Fatal(err)
	}
	if w.token, err = w.env.Hub.Token(ctx, hubNamespace, "checker"); err != nil {
		w.t.Fatal(err)
	}
	for _, s := range w.spokes {
		if s.token, err = w.env.Hub.Token(ctx, s.namespace(), "sender"); err != nil {
			w.t.Fatal(err)
		}
	}
}

// namespace is where the agent runs. The clusters' own apiserver is the hub's, too.
func (s *spoke) namespace() string { return "agent-" + s.name }

const hubObjects = `
apiVersion: v1
kind: Namespace
metadata: {name: o2ims}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: checker, namespace: o2ims}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: checker}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: checker, namespace: o2ims}]
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ClusterManagementAddOn
metadata: {name: o2ims}
spec: {}
`

const clusterObjects = `
apiVersion: v1
kind: Namespace
metadata: {name: CLUSTER}
---
apiVersion: v1
kind: Namespace
metadata: {name: AGENT}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: sender, namespace: AGENT}
---
apiVersion: cluster.open-cluster-management.io/v1
kind: ManagedCluster
metadata: {name: CLUSTER}
spec: {hubAcceptsClient: true}
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ManagedClusterAddOn
metadata: {name: o2ims, namespace: CLUSTER}
spec: {}
`

// kubeconfig writes one that has all rights and goes by a link.
func (w *world) kubeconfig(l *link) (string, error) {
	config, err := clientcmd.LoadFromFile(w.env.Hub.Kubeconfig())
	if err != nil {
		return "", err
	}
	for _, c := range config.Clusters {
		c.Server = "https://" + l.address()
	}
	path := filepath.Join(w.env.Dir(), strings.ReplaceAll(l.address(), ":", "-")+".kubeconfig")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, clientcmd.WriteToFile(*config, path)
}

func (w *world) startManager(i int) (*unit, error) {
	port, err := port.Keep()
	if err != nil {
		return nil, err
	}
	hub, err := w.kubeconfig(w.managersToHub)
	if err != nil {
		return nil, err
	}
	w.apis = append(w.apis, fmt.Sprintf("https://127.0.0.1:%d", port))
	return startUnit(fmt.Sprintf("manager %d", i), roleManager, append([]string{
		"--kubeconfig=" + hub, "--namespace=" + hubNamespace, "--bind-address=127.0.0.1",
		fmt.Sprintf("--api-port=%d", port), "--health-port=0", "--agent-image=example.net/o2ims",
		"--token-audiences=https://kubernetes.default.svc", "--global-cloud-id=" + globalCloudID,
		"--redis-url=redis://" + w.managersToRedis.address(),
		"--outbound-allow-networks=127.0.0.0/8", "--outbound-allow-http",
	}, w.managerFlags...))
}

const globalCloudID = "8d0c4a0e-6d35-4f6b-9a44-0b7e5d6e3c11"

// startAgent starts an agent with a door of its own.
func (w *world) startAgent(s *spoke, name string) (*unit, error) {
	port, err := port.Keep()
	if err != nil {
		return nil, err
	}
	cluster, err := w.kubeconfig(w.agentsToSpoke)
	if err != nil {
		return nil, err
	}
	hub, err := w.kubeconfig(w.agentsToHub)
	if err != nil {
		return nil, err
	}
	u, err := startUnit(name, roleAgent, append([]string{
		"--kubeconfig=" + cluster, "--hub-kubeconfig=" + hub, "--cluster-name=" + s.name, "--namespace=" + s.namespace(),
		"--bind-address=127.0.0.1", "--health-port=0", "--expect-probe=false", fmt.Sprintf("--alerts-port=%d", port),
		"--alert-senders=" + s.namespace() + "/sender", "--alerts-tls-cert-file=", "--alerts-tls-key-file=",
	}, w.agentFlags...))
	if err == nil {
		s.openDoor(fmt.Sprintf("https://127.0.0.1:%d", port))
	}
	return u, err
}

func (w *world) agent(i int) *unit {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.agents[i]
}

// succeed freezes the agent of a managed cluster, which is returned, and starts another. It
// returns nil while that is under way already.
func (w *world) succeed(i int) (old *unit, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old, s := w.agents[i], w.spokes[i]
	if s.inTransition() {
		return nil, nil
	}
	old.retire()
	old.signal(syscall.SIGSTOP)
	w.retired = append(w.retired, old)
	w.agents[i], err = w.startAgent(s, fmt.Sprintf("agent of %s since %s", s.name, time.Now().Format("15:04:05")))
	return old, err
}

// units are all processes that there are or were.
func (w *world) units() []*unit {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Concat(w.replicas, w.agents, w.retired)
}

func (w *world) stop() {
	for _, u := range w.units() {
		u.stop()
	}
}

// logs returns the end of what everybody said.
func (w *world) logs(lines int) string {
	var b strings.Builder
	for _, u := range w.units() {
		b.WriteString(u.log.last(lines))
	}
	return b.String()
}

// call asks the managers, one after the other, until one answers with the status.
func (w *world) call(ctx context.Context, method, path, body string, status int) ([]byte, http.Header, error) {
	var last error
	for i := 0; ; i++ {
		answer, header, err := w.callOne(ctx, method, w.apis[i%len(w.apis)]+path, body, status)
		var odd *statusError
		switch {
		case err == nil:
			return answer, header, nil
		case errors.As(err, &odd) && odd.status == http.StatusBadRequest && last != nil && method == http.MethodPost:
			return nil, nil, nil // it is there already: an answer got lost
		case errors.As(err, &odd) && odd.status < http.StatusInternalServerError:
			return nil, nil, err
		}
		last = err
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", err, last)
		}
	}
}

func (w *world) callOne(ctx context.Context, method, url, body string, status int) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+w.token)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := w.http.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != status {
		err = &statusError{answer.StatusCode, fmt.Sprintf("%s %s: %s: %.300s", method, url, answer.Status, text)}
	}
	return text, answer.Header, err
}

// statusError is an answer with another status than was wanted.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// history reads all records, page by page.
func (w *world) history(ctx context.Context) ([]record, error) {
	var all []record
	path := monitoring + "/v2/alarms"
	for path != "" {
		text, header, err := w.call(ctx, http.MethodGet, path, "", http.StatusOK)
		if err != nil {
			return nil, err
		}
		var page []record
		if err := json.Unmarshal(text, &page); err != nil {
			return nil, err
		}
		all = append(all, page...)
		path = ""
		if link, _, found := strings.Cut(strings.TrimPrefix(header.Get("Link"), "<"), ">"); found {
			path = link[strings.Index(link, monitoring):]
		}
	}
	return all, nil
}

const monitoring = "/o2ims-infrastructureMonitoring"

// ledger reads what the manager says of its own deliveries.
func (w *world) ledger(ctx context.Context) (l subscription.Ledger, err error) {
	text, _, err := w.call(ctx, http.MethodGet, subscription.AdminPath, "", http.StatusOK)
	if err != nil {
		return l, err
	}
	return l, json.Unmarshal(text, &l)
}

// unanswered tells which cluster's journal the hub has not confirmed in full; empty: none.
func (w *world) unanswered(ctx context.Context) (string, error) {
	for _, s := range w.spokes {
		var addon addonv1beta1.ManagedClusterAddOn
		if err := w.env.Hub.Client().Get(ctx, client.ObjectKey{Namespace: s.name, Name: report.AddOnName}, &addon); err != nil {
			return "", err
		}
		head, reported := report.FindAlertsHead(addon.Status.Conditions)
		answer, answered := report.FindAlertsIngested(addon.Status.Conditions)
		if !reported || !answered || head.Epoch != answer.Epoch || head.End != answer.Seq || head.Last != 0 && head.Last != head.End {
			return fmt.Sprintf("%s: reported %s, answered %s", s.name, head, answer), nil
		}
	}
	return "", nil
}

// subscriber is one SMO.
type subscriber struct {
	name      string
	version   string
	filter    string
	wishes    wishes
	since     time.Time // when its subscription was there
	simulator *simulator.Simulator
	journal   string
	address   string
	url       string
	server    *http.Server // nil while it is down
}

const (
	plain = iota
	flakyOne
	flakyTwo
	firstVersion
	oneCluster
	noEnds
	dead
	lateComer
	subscribers
)

func startSubscribers(t testing.TB, seed uint64) []*subscriber {
	t.Helper()
	dir := t.TempDir()
	var all []*subscriber
	for i := range subscribers {
		s := &subscriber{name: "plain", version: "v2", journal: filepath.Join(dir, fmt.Sprintf("smo-%d", i))}
		o := simulator.Options{Listen: "127.0.0.1:0", Status: http.StatusNoContent, Journal: s.journal, Quiet: true, Seed: seed + uint64(i)}
		switch i {
		case flakyOne, flakyTwo:
			s.name = fmt.Sprintf("flaky %d", i)
			o.FailRate, o.LostAckRate = 0.15, 0.1
		case firstVersion:
			s.name, s.version = "version 1", "v1"
		case oneCluster:
			s.name, s.filter, s.wishes = "one cluster", "(neq,extensions/cluster,edge-1)", wishes{cluster: "edge-1"}
		case noEnds:
			s.name, s.filter, s.wishes = "no ends", "(eq,notificationEventType,2)", wishes{noClear: true}
		case dead:
			s.name = "dead until the end"
		case lateComer:
			s.name, s.wishes = "came later", wishes{partial: true}
		}
		var err error
		if s.simulator, err = simulator.New(o, io.Discard); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			s.down()
			s.simulator.Close()
		})
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.address = listener.Addr().String()
		s.url = fmt.Sprintf("http://%s/smo-%d", s.address, i)
		listener.Close()
		if i != dead {
			if err := s.up(); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, s)
	}
	return all
}

func (s *subscriber) up() error {
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return fmt.Errorf("SMO %s: %w", s.name, err)
	}
	s.server = &http.Server{Handler: s.simulator, ReadHeaderTimeout: 10 * time.Second}
	go func(server *http.Server) { _ = server.Serve(listener) }(s.server)
	return nil
}

func (s *subscriber) down() {
	if s.server != nil {
		s.server.Close()
		s.server = nil
	}
}

// subscribe posts the subscription.
func (w *world) subscribe(ctx context.Context, s *subscriber) error {
	body := map[string]string{"callback": s.url, "consumerSubscriptionId": uuid.NewString()}
	if s.filter != "" {
		body["filter"] = s.filter
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, _, err = w.call(ctx, http.MethodPost, monitoring+"/"+s.version+"/alarmSubscriptions", string(text), http.StatusCreated)
	s.since = time.Now()
	return err
}

// ready waits until every agent takes alerts.
func (w *world) ready(ctx context.Context) error {
	random := rand.New(rand.NewPCG(1, 1))
	for _, s := range w.spokes {
		for {
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.door(random)+pushPath, strings.NewReader("[]"))
			if err != nil {
				return err
			}
			request.Header.Set("Authorization", "Bearer "+s.token)
			answer, err := w.http.Do(request)
			if err == nil {
				answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					break
				}
				err = errors.New(answer.Status)
			}
			if waitErr := wait(ctx, 50*time.Millisecond); waitErr != nil {
				return fmt.Errorf("agent of %s: %w", s.name, err)
			}
		}
	}
	return nil
}
