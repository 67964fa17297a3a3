package kubelet

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const sigKill = syscall.SIGKILL

// stateRunning is a container's state while its process runs; any other text says why
// it does not.
const stateRunning = "Running"

// container is one container of a pod, over all its restarts.
type container struct {
	pod  *pod
	spec *corev1.Container

	// The following are guarded by pod.mu.
	state    string
	process  *process // nil while none runs
	ready    bool
	restarts int
}

func newContainer(p *pod, spec *corev1.Container) *container {
	return &container{pod: p, spec: spec, state: "ContainerCreating"}
}

func (c *container) logPath() string { return c.pod.logPath(c.spec.Name) }

// The delay before a restart: short, since tests wait for it, and growing, since a
// program that cannot start would otherwise keep a core busy.
const (
	firstDelay = time.Second
	mostDelay  = 10 * time.Second
	calmAfter  = time.Minute // a run of this length makes the next delay the first again
)

// nextDelay is how long to wait before a restart, from the delay before the run that has
// just ended (0: there was none) and how long that run lasted.
func nextDelay(last, ran time.Duration) time.Duration {
	if last == 0 || ran >= calmAfter {
		return firstDelay
	}
	return min(2*last, mostDelay)
}

// keepRunning runs the container until ctx ends, restarting it whenever it exits.
func (c *container) keepRunning(ctx context.Context) {
	var delay time.Duration
	for {
		began := time.Now()
		reason, started := c.runOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if !started { // something is missing: look again soon, this is no crash
			c.setState(reason)
			pause(ctx, retryInterval)
			continue
		}
		delay = nextDelay(delay, time.Since(began))
		c.pod.mu.Lock()
		c.restarts++
		c.pod.mu.Unlock()
		c.setState(fmt.Sprintf("CrashLoopBackOff: %s, restart in %s", reason, delay))
		c.note("%s; restart in %s", reason, delay)
		pause(ctx, delay)
	}
}

// runToCompletion runs an init container until it exits with 0; false says that the pod
// was ended before.
func (c *container) runToCompletion(ctx context.Context) bool {
	var delay time.Duration
	for ctx.Err() == nil {
		began := time.Now()
		p, err := c.start()
		if err != nil {
			c.pod.wait("Init:" + c.spec.Name + ": " + err.Error())
			pause(ctx, retryInterval)
			continue
		}
		select {
		case <-ctx.Done():
			c.terminate(p)
			return false
		case <-p.exited:
		}
		if p.code == 0 {
			return true
		}
		delay = nextDelay(delay, time.Since(began))
		c.pod.wait(fmt.Sprintf("Init:%s: CrashLoopBackOff: exit code %d", c.spec.Name, p.code))
		c.note("exit code %d; restart in %s", p.code, delay)
		pause(ctx, delay)
	}
	return false
}

// runOnce runs the container's process from start to exit. It returns why the process
// ended, or, with false, why there was none.
func (c *container) runOnce(ctx context.Context) (string, bool) {
	p, err := c.start()
	if err != nil {
		return err.Error(), false
	}
	c.pod.mu.Lock()
	c.process = p
	c.pod.mu.Unlock()
	c.setState(stateRunning)

	probing, stopProbing := context.WithCancel(ctx)
	failed := make(chan string, 1)
	probed := make(chan struct{})
	go func() {
		defer close(probed)
		c.probe(probing, failed)
	}()

	var reason string
	select {
	case <-p.exited:
		reason = fmt.Sprintf("exit code %d", p.code)
	case reason = <-failed:
		c.note("%s; the container is stopped", reason)
		c.terminate(p)
	case <-ctx.Done():
		reason = "pod ended"
		c.setReady(false) // before the signal, so that nobody is sent to a process that is leaving
		c.terminate(p)
	}
	stopProbing()
	<-probed
	c.setReady(false)
	c.pod.mu.Lock()
	c.process = nil
	c.pod.mu.Unlock()
	return reason, true
}

// terminate asks a process to end and, when its grace period is over, ends it.
func (c *container) terminate(p *process) {
	c.pod.mu.Lock()
	grace := c.pod.grace
	c.pod.mu.Unlock()
	if seconds := c.pod.object.Spec.TerminationGracePeriodSeconds; grace == 0 && seconds != nil {
		grace = time.Duration(*seconds) * time.Second // a restart, not the pod's end
	}
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		c.note("did not end within %s of SIGTERM: killed", grace)
		p.signal(syscall.SIGKILL)
		<-p.exited
	}
}

