// Package probe finds out what one machine is made of, from inside it, and tells the
// agent of its cluster.
//
// `o2ims probe` runs once per node. It reads the host's /sys, /proc and DMI tables below
// a root folder, asks the kernel about network interfaces over netlink and ethtool, and
// writes what it found into one ConfigMap per node; the agent merges that with what
// other sources know. It executes nothing and needs no capability: user 0 is enough for
// the files that only root may read, and without that it does with less and says so.
//
// CPU packages, disks and DMI come through github.com/jaypipes/ghw. Three things do not,
// for cause: PCI devices, because ghw drops all of them when one is malformed and keeps
// the whole name database in memory on every node; NUMA nodes, because it gives up at
// the first one it cannot read; and network interfaces, because it executes ethtool.
//
// A thing the machine does not have is absent from an observation. "unknown", zeros and
// manufacturers' fillers are absent too: no reader should have to know them.
package probe

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/jaypipes/ghw"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// Names of the sources that the probe speaks for; keys of hardware.SourceLetters.
const (
	sourceProbe  = "probe"
	sourceSMBIOS = "smbios"
)

// syntheticMarkers are files whose presence says that the machine below the root was
// made up, in whole or in part. The second place is visible where only /sys and /proc of
// the host are mounted; a real sysfs cannot hold such a file.
var syntheticMarkers = []string{"etc/o2ims-synthetic", "sys/o2ims-synthetic"}

// Config says which machine to look at, and with what.
type Config struct {
	// NodeName is the name of the Kubernetes Node that the machine is.
	NodeName string

	// HostRoot is the folder below which the host's sys, proc and etc are found.
	HostRoot string

	// PCIIDs is the database of PCI names; empty: looked for where distributions put it.
	PCIIDs string

	// Links tells what the kernel knows of the network interfaces in the network
	// namespace of this process, by name. Nil asks the kernel.
	Links func() (map[string]Link, error)
}

// Collect inspects a machine and returns one observation per source: the probe's own
// and, where there are SMBIOS tables, one for those. Equal machines give equal results.
func Collect(_ context.Context, cfg Config) []hardware.Observation {
	if cfg.Links == nil {
		cfg.Links = kernelLinks
	}
	m := &inspection{
		host: &host{root: cfg.HostRoot},
		cfg:  cfg,
		ghw: []any{
			ghw.WithChroot(cfg.HostRoot),
			ghw.WithDisableTools(), // there is nothing to execute in our image
			ghw.WithLogger(slog.New(slog.DiscardHandler)),
		},
	}
	if err := m.host.check(); err != nil {
		return []hardware.Observation{{
			Source:  sourceProbe,
			Machine: hardware.Machine{Name: cfg.NodeName},
			Err:     err.Error(),
		}}
	}
	return m.run()
}

// inspection is one look at one machine.
type inspection struct {
	host *host
	cfg  Config
	ghw  []any // arguments of every ghw call

	pci      []pciDevice
	server   hardware.Server
	elements []hardware.Element
}

func (m *inspection) run() []hardware.Observation {
	tables, smbiosObservation := m.readSMBIOS()

	m.pci = m.pciDevices()
	m.system()
	m.numa()
	m.processors()
	m.memory(tables)
	m.network()
	m.accelerators()
	m.disks()
	m.ptpClocks()
	m.namePCI()

	observations := []hardware.Observation{{
		Source:  sourceProbe,
		Machine: hardware.Machine{Name: m.cfg.NodeName, Server: m.server, Elements: sortElements(m.elements)},
		Missing: m.host.missing(),
	}}
	if smbiosObservation == nil {
		return observations
	}
	tablesSay := &smbiosObservation.Machine
	tablesSay.Name = m.cfg.NodeName
	if m.server.Virtual != "" {
		// A hypervisor's tables name its machine type for a processor ("pc-q35-9.2") and
		// as many sockets as it pleases; the processor's own words are better.
		tablesSay.Elements = slices.DeleteFunc(tablesSay.Elements, func(e hardware.Element) bool { return e.Class == hardware.Processor })
	}
	matchSockets(tablesSay.Elements, m.elements)
	sortElements(tablesSay.Elements)
	return append(observations, *smbiosObservation)
}

func (m *inspection) add(e hardware.Element) { m.elements = append(m.elements, e) }

// guard runs a step that a library does for us. What a library makes of a malformed
// sysfs file must not keep the rest of the machine from being reported.
func (m *inspection) guard(name string, step func() error) {
	defer func() {
		if p := recover(); p != nil {
			m.host.miss(fmt.Sprintf("%s: %v", name, p))
		}
	}()
	if err := step(); err != nil {
		m.host.miss(fmt.Sprintf("%s: %v", name, err))
	}
}

func sortElements(es []hardware.Element) []hardware.Element {
	slices.SortStableFunc(es, func(a, b hardware.Element) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Slot, b.Slot))
	})
	return es
}

// check tells whether there is a machine below the root at all.
func (h *host) check() error {
	for _, dir := range []string{"sys", "proc"} {
		info, err := os.Stat(h.path(dir))
		if err == nil && !info.IsDir() {
			err = &fs.PathError{Op: "stat", Path: h.path(dir), Err: fs.ErrInvalid}
		}
		if err != nil {
			return fmt.Errorf("host root %s: %w", h.root, err)
		}
	}
	return nil
}

func (h *host) path(elem ...string) string {
	return filepath.Join(append([]string{h.root}, elem...)...)
}
