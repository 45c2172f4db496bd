package node

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos/wire"
)

// A node that is told who leads asks there first, though its own raft member has another in mind; when one
// names the other for too long, it asks anybody. CLU-36, CLU-60
func TestCandidates(t *testing.T) {
	at := func(id string) whereabouts {
		return whereabouts{nodeID: id, addresses: &wire.Addresses{Peer: proto.String(id + ":5055"), Master: proto.String(id + ":5050")}}
	}
	n := &Node{id: &identity{NodeID: "me", Members: []contact{{NodeID: "a", Peer: "a:5055"}, {NodeID: "b", Peer: "b:5055"}, {NodeID: "c", Peer: "c:5055"}}}}
	n.linked.Store(&link{leader: at("stale")})
	s := &search{n: n}
	first := func() string {
		t.Helper()
		all := s.candidates()
		if len(all) == 0 {
			t.Fatal("nobody to ask")
		}
		return all[0].nodeID
	}
	if got := first(); got != "stale" {
		t.Errorf("asks %s first, not the leader that it knows", got)
	}
	s.hint, s.moved = at("b"), 1
	if got := first(); got != "b" {
		t.Errorf("asks %s first, not the leader that was named", got)
	}
	s.hint, s.moved = at("stale"), maxMoves+1
	if got := first(); got == "stale" || s.moved != 0 {
		t.Errorf("asks %s first, after %d moves", got, s.moved)
	}
	if got := first(); got != "stale" {
		t.Errorf("then asks %s first", got)
	}
}
