package isolate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// shimName is argv[0] of a shim; argv[1] is the container's ID, for people who
// read the process list.
const shimName = "clusterd-shim"

// orderFD is the shim's socket to the daemon that started it.
const orderFD = 3

// shimEnv keeps the Go runtime of a shim small, and fast to start: settle turns
// garbage collection on, and no cpu limits are looked up or followed.
var shimEnv = []string{"GOMAXPROCS=1", "GOGC=off", "GODEBUG=containermaxprocs=0,updatemaxprocs=0"}

// settleAfter is when a shim gives the memory of its start back.
const settleAfter = 3 * time.Second

var supervisor Supervisor

// SetSupervisor names the function that shims of supervised containers run.
// Call it before [MaybeInit], in the program that is re-executed.
func SetSupervisor(s Supervisor) { supervisor = s }

// MaybeInit must come first in main (and in TestMain of tests that launch
// containers): in a re-executed shim or container init it does that work and
// never returns; otherwise it does nothing.
func MaybeInit() {
	maybeContainerInit()
	if os.Args[0] != shimName || os.Getenv(shimMark) == "" {
		return
	}
	os.Exit(shimMain())
}

// shimMark is in the environment of shims, so that a program which merely has
// their name is none.
const shimMark = "_CLUSTERD_SHIM"

// shim is one container seen from its shim process.
type shim struct {
	order    order
	initConn *os.File     // to the container's init; nil for plain processes
	initExit *watchedExit // of the container's init

	mu      sync.Mutex
	process *Process // the container's process, once started
	started bool

	oom atomic.Pointer[memoryUse] // set when the container ran out of memory
}

// memoryUse is what the container's cgroup says at its end, or at the moment it
// ran out of memory.
type memoryUse struct {
	OOM                  bool
	MaxBytes, LimitBytes int64
	Stat                 string
}

func shimMain() int {
	os.Clearenv()
	syscall.Umask(0o022)
	conn := os.NewFile(orderFD, "daemon")
	syscall.CloseOnExec(orderFD)
	s := &shim{}
	if err := readMessage(conn, &s.order); err != nil {
		return 1 // the daemon is gone: nothing has been started
	}
	status, err := s.run(conn)
	exit := Exit{Status: status}
	if err != nil {
		exit.Err = err.Error()
	}
	use := s.memoryUse()
	exit.OOM, exit.MaxMemoryBytes, exit.MemoryLimitBytes, exit.MemoryStat = use.OOM, use.MaxBytes, use.LimitBytes, use.Stat
	if s.order.Supervised {
		exit.Task = s.taskStatus()
	}
	if err := writeRecord(s.order.StateDir, exitFile, exit, true); err != nil {
		fmt.Fprintf(os.Stderr, "write exit record: %v\n", err)
		return 1
	}
	return 0
}

// run does the container's whole life and returns its raw wait status.
func (s *shim) run(conn *os.File) (status int, err error) {
	prepare := s.connectInit
	if s.order.Plain {
		prepare = adoptOrphans
	}
	if err := errors.Join(protectShim(), prepare()); err != nil {
		return -1, errors.Join(err, answer(conn, err))
	}
	if s.order.Supervised {
		return s.supervise(conn)
	}
	p, err := s.start(s.order.Command)
	if aerr := answer(conn, err); err == nil {
		err = aerr
	}
	if p == nil {
		return -1, err
	}
	s.settle()
	status = p.Wait().Status
	return status, errors.Join(err, s.end())
}

// answer tells the daemon how the start went and closes the connection. The
// daemon may have died meanwhile: then nobody listens, and the container goes on.
func answer(conn *os.File, cause error) error {
	defer conn.Close()
	var r reply
	if cause != nil {
		r.Err = cause.Error()
	}
	err := writeMessage(conn, r)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return err
}

func (s *shim) supervise(conn *os.File) (int, error) {
	if supervisor == nil {
		err := errors.New("this program has no supervisor")
		return -1, errors.Join(err, answer(conn, err))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := answer(conn, nil); err != nil {
		return -1, err
	}
	code := supervisor(ctx, s.order.Command.Env, s.startOnce, os.Stderr)
	return (code & 0xff) << 8, s.end()
}

// taskStatus is the wait status of what the supervisor started, which has ended.
func (s *shim) taskStatus() *int {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := -1
	if s.process != nil {
		if status = s.process.Wait().Status; status < 0 {
			return nil
		}
	}
	return &status
}

// startOnce is what a supervisor gets: commands start as the user of the
// container unless they name another.
func (s *shim) startOnce(cmd Command) (*Process, error) {
	if err := validateCommand(cmd.Path, cmd.Args); err != nil {
		return nil, err
	}
	if err := validateEnv(cmd.Env); err != nil {
		return nil, err
	}
	if cmd.Dir == "" {
		cmd.Dir = s.order.Command.Dir
	}
	p, err := s.start(cmd)
	if err == nil {
		s.settle()
	}
	return p, err
}

func (s *shim) start(cmd Command) (*Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return nil, errors.New("container has its process already")
	}
	s.started = true
	if cmd.User != "" && cmd.User != s.order.Command.User {
		return nil, fmt.Errorf("container runs as user %q, not %q", s.order.Command.User, cmd.User)
	}
	var err error
	if s.order.Plain {
		s.process, err = startPlain(&s.order, cmd)
	} else {
		s.process, err = s.startContained(cmd)
	}
	return s.process, err
}

// settle ends the start: from here on memory counts more than speed. Later, so
// that many starts at once do not pay for it, and short tasks never.
func (s *shim) settle() {
	time.AfterFunc(settleAfter, func() {
		debug.SetGCPercent(50)
		debug.FreeOSMemory()
	})
}

// end kills what the container's process left behind (EXE-70).
func (s *shim) end() error {
	s.mu.Lock()
	p := s.process
	s.mu.Unlock()
	if p == nil {
		if s.order.Plain {
			return nil
		}
		return s.dismissInit()
	}
	err := p.Kill()
	if s.order.Plain {
		err = p.kill() // Kill does nothing once the first process has ended
	}
	p.Wait()
	return err
}
