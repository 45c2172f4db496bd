package main

import (
	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"
)

// capabilities are those of clusterd's agents.
var capabilities = func() []*v1.AgentInfo_Capability {
	var all []*v1.AgentInfo_Capability
	for _, t := range []v1.AgentInfo_Capability_Type{
		v1.AgentInfo_Capability_MULTI_ROLE, v1.AgentInfo_Capability_HIERARCHICAL_ROLE,
		v1.AgentInfo_Capability_RESERVATION_REFINEMENT, v1.AgentInfo_Capability_AGENT_DRAINING,
		v1.AgentInfo_Capability_TASK_RESOURCE_LIMITS,
	} {
		all = append(all, &v1.AgentInfo_Capability{Type: t.Enum()})
	}
	return all
}()

// info is the agent as the master is told.
func (a *agent) info() *v1.AgentInfo {
	p := a.profile
	info := &v1.AgentInfo{
		Hostname: &p.name, Port: &p.port, Resources: p.resources, Attributes: p.attributes, Domain: p.domain,
	}
	if a.id != "" {
		info.Id = a.id.Proto()
	}
	return info
}

// register tells a master all that the agent runs (EXE-154).
func (a *agent) register() *wire.Register {
	m := &wire.Register{Agent: a.info(), Version: &a.fleet.version, Capabilities: capabilities, Ip: &a.profile.ip}
	for _, h := range a.hosted {
		m.Frameworks = append(m.Frameworks, h.info)
		for _, e := range h.executors {
			info := new(v1.ExecutorInfo)
			decode(e.info, info)
			m.Executors = append(m.Executors, info)
		}
		for _, t := range h.tasks {
			if t.info != nil {
				m.Tasks = append(m.Tasks, a.reported(h, t))
			}
		}
	}
	return m
}

// reported is a task as a master is told of it.
func (a *agent) reported(h *hosted, t *task) *v1.Task {
	p := new(v1.Task)
	decode(t.info, p)
	p.State = t.state.Enum()
	for i := range t.reports {
		p.Statuses = append(p.Statuses, a.status(h, t, &t.reports[i]))
	}
	if head := t.head(); head != nil {
		p.StatusUpdateState, p.StatusUpdateUuid = head.state.Enum(), head.uuid[:]
	}
	return p
}

// taskForm is a task that has just been taken, without its state, in as few bytes as possible: there
// are very many.
func taskForm(h *hosted, info *v1.TaskInfo, executor *v1.ExecutorInfo) []byte {
	p := &v1.Task{
		Name: info.Name, TaskId: info.TaskId, FrameworkId: h.framework.id.Proto(), AgentId: info.AgentId,
		State: v1.TaskState_TASK_STAGING.Enum(), Resources: info.Resources, Labels: info.Labels, Discovery: info.Discovery,
		Container: info.Container, HealthCheck: info.HealthCheck, KillPolicy: info.KillPolicy, Limits: info.Limits,
	}
	if executor != nil {
		p.ExecutorId = executor.ExecutorId
	}
	for _, c := range []*v1.CommandInfo{executor.GetCommand(), info.GetCommand()} {
		if c.GetUser() != "" {
			p.User = c.User
		}
	}
	return encode(p)
}

// executorForm is an executor as a master is told of it.
func executorForm(h *hosted, info *v1.ExecutorInfo) []byte {
	info = proto.CloneOf(info)
	info.FrameworkId = h.framework.id.Proto()
	return encode(info)
}

// encode and decode are for what came from a master, checked, and goes back to one.
func encode(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic("message of a master cannot be encoded again: " + err.Error())
	}
	return b
}

func decode(b []byte, m proto.Message) {
	if err := proto.Unmarshal(b, m); err != nil {
		panic("message of our own cannot be decoded: " + err.Error())
	}
}

// status is one report of a task as the framework gets it (EXE-123).
func (a *agent) status(h *hosted, t *task, r *report) *v1.TaskStatus {
	s := &v1.TaskStatus{
		TaskId: t.id.Proto(), State: r.state.Enum(), Source: v1.TaskStatus_SOURCE_EXECUTOR.Enum(), AgentId: a.id.Proto(),
		Timestamp: &r.at, Uuid: r.uuid[:],
	}
	if r.message != "" {
		s.Message = &r.message
	}
	if r.reason != noReason {
		s.Reason = r.reason.Enum()
	}
	if t.executor != "" {
		s.ExecutorId = t.executor.Proto()
	}
	if r.own {
		s.Source = v1.TaskStatus_SOURCE_AGENT.Enum()
		return s
	}
	s.ContainerStatus = &v1.ContainerStatus{
		ContainerId: mesos.ContainerID(t.container.String()).Proto(),
		NetworkInfos: []*v1.NetworkInfo{{IpAddresses: []*v1.NetworkInfo_IPAddress{{
			Protocol: v1.NetworkInfo_IPv4.Enum(), IpAddress: &a.profile.ip}}}},
	}
	return s
}
