package sim

import (
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/cluster"
	"clusterd/node/mesos/wire"
	"clusterd/raft"
	"clusterd/raft/registry"
)

const (
	stewardInterval = time.Second
	stepTime        = 10 * time.Second
	caughtUpLag     = 100
)

// steward is the model of package node's care for the cluster's own members.
type steward struct {
	l       *leader
	r       *peer
	since   time.Time
	planner cluster.Planner
	seen    uint64 // registry index of the newest look
	members *wire.Members
	version uint64
	acting  bool
}

// look goes over the members, again and again while the master is in office.
func (s *steward) look() {
	if s.l.loop.ended {
		return
	}
	if s.r.leads(s.l.term) {
		s.tell()
		s.act()
	}
	s.l.p.after(s.l.p.machine.w.between(stewardInterval/20, stewardInterval), s.look)
}

// tell sends the members to every node that has not been told of them yet.
func (s *steward) tell() {
	state := s.r.machine.View()
	if s.members == nil || state.Index() != s.seen {
		s.seen = state.Index()
		now := &wire.Members{Index: proto.Uint64(0)}
		voters := s.r.status().Voters
		for _, node := range state.Nodes() {
			if node.GetRaftId() != 0 {
				now.Members = append(now.Members, &wire.Member{
					NodeId: node.Id, Name: node.Name, RaftId: node.RaftId, Voter: proto.Bool(slices.Contains(voters, node.GetRaftId())),
					Addresses: &wire.Addresses{Peer: node.PeerAddress, Master: node.MasterAddress, Agent: node.AgentAddress},
				})
			}
		}
		if s.members == nil || !proto.Equal(s.members, now) {
			s.members = now
			s.version++
		}
	}
	for _, a := range s.l.order {
		node, ok := state.Node(a.node.id)
		if !ok || a.sent == s.version && a.raft == node.GetRaftId() {
			continue
		}
		a.sent, a.raft = s.version, node.GetRaftId()
		m := proto.CloneOf(s.members)
		m.RaftId = node.RaftId
		a.end.send(sent(s.l.p.machine.w, &wire.ToNode{Message: &wire.ToNode_Members{Members: m}}))
	}
}

func (r *peer) status() raft.Status { return r.member.Status(r.p.machine.clock.read()) }

// act takes the next step towards the members that the cluster should have.
func (s *steward) act() {
	if s.acting {
		return
	}
	w, p := s.l.p.machine.w, s.l.p
	step, _ := s.planner.Plan(p.machine.clock.read(), s.picture())
	if step.Kind == cluster.None {
		return
	}
	w.logf(p.machine.name, "masters: %s %s %d: %s", step.Kind, step.NodeID, step.RaftID, step.Why)
	s.acting = true
	over := false
	done := func(raftID uint64, err error) {
		if !over {
			over, s.acting = true, false
			if err != nil {
				w.logf(p.machine.name, "masters not changed: %v", err)
			}
			s.planner.Done(p.machine.clock.read(), step, raftID, err)
		}
	}
	s.take(step, func(raftID uint64, err error) { s.r.outside(func() { done(raftID, err) }) })
	p.after(stepTime, func() { done(0, errors.New("it takes too long")) })
}

// take carries out one step.
func (s *steward) take(step cluster.Step, done func(uint64, error)) {
	propose := func(op *registry.Op) {
		s.r.submit(op, func(r registry.Result, err error) {
			if err == nil && r.Refused != "" {
				err = errors.New(r.Refused)
			}
			done(r.RaftID, err)
		})
	}
	change := func(kind raft.ChangeKind) {
		s.r.input(func(time.Time) {
			s.r.member.Change(raft.MemberChange{Kind: kind, ID: step.RaftID}, func(err error) { done(0, err) })
		})
	}
	switch step.Kind {
	case cluster.Assign:
		propose(&registry.Op{Op: &registry.Op_AssignRaftId{AssignRaftId: &registry.AssignRaftID{NodeId: &step.NodeID}}})
	case cluster.Release:
		propose(&registry.Op{Op: &registry.Op_ReleaseRaftId{ReleaseRaftId: &registry.ReleaseRaftID{NodeId: &step.NodeID}}})
	case cluster.AddLearner:
		change(raft.AddLearner)
	case cluster.Promote:
		change(raft.Promote)
	case cluster.Demote:
		change(raft.Demote)
	case cluster.Remove:
		change(raft.Remove)
	case cluster.Transfer:
		s.r.input(func(time.Time) { s.r.member.Transfer(step.RaftID, func(err error) { done(0, err) }) })
	default:
		s.l.p.machine.w.failf("step %s is unknown", step.Kind)
	}
}

