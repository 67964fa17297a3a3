package probe

import (
	"bufio"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/o2ims/o2ims/pkg/hardware"
)

const pciDevicesDir = "sys/bus/pci/devices"

var (
	pciAddress = regexp.MustCompile(`^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)

	// modalias is how the kernel matches drivers: vendor, device, subsystem and class in
	// one line, in upper-case hexadecimal.
	modalias = regexp.MustCompile(`^pci:v0000([0-9A-F]{4})d0000([0-9A-F]{4})sv0000([0-9A-F]{4})sd0000([0-9A-F]{4})bc([0-9A-F]{2})sc([0-9A-F]{2})`)
)

// pciDevice is one function on the PCI bus. Identifiers are lower-case hexadecimal.
type pciDevice struct {
	address                              string
	vendor, device, subvendor, subdevice string
	class                                string // base class and subclass: "0200" is Ethernet
	driver                               string
	virtualFunction                      bool
}

// pciDevices lists the PCI bus in ascending order of address. A device that cannot be
// made out is left out and remarked upon.
func (m *inspection) pciDevices() []pciDevice {
	var devices []pciDevice
	for _, address := range m.host.list("pci", pciDevicesDir) {
		alias := strings.TrimSpace(string(m.host.bytes("pci "+address, pciDevicesDir, address, "modalias")))
		match := modalias.FindStringSubmatch(alias)
		if match == nil || !pciAddress.MatchString(address) {
			m.host.miss("pci " + address + ": unreadable modalias")
			continue
		}
		for i := range match {
			match[i] = strings.ToLower(match[i])
		}
		d := pciDevice{
			address: address,
			vendor:  match[1], device: match[2], subvendor: match[3], subdevice: match[4],
			class:           match[5] + match[6],
			virtualFunction: m.host.exists(pciDevicesDir, address, "physfn"),
		}
		if link, err := os.Readlink(m.host.path(pciDevicesDir, address, "driver")); err == nil {
			d.driver = path.Base(link)
		}
		devices = append(devices, d)
	}
	return devices
}

// element starts an element for this device; vendor and model follow in namePCI.
func (m *inspection) element(class hardware.Class, slot string, d pciDevice) hardware.Element {
	return hardware.Element{
		Class:  class,
		Slot:   slot,
		Driver: d.driver,
		NUMA:   m.host.numa(path.Join(pciDevicesDir, d.address)),
		PCI: &hardware.PCIDevice{
			Address: d.address, Vendor: d.vendor, Device: d.device,
			Subvendor: zeroToAbsent(d.subvendor), Subdevice: zeroToAbsent(d.subdevice),
		},
	}
}

// zeroToAbsent drops subsystem identifiers that nobody assigned.
func zeroToAbsent(id string) string {
	if id == "0000" || id == "ffff" {
		return ""
	}
	return id
}

// sriov counts the virtual functions of a physical one; nil when it can have none.
func (m *inspection) sriov(address string) *hardware.SRIOV {
	total, ok := m.host.number("sriov "+address, pciDevicesDir, address, "sriov_totalvfs")
	if !ok || total <= 0 {
		return nil
	}
	return &hardware.SRIOV{
		Total: nonNegative(total, true),
		Num:   nonNegative(m.host.number("sriov "+address, pciDevicesDir, address, "sriov_numvfs")),
	}
}

// pciParent returns the PCI address of the device that a sysfs path such as
// "sys/devices/pci0000:00/0000:00:03.0/virtio2" belongs to directly: the device itself,
// or the virtio device's transport. Anything further up is not the same thing: a USB
// network adapter is not its host controller.
func pciParent(device string) string {
	base := path.Base(device)
	if strings.HasPrefix(base, "virtio") {
		base = path.Base(path.Dir(device))
	}
	if pciAddress.MatchString(base) {
		return base
	}
	return ""
}

// nearestPCI returns the PCI device lowest in a sysfs path: the controller of a disk.
func nearestPCI(device string) string {
	for p := device; p != "." && p != "/"; p = path.Dir(p) {
		if pciAddress.MatchString(path.Base(p)) {
			return path.Base(p)
		}
	}
	return ""
}

// pciIDsPaths are where distributions keep the database of PCI names.
var pciIDsPaths = []string{
	"/usr/share/hwdata/pci.ids",
	"/usr/share/misc/pci.ids",
	"/usr/share/pci.ids",
}

// namePCI gives vendor and model to the elements that are PCI devices. It scans the
// database for just these devices: kept in memory it would be the largest thing in the
// process.
func (m *inspection) namePCI() {
	wanted := pciNames{}
	for _, e := range m.elements {
		if e.PCI != nil {
			wanted[e.PCI.Vendor] = ""
			wanted[e.PCI.Vendor+e.PCI.Device] = ""
		}
	}
	if len(wanted) == 0 {
		return
	}
	f, err := openPCIIDs(m.cfg.PCIIDs)
	if err != nil {
		m.host.miss("pci.ids: " + reasonOf(err) + ": PCI devices have numbers, not names")
	} else {
		defer f.Close()
		if err := wanted.scan(f); err != nil {
			m.host.miss("pci.ids: " + reasonOf(err))
		}
	}
	for i := range m.elements {
		e := &m.elements[i]
		if e.PCI == nil || e.Class == hardware.PTPClock || e.Class == hardware.Storage {
			continue
		}
		if e.Vendor == "" {
			e.Vendor = wanted[e.PCI.Vendor]
		}
		if name := wanted[e.PCI.Vendor+e.PCI.Device]; name != "" {
			e.Model = name
		}
	}
}

func openPCIIDs(name string) (*os.File, error) {
	if name != "" {
		return os.Open(name)
	}
	for _, p := range pciIDsPaths {
		if f, err := os.Open(p); err == nil {
			return f, nil
		}
	}
	return nil, os.ErrNotExist
}

// pciNames maps identifiers ("8086" a vendor, "80861521" a device) to names.
type pciNames map[string]string

// scan fills in the names of the identifiers that are in the map, from a database such as
//
//	8086  Intel Corporation
//		1521  I350 Gigabit Network Connection
//			8086 0001  Ethernet Server Adapter I350-T4
//
// Source: the header of pci.ids.
func (names pciNames) scan(r io.Reader) error {
	lines := bufio.NewScanner(r)
	vendor := ""
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "", line[0] == '#', strings.HasPrefix(line, "\t\t"):
		case strings.HasPrefix(line, "C "): // classes follow the vendors
			return nil
		case line[0] == '\t':
			id, name, _ := strings.Cut(line[1:], "  ")
			names.set(vendor+id, name)
		default:
			id, name, _ := strings.Cut(line, "  ")
			vendor = id
			names.set(id, name)
		}
	}
	return lines.Err()
}

func (names pciNames) set(id, name string) {
	if _, wanted := names[id]; wanted {
		names[id] = known(name)
	}
}

// physical tells devices of the machine from virtual functions, which are only counted. Some
// kernels do not link a virtual function to its physical one; its driver's name gives it
// away. Inside a virtual machine a passed-through function is all there is of the device.
func (m *inspection) physical(d pciDevice) bool {
	if d.virtualFunction {
		return false
	}
	return m.server.Virtual != "" || !slices.Contains(virtualFunctionDrivers, d.driver)
}

var virtualFunctionDrivers = []string{"igbvf", "ixgbevf", "iavf", "i40evf", "cxgb4vf", "hns3vf", "liquidio_vf", "nfp_netvf"}
