package fleet

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/o2ims/o2ims/test/harness/fleet"
	"github.com/o2ims/o2ims/test/harness/kubelet"
	"github.com/o2ims/o2ims/test/ocloud"
)

const (
	// changeInterval lets everybody on the hub digest one change before the next.
	changeInterval = 400 * time.Millisecond

	// changePatience is when a change counts as lost.
	changePatience = 10 * time.Second

	// pollInterval bounds how exactly we see a change arrive.
	pollInterval = 3 * time.Millisecond

	// startPatience bounds one cold start, including the stand-in kubelet's back-off.
	startPatience = 3 * time.Minute

	listRequests = 20

	apiV1 = "/o2ims-infrastructureInventory/v1"
)

// hub is an environment with a fleet on it.
type hub struct {
	cloud  *ocloud.OCloud
	writer *fleet.Writer
	fleet  fleet.Fleet
	api    *http.Client
	token  string
}

// loading is what it cost to write the fleet.
type loading struct {
	written time.Duration // until the last report was there
	settled time.Duration // until the hub's controllers had done their part
	counts  fleet.Counts
	costs   map[string]usage
}

// load writes the fleet and waits until the manager has acknowledged every report and made
// every agent's ManifestWork, or patience ends.
func (h *hub) load(ctx context.Context) (loading, error) {
	var l loading
	before, err := h.costs()
	if err != nil {
		return l, err
	}
	began := time.Now()
	told := 0
	first := h.fleet
	first.Clusters = 1
	if err := h.writer.Load(ctx, first, fleet.LoadOptions{Workers: 1, Settled: *settled}); err != nil {
		return l, err
	}
	resume, err := h.pause("addon-manager")
	if err != nil {
		return l, err
	}
	defer resume()
	err = h.writer.Load(ctx, h.fleet, fleet.LoadOptions{Workers: *workers, Settled: *settled, Tell: func(p fleet.Progress) {
		if told++; told%15 == 0 || p.Done == p.All {
			fmt.Println(p)
		}
	}})
	if err != nil {
		return l, err
	}
	resume()
	l.written = time.Since(began)
	err = wait.PollUntilContextTimeout(ctx, 5*time.Second, *patient, true, func(ctx context.Context) (bool, error) {
		if l.counts, err = h.writer.Count(ctx, h.fleet); err != nil {
			return false, err
		}
		l.settled = time.Since(began)
		fmt.Printf("%5.0f s: %+v\n", l.settled.Seconds(), l.counts)
		return l.counts == fleet.Counts{Clusters: h.fleet.Clusters, Reported: h.fleet.Clusters, Deployed: h.fleet.Clusters}, nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		err = nil // the counts say it
	}
	if err == nil {
		l.costs, err = h.costsSince(before)
	}
	return l, err
}

// pause stops one of OCM's processes for the time of the writing, when add-ons are written
// settled and it has nothing to do: at every event of one add-on it looks at all of them,
// which is what most of the time would go into. It catches up once it is resumed.
func (h *hub) pause(name string) (resume func(), err error) {
	processes, err := hubProcesses(h.cloud.Env.Dir())
	pid, found := processes[name]
	if err != nil || !found || !*settled {
		return func() {}, err
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }, nil
}

// manager is the pod of the manager; its PID is 0 while it does not run.
func (h *hub) manager() kubelet.PodInfo {
	for _, p := range h.cloud.Hub().Pods() {
		if p.Owner == "Deployment/o2ims-manager" {
			return p
		}
	}
	return kubelet.PodInfo{}
}

// start is one cold start.
type start struct {
	ready   time.Duration // from the process's start to the first 200 of /readyz
	atReady usage
	leads   time.Duration // from the process's start until it deploys agents
	settled usage         // when it has come to rest after that
}

// coldStart kills the manager and looks at its successor.
func (h *hub) coldStart(ctx context.Context) (start, error) {
	var s start
	before := h.manager()
	log, err := os.Stat(before.LogPath)
	if err != nil {
		return s, err
	}
	if err := h.cloud.Hub().Kill(before.Namespace, before.Name); err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	var pod kubelet.PodInfo
	if err := until(ctx, 2*time.Millisecond, func() bool {
		pod = h.manager()
		return pod.PID != 0 && pod.PID != before.PID
	}); err != nil {
		return s, fmt.Errorf("the manager does not start again: %w", err)
	}
	began := time.Now()
	plain := &http.Client{Timeout: 5 * time.Second}
	if err := until(ctx, 20*time.Millisecond, func() bool { return isReady(ctx, plain, "http://"+pod.IP+":8081/readyz") }); err != nil {
		return s, fmt.Errorf("the manager does not become ready: %w: %v", err, h.cloud.Hub().Problems())
	}
	s.ready = time.Since(began)
	if s.atReady, err = usageOf(pod.PID); err != nil {
		return s, err
	}
	if err := until(ctx, 50*time.Millisecond, func() bool { return says(pod.LogPath, log.Size(), "deploying agents to managed clusters") }); err != nil {
		return s, fmt.Errorf("the manager does not lead: %w", err)
	}
	s.leads = time.Since(began)
	s.settled, err = h.rest(ctx, pod.PID)
	return s, err
}

// restInterval is how long the manager has to be quiet to count as at rest.
const restInterval = 3 * time.Second

// rest waits until a process uses less than a tenth of a core.
func (h *hub) rest(ctx context.Context, pid int) (usage, error) {
	last, err := usageOf(pid)
	if err != nil {
		return last, err
	}
	err = until(ctx, restInterval, func() bool {
		now, e := usageOf(pid)
		if e != nil {
			return false
		}
		quiet := now.CPU-last.CPU < restInterval/10
		last = now
		return quiet
	})
	return last, err
}

func isReady(ctx context.Context, c *http.Client, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := c.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode == http.StatusOK
}

// says tells whether a log has a text behind an offset.
func says(path string, offset int64, text string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return false
	}
	all, err := io.ReadAll(f)
	return err == nil && bytes.Contains(all, []byte(text))
}

