//go:build linux && cgo

package isolate

import (
	"fmt"
	"os"
	"testing"
)

// testRoot is the cgroup root of this test process.
func testRoot() string { return fmt.Sprintf("clusterd-test-%d", os.Getpid()) }

func openContainers(tb testing.TB) *Runtime {
	tb.Helper()
	needContainers(tb)
	r, err := Open(Config{StateDir: tb.TempDir(), CgroupRoot: testRoot()})
	if err != nil {
		tb.Fatal(err)
	}
	if iso := r.Isolation(); !iso.Containers {
		tb.Skipf("this machine has no containers: %+v", iso.Missing)
	}
	return r
}
