package harness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// program is a command that the harness builds from a module of its own below hack/.
type program struct {
	name    string        // of the binary
	what    string        // what a person waiting for the build is told
	cold    time.Duration // what that build takes on two cores with nothing cached
	module  string        // folder of its go.mod, from the root of the repository
	pkg     string        // what to build, as `go build` takes it
	sources []string      // folders whose files decide about the binary, module's own included
	ldflags string
}

const (
	kubeVersion    = "v1.35.4"
	kubeVersionPkg = "k8s.io/component-base/version"
)

func kubeProgram() program {
	x := func(name, value string) string { return " -X " + kubeVersionPkg + "." + name + "=" + value }
	return program{
		name: "kube", what: "kube-apiserver, etcd and kube-controller-manager", cold: 400 * time.Second,
		module: "hack/kube", pkg: ".", sources: []string{"hack/kube"},
		ldflags: "-s -w" + x("gitVersion", kubeVersion) + x("gitMajor", "1") + x("gitMinor", "35"),
	}
}

func ocmProgram() program {
	return program{
		name: "ocm", what: "Open Cluster Management's controllers and klusterlet", cold: 430 * time.Second,
		module: "hack/ocm", pkg: ".", sources: []string{"hack/ocm", "hack/about"}, ldflags: "-s -w",
	}
}

func clusteradmProgram() program {
	return program{
		name: "clusteradm", what: "clusteradm", cold: 120 * time.Second,
		module: "hack/clusteradm", pkg: "open-cluster-management.io/clusteradm/cmd/clusteradm",
		sources: []string{"hack/clusteradm"}, ldflags: "-s -w",
	}
}

// toolchain builds programs and keeps them in a cache outside the work tree, under a
// name that carries a hash of everything that decides about them. So a second start
// builds nothing, a changed version builds anew, and two branches do not disturb each
// other.
type toolchain struct {
	root     string // of the repository
	cache    string // folder of the cache
	progress io.Writer
}

// CacheDir is where built programs lie: $O2IMS_CACHE, else o2ims below
// $XDG_CACHE_HOME or ~/.cache.
func CacheDir() (string, error) {
	if dir := os.Getenv("O2IMS_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir() // honours XDG_CACHE_HOME
	if err != nil {
		return "", fmt.Errorf("cache folder: %w (set O2IMS_CACHE)", err)
	}
	return filepath.Join(dir, "o2ims"), nil
}

// RepositoryRoot is the nearest folder above the working directory that holds the
// product's go.mod. Tests run in the folder of their package, commands anywhere below it.
func RepositoryRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(mod, []byte("module github.com/o2ims/o2ims\n")) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no o2ims repository at or above %s", start)
		}
	}
}

func newToolchain(progress io.Writer) (*toolchain, error) {
	root, err := RepositoryRoot()
	if err != nil {
		return nil, err
	}
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(cache, "bin"), 0o755); err != nil {
		return nil, err
	}
	return &toolchain{root: root, cache: cache, progress: progress}, nil
}

// binary returns the path of the program, built now if it is not in the cache.
func (t *toolchain) binary(ctx context.Context, p program) (string, error) {
	key, err := t.key(ctx, p)
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.name, err)
	}
	path := filepath.Join(t.cache, "bin", p.name+"-"+key)
	if isExecutable(path) {
		return path, nil
	}
	unlock, err := t.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	if isExecutable(path) { // somebody else built it while we waited
		return path, nil
	}
	if err := t.build(ctx, p, path); err != nil {
		return "", fmt.Errorf("build of %s: %w", p.name, err)
	}
	return path, nil
}

// key hashes what decides about a binary: the sources with go.mod and go.sum, the Go
// version and the flags. The dependencies are covered by go.sum.
func (t *toolchain) key(ctx context.Context, p program) (string, error) {
	version, err := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOOS", "GOARCH").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s%s\n%s\n", version, p.pkg, p.ldflags)
	for _, dir := range p.sources {
		if err := hashFolder(hash, filepath.Join(t.root, dir)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

func hashFolder(w io.Writer, dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s %d\n%s", rel, len(content), content)
		return err
	})
}

// lock makes sure that one program is built at a time on this machine: two builds of
// Kubernetes side by side take twice as long each, and twice the memory. It waits until
// whoever builds is done.
func (t *toolchain) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(t.cache, "build.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	told := false
	err = poll(ctx, 200*time.Millisecond, func() error {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil && !told {
			told = true
			fmt.Fprintln(t.progress, "waiting for another process that builds")
		}
		return err
	})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock of the build cache: %w", err)
	}
	return func() { f.Close() }, nil // closing releases it
}

func (t *toolchain) build(ctx context.Context, p program, path string) error {
	fmt.Fprintf(t.progress, "building %s: about %s the first time\n", p.what, roughly(p.cold))
	defer t.tick(p)()
	partial := path + ".partial"
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", p.ldflags, "-o", partial, p.pkg)
	cmd.Dir = filepath.Join(t.root, p.module)
	// The flags above are all that may decide about the binary, and the same for everybody:
	// others would compile the Kubernetes libraries a second time.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, bytes.TrimSpace(out))
	}
	return os.Rename(partial, path)
}

// tick prints how long a build has been going on, so that minutes of silence are not
// taken for a hang, and when it has ended. The returned function stops it.
func (t *toolchain) tick(p program) (stop func()) {
	start := time.Now()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(30 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				fmt.Fprintf(t.progress, "building %s: %.0f s\n", p.name, time.Since(start).Seconds())
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
		fmt.Fprintf(t.progress, "built %s in %.0f s\n", p.name, time.Since(start).Seconds())
	}
}

func roughly(d time.Duration) string {
	if d <= 2*time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
