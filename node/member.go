package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"clusterd/node/api"
	"clusterd/node/mesos/wire"
	"clusterd/node/trust"
	"clusterd/raft"
	"clusterd/raft/registry"
)

const (
	// raftName is the directory of the raft member below the data directory.
	raftName = "raft"
	// releasedName is where the files of a member go that is none any more, in place of those before.
	releasedName = "raft.released"
)

// member is this node's raft member, while it has one: the registry, and the chance to lead.
type member struct {
	id      uint64
	machine *registry.Machine
	peer    *raft.Peer
	network *raft.Network
	oldest  atomic.Pointer[registry.Node] // the master of the oldest version, as the leader knows it
	wg      sync.WaitGroup
}

// openMember opens the files of a raft member, or begins with an empty log that the leader fills.
func (n *Node) openMember(id uint64, join bool) error {
	m := &member{id: id, machine: registry.NewMachine(Version)}
	m.network = raft.NewNetwork(raft.NetworkConfig{ID: id, Dial: n.dialMember, Logger: n.log})
	var err error
	m.peer, err = raft.Open(raft.Config{
		Dir: filepath.Join(n.config.DataDir, raftName), ID: id, Join: join, Transport: m.network, Logger: n.log,
	}, m.machine)
	if err != nil {
		if errors.Is(err, raft.ErrLocked) {
			err = fmt.Errorf("--data-dir: %s is in use by another clusterd", n.config.DataDir)
		}
		return errors.Join(err, m.network.Close())
	}
	m.network.Attach(m.peer)
	n.member.Store(m)
	m.wg.Go(func() { n.lead(m) })
	return nil
}

// resumeMember opens the raft member that this node is, if it is one. One whose files are gone must not
// begin anew under the same id: the leader gives it another.
func (n *Node) resumeMember() error {
	id := n.identity()
	if id.RaftID == 0 {
		return nil
	}
	dir := filepath.Join(n.config.DataDir, raftName)
	if n.fresh == nil && !exists(filepath.Join(dir, "log.db")) {
		n.log.Warn("the files of this node's raft member are gone: it will become another", slog.String("directory", dir), slog.Uint64("raft_id", id.RaftID))
		return n.changeIdentity(func(i *identity) bool { i.RaftID, i.LostRaftID = 0, id.RaftID; return true })
	}
	if err := n.openMember(id.RaftID, false); err != nil {
		return err
	}
	return n.revive(n.member.Load())
}

// close ends the member and what it leads, and waits for both.
func (m *member) close() error {
	// The network first: nobody is to be told anything by a peer that ends.
	err := errors.Join(m.network.Close(), m.peer.Close())
	m.wg.Wait()
	return err
}

// propose has one operation committed and returns its result.
func (m *member) propose(ctx context.Context, op *registry.Op) (registry.Result, error) {
	data, err := m.encode(op)
	if err != nil {
		return registry.Result{}, err
	}
	_, result, err := m.peer.Propose(ctx, data)
	if err != nil {
		return registry.Result{}, err
	}
	r := result.(registry.Result)
	if r.Refused != "" {
		return r, &refusedError{r.Refused}
	}
	return r, nil
}

// refusedError is an operation that does not fit the registry.
type refusedError struct{ reason string }

func (e *refusedError) Error() string { return e.reason }

// encode is the log entry of an operation. One that a master of an older version would not know is not
// proposed: that master would have to stop (CLU-38).
func (m *member) encode(op *registry.Op) ([]byte, error) {
	if oldest := m.oldest.Load(); oldest != nil {
		if needs := registry.Needs(op); registry.CompareVersions(oldest.GetVersion(), needs) < 0 {
			return nil, fmt.Errorf("this needs clusterd %s or newer on every master, but node %s runs %s", needs, oldest.GetName(), oldest.GetVersion())
		}
	}
	return registry.Encode(op)
}

// meet notes the master of the oldest version.
func (m *member) meet(state *registry.State) {
	var oldest *registry.Node
	for _, node := range state.Nodes() {
		if node.GetRaftId() != 0 && (oldest == nil || registry.CompareVersions(node.GetVersion(), oldest.GetVersion()) < 0) {
			oldest = node
		}
	}
	m.oldest.Store(oldest)
}

// submit is propose for the leading master's core: ended is told the outcome. An error means that the
// operation was not taken.
func (m *member) submit(ctx context.Context, op *registry.Op, ended func(registry.Result, error)) error {
	data, err := m.encode(op)
	if err != nil {
		return err
	}
	return m.peer.Submit(ctx, data, func(_ uint64, result any, err error) {
		if err != nil {
			ended(registry.Result{}, err)
			return
		}
		ended(result.(registry.Result), nil)
	})
}

// wantMember says which raft member this node is to run; 0 is none. The newest wish counts.
func (n *Node) wantMember(id uint64) {
	select {
	case <-n.wanted:
	default:
	}
	select {
	case n.wanted <- id:
	default: // another goroutine was faster, with what the same leader said
	}
}