func until(ctx context.Context, interval time.Duration, is func() bool) error {
	return wait.PollUntilContextCancel(ctx, interval, true, func(context.Context) (bool, error) { return is(), nil })
}

// connect makes a client of the API, and gives its account the right to read metrics.
func (h *hub) connect(ctx context.Context) (err error) {
	if err := h.cloud.Env.Hub.Apply(ctx, metricsReader()...); err != nil {
		return err
	}
	if h.token, err = h.cloud.Token(ctx, "test-client"); err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(h.cloud.CA)
	h.api = &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 4},
	}
	return h.cloud.Eventually(ctx, "the API through its Service", func(ctx context.Context) error {
		_, err := h.get(ctx, apiV1)
		return err
	})
}

// metricsReader lets the chart's test client read the manager's metrics.
func metricsReader() []unstructured.Unstructured {
	const group, name = "rbac.authorization.k8s.io", "fleet-metrics-reader"
	role := map[string]any{
		"apiVersion": group + "/v1", "kind": "ClusterRole", "metadata": map[string]any{"name": name},
		"rules": []any{map[string]any{"nonResourceURLs": []any{"/metrics"}, "verbs": []any{"get"}}},
	}
	binding := map[string]any{
		"apiVersion": group + "/v1", "kind": "ClusterRoleBinding", "metadata": map[string]any{"name": name},
		"roleRef":  map[string]any{"apiGroup": group, "kind": "ClusterRole", "name": name},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "namespace": ocloud.Namespace, "name": "test-client"}},
	}
	return []unstructured.Unstructured{{Object: role}, {Object: binding}}
}

func (h *hub) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, h.cloud.URL+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+h.token)
	response, err := h.api.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.200s", path, response.Status, body)
	}
	return body, err
}

