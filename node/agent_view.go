package node

import (
	"context"

	"google.golang.org/protobuf/proto"

	"clusterd/isolate"
	"clusterd/node/agent"
	"clusterd/node/api"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// agentState shows the agent's core to the HTTP API.
type agentState struct{ n *Node }

// View implements api.AgentState.
func (a agentState) View(ctx context.Context) (*api.AgentView, error) {
	v, err := a.n.agent.view(ctx)
	if err != nil {
		return nil, err
	}
	if v.Recovering { // EXE-3, OPR-27
		return nil, api.ErrRecovering
	}
	out := &api.AgentView{
		Info: v.Info, Address: a.n.host.agent(), Started: a.n.started, Drain: v.Drain, DrainStart: v.DrainStart,
	}
	for _, c := range v.Capabilities {
		out.Capabilities = append(out.Capabilities, c.GetType())
	}
	if v.Registered {
		out.MasterHostname = v.Master.GetHostname()
	}
	for _, m := range a.n.runtime.Isolation().Missing {
		out.Missing = append(out.Missing, api.Missing{What: m.What, Why: m.Why})
	}
	for _, f := range v.Frameworks {
		out.Frameworks = append(out.Frameworks, agentFramework(f))
	}
	for _, f := range v.CompletedFrameworks {
		out.CompletedFrameworks = append(out.CompletedFrameworks, agentFramework(f))
	}
	return out, nil
}

func agentFramework(f *agent.FrameworkView) api.AgentFramework {
	out := api.AgentFramework{Info: f.Info}
	for _, e := range f.Executors {
		out.Executors = append(out.Executors, agentExecutor(e))
	}
	for _, e := range f.CompletedExecutors {
		out.CompletedExecutors = append(out.CompletedExecutors, agentExecutor(e))
	}
	return out
}

func agentExecutor(e *agent.ExecutorView) api.AgentExecutor {
	return api.AgentExecutor{
		Info: e.Info, ContainerID: e.ContainerID.Proto(), Directory: e.Directory, Resources: e.Resources,
		Queued: queued(e.Queued), Launched: e.Launched, Terminated: e.Terminated, Completed: e.Completed,
	}
}

// queued shows tasks that wait for their executor as the descriptions that they are still.
func queued(tasks []*v1.Task) []*v1.TaskInfo {
	var out []*v1.TaskInfo
	for _, t := range tasks {
		out = append(out, &v1.TaskInfo{
			Name: t.Name, TaskId: t.TaskId, AgentId: t.AgentId, Resources: t.Resources, Labels: t.Labels, Discovery: t.Discovery,
			Container: t.Container, HealthCheck: t.HealthCheck, KillPolicy: t.KillPolicy, Limits: t.Limits,
		})
	}
	return out
}

// containerUsage measures the running containers for /containers and /monitor/statistics.
type containerUsage struct{ n *Node }

// Containers implements api.Containers. A container that ends while it is measured has no statistics.
func (c containerUsage) Containers(ctx context.Context) ([]api.Container, error) {
	v, err := c.n.agent.view(ctx)
	if err != nil {
		return nil, err
	}
	var out []api.Container
	for _, f := range v.Frameworks {
		for _, e := range f.Executors {
			if !e.Alive || e.Pid == 0 {
				continue
			}
			entry := api.Container{
				FrameworkID: e.FrameworkID, ExecutorID: mesos.ExecutorID(e.Info.GetExecutorId().GetValue()),
				ExecutorName: e.Info.GetName(), Source: e.Info.GetSource(),
				Status: &v1.ContainerStatus{ContainerId: e.ContainerID.Proto(), ExecutorPid: proto.Uint32(uint32(e.Pid))},
			}
			if run := c.n.agent.container(e.ContainerID); run != nil {
				if stats, err := run.Stats(); err == nil {
					entry.Statistics = statistics(stats)
				}
			}
			out = append(out, entry)
		}
	}
	return out, nil
}

// statistics gives the runtime's numbers Mesos's names. What was not measured is left out.
func statistics(s isolate.Stats) *v1.ResourceStatistics {
	out := &v1.ResourceStatistics{
		Timestamp:          proto.Float64(float64(s.Timestamp.UnixMicro()) / 1e6),
		CpusUserTimeSecs:   proto.Float64(s.CPUUser.Seconds()),
		CpusSystemTimeSecs: proto.Float64(s.CPUSystem.Seconds()),
		CpusSoftLimit:      proto.Float64(float64(s.CPUSharesMilli) / 1000),
	}
	// Without a quota the request is the only limit there is to tell (OPR-135).
	if out.CpusLimit = out.CpusSoftLimit; s.CPULimitMilli > 0 {
		out.CpusLimit = proto.Float64(float64(s.CPULimitMilli) / 1000)
	}
	if s.CPUPeriods != nil {
		out.CpusNrPeriods = proto.Uint32(uint32(*s.CPUPeriods))
	}
	if s.CPUThrottledPeriods != nil {
		out.CpusNrThrottled = proto.Uint32(uint32(*s.CPUThrottledPeriods))
	}
	if s.CPUThrottled != nil {
		out.CpusThrottledTimeSecs = proto.Float64(s.CPUThrottled.Seconds())
	}
	if s.Processes != nil {
		out.Processes = proto.Uint32(uint32(*s.Processes))
	}
	if s.Threads != nil {
		out.Threads = proto.Uint32(uint32(*s.Threads))
	}
	bytes := func(n int64) *uint64 { return proto.Uint64(uint64(max(n, 0))) }
	if s.MemorySoftLimitBytes > 0 {
		out.MemSoftLimitBytes = bytes(s.MemorySoftLimitBytes)
	}
	if s.MemoryLimitBytes > 0 {
		out.MemLimitBytes = bytes(s.MemoryLimitBytes)
	}
	out.MemRssBytes = bytes(s.MemoryRSSBytes)
	if m := s.Memory; m != nil {
		out.MemTotalBytes = bytes(m.Total)
		out.MemAnonBytes, out.MemRssBytes = bytes(m.Anon), bytes(m.Anon)
		out.MemFileBytes, out.MemCacheBytes = bytes(m.File), bytes(m.File)
		out.MemMappedFileBytes, out.MemSwapBytes = bytes(m.MappedFile), bytes(m.Swap)
		out.MemUnevictableBytes = bytes(m.Unevictable)
		out.MemKmemUsageBytes, out.MemKmemTcpUsageBytes = bytes(m.KernelUsage), bytes(m.KernelTCP)
	}
	return out
}
