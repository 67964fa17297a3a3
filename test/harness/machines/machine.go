// Package machines supplies the machines that a test environment's nodes are: the one it
// runs on, and snapshots of real machines that others published.
//
// A snapshot is a folder with the sys and proc of a machine, which o2ims probe inspects
// as it inspects a host. Those at hand lack what would identify their owner (DMI, MAC
// addresses, serial numbers). That is made up, so that the way of such values through the
// system can be shown; Machine.Synthetic lists it, and so does a file in the root, upon
// which the probe marks the machine.
package machines

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Machine is something that a node can be.
type Machine struct {
	Name      string   `json:"name"`                // of the node
	Root      string   `json:"-"`                   // folder with its sys, proc and etc
	Source    string   `json:"source"`              // where the snapshot comes from, for people
	Synthetic []string `json:"synthetic,omitempty"` // what was made up; empty for a real machine

	firmware *firmware // what DMI and SMBIOS say; nil where they are the machine's own
}

// Local is the machine that this process runs on.
func Local(name string) Machine {
	return Machine{Name: name, Root: "/", Source: "the machine that the environment runs on"}
}

const (
	markerFile      = "etc/o2ims-synthetic"
	descriptionFile = "etc/o2ims-machine.json"

	// kubeletVersion is that of the apiserver we build.
	kubeletVersion = "v1.35.4"
)

// description is what a machine's folder says of itself, so that a later process can
// change it.
type description struct {
	Machine
	Firmware *firmware `json:"firmware"`
}

// Open returns a machine that Snapshots made in an earlier process.
func Open(root string) (Machine, error) {
	data, err := os.ReadFile(filepath.Join(root, descriptionFile))
	if err != nil {
		return Machine{}, fmt.Errorf("machine in %s: %w", root, err)
	}
	var d description
	if err := json.Unmarshal(data, &d); err != nil {
		return Machine{}, fmt.Errorf("machine in %s: %w", root, err)
	}
	d.Root, d.firmware = root, d.Firmware
	return d.Machine, nil
}

func (m Machine) save() error {
	data, err := json.MarshalIndent(description{m, m.firmware}, "", "  ")
	if err != nil {
		return err
	}
	return m.write(descriptionFile, append(data, '\n'))
}

// Node builds the object that a kubelet on this machine would register.
func (m Machine) Node() *corev1.Node {
	arch, machineID := m.architecture(), m.text("etc/machine-id")
	systemUUID := m.text("sys/class/dmi/id/product_uuid")
	if systemUUID == "" {
		systemUUID = machineID // as the kubelet does
	}
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(int64(m.cpus()), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(int64(m.memTotal()), resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(110, resource.DecimalSI),
	}
	allocatable := capacity.DeepCopy()
	const evictionThreshold = 100 << 20 // the kubelet's default
	allocatable[corev1.ResourceMemory] = *resource.NewQuantity(max(0, int64(m.memTotal())-evictionThreshold), resource.BinarySI)
	now := metav1.Now()
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: m.Name,
			Labels: map[string]string{
				corev1.LabelHostname:             m.Name,
				corev1.LabelArchStable:           arch,
				corev1.LabelOSStable:             "linux",
				"node-role.kubernetes.io/worker": "",
			},
		},
		Status: corev1.NodeStatus{
			Capacity:    capacity,
			Allocatable: allocatable,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: "127.0.0.1"},
				{Type: corev1.NodeHostName, Address: m.Name},
			},
			Conditions: []corev1.NodeCondition{{
				Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
				Message:           "there is no kubelet: the test environment plays its part",
				LastHeartbeatTime: now, LastTransitionTime: now,
			}},
			NodeInfo: corev1.NodeSystemInfo{
				MachineID:               machineID,
				SystemUUID:              systemUUID,
				BootID:                  m.text("proc/sys/kernel/random/boot_id"),
				KernelVersion:           m.text("proc/sys/kernel/osrelease"),
				OSImage:                 m.osImage(),
				ContainerRuntimeVersion: "o2ims-test-environment://1",
				KubeletVersion:          kubeletVersion,
				OperatingSystem:         "linux",
				Architecture:            arch,
			},
		},
	}
}

