package raft

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	etcdraft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// The log on disk answers as the protocol library's own log in memory does, whatever is written,
// replaced, cut and opened again. CLU-30
func TestLogAgainstModel(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testLogAgainstModel(t, seed) })
	}
}

type logModel struct {
	t     *testing.T
	r     *rand.Rand
	cfg   Config
	log   *log
	model *etcdraft.MemoryStorage
	hard  *raftpb.HardState
	term  uint64
}

func testLogAgainstModel(t *testing.T, seed uint64) {
	cfg, err := Config{Dir: t.TempDir(), ID: 1, NoSync: true}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	m := &logModel{t: t, r: rand.New(rand.NewPCG(seed, 0)), cfg: cfg, model: etcdraft.NewMemoryStorage(), term: 1}
	if m.log, err = openLog(cfg); err != nil {
		t.Fatal(err)
	}
	first, err := m.log.Entries(1, 2, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.model.Append(first); err != nil {
		t.Fatal(err)
	}
	if m.hard, _, err = m.log.InitialState(); err != nil {
		t.Fatal(err)
	}
	for range 250 {
		switch m.r.IntN(12) {
		case 0:
			m.reopen()
		case 1:
			m.compact()
		case 2:
			m.install()
		default:
			m.append()
		}
		m.compare()
	}
	if err := m.log.close(); err != nil {
		t.Error(err)
	}
}

func (m *logModel) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *logModel) bounds() (first, last uint64) {
	first, err := m.model.FirstIndex()
	m.must(err)
	last, err = m.model.LastIndex()
	m.must(err)
	return first, last
}

// append writes entries after the last, or in place of some that are not committed.
func (m *logModel) append() {
	_, last := m.bounds()
	from := last + 1
	if m.r.IntN(4) == 0 && last > m.hard.GetCommit() {
		from = m.hard.GetCommit() + 1 + m.r.Uint64N(last-m.hard.GetCommit())
		m.term++
	}
	var entries []*raftpb.Entry
	for i := range m.r.Uint64N(8) {
		size := m.r.IntN(200)
		if m.r.IntN(20) == 0 {
			size = m.r.IntN(50000)
		}
		entries = append(entries, &raftpb.Entry{Index: new(from + i), Term: new(m.term), Data: make([]byte, size)})
	}
	if len(entries) > 0 {
		last = from + uint64(len(entries)) - 1
	}
	hard := m.hard
	sync := len(entries) > 0
	if m.r.IntN(2) == 0 {
		hard = &raftpb.HardState{
			Term: new(m.term), Vote: new(m.r.Uint64N(3)),
			Commit: new(m.hard.GetCommit() + m.r.Uint64N(last-m.hard.GetCommit()+1)),
		}
		sync = sync || hard.GetTerm() != m.hard.GetTerm() || hard.GetVote() != m.hard.GetVote()
		m.hard = hard
	} else if m.term != m.hard.GetTerm() {
		hard = &raftpb.HardState{Term: new(m.term), Vote: m.hard.Vote, Commit: m.hard.Commit}
		m.hard, sync = hard, true
	}
	m.must(m.log.Save(hard, entries, sync))
	m.must(m.model.Append(entries))
}

// compact cuts the log behind a snapshot of what is committed.
func (m *logModel) compact() {
	index := m.hard.GetCommit()
	if index <= m.log.state.snapIndex {
		return
	}
	term, err := m.model.Term(index)
	m.must(err)
	keep := m.r.Uint64N(10)
	meta := &raftpb.SnapshotMetadata{Index: new(index), Term: new(term), ConfState: &raftpb.ConfState{Voters: []uint64{1, index}}}
	m.must(writeSnapshot(m.cfg.Dir, raftpb.EnsureSnapshotMetadata(meta), nothing, true, nil))
	m.must(m.log.Compact(meta, keep))
	_, err = m.model.CreateSnapshot(index, meta.ConfState, nil)
	m.must(err)
	if first, _ := m.bounds(); index-min(keep, index) >= first {
		m.must(m.model.Compact(index - keep))
	}
}

// install replaces all by a snapshot of another peer.
func (m *logModel) install() {
	_, last := m.bounds()
	m.term++
	meta := raftpb.EnsureSnapshotMetadata(&raftpb.SnapshotMetadata{Index: new(last + 5), Term: new(m.term), ConfState: &raftpb.ConfState{Voters: []uint64{2}}})
	m.hard = &raftpb.HardState{Term: new(m.term), Vote: new(uint64(0)), Commit: new(last + 5)}
	m.must(writeSnapshot(m.cfg.Dir, meta, nothing, true, nil))
	m.must(os.Rename(snapshotPath(m.cfg.Dir, meta.GetIndex(), meta.GetTerm()), receivedPath(m.cfg.Dir, meta.GetIndex(), meta.GetTerm())))
	m.must(m.log.Install(meta, m.hard))
	m.must(m.model.ApplySnapshot(&raftpb.Snapshot{Metadata: meta}))
}

