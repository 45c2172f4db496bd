package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The tracer runs a child and records, by ptrace, what it does to the files of one directory and what it
// prints, in the order in which it happens.

// fileOp is one thing that was done to a file or a name.
type fileOp struct {
	kind opKind
	file int    // number of the file, counted by creation
	at   int64  // offset of a write, size of a truncation
	data []byte // of a write, or a line that was printed
	name string // in the directory
	to   string // new name
	// begun is how many operations had ended when this one began: a sync makes only those durable.
	begun int
}

type opKind int

const (
	opWrite opKind = iota + 1
	opTruncate
	opSync    // of a file
	opSyncDir // of a directory, which makes all names durable: they are in one journal
	opCreate
	opMakeDir
	opRename
	opRemove
	opPrint
)

// tracee is the child as the tracer sees it.
type tracee struct {
	dir   string
	mem   *os.File
	calls map[int]*call // of each thread, between entry and exit
	open  map[int]*openFile
	files int
	names map[string]int // files by name
	ops   []fileOp
}

// call is a system call under way.
type call struct {
	number uint64
	args   [6]uint64
	text   string // path
	second string // path
	data   []byte
	begun  int
}

type openFile struct {
	file   int // or one of these
	offset int64
}

const (
	aDirectory    = -1
	somethingElse = -2
)

// trace runs a command to its end and returns what it did.
func trace(t *testing.T, cmd *exec.Cmd, dir string) []fileOp {
	t.Helper()
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, syscall.EPERM) {
			t.Skipf("no right to trace a process: %v", err)
		}
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	c := &tracee{dir: dir, calls: map[int]*call{}, open: map[int]*openFile{1: {file: somethingElse}}, names: map[string]int{}}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
		t.Fatalf("child did not stop: %v, %v", status, err)
	}
	if err := syscall.PtraceSetOptions(pid, unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_EXITKILL); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.mem, err = os.Open(fmt.Sprintf("/proc/%d/mem", pid)); err != nil {
		t.Fatal(err)
	}
	defer c.mem.Close() // only read
	if err := syscall.PtraceSyscall(pid, 0); err != nil {
		t.Fatal(err)
	}
	for {
		thread, err := syscall.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			t.Fatal(err)
		case status.Exited() || status.Signaled():
			if thread != pid {
				continue
			}
			if status.ExitStatus() != 0 {
				t.Fatalf("child ended with %v", status)
			}
			if err := cmd.Process.Release(); err != nil {
				t.Fatal(err)
			}
			return c.ops
		}
		signal := 0
		switch stop := status.StopSignal(); {
		case stop == syscall.SIGTRAP|0x80:
			if err := c.stopped(thread); err != nil {
				t.Fatal(err)
			}
		case stop != syscall.SIGTRAP && stop != syscall.SIGSTOP:
			signal = int(stop)
		}
		if err := syscall.PtraceSyscall(thread, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
}

// stopped is called when a thread enters or leaves a system call.
func (c *tracee) stopped(thread int) error {
	info := make([]byte, 88)
	if _, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(thread), uintptr(len(info)), uintptr(unsafe.Pointer(&info[0])), 0, 0); e == unix.ESRCH {
		return nil // the process is ending
	} else if e != 0 {
		return fmt.Errorf("get system call of thread %d: %w", thread, e)
	}
	order := binary.NativeEndian
	switch info[0] {
	case unix.PTRACE_SYSCALL_INFO_ENTRY:
		now := &call{number: order.Uint64(info[24:]), begun: len(c.ops)}
		for i := range now.args {
			now.args[i] = order.Uint64(info[32+8*i:])
		}
		c.calls[thread] = now
		return c.entered(now)
	case unix.PTRACE_SYSCALL_INFO_EXIT:
		now, ok := c.calls[thread]
		if !ok {
			return nil
		}
		delete(c.calls, thread)
		if result := int64(order.Uint64(info[24:])); result >= 0 {
			return c.left(now, result)
		}
	}
	return nil
}

