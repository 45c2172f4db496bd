package isolate

import "golang.org/x/sys/unix"

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
