package isolate

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// newEngine chooses where libcontainer keeps its state while it starts a
// container: in memory where there is a place for it, so that a start waits for
// no disk, and away from our program, which libcontainer seals with an overlay
// of the two directories.
func newEngine(stateDir string) *engine {
	// libcontainer hands this variable of ours, and no other, to its init,
	// which uses one processor anyway; setting up more costs time on machines
	// that have many. Our own runtime has read it already.
	if os.Getenv("GOMAXPROCS") == "" {
		os.Setenv("GOMAXPROCS", "1")
	}
	e := &engine{rootfs: filepath.Join(stateDir, rootfsName), runcRoot: filepath.Join(stateDir, runcName)}
	name := sha256.Sum256([]byte(stateDir))
	for _, dir := range []string{"/run", "/dev/shm"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.TMPFS_MAGIC && unix.Access(dir, unix.W_OK) == nil {
			e.runcRoot = filepath.Join(dir, "clusterd-"+hex.EncodeToString(name[:8]))
			break
		}
	}
	return e
}

// clean removes what an earlier daemon left there in the middle of a start.
func (e *engine) clean() error { return os.RemoveAll(e.runcRoot) }
