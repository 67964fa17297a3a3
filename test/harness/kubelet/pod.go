package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// retryInterval is how long a pod waits before it looks again for what it lacks.
const retryInterval = time.Second

// pod is one pod from its admission to the end of its last process.
type pod struct {
	k     *Kubelet
	owner ref
	hash  string // of the template it was made from
	id    types.NamespacedName

	// object is what admission returned. Placing the pod replaces it, under mu, by one
	// with node and addresses; run, its containers and the loop need no lock.
	object  *corev1.Pod
	node    *corev1.Node // nil when the cluster has no Node objects
	dir     string       // of its volumes and generated files
	volumes *volumes

	done chan struct{} // closed when nothing of the pod is left

	mu         sync.Mutex
	placed     bool
	cancel     context.CancelFunc // of run
	stopping   bool
	grace      time.Duration // for its processes, once stopping
	waiting    string        // why the pod as a whole does not run yet
	containers []*container
	readySince time.Time // zero while not ready
}

// newPod makes a pod that has no node yet.
func newPod(k *Kubelet, owner ref, hash string, object *corev1.Pod) *pod {
	p := &pod{k: k, owner: owner, hash: hash, object: object, id: types.NamespacedName{Namespace: object.Namespace, Name: object.Name}, done: make(chan struct{}), waiting: "Pending"}
	for i := range object.Spec.Containers {
		p.containers = append(p.containers, newContainer(p, &object.Spec.Containers[i]))
	}
	return p
}

// place binds the pod to a node and starts it.
func (p *pod) place(ctx context.Context, nodeName string, node *corev1.Node) error {
	hostIP, err := p.k.hostIP(nodeName, node)
	if err != nil {
		return err
	}
	ip := hostIP
	if !p.object.Spec.HostNetwork {
		if ip, err = p.k.addresses.take(); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	object := p.object.DeepCopy()
	object.Spec.NodeName = nodeName
	object.Status.HostIP, object.Status.PodIP = hostIP, ip
	p.object, p.node = object, node
	for i, c := range p.containers {
		c.spec = &object.Spec.Containers[i]
	}
	p.dir = filepath.Join(p.k.opts.Dir, "pods", string(object.UID))
	p.volumes = newVolumes(filepath.Join(p.dir, "volumes"), p.k.opts.NodeRoot(nodeName), object, node, p.k.world)
	p.placed, p.waiting = true, "ContainerCreating"
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the kubelet's end ends pods in order
	p.cancel = cancel
	go p.run(runCtx)
	return nil
}

// end stops the pod within its own grace period, bounded by most (0: not bounded). It
// does not wait; done tells.
func (p *pod) end(most time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping {
		return
	}
	p.stopping = true
	p.grace = 30 * time.Second
	if seconds := p.object.Spec.TerminationGracePeriodSeconds; seconds != nil {
		p.grace = time.Duration(*seconds) * time.Second
	}
	if most > 0 {
		p.grace = min(p.grace, most)
	}
	if !p.placed {
		close(p.done)
		return
	}
	p.cancel()
}

// run prepares the pod, runs its init containers in turn and its containers together,
// until the pod is ended.
func (p *pod) run(ctx context.Context) {
	defer close(p.done)
	defer p.k.kick()
	defer p.cleanUp()
	if !p.until(ctx, p.prepare) {
		return
	}
	for i := range p.object.Spec.InitContainers {
		c := newContainer(p, &p.object.Spec.InitContainers[i])
		p.wait("Init:" + c.spec.Name)
		if !c.runToCompletion(ctx) {
			return
		}
	}
	p.wait("")
	var running sync.WaitGroup
	for _, c := range p.containers {
		running.Go(func() { c.keepRunning(ctx) })
	}
	running.Wait()
}

// until repeats a step until it succeeds; false says that the pod was ended before.
func (p *pod) until(ctx context.Context, step func(context.Context) error) bool {
	for ctx.Err() == nil {
		err := step(ctx)
		if err == nil {
			return true
		}
		p.wait("ContainerCreating: " + err.Error())
		pause(ctx, retryInterval)
	}
	return false
}

// pause waits, or returns when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (p *pod) prepare(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(p.dir, "etc"), 0o755); err != nil {
		return err
	}
	if err := writeInPlace(p.file("resolv.conf"), resolvConf(p.object.Namespace)); err != nil {
		return err
	}
	if err := p.writeHosts(p.k.services.entries()); err != nil {
		return err
	}
	return p.volumes.prepare(ctx)
}

// file is the path of a file generated for the pod's /etc.
func (p *pod) file(name string) string { return filepath.Join(p.dir, "etc", name) }

func (p *pod) writeHosts(services []serviceEntry) error {
	return writeInPlace(p.file("hosts"), hostsFile(p.object, p.hostname(), services))
}

