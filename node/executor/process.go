package executor

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"syscall"
)

// Command is what to start.
type Command struct {
	// Path of the executable; without a slash it is looked up in PATH of Env.
	Path string
	Args []string // with argv[0]
	Env  []string // complete, K=V
	Dir  string
	User string // empty: do not switch
}

// Process is a started task: its first process and all that came of it.
type Process interface {
	Pid() int
	// Wait blocks until the first process has ended and nothing of the task is left.
	Wait() Exit
	// Signal sends a signal to every process of the task (EXE-61).
	Signal(sig syscall.Signal) error
	// Kill ends every process of the task.
	Kill() error
}

// Exit is how a process ended.
type Exit struct {
	// Status is the raw wait status of the first process.
	Status int
	// Limited is set when the container was ended for a limit: the agent reports the task.
	Limited bool
}

// Launcher starts the process of the task in its container. An *ExecError says that the container
// is fine but the program cannot be executed.
type Launcher interface {
	Start(Command) (Process, error)
}

// ExecError is a program that could not be executed (EXE-49).
type ExecError struct {
	Path string
	Err  error
}

func (e *ExecError) Error() string { return fmt.Sprintf("Failed to execute '%s': %v", e.Path, e.Err) }

func (e *ExecError) Unwrap() error { return e.Err }

// execError recognises a program that could not be executed, also in the errors of os/exec.
func execError(path string, err error) (*ExecError, bool) {
	var own *ExecError
	if errors.As(err, &own) {
		return own, true
	}
	var lookup *exec.Error
	if errors.As(err, &lookup) {
		return &ExecError{Path: path, Err: lookup.Err}, true
	}
	var file *fs.PathError
	if errors.As(err, &file) && (file.Op == "fork/exec" || file.Op == "exec") {
		return &ExecError{Path: path, Err: file.Err}, true
	}
	return nil, false
}
