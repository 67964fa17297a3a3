package probe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"
)

// maxAttribute bounds what is read of one file; the largest is /proc/cpuinfo of a
// machine with a thousand threads.
const maxAttribute = 8 << 20

// host reads files below a root and remembers what it was refused.
//
// A file that is not there is nothing to report. A file that is there and cannot be read
// is: somebody has to know that an absent serial number may exist.
type host struct {
	root    string
	refused []string
}

func (h *host) miss(what string) {
	if !slices.Contains(h.refused, what) {
		h.refused = append(h.refused, what)
	}
}

// missing returns what could not be read, ascending.
func (h *host) missing() []string {
	slices.Sort(h.refused)
	return h.refused
}

// bytes returns the content of a file, or nil. about names the subject in a remark about
// a file that cannot be read.
func (h *host) bytes(about string, elem ...string) []byte {
	name := h.path(elem...)
	f, err := os.Open(name)
	if err == nil {
		defer f.Close()
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(f, maxAttribute)); err == nil {
			return data
		}
	}
	h.refuse(about, filepath.Base(name), err)
	return nil
}

func (h *host) refuse(about, name string, err error) {
	if notThere(err) {
		return
	}
	h.miss(fmt.Sprintf("%s: %s on %s", about, reasonOf(err), name))
}

// notThere tells whether an error means that the machine has no such thing. sysfs shows
// attributes that a device does not have and answers some other errors when read.
func notThere(err error) bool {
	return slices.ContainsFunc([]error{
		fs.ErrNotExist, syscall.ENOTDIR, syscall.ENODEV, syscall.ENXIO,
		syscall.EINVAL, syscall.EOPNOTSUPP, syscall.ENODATA,
	}, func(e error) bool { return errors.Is(err, e) })
}

// text returns the cleaned content of a one-line file; "" when it says nothing.
func (h *host) text(about string, elem ...string) string {
	return known(string(h.bytes(about, elem...)))
}

// number returns the content of a file with one number.
func (h *host) number(about string, elem ...string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(string(h.bytes(about, elem...))), 10, 64)
	return n, err == nil
}

// numa returns the NUMA node that a device is attached to, nil when the kernel names none.
func (h *host) numa(device string) *int {
	n, ok := h.number("numa", device, "numa_node")
	if !ok || n < 0 {
		return nil
	}
	id := int(n)
	return &id
}

// list returns the names in a folder, ascending.
func (h *host) list(about string, elem ...string) []string {
	name := h.path(elem...)
	entries, err := os.ReadDir(name)
	if err != nil {
		h.refuse(about, filepath.Base(name), err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// exists tells whether a file is there, whatever it is.
func (h *host) exists(elem ...string) bool {
	_, err := os.Lstat(h.path(elem...))
	return err == nil
}

// resolve follows the links of a path below the root and returns the path of what is
// there, relative to the root, such as "sys/devices/pci0000:00/0000:00:03.0/net/eth0".
// It returns "" when nothing is there.
func (h *host) resolve(elem ...string) string {
	target, err := filepath.EvalSymlinks(h.path(elem...))
	if err != nil {
		return ""
	}
	root, err := filepath.EvalSymlinks(h.root)
	if err != nil {
		return ""
	}
	rel, err := filepath.Rel(root, target)
	if err != nil || strings.HasPrefix(rel, "..") {
		return ""
	}
	return filepath.ToSlash(rel)
}

// fillers stand where manufacturers and kernels had nothing to say. Lower case.
var fillers = []string{
	"unknown", "none", "null", "n/a", "na", "nil", "not specified", "not applicable", "not available",
	"not provided", "not present", "undefined", "unspecified", "default string", "default",
	"to be filled by o.e.m.", "to be filled by o.e.m", "to be filled by oem", "to be set by oem",
	"system manufacturer", "system product name", "system version", "system serial number", "sku", "system sku",
	"system sku number", "base board manufacturer", "base board product name", "base board version",
	"base board serial number", "board manufacturer", "board serial number", "chassis serial number",
	"oem", "o.e.m.", "empty", "[empty]", "no dimm", "no module installed", "<out of spec>", "<bad index>", "(none)",
	"0123456789", "123456789", "1234567890", "0x0000", "x.x",
}

// known cleans a text that firmware or a driver gave: unprintable characters go, white
// space is collapsed, and a text that says nothing becomes "".
func known(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), r == 0:
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.Join(strings.Fields(s), " ")
	if slices.Contains(fillers, strings.ToLower(s)) || strings.Trim(s, "0 .-_") == "" || allF(s) {
		return ""
	}
	return s
}

// allF recognises erased flash memory: a run of 0xff printed in hexadecimal.
func allF(s string) bool { return len(s) >= 4 && strings.Trim(strings.ToLower(s), "f-") == "" }

// fields splits "key : value" lines, as in /proc/meminfo.
func fields(data []byte) map[string]string {
	m := map[string]string{}
	for line := range bytes.Lines(data) {
		if key, value, ok := strings.Cut(string(line), ":"); ok {
			m[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return m
}

// kilobytes reads "65921280 kB" as bytes.
func kilobytes(s string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(s, "kB")), 10, 54)
	if err != nil {
		return 0
	}
	return n << 10
}

// nonNegative turns a count that a file gave into an int, what makes no sense into 0.
func nonNegative(n int64, ok bool) int {
	if !ok || n < 0 || n > 1<<40 {
		return 0
	}
	return int(n)
}

// reasonOf shortens an error about a file to what is wrong with it.
func reasonOf(err error) string {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
