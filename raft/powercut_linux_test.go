package raft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// mortal is a child whose power will be cut: what it does with a directory is recorded.
func mortal(dir, part string) int {
	parts := map[string]func(dir string) error{
		"lives":    func(dir string) error { return live(dir, false, false) },
		"unsynced": func(dir string) error { return live(dir, true, false) },
		"recover":  func(dir string) error { return live(dir, false, true) },
		"follower": follow,
		"create":   createInto,
	}
	if err := parts[part](dir); err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

// live opens a peer several times and each time proposes some entries; it prints a line for each that is
// acknowledged.
func live(dir string, noSync, recovers bool) error {
	cfg := childConfig(dir)
	cfg.NoSync = noSync
	for life := range 3 {
		p, err := Open(cfg, &journal{})
		if err != nil {
			return err
		}
		for l := range p.Leadership() {
			if l.Leader {
				break
			}
		}
		proposeMany(p, life)
		if err := p.Close(); err != nil {
			return err
		}
		if recovers {
			if _, err := Recover(dir, &journal{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// proposeMany proposes from several goroutines.
func proposeMany(p *Peer, life int) {
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			filler := strings.Repeat("x", 700*c)
			for i := range 30 {
				id := fmt.Sprintf("%d/%d/%d", life, c, i)
				if _, _, err := p.Propose(context.Background(), []byte(id+" "+filler)); err != nil {
					return
				}
				os.Stdout.WriteString("ack " + id + "\n")
			}
		})
	}
	wg.Wait()
}

// follow runs the second voter of a group in the directory, which gets a snapshot first; every entry that
// is acknowledged is on its disk.
func follow(dir string) (err error) {
	other, err := os.MkdirTemp("", "raft")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(other)) }()
	net := &network{peers: map[uint64]*Peer{}, cut: map[uint64]bool{}}
	cfg := childConfig(other)
	cfg.Transport, cfg.TickInterval = port{net, 1}, time.Second // the tracer makes it slow
	leader, err := Open(cfg, &journal{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leader.Close()) }()
	net.add(1, leader)
	for i := range 60 {
		if _, _, err := leader.Propose(context.Background(), fmt.Appendf(nil, "0/9/%d ", i)); err != nil {
			return err
		}
	}
	cfg.Dir, cfg.ID, cfg.Join, cfg.Transport = dir, 2, true, port{net, 2}
	p, err := Open(cfg, &journal{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	net.add(2, p)
	if err := leader.Change(context.Background(), MemberChange{AddLearner, 2}); err != nil {
		return err
	}
	for err := ErrNotCaughtUp; err != nil; {
		if err = leader.Change(context.Background(), MemberChange{Promote, 2}); err != nil && !errors.Is(err, ErrNotCaughtUp) {
			return err
		}
	}
	if p.Status().SnapshotsReceived == 0 {
		return errors.New("the follower got no snapshot")
	}
	proposeMany(leader, 1)
	return nil
}

// createInto makes a group in a directory of the directory, and then uses it.
func createInto(dir string) error {
	body := func(w io.Writer) error {
		for i := range 2000 {
			e := fmt.Sprintf("0/9/%d ", i)
			if _, err := w.Write(append(binary.AppendUvarint(nil, uint64(len(e))), e...)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := Create(filepath.Join(dir, "raft"), 1, body); err != nil {
		return err
	}
	os.Stdout.WriteString("ack 0/9/1999\n")
	return nil
}

// diskModel is what a disk may hold after a power cut: what was synced, and of the rest anything. Names
// change in their order, as on a file system with a journal; writes do not.
type diskModel struct {
	ops   []fileOp
	until int // operations that had ended when the power was cut
	rng   *rand.Rand
}

const sectorBytes = 512

// build writes one state that the disk may be in into a directory.
func (m *diskModel) build(t *testing.T, dir string) {
	t.Helper()
	synced := map[int]int{} // operations on each file that are durable for certain
	names := 0              // the same of the directory
	for _, op := range m.ops[:m.until] {
		switch op.kind {
		case opSync:
			synced[op.file] = max(synced[op.file], op.begun)
		case opSyncDir:
			names = max(names, op.begun)
		}
	}
	contents := map[int][]byte{}
	for i, op := range m.ops[:m.until] {
		switch op.kind {
		case opWrite:
			contents[op.file] = m.write(contents[op.file], op, i < synced[op.file])
		case opTruncate:
			if i < synced[op.file] || m.rng.IntN(2) == 0 {
				contents[op.file] = resize(contents[op.file], op.at)
			}
		}
	}
	files := map[string]int{}
	for i, op := range m.ops[:m.until] {
		switch op.kind {
		case opCreate, opMakeDir, opRename, opRemove:
			if i >= names && m.rng.IntN(3) == 0 {
				i = len(m.ops) // the journal was written up to here
			}
		}
		if i == len(m.ops) {
			break
		}
		switch op.kind {
		case opCreate, opMakeDir:
			files[op.name] = op.file
		case opRename:
			rename(files, op.name, op.to)
		case opRemove:
			delete(files, op.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path, err := filepath.Join(dir, name), error(nil)
		if files[name] == aDirectory {
			err = os.Mkdir(path, 0o700) // names are sorted: before what is in it
		} else {
			err = os.WriteFile(path, contents[files[name]], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// write applies a write, or if it is not durable perhaps some sectors of it.
func (m *diskModel) write(old []byte, op fileOp, durable bool) []byte {
	fate := m.rng.IntN(3) // all, nothing, or some
	if !durable && fate == 0 {
		return old
	}
	out := old
	if end := op.at + int64(len(op.data)); end > int64(len(out)) {
		out = resize(out, end)
	}
	for from := 0; from < len(op.data); from += sectorBytes {
		to := min(from+sectorBytes, len(op.data))
		if durable || fate == 1 || m.rng.IntN(2) == 0 {
			copy(out[op.at+int64(from):], op.data[from:to])
		}
	}
	return out
}

func resize(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size:size]
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}

// printed returns the acknowledged entries before the cut.
func (m *diskModel) printed() map[string]bool {
	acks := map[string]bool{}
	for _, op := range m.ops[:m.until] {
		if op.kind != opPrint {
			continue
		}
		for line := range strings.Lines(string(op.data)) {
			if id, ok := strings.CutPrefix(line, "ack "); ok {
				acks[strings.TrimSpace(id)] = true
			}
		}
	}
	return acks
}

// survives opens a directory after a power cut and returns what is wrong: an error, a lost entry, or one
// out of order.
func survives(dir string, acks map[string]bool) error {
	j := &journal{}
	cfg := childConfig(dir)
	cfg.NoSync = true
	p, err := Open(cfg, j)
	if err != nil {
		return err
	}
	for l := range p.Leadership() {
		if l.Leader {
			break
		}
	}
	if err := p.Close(); err != nil {
		return err
	}
	if err := p.Err(); err != nil {
		return err
	}
	return allThere(j, acks)
}

// followerSurvives looks for the entries in the log of a follower, which need not know that they are
// committed.
func followerSurvives(dir string, acks map[string]bool) error {
	cfg := childConfig(dir)
	cfg.ID, cfg.NoSync, cfg.Join, cfg.Transport = 2, true, true, alone{}
	p, err := Open(cfg, &journal{})
	if err != nil {
		return err
	}
	if err := p.Close(); err != nil {
		return err
	}
	j := &journal{}
	if _, err := Recover(dir, j); err != nil {
		return err
	}
	return allThere(j, acks)
}

// createdSurvives finds a group in the directory, whole, or nothing that looks like one; then it can be
// made again.
func createdSurvives(dir string, acks map[string]bool) error {
	dir = filepath.Join(dir, "raft")
	if _, err := os.Stat(dir); len(acks) == 0 && os.IsNotExist(err) {
		return Create(dir, 1, nothing)
	}
	return survives(dir, acks)
}

// allThere looks for lost entries and wrong order.
func allThere(j *journal, acks map[string]bool) error {
	found, next := map[string]bool{}, map[string]int{}
	for _, e := range j.all() {
		id, filler, _ := strings.Cut(e, " ")
		at := strings.LastIndexByte(id, '/')
		if want := fmt.Sprint(next[id[:at]]); id[at+1:] != want || strings.Trim(filler, "x") != "" {
			return fmt.Errorf("%s is applied as number %s of its proposer", id, want)
		}
		next[id[:at]]++
		found[id] = true
	}
	for id := range acks {
		if !found[id] {
			return fmt.Errorf("%s was acknowledged and is lost", id)
		}
	}
	return nil
}

// record traces a child that does one of the parts of mortal.
func record(t *testing.T, part string) []fileOp {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childPart+"="+part)
	cmd.Stderr = os.Stderr
	return trace(t, cmd, dir)
}

// cutAll cuts the power at many moments of a recording, each time with other unsynced writes lost, and
// returns what went wrong.
func cutAll(t *testing.T, ops []fileOp, cuts int, check func(dir string, acks map[string]bool) error) []string {
	t.Helper()
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, seed))
	var wrong []string
	for i := range cuts {
		m := &diskModel{ops: ops, until: min(1+i*len(ops)/cuts+rng.IntN(max(len(ops)/cuts, 1)), len(ops)), rng: rng}
		dir := filepath.Join(t.TempDir(), "raft")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		m.build(t, dir)
		if err := check(dir, m.printed()); err != nil {
			wrong = append(wrong, fmt.Sprintf("cut after operation %d of %d: %v", m.until, len(ops), err))
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	return wrong
}

// A power cut at any moment, with any of the writes lost that were not synced, in whole or in part, loses
// nothing that was acknowledged and needs no repair. The writes, syncs and acknowledgements are those of
// real runs on the real files: a voter that writes snapshots over several starts, one that is recovered
// between them, a follower that gets a snapshot, and a group made from a backup. CLU-8 CLU-31
func TestPowerCut(t *testing.T) {
	tests := []struct {
		part  string
		least map[opKind]int // of these operations in the recording
		cuts  int
		check func(dir string, acks map[string]bool) error
	}{
		{"lives", map[opKind]int{opPrint: 300, opSync: 100, opSyncDir: 3, opRename: 3, opWrite: 300}, 400, survives},
		{"recover", map[opKind]int{opPrint: 300, opSync: 100, opSyncDir: 3, opRename: 3, opWrite: 300}, 200, survives},
		{"follower", map[opKind]int{opPrint: 100, opSync: 20, opSyncDir: 3, opRename: 3, opWrite: 50}, 200, followerSurvives},
		{"create", map[opKind]int{opPrint: 1, opSync: 4, opSyncDir: 1, opRename: 1, opWrite: 4}, 200, createdSurvives},
	}
	for _, test := range tests {
		t.Run(test.part, func(t *testing.T) {
			ops := record(t, test.part)
			kinds := map[opKind]int{}
			for _, op := range ops {
				kinds[op.kind]++
			}
			for kind, n := range test.least {
				if kinds[kind] < n {
					t.Fatalf("recorded %v, want at least %v", kinds, test.least)
				}
			}
			cuts := test.cuts
			if testing.Short() {
				cuts /= 8
			}
			for _, what := range cutAll(t, ops, cuts, test.check) {
				t.Error(what)
			}
			t.Logf("%d operations, %d cuts", len(ops), cuts)
		})
	}
}

// Without syncing the same finds losses: what it proves is not for lack of trying.
func TestPowerCutWithoutSync(t *testing.T) {
	if wrong := cutAll(t, record(t, "unsynced"), 30, survives); len(wrong) == 0 {
		t.Error("no loss was found")
	}
}
