package machines

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Change is something that happens to a machine. What it cannot be done to gives an error
// that wraps fault.Invalid or fault.NotFound.
type Change func(m *Machine) error

// Change lets something happen to the machine, which has to be a snapshot.
func (m *Machine) Change(what Change) error {
	if m.firmware == nil {
		return fmt.Errorf("machine %s is real and is not changed: %w", m.Name, fault.Invalid)
	}
	if err := what(m); err != nil {
		return fmt.Errorf("machine %s: %w", m.Name, err)
	}
	return m.save()
}

// RemoveDisk pulls a disk, such as "sdb".
func RemoveDisk(name string) Change {
	return func(m *Machine) error {
		at, err := m.follow("sys/block/" + name)
		if err != nil {
			return fmt.Errorf("disk %s: %w", name, fault.NotFound)
		}
		return errors.Join(os.Remove(filepath.Join(m.Root, "sys/block", name)), os.RemoveAll(filepath.Join(m.Root, at)))
	}
}

// AddDIMM plugs in a memory module. Its place must be free.
func AddDIMM(module Module) Change {
	return func(m *Machine) error {
		if slices.ContainsFunc(m.firmware.Modules, func(o Module) bool { return o.Locator == module.Locator }) {
			return fmt.Errorf("memory place %s is taken: %w", module.Locator, fault.Invalid)
		}
		m.firmware.Modules = append(m.firmware.Modules, module)
		return m.install()
	}
}

// RemoveDIMM pulls the memory module in a place.
func RemoveDIMM(locator string) Change {
	return func(m *Machine) error {
		i := slices.IndexFunc(m.firmware.Modules, func(o Module) bool { return o.Locator == locator })
		if i < 0 {
			return fmt.Errorf("memory place %s: %w", locator, fault.NotFound)
		}
		m.firmware.Modules = slices.Delete(m.firmware.Modules, i, i+1)
		return m.install()
	}
}

// SetSerial gives the machine another serial number, as a new board would.
func SetSerial(serial string) Change {
	return func(m *Machine) error {
		m.firmware.Serial = serial
		return m.install()
	}
}

// SetLink plugs a network cable in or out.
func SetLink(name string, up bool) Change {
	return func(m *Machine) error {
		at, err := m.follow("sys/class/net/" + name)
		if err != nil {
			return fmt.Errorf("network interface %s: %w", name, fault.NotFound)
		}
		files := map[string]string{"operstate": "down", "carrier": "0"}
		if up {
			files = map[string]string{"operstate": "up", "carrier": "1"}
		}
		return m.writeAll(path.Clean(at), files)
	}
}
