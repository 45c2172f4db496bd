package isolate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// taskFD is the shim's socket to the init of its container.
const taskFD = 4

// connectInit takes over the container's init, which waits for a task. It ends
// with its container when the shim does.
func (s *shim) connectInit() error {
	syscall.CloseOnExec(taskFD)
	if err := syscall.SetNonblock(taskFD, true); err != nil {
		return err
	}
	s.initConn = os.NewFile(taskFD, "init")
	var err error
	if s.initExit, err = watchProcess(s.order.Init); err != nil {
		return fmt.Errorf("watch the container's init: %w", err)
	}
	return s.watchMemory()
}

// startContained makes the container's init start a task.
func (s *shim) startContained(cmd Command) (*Process, error) {
	if _, err := s.initConn.Write(encodeTask(cmd)); err != nil {
		return nil, fmt.Errorf("tell the container's init: %w", err)
	}
	pid := s.order.Init.Pid
	p := &Process{
		pid:    pid,
		done:   make(chan struct{}),
		signal: func(sig syscall.Signal) error { return signalTree(pid, 0, sig) },
		kill:   s.killInit,
	}
	go func() {
		defer close(p.done)
		status, err := readStatus(s.initConn)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		// The end of the init is the end of everything in its PID namespace.
		if err := s.initExit.wait(); err != nil {
			fmt.Fprintf(os.Stderr, "wait for the container's init: %v\n", err)
		}
		p.exit = ProcessExit{Status: status, Limited: s.memoryUse().OOM}
	}()
	return p, nil
}

// killInit ends the container.
func (s *shim) killInit() error {
	err := s.initExit.signal(syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// dismissInit ends a container that never got a task.
func (s *shim) dismissInit() error {
	return errors.Join(s.initConn.Close(), s.initExit.wait())
}

// encodeTask is what init_linux.c reads: size, number of arguments, number of
// variables, then executable, working directory, arguments and environment,
// NUL-terminated.
func encodeTask(cmd Command) []byte {
	var body bytes.Buffer
	for _, s := range append(append([]string{executableName(cmd), cmd.Dir}, argv(cmd)...), cmd.Env...) {
		body.WriteString(s)
		body.WriteByte(0)
	}
	head := make([]byte, 12)
	binary.NativeEndian.PutUint32(head[0:], uint32(body.Len()))
	binary.NativeEndian.PutUint32(head[4:], uint32(len(argv(cmd))))
	binary.NativeEndian.PutUint32(head[8:], uint32(len(cmd.Env)))
	return append(head, body.Bytes()...)
}

// readStatus waits for the task's raw wait status. An init that ends without
// telling was killed, with all of its container.
func readStatus(conn *os.File) (int, error) {
	var b [4]byte
	_, err := io.ReadFull(conn, b[:])
	switch {
	case err == nil:
		return int(int32(binary.NativeEndian.Uint32(b[:]))), nil
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return int(syscall.SIGKILL), nil
	}
	return -1, fmt.Errorf("read status of task: %w", err)
}
