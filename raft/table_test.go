package raft

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// table is a group of members whose messages lie on a table, where a test can hold them back.
type table struct {
	t        *testing.T
	now      time.Time
	members  map[uint64]*Member
	disks    map[uint64]*forgetful
	machines map[uint64]StateMachine
	mail     []*raftpb.Message
	held     []*raftpb.Message
	hold     func(*raftpb.Message) bool // messages that are kept in held
	lose     func(*raftpb.Message) bool
	machine  func(id uint64) StateMachine
	life     uint64
	cfg      MemberConfig // of which each gets the limits
}

func newTable(t *testing.T, voters ...uint64) *table {
	x := &table{
		t: t, now: time.Unix(1000, 0), members: map[uint64]*Member{}, disks: map[uint64]*forgetful{}, machines: map[uint64]StateMachine{},
		machine: func(uint64) StateMachine { return &journal{} },
	}
	for _, id := range voters {
		x.add(id, voters...)
	}
	return x
}

// add starts a member of a new group, or without voters one that joins.
func (x *table) add(id uint64, voters ...uint64) {
	x.t.Helper()
	disk, err := newForgetful(voters...)
	if err != nil {
		x.t.Fatal(err)
	}
	x.disks[id] = disk
	x.start(id)
}

// start starts a member on its disk, of which what was not synced is lost.
func (x *table) start(id uint64) {
	x.t.Helper()
	x.disks[id].lose()
	x.life++
	x.machines[id] = x.machine(id)
	cfg := x.cfg
	cfg.ID, cfg.Storage, cfg.Machine, cfg.Nonce = id, x.disks[id], x.machines[id], x.life
	cfg.Send = func(messages []*raftpb.Message) {
		for _, m := range messages {
			x.mail = append(x.mail, proto.Clone(m).(*raftpb.Message))
		}
	}
	var err error
	if x.members[id], err = NewMember(cfg); err != nil {
		x.t.Fatal(err)
	}
}

// stop turns off the power of a member.
func (x *table) stop(id uint64) {
	x.members[id].Stop(ErrClosed)
	delete(x.members, id)
}

func (x *table) ids() []uint64 { return slices.Sorted(maps.Keys(x.members)) }

// settle has all work and carries all messages, until nothing happens.
func (x *table) settle() {
	x.t.Helper()
	for again := true; again; {
		again = false
		for _, id := range x.ids() {
			if err := x.members[id].Settle(x.now); err != nil && x.members[id].Err() == nil {
				x.t.Fatalf("member %d: %v", id, err)
			}
		}
		for len(x.mail) > 0 {
			m := x.mail[0]
			x.mail = x.mail[1:]
			again = true
			if x.hold != nil && x.hold(m) {
				x.held = append(x.held, m)
				continue
			}
			x.deliver(m)
		}
	}
}

func (x *table) deliver(m *raftpb.Message) {
	x.t.Helper()
	to, ok := x.members[m.GetTo()]
	lost := !ok || x.lose != nil && x.lose(m)
	if m.GetType() == raftpb.MsgSnap {
		meta := m.GetSnapshot().GetMetadata()
		body, there := x.disks[m.GetFrom()].current.files[[2]uint64{meta.GetIndex(), meta.GetTerm()}]
		lost = lost || !there
		if !lost {
			if err := x.disks[m.GetTo()].receive(meta.GetIndex(), meta.GetTerm(), body); err != nil {
				x.t.Fatal(err)
			}
		}
		if from, ok := x.members[m.GetFrom()]; ok {
			from.ReportSnapshot(m.GetTo(), !lost)
		}
	}
	if !lost {
		_ = to.Step(m, x.now) // what is refused changes nothing
	}
}

// release delivers what was held back.
func (x *table) release() {
	x.t.Helper()
	held := x.held
	x.hold, x.held = nil, nil
	for _, m := range held {
		x.deliver(m)
	}
	x.settle()
}

// tick lets n ticks pass for these members, or for all.
func (x *table) tick(n int, ids ...uint64) {
	x.t.Helper()
	if len(ids) == 0 {
		ids = x.ids()
	}
	for range n {
		x.now = x.now.Add(100 * time.Millisecond)
		for _, id := range ids {
			if m, ok := x.members[id]; ok {
				m.Tick(x.now)
			}
		}
		x.settle()
	}
}

// elect makes a member the leader of a group that was just started.
func (x *table) elect(id uint64) {
	x.t.Helper()
	x.tick(silentTicks)
	x.members[id].Campaign()
	x.settle()
	x.wantLeader(id)
	x.tick(1)
}

// acting returns who may act as the leader now.
func (x *table) acting() []uint64 {
	var ids []uint64
	for _, id := range x.ids() {
		if x.members[id].Leadership(x.now).Leader {
			ids = append(ids, id)
		}
	}
	return ids
}

func (x *table) wantLeader(want ...uint64) {
	x.t.Helper()
	if got := x.acting(); !slices.Equal(got, want) {
		x.t.Fatalf("%v act as leaders, want %v", got, want)
	}
}

func (x *table) status(id uint64) Status { return x.members[id].Status(x.now) }

// propose proposes and returns how it ended so far.
func (x *table) propose(id uint64, data string) *[]ending {
	x.t.Helper()
	got := &[]ending{}
	x.members[id].Submit(wish(data, got))
	x.settle()
	return got
}

func (x *table) mustPropose(id uint64, data string) {
	x.t.Helper()
	if got := *x.propose(id, data); len(got) != 1 || got[0].err != nil || got[0].result != "did "+data {
		x.t.Fatalf("propose %s: %v", data, got)
	}
}

// change changes the members and returns the outcome; errUnderWay if there is none.
func (x *table) change(id uint64, kind ChangeKind, of uint64) error {
	x.t.Helper()
	outcome := errUnderWay
	x.members[id].Change(MemberChange{kind, of}, func(err error) { outcome = err })
	x.settle()
	return outcome
}

var errUnderWay = errors.New("under way")

func (x *table) mustChange(id uint64, kind ChangeKind, of uint64) {
	x.t.Helper()
	if err := x.change(id, kind, of); err != nil {
		x.t.Fatalf("%v %d: %v", kind, of, err)
	}
}

// transfer hands over and returns where the outcome appears.
func (x *table) transfer(id, to uint64) *error {
	x.t.Helper()
	outcome := errUnderWay
	x.members[id].Transfer(to, func(err error) { outcome = err })
	x.settle()
	return &outcome
}

// read asks for a fresh index and returns where the outcome appears.
func (x *table) read(id uint64) *ending {
	x.t.Helper()
	got := &ending{err: errUnderWay}
	x.members[id].ReadIndex(func(index uint64, err error) { got.index, got.err = index, err })
	x.settle()
	return got
}

// between makes a test for messages between two members, both ways.
func between(a, b uint64) func(*raftpb.Message) bool {
	return func(m *raftpb.Message) bool {
		return m.GetFrom() == a && m.GetTo() == b || m.GetFrom() == b && m.GetTo() == a
	}
}

// of makes a test for all messages of a member, both ways.
func of(id uint64) func(*raftpb.Message) bool {
	return func(m *raftpb.Message) bool { return m.GetFrom() == id || m.GetTo() == id }
}

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
