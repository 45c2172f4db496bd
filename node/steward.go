package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/cluster"
	"clusterd/node/mesos/wire"
	"clusterd/node/trust"
	"clusterd/raft"
	"clusterd/raft/registry"
)

const (
	// stewardInterval is the longest time between two looks at the cluster's members.
	stewardInterval = time.Second
	// stewardPause is the least for each node, so that a great many do not keep the leader busy with it.
	stewardPause = 20 * time.Microsecond
	// stepTime is how long one change of members may take.
	stepTime = 10 * time.Second
)

// steward is the leading master's care for the cluster's own members: it lets nodes in, tells all of
// them who the members are, keeps the number of voters, and signs certificates. What is to be done is
// decided by package cluster; the steward carries it out.
type steward struct {
	n     *Node
	m     *member
	l     *leader
	since time.Time
	log   *slog.Logger
	wake  chan struct{}

	// Of the loop.
	seen     uint64 // registry index of the newest look at the members
	members  *wire.Members
	version  uint64 // counts the changes of members
	planner  cluster.Planner
	lastWhy  string
	lastFail string

	mu      sync.Mutex
	limiter *cluster.Limiter
	issuing *trust.Authority       // as read from the registry, nil before that
	news    map[string]*attendance // nodes whose record may be out of date
}

func newSteward(n *Node, m *member, now time.Time) *steward {
	return &steward{n: n, m: m, since: now, log: n.log, wake: make(chan struct{}, 1), limiter: cluster.NewLimiter(), news: make(map[string]*attendance)}
}

// stir makes the steward look soon.
func (s *steward) stir() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// met says that a node has opened a stream.
func (s *steward) met(a *attendance) {
	s.mu.Lock()
	s.news[a.node] = a
	s.mu.Unlock()
	s.stir()
}

