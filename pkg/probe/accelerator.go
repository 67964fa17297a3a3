package probe

import (
	"slices"
	"strings"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// knownAccelerators are devices whose PCI class does not tell what they are for.
// Functions that a virtual machine was given carry identifiers of their own.
var knownAccelerators = map[string]struct{ subtype, model string }{
	"8086:0d5c": {"fec", "ACC100"},
	"8086:0d5d": {"fec", "ACC100 Virtual Function"},
	"8086:57c0": {"fec", "vRAN Boost VRB1"},
	"8086:57c1": {"fec", "vRAN Boost VRB1 Virtual Function"},
	"8086:57c2": {"fec", "vRAN Boost VRB2"},
	"8086:57c3": {"fec", "vRAN Boost VRB2 Virtual Function"},
	"8086:0d8f": {"fec", "FPGA PAC N3000 5GNR FEC"},
	"8086:0d90": {"fec", "FPGA PAC N3000 5GNR FEC Virtual Function"},
	"8086:0b30": {"fpga", "FPGA PAC N3000"},
	"8086:0435": {"crypto", "QuickAssist DH895XCC"},
	"8086:19e2": {"crypto", "QuickAssist C3xxx"},
	"8086:37c8": {"crypto", "QuickAssist C62x"},
	"8086:6f54": {"crypto", "QuickAssist D15xx"},
	"8086:4940": {"crypto", "QuickAssist 4xxx"},
	"8086:4942": {"crypto", "QuickAssist 401xx"},
	"8086:4944": {"crypto", "QuickAssist 402xx"},
	"8086:4946": {"crypto", "QuickAssist 420xx"},
}

// consoleVendors make graphics devices for a console: the BMC's, or a hypervisor's.
var consoleVendors = []string{
	"1a03", // ASPEED
	"102b", // Matrox
	"19e5", // Huawei iBMC
	"18ca", // XGI
	"126f", // Silicon Motion
	"1234", // QEMU
	"1013", // Cirrus Logic, as emulated
	"1b36", // Red Hat QXL
	"1af4", // virtio
	"15ad", // VMware
	"80ee", // VirtualBox
	"1414", // Hyper-V
	"5853", // Xen
}

// accelerators adds GPUs, FEC, cryptography and other processing accelerators.
func (m *inspection) accelerators() {
	for _, d := range m.pci {
		subtype, model, ok := acceleratorKind(d)
		if !ok || !m.physical(d) {
			continue
		}
		e := m.element(hardware.Accelerator, d.address, d)
		e.Subtype, e.Model = subtype, model
		e.SRIOV = m.sriov(d.address)
		m.add(e)
	}
}

// acceleratorKind tells whether a PCI device is an accelerator, and of which kind as far
// as that is known.
func acceleratorKind(d pciDevice) (subtype, model string, ok bool) {
	if k, ok := knownAccelerators[d.vendor+":"+d.device]; ok {
		return k.subtype, k.model, true
	}
	switch {
	case strings.HasPrefix(d.class, "03"):
		return "gpu", "", !slices.Contains(consoleVendors, d.vendor)
	case d.class == "1200" && d.vendor == "10ee": // Xilinx
		return "fpga", "", true
	case strings.HasPrefix(d.class, "12"):
		return "", "", true
	}
	return "", "", false
}
