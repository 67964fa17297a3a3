package probe

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/o2ims/o2ims/pkg/hardware"
)

const netDir = "sys/class/net"

// Link is what the kernel says about a network interface over netlink and ethtool. It
// speaks of the network namespace of this process, which need not be the host's.
type Link struct {
	Address          string // current address, lower case
	PermanentAddress string // lower case; "" when not known
	Firmware         string
	Driver           string
	PHC              int // index of the PTP hardware clock, -1 when there is none
}

// representor matches the port names of interfaces that stand for a virtual function or
// subfunction in a switch, such as "pf0vf3".
var representor = regexp.MustCompile(`(vf|sf)\d+$`)

// netInterface is a network interface that belongs to a device.
type netInterface struct {
	name    string
	device  string // sysfs path of its device
	pci     string // PCI address of its device; "" when it is none
	devPort int64  // number of the port when one function has several
}

// network adds an adapter per PCI network device and a port per physical function.
func (m *inspection) network() {
	links, err := m.cfg.Links()
	if err != nil {
		m.host.miss("netlink: " + err.Error())
	}
	interfaces := m.interfaces()
	for _, d := range m.pci {
		if !strings.HasPrefix(d.class, "02") || !m.physical(d) {
			continue
		}
		adapter := m.addAdapter(d)
		on := slices.Collect(func(yield func(netInterface) bool) {
			for _, i := range interfaces {
				if i.pci == d.address && !yield(i) {
					return
				}
			}
		})
		if len(on) == 0 { // bound to a driver of its own, as DPDK's
			on = []netInterface{{pci: d.address}}
		}
		for n, i := range on {
			e := m.element(hardware.Port, d.address, d)
			if n > 0 {
				e.Slot = fmt.Sprintf("%s/%d", d.address, n)
			}
			e.Parent = adapter
			e.SRIOV = m.sriov(d.address)
			m.addPort(e, i, links)
		}
	}
	for _, i := range interfaces {
		if i.pci == "" {
			m.addPort(hardware.Element{Class: hardware.Port, Slot: "net/" + i.name}, i, links)
		}
	}
}

// addAdapter adds the adapter that a PCI function belongs to, unless an earlier function
// did, and returns its "class|slot".
func (m *inspection) addAdapter(d pciDevice) string {
	slot, _, _ := strings.Cut(d.address, ".")
	known := func(e hardware.Element) bool { return e.Class == hardware.Adapter && e.Slot == slot }
	if !slices.ContainsFunc(m.elements, known) {
		m.add(m.element(hardware.Adapter, slot, d))
	}
	return string(hardware.Adapter) + "|" + slot
}

// interfaces lists the interfaces that belong to devices, by name; ports of one function
// in the order of their numbers.
func (m *inspection) interfaces() []netInterface {
	var found []netInterface
	for _, name := range m.host.list("network", netDir) {
		at := m.host.resolve(netDir, name)
		if !strings.HasPrefix(at, "sys/devices/") || strings.HasPrefix(at, "sys/devices/virtual/") {
			continue // bonds, bridges, tunnels, ifb, veth …; bonding_masters is a file
		}
		if strings.Contains(at, ".sf.") || representor.MatchString(m.host.text("network "+name, netDir, name, "phys_port_name")) {
			continue
		}
		device := path.Dir(path.Dir(at)) // …/<device>/net/<name>
		i := netInterface{name: name, device: device, pci: pciParent(device)}
		i.devPort, _ = m.host.number("network "+name, netDir, name, "dev_port")
		found = append(found, i)
	}
	slices.SortStableFunc(found, func(a, b netInterface) int { return int(a.devPort - b.devPort) })
	return found
}

