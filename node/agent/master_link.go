package agent

import (
	"net/netip"
	"slices"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

// capabilities are announced to the master and shown in /state.
var capabilities = func() []*v1.AgentInfo_Capability {
	var all []*v1.AgentInfo_Capability
	for _, t := range []v1.AgentInfo_Capability_Type{
		v1.AgentInfo_Capability_MULTI_ROLE,
		v1.AgentInfo_Capability_HIERARCHICAL_ROLE,
		v1.AgentInfo_Capability_RESERVATION_REFINEMENT,
		v1.AgentInfo_Capability_RESOURCE_PROVIDER,
		v1.AgentInfo_Capability_RESIZE_VOLUME,
		v1.AgentInfo_Capability_AGENT_OPERATION_FEEDBACK,
		v1.AgentInfo_Capability_AGENT_DRAINING,
		v1.AgentInfo_Capability_TASK_RESOURCE_LIMITS,
	} {
		all = append(all, &v1.AgentInfo_Capability{Type: t.Enum()})
	}
	return all
}()

func (a *Agent) send(m *wire.FromAgent) { a.emit(SendMaster{Message: m}) }

func (a *Agent) masterConnected() {
	a.master.connected, a.master.registered = true, false
	a.register()
}

func (a *Agent) masterDisconnected() {
	a.master.connected, a.master.registered, a.master.silent = false, false, time.Time{}
}

// register introduces the agent, once its task list is right (EXE-154). One that is leaving has taken
// its leave and does not come back (EXE-164, EXE-165).
func (a *Agent) register() {
	if !a.master.connected || a.phase != serving && a.phase != stopping {
		return
	}
	m := &wire.Register{
		Agent:        a.info,
		Version:      proto.String(a.cfg.Version),
		Capabilities: capabilities,
	}
	if ip := a.ip(); ip != "" {
		m.Ip = proto.String(ip)
	}
	for _, f := range a.frameworks {
		if f.terminating {
			continue
		}
		m.Frameworks = append(m.Frameworks, f.info)
		for _, e := range f.executors {
			if !e.command && e.state != terminated {
				m.Executors = append(m.Executors, e.info)
			}
		}
		for t := range f.tasks() {
			if t.info != nil {
				m.Tasks = append(m.Tasks, t.registered())
			}
		}
	}
	a.send(&wire.FromAgent{Message: &wire.FromAgent_Register{Register: m}})
	a.master.pingTimeout = a.cfg.MasterPingTimeout
	a.pinged()
}

// pinged puts off the moment at which the link counts as dead.
func (a *Agent) pinged() {
	if a.master.pingTimeout > 0 {
		a.master.silent = a.now.Add(a.master.pingTimeout)
	}
}

func (a *Agent) fromMaster(m *wire.ToAgent) {
	if !a.master.connected || a.phase == ended {
		return
	}
	switch m := m.GetMessage().(type) {
	case *wire.ToAgent_Registered:
		a.registered(m.Registered)
	case *wire.ToAgent_RunTask:
		a.runTask(m.RunTask)
	case *wire.ToAgent_KillTask:
		a.killTask(m.KillTask)
	case *wire.ToAgent_Acknowledge:
		a.acknowledge(m.Acknowledge)
	case *wire.ToAgent_FrameworkMessage:
		a.frameworkMessage(m.FrameworkMessage)
	case *wire.ToAgent_ShutdownExecutor:
		a.shutdownExecutorOf(m.ShutdownExecutor)
	case *wire.ToAgent_ShutdownFramework:
		a.shutdownFramework(mesos.FrameworkID(m.ShutdownFramework.GetFrameworkId().GetValue()))
	case *wire.ToAgent_UpdateFramework:
		a.updateFramework(m.UpdateFramework.GetFramework())
	case *wire.ToAgent_Ping:
		a.pinged()
		a.send(&wire.FromAgent{Message: &wire.FromAgent_Pong{Pong: &wire.Pong{}}})
	case *wire.ToAgent_Drain:
		a.setDrain(m.Drain)
	case *wire.ToAgent_Shutdown:
		a.dismissed(m.Shutdown.GetMessage())
	}
}

// registered makes the agent a member; its unacknowledged updates go out at once (EXE-171).
func (a *Agent) registered(m *wire.Registered) {
	id := mesos.AgentID(m.GetAgentId().GetValue())
	switch known := a.id(); {
	case known == "":
		a.info = proto.CloneOf(a.info)
		a.info.Id = id.Proto()
		a.storeAgent()
	case known != id:
		a.reason, a.failure = "the master knows this agent as "+string(id)+" instead of "+string(known), true
		a.end()
		return
	}
	a.master.registered, a.master.info = true, m.GetMaster()
	if d := time.Duration(m.GetPingTimeout().GetNanoseconds()); d > 0 {
		a.master.pingTimeout = d
	}
	a.pinged()
	for _, f := range a.frameworks {
		a.resume(f)
	}
	a.setDrain(m.GetDrain())
}

func (a *Agent) storeAgent() {
	a.tx.set(keyAgent, &wire.AgentRecord{Agent: a.info, BootId: proto.String(a.cfg.BootID), Drain: a.drain})
}

// updateFramework takes over what changed. A framework that has subscribed again gets its
// unacknowledged updates at once (SCH-230).
func (a *Agent) updateFramework(info *v1.FrameworkInfo) {
	f := a.framework(mesos.FrameworkID(info.GetId().GetValue()))
	if f == nil || f.terminating {
		return
	}
	if !proto.Equal(f.info, info) {
		durable := f.durable()
		f.info = proto.CloneOf(info)
		// Whether a framework is stored is settled when it comes: half of it would be missing.
		f.info.Checkpoint = proto.Bool(durable)
		a.storeFramework(f)
	}
	a.durably(f, func() { a.resume(f) })
}

func (a *Agent) frameworkMessage(m *wire.FrameworkMessage) {
	e := a.executorOf(m.GetFrameworkId(), m.GetExecutorId())
	if e == nil || !e.connected || e.state != running {
		a.metrics.invalidFrameworkMessages++
		return
	}
	a.metrics.validFrameworkMessages++
	a.emit(Send{Stream: e.stream, Event: eventMessage(m.GetData())})
}

// dismissed ends the agent on the master's word: it gives up its id and all that it ran (EXE-165).
func (a *Agent) dismissed(message string) {
	for _, f := range slices.Clone(a.frameworks) {
		a.shutdownFramework(f.id)
	}
	a.tx.remove(keyAgent)
	a.tx.remove("frameworks/")
	a.dismissal()
	a.leave("the master ended this agent: "+message, true)
}

// dismissal keeps the frameworks' last steps from being stored below an id that is given up.
func (a *Agent) dismissal() {
	for _, f := range a.frameworks {
		f.forgotten = true
	}
}

// ip is the address of the public API, which tasks on the host's network share.
func (a *Agent) ip() string {
	if addr, err := netip.ParseAddrPort(a.cfg.Endpoint); err == nil {
		return addr.Addr().Unmap().String()
	}
	return ""
}
