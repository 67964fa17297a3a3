// Package ocloud puts a whole O-Cloud together on one machine: the real hub and spokes
// of test/harness, machines of test/harness/machines as their nodes, o2ims installed by
// its chart, and test/harness/kubelet running what the chart and the add-on deploy.
//
// Tests and the demo use it. Nothing here does o2ims' work: objects that the product
// should write are never written, and processes run with the rights that the product's
// own manifests give them.
package ocloud

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/harness/kubelet"
	"github.com/o2ims/o2ims/test/harness/machines"
	"github.com/o2ims/o2ims/test/redisserver"
)

// Names in the environment.
const (
	Namespace      = "o2ims"                               // of the manager, on the hub
	AgentNamespace = "open-cluster-management-agent-addon" // of agent and probes, on a spoke, unless configured
	hubNode        = "hub-1"
)

// GlobalCloudID is what the SMO calls the O-Cloud.
const GlobalCloudID = "18f2dc90-b375-47dd-b8dc-ae80072e6cdb"

// Options say what to start.
type Options struct {
	Binary string         // o2ims; empty: $O2IMS_BINARY, else bin/o2ims, where `make build` leaves it
	Dir    string         // state and logs; empty: a temporary folder
	Values map[string]any // laid over the chart's and the environment's own

	// Monitoring says that agents ask the Alertmanager and the Prometheus of their
	// managed clusters; see StartMonitoring.
	Monitoring bool

	Progress io.Writer // a line per step; nil drops them

	// BeforeInstall may change the hub before o2ims comes onto it; nil leaves it.
	BeforeInstall func(context.Context, *harness.Env) error
}

// OCloud is a running environment.
type OCloud struct {
	Env   *harness.Env
	Redis *redisserver.Server
	URL   string // of the APIs
	CA    []byte // PEM; trust this for URL

	opts     Options
	bwrap    string
	pciIDs   string
	hub      *kubelet.Kubelet
	objects  []unstructured.Unstructured // of the chart
	http     *http.Client
	tokens   sync.Map // service account → token
	began    time.Time
	mu       sync.Mutex
	spokes   map[string]*Spoke
	logs     *os.File
	progress io.Writer
}

// Spoke is a managed cluster with machines.
type Spoke struct {
	*harness.Cluster
	Kubelet *kubelet.Kubelet

	mu       sync.Mutex
	machines map[string]machines.Machine
}

// Start brings up a hub with o2ims on it and waits until the API is ready. The caller
// stops it with Stop.
func Start(ctx context.Context, opts Options) (*OCloud, error) {
	o := &OCloud{opts: opts, spokes: map[string]*Spoke{}, progress: opts.Progress, began: time.Now()}
	if o.progress == nil {
		o.progress = io.Discard
	}
	if err := o.start(ctx); err != nil {
		o.Stop()
		return nil, err
	}
	return o, nil
}

func (o *OCloud) start(ctx context.Context) (err error) {
	if o.opts.Binary, err = binary(o.opts.Binary); err != nil {
		return err
	}
	if o.bwrap, err = harness.EnsureCommand(ctx, "bwrap", "bubblewrap", o.progress); err != nil {
		return err
	}
	if o.pciIDs, err = harness.EnsureFile(ctx, "/usr/share/misc/pci.ids", "pci.ids", o.progress); err != nil {
		return err
	}
	if _, err = harness.EnsureCommand(ctx, "redis-server", "redis-server", o.progress); err != nil {
		return err
	}
	if o.Env, err = harness.Start(ctx, harness.Options{Dir: o.opts.Dir, Progress: o.progress}); err != nil {
		return err
	}
	if o.logs, err = os.Create(filepath.Join(o.Env.Dir(), "logs", "kubelets.log")); err != nil {
		return err
	}
	if err := o.startRedis(ctx); err != nil {
		return err
	}
	if err := o.Env.Hub.AddNode(ctx, machines.Local(hubNode).Node()); err != nil {
		return err
	}
	if o.hub, err = o.startKubelet(ctx, o.Env.Hub, []string{Namespace}, nil); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	if o.opts.BeforeInstall != nil {
		if err := o.opts.BeforeInstall(ctx, o.Env); err != nil {
			return err
		}
	}
	return o.install(ctx)
}

