package probe

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// newNetwork puts the test on a thread with a network of its own, which ends with it.
func newNetwork(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread dies with the goroutine
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace to be had: %v", err)
	}
}

func TestKernelLinks(t *testing.T) {
	newNetwork(t)
	const mac = "00:00:5e:00:53:01"
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "port0"
	attributes.HardwareAddr = []byte{0, 0, 0x5e, 0, 0x53, 1}
	if netlink.LinkAdd(&netlink.Dummy{LinkAttrs: attributes}) != nil { // a kernel without may have the other kind
		if err := netlink.LinkAdd(&netlink.Ifb{LinkAttrs: attributes}); err != nil {
			t.Skipf("no interface to be had: %v", err)
		}
	}
	links, err := kernelLinks()
	if err != nil {
		t.Fatal(err)
	}
	if got := links["port0"]; got.Address != mac || got.PHC != -1 {
		t.Errorf("port0 = %+v, want address %s and no clock", got, mac)
	}
	if _, ok := links["lo"]; !ok {
		t.Errorf("links = %v, want lo among them", links)
	}
}

func TestWatchLinks(t *testing.T) {
	newNetwork(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	changed := make(chan struct{}, 16)
	if err := watchLinks(ctx, func() { changed <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Skipf("may not change the network: %v", err)
	}
	select {
	case <-changed:
	case <-time.After(30 * time.Second):
		t.Error("a link went up and nothing was told")
	}
}

func TestPadded(t *testing.T) {
	if got, want := padded("0:50:c2:1:2:ff"), "00:50:c2:01:02:ff"; got != want {
		t.Errorf("padded = %s, want %s", got, want)
	}
}