// refresh brings what is mounted up to date with the cluster.
func (p *pod) refresh(ctx context.Context) {
	p.mu.Lock()
	placed, stopping := p.placed, p.stopping
	p.mu.Unlock()
	if !placed || stopping {
		return
	}
	if err := p.volumes.refresh(ctx); err != nil {
		p.k.opts.Log.Debug("volumes not refreshed", "pod", p.name(), "error", err)
	}
	if _, err := os.Stat(p.file("hosts")); err == nil {
		if err := p.writeHosts(p.k.services.entries()); err != nil {
			p.k.opts.Log.Warn("hosts not refreshed", "pod", p.name(), "error", err)
		}
	}
}

func (p *pod) cleanUp() {
	if !p.object.Spec.HostNetwork {
		p.k.addresses.release(p.object.Status.PodIP)
	}
	if err := os.RemoveAll(p.dir); err != nil {
		p.k.opts.Log.Warn("pod folder not removed", "pod", p.name(), "error", err)
	}
}

// wait sets why the pod does not run; "" when it does.
func (p *pod) wait(reason string) {
	p.mu.Lock()
	changed := p.waiting != reason
	p.waiting = reason
	p.mu.Unlock()
	if changed && reason != "" {
		p.k.opts.Log.Info("pod waits", "pod", p.name(), "reason", reason)
	}
}

// changed is called when a container's readiness may have: it settles the pod's.
func (p *pod) changed() {
	p.mu.Lock()
	ready := len(p.containers) > 0 && !p.stopping
	for _, c := range p.containers {
		ready = ready && c.ready
	}
	was := !p.readySince.IsZero()
	switch {
	case ready && !was:
		p.readySince = time.Now()
	case !ready:
		p.readySince = time.Time{}
	}
	p.mu.Unlock()
	if ready != was {
		p.k.opts.Log.Info("pod readiness", "pod", p.name(), "ready", ready)
		p.k.kick()
	}
}

func (p *pod) name() string { return p.id.String() }

// hostname is the pod's, or on the node's network the node's; at most 63 characters.
func (p *pod) hostname() string {
	name := p.id.Name
	switch {
	case p.object.Spec.HostNetwork:
		name = p.object.Spec.NodeName
	case p.object.Spec.Hostname != "":
		name = p.object.Spec.Hostname
	}
	return strings.TrimRight(name[:min(len(name), 63)], "-.")
}

// view is what the controllers need to know of the pod.
func (p *pod) view(now time.Time, minReady time.Duration) podView {
	p.mu.Lock()
	defer p.mu.Unlock()
	ready := !p.stopping && !p.readySince.IsZero()
	return podView{
		node: p.object.Spec.NodeName, hash: p.hash, stopping: p.stopping, placed: p.placed,
		ready: ready, available: ready && now.Sub(p.readySince) >= minReady,
	}
}

func (p *pod) info() PodInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	info := PodInfo{
		Namespace: p.id.Namespace, Name: p.id.Name, Owner: p.owner.kind + "/" + p.owner.name,
		Node: p.object.Spec.NodeName, IP: p.object.Status.PodIP, State: p.waiting,
		Ready: !p.stopping && !p.readySince.IsZero(),
	}
	for i, c := range p.containers {
		if i == 0 {
			info.LogPath = c.logPath()
			if c.process != nil {
				info.PID = c.process.pid
			}
		}
		info.Restarts += c.restarts
		if info.State == "" && c.state != stateRunning {
			info.State = c.state
		}
	}
	switch {
	case p.stopping:
		info.State = "Terminating"
	case info.State == "":
		info.State = stateRunning
	}
	return info
}

// kill ends the pod's processes at once; false when none runs.
func (p *pod) kill() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	any := false
	for _, c := range p.containers {
		if c.process != nil {
			c.process.signal(sigKill)
			any = true
		}
	}
	return any
}

func (p *pod) logPaths() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var paths []string
	for _, list := range [][]corev1.Container{p.object.Spec.InitContainers, p.object.Spec.Containers} {
		for i := range list {
			paths = append(paths, p.logPath(list[i].Name))
		}
	}
	return paths
}

func (p *pod) logPath(container string) string {
	return filepath.Join(p.k.opts.Dir, "logs", fmt.Sprintf("%s_%s_%s.log", p.id.Namespace, p.id.Name, container))
}

// hostIP is the node's InternalIP where it is a loopback address. Any other would be an
// address of somebody else's machine; an own address stands for it.
func (k *Kubelet) hostIP(name string, node *corev1.Node) (string, error) {
	if node == nil {
		return "127.0.0.1", nil
	}
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP && isLoopback(a.Address) {
			return a.Address, nil
		}
	}
	return k.addresses.forNode(name)
}
