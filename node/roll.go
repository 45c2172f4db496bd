package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/cluster"
	"clusterd/node/master"
	"clusterd/node/mesos"
	"clusterd/node/mesos/wire"
	"clusterd/node/trust"
	"clusterd/raft/registry"
)

const (
	// leastBeat is the time between two beats of a node in a small cluster; a leader of very many nodes
	// has each beat less often, so that all together beat at most beatsPerSecond times.
	leastBeat      = time.Second
	beatsPerSecond = 1000
)

// electionPatience is how long a node that asks for the leader is kept waiting while there is none. It is
// below greetingTime.
const electionPatience = 3 * time.Second

// roll is the list of the nodes that are in contact with the leading master.
type roll struct {
	mu        sync.Mutex
	calls     map[string]*attendance // by node id
	addresses map[string]string      // to the node that was reached there last
}

// attendance is one node's stream, as the leader sees it.
type attendance struct {
	node  string
	id    master.ConnID // of its agent's frames
	conn  *frameConn
	hello *wire.Hello
	beat  time.Duration

	mu    sync.Mutex
	heard time.Time
	skew  time.Duration // its clock less ours
	agent mesos.AgentID
	sent  uint64 // number of the newest Members
	raft  uint64 // raft id that it was told
	last  *wire.Beat
}

// presence is what the roll knows of a node that is or was in contact with this leader.
type presence struct {
	alive   bool
	heard   time.Time
	skew    time.Duration
	started time.Time
	lost    uint64 // the raft id whose log it has not any more
	// As of its newest beat; zero before that, and the latter two without a raft log.
	certificate        time.Time
	fsyncP50, fsyncP99 time.Duration
}

func newRoll() *roll {
	return &roll{calls: make(map[string]*attendance), addresses: make(map[string]string)}
}

// at names the node that is alive and reached at an address; empty if there is none.
func (r *roll) at(address string, now time.Time) string {
	r.mu.Lock()
	node := r.addresses[address]
	r.mu.Unlock()
	if here, ok := r.present(node, now); !ok || !here.alive {
		return ""
	}
	return node
}

// move notes where a node is reached, in place of where it was. It is called with the lock held.
func (r *roll) move(node string, from, to *wire.Addresses) {
	for _, address := range []string{from.GetPeer(), from.GetMaster(), from.GetAgent()} {
		if r.addresses[address] == node {
			delete(r.addresses, address)
		}
	}
	for _, address := range []string{to.GetPeer(), to.GetMaster(), to.GetAgent()} {
		if address != "" {
			r.addresses[address] = node
		}
	}
}

