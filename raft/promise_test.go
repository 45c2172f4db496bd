package raft

import (
	"fmt"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// promised checks a message against what its sender has on disk at the moment of sending.
func promised(m *raftpb.Message, disk image) error {
	term, vote, last := disk.hard.GetTerm(), disk.hard.GetVote(), disk.last()
	ok := true
	switch m.GetType() {
	case raftpb.MsgAppResp:
		ok = m.GetReject() || m.GetTerm() == term && m.GetIndex() <= last
	case raftpb.MsgVoteResp:
		ok = m.GetReject() || m.GetTerm() == term && m.GetTo() == vote
	case raftpb.MsgVote:
		ok = m.GetTerm() == term && m.GetFrom() == vote
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgTimeoutNow:
		ok = m.GetTerm() == term
	}
	if !ok {
		return fmt.Errorf("%v leaves while the disk holds term %d, vote %d, log to %d", m, term, vote, last)
	}
	return nil
}

// No message promises what is not on disk, but a leader's entries are on their way to the followers
// before it writes them itself. CLU-31
func TestNothingIsPromisedBeforeItIsWritten(t *testing.T) {
	members, disks := map[uint64]*Member{}, map[uint64]*forgetful{}
	var mail []*raftpb.Message
	ahead := 0
	for id := uint64(1); id <= 3; id++ {
		disk, err := newForgetful(1, 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		disks[id] = disk
		members[id], err = NewMember(MemberConfig{ID: id, Storage: disk, Machine: &journal{}, Nonce: id, Send: func(messages []*raftpb.Message) {
			for _, m := range messages {
				if err := promised(m, disk.durable); err != nil {
					t.Error(err)
				}
				if n := len(m.GetEntries()); n > 0 && m.GetEntries()[n-1].GetIndex() > disk.durable.last() {
					ahead++
				}
			}
			mail = append(mail, messages...)
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	now := time.Unix(0, 0)
	settle := func() {
		for id := uint64(1); id <= 3; id++ {
			if err := members[id].Settle(now); err != nil {
				t.Fatal(err)
			}
		}
	}
	pass := func() {
		now = now.Add(100 * time.Millisecond)
		for id := uint64(1); id <= 3; id++ {
			members[id].Tick(now)
		}
		for settle(); len(mail) > 0; settle() {
			m := mail[0]
			mail = mail[1:]
			if err := members[m.GetTo()].Step(m, now); err != nil {
				t.Logf("%v: %v", m, err)
			}
		}
	}
	for range 9 {
		pass()
	}
	done := 0
	for round := range uint64(6) { // each leads twice
		leader := members[round%3+1]
		if round > 0 {
			members[(round-1)%3+1].Transfer(round%3+1, func(err error) {
				if err != nil {
					t.Errorf("hand over to %d: %v", round%3+1, err)
				}
			})
		} else {
			leader.Campaign()
		}
		pass()
		for i := range 5 {
			leader.Submit(Proposal{Data: fmt.Appendf(nil, "%d-%d", round, i), Ended: func(_ uint64, _ any, err error) {
				if err != nil {
					t.Errorf("round %d: %v", round, err)
				}
				done++
			}})
			pass()
		}
	}
	if done != 30 || ahead < 2*done {
		t.Errorf("%d proposals applied, %d appends left before the leader wrote them", done, ahead)
	}
}
