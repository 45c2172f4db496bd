package node

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// detectCPUs is the number of online processors of the machine, whatever this process may use (RES-35).
func detectCPUs() int {
	data, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return runtime.NumCPU()
	}
	n := 0
	for _, part := range strings.Split(strings.TrimSpace(string(data)), ",") {
		low, high, dash := strings.Cut(part, "-")
		a, err := strconv.Atoi(low)
		if err != nil {
			return runtime.NumCPU()
		}
		b := a
		if dash {
			if b, err = strconv.Atoi(high); err != nil {
				return runtime.NumCPU()
			}
		}
		n += b - a + 1
	}
	return max(n, 1)
}

// totalMemory is the machine's memory in bytes, 0 if unknown.
func totalMemory() uint64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return info.Totalram * uint64(info.Unit)
}

// bootID changes with each start of the machine; empty if unknown.
func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// freeMemory is the machine's unused memory in bytes, 0 if unknown.
func freeMemory() uint64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return info.Freeram * uint64(info.Unit)
}

// loadAverages are the lengths of the run queue over 1, 5 and 15 minutes.
func loadAverages() (one, five, fifteen float64, ok bool) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, 0, 0, false
	}
	const scale = 1 << 16
	return float64(info.Loads[0]) / scale, float64(info.Loads[1]) / scale, float64(info.Loads[2]) / scale, true
}
