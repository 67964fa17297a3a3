package smo

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/o2ims/o2ims/pkg/fault"
)

// guard knows where connections may go.
type guard struct {
	allow, refuse []netip.Prefix
	resolver      *net.Resolver
}

// ErrAddress means that a connection to this address is not allowed.
var ErrAddress = fmt.Errorf("address is not allowed: %w", fault.Invalid)

// control is called with every address that a connection is about to be made to.
func (g *guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%s: %w", address, ErrAddress)
	}
	return g.check(target.Addr())
}

// checkName resolves a name and tells whether all of its addresses are allowed: with one
// that is not, somebody is up to something.
func (g *guard) checkName(ctx context.Context, host string) error {
	if address, err := netip.ParseAddr(host); err == nil {
		return g.check(address)
	}
	addresses, err := g.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(addresses) == 0 {
		return fmt.Errorf("host %q does not resolve: %w", host, fault.Invalid)
	}
	for _, address := range addresses {
		if err := g.check(address); err != nil {
			return fmt.Errorf("host %q: %w", host, err)
		}
	}
	return nil
}

func (g *guard) check(address netip.Addr) error {
	address = embedded(address.WithZone("").Unmap())
	within := func(p netip.Prefix) bool { return p.Contains(address) }
	if slices.ContainsFunc(g.allow, within) {
		return nil
	}
	switch {
	case address.IsLoopback(), address.IsUnspecified(), address.IsMulticast(),
		address.IsLinkLocalUnicast(), thisNetwork.Contains(address), reserved.Contains(address):
		return fmt.Errorf("%s: %w", address, ErrAddress)
	case slices.Contains(metadata, address):
		return fmt.Errorf("%s, which gives cloud credentials away: %w", address, ErrAddress)
	case slices.ContainsFunc(g.refuse, within):
		return fmt.Errorf("%s, which is the hub's own: %w", address, ErrAddress)
	}
	return nil
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")      // Linux delivers some of it to itself
	reserved    = netip.MustParsePrefix("240.0.0.0/4")    // with the broadcast address
	nat64       = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052
	nat64Local  = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	sixToFour   = netip.MustParsePrefix("2002::/16")      // RFC 3056
	teredo      = netip.MustParsePrefix("2001::/32")      // RFC 4380
	compatible  = netip.MustParsePrefix("::/96")          // RFC 4291, 2.5.5.1

	// metadata are the services of clouds that give credentials to whoever asks from inside,
	// as far as their addresses are not link-local.
	metadata = []netip.Addr{
		netip.MustParseAddr("fd00:ec2::254"),   // AWS
		netip.MustParseAddr("fd20:ce::254"),    // Google
		netip.MustParseAddr("168.63.129.16"),   // Azure
		netip.MustParseAddr("100.100.100.200"), // Alibaba
		netip.MustParseAddr("192.0.0.192"),     // Oracle
	}
)

// embedded returns the IPv4 address that a gateway would make of an IPv6 address, or the
// address itself.
func embedded(address netip.Addr) netip.Addr {
	if !address.Is6() || address.IsUnspecified() || address.IsLoopback() {
		return address
	}
	b := address.As16()
	switch {
	case nat64.Contains(address), nat64Local.Contains(address), compatible.Contains(address):
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(address):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case teredo.Contains(address): // the client's address, with every bit turned over
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})
	}
	return address
}
