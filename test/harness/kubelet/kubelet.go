// Package kubelet plays the kubelet for one cluster of the test environment, and with it
// the Deployment and DaemonSet controllers, the scheduler and the service proxy.
//
// The environment has real apiservers and no container runtime. So that our manifests
// are nevertheless proven by running them, each container becomes a process in a mount
// namespace of its own, made by bubblewrap: it sees the files of its image, the volumes
// where the manifest mounts them, its environment, and nothing else of the machine. A
// wrong argument, mount, user, RBAC rule or service account fails as it would on a node.
//
// What it reads: Deployments, DaemonSets, Services, Secrets, ConfigMaps and Nodes. What
// it writes: the status of Deployments and DaemonSets, and nothing else. There are no
// Pod objects; each pod is submitted as a dry run, so that admission completes or
// refuses it, and only what admission returned is run.
//
// What differs from a node: all pods share the machine's network namespace, and a pod's
// address is one of 127/8 to which the process must bind; resource limits are not
// enforced; exec and gRPC probes, lifecycle hooks, sidecars and other volume types than
// those of volumes.go are refused, loudly, rather than passed over.
//
// A real kubelet was the alternative: it wants a container runtime, images and cgroups
// that developers' machines do not have. Running the programs as plain child processes
// was another: it would hide every mistake in a manifest.
package kubelet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Options say for which cluster the kubelet stands, and with what it makes containers.
type Options struct {
	// RESTConfig reaches the cluster's apiserver, with rights like a node's and its
	// controllers': read the kinds above, create pods (dry run) and tokens, write status.
	RESTConfig  *rest.Config
	ClusterName string

	// APIServerHost and APIServerPort become KUBERNETES_SERVICE_HOST and _PORT.
	// Empty: those of RESTConfig.
	APIServerHost, APIServerPort string

	// Namespaces are those whose workloads run; none means all.
	Namespaces []string

	// Dir keeps the pods' volumes (pods/, emptied at start) and their logs (logs/).
	Dir string

	// Images maps an image name to files of this machine. An error keeps the pod
	// waiting with ErrImagePull.
	Images func(image string) (Rootfs, error)

	// NodeRoot is the folder that stands for the file system of a node: hostPath
	// volumes are looked up below it. "" is the machine itself; so is a nil function.
	NodeRoot func(node string) string

	// Bubblewrap is the path of bwrap; empty looks it up.
	Bubblewrap string

	Log *slog.Logger
}

// Rootfs is what an image is made of.
type Rootfs struct {
	// Files maps absolute paths in the container to files or folders of this machine.
	// They are read-only.
	Files map[string]string

	Entrypoint []string // used where the container has no command
	Env        []string // NAME=value
	WorkingDir string   // "" is /

	// User and Group own the process unless the manifest says otherwise.
	User, Group int64
}

// Validate reports everything that is missing or contradictory.
func (o *Options) Validate() error {
	var faults []error
	for _, missing := range []struct {
		name string
		is   bool
	}{
		{"RESTConfig", o.RESTConfig == nil},
		{"ClusterName", o.ClusterName == ""},
		{"Dir", o.Dir == ""},
		{"Images", o.Images == nil},
	} {
		if missing.is {
			faults = append(faults, fmt.Errorf("kubelet options: %s is missing: %w", missing.name, fault.Invalid))
		}
	}
	if (o.APIServerHost == "") != (o.APIServerPort == "") {
		faults = append(faults, fmt.Errorf("kubelet options: APIServerHost and APIServerPort go together: %w", fault.Invalid))
	}
	return errors.Join(faults...)
}

// complete fills in what was left to us.
func (o *Options) complete() error {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Log = o.Log.With("kubelet", o.ClusterName)
	if o.NodeRoot == nil {
		o.NodeRoot = func(string) string { return "" }
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	o.Dir = dir
	if o.APIServerHost == "" {
		o.APIServerHost, o.APIServerPort, err = hostAndPort(o.RESTConfig.Host)
	}
	return err
}

// hostAndPort takes the apiserver's address out of a client configuration's host, which
// is a URL or host:port.
func hostAndPort(host string) (string, string, error) {
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	u, err := url.Parse(host)
	if err != nil {
		return "", "", fmt.Errorf("apiserver address %q: %w: %w", host, err, fault.Invalid)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80"}[u.Scheme]
	}
	return u.Hostname(), cmp.Or(port, "443"), nil
}

// Kubelet runs the workloads of one cluster until Stop.
type Kubelet struct {
	opts      Options
	client    kubernetes.Interface
	world     *world
	sandbox   *sandbox
	addresses *addresses
	services  *services

	wake   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}

	// workloads changes in the loop's goroutine only, and under mu: the loop reads it
	// freely, everybody else takes the lock.
	mu        sync.Mutex
	workloads map[ref]*workload
}

// Start runs the workloads of a cluster. It returns when the first list of everything
// has been read; ctx ends the kubelet as Stop does.
func Start(ctx context.Context, opts Options) (*Kubelet, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if err := opts.complete(); err != nil {
		return nil, err
	}
	box, err := newSandbox(opts.Bubblewrap)
	if err != nil {
		return nil, err
	}
	if err := layOut(opts.Dir); err != nil {
		return nil, err
	}
	config := rest.CopyConfig(opts.RESTConfig)
	config.QPS, config.Burst = 100, 200
	config.WarningHandler = warnings{opts.Log}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", opts.ClusterName, err)
	}
	addrs, err := reserveAddresses()
	if err != nil {
		return nil, err
	}

	ctx, cancel := context.WithCancel(ctx)
	k := &Kubelet{
		opts: opts, client: client, sandbox: box, addresses: addrs,
		wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
		workloads: map[ref]*workload{},
	}
	k.services = newServices(addrs, k.backend, net.JoinHostPort(opts.APIServerHost, opts.APIServerPort), opts.Log)
	k.world = watch(ctx, client, opts.Namespaces, k.kick)
	if err := k.world.waitForSync(ctx); err != nil {
		cancel()
		k.services.close()
		k.sandbox.close()
		k.addresses.close()
		return nil, fmt.Errorf("kubelet of %s: %w", opts.ClusterName, err)
	}
	go k.loop(ctx)
	return k, nil
}

