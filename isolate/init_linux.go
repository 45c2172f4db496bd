//go:build linux && cgo

package isolate

import "C" // init_linux.c: process 1 of a container

import (
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
