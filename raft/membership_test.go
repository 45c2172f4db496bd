package raft

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// A member begins with an empty log, gets everything, and counts only when it was promoted. CLU-5 CLU-37
func TestJoin(t *testing.T) {
	for _, bySnapshot := range []bool{false, true} {
		t.Run(fmt.Sprintf("by snapshot %v", bySnapshot), func(t *testing.T) {
			x := newTable(t)
			if bySnapshot {
				x.cfg = MemberConfig{SnapshotEntries: 10, KeepEntries: 2}
			}
			x.add(1, 1)
			x.settle()
			entries := numbered("entry", 25)
			for _, data := range entries {
				x.mustPropose(1, data)
			}
			x.add(2)
			x.tick(3 * electionTicks) // it waits, and disturbs nobody
			if s := x.status(2); s.Term != 0 || s.Last != 0 || s.Removed {
				t.Fatalf("before it was added: %+v", s)
			}
			x.mustChange(1, AddLearner, 2)
			x.tick(2)
			if s := x.status(1); !slices.Equal(s.Voters, []uint64{1}) || !slices.Equal(s.Learners, []uint64{2}) || len(s.Peers) != 1 ||
				!s.Peers[0].Learner || s.Peers[0].Voter || !s.Peers[0].CaughtUp || s.Peers[0].LastHeard != x.now {
				t.Fatalf("leader's figures of the learner: %+v", s)
			}
			if s := x.status(2); (s.SnapshotsReceived > 0) != bySnapshot {
				t.Fatalf("learner: %+v", s)
			}
			// The learner is not needed for a commit.
			x.lose = of(2)
			x.mustPropose(1, "without the learner")
			x.tick(electionTicks + 2)
			if err := x.change(1, Promote, 2); !errors.Is(err, ErrNotCaughtUp) {
				t.Fatalf("promote of a learner that does not answer: %v", err)
			}
			x.lose = nil
			x.tick(2)
			// The only voter becomes one of two without ceasing to lead.
			term := x.status(1).Term
			x.hold = func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgHeartbeatResp }
			x.mustChange(1, Promote, 2)
			x.wantLeader(1)
			x.release()
			for range 3 * electionTicks {
				x.tick(1)
				x.wantLeader(1)
			}
			if s := x.status(2); s.Term != term || !slices.Equal(s.Voters, []uint64{1, 2}) {
				t.Fatalf("second voter: %+v", s)
			}
			x.lose = of(2)
			if got := x.propose(1, "alone"); len(*got) > 0 {
				t.Fatalf("committed without the second voter: %v", *got)
			}
			x.lose = nil
			x.tick(2)
			// And back.
			if *x.transfer(1, 2) != nil {
				t.Fatal("no hand-over")
			}
			x.tick(1)
			x.mustChange(2, Demote, 1)
			x.mustPropose(2, "alone again")
			x.mustChange(2, Remove, 1)
			if !x.members[1].Removed() || x.members[2].Removed() {
				t.Errorf("removed: %v, %v", x.members[1].Removed(), x.members[2].Removed())
			}
			want := append(entries, "without the learner", "alone", "alone again")
			if got := x.machines[2].(*journal).all(); !slices.Equal(got, want) {
				t.Errorf("member 2 has %v, want %v", got, want)
			}
		})
	}
}

// A member that was removed while it was away, and is started again, does not disturb the others.
func TestRemovedMemberReturns(t *testing.T) {
	x := newTable(t, 1, 2, 3)
	x.elect(1)
	x.stop(3)
	x.tick(1)
	x.mustChange(1, Remove, 3)
	x.start(3)
	term := x.status(1).Term
	for range 10 * electionTicks {
		x.tick(1)
		x.wantLeader(1)
	}
	if s := x.status(1); s.Term != term || s.LeaderChanges != 1 {
		t.Errorf("status %+v", s)
	}
	if x.members[3].Removed() {
		t.Error("nobody told it")
	}
}