// startRedis runs the Redis server that the manager keeps subscriptions in.
func (o *OCloud) startRedis(ctx context.Context) error {
	dir := filepath.Join(o.Env.Dir(), "redis")
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		o.Redis, err = redisserver.Start(ctx, redisserver.Options{Dir: dir})
	}
	return err
}

// binary finds the program that images are made of.
func binary(path string) (string, error) {
	if path == "" {
		path = os.Getenv("O2IMS_BINARY")
	}
	if path == "" {
		root, err := harness.RepositoryRoot()
		if err != nil {
			return "", err
		}
		path = filepath.Join(root, "bin", "o2ims")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("o2ims is not built, run make build: %w", err)
	}
	return path, nil
}

// Binary is the program that images are made of.
func (o *OCloud) Binary() string { return o.opts.Binary }

// startKubelet runs what arrives in some namespaces of a cluster, or in all.
func (o *OCloud) startKubelet(ctx context.Context, c *harness.Cluster, namespaces []string, nodeRoot func(string) string) (*kubelet.Kubelet, error) {
	config := c.RESTConfig()
	return kubelet.Start(ctx, kubelet.Options{
		RESTConfig:  config,
		ClusterName: c.Name,
		Namespaces:  namespaces,
		Dir:         filepath.Join(o.Env.Dir(), "kubelets", c.Name),
		Images:      o.image,
		NodeRoot:    nodeRoot,
		Bubblewrap:  o.bwrap,
		Log:         slog.New(slog.NewTextHandler(o.logs, nil)),
	})
}

// image is what Dockerfile puts into an image, from this machine, or a Debian program with
// what it needs.
func (o *OCloud) image(name string) (kubelet.Rootfs, error) {
	switch repository, _, _ := strings.Cut(filepath.Base(name), ":"); repository {
	case "o2ims":
	case "alertmanager":
		return debianImage("prometheus-alertmanager", "/usr/share/prometheus/alertmanager") // templates
	case "prometheus":
		return debianImage("prometheus")
	default:
		return kubelet.Rootfs{}, fmt.Errorf("image %s: there are o2ims, alertmanager and prometheus", name)
	}
	return kubelet.Rootfs{
		Files: map[string]string{
			"/o2ims":                             o.opts.Binary,
			"/usr/share/misc/pci.ids":            o.pciIDs,
			"/etc/ssl/certs/ca-certificates.crt": "/etc/ssl/certs/ca-certificates.crt",
		},
		Entrypoint: []string{"/o2ims"},
		User:       65532, Group: 65532,
	}, nil
}

// install applies the chart. The Service comes first, since its address is the external
// URL, which goes into the serving certificate.
func (o *OCloud) install(ctx context.Context) error {
	root, err := harness.RepositoryRoot()
	if err != nil {
		return err
	}
	chart := filepath.Join(root, "charts", "o2ims")
	objects, err := harness.RenderChart(chart, "o2ims", Namespace, o.values(""))
	if err != nil {
		return err
	}
	namespace := unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": Namespace},
	}}
	service := slices.DeleteFunc(slices.Clone(objects), func(u unstructured.Unstructured) bool { return u.GetKind() != "Service" })
	if err := o.Env.Hub.Apply(ctx, append(service, namespace)...); err != nil {
		return err
	}
	address := ""
	err = o.Eventually(ctx, "an address for Service o2ims", func(context.Context) error {
		address, err = o.hub.ServiceAddress(Namespace, "o2ims")
		return err
	})
	if err != nil {
		return err
	}
	o.URL = "https://" + address
	if o.objects, err = o.Env.Hub.InstallChart(ctx, chart, "o2ims", Namespace, o.values(o.URL)); err != nil {
		return err
	}
	return o.waitServing(ctx)
}