// Facts are what a machine's own files say of it, read without any code of the product:
// what the product's answers are held against.
type Facts struct {
	Processor   string // model name
	CPUs        int    // logical processors
	MemoryBytes uint64 // MemTotal of the kernel; memory modules add up to a little more
	NICs        []NIC  // by name
	Disks       []Disk // by name
}

// NIC is a network interface that belongs to a device.
type NIC struct{ Name, MAC string }

// Disk is a disk of the machine.
type Disk struct {
	Name  string
	Bytes uint64
}

// Facts reads /proc/cpuinfo, /proc/meminfo, /sys/class/net and /sys/block.
func (m Machine) Facts() Facts {
	f := Facts{
		Processor:   strings.Join(strings.Fields(m.cpuinfo("model name")), " "),
		CPUs:        m.cpus(),
		MemoryBytes: m.memTotal(),
	}
	for _, name := range m.withDevice("sys/class/net") {
		f.NICs = append(f.NICs, NIC{Name: name, MAC: m.text("sys/class/net/" + name + "/address")})
	}
	for _, name := range m.withDevice("sys/block") {
		sectors, err := strconv.ParseUint(m.text("sys/block/"+name+"/size"), 10, 54)
		if err == nil && sectors > 0 && !strings.HasPrefix(name, "sr") {
			f.Disks = append(f.Disks, Disk{Name: name, Bytes: sectors * 512})
		}
	}
	return f
}

// withDevice lists the entries of a class of sysfs that belong to a device, by name.
func (m Machine) withDevice(class string) []string {
	entries, _ := os.ReadDir(filepath.Join(m.Root, class)) // sorted; none where there is no such class
	var names []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(m.Root, class, e.Name(), "device")); err == nil {
			names = append(names, e.Name())
		}
	}
	return names
}

func (m Machine) text(name string) string {
	data, _ := os.ReadFile(filepath.Join(m.Root, name)) // absent is empty
	return strings.TrimSpace(string(data))
}

// cpuinfo returns the first value of a key in /proc/cpuinfo.
func (m Machine) cpuinfo(key string) string {
	lines := bufio.NewScanner(strings.NewReader(m.text("proc/cpuinfo")))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if k, v, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// cpus counts the logical processors that are online: /proc/cpuinfo lists no other.
func (m Machine) cpus() int {
	return bytes.Count([]byte("\n"+m.text("proc/cpuinfo")), []byte("\nprocessor\t:"))
}

func (m Machine) memTotal() uint64 {
	for line := range strings.Lines(m.text("proc/meminfo")) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" {
			kb, _ := strconv.ParseUint(f[1], 10, 54)
			return kb << 10
		}
	}
	return 0
}

func (m Machine) architecture() string {
	switch m.text("proc/sys/kernel/arch") {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return runtime.GOARCH
}

func (m Machine) osImage() string {
	for line := range strings.Lines(m.text("etc/os-release")) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return "Linux"
}

// write replaces a file of the machine in one step: a probe may be reading.
func (m Machine) write(name string, data []byte) error {
	target := filepath.Join(m.Root, name)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	next := target + ".next"
	if err := os.WriteFile(next, data, 0o644); err != nil {
		return err
	}
	return os.Rename(next, target)
}

// link makes a symbolic link, unless there is one.
func (m Machine) link(name, target string) error {
	at := filepath.Join(m.Root, name)
	if _, err := os.Lstat(at); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	return os.Symlink(target, at)
}

// writeAll writes one-line files below a folder, in the order of their names.
func (m Machine) writeAll(folder string, files map[string]string) error {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := m.write(filepath.Join(folder, name), []byte(files[name]+"\n")); err != nil {
			return err
		}
	}
	return nil
}
