package raft

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// lostGroup makes the files of three members of which one has entries that it does not know to be
// committed, and returns what that one has.
func lostGroup(t *testing.T, dir string) (survivor uint64, acknowledged []string) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.dir = dir
		for id := range g.peers {
			mustClose(t, g.peers[id])
			g.open(id)
		}
		leader := g.leader(1, 2, 3)
		for _, data := range numbered("entry", 100) {
			mustPropose(t, g.peers[leader], data)
			acknowledged = append(acknowledged, data)
		}
		g.same(acknowledged)
		survivor = g.others(leader)[0]
		// What the survivor acknowledged to the leader counts as committed with it, and the leader ends
		// before it can tell.
		lost := g.others(leader)[1]
		g.net.isolate(lost, true)
		for _, data := range numbered("acknowledged", 3) {
			mustPropose(t, g.peers[leader], data)
			acknowledged = append(acknowledged, data)
		}
		g.closeAll()
	})
	return survivor, acknowledged
}

// Of two of three members lost for good, the third keeps all that was acknowledged. CLU-8 CLU-31
func TestRecover(t *testing.T) {
	dir := t.TempDir()
	id, want := lostGroup(t, dir)
	dir = filepath.Join(dir, fmt.Sprint(id))
	before, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	if before.ID != id || !slices.Equal(before.Voters, []uint64{1, 2, 3}) || before.Snapshot == 0 || before.Index < 100 || before.Commit > before.Index {
		t.Fatalf("before: %+v", before)
	}
	j := &journal{}
	report, err := Recover(dir, j)
	if err != nil {
		t.Fatal(err)
	}
	if report.Before.Index != before.Index || report.Index != before.Index+1 || report.Term != before.Term+1 || report.Assumed != before.Index-before.Commit {
		t.Errorf("report %+v", report)
	}
	if got := j.all(); !slices.Equal(got, want) {
		t.Errorf("machine has %d entries, want %d", len(got), len(want))
	}
	after, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	wantAfter := Info{ID: id, Term: report.Term, First: report.Index + 1, Index: report.Index, Commit: report.Index, Snapshot: report.Index, SnapshotTerm: report.Term, Voters: []uint64{id}}
	if fmt.Sprint(after) != fmt.Sprint(wantAfter) {
		t.Errorf("after: %+v, want %+v", after, wantAfter)
	}
	j = &journal{}
	p := mustOpen(t, Config{Dir: dir, ID: id, NoSync: true}, j)
	mustPropose(t, p, "next")
	mustClose(t, p)
	if got := j.all(); !slices.Equal(got, append(want, "next")) {
		t.Errorf("after a restart %d entries, want %d", len(got), len(want)+1)
	}
	if files := snapshotFiles(t, dir); len(files) != 1 {
		t.Errorf("snapshots %v", files)
	}
}

// An entry that was appended and not acknowledged by this member's leader is kept too: it may have been
// acknowledged by another. CLU-8
func TestRecoverKeepsAllEntries(t *testing.T) {
	dir := t.TempDir()
	cfg, err := Config{Dir: dir, ID: 2, Voters: []uint64{1, 2, 3}, NoSync: true, Transport: alone{}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLog(cfg)
	if err != nil {
		t.Fatal(err)
	}
	add := &raftpb.ConfChange{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(uint64(4))}
	entries := []*raftpb.Entry{
		{Index: new(uint64(4)), Term: new(uint64(5))},
		{Index: new(uint64(5)), Term: new(uint64(5)), Data: encodeEntry(1, []byte("first"))},
		{Index: new(uint64(6)), Term: new(uint64(5)), Data: []byte{entryMark}},
		{Index: new(uint64(7)), Term: new(uint64(6)), Data: encodeNumbered(entrySum, 6, []byte("sum"))},
		{Index: new(uint64(8)), Term: new(uint64(6)), Type: raftpb.EntryConfChange.Enum(), Data: mustMarshal(t, add)},
		{Index: new(uint64(9)), Term: new(uint64(6)), Data: encodeEntry(1, []byte("second"))},
	}
	if err := l.Save(&raftpb.HardState{Term: new(uint64(8)), Vote: new(uint64(3)), Commit: new(uint64(4))}, entries, true); err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	j := &journal{}
	report, err := Recover(dir, j)
	if err != nil {
		t.Fatal(err)
	}
	if got := j.all(); !slices.Equal(got, []string{"first", "second"}) || report.Assumed != 5 || report.Term != 9 || report.Index != 10 ||
		!slices.Equal(report.Before.Learners, []uint64{4}) {
		t.Errorf("entries %v, report %+v", got, report)
	}
}

// An error while recovering, or a crash, leaves the old files, with which it can be tried again. CLU-8
func TestRecoverIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	id, want := lostGroup(t, dir)
	dir = filepath.Join(dir, fmt.Sprint(id))
	before, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	same := func(what string) {
		t.Helper()
		now, err := Inspect(dir)
		if err != nil || fmt.Sprint(now) != fmt.Sprint(before) {
			t.Errorf("%s: %+v, %v, want %+v", what, now, err, before)
		}
	}
	// The last entry: no snapshot has it yet.
	if _, err := Recover(dir, &journal{fail: want[len(want)-1]}); !errors.Is(err, errUnknownEntry) {
		t.Errorf("with an entry of a newer version: %v", err)
	}
	same("after an entry that cannot be applied")
	// A directory in the place of the new snapshot makes writing it fail, for root too.
	blocked := snapshotPath(dir, before.Index+1, before.Term+1) + temporary
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	// The next try removes it, as what a crash leaves.
	if _, err := Recover(dir, &unwritable{}); !errors.Is(err, errUnwritable) {
		t.Errorf("with a snapshot that cannot be written: %v", err)
	}
	same("after a snapshot that cannot be written")
	// A crash after the snapshot was written and before the log names it.
	cut := copyDir(t, dir)
	if err := writeSnapshot(cut, raftpb.EnsureSnapshotMetadata(&raftpb.SnapshotMetadata{
		Index: new(before.Index + 1), Term: new(before.Term + 1), ConfState: &raftpb.ConfState{Voters: []uint64{id}},
	}), nothing, true, nil); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{cut, dir} {
		j := &journal{}
		if _, err := Recover(dir, j); err != nil || !slices.Equal(j.all(), want) {
			t.Errorf("in the end: %d entries, %v", len(j.all()), err)
		}
	}
}

