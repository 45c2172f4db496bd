package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"
)

// Node returns a node of the cluster.
func (s *State) Node(id string) (*Node, bool) { return s.nodes.get(id) }

// Nodes returns the nodes of the cluster in the order of their ids.
func (s *State) Nodes() []*Node { return s.nodes.values() }

// NodeCount is the number of nodes.
func (s *State) NodeCount() int { return s.nodes.n }

// NodeByRaftID returns the node that has a raft id now.
func (s *State) NodeByRaftID(raftID uint64) (*Node, bool) {
	id, ok := s.members.get(memberKey(raftID))
	if !ok {
		return nil, false
	}
	return s.nodes.get(id)
}

// RaftNodes returns the nodes that have a raft id, in the order of these ids. It costs nothing for all
// others.
func (s *State) RaftNodes() []*Node {
	nodes := make([]*Node, 0, s.members.n)
	for _, id := range s.members.all() {
		if node, ok := s.nodes.get(id); ok {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// RemovedNode returns what is remembered of a removed node, whose certificates are refused (CLU-21).
func (s *State) RemovedNode(id string) (*Snapshot_RemovedNode, bool) { return s.removedNodes.get(id) }

// RemovedNodes returns the removed nodes that are remembered, in the order of their ids.
func (s *State) RemovedNodes() []*Snapshot_RemovedNode { return s.removedNodes.values() }

// MayLead says whether a node can ever be a master: by its role, and by the token that it joined with
// (CLU-4, CLU-22).
func (n *Node) MayLead() bool {
	switch n.GetRole() {
	case Node_AUTO, Node_MASTER, Node_BOTH:
		return n.GetMayBeMaster()
	}
	return false
}

// memberKey is a raft id as a key, in the order of the numbers.
func memberKey(raftID uint64) string {
	return string(binary.BigEndian.AppendUint64(nil, raftID))
}

// whereNode says in which state a node is, as the reason of a refusal.
func (s *State) whereNode(id string) string {
	switch {
	case id == "":
		return "node id is empty"
	case s.nodes.has(id):
		return fmt.Sprintf("node %s is in the cluster already", id)
	case s.removedNodes.has(id):
		return fmt.Sprintf("node %s was removed from the cluster", id)
	default:
		return fmt.Sprintf("node %s is not in the cluster", id)
	}
}

// cannotLead is the reason of refusing a node as a master.
func cannotLead(n *Node) string {
	if n.GetRole() == Node_AGENT {
		return fmt.Sprintf("node %s cannot be a master: its role is agent", n.GetId())
	}
	return fmt.Sprintf("node %s cannot be a master: it joined with a token for agents", n.GetId())
}

// faultyNode says what is wrong with the record of a new node, empty if nothing is.
func faultyNode(n *Node) string {
	id := n.GetId()
	switch {
	case id == "":
		return "node id is empty"
	case n.GetName() == "":
		return fmt.Sprintf("node %s has no name", id)
	case n.GetPeerAddress() == "":
		return fmt.Sprintf("node %s has no peer address", id)
	case n.GetRole() == Node_UNKNOWN_ROLE:
		return fmt.Sprintf("node %s has no role: auto, master, agent and both are allowed", id)
	case len(n.GetKeyHash()) != sha256.Size:
		return fmt.Sprintf("key hash of node %s has %d bytes, not %d", id, len(n.GetKeyHash()), sha256.Size)
	case (n.GetRole() == Node_MASTER || n.GetRole() == Node_BOTH) && !n.GetMayBeMaster():
		return cannotLead(n)
	}
	return ""
}

func (s *State) admitNode(op *AdmitNode) string {
	node := op.GetNode()
	if s.removedNodes.has(node.GetId()) {
		return s.whereNode(node.GetId())
	}
	if fault := faultyNode(node); fault != "" {
		return fault
	}
	if node.GetRaftId() != 0 {
		return fmt.Sprintf("node %s cannot bring raft id %d along", node.GetId(), node.GetRaftId())
	}
	admitted := proto.CloneOf(node)
	admitted.RaftId, admitted.Placement, admitted.Admitted = nil, nil, proto.Int64(op.GetTime())
	if old, ok := s.nodes.get(node.GetId()); ok {
		if !bytes.Equal(old.GetKeyHash(), node.GetKeyHash()) {
			return s.whereNode(node.GetId())
		}
		if old.GetRaftId() != 0 && !node.MayLead() {
			return fmt.Sprintf("node %s is raft member %d: demote it first", node.GetId(), old.GetRaftId())
		}
		admitted.RaftId, admitted.Placement, admitted.Admitted = old.RaftId, old.Placement, old.Admitted
		if admitted.AgentId == nil {
			admitted.AgentId = old.AgentId
		}
		if admitted.GetPlacement() == Node_PREFERRED && !admitted.MayLead() {
			admitted.Placement = nil
		}
	}
	s.nodes = s.nodes.with(node.GetId(), admitted)
	return ""
}

func (s *State) updateNode(op *UpdateNode) string {
	node := op.GetNode()
	old, ok := s.nodes.get(node.GetId())
	if !ok {
		return s.whereNode(node.GetId())
	}
	updated := proto.CloneOf(node)
	updated.Role, updated.RaftId, updated.Placement = old.Role, old.RaftId, old.Placement
	updated.KeyHash, updated.Admitted, updated.MayBeMaster = old.KeyHash, old.Admitted, old.MayBeMaster
	if fault := faultyNode(updated); fault != "" {
		return fault
	}
	s.nodes = s.nodes.with(node.GetId(), updated)
	return ""
}

func (s *State) removeNode(op *RemoveNode) string {
	id := op.GetNodeId()
	node, ok := s.nodes.get(id)
	if !ok {
		return s.whereNode(id)
	}
	if node.GetRaftId() != 0 {
		return fmt.Sprintf("node %s is raft member %d: demote it first", id, node.GetRaftId())
	}
	s.nodes = s.nodes.without(id)
	s.removedNodes = s.removedNodes.with(id, &Snapshot_RemovedNode{
		NodeId: proto.String(id), Time: proto.Int64(op.GetTime()), Until: proto.Int64(op.GetUntil()),
	})
	return ""
}

func (s *State) forgetRemovedNode(op *ForgetRemovedNode) string {
	id := op.GetNodeId()
	if id == "" || s.nodes.has(id) {
		return s.whereNode(id)
	}
	if !s.removedNodes.has(id) {
		return fmt.Sprintf("node %s is not among the removed ones", id)
	}
	s.removedNodes = s.removedNodes.without(id)
	return ""
}

func (s *State) setPlacement(op *SetPlacement) string {
	id := op.GetNodeId()
	node, ok := s.nodes.get(id)
	if !ok {
		return s.whereNode(id)
	}
	if op.GetPlacement() == Node_PREFERRED && !node.MayLead() {
		return cannotLead(node)
	}
	placed := proto.CloneOf(node)
	placed.Placement = op.GetPlacement().Enum()
	s.nodes = s.nodes.with(id, placed)
	return ""
}

// maxRaftID bounds raft ids: etcd's raft keeps the highest ones for itself.
const maxRaftID = math.MaxInt64

func (s *State) assignRaftID(op *AssignRaftID) (raftID uint64, refused string) {
	if s.cluster == nil {
		return 0, noCluster
	}
	id := op.GetNodeId()
	node, ok := s.nodes.get(id)
	switch {
	case !ok:
		return 0, s.whereNode(id)
	case node.GetRaftId() != 0:
		return 0, fmt.Sprintf("node %s is raft member %d already", id, node.GetRaftId())
	case !node.MayLead():
		return 0, cannotLead(node)
	}
	raftID = s.cluster.GetNextRaftId()
	if raftID > maxRaftID {
		return 0, "all raft ids are used up"
	}
	s.changeCluster(func(c *Snapshot_Cluster) { c.NextRaftId = proto.Uint64(raftID + 1) })
	assigned := proto.CloneOf(node)
	assigned.RaftId = proto.Uint64(raftID)
	s.nodes = s.nodes.with(id, assigned)
	s.members = s.members.with(memberKey(raftID), id)
	return raftID, ""
}

func (s *State) releaseRaftID(op *ReleaseRaftID) string {
	id := op.GetNodeId()
	node, ok := s.nodes.get(id)
	if !ok {
		return s.whereNode(id)
	}
	if node.GetRaftId() == 0 {
		return fmt.Sprintf("node %s is no raft member", id)
	}
	released := proto.CloneOf(node)
	released.RaftId = nil
	s.nodes = s.nodes.with(id, released)
	s.members = s.members.without(memberKey(node.GetRaftId()))
	return ""
}
