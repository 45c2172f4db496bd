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

// lead starts a leading master whenever raft elects this node, and drops it when it loses.
func (n *Node) lead() {
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-n.peer.Done():
			n.fail(n.peer.Err())
			return
		case l := <-n.peer.Leadership():
			if old := n.leading.Swap(nil); old != nil {
				n.log.Info("no longer the leading master", "term", l.Term)
				old.close()
			}
			if l.Leader {
				if err := n.takeOffice(l.Term); err != nil && n.ctx.Err() == nil {
					n.log.Error("election not completed", "term", l.Term, "error", err)
				}
			}
			select {
			case n.elected <- struct{}{}:
			default:
			}
		}
	}
}

func (n *Node) takeOffice(term uint64) error {
	random := newRand()
	id := mesos.NewUUID(random).String()
	now := time.Now()
	elect := &registry.Op{Op: &registry.Op_ElectMaster{ElectMaster: &registry.ElectMaster{MasterId: proto.String(id), Time: proto.Int64(now.UnixNano())}}}
	data, err := registry.Encode(elect)
	if err != nil {
		return err
	}
	if _, _, err := n.peer.Propose(n.ctx, data); err != nil {
		return err
	}
	cfg, err := n.masterConfig(id)
	if err != nil {
		return err
	}
	cfg.Registry, cfg.Rand, cfg.Started = n.machine.View(), random, n.started
	l := newLeader(master.New(cfg, now), n.submit, n.log)
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

// submit hands one registry operation to raft.
func (n *Node) submit(ctx context.Context, op *registry.Op, ended func(registry.Result, error)) error {
	data, err := registry.Encode(op)
	if err != nil {
		return err
	}
	return n.peer.Submit(ctx, data, func(_ uint64, result any, err error) {
		if err != nil {
			ended(registry.Result{}, err)
			return
		}
		ended(result.(registry.Result), nil)
	})
}

// Leader implements api.Leader.
func (n *Node) Leader() (hostport string, self, recovered bool) {
	if n.leading.Load() == nil {
		return "", false, false
	}
	return n.host.master(), true, true
}

// office is the leading master of this node as the HTTP API sees it, whoever leads now.
type office struct{ n *Node }

var errNoOffice = fmt.Errorf("%w: this node does not lead", api.ErrNotReady)

func (o office) leader() (*leader, error) {
	if l := o.n.leading.Load(); l != nil {
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