var errUnwritable = errors.New("cannot be written")

// unwritable is a journal without snapshots.
type unwritable struct{ journal }

func (*unwritable) Snapshot() (func(io.Writer) error, error) {
	return func(io.Writer) error { return errUnwritable }, nil
}

// What cannot be inspected says why, and what is in use is left alone.
func TestInspectErrors(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	_, err := Inspect(missing)
	wantDiskError(t, err, os.ErrNotExist, filepath.Join(missing, logName))
	if _, err := Recover(missing, &journal{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("recover: %v", err)
	}
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory was made: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		p := mustOpen(t, Config{Dir: dir, ID: 1, TickInterval: time.Hour, NoSync: true}, &journal{})
		_, err := Inspect(dir)
		wantDiskError(t, err, ErrLocked, filepath.Join(dir, lockName))
		_, err = Recover(dir, &journal{})
		wantDiskError(t, err, ErrLocked, filepath.Join(dir, lockName))
		mustClose(t, p)
	})
	data, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, logName), data[:len(data)/2-100], 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = Inspect(dir)
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("damaged log: %v", err)
		}
		_, err = Recover(dir, &journal{})
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("recover of a damaged log: %v", err)
		}
	}
}

// A new group begins with the state of a backup. CLU-8
func TestCreate(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "raft")
	old := &journal{}
	for i, data := range numbered("entry", 10) {
		if _, err := old.Apply(uint64(i), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	body, err := old.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := Create(dir, 0, body); err == nil {
		t.Error("made without a member id")
	}
	// One that fails leaves nothing.
	broken := func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 100000)); err != nil {
			return err
		}
		return errUnwritable
	}
	if err := Create(dir, 7, broken); !errors.Is(err, errUnwritable) {
		t.Errorf("a body that fails: %v", err)
	}
	if left := names(t, parent); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	// What a crash left is removed.
	if err := os.MkdirAll(filepath.Join(dir+temporary, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil { // empty
		t.Fatal(err)
	}
	if err := Create(dir, 7, body); err != nil {
		t.Fatal(err)
	}
	if left := names(t, parent); !slices.Equal(left, []string{"raft"}) {
		t.Errorf("files %v", left)
	}
	info, err := Inspect(dir)
	if err != nil || info.ID != 7 || !slices.Equal(info.Voters, []uint64{7}) || info.Snapshot != 1 || info.Index != 1 {
		t.Errorf("made %+v, %v", info, err)
	}
	err = Create(dir, 8, body)
	if !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), dir) {
		t.Errorf("made over another: %v", err)
	}
	j := &journal{}
	p := mustOpen(t, Config{Dir: dir, ID: 7, NoSync: true}, j)
	mustPropose(t, p, "next")
	mustClose(t, p)
	if got := j.all(); !slices.Equal(got, append(old.all(), "next")) {
		t.Errorf("entries %v", got)
	}
}
