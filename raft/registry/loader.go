package registry

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// loader puts the records of a snapshot together again.
type loader struct {
	master       string
	index        uint64
	requires     string
	agents       builder[*Snapshot_Agent]
	unreachable  builder[*Snapshot_Unreachable]
	gone         builder[int64]
	frameworks   builder[*Snapshot_Framework]
	removed      builder[removal]
	drains       builder[*Drain]
	cluster      *Snapshot_Cluster
	nodes        builder[*Node]
	removedNodes builder[*Snapshot_RemovedNode]
	tokens       builder[*Token]
}

// record takes one record apart. One of a newer version is not looked at any further.
func (l *loader) record(data []byte) error {
	part := &Snapshot{}
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(data, part); err != nil {
		return fmt.Errorf("%w: record: %w", ErrCorrupt, err)
	}
	return l.add(part)
}

func (l *loader) add(part *Snapshot) error {
	if part.MasterId != nil {
		l.master = part.GetMasterId()
	}
	if part.Index != nil {
		l.index = part.GetIndex()
	}
	if part.Requires != nil {
		l.requires = part.GetRequires()
		if err := known(l.requires); err != nil {
			return err
		}
	}
	if part.Cluster != nil {
		l.cluster = part.Cluster
	}
	if !l.addContent(part) || !l.addCluster(part) {
		return fmt.Errorf("%w: entries are not in the order of their ids", ErrCorrupt)
	}
	return nil
}

func (l *loader) addContent(part *Snapshot) bool {
	ok := true
	for _, agent := range part.GetAgents() {
		ok = ok && l.agents.add(agent.GetInfo().GetId().GetValue(), agent)
	}
	for _, agent := range part.GetUnreachable() {
		ok = ok && l.unreachable.add(agent.GetInfo().GetId().GetValue(), agent)
	}
	for _, agent := range part.GetGone() {
		ok = ok && l.gone.add(agent.GetAgentId().GetValue(), agent.GetTime())
	}
	for _, framework := range part.GetFrameworks() {
		ok = ok && l.frameworks.add(framework.GetInfo().GetId().GetValue(), framework)
	}
	for _, r := range part.GetRemovedFrameworks() {
		ok = ok && l.removed.add(r.GetFrameworkId().GetValue(), newRemoval(r.GetTime(), r.GetCause()))
	}
	for _, drain := range part.GetDrains() {
		ok = ok && l.drains.add(drain.GetAgentId().GetValue(), drain)
	}
	return ok
}

func (l *loader) addCluster(part *Snapshot) bool {
	ok := true
	for _, node := range part.GetNodes() {
		ok = ok && l.nodes.add(node.GetId(), node)
	}
	for _, removed := range part.GetRemovedNodes() {
		ok = ok && l.removedNodes.add(removed.GetNodeId(), removed)
	}
	for _, token := range part.GetTokens() {
		ok = ok && l.tokens.add(string(token.GetHash()), token)
	}
	return ok
}

// state returns the whole, checked.
func (l *loader) state() (*State, error) {
	s := &State{
		index: l.index, master: l.master, requires: l.requires, cluster: l.cluster,
		agents: l.agents.m, unreachable: l.unreachable.m, gone: l.gone.m,
		frameworks: l.frameworks.m, removed: l.removed.m, drains: l.drains.m,
		nodes: l.nodes.m, removedNodes: l.removedNodes.m, tokens: l.tokens.m,
	}
	for id, node := range s.nodes.all() {
		if raftID := node.GetRaftId(); raftID != 0 {
			if other, ok := s.members.get(memberKey(raftID)); ok {
				return nil, fmt.Errorf("%w: nodes %q and %q have raft id %d", ErrCorrupt, other, id, raftID)
			}
			s.members = s.members.with(memberKey(raftID), id)
		}
	}
	if err := s.checkContent(); err != nil {
		return nil, err
	}
	if err := s.checkCluster(); err != nil {
		return nil, err
	}
	return s, nil
}

// checkContent looks for what no operation makes: an id that is empty or in two lists.
func (s *State) checkContent() error {
	for id := range s.unreachable.all() {
		if s.agents.has(id) {
			return fmt.Errorf("%w: agent %q is in two lists", ErrCorrupt, id)
		}
	}
	for id := range s.gone.all() {
		if s.agents.has(id) || s.unreachable.has(id) {
			return fmt.Errorf("%w: agent %q is in two lists", ErrCorrupt, id)
		}
	}
	for id := range s.removed.all() {
		if s.frameworks.has(id) {
			return fmt.Errorf("%w: framework %q is in two lists", ErrCorrupt, id)
		}
	}
	if s.agents.has("") || s.unreachable.has("") || s.gone.has("") || s.frameworks.has("") || s.removed.has("") {
		return fmt.Errorf("%w: an id is empty", ErrCorrupt)
	}
	for id := range s.drains.all() {
		if why := s.drainable(id); why != "" {
			return fmt.Errorf("%w: drain: %s", ErrCorrupt, why)
		}
	}
	return nil
}

// checkCluster looks for what no operation makes in the cluster's own section.
func (s *State) checkCluster() error {
	if s.cluster == nil {
		if s.nodes.n+s.removedNodes.n+s.tokens.n > 0 {
			return fmt.Errorf("%w: nodes without a cluster", ErrCorrupt)
		}
		return nil
	}
	if s.cluster.GetId() == "" || s.nodes.has("") || s.removedNodes.has("") || s.tokens.has("") {
		return fmt.Errorf("%w: an id is empty", ErrCorrupt)
	}
	for id := range s.removedNodes.all() {
		if s.nodes.has(id) {
			return fmt.Errorf("%w: node %q is in two lists", ErrCorrupt, id)
		}
	}
	for _, node := range s.nodes.all() {
		if raftID := node.GetRaftId(); raftID >= s.cluster.GetNextRaftId() && raftID != 0 {
			return fmt.Errorf("%w: node %q has raft id %d, which is not given out yet", ErrCorrupt, node.GetId(), raftID)
		}
	}
	return nil
}
