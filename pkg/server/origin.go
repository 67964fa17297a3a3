package server

import (
	"net/http"
	"net/netip"
	"strings"
)

// origin is where a request comes from.
type origin struct {
	// client is the address of whoever sent it, as far as somebody we trust knows. It is
	// invalid when there is no address.
	client netip.Addr

	// shared says that client is a trusted proxy, which does not tell who is behind it.
	shared bool
}

// String is the address as the log has it.
func (o origin) String() string {
	if !o.client.IsValid() {
		return ""
	}
	return o.client.String()
}

// originOf returns where a request comes from, given which proxies are trusted to say.
//
// In X-Forwarded-For every proxy appends who called it. So the last address that is no
// proxy of ours is that of the client, and what stands before it is the client's to make
// up. A proxy must be trusted only if it appends, and the other headers of a client that it
// passes on are its own to clean.
func originOf(r *http.Request, trusted func(netip.Addr) bool) origin {
	peer := peerOf(r.RemoteAddr)
	if trusted == nil || !peer.IsValid() || !trusted(peer) {
		return origin{client: peer}
	}
	for _, address := range forwarded(r.Header.Values("X-Forwarded-For")) {
		if !address.IsValid() {
			break // what is beyond it cannot be believed
		}
		if !trusted(address) {
			return origin{client: address}
		}
	}
	return origin{client: peer, shared: true}
}

func peerOf(remote string) netip.Addr {
	target, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return target.Addr().WithZone("").Unmap()
}

// maxForwarded is how many proxies a request may have come through.
const maxForwarded = 32

// forwarded returns the addresses in the values of X-Forwarded-For, the last first. What is
// no address is the zero Addr. Some write a port behind the address, and brackets around one
// of IPv6.
func forwarded(values []string) []netip.Addr {
	var list []netip.Addr
	for i := len(values) - 1; i >= 0; i-- {
		rest := values[i]
		for more := true; more; {
			if len(list) == maxForwarded {
				return list
			}
			element := rest
			comma := strings.LastIndexByte(rest, ',')
			if more = comma >= 0; more {
				rest, element = rest[:comma], rest[comma+1:]
			}
			list = append(list, forwardedAddress(strings.TrimSpace(element)))
		}
	}
	return list
}

func forwardedAddress(text string) netip.Addr {
	if target, err := netip.ParseAddrPort(text); err == nil {
		return target.Addr().WithZone("").Unmap()
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		text = strings.TrimSuffix(inner, "]")
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return address.WithZone("").Unmap()
}