// entered takes what has to be read before the call.
func (c *tracee) entered(now *call) (err error) {
	a := now.args
	switch now.number {
	case unix.SYS_CLOSE:
		delete(c.open, int(int32(a[0]))) // another thread may be given the number before the call ends
	case unix.SYS_OPENAT, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT:
		now.text, err = c.path(a[1])
	case unix.SYS_RENAMEAT:
		if now.text, err = c.path(a[1]); err == nil {
			now.second, err = c.path(a[3])
		}
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		if f, ok := c.open[int(int32(a[0]))]; ok && (f.file >= 0 || a[0] == 1) {
			now.data = make([]byte, a[2])
			_, err = c.mem.ReadAt(now.data, int64(a[1]))
		}
		if a[0] == 1 && err == nil {
			// Whoever reads it may act on it before the call ends.
			c.ops = append(c.ops, fileOp{kind: opPrint, data: now.data, begun: now.begun})
		}
	}
	return err
}

// path reads a path, empty if it is not one in the directory; "." is the directory itself.
func (c *tracee) path(at uint64) (string, error) {
	var text []byte
	buf := make([]byte, 256)
	for {
		n, err := c.mem.ReadAt(buf, int64(at)+int64(len(text)))
		if n == 0 {
			return "", fmt.Errorf("read a path: %w", err)
		}
		if end := strings.IndexByte(string(buf[:n]), 0); end >= 0 {
			text = append(text, buf[:end]...)
			break
		}
		text = append(text, buf[:n]...)
	}
	name, err := filepath.Rel(c.dir, string(text))
	if err != nil || strings.HasPrefix(name, "..") {
		return "", nil
	}
	return name, nil
}

// left records what a successful call did.
func (c *tracee) left(now *call, result int64) error {
	a := now.args
	add := func(op fileOp) {
		op.begun = now.begun
		c.ops = append(c.ops, op)
	}
	f := c.open[int(int32(a[0]))]
	switch now.number {
	case unix.SYS_OPENAT:
		c.opened(now, int(result), add)
	case unix.SYS_UNLINKAT:
		if now.text != "" {
			add(fileOp{kind: opRemove, name: now.text})
			delete(c.names, now.text)
		}
	case unix.SYS_MKDIRAT:
		if now.text != "" {
			add(fileOp{kind: opMakeDir, file: aDirectory, name: now.text})
			c.names[now.text] = aDirectory
		}
	case unix.SYS_RENAMEAT:
		if now.text != "" {
			add(fileOp{kind: opRename, name: now.text, to: now.second})
			rename(c.names, now.text, now.second)
		}
	}
	if f == nil || f.file == somethingElse {
		return nil
	}
	switch now.number {
	case unix.SYS_WRITE:
		add(fileOp{kind: opWrite, file: f.file, at: f.offset, data: now.data[:result]})
		f.offset += result
	case unix.SYS_PWRITE64:
		add(fileOp{kind: opWrite, file: f.file, at: int64(a[3]), data: now.data[:result]})
	case unix.SYS_FTRUNCATE:
		add(fileOp{kind: opTruncate, file: f.file, at: int64(a[1])})
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		kind := opSync
		if f.file == aDirectory {
			kind = opSyncDir
		}
		add(fileOp{kind: kind, file: f.file})
	case unix.SYS_LSEEK:
		f.offset = result
	case unix.SYS_FALLOCATE, unix.SYS_PWRITEV, unix.SYS_WRITEV, unix.SYS_COPY_FILE_RANGE:
		return fmt.Errorf("system call %d changes a file in a way that the tracer does not know", now.number)
	}
	return nil
}

// opened notes an open file, and its creation.
func (c *tracee) opened(now *call, fd int, add func(fileOp)) {
	if now.text == "" {
		c.open[fd] = &openFile{file: somethingElse}
		return
	}
	if now.text == "." {
		c.open[fd] = &openFile{file: aDirectory}
		return
	}
	file, exists := c.names[now.text]
	if !exists {
		file = c.files
		c.files++
		c.names[now.text] = file
		add(fileOp{kind: opCreate, file: file, name: now.text})
	} else if file >= 0 && now.args[2]&unix.O_TRUNC != 0 {
		add(fileOp{kind: opTruncate, file: file})
	}
	c.open[fd] = &openFile{file: file}
}

// rename gives a file, or a directory with all in it, another name.
func rename(names map[string]int, from, to string) {
	for name, file := range maps.Clone(names) {
		if rest, ok := strings.CutPrefix(name, from); ok && (rest == "" || rest[0] == '/') {
			delete(names, name)
			names[to+rest] = file
		}
	}
}
