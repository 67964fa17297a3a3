package probe

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/jaypipes/ghw"
	"github.com/jaypipes/ghw/pkg/block"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// diskName matches the kernel's names of whole disks, and nothing that is made of other
// disks, of memory or of a file.
var diskName = regexp.MustCompile(`^((s|h|v|xv|das)d[a-z]+|nvme\d+n\d+|mmcblk\d+|pmem\d+)$`)

// remote matches the sysfs paths of disks behind Fibre Channel and iSCSI.
var remote = regexp.MustCompile(`/(rport-|session)\d`)

// nvmeSubsystems is where the kernel shows NVMe disks that may have several paths.
const nvmeSubsystems = "sys/devices/virtual/nvme-subsystem/"

// disks adds the disks that are in the machine. Disks that come over a network do not
// belong to it: they come and go with the pods that use them.
func (m *inspection) disks() {
	info := &block.Info{}
	m.guard("disks", func() error {
		got, err := ghw.Block(m.ghw...)
		if err == nil {
			info = got
		}
		return err
	})
	var found []disk
	for _, d := range info.Disks {
		at := m.host.resolve("sys/block", d.Name)
		if !diskName.MatchString(d.Name) || d.SizeBytes == 0 || !m.local(d.Name, at) {
			continue
		}
		found = append(found, m.describe(d, at))
	}
	for i, d := range found {
		if slices.ContainsFunc(found[:i], func(o disk) bool { return o.wwn != "" && o.wwn == d.wwn && o.serial == d.serial }) {
			continue // another path to the same disk
		}
		d.element.Slot = d.slot(append(slices.Clone(found[:i]), found[i+1:]...))
		m.add(d.element)
	}
}

// disk is a disk with what can name it.
type disk struct {
	name, wwn, serial, pci string
	element                hardware.Element
}

// slot names a disk by the best thing that no other disk has as well, except that all
// paths to one disk have its name.
func (d disk) slot(others []disk) string {
	unique := func(value string, of func(disk) string) bool {
		return value != "" && !slices.ContainsFunc(others, func(o disk) bool { return of(o) == value })
	}
	switch {
	case d.wwn != "" && !slices.ContainsFunc(others, func(o disk) bool { return o.wwn == d.wwn && o.serial != d.serial }):
		return "wwn/" + d.wwn
	case unique(d.serial, func(o disk) string { return o.serial }):
		return "sn/" + d.serial
	case unique(d.pci, func(o disk) string { return o.pci }):
		return "pci/" + d.pci
	}
	return "dev/" + d.name
}

// local tells whether the disk at this sysfs path is in the machine.
func (m *inspection) local(name, at string) bool {
	switch {
	case at == "", strings.Contains(at, "nvme-fabrics"), m.host.text("disk "+name, "sys/block", name, "hidden") == "1":
		return false
	case remote.MatchString(at): // Fibre Channel, iSCSI
		return false
	case strings.HasPrefix(at, nvmeSubsystems):
		return len(m.controllers(path.Dir(at))) > 0
	case strings.HasPrefix(at, "sys/devices/virtual/"):
		return false
	}
	return true
}

// controllers lists the PCI controllers of an NVMe subsystem, by sysfs path.
func (m *inspection) controllers(subsystem string) []string {
	var found []string
	for _, name := range m.host.list("nvme", subsystem) {
		at := m.host.resolve(subsystem, name)
		if strings.HasPrefix(name, "nvme") && nearestPCI(at) != "" {
			found = append(found, at)
		}
	}
	return found
}

