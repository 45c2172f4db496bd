package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"clusterd/node/api"
	"clusterd/node/cluster"
	"clusterd/node/master"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/raft"
	"clusterd/raft/registry"
)

// Status implements api.Cluster: the leader's picture, or what any other node knows by itself, which is
// then stale (CLU-35).
func (o clusterOffice) Status(ctx context.Context) (*api.ClusterStatus, error) {
	n := o.n
	out := &api.ClusterStatus{ClusterID: n.identity().ClusterID, Name: n.config.Cluster, Version: Version, Time: time.Now(), Term: n.term.Load()}
	if l := n.acting(); l != nil {
		return out, l.status(ctx, out)
	}
	out.Stale = true
	if m := n.member.Load(); m != nil {
		n.memberStatus(m, out)
	} else {
		n.hearsay(out)
	}
	slices.SortFunc(out.Nodes, compareNodes)
	return out, nil
}

func compareNodes(a, b api.ClusterNode) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
}

// status is the picture of the leading master.
func (l *leader) status(ctx context.Context, out *api.ClusterStatus) error {
	view, err := l.view(ctx)
	if err != nil {
		return err
	}
	now, s := time.Now(), l.steward
	state, raftStatus := s.registry(), s.m.peer.Status()
	out.Term, out.Index, out.StateHash, out.Masters = l.term, state.Index(), l.contentHash(state), s.masters(state)
	agents := agentStates(view, state)
	peers := make(map[uint64]raft.PeerStatus)
	for _, p := range raftStatus.Peers {
		peers[p.ID] = p
	}
	picture := s.picture(now)
	for _, m := range picture.Nodes {
		node := clusterNode(m.Node)
		node.RaftState = raftState(m)
		if m.Node.GetAgentId().GetValue() != "" {
			a := agents[mesos.AgentID(node.AgentID)]
			node.AgentState, node.Tasks = cmp.Or(a.state, api.AgentUnreachable), a.tasks
		}
		l.attend(m, peers[node.RaftID], now, &node)
		out.Nodes = append(out.Nodes, node)
		if m.Leader {
			out.Leader = &api.ClusterLeader{NodeID: node.ID, Name: node.Name, Address: node.MasterAddress}
		}
		if m.Voter {
			out.Quorum.Voters++
			if m.Alive {
				out.Quorum.Reachable++
			}
		}
	}
	out.Quorum.Settle()
	slices.SortFunc(out.Nodes, compareNodes)
	out.Problems = s.problems(now, picture)
	for _, p := range absence(view) {
		out.Problems = append(out.Problems, api.ClusterProblem{Code: p.Code, Severity: p.Severity, Text: p.Text, Do: p.Do})
	}
	out.Problems = append(out.Problems, l.steward.n.ownProblems()...)
	return nil
}

// problems are those of the whole cluster.
func (s *steward) problems(now time.Time, picture cluster.Picture) []api.ClusterProblem {
	v := cluster.Vitals{Masters: picture.Masters, ReplaceAfter: picture.ReplaceAfter, CertificateLifetime: s.n.config.CertificateLifetime}
	lags := make(map[uint64]uint64)
	for _, p := range s.m.peer.Status().Peers {
		lags[p.ID] = p.Lag
	}
	for _, m := range picture.Nodes {
		vital := cluster.Vital{Member: m, Lag: lags[m.Node.GetRaftId()]}
		if here, ok := s.l.roll.present(m.Node.GetId(), now); ok {
			vital.Skew, vital.FsyncP99, vital.CertificateEnds = here.skew, here.fsyncP99, here.certificate
		}
		v.Nodes = append(v.Nodes, vital)
	}
	var out []api.ClusterProblem
	for _, p := range cluster.Health(now, v) {
		out = append(out, api.ClusterProblem{Code: p.Code, Severity: string(p.Severity), Text: p.Text, Do: p.Do})
	}
	return out
}

// ownProblems are those of this node.
func (n *Node) ownProblems() []api.ClusterProblem {
	var out []api.ClusterProblem
	for _, p := range n.problems() {
		out = append(out, api.ClusterProblem{Code: p.Code, Severity: p.Severity, Text: n.name + ": " + p.Text, Do: p.Do})
	}
	return out
}

// attend adds what the leader knows of a node from its stream and its raft member.
func (l *leader) attend(m cluster.Member, peer raft.PeerStatus, now time.Time, node *api.ClusterNode) {
	if here, ok := l.roll.present(node.ID, now); ok {
		skew := milliseconds(here.skew)
		node.Connected, node.LastContact, node.ClockSkewMS = here.alive, here.heard, &skew
		node.UptimeSeconds = now.Sub(here.started).Seconds()
		node.CertificateExpires = here.certificate
		if (m.Voter || m.Learner) && here.fsyncP99 > 0 {
			p50, p99 := milliseconds(here.fsyncP50), milliseconds(here.fsyncP99)
			node.DiskFsyncP50MS, node.DiskFsyncP99MS = &p50, &p99
		}
	}
	if m.Leader {
		node.LagEntries = new(uint64)
	} else if m.Voter || m.Learner {
		node.LagEntries = &peer.Lag
	}
}

// agentPicture is what the master's core knows of an agent.
type agentPicture struct {
	state string
	tasks int
}

