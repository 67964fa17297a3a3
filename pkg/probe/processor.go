package probe

import (
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jaypipes/ghw"
	"github.com/jaypipes/ghw/pkg/cpu"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// cpuVendors spells processor vendors as SMBIOS and PCI databases do.
var cpuVendors = map[string]string{
	"GenuineIntel": "Intel Corporation",
	"AuthenticAMD": "Advanced Micro Devices, Inc.",
	"HygonGenuine": "Hygon",
	"IBM/S390":     "IBM",
}

// processors adds one element per CPU package.
func (m *inspection) processors() {
	info := &cpu.Info{}
	m.guard("processors", func() error {
		got, err := ghw.CPU(m.ghw...)
		if err == nil {
			info = got
		}
		return err
	})
	attributes := cpuinfo(m.host.bytes("processors", "proc/cpuinfo"))
	for _, p := range info.Processors {
		logical := logicalCPUs(p)
		if len(logical) == 0 {
			continue
		}
		m.server.CPUs += len(logical)
		a := attributes[logical[0]]
		vendor := known(p.Vendor)
		if spelled, ok := cpuVendors[vendor]; ok {
			vendor = spelled
		}
		m.add(hardware.Element{
			Class:  hardware.Processor,
			Slot:   socketSlot(max(p.ID, 0)), // some platforms number their only package -1
			Vendor: vendor,
			Model:  known(p.Model),
			NUMA:   m.numaOf(logical),
			CPU: &hardware.CPU{
				Cores:     int(p.TotalCores),
				Threads:   len(logical),
				Flags:     instructionFlags(p.Capabilities),
				Microcode: known(a["microcode"]),
				Stepping:  strings.TrimSpace(a["stepping"]),
				MHz:       m.nominalMHz(logical[0], a),
				MaxMHz:    m.cpufreqMHz(logical[0], "cpuinfo_max_freq"),
			},
		})
	}
}

func socketSlot(n int) string { return fmt.Sprintf("socket/%d", n) }

func logicalCPUs(p *cpu.Processor) []int {
	var ids []int
	for _, core := range p.Cores {
		ids = append(ids, core.LogicalProcessors...)
	}
	slices.Sort(ids)
	return ids
}

func instructionFlags(flags []string) []string {
	flags = slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return f == "" })
	slices.Sort(flags)
	return slices.Compact(flags)
}

// cpuinfo reads /proc/cpuinfo: the attributes of each logical processor, by its number.
func cpuinfo(data []byte) map[int]map[string]string {
	processors := map[int]map[string]string{}
	for block := range strings.SplitSeq(string(data), "\n\n") {
		a := fields([]byte(block))
		id, ok := a["processor"]
		if !ok {
			id = a["cpu number"] // s390x
		}
		if n, err := strconv.Atoi(id); err == nil {
			processors[n] = a
		}
	}
	return processors
}

var atGHz = regexp.MustCompile(`@ (\d+(?:\.\d+)?)\s*GHz`)

// nominalMHz is the frequency that the processor was sold with. The frequency in
// /proc/cpuinfo is the momentary one unless the kernel has no means to measure it, as in
// most virtual machines; reporting that would change the inventory all the time.
func (m *inspection) nominalMHz(logical int, a map[string]string) int {
	if mhz := m.cpufreqMHz(logical, "base_frequency"); mhz > 0 {
		return mhz
	}
	if match := atGHz.FindStringSubmatch(a["model name"]); match != nil {
		if ghz, err := strconv.ParseFloat(match[1], 64); err == nil {
			return int(math.Round(ghz * 1000))
		}
	}
	flags := " " + a["flags"] + " "
	if strings.Contains(flags, " hypervisor ") && !strings.Contains(flags, " aperfmperf ") {
		if mhz, err := strconv.ParseFloat(a["cpu MHz"], 64); err == nil && mhz > 0 && mhz < 1e5 {
			return int(math.Round(mhz))
		}
	}
	return 0
}

func (m *inspection) cpufreqMHz(logical int, name string) int {
	khz, ok := m.host.number("cpufreq", path.Join("sys/devices/system/cpu", fmt.Sprintf("cpu%d", logical), "cpufreq"), name)
	return nonNegative(khz, ok) / 1000
}

// numaOf returns the NUMA node that holds all of these logical processors, if one does.
func (m *inspection) numaOf(logical []int) *int {
	for _, node := range m.server.NUMA {
		in := cpuList(node.CPUs)
		outside := func(id int) bool { return !in[id] }
		if !slices.ContainsFunc(logical, outside) {
			return &node.ID
		}
	}
	return nil
}

// cpuList reads the kernel's list format, "0-3,8". Ranges that make no sense are left out.
func cpuList(s string) map[int]bool {
	const most = 1 << 16
	in := map[int]bool{}
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(strings.TrimSpace(first))
		to, err2 := strconv.Atoi(strings.TrimSpace(last))
		if err1 != nil || err2 != nil || from < 0 || to > most {
			continue
		}
		for id := from; id <= to; id++ {
			in[id] = true
		}
	}
	return in
}

// memory adds one element for all memory when no table tells the modules apart.
func (m *inspection) memory(tables *smbiosTables) {
	if tables != nil && len(tables.modules) > 0 {
		return
	}
	total := m.memTotal()
	if total == 0 {
		return
	}
	m.server.MemoryBytes = total
	m.add(hardware.Element{Class: hardware.Memory, Slot: "total", Memory: &hardware.DIMM{Bytes: total}})
}
