package isolate

import (
	"syscall"
)

// Process is a process started by a [Supervisor], with all that it starts.
type Process struct {
	pid    int
	done   chan struct{} // closed when exit is set
	exit   ProcessExit
	signal func(syscall.Signal) error
	kill   func() error
}

// Pid is the process ID on the host.
func (p *Process) Pid() int { return p.pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait blocks until the process has ended. In a container all that it left
// behind is gone then too.
func (p *Process) Wait() ProcessExit {
	<-p.done
	return p.exit
}

// Signal sends sig to every process of the task, whatever its session or
// process group (EXE-61). A task that has ended is not an error.
func (p *Process) Signal(sig syscall.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if sig == syscall.SIGKILL {
		return p.kill()
	}
	return p.signal(sig)
}

// Kill ends every process of the task.
func (p *Process) Kill() error { return p.Signal(syscall.SIGKILL) }
