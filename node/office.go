package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/alloc"
	"clusterd/node/api"
	"clusterd/node/master"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/raft/registry"
)

// leaseGrace is how long a leading master waits for a lease that it has lost: about the time in which
// another could be elected. Until then it takes no step (see leased), but keeps all that it knows, so that
// a moment without CPU does not send every agent and framework away.
const leaseGrace = time.Second

// lead starts a leading master whenever raft elects this node, and drops it whole when another term begins
// or the lease stays away. It ends with the raft member.
func (n *Node) lead(m *member) {
	look := time.NewTicker(leaseGrace / 20)
	defer look.Stop()
	var lost time.Time // when the lease was, zero if it is there
	for {
		select {
		case <-look.C:
			switch l := n.leading.Load(); {
			case l == nil || lost.IsZero():
			case m.peer.Status().Term != l.term:
				n.leaveOffice("another term has begun")
			case time.Since(lost) > leaseGrace:
				n.leaveOffice("its lease stays away")
			}
		case l, ok := <-m.peer.Leadership():
			if !ok {
				n.leaveOffice("its raft member has ended")
				if err := m.peer.Err(); err != nil {
					n.fail(err)
				}
				return
			}
			switch here := n.leading.Load(); {
			case here != nil && here.term == l.Term && !l.Leader:
				lost = time.Now()
			case here != nil && here.term == l.Term:
				lost = time.Time{}
				n.log.Info("leading master has its lease again", "term", l.Term)
			case l.Leader:
				lost = time.Time{}
				n.leaveOffice("it is elected anew")
				if err := n.takeOffice(m, l.Term); err != nil && n.ctx.Err() == nil {
					n.log.Error("election not completed", "term", l.Term, "error", err)
				}
			default:
				n.leaveOffice("another term has begun")
			}
		}
	}
}

func (n *Node) leaveOffice(why string) {
	if old := n.leading.Swap(nil); old != nil {
		n.log.Info("no longer the leading master", "term", old.term, "reason", why)
		old.close()
	}
}

// acting is the leading master of this node while it has its lease; nil otherwise (CLU-33).
func (n *Node) acting() *leader {
	if l := n.leading.Load(); l != nil && l.steward.m.peer.Leading() {
		return l
	}
	return nil
}

func (n *Node) takeOffice(m *member, term uint64) error {
	if err := n.form(n.ctx, m); err != nil {
		return err
	}
	if err := n.takeOver(n.ctx, m); err != nil {
		return err
	}
	random := newRand()
	id := mesos.NewUUID(random).String()
	now := time.Now()
	elect := &registry.Op{Op: &registry.Op_ElectMaster{ElectMaster: &registry.ElectMaster{MasterId: proto.String(id), Time: proto.Int64(now.UnixNano())}}}
	if _, err := m.propose(n.ctx, elect); err != nil {
		return err
	}
	cfg, err := n.masterConfig(id)
	if err != nil {
		return err
	}
	cfg.Registry, cfg.Rand, cfg.Started = m.machine.View(), random, n.started
	l := newLeader(leaderConfig{core: master.New(cfg, now), steward: newSteward(n, m, now), self: n.self(), term: term, log: n.log})
	n.leading.Store(l)
	if n.ctx.Err() != nil { // Close came meanwhile and has not seen it
		n.leading.Store(nil)
		l.close()
		return n.ctx.Err()
	}
	n.source.leaderChanged(l)
	n.log.Info("leading master", "term", term, "id", id, "address", n.host.master())
	return nil
}

// takeOver makes a registry that was recovered from this node's files alone forget the memberships of
// all others (CLU-8): their raft ids must not come back.
func (n *Node) takeOver(ctx context.Context, m *member) error {
	if !n.identity().Recovered || len(m.peer.Status().Voters) != 1 {
		return nil
	}
	for _, node := range m.machine.View().Nodes() {
		if node.GetRaftId() == 0 || node.GetRaftId() == m.id {
			continue
		}
		release := &registry.Op{Op: &registry.Op_ReleaseRaftId{ReleaseRaftId: &registry.ReleaseRaftID{NodeId: node.Id}}}
		if _, err := m.propose(ctx, release); err != nil {
			return err
		}
		n.log.Warn("membership of a lost master ended", "node_id", node.GetId(), "raft_id", node.GetRaftId())
	}
	return n.changeIdentity(func(id *identity) bool { id.Recovered = false; return true })
}

