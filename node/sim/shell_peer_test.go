package sim

import (
	"errors"
	"io"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"clusterd/raft"
	"clusterd/raft/registry"
)

// peer is the model of raft's Peer, and of what package node does with it: one member, fed one thing at
// a time, and busy while the disk syncs.
type peer struct {
	p       *process
	id      uint64
	disk    *raftDisk
	member  *raft.Member
	machine *machineCopy

	inbox     []func(now time.Time)
	waiting   bool // for the disk
	ticking   bool // a tick is in the inbox
	announced raft.Leadership
	closed    bool

	// The election under way.
	newest raft.Leadership
	news   bool // it was not read yet
	taking bool
}

// openMember starts the raft member of a node: with the log that it has, or with an empty one that the
// leader fills.
func (p *process) openMember(id uint64) {
	d := p.machine.node
	if d.raft == nil {
		d.raft = newRaftDisk(d, id)
	}
	r := &peer{p: p, id: id, disk: d.raft}
	r.machine = &machineCopy{Machine: registry.NewMachine(version), r: r}
	p.peer = r
	w := p.machine.w
	var err error
	r.member, err = raft.NewMember(raft.MemberConfig{
		ID: id, TickInterval: w.plan.tick, Storage: d.raft, Machine: r.machine, Send: r.send, Aside: r.aside, Nonce: w.rng.Uint64(),
		SnapshotEntries: w.plan.snapshotEntries, KeepEntries: w.plan.keepEntries,
	})
	if err != nil {
		p.fail("open raft member: " + err.Error())
		r.closed = true
		return
	}
	w.logf(p.machine.name, "raft member %d begins", id)
	p.after(w.between(0, w.plan.tick), r.tick)
}

// close ends the member, as when it was removed.
func (r *peer) close() {
	r.closed = true
	if r.p.lead != nil {
		r.p.lead.drop("no longer a raft member")
		r.p.lead = nil
	}
}

// tick is the ticker: one that comes while another waits is lost.
func (r *peer) tick() {
	if r.closed {
		return
	}
	c := &r.p.machine.clock
	r.p.after(r.p.machine.w.plan.tick-r.p.machine.w.plan.tick/1_000_000*time.Duration(c.drift), r.tick)
	if r.ticking {
		return
	}
	r.ticking = true
	r.input(func(now time.Time) {
		r.ticking = false
		r.member.Tick(now)
	})
}

// input gives the member something to do when it is its turn.
func (r *peer) input(fn func(now time.Time)) {
	if r.closed {
		return
	}
	r.inbox = append(r.inbox, fn)
	if !r.waiting {
		r.work()
	}
}

// work takes one thing after the other, until the disk is busy.
func (r *peer) work() {
	for !r.closed && !r.p.dead {
		w := r.p.machine.w
		if r.disk.busy > w.now {
			r.waiting = true
			r.p.at(r.disk.busy, func() {
				r.waiting = false
				r.disk.settle()
				r.announce()
				r.work()
			})
			return
		}
		if len(r.inbox) == 0 {
			return
		}
		fn := r.inbox[0]
		r.inbox = r.inbox[1:]
		now := r.p.machine.clock.read()
		fn(now)
		if err := r.member.Settle(now); err != nil {
			r.p.fail("raft member: " + err.Error())
			r.closed = true
			return
		}
		if r.disk.busy <= w.now {
			r.announce()
		}
	}
}

// outside does something that others see, when what it promises is on disk.
func (r *peer) outside(fn func()) { r.p.at(r.disk.busy, fn) }

// aside models the goroutine that writes snapshots and makes sums.
func (r *peer) aside(work func() error, done func(error)) {
	w := r.p.machine.w
	r.p.after(w.between(time.Millisecond, 500*time.Millisecond), func() {
		err := work()
		r.input(func(time.Time) { done(err) })
	})
}

// send hands messages to the network when what they promise is on disk.
func (r *peer) send(messages []*raftpb.Message) {
	for _, m := range messages {
		frame, err := proto.Marshal(m)
		if err != nil {
			r.p.machine.w.failf("raft message %v: %v", m, err)
		}
		r.outside(func() { r.transmit(m, frame) })
	}
}

