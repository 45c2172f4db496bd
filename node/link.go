package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	"clusterd/node/mesos/wire"
	"clusterd/node/trust"
)

const (
	// greetingTime is how long the first frames of a stream may take.
	greetingTime = 5 * time.Second
	// maxGreetingBytes bounds them.
	maxGreetingBytes = 1 << 20
	// missedBeats in a row mean that the other side is gone, though its connection is not.
	missedBeats = 3
	// looksPerBeat is how often within a beat a node looks whether the leader has fallen silent.
	looksPerBeat = 4
	// firstRetry and lastRetry bound the pause before the next try to reach the leader (CLU-60, EXE-168).
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
	// steady is how long a stream must have lasted to count as a success.
	steady = 10 * time.Second
)

// whereabouts is where a node is reached.
type whereabouts struct {
	nodeID    string
	addresses *wire.Addresses
}

// link is this node's one stream to the leading master.
type link struct {
	conn   *frameConn
	leader whereabouts
	term   uint64
	beat   time.Duration
	heard  atomic.Int64 // Unix nanoseconds of the newest frame
	ended  chan struct{}
}

// send queues a frame of the agent.
func (l *link) send(m *wire.FromAgent) {
	l.conn.send(&wire.FromNode{Message: &wire.FromNode_Agent{Agent: m}})
}

func (l *link) close(why error) { l.conn.close(why) }

// rejection is the leader's word that the stream is not to be: final if nothing will change it.
type rejection struct {
	reason string
	final  bool
	quiet  bool // it was said often enough
}

func (r *rejection) Error() string { return r.reason }

// redirection names another node as the leader, or none.
type redirection struct{ to whereabouts }

func (r *redirection) Error() string {
	if r.to.nodeID == "" {
		return "no master leads at this moment"
	}
	return "node " + r.to.nodeID + " leads"
}

// follow keeps the node on a stream to the leading master, wherever that is, until the node ends.
func (n *Node) follow() {
	search := &search{n: n}
	wait := time.Duration(0)
	for n.ctx.Err() == nil {
		began := time.Now()
		err := n.followOnce(search)
		var refused *rejection
		if errors.As(err, &refused) && refused.final {
			n.dismissed(refused.reason)
			return
		}
		if time.Since(began) > steady {
			wait = 0
		}
		n.log.Debug("no stream to the leading master", "error", err)
		if err != nil {
			n.lost.Store(err.Error())
		}
		n.complain(err)
		var moved *redirection
		if errors.As(err, &moved) && moved.to.nodeID != "" && search.moved <= maxMoves {
			continue // ask there at once
		}
		// Random and growing, so that many nodes do not come back at the same instant.
		wait = min(wait*3/2+firstRetry, lastRetry)
		n.wait(wait/2 + jitter(wait/2))
	}
}

// complain tells an operator, now and then, of what will not mend itself.
func (n *Node) complain(err error) {
	var refused *rejection
	told := errors.As(err, &refused)
	if !told && !trust.Refused(err) || time.Since(n.complained) < time.Minute {
		return
	}
	n.complained = time.Now()
	if told {
		n.log.Warn("the leading master does not take this node", "reason", refused.reason)
		return
	}
	n.log.Warn("a master refuses the certificate of this node: was the node removed from the cluster? To join again, run clusterd join with an empty --data-dir", "error", err)
}

// wait lets time pass before the next try. A master need not wait longer than until it knows a leader.
func (n *Node) wait(d time.Duration) {
	ctx, cancel := context.WithTimeout(n.ctx, d)
	defer cancel()
	if n.member.Load() == nil || n.leaderIsKnown() {
		<-ctx.Done()
		return
	}
	n.watchLeader.await(ctx, n)
}

func (n *Node) followOnce(search *search) error {
	conn, to, err := search.dial(n.ctx)
	if err != nil {
		return err
	}
	l, err := n.greet(conn, to)
	if err != nil {
		var moved *redirection
		if errors.As(err, &moved) {
			search.hint = moved.to
			search.moved++
		}
		return errors.Join(err, ignoreClosed(conn.Close()))
	}
	search.hint, search.moved = l.leader, 0
	n.attach(l)
	err = n.keep(l)
	n.detach(l)
	if errors.Is(err, errSilent) {
		search.silent = l.leader.nodeID
	}
	return err
}

// errSilent ends a stream on which nothing comes any more.
var errSilent = errors.New("the leading master is silent")

// ignoreClosed drops the error of closing what is closed already.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// search looks for the leading master.
type search struct {
	n      *Node
	hint   whereabouts // named by the last node that was asked
	moved  int         // how often in a row another node was named
	silent string      // node id of a leader that has fallen silent: the last to be asked again
	next   int         // in the list of members
}

const (
	// dialStagger is how long a dial is alone before the next node is dialled too: one that is cut off
	// answers nothing at all.
	dialStagger = 300 * time.Millisecond
	maxDials    = 4
	// maxMoves is how often in a row a node is believed that names another as the leader. Two that are
	// both out of date may name each other.
	maxMoves = 3
)