func (n *Node) masterConfig(id string) (master.Config, error) {
	cfg := master.DefaultConfig()
	var err error
	if cfg.Weights, err = alloc.ParseWeights(n.config.Weights); err != nil {
		return cfg, fmt.Errorf("--weights: %w", err)
	}
	if cfg.MinAllocatable, err = alloc.ParseMinAllocatable(n.config.MinAllocatableResources); err != nil {
		return cfg, fmt.Errorf("--min-allocatable-resources: %w", err)
	}
	cfg.Info = n.masterInfo(id)
	cfg.AllocationInterval, cfg.OfferTimeout = n.config.AllocationInterval, n.config.OfferTimeout
	cfg.AgentPingTimeout, cfg.MaxAgentPingTimeouts = n.config.AgentPingTimeout, n.config.MaxAgentPingTimeouts
	cfg.AgentReregisterTimeout = n.config.AgentReregisterTimeout
	if cfg.AgentRemovalRate, err = master.ParseRemovalRate(n.config.AgentRemovalRateLimit); err != nil {
		return cfg, fmt.Errorf("--agent-removal-rate-limit: %w", err)
	}
	if cfg.RecoveryAgentRemovalLimit, err = master.ParseRemovalLimit(n.config.RecoveryAgentRemovalLimit); err != nil {
		return cfg, fmt.Errorf("--recovery-agent-removal-limit: %w", err)
	}
	cfg.Roles, cfg.RootSubmissions, cfg.FilterGPU = n.config.Roles, n.config.RootSubmissions, n.config.FilterGPUResources
	cfg.MaxCompletedFrameworks = n.config.MaxCompletedFrameworks
	cfg.MaxCompletedTasksPerFramework = n.config.MaxCompletedTasksPerFramework
	cfg.MaxUnreachableTasksPerFramework = n.config.MaxUnreachableTasks
	return cfg, nil
}

// masterInfo describes this node as master. ip is the IPv4 address in network byte order read as a
// little-endian number (SCH-45).
func (n *Node) masterInfo(id string) *v1.MasterInfo {
	var ip uint32
	if v4 := net.ParseIP(n.host.ip).To4(); v4 != nil {
		ip = binary.LittleEndian.Uint32(v4)
	}
	info := &v1.MasterInfo{
		Id: proto.String(id), Ip: proto.Uint32(ip), Port: proto.Uint32(uint32(n.host.masterPort)),
		Pid: proto.String("master@" + net.JoinHostPort(n.host.ip, strconv.Itoa(n.host.masterPort))), Hostname: proto.String(n.host.hostname),
		Version: proto.String(MesosVersion),
		Address: &v1.Address{Hostname: proto.String(n.host.hostname), Ip: proto.String(n.host.ip), Port: proto.Int32(int32(n.host.masterPort))},
	}
	for _, t := range []v1.MasterInfo_Capability_Type{v1.MasterInfo_Capability_AGENT_UPDATE, v1.MasterInfo_Capability_AGENT_DRAINING, v1.MasterInfo_Capability_QUOTA_V2} {
		info.Capabilities = append(info.Capabilities, &v1.MasterInfo_Capability{Type: t.Enum()})
	}
	return info
}

// office is the leading master of this node as the HTTP API sees it, whoever leads now.
type office struct{ n *Node }

var errNoOffice = fmt.Errorf("%w: this node does not lead", api.ErrNotReady)

func (o office) leader() (*leader, error) {
	if l := o.n.acting(); l != nil {
		return l, nil
	}
	return nil, errNoOffice
}

// Call implements api.Scheduler.
func (o office) Call(ctx context.Context, r api.SchedulerRequest) (api.Answer, error) {
	l, err := o.leader()
	if err != nil {
		return api.Answer{}, err
	}
	return l.Call(ctx, r)
}

// Subscribe implements api.Scheduler.
func (o office) Subscribe(ctx context.Context, r api.SchedulerRequest) (api.Answer, api.EventStream, error) {
	l, err := o.leader()
	if err != nil {
		return api.Answer{}, nil, err
	}
	return l.Subscribe(ctx, r)
}

// Teardown implements api.Operator.
func (o office) Teardown(ctx context.Context, _ string, id mesos.FrameworkID) (api.Answer, error) {
	l, err := o.leader()
	if err != nil {
		return api.Answer{}, err
	}
	return l.teardown(ctx, id)
}

// Kill implements api.Operator.
func (o office) Kill(ctx context.Context, _ string, framework mesos.FrameworkID, task mesos.TaskID, grace time.Duration) (api.Answer, error) {
	l, err := o.leader()
	if err != nil {
		return api.Answer{}, err
	}
	return l.kill(ctx, framework, task, grace)
}
