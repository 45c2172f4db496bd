package raft

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// discard is a state machine without a state.
type discard struct{}

func (discard) Apply(uint64, []byte) (any, error) { return nil, nil }
func (discard) Snapshot() (func(io.Writer) error, error) {
	return func(io.Writer) error { return nil }, nil
}
func (discard) Restore(io.Reader) error { return nil }

func TestConfigFaultsAreReportedAtOnce(t *testing.T) {
	_, err := Open(Config{TickInterval: -1, Voters: []uint64{3, 0, 3}}, discard{})
	if err == nil {
		t.Fatal("opened")
	}
	for _, want := range []string{"Dir", "ID", "TickInterval", "Voters", "Transport"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %s", err, want)
		}
	}
}

// All files are for their user only. CLU-23
func TestFileModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "raft")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := mustOpen(t, Config{Dir: dir, ID: 1, SnapshotEntries: 3, NoSync: true}, &journal{})
	proposeUntilSnapshot(t, p)
	mustClose(t, p)
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
		return nil
	})
	if err != nil || files != 3 {
		t.Errorf("%d files, want lock, log.db and a snapshot; error %v", files, err)
	}
}

// A directory serves one process at a time, and the second says so.
func TestDirectoryIsLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p := mustOpen(t, Config{Dir: dir, ID: 1, TickInterval: time.Hour}, &journal{})
		begun := time.Now()
		_, err := Open(Config{Dir: dir, ID: 1}, &journal{})
		wantDiskError(t, err, ErrLocked, filepath.Join(dir, lockName))
		if took := time.Since(begun); took < lockPatience || took > 2*lockPatience {
			t.Errorf("refused after %v", took)
		}
		// A process that is just ending is waited for.
		opened := make(chan error, 1)
		go func() {
			second, err := Open(Config{Dir: dir, ID: 1}, &journal{})
			if err == nil {
				err = second.Close()
			}
			opened <- err
		}()
		time.Sleep(lockPatience / 2) // of the bubble's clock: the other goroutine is waiting now
		mustClose(t, p)
		if err := <-opened; err != nil {
			t.Errorf("open while the other ends: %v", err)
		}
	})
}

// A directory belongs to one member: ids are never used again.
func TestDirectoryOfAnotherMember(t *testing.T) {
	dir := t.TempDir()
	mustClose(t, mustOpen(t, Config{Dir: dir, ID: 1}, &journal{}))
	if _, err := Open(Config{Dir: dir, ID: 2}, &journal{}); err == nil || !strings.Contains(err.Error(), "member 1") {
		t.Errorf("opened as another member: %v", err)
	}
	mustClose(t, mustOpen(t, Config{Dir: dir, ID: 1}, &journal{}))
}

// Files that must be there are missed, not made anew. CLU-32
func TestMissingFiles(t *testing.T) {
	for _, missing := range []string{logName, snapshotPrefix} {
		t.Run(missing, func(t *testing.T) {
			dir := t.TempDir()
			p := mustOpen(t, Config{Dir: dir, ID: 1, SnapshotEntries: 5, KeepEntries: 1}, &journal{})
			proposeUntilSnapshot(t, p)
			mustClose(t, p)
			path := filepath.Join(dir, logName)
			if missing == snapshotPrefix {
				path = snapshotFiles(t, dir)[0]
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			_, err := Open(Config{Dir: dir, ID: 1}, &journal{})
			wantDiskError(t, err, ErrCorrupt, path)
		})
	}
}

// What a crash can leave is removed at the next start, and only that.
func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir, ID: 1, SnapshotEntries: 5, KeepEntries: 1}
	left := []string{logName + temporary, snapshotPrefix + "x" + temporary, filepath.Base(snapshotPath("", 1, 1))}
	for round := range 2 {
		names := left
		if round == 0 {
			names = left[:1] // a crash while the log was made
		}
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		p := mustOpen(t, cfg, &journal{})
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("round %d: %s: %v, want it removed", round, name, err)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "mine")); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		proposeUntilSnapshot(t, p)
		mustClose(t, p)
	}
}

// Without the right to write there is a clear error.
func TestDirectoryWithoutPermission(t *testing.T) {
	if os.Getuid() == 0 {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Config{Dir: path, ID: 1}, &journal{})
		var disk *DiskError
		if !errors.As(err, &disk) || disk.Path != path {
			t.Errorf("file in the place of the directory: %v", err)
		}
		return
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "raft")
	_, err := Open(Config{Dir: path, ID: 1}, &journal{})
	wantDiskError(t, err, os.ErrPermission, path)
}
