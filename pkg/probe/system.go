package probe

import (
	"slices"
	"strconv"
	"strings"

	"github.com/jaypipes/ghw"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// system fills in the machine as a whole: DMI, operating system, virtual or not.
func (m *inspection) system() {
	m.dmi()
	s := &m.server
	s.OS = m.operatingSystem()
	s.Virtual = m.hypervisor()
	s.Synthetic = slices.ContainsFunc(syntheticMarkers, func(name string) bool { return m.host.exists(name) })
}

// dmi reads /sys/class/dmi/id, or the device tree where a machine has that instead.
func (m *inspection) dmi() {
	s := &m.server
	m.guard("dmi product", func() error {
		p, err := ghw.Product(m.ghw...)
		if err == nil {
			s.Vendor, s.Model, s.Serial = known(p.Vendor), known(p.Name), known(p.SerialNumber)
			s.SKU, s.SystemUUID = known(p.SKU), strings.ToLower(known(p.UUID))
		}
		return err
	})
	m.guard("dmi bios", func() error {
		b, err := ghw.BIOS(m.ghw...)
		if err == nil {
			s.BIOS = present(hardware.BIOS{Date: known(b.Date), Vendor: known(b.Vendor), Version: known(b.Version)})
		}
		return err
	})
	m.guard("dmi board", func() error {
		b, err := ghw.Baseboard(m.ghw...)
		if err == nil {
			s.Board = present(hardware.Board{
				Model: known(b.Product), Serial: known(b.SerialNumber), Vendor: known(b.Vendor), Version: known(b.Version),
			})
		}
		return err
	})
	m.guard("dmi chassis", func() error {
		c, err := ghw.Chassis(m.ghw...)
		if err == nil && c.Type != "1" && c.Type != "2" { // "other" and "unknown"
			s.Chassis = known(c.TypeDescription)
		}
		return err
	})
	// ghw does not tell a file that is not there from one it may not read.
	for _, name := range []string{"product_serial", "product_uuid", "board_serial"} {
		m.host.bytes("dmi", "sys/class/dmi/id", name)
	}
}

// present returns a pointer to v, or nil when nothing is in it.
func present[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// architectures are the names that the kernel and Go have for the same thing.
var architectures = map[string]string{"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}

func (m *inspection) operatingSystem() *hardware.OS {
	return present(hardware.OS{
		Architecture: architectures[m.host.text("kernel", "proc/sys/kernel/arch")],
		Kernel:       m.host.text("kernel", "proc/sys/kernel/osrelease"),
		Name:         osName(m.host.bytes("os-release", "etc/os-release")),
	})
}

// osName takes the name for people out of an os-release file.
func osName(data []byte) string {
	for line := range strings.Lines(string(data)) {
		value, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME=")
		if !ok {
			continue
		}
		if unquoted, err := strconv.Unquote(value); err == nil {
			value = unquoted
		}
		return known(strings.Trim(value, `'"`))
	}
	return ""
}

// hypervisors recognises virtual machines by what their makers write into DMI. A text
// must occur in "vendor model" of the system, ignoring case; first match wins.
var hypervisors = []struct{ text, name string }{
	{"vmware", "vmware"},
	{"microsoft corporation virtual machine", "hyperv"},
	{"virtualbox", "virtualbox"},
	{"google compute engine", "kvm"},
	{"openstack", "kvm"},
	{"rhev", "kvm"},
	{"ovirt", "kvm"},
	{"kubevirt", "kvm"},
	{"nutanix ahv", "kvm"},
	{"alibaba cloud ecs", "kvm"},
	{"parallels virtual platform", "parallels"},
	{"bhyve", "bhyve"},
	{"xen hvm", "xen"},
	{"kvm", "kvm"},
	{"bochs", "bochs"},
	{"qemu", "qemu"},
}

// clocksources are the clocks that hypervisors lend to their guests.
var clocksources = []struct{ clock, name string }{
	{"kvm-clock", "kvm"},
	{"hyperv_clocksource", "hyperv"},
	{"xen", "xen"},
}

// hypervisor names the hypervisor that the machine runs on, "" for a real machine. The
// processor's flag tells that there is one; DMI, the kernel's clocks and the vendors of
// emulated devices tell which.
func (m *inspection) hypervisor() string {
	system := strings.ToLower(m.server.Vendor + " " + m.server.Model)
	for _, h := range hypervisors {
		if strings.Contains(system, h.text) {
			return h.name
		}
	}
	flagged := strings.Contains(" "+fields(m.host.bytes("processors", "proc/cpuinfo"))["flags"]+" ", " hypervisor ")
	if !flagged {
		return ""
	}
	if strings.HasPrefix(system, "amazon ec2") {
		return "amazon"
	}
	clocks := m.host.text("clocksource", "sys/devices/system/clocksource/clocksource0/available_clocksource")
	for _, c := range clocksources {
		if strings.Contains(clocks, c.clock) {
			return c.name
		}
	}
	for _, d := range m.pci {
		if d.vendor == "1b36" || d.subvendor == "1af4" && d.subdevice == "1100" { // Red Hat's bridges, QEMU's own subsystem id
			return "qemu"
		}
	}
	return "virtual"
}

// numa lists the memory localities and counts the processors that are in use.
func (m *inspection) numa() {
	const nodes = "sys/devices/system/node"
	for _, name := range m.host.list("numa", nodes) {
		id, err := strconv.Atoi(strings.TrimPrefix(name, "node"))
		if err != nil || !strings.HasPrefix(name, "node") {
			continue
		}
		node := hardware.NUMANode{
			ID:          id,
			CPUs:        strings.TrimSpace(string(m.host.bytes("numa", nodes, name, "cpulist"))),
			MemoryBytes: kilobytes(nodeMemTotal(m.host.bytes("numa", nodes, name, "meminfo"))),
		}
		for _, d := range strings.Fields(string(m.host.bytes("numa", nodes, name, "distance"))) {
			if n, err := strconv.Atoi(d); err == nil {
				node.Distances = append(node.Distances, n)
			}
		}
		m.server.NUMA = append(m.server.NUMA, node)
	}
	slices.SortFunc(m.server.NUMA, func(a, b hardware.NUMANode) int { return a.ID - b.ID })
	m.dropPartialNUMAMemory()
}

// dropPartialNUMAMemory leaves the nodes' memory out where it does not add up: memory
// that a hypervisor plugged in later may be in no node's account.
func (m *inspection) dropPartialNUMAMemory() {
	var sum uint64
	for _, node := range m.server.NUMA {
		sum += node.MemoryBytes
	}
	if total := m.memTotal(); sum >= total-total/10 {
		return
	}
	for i := range m.server.NUMA {
		m.server.NUMA[i].MemoryBytes = 0
	}
}

// memTotal is the memory that the kernel was given, less what it kept for itself.
func (m *inspection) memTotal() uint64 {
	return kilobytes(fields(m.host.bytes("memory", "proc/meminfo"))["MemTotal"])
}

// nodeMemTotal finds "Node 0 MemTotal: 32768 kB" in the meminfo of a NUMA node.
func nodeMemTotal(data []byte) string {
	for key, value := range fields(data) {
		if strings.HasSuffix(key, " MemTotal") {
			return value
		}
	}
	return ""
}
