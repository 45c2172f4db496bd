package raft

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// sample writes a snapshot of so many bytes into a directory and returns its file.
func sample(t *testing.T, dir string, index uint64, size int) []byte {
	t.Helper()
	meta := raftpb.EnsureSnapshotMetadata(&raftpb.SnapshotMetadata{Index: new(index), Term: new(uint64(3)), ConfState: &raftpb.ConfState{Voters: []uint64{1}}})
	body := func(w io.Writer) error {
		_, err := w.Write(bytes.Repeat([]byte{byte(index)}, size))
		return err
	}
	if err := writeSnapshot(dir, meta, body, true, nil); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(snapshotPath(dir, index, 3))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// A snapshot that is being read is not removed when a newer one takes its place. CLU-30
func TestOpenSnapshotIsPinned(t *testing.T) {
	dir := t.TempDir()
	x := newExchange(dir, true)
	want := sample(t, dir, 7, 100000)
	first, err := x.open(7, 3)
	if err != nil {
		t.Fatal(err)
	}
	second, err := x.open(7, 3)
	if err != nil {
		t.Fatal(err)
	}
	if first.File() != second.File() || first.File().Size != int64(len(want)) {
		t.Errorf("files %+v and %+v", first.File(), second.File())
	}
	sample(t, dir, 9, 10)
	for _, r := range []*SnapshotReader{first, second} {
		if err := x.clean(9, 3, false); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(snapshotPath(dir, 7, 3)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Seek(int64(len(want)-10), io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want[len(want)-10:]) {
			t.Errorf("read %x, %v", got, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err == nil {
			t.Error("closed twice")
		}
	}
	if err := x.clean(9, 3, false); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 1 || got[0] != filepath.Base(snapshotPath(dir, 9, 3)) {
		t.Errorf("files %v", got)
	}
	if _, err := x.open(7, 3); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("open of a snapshot that is gone: %v", err)
	}
}

// What was damaged on disk is not sent; the peer stops. CLU-32
func TestOpenSnapshotChecks(t *testing.T) {
	dir := t.TempDir()
	p := mustOpen(t, Config{Dir: dir, ID: 1, SnapshotEntries: 5, NoSync: true}, &journal{})
	proposeUntilSnapshot(t, p)
	mustClose(t, p)
	p = mustOpen(t, Config{Dir: dir, ID: 1, NoSync: true}, &journal{}) // which writes no other
	path := snapshotFiles(t, dir)[0]
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s := p.Status()
	_, err = p.OpenSnapshot(s.Snapshot, 2)
	wantDiskError(t, err, ErrCorrupt, path)
	<-p.Done()
	wantDiskError(t, p.Err(), ErrCorrupt, path)
}

// A transfer goes on where it was broken off, also in another process; only what is whole and right counts.
// CLU-30
func TestReceiveSnapshotResumes(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	want := sample(t, from, 7, 1<<20)
	r, err := newExchange(from, true).open(7, 3)
	if err != nil {
		t.Fatal(err)
	}
	file := r.File()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	offset := int64(0)
	for _, part := range []int{0, 1000, 300000, 5, len(want)} {
		x := newExchange(to, false) // another process
		if err := x.clean(5, 3, true); err != nil {
			t.Fatal(err)
		}
		w, err := x.receive(file)
		if err != nil {
			t.Fatal(err)
		}
		if w.Offset() != offset {
			t.Fatalf("goes on at %d, want %d", w.Offset(), offset)
		}
		if _, err := x.receive(file); err == nil {
			t.Error("two writers of one file")
		}
		n, err := w.Write(want[offset:min(int(offset)+part, len(want))])
		if err != nil {
			t.Fatal(err)
		}
		if offset += int64(n); offset < file.Size {
			if err := x.arrived(&raftpb.SnapshotMetadata{Index: new(uint64(7)), Term: new(uint64(3))}); !errors.Is(err, ErrNoSnapshot) {
				t.Errorf("a part has arrived: %v", err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if _, err := w.Write([]byte{0}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte after the end: %v", err)
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		meta := &raftpb.SnapshotMetadata{Index: new(uint64(7)), Term: new(uint64(3))}
		if err := x.arrived(meta); err != nil {
			t.Error(err)
		}
		got, err := os.ReadFile(receivedPath(to, 7, 3))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("received %d bytes, %v", len(got), err)
		}
		if err := x.clean(6, 3, true); err != nil || x.arrived(meta) != nil {
			t.Errorf("removed before it was installed: %v", err)
		}
		if err := x.clean(7, 3, false); err != nil || x.arrived(meta) == nil {
			t.Errorf("not removed when the log was past it: %v", err)
		}
	}
	if len(names(t, to)) != 0 {
		t.Errorf("left over: %v", names(t, to))
	}
}

// What was damaged on the way, is too short, or is another snapshot, is dropped. CLU-30 CLU-32
func TestReceivedSnapshotIsChecked(t *testing.T) {
	from := t.TempDir()
	good := sample(t, from, 7, 5000)
	other := sample(t, from, 8, 5000)
	r, err := newExchange(from, true).open(7, 3)
	if err != nil {
		t.Fatal(err)
	}
	file := r.File()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(good)
	flipped[4000] ^= 0x40
	long := file
	long.Size++
	wrong := file
	wrong.CRC++
	tests := []struct {
		name string
		file SnapshotFile
		data []byte
	}{
		{"flipped bit", file, flipped},
		{"too short", file, good[:len(good)-1]},
		{"empty", file, nil},
		{"another", file, other},
		{"longer than it is", long, good},
		{"another checksum", wrong, good},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			x := newExchange(dir, true)
			w, err := x.receive(test.file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(test.data); err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(); !errors.Is(err, ErrCorrupt) {
				t.Errorf("commit: %v, want %v", err, ErrCorrupt)
			}
			if left := names(t, dir); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
			again, err := x.receive(test.file)
			if err != nil || again.Offset() != 0 {
				t.Fatalf("again: %v", err)
			}
			if err := again.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Only the newest transfer is kept: a leader that is replaced, or writes a newer snapshot, sends that.
func TestReceiveSnapshotDropsOthers(t *testing.T) {
	dir := t.TempDir()
	x := newExchange(dir, true)
	file := SnapshotFile{Index: 5, Term: 2, Size: 10, CRC: 1}
	var open *SnapshotWriter
	for i := range uint64(4) {
		file.Index = 5 + i
		w, err := x.receive(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			open = w // its sender is slow to end
			continue
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	left := names(t, dir)
	if len(left) != 2 || !strings.Contains(left[0], "0007-") || !strings.Contains(left[1], "0008-") {
		t.Errorf("left over: %v", left)
	}
	// The log goes past it while it is written.
	if err := x.clean(9, 2, false); err != nil {
		t.Fatal(err)
	}
	if left := names(t, dir); len(left) != 1 || !strings.Contains(left[0], "0007-") {
		t.Errorf("left over: %v", left)
	}
	if err := open.Commit(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("commit: %v", err)
	}
	if left := names(t, dir); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}
