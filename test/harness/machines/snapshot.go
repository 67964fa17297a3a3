package machines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/jaypipes/ghw/pkg/snapshot"
)

const ghwModule = "github.com/jaypipes/ghw"

// recipe says how a machine is made of a snapshot: what is known of it from the snapshot
// (PCI subsystem identifiers name vendors and models) and what has to be made up.
type recipe struct {
	name, archive, what string

	firmware firmware
	nics     []nic
	disks    []diskNames
	virtual  []virtualFunctions
}

// nic is a network interface to be had in a snapshot.
type nic struct {
	name, pci string
	virtio    string // name of the virtio device between PCI and interface
	mbps      int
	up        bool
}

// diskNames are what a disk says of itself.
type diskNames struct{ name, vendor, model, rev string }

// virtualFunctions belong to a physical one.
type virtualFunctions struct {
	physical string
	total    int
	virtual  []string
}

func recipes() []recipe {
	xeon := socket{Vendor: "Intel(R) Corporation", Model: "Intel(R) Xeon(R) CPU L5640 @ 2.27GHz", Cores: 6, Threads: 12, MHz: 2270}
	socket1, socket2 := xeon, xeon
	socket1.Name, socket2.Name = "CPU1", "CPU2"
	return []recipe{
		{
			name: "p100", archive: "linux-amd64-accel-nvidia", what: "a virtual machine with an NVIDIA Tesla P100",
			firmware: firmware{
				Vendor: "QEMU", Model: "Standard PC (Q35 + ICH9, 2009)", BIOSVendor: "SeaBIOS", BIOSVersion: "synthetic", BIOSDate: "04/01/2014",
				ChassisType: 1, // other
				Sockets:     []socket{{Name: "CPU 0", Vendor: "QEMU", Model: "pc-q35-9.2", Cores: 8, Threads: 8, MHz: 2000}},
				Modules:     modules(0x1a, 0, "DIMM %d", 2, 16), // DDR4, speed not told
			},
			nics:  []nic{{name: "enp5s0", pci: "0000:05:00.0", virtio: "virtio7", up: true}},
			disks: []diskNames{{name: "sda", vendor: "QEMU", model: "QEMU HARDDISK", rev: "2.5+"}},
		},
		{
			name: "r610", archive: "linux-amd64-8581cf3a529e5d8b97ea876eade2f60d", what: "a Dell server with two Xeon L5640",
			firmware: firmware{
				Vendor: "Dell Inc.", Model: "PowerEdge R610", BoardVendor: "Dell Inc.", BoardModel: "SYNTHETIC",
				BIOSVendor: "Dell Inc.", BIOSVersion: "synthetic", BIOSDate: "01/01/2020",
				ChassisType: 0x17, // rack mount
				Sockets:     []socket{socket1, socket2},
				Modules:     modules(0x18, 1333, "DIMM_A%d", 8, 8), // DDR3
				ECC:         true,
			},
			nics: []nic{
				{name: "eno1", pci: "0000:01:00.0", mbps: 1000, up: true},
				{name: "eno2", pci: "0000:01:00.1"},
				{name: "eno3", pci: "0000:02:00.0"},
				{name: "eno4", pci: "0000:02:00.1"},
				{name: "enp5s0f0", pci: "0000:05:00.0", mbps: 1000, up: true},
				{name: "enp5s0f1", pci: "0000:05:00.1", mbps: 1000, up: true},
			},
			disks: []diskNames{{name: "sda", vendor: "DELL", model: "PERC 6/i", rev: "1.22"}},
			virtual: []virtualFunctions{
				{physical: "0000:05:00.0", total: 7, virtual: []string{"0000:05:10.0", "0000:05:10.4", "0000:05:11.0", "0000:05:11.4"}},
				{physical: "0000:05:00.1", total: 7, virtual: []string{"0000:05:10.1", "0000:05:10.5", "0000:05:11.1", "0000:05:11.5"}},
			},
		},
		{
			name: "ryzen", archive: "linux-amd64-61797caf7c0b6bca1725ad7975ed4773", what: "a Ryzen 5 1600 with four network ports",
			firmware: firmware{
				Vendor: "SYNTHETIC", Model: "AM4 edge box", BoardVendor: "ASUSTeK COMPUTER INC.", BoardModel: "SYNTHETIC",
				BIOSVendor: "American Megatrends Inc.", BIOSVersion: "synthetic", BIOSDate: "01/01/2020",
				ChassisType: 3, // desktop
				Sockets: []socket{{
					Name: "AM4", Vendor: "Advanced Micro Devices, Inc.", Model: "AMD Ryzen 5 1600 Six-Core Processor", Cores: 6, Threads: 12, MHz: 3200,
				}},
				Modules: modules(0x1a, 2400, "DIMM_%d", 4, 8),
			},
			nics: []nic{
				{name: "enp3s0", pci: "0000:03:00.0", mbps: 1000, up: true},
				{name: "enp6s0f0", pci: "0000:06:00.0", mbps: 1000, up: true},
				{name: "enp6s0f1", pci: "0000:06:00.1"},
				{name: "enp8s0", pci: "0000:08:00.0"},
			},
			disks: []diskNames{
				{name: "sda", vendor: "ATA", model: "SYNTHETIC SSD 256", rev: "1.0"},
				{name: "sdb", vendor: "ATA", model: "SYNTHETIC HDD 1T", rev: "1.0"},
				{name: "sdc", vendor: "ATA", model: "SYNTHETIC SSD 500", rev: "1.0"},
			},
		},
	}
}