// What changes are refused, and which are done already. CLU-5 CLU-37
func TestChangeRefusals(t *testing.T) {
	tests := []struct {
		name string
		kind ChangeKind
		id   uint64
		want error
	}{
		{"learner again", AddLearner, 4, nil},
		{"voter as learner", AddLearner, 2, errSome},
		{"no id", AddLearner, 0, ErrNoMember},
		{"voter again", Promote, 2, nil},
		{"learner without an entry", Promote, 5, ErrNotCaughtUp},
		{"stranger", Promote, 9, ErrNoMember},
		{"demote learner", Demote, 4, nil},
		{"demote stranger", Demote, 9, ErrNoMember},
		{"demote leader", Demote, 1, ErrLeaderStays},
		{"remove leader", Remove, 1, ErrLeaderStays},
		{"remove stranger", Remove, 9, nil},
		{"remove one of the two that answer", Remove, 2, ErrNoQuorum},
		{"demote one of the two that answer", Demote, 2, ErrNoQuorum},
		{"remove the one that does not answer", Remove, 3, nil},
		{"demote the one that does not answer", Demote, 3, nil},
		{"remove learner", Remove, 5, nil},
		{"unknown", 7, 4, errSome},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := newTable(t, 1, 2, 3)
			if err := x.change(1, test.kind, test.id); !errors.Is(err, ErrNotLeader) {
				t.Errorf("without a leader: %v", err)
			}
			x.elect(1)
			x.add(4)
			x.mustChange(1, AddLearner, 4)
			x.mustChange(1, AddLearner, 5) // which does not run
			x.stop(3)
			x.tick(electionTicks + 1)
			err := x.change(1, test.kind, test.id)
			if test.want == errSome && (err == nil || err == errUnderWay) || test.want != errSome && !errors.Is(err, test.want) {
				t.Errorf("%v %d: %v, want %v", test.kind, test.id, err, test.want)
			}
			x.wantLeader(1)
			x.mustPropose(1, "still working")
		})
	}
}

var errSome = errors.New("any error")

// One change at a time, none before an entry of the leader's own term, and none that outlives its office.
// CLU-37
func TestChangesOneAtATime(t *testing.T) {
	x := newTable(t, 1, 2, 3)
	x.tick(silentTicks)
	x.hold = func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgAppResp }
	x.members[1].Campaign()
	x.settle()
	if err := x.change(1, AddLearner, 4); !errors.Is(err, ErrNotLeader) {
		t.Errorf("before an entry of its term: %v", err)
	}
	x.release()
	x.tick(1)
	x.hold = func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgAppResp }
	first := errUnderWay
	x.members[1].Change(MemberChange{AddLearner, 4}, func(err error) { first = err })
	x.settle()
	if err := x.change(1, AddLearner, 5); !errors.Is(err, ErrChangePending) || !x.status(1).ChangePending {
		t.Errorf("second change: %v", err)
	}
	x.release()
	if first != nil {
		t.Errorf("first change: %v", first)
	}
	x.mustChange(1, AddLearner, 5)
	// Its leader loses its office.
	x.lose = of(1)
	outcome := errUnderWay
	x.members[1].Change(MemberChange{Remove, 5}, func(err error) { outcome = err })
	x.tick(3 * electionTicks)
	if !errors.Is(outcome, ErrLeadershipLost) {
		t.Errorf("change of a leader without a quorum: %v", outcome)
	}
	x.lose = nil
	x.tick(3 * electionTicks)
	leader := x.acting()
	if len(leader) != 1 || leader[0] == 1 {
		t.Fatalf("%v lead", leader)
	}
	if s := x.status(1); !slices.Equal(s.Learners, []uint64{4, 5}) {
		t.Errorf("learners %v", s.Learners)
	}
}

// A learner that keeps up while the log grows can be promoted; one that falls behind cannot. CLU-5
func TestPromoteUnderLoad(t *testing.T) {
	x := newTable(t, 1, 2, 3)
	x.elect(1)
	x.add(4)
	x.mustChange(1, AddLearner, 4)
	x.hold = func(m *raftpb.Message) bool { return m.GetFrom() == 4 && m.GetType() == raftpb.MsgAppResp }
	for i := range 3 * electionTicks {
		x.mustPropose(1, fmt.Sprint("load ", i))
		late := x.held // its answers come a tick late
		x.held = nil
		x.mustPropose(1, fmt.Sprint("more load ", i))
		x.tick(1)
		for _, m := range late {
			x.deliver(m)
		}
		x.settle()
	}
	s := x.status(1)
	if p := s.Peers[2]; p.Lag == 0 || !p.CaughtUp {
		t.Fatalf("figures of the learner: %+v", p)
	}
	x.hold = func(m *raftpb.Message) bool {
		return of(4)(m) && m.GetType() != raftpb.MsgHeartbeat && m.GetType() != raftpb.MsgHeartbeatResp
	}
	for i := range 2 * electionTicks {
		x.mustPropose(1, fmt.Sprint("more ", i))
		x.tick(1)
	}
	if err := x.change(1, Promote, 4); !errors.Is(err, ErrNotCaughtUp) {
		t.Errorf("promote of a learner that is behind: %v", err)
	}
	x.release()
	x.tick(2)
	x.mustChange(1, Promote, 4)
}
