// Package harness starts a real Open Cluster Management hub with real managed clusters
// on one machine, without containers: etcd, one kube-apiserver and controller manager
// per cluster, OCM's controllers and webhooks, and a klusterlet per spoke that joins by
// certificate signing request. They are plain processes, built from their Go modules
// (hack/kube, hack/ocm, hack/clusteradm) into a cache the first time.
//
// It exists because the questions that integration and end-to-end tests ask are about
// those programs: does the status we apply survive OCM's own writers, may the work
// agent apply our manifests, does a klusterlet's restart lose anything? Containers
// would answer them too, but need a runtime and images that a test machine may lack;
// envtest has no OCM.
//
// What runs as in production: OCM's processes under the service accounts and roles of
// OCM's own manifests, the webhooks, automatic approval of the bootstrap account.
// What does not: nothing schedules or runs pods. On spokes the controllers of
// Deployments and DaemonSets are left out, so that a stand-in for the kubelet can play
// them (test/harness/kubelet).
//
// Everything listens on 127.0.0.1, on ports of its own, so that environments run side
// by side. Children die with the process that started them.
package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/o2ims/o2ims/test/child"
	"github.com/o2ims/o2ims/test/port"
)

// Options say where an environment keeps its files and whom it tells what it does.
type Options struct {
	// Dir keeps certificates, data and logs. It must be empty, missing, or the folder of an
	// earlier environment, which is then emptied. "" is a temporary folder, removed by Stop.
	Dir string

	// Progress receives a line per step, such as builds that take minutes. Nil drops them.
	Progress io.Writer

	// SyncWrites makes etcd wait for the disk, as production does. Without it starts are
	// faster, and what a crash of the machine loses does not matter.
	SyncWrites bool
}

// Env is a hub with its managed clusters. Its methods may be called concurrently.
type Env struct {
	Hub *Cluster

	opts     Options
	dir      string
	began    time.Time
	programs programs
	thread   *child.Thread
	etcd     *Process
	etcdURL  string
	ocm      []*Process

	spokeManifests func() ([]unstructured.Unstructured, error)

	mu       sync.Mutex
	clusters map[string]*Cluster // managed clusters by name
	extra    []*Process          // started through StartProcess
	stopped  bool
}

// programs are the paths of the built binaries.
type programs struct{ kube, ocm, clusteradm string }

// marker is a file by which we know a folder as one of ours, which we may empty.
const marker = ".o2ims-environment"

// readyTimeout bounds the start of one process. A machine that compiles on all its cores
// takes tens of seconds for what takes two when idle.
const readyTimeout = 2 * time.Minute

// Start builds what is missing and starts a hub. It returns when OCM's controllers and
// webhooks are serving. The caller stops it with Stop, also when ctx ends.
func Start(ctx context.Context, opts Options) (*Env, error) {
	return start(ctx, opts, (*Env).startOCM)
}

func start(ctx context.Context, opts Options, hub func(*Env, context.Context) error) (*Env, error) {
	if opts.Progress == nil {
		opts.Progress = io.Discard
	}
	opts.Progress = &lineWriter{w: opts.Progress}
	e := &Env{opts: opts, clusters: map[string]*Cluster{}, thread: child.NewThread()}
	if err := e.start(ctx, hub); err != nil {
		e.Stop()
		return nil, err
	}
	return e, nil
}

func (e *Env) start(ctx context.Context, hub func(*Env, context.Context) error) error {
	if err := e.buildPrograms(ctx); err != nil {
		return err
	}
	dir, err := prepareDir(e.opts.Dir)
	if err != nil {
		return err
	}
	e.dir = dir
	e.began = time.Now()
	e.spokeManifests = sync.OnceValues(func() ([]unstructured.Unstructured, error) {
		return e.ocmManifests(ctx, "spoke")
	})
	if err := e.startEtcd(ctx); err != nil {
		return err
	}
	if err := hub(e, ctx); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	e.progress("hub ready")
	return nil
}

// startOCM starts a hub with all that belongs to one.
func (e *Env) startOCM(ctx context.Context) (err error) {
	if e.Hub, err = e.startCluster(ctx, hubName); err != nil {
		return err
	}
	return e.startHub(ctx)
}

// Prepare builds what is missing of the programs that an environment runs, so that the
// first Start does not take the minutes that this takes with an empty cache.
func Prepare(ctx context.Context, progress io.Writer) error {
	e := &Env{opts: Options{Progress: &lineWriter{w: progress}}}
	return e.buildPrograms(ctx)
}