// warnings logs what the apiserver has to say about requests that it accepts, such as
// that a pod would violate a stricter Pod Security level.
type warnings struct{ log *slog.Logger }

func (w warnings) HandleWarningHeader(_ int, _, text string) {
	if text != "" {
		w.log.Info("apiserver warns", "warning", text)
	}
}

// layOut makes the folders and removes what an earlier run left. Only we may look
// inside: volumes hold credentials.
func layOut(dir string) error {
	if err := os.RemoveAll(filepath.Join(dir, "pods")); err != nil {
		return err
	}
	for _, d := range []string{dir, filepath.Join(dir, "pods"), filepath.Join(dir, "logs")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return os.Chmod(filepath.Join(dir, "pods"), 0o700)
}

// Stop ends all pods, each within its grace period and none later than five seconds,
// and returns when every process is gone.
func (k *Kubelet) Stop() {
	k.cancel()
	<-k.done
}

// kick asks for a look at the world; several kicks in a row are one look.
func (k *Kubelet) kick() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// settle lets changes that come together be seen together.
const settle = 20 * time.Millisecond

// loop looks at the world after each change of it and once a second, since waiting pods
// and ageing tokens have no event.
func (k *Kubelet) loop(ctx context.Context) {
	defer close(k.done)
	defer k.shutDown()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		k.sync(ctx)
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
			pause(ctx, settle)
		case <-ticker.C:
		}
	}
}

// shutdownGrace bounds every pod's grace period when the kubelet itself stops.
const shutdownGrace = 5 * time.Second

func (k *Kubelet) shutDown() {
	pods := k.allPods()
	for _, p := range pods {
		p.end(shutdownGrace)
	}
	for _, p := range pods {
		<-p.done
	}
	k.services.close()
	k.sandbox.close()
	k.addresses.close()
	if err := os.RemoveAll(filepath.Join(k.opts.Dir, "pods")); err != nil {
		k.opts.Log.Warn("volumes not removed", "error", err)
	}
}

// allPods are the pods of all workloads, in order of namespace and name.
func (k *Kubelet) allPods() []*pod {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []*pod
	for _, w := range k.workloads {
		all = append(all, w.pods...)
	}
	slices.SortFunc(all, func(a, b *pod) int {
		return cmp.Compare(a.name(), b.name())
	})
	return all
}

// PodInfo is what `kubectl get pods -o wide` would show.
type PodInfo struct {
	Namespace, Name string
	Owner           string // "Deployment/name" or "DaemonSet/name"
	Node            string // "" while no node admits the pod
	IP              string
	State           string // "Running", or why not: "ContainerCreating: secret \"x\" not found"
	Ready           bool
	PID             int    // of the first container's process, on this machine; 0 while it does not run
	LogPath         string // of the first container
	Restarts        int    // of all containers
}

// Pods lists the pods in order of namespace and name, those being stopped included.
func (k *Kubelet) Pods() []PodInfo {
	var infos []PodInfo
	for _, p := range k.allPods() {
		infos = append(infos, p.info())
	}
	return infos
}

// Problems says in one line each what keeps a workload or pod from being ready.
func (k *Kubelet) Problems() []string {
	var problems []string
	k.mu.Lock()
	for r, w := range k.workloads {
		if w.refusal != "" {
			problems = append(problems, fmt.Sprintf("%s: %s", r, w.refusal))
		}
	}
	k.mu.Unlock()
	slices.Sort(problems)
	for _, p := range k.Pods() {
		if !p.Ready {
			problems = append(problems, fmt.Sprintf("Pod %s/%s: %s; log %s ends: %q", p.Namespace, p.Name, p.State, p.LogPath, tail(p.LogPath)))
		}
	}
	return append(problems, k.services.problems()...)
}

// tail is the last few lines that a container wrote itself.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, notePrefix) })
	return strings.Join(lines[max(0, len(lines)-3):], "\n")
}

// Kill ends a pod's processes with SIGKILL. They are restarted like any that exit.
func (k *Kubelet) Kill(namespace, name string) error {
	p, err := k.pod(namespace, name)
	if err != nil {
		return err
	}
	if !p.kill() {
		return fmt.Errorf("pod %s/%s: no process runs: %w", namespace, name, fault.NotFound)
	}
	return nil
}

// Logs returns what a pod's containers have written, restarts included. The logs of
// pods that are gone stay in Dir/logs.
func (k *Kubelet) Logs(namespace, name string) (string, error) {
	p, err := k.pod(namespace, name)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, path := range p.logPaths() {
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		text.Write(b)
	}
	return text.String(), nil
}

// ServiceAddress is the host:port on this machine that leads to the first port of a
// Service, whichever pods stand behind it.
func (k *Kubelet) ServiceAddress(namespace, name string) (string, error) {
	return k.services.address(namespace, name)
}

func (k *Kubelet) pod(namespace, name string) (*pod, error) {
	for _, p := range k.allPods() {
		if p.id.Namespace == namespace && p.id.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("pod %s/%s: %w", namespace, name, fault.NotFound)
}