// modules makes n equal memory modules in places named by a format.
func modules(kind byte, mts uint16, place string, n int, gib uint32) []Module {
	made := make([]Module, n)
	for i := range made {
		made[i] = Module{Locator: fmt.Sprintf(place, i+1), GiB: gib, Vendor: "SYNTHETIC", Part: fmt.Sprintf("SYNTHETIC-%dG", gib), MTs: mts, Type: kind}
	}
	return made
}

// Snapshots makes three nodes of snapshots of real machines in folders below dir.
func Snapshots(ctx context.Context, dir string) ([]Machine, error) { return SnapshotSet(ctx, dir, 0) }

// SnapshotSet makes the three machines of Snapshots with other identities for each set,
// so that several managed clusters can have them at once. Set 0 is that of Snapshots.
func SnapshotSet(ctx context.Context, dir string, set int) ([]Machine, error) {
	archives, err := archiveDir(ctx)
	if err != nil {
		return nil, err
	}
	var made []Machine
	for i, r := range recipes() {
		number := set*len(recipes()) + i + 1
		m, err := r.make(archives, dir, number)
		if err != nil {
			return nil, fmt.Errorf("machine %s: %w", r.name, err)
		}
		made = append(made, m)
	}
	return made, nil
}

// archiveDir finds the snapshots in the sources of ghw.
func archiveDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", ghwModule).Output()
	if err != nil {
		reason := err.Error()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			reason = strings.TrimSpace(string(exit.Stderr))
		}
		return "", fmt.Errorf("sources of %s: %s", ghwModule, reason)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "testdata", "snapshots")
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("snapshots of %s: %w", ghwModule, err)
	}
	return dir, nil
}

// make unpacks the snapshot anew and completes it. number tells copies apart.
func (r recipe) make(archives, dir string, number int) (Machine, error) {
	m := Machine{
		Name:   r.name,
		Source: fmt.Sprintf("%s: testdata/snapshots/%s.tar.gz of %s (Apache-2.0)", r.what, r.archive, ghwModule),
	}
	if set := (number - 1) / len(recipes()); set > 0 {
		m.Name = fmt.Sprintf("%s-%d", r.name, set+1)
	}
	m.Root = filepath.Join(dir, m.Name)
	if err := os.RemoveAll(m.Root); err != nil {
		return m, err
	}
	if err := os.MkdirAll(m.Root, 0o755); err != nil {
		return m, err
	}
	if err := snapshot.UnpackInto(filepath.Join(archives, r.archive+".tar.gz"), m.Root); err != nil {
		return m, err
	}
	return m, r.complete(&m, number)
}