func (e *Env) buildPrograms(ctx context.Context) error {
	tools, err := newToolchain(e.opts.Progress)
	if err != nil {
		return err
	}
	for _, b := range []struct {
		path    *string
		program program
	}{
		{&e.programs.kube, kubeProgram()},
		{&e.programs.ocm, ocmProgram()},
		{&e.programs.clusteradm, clusteradmProgram()},
	} {
		if *b.path, err = tools.binary(ctx, b.program); err != nil {
			return err
		}
	}
	return nil
}

// prepareDir returns an absolute, empty folder for an environment.
func prepareDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "o2ims-")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	ours := slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == marker })
	if len(entries) > 0 && !ours {
		return "", fmt.Errorf("%s is not empty and not the folder of an earlier environment", dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, marker), nil, 0o644)
}

// startEtcd starts the one etcd that all apiservers share, each below its own prefix.
func (e *Env) startEtcd(ctx context.Context) error {
	client, err := port.Keep()
	if err != nil {
		return err
	}
	peer, err := port.Keep()
	if err != nil {
		return err
	}
	e.etcdURL = "http://" + loopback(client)
	peerURL := "http://" + loopback(peer)
	args := []string{
		"etcd",
		"--name=etcd",
		"--data-dir=" + filepath.Join(e.dir, "etcd"),
		"--listen-client-urls=" + e.etcdURL,
		"--advertise-client-urls=" + e.etcdURL,
		"--listen-peer-urls=" + peerURL,
		"--initial-advertise-peer-urls=" + peerURL,
		"--initial-cluster=etcd=" + peerURL,
		"--auto-compaction-mode=periodic",
		"--auto-compaction-retention=5m",
		"--quota-backend-bytes=8589934592",
		"--log-level=warn",
	}
	if !e.opts.SyncWrites {
		args = append(args, "--unsafe-no-fsync")
	}
	e.etcd, err = e.run(ctx, ProcessSpec{
		Name: "etcd", Path: e.programs.kube, Args: args, Ready: httpReady(e.etcdURL + "/health"),
	})
	return err
}

// Cluster returns a managed cluster by name, or nil while there is none.
func (e *Env) Cluster(name string) *Cluster {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.clusters[name]
}

// Dir is the folder with the environment's files; logs/ below it has one file per process.
func (e *Env) Dir() string { return e.dir }

// EtcdURL is where the etcd of all apiservers is, and its metrics at /metrics.
func (e *Env) EtcdURL() string { return e.etcdURL }

// StartProcess runs another program as part of the environment and waits until it is
// ready. Stop ends it before everything else.
func (e *Env) StartProcess(ctx context.Context, spec ProcessSpec) (*Process, error) {
	p, err := e.run(ctx, spec)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.extra = append(e.extra, p)
	return p, nil
}

func (e *Env) run(ctx context.Context, spec ProcessSpec) (*Process, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return startProcess(ctx, e.thread, e.dir, spec)
}

// Stop ends everything, controllers first, then apiservers, then etcd: an apiserver
// whose etcd is gone takes a minute to notice that it should end. It is safe to call
// twice, but not while AddManagedCluster runs.
func (e *Env) Stop() {
	e.mu.Lock()
	if e.stopped {
		e.mu.Unlock()
		return
	}
	e.stopped = true
	clusters := slices.Collect(maps.Values(e.clusters))
	extra := e.extra
	e.mu.Unlock()

	stopAll(10*time.Second, extra...)
	if e.Hub != nil {
		clusters = append(clusters, e.Hub)
	}
	controllers := slices.Clone(e.ocm)
	var apiservers []*Process
	for _, c := range clusters {
		if c == nil { // it did not get far
			continue
		}
		c.stopNodes()
		controllers = append(controllers, c.klusterlet, c.controllers)
		apiservers = append(apiservers, c.currentAPIServer())
	}
	stopAll(3*time.Second, controllers...)
	stopAll(5*time.Second, apiservers...)
	stopAll(5*time.Second, e.etcd)
	e.thread.Close()
	if e.opts.Dir == "" && e.dir != "" {
		os.RemoveAll(e.dir)
	}
}

// stopAll stops processes side by side; some may be nil.
func stopAll(grace time.Duration, processes ...*Process) {
	var wg sync.WaitGroup
	for _, p := range processes {
		if p != nil {
			wg.Go(func() { p.Stop(grace) })
		}
	}
	wg.Wait()
}

// progress tells what has been reached, and when.
func (e *Env) progress(format string, args ...any) {
	fmt.Fprintf(e.opts.Progress, "%5.1f s  %s\n", time.Since(e.began).Seconds(), fmt.Sprintf(format, args...))
}

// lineWriter lets several goroutines report progress.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// loopback is the address of a port on this machine: nothing here listens on any other.
func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// together runs functions side by side; the first error cancels the others.
func together(ctx context.Context, functions ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, f := range functions {
		group.Go(func() error { return f(ctx) })
	}
	return group.Wait()
}