func (m *inspection) describe(b *block.Disk, at string) disk {
	about := "disk " + b.Name
	attribute := func(name string) string { return m.host.text(about, "sys/block", b.Name, name) }
	device := strings.TrimSuffix(path.Dir(at), "/block") // …/<device>/block/<name>, for NVMe …/<device>/<name>
	if strings.HasPrefix(at, nvmeSubsystems) {
		device = m.controllers(device)[0] // local saw to it that there is one
	}
	d := disk{
		name:   b.Name,
		wwn:    wwn(firstKnown(attribute("device/wwid"), attribute("wwid"))),
		serial: firstKnown(attribute("device/serial"), attribute("serial"), m.unitSerial(about, b.Name)),
		pci:    nearestPCI(device),
	}
	virtio := strings.Contains(device, "/virtio")
	d.element = hardware.Element{
		Class:    hardware.Storage,
		Vendor:   diskVendor(attribute("device/vendor")),
		Model:    firstKnown(attribute("device/model"), known(b.Model), attribute("device/name")),
		Serial:   d.serial,
		Firmware: firstKnown(attribute("device/firmware_rev"), attribute("device/rev")),
		NUMA:     m.host.numa(path.Join(pciDevicesDir, d.pci)),
		Disk: &hardware.Disk{
			Bytes:      b.SizeBytes,
			Controller: diskController(b, virtio),
			Media:      m.diskMedia(b, virtio),
			Name:       b.Name,
			WWN:        d.wwn,
		},
	}
	if i := slices.IndexFunc(m.pci, func(p pciDevice) bool { return p.address == ownPCI(device) }); i >= 0 {
		p := m.pci[i]
		d.element.Driver = p.driver
		d.element.PCI = &hardware.PCIDevice{
			Address: p.address, Vendor: p.vendor, Device: p.device,
			Subvendor: zeroToAbsent(p.subvendor), Subdevice: zeroToAbsent(p.subdevice),
		}
	}
	return d
}

// ownPCI returns the PCI address of a disk that is a PCI device itself, "" for one behind
// a controller.
func ownPCI(device string) string {
	if strings.HasPrefix(path.Base(device), "nvme") { // …/0000:01:00.0/nvme/nvme0
		device = path.Dir(path.Dir(device))
	}
	return pciParent(device)
}

func firstKnown(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// diskVendor drops vendors that are none: SATA disks say ATA, virtio a PCI identifier.
func diskVendor(v string) string {
	if v == "ATA" || strings.HasPrefix(v, "0x") {
		return ""
	}
	return v
}

func diskController(b *block.Disk, virtio bool) string {
	if virtio {
		return block.StorageControllerVirtIO.String()
	}
	return known(b.StorageController.String())
}

// diskMedia tells what a disk is made of. Hypervisors do not know or do not say:
// "rotational" is merely the default there.
func (m *inspection) diskMedia(b *block.Disk, virtio bool) string {
	rotational, ok := m.host.number("disk "+b.Name, "sys/block", b.Name, "queue/rotational")
	switch {
	case b.StorageController == block.StorageControllerNVMe:
		return "NVME"
	case virtio, m.server.Virtual != "", !ok:
		return ""
	case rotational == 1:
		return "HDD"
	}
	return "SSD"
}

// wwn takes the World Wide Name out of what sysfs calls wwid, in the spelling of udev:
// "0x5000c500a1b2c3d4", "eui.0025385b71b00e4c". Other identifiers are no names.
func wwn(wwid string) string {
	wwid = strings.ToLower(wwid)
	if hex, ok := strings.CutPrefix(wwid, "naa."); ok {
		return "0x" + hex
	}
	if strings.HasPrefix(wwid, "eui.") && strings.Trim(wwid, "eui.0") != "" {
		return wwid
	}
	return ""
}

// unitSerial reads the serial number of a SCSI disk from its vital product data.
//
// Source: SPC-4, Unit Serial Number VPD page (80h).
func (m *inspection) unitSerial(about, name string) string {
	page := m.host.bytes(about, "sys/block", name, "device/vpd_pg80")
	if len(page) < 4 || page[1] != 0x80 {
		return ""
	}
	length := int(page[2])<<8 | int(page[3])
	return known(string(page[4:min(4+length, len(page))]))
}
