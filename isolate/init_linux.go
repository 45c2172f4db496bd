//go:build linux && cgo

package isolate

import "C" // init_linux.c: process 1 of a container

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/runc/libcontainer"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // enters the namespaces before the Go runtime starts
)

// haveContainers: this build can make containers.
const haveContainers = true

// initMark in the environment of process 1 makes init_linux.c take over.
const initMark = "_CLUSTERD_INIT=1"

// The init of libcontainer needs nothing of main, nor of the packages that are
// initialized after this one: it takes over here.
func init() { maybeContainerInit() }

// maybeContainerInit hands over to libcontainer in a process that it made.
func maybeContainerInit() {
	if len(os.Args) == 2 && os.Args[1] == "init" && os.Getenv("_LIBCONTAINER_INITPIPE") != "" {
		libcontainer.Init()
	}
}

// encodeTask is what init_linux.c reads: size, number of arguments, number of
// variables, then executable, arguments and environment, NUL-terminated.
func encodeTask(cmd Command) []byte {
	var body bytes.Buffer
	for _, s := range append(append([]string{executableName(cmd)}, argv(cmd)...), cmd.Env...) {
		body.WriteString(s)
		body.WriteByte(0)
	}
	head := make([]byte, 12)
	binary.NativeEndian.PutUint32(head[0:], uint32(body.Len()))
	binary.NativeEndian.PutUint32(head[4:], uint32(len(argv(cmd))))
	binary.NativeEndian.PutUint32(head[8:], uint32(len(cmd.Env)))
	return append(head, body.Bytes()...)
}

// readStatus waits for the task's raw wait status; ok is false if the init
// ended without telling, killed with its container.
func readStatus(conn *os.File) (status int, ok bool, err error) {
	var b [4]byte
	_, err = io.ReadFull(conn, b[:])
	switch {
	case err == nil:
		return int(int32(binary.NativeEndian.Uint32(b[:]))), true, nil
	case errors.Is(err, io.EOF), errors.Is(err, errConnReset):
		return 0, false, nil
	}
	return 0, false, fmt.Errorf("read status of task: %w", err)
}