// complete makes up what the snapshot lacks and says what that was.
func (r recipe) complete(m *Machine, number int) error {
	serial := fmt.Sprintf("SYNTHETIC-%04d", number)
	f := r.firmware
	f.Serial, f.UUID = serial, uuid.NewSHA1(uuid.NameSpaceURL, []byte(serial)).String()
	for i := range f.Modules {
		f.Modules[i].Serial = fmt.Sprintf("%s-M%d", serial, i+1)
	}
	m.firmware = &f
	m.Synthetic = []string{
		"vendor, product, board and chassis names, BIOS, serial numbers and UUID (DMI, SMBIOS)",
		"memory modules (SMBIOS); the processors in SMBIOS say what such a machine's tables say",
		"names and MAC addresses of network interfaces, their speed and link state",
		"names and serial numbers of disks; their number, size and kind are the snapshot's",
		"kernel, operating system and machine id",
	}
	steps := []func() error{m.install, func() error { return r.system(m, serial) }}
	for i, n := range r.nics {
		steps = append(steps, func() error { return n.add(m, number, i) })
	}
	for _, d := range r.disks {
		steps = append(steps, func() error { return d.add(m, serial) })
	}
	if len(r.virtual) > 0 {
		m.Synthetic = append(m.Synthetic, "which virtual function belongs to which port, and how many a port may have")
	}
	for _, v := range r.virtual {
		steps = append(steps, func() error { return v.add(m) })
	}
	steps = append(steps, m.mark, m.save)
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// mark says in the root what was made up: for people in etc, and where a probe sees it
// that has only the machine's sys and proc.
func (m *Machine) mark() error {
	text := []byte("Made up, and no property of the machine that the snapshot was taken of\n(" + m.Source + "):\n- " +
		strings.Join(m.Synthetic, "\n- ") + "\n")
	return errors.Join(m.write(markerFile, text), m.write(path.Join("sys", path.Base(markerFile)), text))
}

// system makes up the operating system.
func (r recipe) system(m *Machine, serial string) error {
	id := uuid.NewSHA1(uuid.NameSpaceURL, []byte("machine-id/"+serial)).String()
	return errors.Join(
		m.writeAll("etc", map[string]string{
			"machine-id": strings.ReplaceAll(id, "-", ""),
			"os-release": "ID=synthetic\nPRETTY_NAME=\"Synthetic Linux (o2ims test environment)\"",
		}),
		m.writeAll("proc/sys/kernel", map[string]string{
			"arch": "x86_64", "osrelease": "6.12.0-synthetic",
			"random/boot_id": uuid.NewSHA1(uuid.NameSpaceURL, []byte("boot/"+serial)).String(),
		}),
	)
}

// add makes the interface of a PCI device, or completes the one that the snapshot has.
func (n nic) add(m *Machine, machine, number int) error {
	device, err := m.follow("sys/bus/pci/devices/" + n.pci)
	if err != nil {
		return err
	}
	device = path.Join(device, n.virtio) // nothing without virtio
	at := path.Join(device, "net", n.name)
	files := map[string]string{
		// The block that RFC 7042 sets aside for documentation.
		"address":          fmt.Sprintf("00:00:5e:00:53:%02x", (machine*16+number)&0xff),
		"addr_assign_type": "0", "mtu": "1500", "dev_port": "0", "operstate": "down", "carrier": "0", "speed": "-1",
	}
	if n.up {
		files["operstate"], files["carrier"] = "up", "1"
		if n.mbps > 0 {
			files["speed"] = fmt.Sprint(n.mbps)
		}
	}
	return errors.Join(
		m.writeAll(at, files),
		m.link(path.Join(at, "device"), "../.."),
		m.link("sys/class/net/"+n.name, "../../"+strings.TrimPrefix(at, "sys/")),
	)
}

func (d diskNames) add(m *Machine, serial string) error {
	at, err := m.follow("sys/block/" + d.name)
	if err != nil {
		return err
	}
	device := path.Dir(path.Dir(at)) // …/<device>/block/<name>
	unit := serial + "-" + strings.ToUpper(d.name)
	return errors.Join(
		m.link(path.Join(at, "device"), "../.."),
		m.writeAll(device, map[string]string{"vendor": d.vendor, "model": d.model, "rev": d.rev}),
		m.write(path.Join(device, "vpd_pg80"), append([]byte{0, 0x80, 0, byte(len(unit))}, unit...)),
	)
}

func (v virtualFunctions) add(m *Machine) error {
	physical, err := m.follow("sys/bus/pci/devices/" + v.physical)
	if err != nil {
		return err
	}
	errs := []error{m.writeAll(physical, map[string]string{
		"sriov_totalvfs": fmt.Sprint(v.total), "sriov_numvfs": fmt.Sprint(len(v.virtual)),
	})}
	for i, address := range v.virtual {
		virtual, err := m.follow("sys/bus/pci/devices/" + address)
		if err != nil {
			return err
		}
		errs = append(errs,
			m.link(path.Join(virtual, "physfn"), "../"+v.physical),
			m.link(path.Join(physical, fmt.Sprintf("virtfn%d", i)), "../"+address))
	}
	return errors.Join(errs...)
}

// follow returns where a link in the root leads, relative to the root.
func (m *Machine) follow(name string) (string, error) {
	target, err := os.Readlink(filepath.Join(m.Root, name))
	if err != nil {
		return "", err
	}
	to := path.Join(path.Dir(name), target)
	if !fs.ValidPath(to) {
		return "", fmt.Errorf("%s leads to %s, out of the machine", name, target)
	}
	return to, nil
}
