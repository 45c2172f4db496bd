package raft

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	etcdraft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// pure is a core on a log in memory, driven by hand.
type pure struct {
	*core
	t       *testing.T
	storage *etcdraft.MemoryStorage
	now     time.Time
	machine StateMachine
}

func newPure(t *testing.T, machine StateMachine, voters ...uint64) *pure {
	t.Helper()
	storage := etcdraft.NewMemoryStorage()
	at := raftpb.EnsureSnapshotMetadata(&raftpb.SnapshotMetadata{
		Index: new(uint64(1)), Term: new(uint64(1)), ConfState: &raftpb.ConfState{Voters: voters},
	})
	if err := storage.ApplySnapshot(&raftpb.Snapshot{Metadata: at}); err != nil {
		t.Fatal(err)
	}
	c, err := newCore(coreConfig{
		id: 1, tick: time.Second, storage: storage, applied: at, pile: 10000, logger: protocolLogger{slog.New(slog.DiscardHandler)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &pure{core: c, t: t, storage: storage, now: time.Unix(1000, 0), machine: machine}
}

// settle does what the loop does, and returns the messages.
func (p *pure) settle() []*raftpb.Message {
	p.t.Helper()
	var sent []*raftpb.Message
	for p.node.HasReady() {
		rd := p.node.Ready()
		if err := p.storage.Append(rd.Entries); err != nil {
			p.t.Fatal(err)
		}
		sent = append(sent, rd.Messages...)
		for _, e := range rd.CommittedEntries {
			if err := p.apply(e, p.machine, &marks{}); err != nil {
				p.t.Fatal(err)
			}
		}
		p.advance(rd, p.now)
	}
	return sent
}

// answer plays peer 2, which agrees to all that it is asked.
func (p *pure) answer(sent []*raftpb.Message) {
	p.t.Helper()
	for len(sent) > 0 {
		for _, m := range sent {
			reply := &raftpb.Message{From: new(uint64(2)), To: new(uint64(1)), Term: m.Term}
			switch m.GetType() {
			case raftpb.MsgPreVote:
				reply.Type = raftpb.MsgPreVoteResp.Enum()
			case raftpb.MsgVote:
				reply.Type = raftpb.MsgVoteResp.Enum()
			case raftpb.MsgApp:
				reply.Type, reply.Index = raftpb.MsgAppResp.Enum(), new(m.GetIndex()+uint64(len(m.GetEntries())))
			case raftpb.MsgHeartbeat:
				reply.Type, reply.Context = raftpb.MsgHeartbeatResp.Enum(), m.GetContext()
			default:
				continue
			}
			if m.GetTo() != 2 {
				continue
			}
			if err := p.step(reply, p.now); err != nil {
				p.t.Fatal(err)
			}
		}
		sent = p.settle()
	}
}

// lead makes the core the leader of the voters 1 and 2.
func (p *pure) lead() {
	p.t.Helper()
	if err := p.node.Campaign(); err != nil {
		p.t.Fatal(err)
	}
	p.answer(p.settle())
	if l := p.leadership(p.now); !l.Leader {
		p.t.Fatalf("leadership %+v", l)
	}
}

type ending struct {
	index  uint64
	result any
	err    error
}

// wish makes a proposal that records its endings.
func wish(data string, to *[]ending) Proposal {
	return Proposal{Data: []byte(data), Ended: func(index uint64, result any, err error) {
		*to = append(*to, ending{index, result, err})
	}}
}

// Every proposal ends exactly once, whatever becomes of it. CLU-31
func TestProposalEndings(t *testing.T) {
	tests := []struct {
		name string
		lead bool
		then func(p *pure)
		want error
	}{
		{"follower", false, func(*pure) {}, ErrNotLeader},
		{"committed", true, func(p *pure) { p.answer(p.settle()) }, nil},
		{"deposed", true, func(p *pure) {
			p.settle()
			if err := p.step(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(p.term + 1)}, p.now); err != nil {
				t.Fatal(err)
			}
			p.settle()
		}, ErrLeadershipLost},
		{"deposed before it was written", true, func(p *pure) {
			if err := p.step(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(p.term + 1)}, p.now); err != nil {
				t.Fatal(err)
			}
			var more []ending
			p.propose([]Proposal{wish("more", &more)})
			if len(more) != 1 || !errors.Is(more[0].err, ErrNotLeader) {
				t.Errorf("second proposal: %v", more)
			}
			p.settle()
		}, ErrLeadershipLost},
		{"no quorum", true, func(p *pure) {
			for range 2 * electionTicks {
				p.now = p.now.Add(time.Second)
				p.tick(p.now)
				p.settle()
			}
		}, ErrLeadershipLost},
		{"closed", true, func(p *pure) { p.abandon(ErrClosed) }, ErrClosed},
		{"handing over", true, func(p *pure) {
			p.answer(p.settle())
			p.tick(p.now)
			p.answer(p.settle())
			p.transfer(2, func(error) {})
			p.settle()
			var more []ending
			p.propose([]Proposal{wish("more", &more)})
			if len(more) != 1 || !errors.Is(more[0].err, ErrNotLeader) {
				t.Errorf("proposal while handing over: %v", more)
			}
			if l := p.leadership(p.now); l.Leader {
				t.Errorf("leads while handing over: %+v", l)
			}
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPure(t, &journal{}, 1, 2)
			if test.lead {
				p.lead()
			}
			var got []ending
			p.propose([]Proposal{wish("a", &got), wish("b", &got)})
			test.then(p)
			if len(got) != 2 || !errors.Is(got[0].err, test.want) || !errors.Is(got[1].err, test.want) || len(p.waiting) > 0 {
				t.Fatalf("endings %v, %d waiting; want %v", got, len(p.waiting), test.want)
			}
			if test.want == nil && (got[0].result != "did a" || got[1].result != "did b" || got[1].index != got[0].index+1) {
				t.Errorf("endings %v", got)
			}
		})
	}
}

// The same numbers in another term are another proposal: an entry that an earlier leader appended
// does not answer a proposal of this one.
func TestProposalNumbersBelongToTheTerm(t *testing.T) {
	p := newPure(t, &journal{}, 1, 2)
	p.lead()
	var got []ending
	p.propose([]Proposal{wish("mine", &got)})
	other := &raftpb.Entry{Index: new(p.applied + 1), Term: new(p.term - 1), Data: encodeEntry(p.seq, []byte("theirs"))}
	if err := p.apply(other, p.machine, &marks{}); err != nil {
		t.Fatal(err)
	}
	if len(got) > 0 {
		t.Errorf("answered by the entry of another term: %v", got)
	}
}

// A leader without a quorum does not pile up entries without end.
func TestBusy(t *testing.T) {
	p := newPure(t, discard{}, 1, 2)
	p.lead()
	data := string(make([]byte, 900))
	var got []ending
	for range 20 {
		p.propose([]Proposal{wish(data, &got)})
	}
	if len(got) < 8 || len(got) > 10 || !errors.Is(got[0].err, ErrBusy) {
		t.Fatalf("endings %v, want %v for what is over 10000 bytes", got, ErrBusy)
	}
	p.answer(p.settle()) // a quorum again
	if len(got) != 20 || got[19].err != nil {
		t.Errorf("endings %v", got)
	}
}

// Entries are applied one after the other, none twice and none left out.
func TestApplyInOrder(t *testing.T) {
	j := &journal{}
	p := newPure(t, j, 1)
	for _, index := range []uint64{1, 3} {
		if err := p.apply(&raftpb.Entry{Index: new(index), Term: new(uint64(1)), Data: encodeEntry(1, []byte("x"))}, j, &marks{}); err == nil {
			t.Errorf("index %d was applied after 1", index)
		}
	}
	if len(j.all()) > 0 {
		t.Errorf("the state machine got %v", j.all())
	}
}

// Changes of members are applied to the protocol, and damaged or unknown entries stop the peer.
// CLU-38
func TestApplyKinds(t *testing.T) {
	change, err := proto.Marshal(&raftpb.ConfChange{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(uint64(9))})
	if err != nil {
		t.Fatal(err)
	}
	changeV2, err := proto.Marshal(&raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{
		{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(uint64(9))},
	}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		kind     raftpb.EntryType
		data     []byte
		wantErr  bool
		learners []uint64
		applied  []string
	}{
		{"empty", raftpb.EntryNormal, nil, false, nil, nil},
		{"proposal", raftpb.EntryNormal, encodeEntry(300, []byte("x")), false, nil, []string{"x"}},
		{"empty proposal", raftpb.EntryNormal, encodeEntry(0, nil), false, nil, []string{""}},
		{"unknown format", raftpb.EntryNormal, []byte{9, 1, 'x'}, true, nil, nil},
		{"no number", raftpb.EntryNormal, []byte{entryProposal}, true, nil, nil},
		{"endless number", raftpb.EntryNormal, append([]byte{entryProposal}, bytes.Repeat([]byte{0xff}, 20)...), true, nil, nil},
		{"change of members", raftpb.EntryConfChange, change, false, []uint64{9}, nil},
		{"damaged change of members", raftpb.EntryConfChange, []byte{0xff}, true, nil, nil},
		{"joint change of members", raftpb.EntryConfChangeV2, changeV2, false, []uint64{9}, nil},
		{"damaged joint change of members", raftpb.EntryConfChangeV2, []byte{0xff}, true, nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := &journal{}
			p := newPure(t, j, 1)
			err := p.apply(&raftpb.Entry{Index: new(uint64(2)), Term: new(uint64(1)), Type: test.kind.Enum(), Data: test.data}, j, &marks{})
			if (err != nil) != test.wantErr || !slices.Equal(p.conf.GetLearners(), test.learners) || !slices.Equal(j.all(), test.applied) {
				t.Errorf("error %v, learners %v, applied %q", err, p.conf.GetLearners(), j.all())
			}
		})
	}
}