// picture is what the leader sees of the nodes now.
func (s *steward) picture() cluster.Picture {
	w := s.l.p.machine.w
	now, state, status := s.l.p.machine.clock.read(), s.r.machine.View(), s.r.status()
	p := cluster.Picture{
		Masters: int(settings(state)), ReplaceAfter: w.plan.replaceAfter, Since: s.since, Requires: state.Requires(), Changing: status.ChangePending,
	}
	peers := make(map[uint64]raft.PeerStatus)
	for _, peer := range status.Peers {
		peers[peer.ID] = peer
	}
	for _, node := range state.Nodes() {
		m := cluster.Member{Node: node}
		if i := slices.IndexFunc(s.l.order, func(a *attendance) bool { return a.node.id == node.GetId() }); i >= 0 {
			m.Alive = true
		}
		m.LastHeard = s.l.heard[node.GetId()]
		if id := node.GetRaftId(); id != 0 {
			peer, known := peers[id]
			delete(peers, id)
			m.Leader = id == s.r.id
			m.Voter, m.Learner = m.Leader || known && peer.Voter, known && !peer.Voter
			m.CaughtUp = m.Leader || known && peer.Active && peer.Lag <= caughtUpLag
			if m.Voter || m.Learner {
				m.Alive = m.Leader || peer.Active
			}
		}
		if m.Alive {
			m.LastHeard = now
			s.l.heard[node.GetId()] = now
		}
		p.Nodes = append(p.Nodes, m)
	}
	for _, peer := range status.Peers {
		if _, stray := peers[peer.ID]; stray {
			p.Strays = append(p.Strays, cluster.Stray{RaftID: peer.ID, Voter: peer.Voter, Alive: peer.Active})
		}
	}
	return p
}

func settings(s *registry.State) uint32 {
	c, _ := s.Cluster()
	return c.GetSettings().GetMasters()
}

// record is what the registry has of a node when it joins.
func (w *world) record(m *machine) *registry.Node {
	key := sha256.Sum256([]byte(m.id))
	role := registry.Node_AGENT
	if m.number < w.plan.eligible {
		role = registry.Node_AUTO
	}
	a := m.addresses()
	return &registry.Node{
		Id: &m.id, Name: &m.name, Role: &role, PeerAddress: a.Peer, MasterAddress: a.Master, AgentAddress: a.Agent,
		Version: proto.String(version), KeyHash: key[:], MayBeMaster: proto.Bool(role == registry.Node_AUTO),
	}
}

// formCluster is the operation of the first node.
func (w *world) formCluster(m *machine, raftID uint64) *registry.Op {
	node := w.record(m)
	node.RaftId = &raftID
	return &registry.Op{Op: &registry.Op_FormCluster{FormCluster: &registry.FormCluster{
		ClusterId: proto.String(clusterID), Time: proto.Int64(m.clock.read().UnixNano()), Node: node,
		Authority: &registry.Authority{Certificate: []byte("certificate"), Key: []byte("key")},
		Settings:  &registry.Settings{Masters: proto.Uint32(uint32(w.plan.masters))},
	}}}
}

// join asks to become a node of the cluster until that is so, then starts the node's parts. Whoever is
// asked and does not lead names the one that does.
func (p *process) join(to *machine) {
	w := p.machine.w
	if to == nil {
		to = pick(w, w.nodes[:w.plan.eligible])
	}
	again := func(string) { p.after(w.between(100*time.Millisecond, 2*time.Second), func() { p.join(nil) }) }
	p.ask(to, 5*time.Second, joinRequest{p.machine}, func(r response) {
		switch r.status {
		case 200:
			p.machine.node.joined = true
			p.machine.node.members = r.members
			p.begin()
		case 307:
			p.after(0, func() { p.join(r.location) })
		default:
			again("refused")
		}
	}, again)
}

// serveJoin admits a node, if this one leads.
func (p *process) serveJoin(e *end, from *machine) {
	l := p.lead
	if l == nil || !p.peer.leads(l.term) {
		p.redirect(e)
		return
	}
	now := p.machine.clock.read().UnixNano()
	op := &registry.Op{Op: &registry.Op_AdmitNode{AdmitNode: &registry.AdmitNode{Node: p.machine.w.record(from), Time: &now}}}
	p.peer.submit(op, func(r registry.Result, err error) {
		switch {
		case err != nil:
			e.send(response{status: 503})
		case r.Refused != "":
			p.machine.w.failf("%s may not join: %s", from.name, r.Refused)
		default:
			l.steward.tell()
			e.send(response{status: 200, members: l.steward.members.GetMembers()})
		}
	})
}

// takeMembers takes over what the leader says of the members, and of this node's own.
func (p *process) takeMembers(m *wire.Members) {
	d := p.machine.node
	d.members = m.GetMembers()
	id := m.GetRaftId()
	if p.peer != nil && p.peer.id == id || p.peer == nil && id == 0 {
		return
	}
	if p.peer != nil {
		p.machine.w.logf(p.machine.name, "no longer raft member %d", p.peer.id)
		p.peer.close()
		p.peer = nil
	}
	d.raft, d.raftID = nil, id
	if id != 0 {
		p.openMember(id)
	}
}