// addPort completes a port with what sysfs and the kernel say about its interface.
func (m *inspection) addPort(e hardware.Element, i netInterface, links map[string]Link) {
	if i.name == "" {
		m.add(e)
		return
	}
	about := "network " + i.name
	address := strings.ToLower(m.host.text(about, netDir, i.name, "address"))
	p := &hardware.PortState{
		Name: i.name,
		MAC:  m.permanentAddress(i, address),
		MTU:  nonNegative(m.host.number(about, netDir, i.name, "mtu")),
		Link: m.linkState(i),
		PHC:  m.phcOf(i),
		// -1 and 2^32-1 stand for "not known".
		SpeedMbps: speed(m.host.number(about, netDir, i.name, "speed")),
	}
	if link, ok := links[i.name]; ok && address != "" && link.Address == address {
		m.applyLink(&e, p, link)
	} else if !ok && links != nil {
		m.host.miss("ethtool: " + i.name + " is not in this network namespace")
	}
	e.Port = p
	m.add(e)
}

func (m *inspection) applyLink(e *hardware.Element, p *hardware.PortState, link Link) {
	if link.PermanentAddress != "" {
		p.MAC = link.PermanentAddress
	}
	if p.PHC == nil && link.PHC >= 0 {
		p.PHC = &link.PHC
	}
	if e.Driver == "" {
		e.Driver = link.Driver
	}
	e.Firmware = known(link.Firmware)
	for i := range m.elements {
		a := &m.elements[i]
		if string(a.Class)+"|"+a.Slot == e.Parent {
			a.Firmware = e.Firmware
		}
	}
}

// permanentAddress is the manufacturer's address as far as sysfs knows it: members of a
// bond share one address, and the bond remembers their own.
func (m *inspection) permanentAddress(i netInterface, address string) string {
	if own := m.host.text("network "+i.name, netDir, i.name, "bonding_slave", "perm_hwaddr"); own != "" {
		return strings.ToLower(own)
	}
	return address
}

func (m *inspection) linkState(i netInterface) string {
	about := "network " + i.name
	switch state := m.host.text(about, netDir, i.name, "operstate"); state {
	case "up", "down":
		return state
	case "lowerlayerdown", "notpresent":
		return "down"
	}
	switch carrier, ok := m.host.number(about, netDir, i.name, "carrier"); {
	case !ok:
		return ""
	case carrier == 1:
		return "up"
	}
	return "down"
}

func speed(mbps int64, ok bool) int {
	if mbps >= 1<<31 {
		return 0
	}
	return nonNegative(mbps, ok)
}

// phcOf returns the number of the PTP clock that sits on the interface's device.
func (m *inspection) phcOf(i netInterface) *int {
	for _, name := range m.host.list("ptp", i.device, "ptp") {
		if n, err := strconv.Atoi(strings.TrimPrefix(name, "ptp")); err == nil {
			return &n
		}
	}
	return nil
}

// ptpClocks adds the PTP hardware clocks. Clocks that a hypervisor or the kernel made
// belong to no device and are left out.
func (m *inspection) ptpClocks() {
	taken := map[string]int{}
	for _, name := range m.host.list("ptp", "sys/class/ptp") {
		at := m.host.resolve("sys/class/ptp", name)
		address := pciParent(path.Dir(path.Dir(at)))
		if address == "" {
			continue
		}
		e := hardware.Element{Class: hardware.PTPClock, Slot: "phc/" + address, Model: m.host.text("ptp "+name, "sys/class/ptp", name, "clock_name")}
		if n := taken[address]; n > 0 {
			e.Slot = fmt.Sprintf("phc/%s/%d", address, n)
		}
		taken[address]++
		for _, d := range m.pci {
			if d.address == address {
				e.Driver = d.driver
				e.NUMA = m.host.numa(path.Join(pciDevicesDir, d.address))
			}
		}
		onPort := func(p hardware.Element) bool { return p.Class == hardware.Port && p.Slot == address }
		if slices.ContainsFunc(m.elements, onPort) {
			e.Parent = string(hardware.Port) + "|" + address
		}
		m.add(e)
	}
}