// values are the environment's own: shorter intervals than in production, accounts to try
// the API with, and callbacks to this machine, without TLS.
func (o *OCloud) values(externalURL string) map[string]any {
	variables := []any{
		map[string]any{"name": "PROBE_INTERVAL", "value": "2s"},
		map[string]any{"name": "REPORT_DEBOUNCE", "value": "500ms"},
		map[string]any{"name": "REPORT_MIN_INTERVAL", "value": "1s"},
	}
	if o.opts.Monitoring {
		variables = append(variables, monitoringVariables()...)
	}
	values := map[string]any{
		"image":      map[string]any{"repository": "localhost/o2ims", "tag": "built-here"},
		"service":    map[string]any{"port": 8443},
		"testClient": map[string]any{"enabled": true},
		"manager":    map[string]any{"externalUrl": externalURL},
		"redis":      map[string]any{"url": o.Redis.URL()},
		"outbound":   map[string]any{"allowNetworks": []any{"127.0.0.0/8"}, "allowHTTP": true},
		"addOnDeploymentConfig": map[string]any{"create": true, "spec": map[string]any{
			"customizedVariables": variables,
		}},
	}
	merge(values, o.opts.Values)
	manager := values["manager"].(map[string]any)
	further, _ := manager["extraArgs"].([]any)
	manager["extraArgs"] = append([]any{"--global-cloud-id=" + GlobalCloudID}, further...)
	return values
}

func merge(into, from map[string]any) {
	for k, v := range from {
		nested, isMap := v.(map[string]any)
		if old, ok := into[k].(map[string]any); ok && isMap {
			merge(old, nested)
			continue
		}
		into[k] = v
	}
}

// waitServing waits for the certificate that the manager makes itself, and for readiness.
func (o *OCloud) waitServing(ctx context.Context) error {
	err := o.Eventually(ctx, "the manager to serve", func(ctx context.Context) error {
		var secret corev1.Secret
		if err := o.Env.Hub.Client().Get(ctx, client.ObjectKey{Namespace: Namespace, Name: "o2ims-serving-cert"}, &secret); err != nil {
			return err
		}
		o.CA = secret.Data["ca.crt"]
		o.http = httpClient(o.CA)
		response, err := o.http.Get(o.URL + "/readyz")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(io.LimitReader(response.Body, 1024))
			return fmt.Errorf("readyz: %s: %s", response.Status, text)
		}
		return nil
	})
	if err != nil {
		return err
	}
	o.say("o2ims serves at %s", o.URL)
	return nil
}

// requestTimeout ends requests that hang. A busy machine may take long to answer.
const requestTimeout = time.Minute

func httpClient(ca []byte) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &http.Client{
		Timeout:   requestTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 16},
	}
}

// AddSpoke joins a managed cluster whose nodes are the given machines. The add-on is
// not enabled; see EnableAddOn.
func (o *OCloud) AddSpoke(ctx context.Context, name string, nodes ...machines.Machine) (*Spoke, error) {
	cluster, err := o.Env.AddManagedCluster(ctx, name, harness.ClusterOptions{})
	if err != nil {
		return nil, err
	}
	s := &Spoke{Cluster: cluster, machines: map[string]machines.Machine{}}
	for _, m := range nodes {
		if err := s.AddMachine(ctx, m); err != nil {
			return nil, err
		}
	}
	if s.Kubelet, err = o.startKubelet(ctx, cluster, nil, s.root); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.spokes[name] = s
	return s, nil
}

// AddMachine makes a machine a node of the cluster.
func (s *Spoke) AddMachine(ctx context.Context, m machines.Machine) error {
	s.mu.Lock()
	s.machines[m.Name] = m
	s.mu.Unlock()
	return s.AddNode(ctx, m.Node())
}

// Machine returns the machine that is a node.
func (s *Spoke) Machine(node string) machines.Machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machines[node]
}

// root is the folder that stands for a node's file system.
func (s *Spoke) root(node string) string {
	if root := s.Machine(node).Root; root != "/" {
		return root
	}
	return ""
}

// Spoke returns a managed cluster by name, or nil.
func (o *OCloud) Spoke(name string) *Spoke {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.spokes[name]
}

// Hub is the kubelet that runs the manager.
func (o *OCloud) Hub() *kubelet.Kubelet { return o.hub }

// EnableAddOn does what an administrator does.
func (o *OCloud) EnableAddOn(ctx context.Context, clusters ...string) error {
	_, err := o.Env.Clusteradm(ctx, "addon", "enable", "--names", "o2ims", "--clusters", strings.Join(clusters, ","))
	return err
}

