// Package port gives out TCP ports of 127.0.0.1.
package port

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports come from below the range that the kernel takes for outgoing connections.
const (
	first = 20000
	last  = 31999 // ip_local_port_range starts at 32768 on Linux
)

// kept are the marks of our ports.
var kept struct {
	sync.Mutex
	marks []net.PacketConn
}

// Keep returns a port that nobody listens on, and that nobody else is given, here or in
// another process, before this process ends.
//
// Binding port 0 and closing again is not enough: a server that was killed is started again
// on its old port, minutes later, and tests run side by side. So each port is kept by a
// mark that everybody on the machine sees, a Unix socket in the abstract name space. The
// kernel removes the marks of a process that dies.
func Keep() (int, error) {
	for range 200 {
		if port := first + rand.IntN(last-first+1); keep(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d", first, last)
}

// keep marks a port as ours, if nobody has or uses it.
func keep(port int) bool {
	mark, err := markOf(port)
	if err != nil {
		return false // somebody has it
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		_ = mark.Close() // it is nobody's
		return false
	}
	_ = l.Close() // it has shown what we wanted to know
	kept.Lock()
	defer kept.Unlock()
	kept.marks = append(kept.marks, mark)
	return true
}

func markOf(port int) (net.PacketConn, error) {
	return net.ListenPacket("unixgram", "@o2ims-port-"+strconv.Itoa(port))
}
