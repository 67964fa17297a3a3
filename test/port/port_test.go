package port

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"
)

const holder = "O2IMS_TEST_PORT_HOLDER"

// TestKeepAmongProcesses asks for so many ports, in this process and another, that two of
// them would be the same if nobody kept any.
func TestKeepAmongProcesses(t *testing.T) {
	const each = 300
	if os.Getenv(holder) != "" {
		for range each {
			port, err := Keep()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Println("port", port)
		}
		_, _ = os.Stdin.Read(make([]byte, 1)) // until the parent is done
		return
	}
	other := exec.Command(os.Args[0], "-test.run", "^TestKeepAmongProcesses$")
	other.Env = append(os.Environ(), holder+"=1")
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // ends the other
		if err := other.Wait(); err != nil {
			t.Error(err)
		}
	})
	var ports []int
	for lines := bufio.NewScanner(stdout); len(ports) < each && lines.Scan(); {
		var port int
		if _, err := fmt.Sscanf(lines.Text(), "port %d", &port); err == nil {
			ports = append(ports, port)
		}
	}
	for range each {
		port, err := Keep()
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	slices.Sort(ports)
	if len(ports) != 2*each || ports[0] < first || ports[len(ports)-1] > last {
		t.Errorf("%d ports from %d to %d, want %d from %d to %d", len(ports), ports[0], ports[len(ports)-1], 2*each, first, last)
	}
	if different := len(slices.Compact(ports)); different != 2*each {
		t.Errorf("%d different ports, want %d", different, 2*each)
	}
}

func TestKeepLeavesOutWhatIsUsed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	if keep(port) {
		t.Errorf("port %d is kept, and somebody listens on it", port)
	}
	mark, err := markOf(port)
	if err != nil {
		t.Fatalf("port %d was not kept, and is marked: %v", port, err)
	}
	mark.Close()
}