// dial connects to the node that leads, as far as this one knows, or to one that may know.
func (s *search) dial(ctx context.Context) (net.Conn, whereabouts, error) {
	n := s.n
	if n.leading.Load() != nil {
		ours, theirs := net.Pipe()
		n.wg.Go(func() { n.serveNode(theirs, n.credentials.Identity(), n.host.ip) })
		return ours, n.self(), nil
	}
	all := s.candidates()
	if len(all) == 0 {
		return nil, whereabouts{}, errors.New("no other node is known")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		conn net.Conn
		to   whereabouts
		err  error
	}
	outcomes := make(chan outcome, len(all))
	var errs []error
	begun, ended := 0, 0
	begin := func() {
		to := all[begun]
		begun++
		n.wg.Go(func() {
			conn, err := n.dialNode(ctx, to.nodeID, to.addresses.GetPeer(), trust.ProtocolNode)
			outcomes <- outcome{conn, to, err}
		})
	}
	begin()
	stagger := time.NewTicker(dialStagger)
	defer stagger.Stop()
	for {
		select {
		case <-stagger.C:
			if begun < len(all) {
				begin()
			}
		case o := <-outcomes:
			ended++
			if o.err == nil {
				n.wg.Go(func() { // those that come too late
					for range begun - ended {
						if late := <-outcomes; late.conn != nil {
							_ = late.conn.Close()
						}
					}
				})
				return o.conn, o.to, nil
			}
			errs = append(errs, o.err)
			if begun < len(all) {
				begin()
			} else if ended == begun {
				return nil, whereabouts{}, errors.Join(errs...)
			}
		}
	}
}

// candidates are the nodes to ask, the best first. What the last node that was asked has said is newer than
// what this node's own raft member knows: one that was removed from the group keeps the last leader that
// it had in mind for ever.
func (s *search) candidates() []whereabouts {
	var all []whereabouts
	add := func(w whereabouts) {
		known := slices.ContainsFunc(all, func(o whereabouts) bool { return o.nodeID == w.nodeID })
		if w.nodeID != "" && w.nodeID != s.n.identity().NodeID && w.nodeID != s.silent && !known {
			all = append(all, w)
		}
	}
	if s.moved > maxMoves {
		s.moved, s.hint = 0, whereabouts{} // ask anybody
	} else {
		if s.moved > 0 {
			add(s.hint)
		}
		if known, ok := s.n.knownLeader(); ok {
			add(known)
		}
		add(s.hint)
	}
	members := s.n.identity().Members
	s.next++
	for i := range members {
		c := members[(s.next+i)%len(members)]
		add(whereabouts{nodeID: c.NodeID, addresses: &wire.Addresses{Peer: &c.Peer}})
	}
	if silent := s.silent; silent != "" {
		s.silent, s.hint = "", whereabouts{}
		if len(all) < maxDials {
			if i := slices.IndexFunc(members, func(c contact) bool { return c.NodeID == silent }); i >= 0 {
				add(whereabouts{nodeID: silent, addresses: &wire.Addresses{Peer: &members[i].Peer}})
			}
		}
	}
	return all[:min(len(all), maxDials)]
}