// start begins a run of the container; the error is a state in the kubelet's words.
func (c *container) start() (*process, error) {
	what, err := c.containment()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(c.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own descriptor
	what.log = log
	p, err := c.pod.k.sandbox.start(what)
	if err != nil {
		return nil, fmt.Errorf("CreateContainerError: %w", err)
	}
	return p, nil
}

// defaultPath is the PATH that container runtimes set where the image does not.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// containment resolves the manifest into what the process is started with.
func (c *container) containment() (containment, error) {
	p, spec := c.pod, &c.pod.object.Spec
	image, err := p.k.opts.Images(c.spec.Image)
	if err != nil {
		return containment{}, fmt.Errorf("ErrImagePull: %s: %w", c.spec.Image, err)
	}
	bad := func(err error) (containment, error) {
		return containment{}, fmt.Errorf("CreateContainerConfigError: %w", err)
	}
	who, err := identify(spec, c.spec, image)
	if err != nil {
		return bad(err)
	}
	manifest, err := environment(p.object, c.spec, p.node, p.k.serviceVariables(p.object), p.k.world)
	if err != nil {
		return bad(err)
	}
	volumes, err := p.volumes.mounts(c.spec, manifest)
	if err != nil {
		return bad(err)
	}
	command := commandOf(c.spec, image, manifest)
	if len(command) == 0 {
		return bad(fmt.Errorf("no command specified"))
	}
	var mounts []mount
	for target, source := range image.Files {
		mounts = append(mounts, mount{source: source, target: target})
	}
	for _, name := range []string{"hosts", "resolv.conf"} {
		mounts = append(mounts, mount{source: p.file(name), target: "/etc/" + name})
	}
	mounts = append(mounts, volumes...) // last, for a volume hides what the image has in its place
	env := variables{"PATH": defaultPath, "HOME": "/", "HOSTNAME": p.hostname()}
	for _, e := range image.Env {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	maps.Copy(env, manifest)
	workingDir := image.WorkingDir
	if c.spec.WorkingDir != "" {
		workingDir = c.spec.WorkingDir
	}
	return containment{
		mounts: mounts, readOnlyRoot: readOnlyRoot(c.spec), who: who, capabilities: capabilities(c.spec, who),
		privileged: privileged(c.spec), hostPID: spec.HostPID, hostname: p.hostname(), workingDir: workingDir,
		command: command, env: env.strings(),
	}, nil
}

// commandOf is a container's command line: a command replaces the image's entrypoint,
// and args follow either.
func commandOf(c *corev1.Container, image Rootfs, env variables) []string {
	line := append([]string(nil), image.Entrypoint...)
	if len(c.Command) > 0 {
		line = append([]string(nil), c.Command...)
	}
	line = append(line, c.Args...)
	// The image's entrypoint is expanded too, which is harmless: it has no references.
	for i := range line {
		line[i] = expand(line[i], func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	}
	return line
}

// notePrefix begins the lines of a container's log that are ours.
const notePrefix = "--- kubelet: "

// note writes a line of ours into the container's log.
func (c *container) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.pod.k.opts.Log.Info("container", "pod", c.pod.name(), "container", c.spec.Name, "event", text)
	log, err := os.OpenFile(c.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		c.pod.k.opts.Log.Warn("container log", "error", err)
		return
	}
	_, _ = fmt.Fprintf(log, notePrefix+"%s: %s\n", time.Now().UTC().Format(time.RFC3339), text)
	_ = log.Close()
}

func (c *container) setState(state string) {
	c.pod.mu.Lock()
	changed := c.state != state
	c.state = state
	c.pod.mu.Unlock()
	if changed && state != stateRunning {
		c.pod.k.opts.Log.Info("container waits", "pod", c.pod.name(), "container", c.spec.Name, "state", state)
	}
}

func (c *container) setReady(ready bool) {
	c.pod.mu.Lock()
	changed := c.ready != ready
	c.ready = ready
	c.pod.mu.Unlock()
	if changed {
		c.pod.changed()
	}
}