// transmit is the transport of package raft: messages come late, twice or not at all; a snapshot goes
// ahead of the message that announces it.
func (r *peer) transmit(m *raftpb.Message, frame []byte) {
	w := r.p.machine.w
	to := r.p.memberAt(m.GetTo())
	if to == nil {
		r.input(func(time.Time) { r.member.ReportUnreachable(m.GetTo()) })
		if m.GetType() == raftpb.MsgSnap {
			r.input(func(time.Time) { r.member.ReportSnapshot(m.GetTo(), false) })
		}
		return
	}
	deliver := func() {
		if p := to.process; p != nil && !p.dead {
			p.run(func() { p.receive(m.GetTo(), frame) })
		}
	}
	if m.GetType() == raftpb.MsgSnap {
		r.transfer(to, m, deliver)
		return
	}
	if !w.net.open(r.p.machine, to) {
		r.p.after(w.between(0, time.Second), func() {
			r.input(func(time.Time) { r.member.ReportUnreachable(m.GetTo()) })
		})
	}
	w.net.packet(r.p.machine, to, deliver)
}

// transfer sends a snapshot. It takes its time, and may break off.
func (r *peer) transfer(to *machine, m *raftpb.Message, deliver func()) {
	w := r.p.machine.w
	meta := m.GetSnapshot().GetMetadata()
	name := snapshotName{meta.GetIndex(), meta.GetTerm()}
	data, ok := r.disk.ours[name]
	report := func(delivered bool) {
		r.input(func(time.Time) { r.member.ReportSnapshot(m.GetTo(), delivered) })
	}
	if !ok || !w.net.open(r.p.machine, to) || w.chance(w.net.loss) {
		r.p.after(w.between(0, 2*time.Second), func() { report(false) })
		return
	}
	r.p.after(w.between(5*time.Millisecond, 300*time.Millisecond), func() {
		p := to.process
		arrives := p != nil && !p.dead && !to.paused() && p.peer != nil && !p.peer.closed && p.peer.id == m.GetTo() && w.net.open(r.p.machine, to)
		if arrives {
			p.peer.disk.arrived[name] = data
			deliver()
		}
		r.p.after(w.net.delay(to, r.p.machine), func() { report(arrives) })
	})
}

// receive takes a raft message that arrived at the node.
func (p *process) receive(to uint64, frame []byte) {
	r := p.peer
	if r == nil || r.id != to {
		return
	}
	m := &raftpb.Message{}
	if err := proto.Unmarshal(frame, m); err != nil {
		p.machine.w.failf("raft message cannot be read: %v", err)
	}
	r.input(func(now time.Time) {
		if s := m.GetSnapshot().GetMetadata(); m.GetType() == raftpb.MsgSnap && r.disk.arrived[snapshotName{s.GetIndex(), s.GetTerm()}] == nil {
			return // it came twice, and was used up
		}
		if err := r.member.Step(m, now); err != nil && p.machine.w.trace != nil {
			p.machine.w.logf(p.machine.name, "raft message refused: %v", err)
		}
	})
}

// submit hands one registry operation to raft.
func (r *peer) submit(op *registry.Op, ended func(registry.Result, error)) {
	w := r.p.machine.w
	data, err := registry.Encode(op)
	if err != nil {
		w.failf("%v cannot be proposed: %v", op, err)
	}
	r.propose(data, func(_ uint64, result any, err error) {
		if err != nil {
			ended(registry.Result{}, err)
			return
		}
		ended(result.(registry.Result), nil)
	})
}

var errClosed = errors.New("raft member is closed")

func (r *peer) propose(data []byte, ended func(uint64, any, error)) {
	if r.closed {
		r.p.after(0, func() { ended(0, nil, errClosed) })
		return
	}
	r.input(func(time.Time) {
		r.member.Submit(raft.Proposal{Data: slices.Clone(data), Ended: func(index uint64, result any, err error) {
			r.outside(func() {
				if err == nil {
					r.p.machine.w.history.acknowledged(index, data)
				}
				ended(index, result, err)
			})
		}})
	})
}

// leads says whether this member may act at this moment in a term in which its leadership was announced.
func (r *peer) leads(term uint64) bool {
	l := r.member.Leadership(r.p.machine.clock.read())
	return !r.closed && r.announced.Leader && r.announced.Term == term && l.Leader && l.Term == term
}

