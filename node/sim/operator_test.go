package sim

import (
	"crypto/sha256"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/raft/registry"
)

// write is what operators do all the time: something that the registry has to keep.
func (w *world) write() {
	if w.calm {
		return
	}
	w.after(w.between(w.plan.writes/2, w.plan.writes*3/2), w.write)
	m := w.leading()
	if m == nil || m.paused() {
		return
	}
	w.propose(m, fmt.Sprintf("token %d", w.handle()))
}

// propose has a token of this name added on a node that takes itself for the leader.
func (w *world) propose(m *machine, name string) {
	hash := sha256.Sum256([]byte(name))
	now := m.clock.read()
	op := &registry.Op{Op: &registry.Op_AddToken{AddToken: &registry.AddToken{
		Token: &registry.Token{Role: registry.Token_AGENT.Enum(), Hash: hash[:], Expires: proto.Int64(now.Add(1000 * time.Hour).UnixNano())},
		Time:  proto.Int64(now.UnixNano()),
	}}}
	m.process.peer.submit(op, func(r registry.Result, err error) {
		if err == nil && r.Refused == "" {
			w.written = append(w.written, string(hash[:]))
		}
	})
}