// DisableAddOn undoes EnableAddOn.
func (o *OCloud) DisableAddOn(ctx context.Context, clusters ...string) error {
	_, err := o.Env.Clusteradm(ctx, "addon", "disable", "--names", "o2ims", "--clusters", strings.Join(clusters, ","))
	return err
}

// Detach removes a managed cluster as an administrator would, and stops it.
func (o *OCloud) Detach(ctx context.Context, name string) error {
	s := o.Spoke(name)
	if s == nil {
		return fmt.Errorf("no managed cluster %s", name)
	}
	if err := o.Env.Detach(ctx, name); err != nil {
		return err
	}
	s.Kubelet.Stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.spokes, name)
	return nil
}

// Token returns a bearer token for the API of one of the chart's test accounts:
// test-client (o2ims-admin) or test-reader (o2ims-reader).
func (o *OCloud) Token(ctx context.Context, account string) (string, error) {
	if token, ok := o.tokens.Load(account); ok {
		return token.(string), nil
	}
	lifetime := int64((7 * 24 * time.Hour).Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{"o2ims"}, ExpirationSeconds: &lifetime,
	}}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: account}}
	if err := o.Env.Hub.Client().SubResource("token").Create(ctx, sa, request); err != nil {
		return "", fmt.Errorf("token of %s: %w", account, err)
	}
	o.tokens.Store(account, request.Status.Token)
	return request.Status.Token, nil
}

// Get asks the API as test-client and decodes the answer into v.
func (o *OCloud) Get(ctx context.Context, path string, v any) error {
	token, err := o.Token(ctx, "test-client")
	if err != nil {
		return err
	}
	response, err := o.Do(ctx, http.MethodGet, path, token, nil)
	if err != nil {
		return err
	}
	body, err := okBody(response)
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return json.Unmarshal(body, v)
}

// okBody reads the body of an answer that has to be 200.
func okBody(response *http.Response) ([]byte, error) {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return body, err
}

// Do sends a request to the API; an empty token sends none.
func (o *OCloud) Do(ctx context.Context, method, path, token string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, o.URL+path, body)
	if err != nil {
		return nil, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return o.http.Do(request)
}

// patience is how long Eventually tries: longer than any lease or back-off on the way.
const patience = 3 * time.Minute

// Eventually calls check until it returns nil. When patience ends, the error says what
// was waited for, why it is not so, and what the kubelets find wrong.
func (o *OCloud) Eventually(ctx context.Context, what string, check func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		attempt, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		last = check(attempt)
		return last == nil, nil
	})
	if err == nil {
		return nil
	}
	return fmt.Errorf("waiting for %s: %w: %w%s", what, err, last, o.problems())
}

func (o *OCloud) problems() string {
	var text strings.Builder
	add := func(name string, k *kubelet.Kubelet) {
		if k == nil {
			return
		}
		for _, p := range k.Problems() {
			fmt.Fprintf(&text, "\n  %s: %s", name, p)
		}
	}
	add("hub", o.hub)
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, s := range o.spokes {
		add(name, s.Kubelet)
	}
	return text.String()
}

// say writes a line of progress.
func (o *OCloud) say(format string, args ...any) {
	fmt.Fprintf(o.progress, "%5.1f s  %s\n", time.Since(o.began).Seconds(), fmt.Sprintf(format, args...))
}

// Stop ends everything and leaves nothing running.
func (o *OCloud) Stop() {
	o.mu.Lock()
	kubelets := []*kubelet.Kubelet{o.hub}
	for _, s := range slices.Collect(maps.Values(o.spokes)) {
		kubelets = append(kubelets, s.Kubelet)
	}
	o.mu.Unlock()
	var wg sync.WaitGroup
	for _, k := range kubelets {
		if k != nil {
			wg.Go(k.Stop)
		}
	}
	wg.Wait()
	if o.Env != nil {
		o.Env.Stop()
	}
	if o.Redis != nil {
		o.Redis.Stop()
	}
	if o.logs != nil {
		o.logs.Close()
	}
}

// ErrNotYet says that something that should come is not there yet.
var ErrNotYet = errors.New("not yet")