// announce tells of a change of leadership. Only the newest is kept for the one who reads it.
func (r *peer) announce() {
	now, was := r.member.Leadership(r.p.machine.clock.read()), r.announced
	if now.Leader == was.Leader && (!now.Leader || now.Term == was.Term) {
		return
	}
	r.announced, r.newest, r.news = now, now, true
	w := r.p.machine.w
	w.logf(r.p.machine.name, "raft member %d: leads: %t, term %d", r.id, now.Leader, now.Term)
	r.p.after(w.between(0, time.Millisecond), r.lead)
}

// lead is package node's goroutine of the same name: it ends and begins times of office.
func (r *peer) lead() {
	if r.taking || r.closed || !r.news {
		return
	}
	l := r.newest
	r.news = false
	if r.p.lead != nil {
		r.p.lead.drop("no longer the leading master")
		r.p.lead = nil
	}
	if !l.Leader {
		return
	}
	r.taking = true
	r.takeOffice(l.Term, func(err error) {
		r.taking = false
		if err != nil {
			r.p.machine.w.logf(r.p.machine.name, "election not completed in term %d: %v", l.Term, err)
		}
		r.lead()
	})
}

// takeOffice makes this node the leading master: the cluster is formed if it is the first time, the
// election is recorded, then the core starts on what the registry holds.
func (r *peer) takeOffice(term uint64, done func(error)) {
	p, w := r.p, r.p.machine.w
	elect := func() {
		id, now := w.masterID(), p.machine.clock.read().UnixNano()
		op := &registry.Op{Op: &registry.Op_ElectMaster{ElectMaster: &registry.ElectMaster{MasterId: &id, Time: &now}}}
		r.submit(op, func(_ registry.Result, err error) {
			if err == nil && !r.closed {
				p.lead = newLeader(p, term, id, r.machine.View())
			}
			done(err)
		})
	}
	if _, formed := r.machine.View().Cluster(); formed {
		elect()
		return
	}
	r.submit(w.formCluster(p.machine, r.id), func(_ registry.Result, err error) {
		if err != nil {
			done(err)
			return
		}
		elect()
	})
}

// leaderNode is the node that leads as far as the member knows.
func (r *peer) leaderNode() (*machine, bool) {
	if r.closed {
		return nil, false
	}
	id := r.member.Status(r.p.machine.clock.read()).Leader
	to := r.p.memberAt(id)
	return to, id != 0 && to != nil
}

// memberAt is the node of a raft member: by this node's own registry, or by what the leader has said.
func (p *process) memberAt(id uint64) *machine {
	if p.peer != nil {
		if node, ok := p.peer.machine.View().NodeByRaftID(id); ok {
			return p.machine.w.nodeNamed(node.GetId())
		}
	}
	for _, m := range p.machine.node.members {
		if m.GetRaftId() == id {
			return p.machine.w.nodeNamed(m.GetNodeId())
		}
	}
	return nil
}

// machineCopy is a member's registry; history watches what is done to it.
type machineCopy struct {
	*registry.Machine
	r  *peer
	at uint64 // index of the newest operation
}

func (m *machineCopy) Restore(from io.Reader) error {
	if err := m.Machine.Restore(from); err != nil {
		return err
	}
	state := m.View()
	m.at = state.Index()
	m.r.p.machine.w.history.state(m.r.p.machine.name, m.at, state.Hash())
	return nil
}

func (m *machineCopy) Snapshot() (func(io.Writer) error, error) {
	state := m.View()
	m.r.p.machine.w.history.state(m.r.p.machine.name, state.Index(), state.Hash())
	return m.Machine.Snapshot()
}

func (m *machineCopy) Apply(index uint64, data []byte) (any, error) {
	w := m.r.p.machine.w
	m.at = index
	if w.flaw.diverge && m.r.p.lead == nil && w.chance(20) {
		w.history.blind = true // the members have to find out by themselves
		return registry.Result{}, nil
	}
	result, err := m.Machine.Apply(index, data)
	if err != nil {
		w.failf("%s: %v", m.r.p.machine.name, err)
	}
	w.history.applied(m.r, index, data)
	return result, nil
}
