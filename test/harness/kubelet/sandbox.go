package kubelet

import (
	"cmp"
	"errors"
	"fmt"
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
	unshare string // only as root
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
		for name, path := range map[string]*string{"setpriv": &s.setpriv, "unshare": &s.unshare} {
			if *path, err = exec.LookPath(name); err != nil {
				return nil, fmt.Errorf("%s (apt-get install util-linux): %w: %w", name, err, fault.NotFound)
			}
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
	// Of two users, one cannot make the other die with it, so both stages are in a process
	// namespace, with which everything inside ends. It is not bubblewrap that makes it: the
	// second stage can mount a /proc only where it sees a whole one, and finds its own
	// processes only in one of its namespace.
	line := []string{s.unshare, "--pid", "--fork", "--kill-child", "--mount-proc", s.bwrap, "--die-with-parent", "--tmpfs", "/"}
	for _, dir := range []string{"/usr", "/bin", "/lib", "/lib64"} { // what our two tools are linked with
		line = append(line, "--ro-bind-try", dir, dir)
	}
	line = append(line,
		"--bind", "/proc", "/proc", "--dir", "/tmp", // where the second stage makes its new root
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
		"--chdir", cmp.Or(c.workingDir, "/"), "--",
	}
	return append(args, c.command...)
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// process is a container's running process.
type process struct {
	pid    int           // of the container's process 1, on this machine; 0 when it ended before it was seen
	exited chan struct{} // closed when it and all its children are gone
	code   int           // of the exit; 128+n after signal n; valid once exited
}

// layOutLimit is how long bubblewrap may take to start a container's process.
const layOutLimit = 30 * time.Second

// start runs a containment. Where its file system cannot be laid out, the process exits
// with 1 and bubblewrap's reason is in the log. The process ends with ours, however ours
// ends: bubblewrap is killed by the kernel and takes its namespace along.
func (s *sandbox) start(c containment) (*process, error) {
	if c.hostPID && s.needsTwoStages(c) {
		return nil, fmt.Errorf("sandbox: hostPID as user %d: played for root alone: %w", c.who.uid, fault.Invalid)
	}
	line := s.commandLine(c)
	cmd := &exec.Cmd{Path: line[0], Args: line, Env: c.env, Dir: "/", Stdout: c.log, Stderr: c.log}
	if err := s.thread.Start(cmd); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	p := &process{exited: make(chan struct{})}
	go func() {
		var exit *exec.ExitError
		if err := cmd.Wait(); errors.As(err, &exit) {
			p.code = exitCode(exit.Sys().(syscall.WaitStatus))
		}
		close(p.exited)
	}()
	generations := 1
	if s.needsTwoStages(c) {
		generations = 3 // past both bwraps
	}
	if !p.find(cmd.Process.Pid, generations) {
		_ = cmd.Process.Kill()
		<-p.exited
		return nil, fmt.Errorf("sandbox: bwrap started nothing in %s: %w", layOutLimit, fault.Unavailable)
	}
	return p, nil
}

// find looks for the container's process 1 until it is there or has ended, which a quick
// one may have before it was seen. Bubblewrap would tell its ID (--info-fd), but of two stages
// the ID within their namespace.
func (p *process) find(bwrap, generations int) bool {
	limit := time.After(layOutLimit)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if pid, err := descendant(bwrap, generations); err == nil {
			p.pid = pid
			return true
		}
		select {
		case <-p.exited:
			return true
		case <-limit:
			return false
		case <-tick.C:
		}
	}
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

// signal sends a signal to the container's process 1; to one that is gone, nothing.
func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.exited: // its ID may belong to another process by now
	default:
		_ = syscall.Kill(p.pid, s)
	}
}