// reopen closes the log and opens it again. The commit index may fall back to what was written last.
func (m *logModel) reopen() {
	m.must(m.log.close())
	var err error
	m.log, err = openLog(m.cfg)
	m.must(err)
	hard, _, err := m.log.InitialState()
	m.must(err)
	if hard.GetTerm() != m.hard.GetTerm() || hard.GetVote() != m.hard.GetVote() || hard.GetCommit() > m.hard.GetCommit() {
		m.t.Fatalf("hard state %v, want %v", hard, m.hard)
	}
	m.hard = hard
}

// compare asks both the same questions.
func (m *logModel) compare() {
	m.t.Helper()
	first, last := m.bounds()
	gotFirst, err := m.log.FirstIndex()
	m.must(err)
	gotLast, err := m.log.LastIndex()
	m.must(err)
	if gotFirst != first || gotLast != last {
		m.t.Fatalf("entries %d to %d, want %d to %d", gotFirst, gotLast, first, last)
	}
	for i := first - min(2, first); i <= last+1; i++ {
		want, wantErr := m.model.Term(i)
		got, err := m.log.Term(i)
		if got != want || !errors.Is(err, wantErr) {
			m.t.Fatalf("term of %d: %d, %v; want %d, %v", i, got, err, want, wantErr)
		}
	}
	if m.r.IntN(3) == 0 {
		m.log.tail = nil // what is not in memory is read from disk
	}
	if last < first {
		return
	}
	lo := first + m.r.Uint64N(last-first+1)
	hi := lo + 1 + m.r.Uint64N(last-lo+1)
	size := m.r.Uint64N(2000)
	want, err := m.model.Entries(lo, hi, size)
	m.must(err)
	got, err := m.log.Entries(lo, hi, size)
	m.must(err)
	same := func(a, b *raftpb.Entry) bool { return proto.Equal(a, b) }
	if !slices.EqualFunc(got, want, same) {
		m.t.Fatalf("entries %d to %d of %d bytes: %d, want %d", lo, hi, size, len(got), len(want))
	}
	if _, err := m.log.Entries(first-1, last, 1); !errors.Is(err, etcdraft.ErrCompacted) {
		m.t.Fatalf("entries from before the first: %v", err)
	}
	snap, err := m.log.Snapshot()
	if m.log.state.snapIndex == 0 {
		if !errors.Is(err, etcdraft.ErrSnapshotTemporarilyUnavailable) {
			m.t.Fatalf("snapshot: %v", err)
		}
		return
	}
	m.must(err)
	wantSnap, err := m.model.Snapshot()
	m.must(err)
	if !proto.Equal(snap.GetMetadata(), wantSnap.GetMetadata()) {
		m.t.Fatalf("snapshot %v, want %v", snap.GetMetadata(), wantSnap.GetMetadata())
	}
}

// nothing writes an empty state.
func nothing(io.Writer) error { return nil }

// The tail in memory stays within its bound, and what it holds is never written over.
func TestTailIsBounded(t *testing.T) {
	cfg, err := Config{Dir: t.TempDir(), ID: 1, NoSync: true}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLog(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.tailLimit = 8000
	for i := uint64(2); i < 40; i++ {
		e := &raftpb.Entry{Index: new(i), Term: new(uint64(1)), Data: make([]byte, 1000)}
		if err := l.Save(nil, []*raftpb.Entry{e}, true); err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, e := range l.tail {
			size += proto.Size(e)
		}
		if size != l.tailSize || size > l.tailLimit {
			t.Fatalf("tail of %d bytes, counted %d, at most %d", size, l.tailSize, l.tailLimit)
		}
	}
	old, err := l.Entries(36, 40, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	replaced := &raftpb.Entry{Index: new(uint64(37)), Term: new(uint64(2))}
	if err := l.Save(&raftpb.HardState{Term: new(uint64(2))}, []*raftpb.Entry{replaced}, true); err != nil {
		t.Fatal(err)
	}
	if len(old) != 4 || old[1].GetTerm() != 1 || old[3].GetIndex() != 39 {
		t.Errorf("entries that were read before changed: %v", old)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
}
