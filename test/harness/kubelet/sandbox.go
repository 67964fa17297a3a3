package kubelet

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/test/child"
)

// sandbox makes processes that see only what their container has.
//
// As root it works in two stages. The first, still root, lays the container's file
// system out at /stage, so that sources in folders closed to the container's user can be
// mounted; the second gives up root for the container's real user and makes /stage the
// root. The user is a real one, not a mapping onto root, so that files of this machine
// stay as closed to it as they are on a node. An ordinary user's sandbox has one stage:
// the container's user is then a mapping onto the ordinary user.
type sandbox struct {
	bwrap   string
	setpriv string // only as root
	asRoot  bool

	thread *child.Thread // that starts processes; they die with it
}

// newSandbox looks the tools up; path may name bwrap.
func newSandbox(path string) (*sandbox, error) {
	bwrap, err := exec.LookPath(cmp.Or(path, "bwrap"))
	if err != nil {
		return nil, fmt.Errorf("bubblewrap (apt-get install bubblewrap): %w: %w", err, fault.NotFound)
	}
	s := &sandbox{bwrap: bwrap, asRoot: os.Geteuid() == 0}
	if s.asRoot {
		if s.setpriv, err = exec.LookPath("setpriv"); err != nil {
			return nil, fmt.Errorf("setpriv (apt-get install util-linux): %w: %w", err, fault.NotFound)
		}
	}
	s.thread = child.NewThread()
	return s, nil
}

// close ends any process that still runs.
func (s *sandbox) close() { s.thread.Close() }

// mount shows a file or folder of this machine to a container.
type mount struct {
	source, target string
	writable       bool
	devices        bool // device files work
}

// containment is everything a container's process is started with.
type containment struct {
	mounts       []mount
	readOnlyRoot bool
	who          identity
	capabilities []string
	privileged   bool
	hostPID      bool
	hostname     string
	workingDir   string
	command      []string
	env          []string
	log          *os.File // standard output and error
}

// infoFD is where bubblewrap reports the process's ID: the first of exec.Cmd.ExtraFiles.
const infoFD = 3

func (s *sandbox) needsTwoStages(c containment) bool { return s.asRoot && c.who.uid != 0 }

// commandLine is how bubblewrap is called for a containment.
func (s *sandbox) commandLine(c containment) []string {
	if s.needsTwoStages(c) {
		return s.twoStages(c)
	}
	line := append([]string{s.bwrap, "--die-with-parent", "--tmpfs", "/"}, c.layOut("")...)
	line = append(line, procArguments(c)...)
	if c.readOnlyRoot {
		line = append(line, "--remount-ro", "/")
	}
	switch {
	case !s.asRoot:
		line = append(line, "--unshare-user", "--uid", decimal(c.who.uid), "--gid", decimal(c.who.gid))
	case !c.privileged:
		line = append(line, "--cap-drop", "ALL")
		for _, name := range c.capabilities {
			line = append(line, "--cap-add", name)
		}
	}
	return append(line, c.enter()...)
}

// twoStages lays the container out as root and enters it as its user.
func (s *sandbox) twoStages(c containment) []string {
	const tools, stage = "/tools", "/stage"
	// Of two users, one cannot make the other die with it, so the first stage has a
	// process namespace, with which everything inside ends.
	line := []string{s.bwrap, "--die-with-parent", "--unshare-pid", "--tmpfs", "/"}
	for _, dir := range []string{"/usr", "/bin", "/lib", "/lib64"} { // what our two tools are linked with
		line = append(line, "--ro-bind-try", dir, dir)
	}
	line = append(line,
		// The second stage can mount a /proc only where it sees a whole one. Its own
		// new root is made in /tmp.
		"--bind", "/proc", "/proc", "--dir", "/tmp",
		"--ro-bind", s.bwrap, tools+"/bwrap", "--ro-bind", s.setpriv, tools+"/setpriv",
		"--tmpfs", stage)
	line = append(line, c.layOut(stage)...)
	line = append(line, "--dir", stage+"/proc")
	if c.readOnlyRoot {
		line = append(line, "--remount-ro", stage)
	}
	line = append(line, "--", tools+"/setpriv", "--reuid", decimal(c.who.uid), "--regid", decimal(c.who.gid))
	if len(c.who.groups) > 0 {
		var groups []string
		for _, g := range c.who.groups {
			groups = append(groups, decimal(g))
		}
		line = append(line, "--groups", strings.Join(groups, ","))
	} else {
		line = append(line, "--clear-groups")
	}
	line = append(line, tools+"/bwrap", "--unshare-user", "--dev-bind", stage, "/")
	line = append(line, procArguments(c)...)
	return append(line, c.enter()...)
}

