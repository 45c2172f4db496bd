package raft

import (
	"errors"
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
