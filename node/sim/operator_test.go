package sim

import (
	"crypto/sha256"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/master"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/raft/registry"
)

// write is what operators do all the time: something that the registry has to keep.
func (w *world) write() {
	if w.calm {
		return
	}
	w.after(w.between(w.plan.writes/2, w.plan.writes*3/2), w.write)
	hash := sha256.Sum256(fmt.Appendf(nil, "token %d", w.handle()))
	w.operate(func(m *machine) *registry.Op {
		now := m.clock.read()
		return &registry.Op{Op: &registry.Op_AddToken{AddToken: &registry.AddToken{
			Token: &registry.Token{Role: registry.Token_AGENT.Enum(), Hash: hash[:], Expires: proto.Int64(now.Add(1000 * time.Hour).UnixNano())},
			Time:  proto.Int64(now.UnixNano()),
		}}}
	}, func() { w.written = append(w.written, string(hash[:])) })
}

// read asks a member for a fresh index: what was acknowledged before must be in its state afterwards.
func (w *world) read() {
	if w.calm {
		return
	}
	w.after(w.between(w.plan.writes, w.plan.writes*3), w.read)
	p := pick(w, w.nodes[:w.plan.eligible]).process
	if p == nil || p.dead || p.peer == nil || p.peer.closed || p.machine.paused() {
		return
	}
	r, want := p.peer, w.history.newestAcked
	r.input(func(time.Time) {
		r.member.ReadIndex(func(index uint64, err error) {
			if err == nil && (index < want || r.machine.at < want) {
				w.failf("%s reads at index %d, applied %d, though index %d was acknowledged before", p.machine.name, index, r.machine.at, want)
			}
		})
	})
}

// operate proposes an operation on a node that takes itself for the leader. done is called if it was
// carried out.
func (w *world) operate(op func(*machine) *registry.Op, done func()) {
	m := w.leading()
	if m == nil || m.paused() {
		return
	}
	m.process.peer.submit(op(m), func(r registry.Result, err error) {
		if err == nil && r.Refused == "" {
			done()
		}
	})
}

// changeMasters is an operator who promotes, demotes, wants more or fewer masters, or another leader.
func (w *world) changeMasters() {
	m := pick(w, w.nodes[:w.plan.eligible])
	switch w.rng.IntN(4) {
	case 0:
		w.place(m, registry.Node_PREFERRED)
	case 1:
		w.place(m, registry.Node_BARRED)
	case 2:
		number := uint32(1 + 2*w.rng.IntN((w.plan.eligible+1)/2))
		w.operate(func(*machine) *registry.Op {
			return &registry.Op{Op: &registry.Op_SetSettings{SetSettings: &registry.SetSettings{Settings: &registry.Settings{Masters: &number}}}}
		}, func() {})
	case 3:
		if m := w.leading(); m != nil {
			r := m.process.peer
			r.input(func(time.Time) { r.member.Transfer(0, func(error) {}) })
		}
	}
}

func (w *world) place(m *machine, placement registry.Node_Placement) {
	id := m.id
	w.operate(func(*machine) *registry.Op {
		return &registry.Op{Op: &registry.Op_SetPlacement{SetPlacement: &registry.SetPlacement{NodeId: &id, Placement: &placement}}}
	}, func() {})
}

// changeAgents is an operator who drains, deactivates or reactivates an agent.
func (w *world) changeAgents() {
	m := w.leading()
	id := pick(w, w.nodes).agentID()
	if m == nil || id == "" {
		return
	}
	l := m.process.lead
	request := master.RequestID(w.handle())
	switch w.rng.IntN(4) {
	case 0, 1:
		config := &v1.DrainConfig{MarkGone: proto.Bool(w.chance(200))}
		if w.chance(500) {
			config.MaxGracePeriod = &v1.DurationInfo{Nanoseconds: proto.Int64(int64(w.between(0, 5*time.Second)))}
		}
		l.loop.post(master.DrainAgent{Request: request, Agent: mesos.AgentID(id), Config: config})
	case 2:
		l.loop.post(master.DeactivateAgent{Request: request, Agent: mesos.AgentID(id)})
	case 3:
		l.loop.post(master.ReactivateAgent{Request: request, Agent: mesos.AgentID(id)})
	}
}

// stopOne stops a daemon in order, as for an upgrade.
func (w *world) stopOne() {
	if p := w.victim().process; p != nil && !p.dead {
		w.logf(p.machine.name, "is told to stop")
		p.stop(w.outage())
	}
}

// wipeOne loses the disk of a node for good, which then joins as a new one. No more than one: a cluster of
// three bears the loss of one log.
func (w *world) wipeOne() {
	l := w.acting()
	if w.wiped || l == nil || len(l.p.peer.status().Voters) < 3 {
		return
	}
	m := w.victim()
	w.wiped = true
	m.powerOff()
	w.logf(m.name, "loses its disk")
	m.id += "-again"
	m.node = newNodeDisk(m)
	for _, c := range m.launched {
		delete(m.containers, string(c.spec.ID))
	}
	m.launched = nil
	w.after(w.outage(), m.powerOn)
}

// tidyUp undoes what operators have done, once all is calm, until that is so.
func (w *world) tidyUp() {
	w.after(2*time.Second, w.tidyUp)
	l := w.acting()
	if l == nil {
		return
	}
	state := l.p.peer.machine.View()
	for _, n := range state.Nodes() {
		switch m := w.nodeNamed(n.GetId()); {
		case m == nil && n.GetRaftId() == 0: // its disk was lost
			now := l.p.machine.clock.read().UnixNano()
			w.operate(func(*machine) *registry.Op {
				return &registry.Op{Op: &registry.Op_RemoveNode{RemoveNode: &registry.RemoveNode{NodeId: n.Id, Time: &now, Until: &now}}}
			}, func() {})
		case m != nil && n.GetPlacement() == registry.Node_BARRED:
			w.place(m, registry.Node_ANY)
		}
	}
	for _, d := range state.Drains() {
		l.loop.post(master.ReactivateAgent{Request: master.RequestID(w.handle()), Agent: mesos.AgentID(d.GetAgentId().GetValue())})
	}
}