// layOut mounts /dev and the containment's files and volumes below a folder. An outer
// mount comes before one inside it. The folders between are made explicitly, since
// bubblewrap would close those it makes itself to all but root.
func (c containment) layOut(root string) []string {
	var args []string
	if c.privileged {
		args = append(args, "--dev-bind", "/dev", root+"/dev")
	} else {
		args = append(args, "--dev", root+"/dev")
	}
	mounts := slices.Clone(c.mounts)
	slices.SortStableFunc(mounts, func(a, b mount) int {
		return cmp.Compare(strings.Count(a.target, "/"), strings.Count(b.target, "/"))
	})
	made := map[string]bool{"/": true}
	for _, m := range mounts {
		target := filepath.Clean(m.target)
		for _, dir := range parents(target) {
			if !made[dir] {
				args = append(args, "--dir", root+dir)
				made[dir] = true
			}
		}
		args = append(args, m.option(), m.source, root+target)
		made[target] = true
	}
	return args
}

// parents are the folders above an absolute path, the outermost first.
func parents(path string) []string {
	var list []string
	for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
		list = append(list, dir)
	}
	slices.Reverse(list)
	return list
}

func (m mount) option() string {
	switch {
	case m.devices:
		return "--dev-bind"
	case m.writable:
		return "--bind"
	}
	return "--ro-bind"
}

// procArguments give the container a /proc: its own, or with hostPID the machine's.
func procArguments(c containment) []string {
	if c.hostPID {
		return []string{"--bind", "/proc", "/proc"}
	}
	return []string{"--proc", "/proc"}
}

// enter unshares what containers do not share, and runs the command as process 1, as a
// container runtime does: signals without a handler do nothing to it.
func (c containment) enter() []string {
	args := []string{
		"--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-uts", "--hostname", c.hostname,
		"--info-fd", strconv.Itoa(infoFD), "--chdir", cmp.Or(c.workingDir, "/"), "--",
	}
	return append(args, c.command...)
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// process is a container's running process.
type process struct {
	pid    int           // of the container's process 1, on this machine
	exited chan struct{} // closed when it and all its children are gone
	code   int           // of the exit; 128+n after signal n; valid once exited
}

// start runs a containment. Where its file system cannot be laid out, the process
// exits with 1 and bubblewrap's reason is in the log. The process ends with ours, however ours ends: bubblewrap
// is killed by the kernel and takes its namespace along.
func (s *sandbox) start(c containment) (*process, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = read.Close() }()

	line := s.commandLine(c)
	cmd := &exec.Cmd{
		Path: line[0], Args: line, Env: c.env, Dir: "/", Stdout: c.log, Stderr: c.log,
		ExtraFiles: []*os.File{write},
	}
	err = s.thread.Start(cmd)
	_ = write.Close()
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}

	p := &process{exited: make(chan struct{})}
	pid, err := s.containerPID(c, read, cmd.Process.Pid)
	p.pid = pid
	go func() {
		var exit *exec.ExitError
		if err := cmd.Wait(); errors.As(err, &exit) {
			p.code = exitCode(exit.Sys().(syscall.WaitStatus))
		}
		close(p.exited)
	}()
	if errors.Is(err, fault.NotFound) && p.endsWithin(endOfTheQuick) { // a container may be quicker than we look
		return p, nil
	}
	if err != nil { // it says why on its standard error, which is the log
		_ = cmd.Process.Kill()
		<-p.exited
		return nil, fmt.Errorf("sandbox: %w; bwrap exited with code %d, see the log: %w", err, p.code, fault.Unavailable)
	}
	return p, nil
}

// endOfTheQuick is how long bubblewrap may take to end after the process that it ran.
const endOfTheQuick = 10 * time.Second

// containerPID is the ID of the container's process 1, on this machine. It fails with
// fault.NotFound where the process has ended before it was found.
func (s *sandbox) containerPID(c containment, info io.Reader, bwrap int) (int, error) {
	var child struct {
		PID int `json:"child-pid"`
	}
	if err := json.NewDecoder(info).Decode(&child); err != nil {
		return 0, fmt.Errorf("no process ID: %w", err)
	}
	if !s.needsTwoStages(c) {
		return child.PID, nil
	}
	// What it says is true inside the first stage: the process is past process 1 of
	// that stage and the second bwrap.
	pid, err := descendant(bwrap, 3)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", err, fault.NotFound)
	}
	return pid, nil
}

// descendant is the first child's first child, and so on, so many generations down.
func descendant(pid, generations int) (int, error) {
	for range generations {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if err != nil {
			return 0, err
		}
		first, _, _ := strings.Cut(string(text), " ")
		if pid, err = strconv.Atoi(first); err != nil {
			return 0, err
		}
	}
	return pid, nil
}

func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// endsWithin waits for the process's end, at most so long, and tells whether it came.
func (p *process) endsWithin(limit time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(limit):
		return false
	}
}

// signal sends a signal to the container's process 1; to one that is gone, nothing.
func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.exited: // its ID may belong to another process by now
	default:
		_ = syscall.Kill(p.pid, s)
	}
}
