package isolate

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// The main thread is the main goroutine's alone: threads that changed their
// namespaces or their rights (here, and in libcontainer) are ended with their
// goroutine, but the main thread cannot be, and would stay in a container's
// mount namespace. A shim changes neither and is spared the price.
func init() {
	if os.Args[0] != shimName {
		runtime.LockOSThread()
	}
}

// selfExecutable is this very program, even if its file has been replaced.
func selfExecutable() (string, error) { return "/proc/self/exe", nil }

// machineMemory is the memory of this machine in bytes, 0 if it is not known.
func machineMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}