// pools maps names of managed clusters to the ids of their resource pools.
func (h *hub) pools(ctx context.Context) (map[string]string, error) {
	body, err := h.get(ctx, apiV1+"/resourcePools")
	if err != nil {
		return nil, err
	}
	var list []struct {
		ID   string `json:"resourcePoolId"`
		Name string `json:"name"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	ids := make(map[string]string, len(list))
	for _, p := range list {
		ids[p.Name] = p.ID
	}
	return ids, nil
}

// measure looks at everything once, cold starts first.
func (h *hub) measure(ctx context.Context) (*result, error) {
	r := &result{fleet: h.fleet, loadBefore: loadAverage()}
	for range *starts {
		s, err := h.coldStart(ctx)
		if err != nil {
			return nil, err
		}
		fmt.Printf("cold start: %+v\n", s)
		r.starts = append(r.starts, s)
	}
	if err := h.connect(ctx); err != nil {
		return nil, err
	}
	pools, err := h.pools(ctx)
	if err != nil {
		return nil, err
	}
	if err := h.observeChanges(ctx, r, pools); err != nil {
		return nil, err
	}
	if err := h.timeLists(ctx, r, pools); err != nil {
		return nil, err
	}
	r.loadAfter = loadAverage()
	return r, nil
}

// observeChanges lets servers change, one after another, and watches each arrive in the
// API.
func (h *hub) observeChanges(ctx context.Context, r *result, pools map[string]string) error {
	before, err := h.costs()
	if err != nil {
		return err
	}
	began := time.Now()
	rng := rand.New(rand.NewPCG(h.fleet.Seed, uint64(began.UnixNano())))
	ticker := time.NewTicker(changeInterval)
	defer ticker.Stop()
	for range *changes {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if err := h.observeChange(ctx, r, pools, rng); err != nil {
			return err
		}
	}
	r.changing = time.Since(began)
	r.costs, err = h.costsSince(before)
	r.changed = r.costs["manager"]
	return err
}

// observeChange follows one change. The server is read before, so that what the first
// request for a path costs (an access review) is not counted.
func (h *hub) observeChange(ctx context.Context, r *result, pools map[string]string, rng *rand.Rand) error {
	plan, err := h.writer.PlanChange(ctx, h.fleet, rng)
	if err != nil {
		return err
	}
	path := apiV1 + "/resourcePools/" + pools[plan.Cluster] + "/resources/" + plan.ResourceID().String()
	if _, err := h.get(ctx, path); err != nil {
		return err
	}
	want := fmt.Appendf(nil, "%q", plan.BIOS)
	type sight struct {
		at  time.Time
		err error
	}
	seen := make(chan sight, 1)
	looking, stop := context.WithTimeout(ctx, changePatience)
	defer stop()
	go func() {
		var last error
		err := until(looking, pollInterval, func() bool {
			var body []byte
			body, last = h.get(looking, path)
			return last == nil && bytes.Contains(body, want)
		})
		seen <- sight{time.Now(), err}
	}()
	change, err := h.writer.Make(ctx, plan)
	if err != nil {
		return err
	}
	s := <-seen
	if s.err != nil {
		r.late++
		return ctx.Err()
	}
	r.acks = append(r.acks, change.Acknowledged.Sub(change.Sent))
	r.sinceAck = append(r.sinceAck, max(0, s.at.Sub(change.Acknowledged))) // it may be there before the answer is
	r.sinceSent = append(r.sinceSent, s.at.Sub(change.Sent))
	return nil
}

// costs is what every process of the hub has used.
func (h *hub) costs() (map[string]usage, error) {
	processes, err := hubProcesses(h.cloud.Env.Dir())
	if err != nil {
		return nil, err
	}
	processes["manager"] = h.manager().PID
	costs := map[string]usage{}
	for name, pid := range processes {
		if costs[name], err = usageOf(pid); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return costs, nil
}

// costsSince is what every process uses now, with the processor time since before.
func (h *hub) costsSince(before map[string]usage) (map[string]usage, error) {
	costs, err := h.costs()
	for name, u := range costs {
		u.CPU -= before[name].CPU
		costs[name] = u
	}
	return costs, err
}

// timeLists asks for whole collections, and counts what is in the pools.
func (h *hub) timeLists(ctx context.Context, r *result, pools map[string]string) error {
	names := make([]string, 0, h.fleet.Clusters)
	for name := range pools {
		if strings.HasPrefix(name, h.fleet.Prefix+"-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range []string{"deploymentManagers", "resourcePools", "resourceTypes"} {
		l := list{name: name}
		for range listRequests {
			if err := h.timeList(ctx, &l, apiV1+"/"+name); err != nil {
				return err
			}
		}
		r.lists = append(r.lists, l)
	}
	l := list{name: "resources of one pool"}
	for _, name := range names[:min(len(names), listRequests)] {
		path := apiV1 + "/resourcePools/" + pools[name] + "/resources"
		if _, err := h.get(ctx, path); err != nil { // the access review
			return err
		}
		if err := h.timeList(ctx, &l, path); err != nil {
			return err
		}
	}
	r.lists = append(r.lists, l)
	return h.countServers(ctx, r)
}

func (h *hub) timeList(ctx context.Context, l *list, path string) error {
	began := time.Now()
	body, err := h.get(ctx, path)
	if err != nil {
		return err
	}
	l.took = append(l.took, time.Since(began))
	l.bytes = len(body)
	return nil
}

// countServers asks the manager's own metrics: a request per pool would be thousands of
// access reviews.
func (h *hub) countServers(ctx context.Context, r *result) error {
	body, err := h.get(ctx, "/metrics")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(body)) {
		if text, ok := strings.CutPrefix(line, "o2ims_report_nodes "); ok {
			var n float64
			if _, err := fmt.Sscan(text, &n); err != nil {
				return err
			}
			r.servers = int(n)
		}
	}
	return nil
}
