package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// ports hands out TCP ports on the loopback interface and keeps them for its owner.
//
// Binding port 0 and closing again is not enough: an apiserver is restarted on its old
// port, minutes later, and two environments start side by side. So ports come from
// below the range that the kernel takes for outgoing connections, and each is kept by a
// lock on a file that every environment on the machine looks at. The kernel drops the
// locks of a process that dies.
type ports struct {
	dir string

	mu   sync.Mutex
	kept []*os.File
}

const (
	firstPort = 20000
	lastPort  = 31999 // ip_local_port_range starts at 32768 on Linux
)

func newPorts(cache string) (*ports, error) {
	dir := filepath.Join(cache, "ports")
	return &ports{dir: dir}, os.MkdirAll(dir, 0o755)
}

// next returns a port that nobody listens on and no other environment has.
func (p *ports) next() (int, error) {
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		f, err := os.OpenFile(filepath.Join(p.dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return 0, err
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !isFree(port) {
			f.Close()
			continue
		}
		p.mu.Lock()
		p.kept = append(p.kept, f)
		p.mu.Unlock()
		return port, nil
	}
	return 0, fmt.Errorf("no free port between %d and %d", firstPort, lastPort)
}

func (p *ports) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.kept {
		f.Close()
	}
	p.kept = nil
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// loopback is the address of a port on this machine: nothing here listens on any other.
func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