// present says what is known of a node; false if it never was in contact with this leader.
func (r *roll) present(node string, now time.Time) (presence, bool) {
	r.mu.Lock()
	a := r.calls[node]
	r.mu.Unlock()
	if a == nil {
		return presence{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p := presence{heard: a.heard, skew: a.skew, started: time.Unix(0, a.hello.GetStarted()), lost: a.hello.GetLostRaftId()}
	if t := a.last.GetCertificateExpires(); t != 0 {
		p.certificate = time.Unix(0, t)
	}
	p.fsyncP50, p.fsyncP99 = time.Duration(a.last.GetFsyncP50()), time.Duration(a.last.GetFsyncP99())
	p.alive = !a.conn.over() && now.Sub(a.heard) <= missedBeats*a.beat+time.Second
	return p, true
}

// all returns the streams that are open.
func (r *roll) all() []*attendance {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*attendance, 0, len(r.calls))
	for _, a := range r.calls {
		if !a.conn.over() {
			out = append(out, a)
		}
	}
	return out
}

// enter puts a node's newest stream in the place of an older one, which ends.
func (r *roll) enter(a *attendance) {
	r.mu.Lock()
	old := r.calls[a.node]
	r.calls[a.node] = a
	var before *wire.Addresses
	if old != nil {
		before = old.hello.GetAddresses()
	}
	r.move(a.node, before, a.hello.GetAddresses())
	r.mu.Unlock()
	if old != nil {
		old.conn.close(errors.New("the node has opened another stream"))
	}
}

// drop forgets a node that was removed, after telling it.
func (r *roll) drop(node, reason string) {
	r.mu.Lock()
	a := r.calls[node]
	delete(r.calls, node)
	if a != nil {
		r.move(node, a.hello.GetAddresses(), nil)
	}
	r.mu.Unlock()
	if a != nil {
		a.conn.send(&wire.ToNode{Message: &wire.ToNode_Refused{Refused: &wire.Refused{Reason: &reason, Final: proto.Bool(true)}}})
		a.conn.finish()
	}
}

// serveNode takes over a connection that a node opened to hold its stream. It returns when the first
// frames are exchanged and the rest is up to the leader, or when the connection is closed.
func (n *Node) serveNode(conn net.Conn, from trust.Identity, remote string) {
	answer, hello, err := n.receive(conn, from)
	if err == nil && answer == nil {
		// Whoever comes in the midst of an election hears of its outcome at once, and need not ask again.
		ctx, cancel := context.WithTimeout(n.ctx, electionPatience)
		n.watchLeader.await(ctx, n)
		cancel()
	}
	if err == nil {
		if l := n.acting(); answer == nil && l != nil {
			err = l.serveNode(conn, hello, remote)
		} else {
			if answer == nil {
				answer = n.redirect()
			}
			err = mesos.WriteFrame(conn, answer)
			_ = conn.Close()
		}
	}
	if err != nil {
		n.log.Debug("node's stream not taken", slog.String("node_id", from.NodeID), slog.String("remote", remote), slog.Any("error", err))
		_ = conn.Close()
	}
}

// receive reads a node's Hello and says why it is refused, if it is.
func (n *Node) receive(conn net.Conn, from trust.Identity) (refused *wire.ToNode, hello *wire.Hello, err error) {
	if err := conn.SetDeadline(time.Now().Add(greetingTime)); err != nil {
		return nil, nil, err
	}
	first := &wire.FromNode{}
	if err := mesos.ReadFrame(conn, first, maxGreetingBytes); err != nil {
		return nil, nil, err
	}
	hello = first.GetHello()
	refuse := func(final bool, format string, args ...any) (*wire.ToNode, *wire.Hello, error) {
		reason := fmt.Sprintf(format, args...)
		n.log.Warn("node refused", slog.String("node_id", from.NodeID), slog.String("reason", reason))
		return &wire.ToNode{Message: &wire.ToNode_Refused{Refused: &wire.Refused{Reason: &reason, Final: &final}}}, nil, nil
	}
	switch {
	case hello == nil:
		return nil, nil, fmt.Errorf("first frame is %T", first.GetMessage())
	case hello.GetNodeId() != from.NodeID:
		return refuse(false, "certificate of node %s, but a greeting of node %s", from.NodeID, hello.GetNodeId())
	case hello.GetClusterId() != from.ClusterID:
		return refuse(true, "this is cluster %s, not %s", n.identity().ClusterID, hello.GetClusterId())
	}
	if err := cluster.Compatible(Version, hello.GetVersion()); err != nil {
		return refuse(false, "%v", err)
	}
	n.moved.Store(hello.GetNodeId(), hello.GetAddresses())
	return nil, hello, nil
}

// redirect names the leader, as far as this node knows.
func (n *Node) redirect() *wire.ToNode {
	r := &wire.Redirect{Term: proto.Uint64(n.term.Load())}
	if to, ok := n.knownLeader(); ok && to.nodeID != n.identity().NodeID {
		r.Leader, r.Addresses = &to.nodeID, to.addresses
	}
	return &wire.ToNode{Message: &wire.ToNode_Redirect{Redirect: r}}
}

// serveNode enters a node that said Hello in the roll and serves its stream.
func (l *leader) serveNode(conn net.Conn, hello *wire.Hello, remote string) error {
	known, ok := l.registry().Node(hello.GetNodeId())
	if !ok {
		reason := fmt.Sprintf("node %s is not in the cluster any more", hello.GetNodeId())
		final := true
		if _, removed := l.registry().RemovedNode(hello.GetNodeId()); !removed {
			// A cluster that was restored, or a join that is not committed yet.
			reason, final = fmt.Sprintf("node %s is not known to the cluster", hello.GetNodeId()), false
		}
		err := mesos.WriteFrame(conn, &wire.ToNode{Message: &wire.ToNode_Refused{Refused: &wire.Refused{Reason: &reason, Final: &final}}})
		return errors.Join(err, ignoreClosed(conn.Close()))
	}
	now := time.Now()
	a := &attendance{
		node: hello.GetNodeId(), id: master.ConnID(l.front.handle()), hello: hello, beat: l.beat(), heard: now,
		skew: time.Unix(0, hello.GetTime()).Sub(now), raft: hello.GetRaftId(), agent: mesos.AgentID(known.GetAgentId().GetValue()),
	}
	welcome := &wire.Welcome{
		Term: &l.term, Leader: &l.self.nodeID, Addresses: l.self.addresses,
		Time: proto.Int64(now.UnixNano()), Beat: proto.Int64(int64(a.beat)),
	}
	if err := mesos.WriteFrame(conn, &wire.ToNode{Message: &wire.ToNode_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	ready := make(chan struct{})
	a.conn = newFrameConn(conn,
		func() *wire.FromNode { return new(wire.FromNode) },
		func(m *wire.FromNode) error {
			<-ready
			return l.fromNode(a, remote, m)
		},
		func(err error) {
			<-ready
			l.log.Debug("node's stream ended", slog.String("node_id", a.node), slog.String("remote", remote), slog.Any("error", err))
			l.mu.Lock()
			delete(l.conns, a.id)
			l.mu.Unlock()
			l.box.post(master.AgentDisconnected{Conn: a.id})
			l.steward.stir()
		})
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.conns[a.id] = a
	}
	l.mu.Unlock()
	if !closed {
		l.roll.enter(a)
		l.steward.met(a)
	}
	close(ready)
	if closed {
		a.conn.close(errStopped)
		a.conn.wait()
	}
	return nil
}

// beat is the time between two beats of one node.
func (l *leader) beat() time.Duration {
	return max(leastBeat, time.Duration(l.registry().NodeCount())*time.Second/beatsPerSecond)
}

// fromNode takes one frame of a node.
func (l *leader) fromNode(a *attendance, remote string, m *wire.FromNode) error {
	now := time.Now()
	a.mu.Lock()
	a.heard = now
	a.mu.Unlock()
	switch m := m.GetMessage().(type) {
	case *wire.FromNode_Agent:
		if r := m.Agent.GetRegister(); r != nil && !l.owns(a, mesos.AgentID(r.GetAgent().GetId().GetValue())) {
			id := r.GetAgent().GetId().GetValue()
			l.log.Warn("agent of another node refused", slog.String("agent_id", id), slog.String("node_id", a.node), slog.String("remote", remote))
			return fmt.Errorf("agent %s belongs to another node", id)
		}
		return l.box.offer(context.Background(), master.FromAgent{Conn: a.id, Remote: remote, Message: m.Agent})
	case *wire.FromNode_Beat:
		a.mu.Lock()
		a.skew, a.last = time.Unix(0, m.Beat.GetTime()).Sub(now), m.Beat
		a.mu.Unlock()
		a.conn.send(&wire.ToNode{Message: &wire.ToNode_Beat{Beat: &wire.Beat{
			Seq: m.Beat.Seq, Time: proto.Int64(now.UnixNano()), Answer: proto.Bool(true)}}})
		return nil
	case *wire.FromNode_Renew:
		return l.steward.renew(a, m.Renew)
	}
	return fmt.Errorf("a frame of kind %T in the midst of a stream", m.GetMessage())
}

// owns says whether an agent is that of the node, as far as is known: one that was never heard of may be
// anyone's. A node has one agent at a time, and a wiped one leaves its old behind.
func (l *leader) owns(a *attendance, id mesos.AgentID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	owner, known := l.owners[id]
	return !known || owner == a.node
}

// sendAgent writes a frame for the agent of a node, and learns the id that the agent is given.
func (l *leader) sendAgent(conn master.ConnID, m *wire.ToAgent) {
	a := l.conn(conn)
	if a == nil {
		return
	}
	if r := m.GetRegistered(); r != nil {
		id := mesos.AgentID(r.GetAgentId().GetValue())
		l.mu.Lock()
		l.owners[id] = a.node
		l.mu.Unlock()
		a.mu.Lock()
		news := a.agent != id
		a.agent = id
		a.mu.Unlock()
		if news {
			l.steward.met(a)
		}
	}
	a.conn.send(&wire.ToNode{Message: &wire.ToNode_Agent{Agent: m}})
}

// registry is the replicated state as it is now.
func (l *leader) registry() *registry.State { return l.steward.m.machine.View() }

// nodeOf is the node of an agent.
func (l *leader) nodeOf(id mesos.AgentID) (*registry.Node, bool) {
	for _, node := range l.registry().Nodes() {
		if node.GetAgentId().GetValue() == string(id) {
			return node, true
		}
	}
	return nil, false
}
