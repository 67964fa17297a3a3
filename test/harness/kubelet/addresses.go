package kubelet

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"

	"github.com/o2ims/o2ims/pkg/fault"
)

// addresses hands out loopback addresses of one /16 of 127/8 that no other kubelet of
// this machine uses, so that a demo and a test run side by side.
type addresses struct {
	second byte         // the address is 127.second.x.y
	lock   net.Listener // holds the /16; the kernel lets go of it when the process dies

	mu    sync.Mutex
	used  map[uint16]bool
	nodes map[string]string // addresses that stand for nodes
	next  uint16
}

// The lowest and highest /16 we take: 127.0 and 127.1 have tenants on many machines.
const firstSlice, lastSlice = 16, 250

// reserveAddresses takes a /16, beginning at a random one. The reservation is a socket
// in the abstract namespace, which belongs to the same network namespace as the
// addresses do and leaves no file behind.
func reserveAddresses() (*addresses, error) {
	const slices = lastSlice - firstSlice + 1
	start := rand.IntN(slices)
	for i := range slices {
		second := byte(firstSlice + (start+i)%slices)
		lock, err := net.Listen("unix", fmt.Sprintf("@o2ims-kubelet-127.%d", second))
		if err == nil {
			return &addresses{second: second, lock: lock, used: map[uint16]bool{}, nodes: map[string]string{}, next: 1}, nil
		}
	}
	return nil, fmt.Errorf("addresses in 127/8: all are taken: %w", fault.Unavailable)
}

// take returns an address that nobody else has, in text. Addresses come round again
// only after all others were used, so that a late packet reaches nobody new.
func (a *addresses) take() (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for range 1 << 16 {
		n := a.next
		a.next++
		if low := byte(n); low == 0 || low == 255 || a.used[n] {
			continue
		}
		a.used[n] = true
		return netip.AddrFrom4([4]byte{127, a.second, byte(n >> 8), byte(n)}).String(), nil
	}
	return "", fmt.Errorf("addresses in 127.%d/16: all are taken: %w", a.second, fault.Unavailable)
}

// release gives an address back; one that is not ours is left alone.
func (a *addresses) release(address string) {
	ip, err := netip.ParseAddr(address)
	if err != nil || !ip.Is4() {
		return
	}
	b := ip.As4()
	if b[0] != 127 || b[1] != a.second {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.used, uint16(b[2])<<8|uint16(b[3]))
}

func (a *addresses) close() { _ = a.lock.Close() }

// forNode returns the address that stands for a node, the same each time.
func (a *addresses) forNode(name string) (string, error) {
	a.mu.Lock()
	known, ok := a.nodes[name]
	a.mu.Unlock()
	if ok {
		return known, nil
	}
	address, err := a.take() // only the loop asks, so nobody else takes one for this node meanwhile
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nodes[name] = address
	return address, nil
}

func isLoopback(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && ip.Is4() && ip.IsLoopback()
}