func agentStates(view *master.View, state *registry.State) map[mesos.AgentID]agentPicture {
	out := make(map[mesos.AgentID]agentPicture)
	for _, a := range view.State.GetGetAgents().GetAgents() {
		s := api.AgentActive
		switch {
		case a.GetDrainInfo().GetState() == v1.DrainState_DRAINING:
			s = api.AgentDraining
		case a.GetDrainInfo().GetState() == v1.DrainState_DRAINED:
			s = api.AgentDrained
		case a.GetDeactivated():
			s = api.AgentDeactivated
		case !a.GetActive():
			s = api.AgentUnreachable
		}
		out[mesos.AgentID(a.GetAgentInfo().GetId().GetValue())] = agentPicture{state: s}
	}
	for _, info := range view.State.GetGetAgents().GetRecoveredAgents() {
		out[mesos.AgentID(info.GetId().GetValue())] = agentPicture{state: api.AgentRecovering}
	}
	for _, u := range state.Unreachables() {
		out[mesos.AgentID(u.GetInfo().GetId().GetValue())] = agentPicture{state: api.AgentUnreachable}
	}
	for _, t := range view.State.GetGetTasks().GetTasks() {
		if mesos.Terminal(t.GetState()) {
			continue
		}
		id := mesos.AgentID(t.GetAgentId().GetValue())
		a := out[id]
		a.tasks++
		out[id] = a
	}
	return out
}

func raftState(m cluster.Member) string {
	switch {
	case m.Leader:
		return api.RaftLeader
	case m.Voter:
		return api.RaftVoter
	case m.Learner:
		return api.RaftLearner
	}
	return raftRest(m.Node)
}

// raftRest is the raft state of a node that is no member.
func raftRest(node *registry.Node) string {
	if node.GetRole() == registry.Node_AGENT || !node.GetMayBeMaster() {
		return api.RaftNone
	}
	return api.RaftStandby
}

// clusterNode is a node as it stands in the registry.
func clusterNode(node *registry.Node) api.ClusterNode {
	out := api.ClusterNode{
		ID: node.GetId(), Name: node.GetName(), PeerAddress: node.GetPeerAddress(), MasterAddress: node.GetMasterAddress(),
		AgentAddress: node.GetAgentAddress(), Role: roleNames[node.GetRole()], RaftID: node.GetRaftId(), RaftState: raftRest(node),
		AgentID: node.GetAgentId().GetValue(), AgentState: api.AgentNone, Version: node.GetVersion(),
	}
	switch node.GetPlacement() {
	case registry.Node_PREFERRED:
		out.Placement = "preferred"
	case registry.Node_BARRED:
		out.Placement = "barred"
	}
	if d := node.GetDomain().GetFaultDomain(); d != nil {
		out.Domain = d.GetRegion().GetName() + "/" + d.GetZone().GetName()
	}
	return out
}

// memberStatus is what a master knows that does not lead: its own copy of the registry, and which of
// the other voters it hears.
func (n *Node) memberStatus(m *member, out *api.ClusterStatus) {
	state, st, now := m.machine.View(), m.peer.Status(), time.Now()
	out.Term, out.Index, out.StateHash = st.Term, state.Index(), state.ContentHash()
	if c, ok := state.Cluster(); ok {
		out.Masters = int(c.GetSettings().GetMasters())
	}
	var missing []string
	for _, r := range state.Nodes() {
		node := clusterNode(r)
		if slices.Contains(st.Voters, node.RaftID) && node.RaftID != 0 {
			node.RaftState = api.RaftVoter
			out.Quorum.Voters++
			node.LastContact, _ = m.network.Contact(node.RaftID)
			switch {
			case node.RaftID == m.id || m.hears(node.RaftID, now):
				out.Quorum.Reachable++
			default:
				missing = append(missing, fmt.Sprintf("%s (%s)", node.Name, node.PeerAddress))
			}
		}
		if node.RaftID == st.Leader && st.Leader != 0 && st.Leader != m.id {
			node.RaftState = api.RaftLeader
			out.Leader = &api.ClusterLeader{NodeID: node.ID, Name: node.Name, Address: node.MasterAddress}
		}
		out.Nodes = append(out.Nodes, node)
	}
	out.Quorum.Settle()
	if st.Leader == m.id {
		out.Problems = append(out.Problems, api.ClusterProblem{
			Code: "not-leading-yet", Severity: api.SeverityWarning,
			Text: "This node is the raft leader, but does not act: it has just been elected, or a quorum has not answered it of late.",
			Do:   "Nothing, if it is over in a few seconds. Otherwise see whether the other masters reach this node.",
		})
	}
	if !out.Quorum.OK {
		out.Problems = append(out.Problems, api.ClusterProblem{
			Code: "quorum-lost", Severity: api.SeverityError,
			Text: fmt.Sprintf("%d of %d masters are reached, %d are needed; missing: %s", out.Quorum.Reachable, out.Quorum.Voters, out.Quorum.Needed, strings.Join(missing, ", ")),
			Do:   "Start the missing masters again. If they are lost for good, stop this node and run `clusterd recover --data-dir DIR` on it.",
		})
	}
}

// hearsay is what a node knows that is not a master: where the masters were.
func (n *Node) hearsay(out *api.ClusterStatus) {
	for _, o := range n.members.Load().GetMembers() {
		out.Nodes = append(out.Nodes, api.ClusterNode{
			ID: o.GetNodeId(), Name: o.GetName(), PeerAddress: o.GetAddresses().GetPeer(), MasterAddress: o.GetAddresses().GetMaster(),
			AgentAddress: o.GetAddresses().GetAgent(), RaftID: o.GetRaftId(), RaftState: api.RaftVoter, AgentState: api.AgentNone,
		})
	}
	out.Problems = append(out.Problems, api.ClusterProblem{
		Code: "no-leader", Severity: api.SeverityError, Text: "This node has no contact with a leading master.",
		Do: "See whether the masters run and whether this machine reaches their port between nodes.",
	})
}
