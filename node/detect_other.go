//go:build !linux

package node

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

func detectCPUs() int { return runtime.NumCPU() }

// totalMemory is the machine's memory in bytes, 0 if unknown.
func totalMemory() uint64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return n
}

// bootID changes with each start of the machine; empty if unknown.
func bootID() string {
	tv, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return ""
	}
	return time.Unix(tv.Unix()).UTC().Format(time.RFC3339)
}

// freeMemory is not known here.
func freeMemory() uint64 { return 0 }

// loadAverages are not known here.
func loadAverages() (one, five, fifteen float64, ok bool) { return 0, 0, 0, false }