// The lease counts from the sending of a heartbeat that a quorum answered, not from the answer, and
// ends with the term. CLU-33
func TestLease(t *testing.T) {
	p := newPure(t, &journal{}, 1, 2)
	p.lead()
	begun := p.now
	check := func(what string, at time.Time, want bool) {
		t.Helper()
		if got := p.leadership(at).Leader; got != want {
			t.Errorf("%s: leads %v, want %v", what, got, want)
		}
	}
	check("at the end of the first lease", begun.Add(leaseTicks*time.Second-1), true)
	check("after it", begun.Add(leaseTicks*time.Second), false)
	p.now = begun.Add(2 * time.Second)
	p.tick(p.now)
	asked := p.settle()
	p.now = begun.Add(4 * time.Second) // the answer takes long
	p.answer(asked)
	check("before the end of the second", begun.Add((2+leaseTicks)*time.Second-1), true)
	check("after it", begun.Add((2+leaseTicks)*time.Second), false)
	if len(p.lease.rounds) > 0 {
		t.Errorf("%d rounds are open", len(p.lease.rounds))
	}
	if err := p.step(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(p.term + 1)}, p.now); err != nil {
		t.Fatal(err)
	}
	p.settle()
	check("deposed", p.now, false)
	if !p.lease.until.IsZero() {
		t.Errorf("lease %v of a follower", p.lease.until)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(encodeEntry(1, []byte("payload")))
	f.Add(encodeNumbered(entrySum, 300, []byte("hash")))
	f.Add([]byte{entryProposal})
	f.Add([]byte{entryMark})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return // the entry of a new leader
		}
		e, err := decodeEntry(data)
		if err != nil {
			return
		}
		encoded := []byte{entryMark}
		if e.format != entryMark {
			encoded = encodeNumbered(e.format, e.number, e.payload)
		}
		again, err := decodeEntry(encoded)
		if err != nil || again.format != e.format || again.number != e.number || !bytes.Equal(again.payload, e.payload) {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}
