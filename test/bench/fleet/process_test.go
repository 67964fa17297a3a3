package fleet

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has taken of the machine.
type usage struct {
	RSS  int64         // bytes now, files mapped included
	Anon int64         // of them, memory of its own
	HWM  int64         // most that RSS ever was
	CPU  time.Duration // user and system
}

// usageOf reads /proc.
func usageOf(pid int) (usage, error) {
	var u usage
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		var to *int64
		switch name {
		case "VmRSS":
			to = &u.RSS
		case "RssAnon":
			to = &u.Anon
		case "VmHWM":
			to = &u.HWM
		default:
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return u, fmt.Errorf("process %d: %s: %w", pid, name, err)
		}
		*to = kib << 10
	}
	u.CPU, err = cpuOf(pid)
	return u, err
}

// clockTick is the kernel's unit of processor time, 100 to the second everywhere.
const clockTick = 10 * time.Millisecond

func cpuOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')'):]), " ") // a name may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("process %d: /proc has %d fields", pid, len(fields))
	}
	var ticks time.Duration
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += time.Duration(n)
	}
	return ticks * clockTick, nil
}

// hubProcesses finds the processes of an environment by what they do. All of them name a
// file below dir on their command line.
func hubProcesses(dir string) (map[string]int, error) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	found := map[string]int{}
	for _, path := range lines {
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte(dir)) { // gone, or somebody else's
			continue
		}
		args := strings.Split(string(text), "\x00")
		if strings.HasPrefix(filepath.Base(args[0]), "bwrap") || len(args) < 2 {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		found[args[1]] = pid
	}
	return found, nil
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

func mebibytes(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }
