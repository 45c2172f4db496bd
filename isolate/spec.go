package isolate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Config says where a [Runtime] keeps its state and what it may use.
type Config struct {
	// StateDir holds the state of running containers. It must survive
	// restarts of the daemon and belong to one Runtime at a time.
	StateDir string
	// CgroupRoot is the cgroup below which containers get theirs, for
	// example "clusterd" (flag cgroups_root). Empty means "clusterd".
	CgroupRoot string
	// Plain asks for plain processes even where containers are possible
	// (ISO-28: isolation posix/cpu,posix/mem).
	Plain bool
	// Logger receives what an operator would act on; nil discards it.
	Logger *slog.Logger
	// Executable is the program re-executed as shim and container init:
	// this one, with [MaybeInit] called first in its main. Empty means the
	// running program.
	Executable string
}

// Spec describes one container. It is not kept after Launch: Env may hold
// secrets and is handed to the shim through a socket only.
type Spec struct {
	// ID names the container: letters, digits, '_', '-', '+' and '.', at
	// most 242 bytes, not starting with '.'.
	ID string
	// Args is the argument vector of the first process; not used when
	// Supervised.
	Args []string
	// Path is the executable; empty means Args[0]. Without a slash it is
	// looked for in the PATH of Env, then in Dir (EXE-45).
	Path string
	// Env is the complete environment, "NAME=value".
	Env []string
	// Dir is the sandbox: working directory, and the place of the files
	// stdout and stderr. It exists already.
	Dir string
	// User is the name or number of the user the processes run as. Empty
	// means the daemon's own.
	User string
	// Limits apply to the shim and all processes of the container together.
	Limits Limits
	// Supervised makes the shim run the [Supervisor] instead of Args.
	Supervised bool
}

// Limits of one container. Without cgroups they are only reported.
type Limits struct {
	// CPUSharesMilli is the cpu request in thousandths of a cpu (ISO-43,
	// ISO-44).
	CPUSharesMilli int64
	// CPUQuotaMilli bounds cpu time, in thousandths of a cpu; 0 or less is
	// no bound (ISO-46, ISO-47).
	CPUQuotaMilli int64
	// MemorySoftBytes is the memory request, MemoryHardBytes the bound;
	// 0 or less is no bound. Values below [MinMemoryBytes] are raised to it
	// (ISO-56).
	MemorySoftBytes int64
	MemoryHardBytes int64
}

// MinMemoryBytes is the smallest memory limit a container gets (ISO-56).
const MinMemoryBytes = 32 << 20

// Command is a process that a [Supervisor] starts in its container. Fields
// mean the same as in [Spec].
type Command struct {
	Path string
	Args []string
	Env  []string
	Dir  string
	User string
}

// Supervisor runs in the shim, on the host and outside of the container's
// namespaces, and returns the exit code of the shim. env is Spec.Env; stderr
// is the sandbox's. start creates the container around one process; it works
// once. ctx ends when the container is being destroyed.
type Supervisor func(ctx context.Context, env []string, start func(Command) (*Process, error), stderr *os.File) int

// ProcessExit is the end of a process started by a [Supervisor].
type ProcessExit struct {
	// Status is the raw wait status, as in [syscall.WaitStatus].
	Status int
	// Limited says that the container broke one of its limits and was
	// killed for it: the daemon reports that.
	Limited bool
}

// Exit says how a container ended.
type Exit struct {
	// Status is the raw wait status of the first process, or of a shim with
	// a [Supervisor]; -1 if it is not known.
	Status int `json:"status"`
	// Task is the raw wait status of the process that a [Supervisor] has
	// started, -1 if it started none; nil without a Supervisor, and where
	// nobody knows.
	Task *int `json:"task,omitempty"`
	// OOM says that the kernel killed a process of the container for its
	// memory limit.
	OOM bool `json:"oom,omitempty"`
	// MaxMemoryBytes is the most memory that the container used;
	// MemoryLimitBytes its bound when it ended (0: none).
	MaxMemoryBytes   int64 `json:"max_memory_bytes,omitempty"`
	MemoryLimitBytes int64 `json:"memory_limit_bytes,omitempty"`
	// MemoryStat is the memory statistics section of the message for
	// an out-of-memory end, beginning with its heading.
	MemoryStat string `json:"memory_stat,omitempty"`
	// Err says what went wrong with the container itself, if anything.
	Err string `json:"err,omitempty"`
}

// Signaled returns the signal that ended the container's first process.
func (e Exit) Signaled() (syscall.Signal, bool) {
	ws := syscall.WaitStatus(uint32(e.Status))
	if e.Status < 0 || !ws.Signaled() {
		return 0, false
	}
	return ws.Signal(), true
}

// OOMMessage is the text that reports an out-of-memory end (ISO-62, ISO-63).
func (e Exit) OOMMessage() string {
	return fmt.Sprintf("Memory limit exceeded: Requested: %s Maximum Used: %s\n\n%s",
		formatBytes(e.MemoryLimitBytes), formatBytes(e.MaxMemoryBytes), e.MemoryStat)
}

// formatBytes prints a size in the largest unit that divides it (ISO-62).
func formatBytes(n int64) string {
	units := []string{"B", "KB", "MB", "GB", "TB"}
	u := 0
	for n != 0 && n%1024 == 0 && u < len(units)-1 {
		n /= 1024
		u++
	}
	return fmt.Sprintf("%d%s", n, units[u])
}

// UnknownUserError reports a user that this machine does not have (EXE-47).
type UnknownUserError struct{ User string }

func (e *UnknownUserError) Error() string { return fmt.Sprintf("No such user '%s'", e.User) }

// ErrExists reports a second launch with the ID of a container that is still
// known (ISO-9, ISO-34).
var ErrExists = errors.New("container exists already")

// maxIDBytes is the longest container ID (EXE-179).
const maxIDBytes = 242

func validateID(id string) error {
	if id == "" || len(id) > maxIDBytes || id[0] == '.' {
		return fmt.Errorf("container id %q: want 1 to %d bytes, not starting with '.'", id, maxIDBytes)
	}
	for i := 0; i < len(id); i++ {
		c := id[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '_', c == '-', c == '+', c == '.':
		default:
			return fmt.Errorf("container id %q: contains invalid characters", id)
		}
	}
	return nil
}

func (s *Spec) validate() error {
	if err := validateID(s.ID); err != nil {
		return err
	}
	if !filepath.IsAbs(s.Dir) {
		return fmt.Errorf("sandbox %q: want an absolute path", s.Dir)
	}
	if err := validateEnv(s.Env); err != nil {
		return err
	}
	if s.Supervised {
		return nil
	}
	return validateCommand(s.Path, s.Args)
}

func validateCommand(path string, args []string) error {
	if path == "" && (len(args) == 0 || args[0] == "") {
		return errors.New("command is missing")
	}
	for _, s := range append([]string{path}, args...) {
		if strings.IndexByte(s, 0) >= 0 {
			return errors.New("command contains a NUL byte")
		}
	}
	return nil
}

// validateEnv refuses what the kernel cannot carry (ISO-341).
func validateEnv(env []string) error {
	for _, kv := range env {
		name, _, ok := strings.Cut(kv, "=")
		if !ok || name == "" {
			return fmt.Errorf("environment variable %q: want NAME=value", name)
		}
		if strings.IndexByte(kv, 0) >= 0 {
			return fmt.Errorf("environment variable %q: contains a NUL byte", name)
		}
	}
	return nil
}