// tendMember starts and ends the raft member as the leader wishes, until the node ends.
func (n *Node) tendMember() {
	for {
		select {
		case <-n.ctx.Done():
			return
		case id := <-n.wanted:
			if err := n.changeMember(id); err != nil {
				n.fail(fmt.Errorf("raft member %d: %w", id, err))
				return
			}
		}
	}
}

func (n *Node) changeMember(id uint64) error {
	m := n.member.Load()
	if m != nil && m.id == id || m == nil && (id == 0 || id == n.identity().LostRaftID) {
		return nil
	}
	if m != nil {
		n.log.Info("no longer a raft member", slog.Uint64("raft_id", m.id))
		n.member.Store(nil)
		if err := m.close(); err != nil {
			return err
		}
	}
	if err := n.releaseFiles(); err != nil {
		return err
	}
	if err := n.changeIdentity(func(i *identity) bool { i.RaftID, i.LostRaftID = id, 0; return true }); err != nil {
		return err
	}
	if id == 0 {
		return nil
	}
	n.log.Info("becoming a raft member", slog.Uint64("raft_id", id))
	return n.openMember(id, true)
}

// releaseFiles puts the files of an ended raft member aside: nothing may be built on them any more,
// but an operator who has lost all other masters would be glad of them.
func (n *Node) releaseFiles() error {
	dir, aside := filepath.Join(n.config.DataDir, raftName), filepath.Join(n.config.DataDir, releasedName)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := os.Rename(dir, aside); err != nil {
		return err
	}
	return syncDir(n.config.DataDir)
}

// dialMember connects to another raft member.
func (n *Node) dialMember(ctx context.Context, to uint64) (net.Conn, error) {
	w, ok := n.memberAt(to)
	if !ok {
		return nil, fmt.Errorf("raft member %d is not known to this node", to)
	}
	// A member that has moved cannot tell the registry before there is a quorum, perhaps not without itself;
	// and one that was away meanwhile does not hear of it by the registry when the other leads, because it
	// cannot answer that one. So its own word, if it called here, and the leader's are tried as well (CLU-36).
	// By chance, not in turn: dials of several members would take turns too.
	known := []*wire.Addresses{w.addresses}
	if moved, ok := n.moved.Load(w.nodeID); ok {
		known = append(known, moved.(*wire.Addresses))
	}
	for _, o := range n.members.Load().GetMembers() {
		if o.GetNodeId() == w.nodeID {
			known = append(known, o.GetAddresses())
		}
	}
	w.addresses = known[rand.IntN(len(known))]
	return n.dialNode(ctx, w.nodeID, w.addresses.GetPeer(), trust.ProtocolRaft)
}

// memberAt is the node of a raft member: by this node's own registry, or, while that is still empty, by
// what the leader has said.
func (n *Node) memberAt(raftID uint64) (whereabouts, bool) {
	if m := n.member.Load(); m != nil {
		if node, ok := m.machine.View().NodeByRaftID(raftID); ok {
			return nodeAt(node), true
		}
	}
	for _, o := range n.members.Load().GetMembers() {
		if o.GetRaftId() == raftID {
			return whereabouts{o.GetNodeId(), o.GetAddresses()}, true
		}
	}
	return whereabouts{}, false
}

// serveRaft gives an accepted connection of another raft member to the network. Only the node of a
// present member may speak for it.
func (n *Node) serveRaft(conn net.Conn, from trust.Identity) {
	m := n.member.Load()
	if m == nil || from.Role != trust.RoleMaster {
		_ = conn.Close()
		return
	}
	if node, ok := m.machine.View().Node(from.NodeID); ok && node.GetRaftId() != 0 {
		m.network.Serve(conn, node.GetRaftId())
		return
	}
	for _, o := range n.members.Load().GetMembers() {
		if o.GetNodeId() == from.NodeID {
			m.network.Serve(conn, o.GetRaftId())
			return
		}
	}
	n.log.Debug("raft connection refused: not a member", slog.String("node_id", from.NodeID))
	_ = conn.Close()
}

// knownLeader is the node that leads as far as this one knows.
func (n *Node) knownLeader() (whereabouts, bool) {
	if m := n.member.Load(); m != nil {
		if leader := m.peer.Status().Leader; leader != 0 {
			return n.memberAt(leader)
		}
		// Its own vote is needed for another: what it heard from others may be older.
		return whereabouts{}, false
	}
	if l := n.linked.Load(); l != nil {
		return l.leader, true
	}
	return whereabouts{}, false
}

// Leader implements api.Leader.
func (n *Node) Leader() (hostport string, self, recovered bool) {
	if n.acting() != nil {
		return n.host.master(), true, true
	}
	to, ok := n.knownLeader()
	if !ok || to.nodeID == n.identity().NodeID {
		return "", false, false
	}
	return to.addresses.GetMaster(), false, false
}

var _ api.Leader = (*Node)(nil)

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
