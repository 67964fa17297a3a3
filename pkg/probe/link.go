package probe

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
)

// kernelLinks asks the kernel about the interfaces of this process's network namespace.
// Drivers answer ethtool as they please: what one does not answer stays empty.
func kernelLinks() (map[string]Link, error) {
	list, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return nil, fmt.Errorf("ethtool socket: %w", err)
	}
	defer tool.Close()

	links := make(map[string]Link, len(list))
	for _, l := range list {
		a := l.Attrs()
		link := Link{Address: a.HardwareAddr.String(), PHC: -1}
		if usable(a.PermHWAddr) {
			link.PermanentAddress = a.PermHWAddr.String()
		} else if perm, err := tool.PermAddr(a.Name); err == nil {
			if parsed, err := net.ParseMAC(padded(perm)); err == nil && usable(parsed) {
				link.PermanentAddress = parsed.String()
			}
		}
		if info, err := tool.DriverInfo(a.Name); err == nil {
			link.Driver, link.Firmware = info.Driver, info.FwVersion
		}
		if ts, err := tool.GetTimestampingInformation(a.Name); err == nil {
			link.PHC = int(ts.PhcIndex)
		}
		links[a.Name] = link
	}
	return links, nil
}

// usable tells whether an Ethernet address is one: not all zeros, and of the length of
// those we report.
func usable(a net.HardwareAddr) bool {
	return len(a) == 6 && strings.Trim(a.String(), "0:") != ""
}

// padded gives each byte its leading zero, which the ethtool package omits for none of
// today's versions but does not promise.
func padded(mac string) string {
	parts := strings.Split(mac, ":")
	for i, p := range parts {
		if len(p) == 1 {
			parts[i] = "0" + p
		}
	}
	return strings.Join(parts, ":")
}

// watchLinks calls changed whenever the kernel reports a change of a network interface,
// until ctx ends.
func watchLinks(ctx context.Context, changed func()) error {
	updates := make(chan netlink.LinkUpdate, 64)
	if err := netlink.LinkSubscribe(updates, ctx.Done()); err != nil {
		return fmt.Errorf("netlink link events: %w", err)
	}
	go func() {
		for range updates { // closed by netlink once ctx has ended
			changed()
		}
	}()
	return nil
}
