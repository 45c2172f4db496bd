package node

import (
	"fmt"
	"log/slog"
	"strings"

	"golang.org/x/sys/unix"
)

// detectMemMB is the memory that an agent offers, in MB: all but 1 GB, or half when there is less
// than 2 GB (RES-36).
func detectMemMB() int64 { return memMB(totalMemory()) }

func memMB(total uint64) int64 {
	const gb = 1 << 30
	switch {
	case total == 0:
		return 1024
	case total >= 2*gb:
		return int64((total - gb) >> 20)
	default:
		return int64(total / 2 >> 20)
	}
}

// detectDiskMB is the disk space that an agent offers, in MB: the size of the file system below dir
// less 5 GB, or half when it has less than 10 GB (RES-37).
func detectDiskMB(dir string) int64 { return diskMB(diskUsage(dir)) }

func diskMB(total, _ uint64) int64 {
	const gb = 1 << 30
	switch {
	case total == 0:
		return 10240
	case total >= 10*gb:
		return int64((total - 5*gb) >> 20)
	default:
		return int64(total / 2 >> 20)
	}
}

// diskUsage returns size and free space of the file system below dir in bytes; 0, 0 if unknown.
func diskUsage(dir string) (total, free uint64) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0
	}
	return st.Blocks * uint64(st.Bsize), st.Bavail * uint64(st.Bsize)
}

// ParseLevel reads a --logging-level.
func ParseLevel(s string) (slog.Level, error) {
	switch strings.ToLower(s) {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("%q is not one of debug, info, warn, error", s)
}