// greet says who we are and learns whether the other side leads.
func (n *Node) greet(conn net.Conn, to whereabouts) (*link, error) {
	if err := conn.SetDeadline(time.Now().Add(greetingTime)); err != nil {
		return nil, err
	}
	if err := mesos.WriteFrame(conn, &wire.FromNode{Message: &wire.FromNode_Hello{Hello: n.hello()}}); err != nil {
		return nil, fmt.Errorf("greet %s: %w", to.nodeID, err)
	}
	first := &wire.ToNode{}
	if err := mesos.ReadFrame(conn, first, maxGreetingBytes); err != nil {
		return nil, fmt.Errorf("greet %s: %w", to.nodeID, err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	switch m := first.GetMessage().(type) {
	case *wire.ToNode_Welcome:
		return n.welcomed(conn, m.Welcome)
	case *wire.ToNode_Redirect:
		r := &redirection{}
		if id := m.Redirect.GetLeader(); id != "" && id != to.nodeID {
			r.to = whereabouts{id, m.Redirect.GetAddresses()}
		}
		return nil, r
	case *wire.ToNode_Refused:
		return nil, &rejection{reason: m.Refused.GetReason(), final: m.Refused.GetFinal()}
	}
	return nil, fmt.Errorf("greet %s: its first frame is %T", to.nodeID, first.GetMessage())
}

// welcomed makes the link. A leader of an older term than one that was seen does not lead any more
// (CLU-33).
func (n *Node) welcomed(conn net.Conn, w *wire.Welcome) (*link, error) {
	for {
		seen := n.term.Load()
		if w.GetTerm() < seen {
			return nil, fmt.Errorf("node %s leads in term %d, but term %d has begun", w.GetLeader(), w.GetTerm(), seen)
		}
		if n.term.CompareAndSwap(seen, w.GetTerm()) {
			break
		}
	}
	l := &link{
		leader: whereabouts{w.GetLeader(), w.GetAddresses()}, term: w.GetTerm(),
		beat: max(time.Duration(w.GetBeat()), 100*time.Millisecond), ended: make(chan struct{}),
	}
	l.heard.Store(time.Now().UnixNano())
	ready := make(chan struct{})
	l.conn = newFrameConn(conn,
		func() *wire.ToNode { return new(wire.ToNode) },
		func(m *wire.ToNode) error {
			<-ready
			l.heard.Store(time.Now().UnixNano())
			return n.fromLeader(m)
		},
		func(error) { close(l.ended) })
	close(ready)
	return l, nil
}

func (n *Node) hello() *wire.Hello {
	id := n.identity()
	h := &wire.Hello{
		ClusterId: &id.ClusterID, NodeId: &id.NodeID, Version: proto.String(Version), Addresses: n.host.wire(),
		Term: proto.Uint64(n.term.Load()), Time: proto.Int64(time.Now().UnixNano()), Started: proto.Int64(n.started.UnixNano()),
		Name: &id.Name, Domain: n.domain,
	}
	if m := n.member.Load(); m != nil {
		h.RaftId = proto.Uint64(m.id)
	}
	if id.LostRaftID != 0 {
		h.LostRaftId = &id.LostRaftID
	}
	return h
}

// keep beats until the link ends, and ends it when the leader falls silent.
func (n *Node) keep(l *link) error {
	tick := time.NewTicker(l.beat / looksPerBeat)
	defer tick.Stop()
	for look := uint64(0); ; look++ {
		if look%looksPerBeat == 0 {
			l.conn.send(&wire.FromNode{Message: &wire.FromNode_Beat{Beat: n.beat(look/looksPerBeat + 1)}})
		}
		select {
		case <-l.ended:
			return l.conn.reason()
		case <-n.ctx.Done():
			l.close(errStopped)
			<-l.ended
			return errStopped
		case <-tick.C:
		}
		if silent := time.Since(time.Unix(0, l.heard.Load())); silent > missedBeats*l.beat {
			l.close(fmt.Errorf("%w: node %s for %v", errSilent, l.leader.nodeID, silent.Round(time.Millisecond)))
			<-l.ended
			return l.conn.reason()
		}
	}
}

// fewWrites are too few to tell of a disk's speed.
const fewWrites = 100

// beat says that this node lives, and how it is.
func (n *Node) beat(seq uint64) *wire.Beat {
	b := &wire.Beat{
		Seq: &seq, Time: proto.Int64(time.Now().UnixNano()),
		CertificateExpires: proto.Int64(n.credentials.NotAfter().UnixNano()),
	}
	if m := n.member.Load(); m != nil {
		fsync := m.peer.Status().FsyncLatency
		if fsync.Count < fewWrites {
			return b // one slow write would be the slowest of a hundred
		}
		b.FsyncP50, b.FsyncP99 = proto.Int64(int64(fsync.P50)), proto.Int64(int64(fsync.P99))
	}
	return b
}

// attach makes the link the node's own.
func (n *Node) attach(l *link) {
	n.linked.Store(l)
	if l.leader.nodeID != n.identity().NodeID {
		n.hub.Reconnect() // pages are answered there from now on
		n.log.Info("following the leading master", slog.String("node_id", l.leader.nodeID), slog.String("address", l.leader.addresses.GetPeer()), slog.Uint64("term", l.term))
	}
	if n.agent != nil {
		n.agent.attach(l)
	}
}

func (n *Node) detach(l *link) {
	n.linked.CompareAndSwap(l, nil)
	if n.agent != nil {
		n.agent.detach(l)
	}
	l.conn.wait()
}

// fromLeader takes one frame of the leading master.
func (n *Node) fromLeader(m *wire.ToNode) error {
	switch m := m.GetMessage().(type) {
	case *wire.ToNode_Agent:
		if n.agent == nil {
			return errors.New("a frame for the agent, of which this node has none")
		}
		return n.agent.fromMaster(m.Agent)
	case *wire.ToNode_Beat: // the time of arrival is all that counts
	case *wire.ToNode_Members:
		return n.takeMembers(m.Members)
	case *wire.ToNode_Renewed:
		return n.renewed(m.Renewed)
	case *wire.ToNode_Refused:
		return &rejection{reason: m.Refused.GetReason(), final: m.Refused.GetFinal()}
	}
	return nil
}

// takeMembers takes over what the leader says of the others, and of this node's own raft member.
func (n *Node) takeMembers(m *wire.Members) error {
	n.credentials.Refuse(m.GetRemoved())
	n.peers.refuse(m.GetRemoved())
	if err := n.takeAuthorities(m.GetAuthorities()); err != nil {
		return err
	}
	n.members.Store(m)
	if err := n.changeIdentity(func(id *identity) bool { return id.know(m.GetMembers()) }); err != nil {
		return err
	}
	n.wantMember(m.GetRaftId())
	return nil
}