// run works until the leader is closed.
func (s *steward) run(ctx context.Context) {
	for ctx.Err() == nil {
		now := time.Now()
		s.refresh(ctx)
		s.look()
		s.tell()
		next := s.act(ctx, now)
		s.prune(ctx, now)
		wait := stewardInterval
		if !next.IsZero() {
			wait = min(wait, max(0, time.Until(next)))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.wake:
			pause(ctx, max(10*time.Millisecond, time.Duration(s.registry().NodeCount())*stewardPause))
		case <-timer.C:
		}
		timer.Stop()
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (s *steward) registry() *registry.State { return s.m.machine.View() }

// refresh writes down what nodes say of themselves where the registry has something else.
func (s *steward) refresh(ctx context.Context) {
	s.mu.Lock()
	news := s.news
	s.news = make(map[string]*attendance)
	s.mu.Unlock()
	var waiting sync.WaitGroup
	for _, a := range news {
		known, ok := s.registry().Node(a.node)
		if !ok {
			continue
		}
		next := a.describe(known)
		if proto.Equal(known, next) {
			continue
		}
		op := &registry.Op{Op: &registry.Op_UpdateNode{UpdateNode: &registry.UpdateNode{Node: next}}}
		waiting.Add(1)
		err := s.m.submit(ctx, op, func(r registry.Result, err error) {
			defer waiting.Done()
			if err == nil && r.Refused != "" {
				err = &refusedError{r.Refused}
			}
			if err != nil && ctx.Err() == nil {
				s.log.Warn("node's new particulars not recorded", slog.String("node_id", a.node), slog.Any("error", err))
			}
		})
		if err != nil {
			waiting.Done()
			s.log.Warn("node's new particulars not recorded", slog.String("node_id", a.node), slog.Any("error", err))
		}
	}
	waiting.Wait()
}

// describe is the record of a node with what it says of itself now.
func (a *attendance) describe(known *registry.Node) *registry.Node {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := proto.CloneOf(known)
	next.Version, next.PeerAddress, next.MasterAddress = a.hello.Version, a.hello.Addresses.Peer, a.hello.Addresses.Master
	next.AgentAddress = a.hello.Addresses.Agent
	if a.hello.Name != nil {
		next.Name = a.hello.Name
	}
	next.Domain = a.hello.Domain
	if a.agent != "" {
		next.AgentId = a.agent.Proto()
	}
	return next
}

// look finds out whether the members have changed.
func (s *steward) look() {
	state := s.registry()
	if s.members != nil && state.Index() == s.seen {
		return
	}
	s.seen = state.Index()
	s.m.meet(state)
	now := s.roster(state)
	if s.members != nil {
		before := proto.CloneOf(s.members)
		before.Index = now.Index
		if proto.Equal(before, now) {
			return
		}
	}
	s.members = now
	s.version++
}

// roster is what all nodes are told, but for each one's own raft id.
func (s *steward) roster(state *registry.State) *wire.Members {
	out := &wire.Members{Index: proto.Uint64(state.Index())}
	voters := s.m.peer.Status().Voters
	for _, node := range state.RaftNodes() {
		at := nodeAt(node)
		out.Members = append(out.Members, &wire.Member{
			NodeId: node.Id, Name: node.Name, Addresses: at.addresses, RaftId: node.RaftId, Voter: proto.Bool(slices.Contains(voters, node.GetRaftId())),
		})
	}
	if c, ok := state.Cluster(); ok {
		for _, a := range c.GetAuthorities() {
			out.Authorities = append(out.Authorities, a.GetCertificate())
		}
	}
	for _, r := range state.RemovedNodes() {
		out.Removed = append(out.Removed, r.GetNodeId())
	}
	return out
}

// tell sends the members to every node that has not been told of them yet.
func (s *steward) tell() {
	state := s.registry()
	for _, a := range s.l.roll.all() {
		node, ok := state.Node(a.node)
		if !ok {
			s.l.roll.drop(a.node, "the node was removed from the cluster")
			continue
		}
		a.mu.Lock()
		fresh := a.sent == s.version && a.raft == node.GetRaftId()
		a.sent, a.raft = s.version, node.GetRaftId()
		a.mu.Unlock()
		if fresh {
			continue
		}
		m := proto.CloneOf(s.members)
		m.RaftId = node.RaftId
		a.conn.send(&wire.ToNode{Message: &wire.ToNode_Members{Members: m}})
	}
	s.m.refuse(state)
}

// refuse ends the connections of raft members that are none any more.
func (m *member) refuse(state *registry.State) {
	for _, p := range m.peer.Status().Peers {
		if _, ok := state.NodeByRaftID(p.ID); !ok {
			m.network.Drop(p.ID)
		}
	}
}

// act takes the next step towards the members that the cluster should have.
func (s *steward) act(ctx context.Context, now time.Time) time.Time {
	step, next := s.planner.Plan(now, s.picture(now))
	if step.Why != s.lastWhy && step.Kind != cluster.None {
		s.log.Info("changing the masters", slog.String("step", step.Kind.String()), slog.String("node_id", step.NodeID), slog.String("reason", step.Why))
	}
	s.lastWhy = step.Why
	if step.Kind == cluster.None {
		return next
	}
	within, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	raftID, err := s.take(within, step)
	s.planner.Done(time.Now(), step, raftID, err)
	s.stir()
	switch {
	case err == nil:
		s.lastFail = ""
	case ctx.Err() == nil && err.Error() != s.lastFail:
		s.lastFail = err.Error()
		s.log.Warn("masters not changed", slog.String("step", step.Kind.String()), slog.String("node_id", step.NodeID), slog.Any("error", err))
	}
	return time.Time{}
}

// take carries out one step. It returns the raft id that Assign has given.
func (s *steward) take(ctx context.Context, step cluster.Step) (uint64, error) {
	change := func(kind raft.ChangeKind) (uint64, error) {
		return 0, s.m.peer.Change(ctx, raft.MemberChange{Kind: kind, ID: step.RaftID})
	}
	switch step.Kind {
	case cluster.Assign:
		r, err := s.m.propose(ctx, &registry.Op{Op: &registry.Op_AssignRaftId{AssignRaftId: &registry.AssignRaftID{NodeId: &step.NodeID}}})
		return r.RaftID, err
	case cluster.Release:
		_, err := s.m.propose(ctx, &registry.Op{Op: &registry.Op_ReleaseRaftId{ReleaseRaftId: &registry.ReleaseRaftID{NodeId: &step.NodeID}}})
		return 0, err
	case cluster.AddLearner:
		return change(raft.AddLearner)
	case cluster.Promote:
		return change(raft.Promote)
	case cluster.Demote:
		return change(raft.Demote)
	case cluster.Remove:
		return change(raft.Remove)
	case cluster.Transfer:
		return 0, s.m.peer.Transfer(ctx, step.RaftID)
	}
	return 0, errors.New("step " + step.Kind.String() + " is unknown")
}

// picture is what the leader sees of the nodes now.
func (s *steward) picture(now time.Time) cluster.Picture {
	state, status := s.registry(), s.m.peer.Status()
	p := cluster.Picture{
		Masters: s.masters(state), ReplaceAfter: s.n.config.MasterReplaceAfter, Since: s.since, Requires: state.Requires(),
	}
	peers := make(map[uint64]raft.PeerStatus)
	for _, peer := range status.Peers {
		peers[peer.ID] = peer
	}
	for _, node := range state.Nodes() {
		m := cluster.Member{Node: node}
		here, ok := s.l.roll.present(node.GetId(), now)
		if ok {
			m.Alive, m.LastHeard = here.alive, here.heard
		}
		if id := node.GetRaftId(); id != 0 {
			peer, known := peers[id]
			delete(peers, id)
			m.Leader = id == s.m.id
			m.Voter, m.Learner = m.Leader || known && peer.Voter, known && !peer.Voter
			m.CaughtUp = m.Leader || known && peer.Active && peer.Lag <= caughtUpLag
			m.Lost = ok && here.lost == id
			switch {
			case m.Voter:
				m.Alive = m.Leader || peer.Active
			case m.Learner: // raft has not heard of one that is only just beginning its log
				m.Alive = m.Alive || peer.Active
			}
		}
		if m.Alive {
			m.LastHeard = now
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

// caughtUpLag is how many entries a learner that is as good as level may lack.
const caughtUpLag = 100

func (s *steward) masters(state *registry.State) int {
	if c, ok := state.Cluster(); ok && c.GetSettings().GetMasters() > 0 {
		return int(c.GetSettings().GetMasters())
	}
	return s.n.config.Masters
}

// prune forgets removed nodes of which no certificate is good any more, and an old authority likewise.
func (s *steward) prune(ctx context.Context, now time.Time) {
	for _, id := range cluster.Forgettable(now, s.registry()) {
		op := &registry.Op{Op: &registry.Op_ForgetRemovedNode{ForgetRemovedNode: &registry.ForgetRemovedNode{NodeId: &id}}}
		if _, err := s.m.propose(ctx, op); err != nil {
			return // the next leader will do it, or this one later
		}
	}
	if err := s.retireAuthorities(ctx, now); err != nil && ctx.Err() == nil {
		s.log.Warn("old certificate authority not retired", slog.Any("error", err))
	}
}

// sameCertificates says whether two lists hold the same certificates in the same order.
func sameCertificates(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }
