package raft

import (
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Messages that no peer sends are refused before the protocol library sees them.
func TestAdmission(t *testing.T) {
	x := newTable(t, 1, 2, 3)
	x.elect(1)
	term := x.status(1).Term
	tests := []struct {
		name string
		m    *raftpb.Message
		ok   bool
	}{
		{"empty", &raftpb.Message{}, false},
		{"for another", &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), From: new(uint64(2)), To: new(uint64(3)), Term: &term}, false},
		{"from itself", &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), From: new(uint64(1)), To: new(uint64(1)), Term: &term}, false},
		{"from nobody", &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), To: new(uint64(1)), Term: &term}, false},
		{"without a term", &raftpb.Message{Type: raftpb.MsgApp.Enum(), From: new(uint64(2)), To: new(uint64(1))}, false},
		{"local", &raftpb.Message{Type: raftpb.MsgHup.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: &term}, false},
		{"check of the quorum", &raftpb.Message{Type: raftpb.MsgCheckQuorum.Enum(), From: new(^uint64(0)), To: new(uint64(1)), Term: &term}, false},
		{"proposal", &raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: &term, Entries: []*raftpb.Entry{{}}}, false},
		{"hand-over", &raftpb.Message{Type: raftpb.MsgTransferLeader.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: &term}, false},
		{"question without a name", &raftpb.Message{Type: raftpb.MsgReadIndex.Enum(), From: new(uint64(2)), To: new(uint64(1))}, false},
		{"short answer", &raftpb.Message{Type: raftpb.MsgHeartbeatResp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: &term, Context: []byte{1}}, false},
		{"answer to the future", &raftpb.Message{Type: raftpb.MsgHeartbeatResp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: &term, Context: []byte{1, 2, 3, 4, 5, 6, 7, 8}}, false},
		{"entries with a gap", &raftpb.Message{Type: raftpb.MsgApp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: &term, Index: new(uint64(3)), Entries: []*raftpb.Entry{{Index: new(uint64(5)), Term: &term}}}, false},
		{"entries of the future", &raftpb.Message{Type: raftpb.MsgApp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: &term, Index: new(uint64(3)), Entries: []*raftpb.Entry{{Index: new(uint64(4)), Term: new(term + 1)}}}, false},
		{"entries that go back", &raftpb.Message{Type: raftpb.MsgApp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: &term, Index: new(uint64(3)), LogTerm: new(uint64(2)), Entries: []*raftpb.Entry{{Index: new(uint64(4)), Term: new(uint64(1))}}}, false},
		{"answer from a stranger", &raftpb.Message{Type: raftpb.MsgHeartbeatResp.Enum(), From: new(uint64(99)), To: new(uint64(1)), Term: &term}, false},
		{"answer", &raftpb.Message{Type: raftpb.MsgHeartbeatResp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: &term}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := x.members[1].Step(test.m, x.now); (err == nil) != test.ok {
				t.Errorf("error %v, want accepted %v", err, test.ok)
			}
			x.tick(1)
			x.wantLeader(1)
		})
	}
	x.mustPropose(1, "entry")
}

// Whatever another member sends, this one does not crash: it refuses it, or takes it, or stops because it
// shows that something it relied on is not so.
func FuzzStep(f *testing.F) {
	for _, m := range []*raftpb.Message{
		{Type: raftpb.MsgApp.Enum(), Index: new(uint64(3)), LogTerm: new(uint64(1)), Entries: []*raftpb.Entry{{Index: new(uint64(4)), Term: new(uint64(2))}}},
		{Type: raftpb.MsgAppResp.Enum(), Index: new(uint64(1 << 40)), Reject: new(true), RejectHint: new(uint64(1 << 50))},
		{Type: raftpb.MsgVote.Enum(), Index: new(uint64(1 << 40)), LogTerm: new(uint64(9)), Context: []byte(transferContext)},
		{Type: raftpb.MsgHeartbeat.Enum(), Commit: new(uint64(4)), Context: []byte("12345678")},
		{Type: raftpb.MsgHeartbeatResp.Enum(), Context: []byte{1, 0, 0, 0, 0, 0, 0, 0}},
		{Type: raftpb.MsgReadIndex.Enum(), Entries: []*raftpb.Entry{{Data: []byte("1234567812345678")}}},
		{Type: raftpb.MsgReadIndexResp.Enum(), Index: new(uint64(9)), Entries: []*raftpb.Entry{{Data: []byte("1234567812345678")}}},
		{Type: raftpb.MsgTimeoutNow.Enum()},
	} {
		for _, lead := range []bool{false, true} {
			data, err := proto.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, uint8(2), lead)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, term uint8, lead bool) {
		m := &raftpb.Message{}
		if err := proto.Unmarshal(data, m); err != nil || m.GetType() == raftpb.MsgSnap {
			return // what a MsgSnap names must have been received and checked before
		}
		x := newTable(t, 1, 2, 3)
		if lead {
			x.elect(1)
		} else {
			x.elect(2)
		}
		m.From, m.To, m.Term = new(uint64(2)), new(uint64(1)), new(uint64(term))
		if m.GetType() == raftpb.MsgReadIndex {
			m.Term = nil
		}
		refused := x.members[1].Step(m, x.now)
		x.lose = func(m *raftpb.Message) bool { return m.GetTo() != 1 || m.GetFrom() != 3 }
		x.tick(1, 1)
		var broken brokenInvariant
		if err := x.members[1].Err(); err != nil && !errors.As(err, &broken) {
			t.Errorf("stopped with %v", err)
		} else if err != nil && refused != nil {
			t.Errorf("stopped with %v by a message that was refused: %v", err, refused)
		}
	})
}
