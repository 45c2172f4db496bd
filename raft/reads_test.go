package raft

import (
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// A read on any member gives an index that is as new as all that was acknowledged before, and ends when
// that is applied there. CLU-35
func TestReadIndex(t *testing.T) {
	x := newTable(t, 1, 2, 3)
	x.elect(1)
	x.add(4)
	x.mustChange(1, AddLearner, 4)
	for _, id := range x.ids() {
		x.mustPropose(1, "before")
		want := x.status(1).Applied
		got := x.read(id)
		if got.err != nil || got.index < want || x.status(id).Applied < got.index {
			t.Errorf("read at %d: %+v, want %d", id, *got, want)
		}
	}
	// What one member did not get yet, it waits for.
	x.hold = func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgApp && m.GetTo() == 2 }
	x.mustPropose(1, "late")
	want := x.status(1).Applied
	got := x.read(2)
	if got.err != errUnderWay {
		t.Fatalf("read before the entry came: %+v", *got)
	}
	x.release()
	x.tick(1)
	if got.err != nil || got.index < want {
		t.Errorf("read after the entry came: %+v, want %d", *got, want)
	}
}

// Several reads at once take one question.
func TestReadsShareAQuestion(t *testing.T) {
	x := newTable(t, 1, 2, 3)
	x.elect(1)
	questions, ended := 0, 0
	x.lose = func(m *raftpb.Message) bool {
		if m.GetType() == raftpb.MsgReadIndex {
			questions++
		}
		return false
	}
	end := func(_ uint64, err error) {
		if err != nil {
			t.Error(err)
		}
		ended++
	}
	x.members[2].ReadIndex(end, end, end)
	x.settle()
	if questions != 1 || ended != 3 {
		t.Errorf("%d questions, %d ended", questions, ended)
	}
}

// A leader does not answer a read before it applied an entry of its own term: it may not know yet what
// is committed, not even when it is the only voter. CLU-35
func TestReadWaitsForOwnTerm(t *testing.T) {
	x := newTable(t, 1, 2, 3)
	x.tick(silentTicks)
	x.hold = func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgAppResp }
	x.members[1].Campaign()
	x.settle()
	own, other := x.read(1), x.read(2)
	x.tick(askAgainTicks)
	if own.err != errUnderWay || other.err != errUnderWay {
		t.Fatalf("answered %+v and %+v", *own, *other)
	}
	x.release()
	x.tick(askAgainTicks + 1)
	if own.err != nil || other.err != nil {
		t.Errorf("answered %+v and %+v", *own, *other)
	}

	x = newTable(t, 1)
	got := &ending{err: errUnderWay}
	x.members[1].ReadIndex(func(index uint64, err error) { got.index, got.err = index, err })
	x.settle()
	// One entry names the member, the next is the leader's own.
	if got.err != nil || got.index != 2 {
		t.Errorf("read of the only voter: %+v", *got)
	}
}

// A leader that was deposed and does not know does not answer; the asking member asks the new one.
func TestReadFromOldLeader(t *testing.T) {
	x := newTable(t, 1, 2, 3)
	x.elect(1)
	x.lose = of(1)
	own := x.read(1)
	if own.err != errUnderWay {
		t.Fatalf("a leader that reaches nobody answers %+v", *own)
	}
	got := x.read(2) // which is lost
	x.tick(electionTicks+2, 2, 3)
	x.members[2].Campaign()
	x.settle()
	x.members[3].Campaign() // in case both drew the same time
	x.settle()
	x.tick(askAgainTicks+1, 2, 3)
	x.wantLeader(x.status(2).Leader)
	if got.err != nil {
		t.Errorf("read: %+v", *got)
	}
	x.tick(readTicks, 1)
	if !errors.Is(own.err, ErrNotLeader) {
		t.Errorf("read of the old leader: %+v", *own)
	}
}

// Without a leader a read is given up.
func TestReadIsGivenUp(t *testing.T) {
	x := newTable(t, 1, 2, 3)
	x.lose = func(*raftpb.Message) bool { return true }
	got := x.read(1)
	x.tick(readTicks - 1)
	if got.err != errUnderWay {
		t.Fatalf("given up early: %+v", *got)
	}
	x.tick(1)
	if !errors.Is(got.err, ErrNotLeader) {
		t.Errorf("not given up: %+v", *got)
	}
	last := x.read(1)
	x.stop(1)
	if !errors.Is(last.err, ErrClosed) {
		t.Errorf("read of a member that stopped: %+v", *last)
	}
}

// An answer to a question from before a restart does not answer one of now. CLU-35
func TestReadFromBeforeARestart(t *testing.T) {
	x := newTable(t, 1, 2, 3)
	x.elect(1)
	x.hold = func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgReadIndexResp }
	x.read(2)
	old := x.held
	x.held = nil
	if len(old) != 1 {
		t.Fatalf("%d answers", len(old))
	}
	x.stop(2)
	x.start(2)
	x.mustPropose(1, "between")
	want := x.status(1).Applied
	got := x.read(2)
	x.deliver(old[0])
	x.settle()
	if got.err != errUnderWay {
		t.Fatalf("answered with %+v", *got)
	}
	x.release()
	if got.err != nil || got.index < want {
		t.Errorf("read: %+v, want %d", *got, want)
	}
}
