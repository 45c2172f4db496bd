package raft

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The same with a real file system that is full. CLU-31 CLU-32
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=600k"); err != nil {
		t.Skipf("mount of a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	a := &acknowledged{t: t, dir: filepath.Join(dir, "raft"), acks: map[string]bool{}}
	for round := range 4 {
		failure := a.run(round, 0)
		if !strings.Contains(failure, a.dir) || !strings.Contains(failure, "no space left on device: make room on the file system") {
			t.Fatalf("round %d: the child ended with %q", round, failure)
		}
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	a.check()
	if failure := a.run(9, 200); failure != "" {
		t.Errorf("with room again: %s", failure)
	}
	a.check()
}
