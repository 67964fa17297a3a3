package kubelet

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program builds the container's program.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "container")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, "./testdata/container")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build of the container's program: %v\n%s", err, out)
	}
	return path
}

// box is a sandbox and what a test puts into it.
type box struct {
	*sandbox
	t   *testing.T
	log string
}

func newBox(t *testing.T) *box {
	t.Helper()
	s, err := newSandbox("")
	if err != nil {
		t.Fatal(err) // apt-get install bubblewrap
	}
	t.Cleanup(s.close)
	return &box{s, t, filepath.Join(t.TempDir(), "log")}
}

func (b *box) start(c containment) *process {
	b.t.Helper()
	log, err := os.OpenFile(b.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	c.log = log
	p, err := b.sandbox.start(c)
	if err != nil {
		b.t.Fatalf("start: %v\n%s", err, b.output())
	}
	return p
}

func (b *box) output() string {
	b.t.Helper()
	text, err := os.ReadFile(b.log)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// view is testdata/container's, as far as tests look at it.
type view struct {
	Args, Env         []string
	UID, GID, PID     int
	Hostname, WorkDir string
	Status, Files     map[string]string
	RootWrite         string
	Processes         int
}

// see runs a containment to its end and returns what its process saw.
func (b *box) see(c containment) view {
	b.t.Helper()
	p := b.start(c)
	waitFor(b.t, "the process to exit", func() bool { return isClosed(p.exited) })
	var v view
	if err := json.Unmarshal([]byte(b.output()), &v); err != nil {
		b.t.Fatalf("exit code %d, output %q: %v", p.code, b.output(), err)
	}
	return v
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// waitFor asks until something holds, for at most 20 s.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("waited 20 s for %s", what)
		case <-ticker.C:
		}
	}
}

func TestSandboxShowsOnlyTheContainer(t *testing.T) {
	private := t.TempDir() // closed to the container's user, as /root is
	if err := os.WriteFile(filepath.Join(private, "hosts"), []byte("127.9.9.9\tsmo\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(private, "closed"), []byte("for root"), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	b := newBox(t)
	got := b.see(containment{
		mounts: []mount{
			{source: program(t), target: "/container"},
			{source: filepath.Join(private, "hosts"), target: "/etc/hosts"},
			{source: filepath.Join(private, "closed"), target: "/closed/file"},
		},
		readOnlyRoot: true, who: identity{uid: 65532, gid: 65532}, hostname: "pod-1", workingDir: "/etc",
		command: []string{"/container", "see", "/etc", "/closed", "/home", "/usr", "/root", "/tmp"},
		env:     []string{"ONLY=this"},
	})

	if want := []string{"/container", "see", "/etc", "/closed", "/home", "/usr", "/root", "/tmp"}; !slices.Equal(got.Args, want) {
		t.Errorf("arguments = %q, want %q", got.Args, want)
	}
	env := slices.DeleteFunc(got.Env, func(e string) bool { return strings.HasPrefix(e, "PWD=") }) // bubblewrap's
	if want := []string{"ONLY=this"}; !slices.Equal(env, want) {
		t.Errorf("environment = %q, want %q", env, want)
	}
	if got.UID != 65532 || got.GID != 65532 || got.PID != 1 || got.Hostname != "pod-1" || got.WorkDir != "/etc" || got.Processes != 1 {
		t.Errorf("uid %d, gid %d, pid %d, host name %q, working directory %q, %d processes; want 65532, 65532, 1, pod-1, /etc, 1",
			got.UID, got.GID, got.PID, got.Hostname, got.WorkDir, got.Processes)
	}
	for _, line := range []string{"CapPrm", "CapEff", "CapAmb"} {
		if got.Status[line] != "0000000000000000" {
			t.Errorf("%s = %s, want none", line, got.Status[line])
		}
	}
	if got.Status["NoNewPrivs"] != "1" {
		t.Errorf("NoNewPrivs = %s, want 1", got.Status["NoNewPrivs"])
	}
	if got.RootWrite == "" {
		t.Error("the root could be written to, want a read-only one")
	}
	for path, want := range map[string]string{
		"/etc/hosts": "127.9.9.9\tsmo\n",
		"/home":      "error: open /home: no such file or directory",
		"/usr":       "error: open /usr: no such file or directory",
		"/tmp":       "error: open /tmp: no such file or directory",
	} {
		if got.Files[path] != want {
			t.Errorf("%s = %q, want %q", path, got.Files[path], want)
		}
	}
	if b.asRoot && !strings.Contains(got.Files["/closed/file"], "permission denied") {
		t.Errorf("a file of root = %q, want it closed to user 65532", got.Files["/closed/file"])
	}
}

func TestSandboxOfRoot(t *testing.T) {
	b := newBox(t)
	got := b.see(containment{
		mounts: []mount{{source: program(t), target: "/container"}}, hostname: "node-1",
		command: []string{"/container", "see"},
	})
	if got.UID != 0 || got.RootWrite != "" {
		t.Errorf("uid %d, writing to the root: %q; want 0 and success", got.UID, got.RootWrite)
	}
	if got.Status["CapEff"] != "0000000000000000" {
		t.Errorf("CapEff = %s, want none: the containment names no capability", got.Status["CapEff"])
	}
}

func TestSandboxSeesAVolumeChange(t *testing.T) {
	volume := t.TempDir()
	set := func(token string) {
		t.Helper()
		if _, err := publish(volume, payload{"token": {[]byte(token), 0o644}, "sub/ca.crt": {[]byte("CA"), 0o644}}, ownership{}); err != nil {
			t.Fatal(err)
		}
	}
	set("first")
	b := newBox(t)
	address := "127.0.0.1"
	port := freePort(t, address)
	p := b.start(containment{
		mounts: []mount{
			{source: program(t), target: "/container"},
			{source: volume, target: "/var/run/secrets/hub"},
		},
		readOnlyRoot: true, who: identity{uid: 65532}, hostname: "pod-1",
		command: []string{"/container", "serve", port}, env: []string{"POD_IP=" + address},
	})
	token := func() string {
		return ask(t, address, port, "/var/run/secrets/hub").Files["/var/run/secrets/hub/token"]
	}
	waitFor(t, "the server", func() bool { return strings.Contains(b.output(), "serving") })
	if got := token(); got != "first" {
		t.Errorf("token = %q, want first", got)
	}
	set("second, and longer")
	if got := token(); got != "second, and longer" {
		t.Errorf("token after the change = %q, want the new one at once", got)
	}

	p.signal(syscall.SIGTERM)
	waitFor(t, "the server to end", func() bool { return isClosed(p.exited) })
	if p.code != 0 || !strings.Contains(b.output(), "ended by SIGTERM") {
		t.Errorf("exit code %d, output %q; want an orderly end", p.code, b.output())
	}
}

func TestSandboxKilledProcess(t *testing.T) {
	path := program(t)
	for _, tc := range []struct {
		name string
		uid  int64
	}{{"as root", 0}, {"as another user", 65532}} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBox(t)
			p := b.start(containment{
				mounts: []mount{{source: path, target: "/container"}}, who: identity{uid: tc.uid}, hostname: "pod-1",
				command: []string{"/container", "resist"},
			})
			waitFor(t, "the process", func() bool { return strings.Contains(b.output(), "resisting") })
			p.signal(syscall.SIGKILL)
			waitFor(t, "its end", func() bool { return isClosed(p.exited) })
			if p.code != 137 {
				t.Errorf("exit code %d, want 137", p.code)
			}
		})
	}
}

