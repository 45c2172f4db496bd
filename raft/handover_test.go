package raft

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// A voter that was started again does not help another to be elected while the leader relies on its
// word from before. CLU-33
func TestRestartedVoterIsSilent(t *testing.T) {
	x := newTable(t, 1, 2, 3)
	x.elect(1)
	// Member 3 does not hear the leader, and wants to be elected with the vote of 2.
	x.lose = between(1, 3)
	x.tick(electionTicks+2, 1, 2)
	x.tick(1)
	x.wantLeader(1)
	x.stop(2)
	x.start(2)
	campaign := func() {
		for range 3 { // it forgets the leader with the first
			x.members[3].Campaign()
			x.settle()
		}
	}
	// The leader's next word to 2 is late.
	x.lose = func(m *raftpb.Message) bool { return between(1, 3)(m) || m.GetFrom() == 1 }
	campaign()
	x.wantLeader(1)
	for range silentTicks - 1 {
		x.tick(1)
		campaign()
		if acting := x.acting(); len(acting) > 1 || len(acting) == 1 && acting[0] != 1 {
			t.Fatalf("%v act as leaders", acting)
		}
	}
	x.wantLeader()
	x.tick(1)
	campaign()
	x.wantLeader(3)
}

// A leader that hands over is replaced at once; it does not act any more in its term. CLU-33 CLU-34
func TestHandover(t *testing.T) {
	for _, to := range []uint64{0, 2, 3} {
		t.Run(fmt.Sprint("to ", to), func(t *testing.T) {
			x := newTable(t, 1, 2, 3)
			x.elect(1)
			x.lose = between(1, 2)
			x.mustPropose(1, "only on 3")
			x.lose = nil
			outcome := x.transfer(1, to)
			if *outcome != nil {
				t.Fatal(*outcome)
			}
			// Whoever is told to lead gets what it lacks first.
			want := to
			if to == 0 {
				want = 3
			}
			x.wantLeader(want)
			if got := *x.propose(1, "late"); len(got) != 1 || !errors.Is(got[0].err, ErrNotLeader) {
				t.Errorf("proposal to the old leader: %v", got)
			}
			x.mustPropose(want, "next")
			if outcome := x.transfer(want, want); *outcome != nil {
				t.Errorf("hand over to itself: %v", *outcome)
			}
			if outcome := x.transfer(1, want); *outcome != nil {
				t.Errorf("hand over to the leader, asked of another: %v", *outcome)
			}
		})
	}
}

// Proposals under way are applied before the office is given away; new ones are refused.
func TestHandoverWaitsForProposals(t *testing.T) {
	x := newTable(t, 1, 2, 3)
	x.elect(1)
	x.hold = func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgAppResp }
	first := x.propose(1, "first")
	outcome := x.transfer(1, 2)
	second := x.propose(1, "second")
	if len(*first) > 0 || *outcome != errUnderWay || len(*second) != 1 || !errors.Is((*second)[0].err, ErrNotLeader) {
		t.Fatalf("first %v, hand-over %v, second %v", *first, *outcome, *second)
	}
	if err := x.change(1, AddLearner, 9); !errors.Is(err, ErrNotLeader) {
		t.Errorf("change while handing over: %v", err)
	}
	if err := x.transfer(1, 3); !errors.Is(*err, ErrNotTaken) {
		t.Errorf("second hand-over: %v", *err)
	}
	x.wantLeader(1)
	x.release()
	x.wantLeader(2)
	if len(*first) != 1 || (*first)[0].err != nil || *outcome != nil {
		t.Errorf("first %v, hand-over %v", *first, *outcome)
	}
}

// The one that is told to lead may be told late. The old leader does not act again before that, and not
// after: another takes over in the same way. CLU-33
func TestHandoverIsToldLate(t *testing.T) {
	x := newTable(t, 1, 2, 3)
	x.elect(1)
	x.hold = func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgTimeoutNow && m.GetTo() == 2 }
	outcome := x.transfer(1, 2)
	for range 2 * electionTicks {
		if acting := x.acting(); slices.Contains(acting, 1) {
			t.Fatal("the old leader acts again")
		}
		x.tick(1)
	}
	x.wantLeader(3)
	if *outcome != nil {
		t.Errorf("hand-over: %v", *outcome)
	}
	x.release()
	x.wantLeader(3)

	// The same with two members: there is nobody else to tell.
	x = newTable(t, 1, 2)
	x.elect(1)
	x.hold = func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgTimeoutNow }
	outcome = x.transfer(1, 2)
	for range handoverTicks + 1 {
		x.wantLeader()
		x.tick(1)
	}
	if !errors.Is(*outcome, ErrNotTaken) {
		t.Errorf("hand-over: %v", *outcome)
	}
	x.release()
	x.wantLeader(2)
}

func TestHandoverRefusals(t *testing.T) {
	x := newTable(t, 1, 2, 3)
	if err := x.transfer(1, 2); !errors.Is(*err, ErrNotLeader) {
		t.Errorf("without a leader: %v", *err)
	}
	x.elect(1)
	x.add(4)
	x.mustChange(1, AddLearner, 4)
	x.stop(3)
	x.tick(electionTicks + 1)
	tests := []struct {
		at, to uint64
		want   error
	}{
		{2, 3, ErrNotLeader},
		{2, 0, ErrNotLeader},
		{1, 3, ErrNotCaughtUp},
		{1, 4, ErrNoMember},
		{1, 99, ErrNoMember},
	}
	for _, test := range tests {
		if err := x.transfer(test.at, test.to); !errors.Is(*err, test.want) {
			t.Errorf("from %d to %d: %v, want %v", test.at, test.to, *err, test.want)
		}
	}
	x.wantLeader(1)
	// A change under way comes first; if it does not end, there is no hand-over.
	x.hold = func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgAppResp }
	if err := x.change(1, Remove, 3); err != errUnderWay {
		t.Fatal(err)
	}
	outcome := x.transfer(1, 2)
	x.tick(drainTicks)
	if !errors.Is(*outcome, ErrChangePending) {
		t.Errorf("with a change under way: %v", *outcome)
	}
	x.release()
	x.wantLeader(1)
	// Alone there is nobody.
	x = newTable(t, 1)
	x.settle()
	if err := x.transfer(1, 0); !errors.Is(*err, ErrNoMember) {
		t.Errorf("alone: %v", *err)
	}
}