// An init container may have ended before its process was seen. A script is the bubblewrap
// here, since which of the two is quicker is up to the machine.
func TestSandboxOfAQuickProcess(t *testing.T) {
	script := filepath.Join(t.TempDir(), "bwrap")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 7\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := newSandbox(script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	p, err := s.start(containment{who: identity{uid: 65532}, hostname: "pod-1", command: []string{"/container"}})
	if err != nil {
		t.Fatal(err)
	}
	if <-p.exited; p.code != 7 {
		t.Errorf("exit code %d, want 7", p.code)
	}
}

// In a container of its own, where other people's tests run, few processes have an ID and
// none is that of a process that our sandbox counts as its third.
func TestSandboxInAContainer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user's sandbox has one stage")
	}
	const again = "O2IMS_TEST_IN_A_CONTAINER"
	if os.Getenv(again) != "" {
		TestSandboxKilledProcess(t)
		return
	}
	const ids = "for i in 1 2 3 4 5 6 7 8 9; do /bin/true; done; exec " // these are taken, and free again
	cmd := exec.CommandContext(t.Context(), "unshare", "--pid", "--mount-proc", "--fork", "--kill-child",
		"sh", "-c", ids+os.Args[0]+" -test.run='^TestSandboxInAContainer$' -test.v")
	cmd.Env = append(os.Environ(), again+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestSandboxInAContainer") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The end of the thread that started the containers stands for the end of our process.
func TestSandboxDiesWithUs(t *testing.T) {
	path := program(t)
	for _, tc := range []struct {
		name string
		uid  int64
	}{{"as root", 0}, {"as another user", 65532}} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBox(t)
			p := b.start(containment{
				mounts: []mount{{source: path, target: "/container"}}, who: identity{uid: tc.uid}, hostname: "pod-1",
				command: []string{"/container", "resist"},
			})
			waitFor(t, "the process", func() bool { return strings.Contains(b.output(), "resisting") })
			b.close()
			waitFor(t, "its end", func() bool { return errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH) })
		})
	}
}

func TestSandboxSaysWhatIsMissing(t *testing.T) {
	b := newBox(t)
	p := b.start(containment{
		mounts:  []mount{{source: filepath.Join(t.TempDir(), "absent"), target: "/container"}},
		command: []string{"/container"}, hostname: "pod-1",
	})
	waitFor(t, "bubblewrap to give up", func() bool { return isClosed(p.exited) })
	if p.code == 0 || !strings.Contains(b.output(), "absent") {
		t.Errorf("exit code %d, log %q; want a failure and a log that names the missing source", p.code, b.output())
	}
}
