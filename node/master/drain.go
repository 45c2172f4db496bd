package master

import (
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"
	"clusterd/raft/registry"

	"google.golang.org/protobuf/proto"
)

const (
	unknownAgent = "Unknown agent"
	// agentVanished answers for an agent that was removed while an operator's call waited for the
	// registry (OPR-59).
	agentVanished = "Agent removed while processing the call"
)

// drain is the call DRAIN_AGENT (OPR-57, OPR-58). What follows from it happens when the registry has it,
// also under masters that lead later: an agent that is away is drained when it comes back.
func (m *Master) drain(ev DrainAgent) {
	if status, reason := m.refuseDrain(ev.Agent); status != 0 {
		m.respond(ev.Request, status, reason)
		return
	}
	config := proto.CloneOf(ev.Config)
	if config == nil {
		config = &v1.DrainConfig{}
	}
	if config.GetMaxGracePeriod().GetNanoseconds() < 0 {
		config.MaxGracePeriod.Nanoseconds = proto.Int64(0)
	}
	now := m.now.UnixNano()
	m.proposeFor(ev.Request, ev.Agent, &registry.Op{Op: &registry.Op_DrainAgent{DrainAgent: &registry.DrainAgent{
		AgentId: ev.Agent.Proto(), Config: config, Time: &now,
	}}}, func(a *agent) {
		m.tell(a, &wire.ToAgent{Message: &wire.ToAgent_Drain{Drain: wireDrain(a.drain)}})
		m.maybeDrained(a)
	})
}

// refuseDrain says why an agent cannot be drained, with the status of the answer; 0 if it can.
func (m *Master) refuseDrain(id mesos.AgentID) (int, string) {
	if b, busy := m.busyAgents[id]; busy && b.doing == markingGone {
		return 409, "Agent " + string(id) + " is being marked gone"
	}
	if !m.admitted(id) {
		return 400, unknownAgent
	}
	a, registered := m.agents.get(id)
	if registered && !hasAgentCapability(a.capabilities, v1.AgentInfo_Capability_AGENT_DRAINING) {
		return 400, "Agent " + string(id) + " does not have the AGENT_DRAINING capability"
	}
	return 0, ""
}

// admitted reports whether the registry has an agent that is not gone, whether it is there now or not.
func (m *Master) admitted(id mesos.AgentID) bool {
	_, admitted := m.registry.Agent(string(id))
	_, unreachable := m.registry.Unreachable(string(id))
	return admitted || unreachable
}

func hasAgentCapability(list []*v1.AgentInfo_Capability, wanted v1.AgentInfo_Capability_Type) bool {
	for _, c := range list {
		if c.GetType() == wanted {
			return true
		}
	}
	return false
}

// deactivateByOperator is the call DEACTIVATE_AGENT (OPR-59).
func (m *Master) deactivateByOperator(ev DeactivateAgent) {
	if !m.admitted(ev.Agent) {
		m.respond(ev.Request, 400, unknownAgent)
		return
	}
	if _, already := m.registry.Drain(string(ev.Agent)); already {
		m.respond(ev.Request, 200, "")
		return
	}
	m.proposeFor(ev.Request, ev.Agent, &registry.Op{Op: &registry.Op_DeactivateAgent{
		DeactivateAgent: &registry.DeactivateAgent{AgentId: ev.Agent.Proto()},
	}}, func(*agent) {})
}

// reactivate is the call REACTIVATE_AGENT (OPR-59).
func (m *Master) reactivate(ev ReactivateAgent) {
	d, ok := m.registry.Drain(string(ev.Agent))
	switch {
	case !ok:
		m.respond(ev.Request, 400, "Agent is not deactivated")
		return
	case isDraining(d):
		m.respond(ev.Request, 400, "Agent is still in the DRAINING state")
		return
	}
	m.proposeFor(ev.Request, ev.Agent, &registry.Op{Op: &registry.Op_ReactivateAgent{
		ReactivateAgent: &registry.ReactivateAgent{AgentId: ev.Agent.Proto()},
	}}, func(a *agent) {
		// The agent has found out for itself that it is empty, unless it saw more than this master.
		m.tell(a, &wire.ToAgent{Message: &wire.ToAgent_Drain{Drain: &wire.Drain{}}})
	})
}

// proposeFor asks for an operator's change to an agent and answers when it is carried out. then runs
// before the answer if the agent is registered.
func (m *Master) proposeFor(r RequestID, id mesos.AgentID, op *registry.Op, then func(*agent)) {
	m.propose(op, func(res registry.Result, err error) {
		switch {
		case err != nil:
			m.respond(r, 503, notCommitted)
			return
		case !m.admitted(id):
			m.respond(r, 409, agentVanished)
			return
		case res.Refused != "":
			m.respond(r, 409, res.Refused) // another operator was faster
			return
		}
		if a, registered := m.agents.get(id); registered {
			m.followDrain(a)
			then(a)
		}
		m.changed(nil, nil)
		m.respond(r, 200, "")
	})
}

// readDrain takes over what the registry says about offers of the agent and its tasks.
func (m *Master) readDrain(a *agent) {
	a.drain, _ = m.registry.Drain(string(a.id))
	a.draining = isDraining(a.drain)
	m.changed(nil, a)
}

// followDrain does the same for an agent that may have offers, or be fit for some now.
func (m *Master) followDrain(a *agent) {
	m.readDrain(a)
	switch {
	case a.drain != nil:
		m.deactivateAgent(a)
	case a.connected():
		m.activateAgent(a)
	}
}

// isDraining reports whether an agent is to be emptied and is not yet; nil is neither.
func isDraining(d *registry.Drain) bool { return d.GetConfig() != nil && !d.GetDrained() }

func wireDrain(d *registry.Drain) *wire.Drain {
	return &wire.Drain{Config: d.GetConfig(), Time: d.Time}
}

// maybeDrained has the agent looked at before the step ends.
func (m *Master) maybeDrained(a *agent) {
	if a.draining && a.tasks.len() == 0 {
		m.emptied = append(m.emptied, a)
	}
}

// settleDrains records that agents have nothing left of what they were to get rid of: tasks, terminal
// ones with an unacknowledged update included. Only a connected agent can be known to have nothing.
func (m *Master) settleDrains() {
	for _, a := range m.emptied {
		if !a.draining || a.settling || a.leaving || !a.connected() || a.tasks.len() > 0 {
			continue
		}
		if a.drain.GetConfig().GetMarkGone() {
			m.markGone(a.id, func(res registry.Result, err error) {
				if err != nil || res.Refused != "" {
					m.settleLater(a)
				}
			})
			continue
		}
		a.settling = true
		m.propose(&registry.Op{Op: &registry.Op_AgentDrained{AgentDrained: &registry.AgentDrained{AgentId: a.id.Proto()}}},
			func(_ registry.Result, err error) {
				if err != nil {
					m.settleLater(a)
					return
				}
				a.settling = false
				m.readDrain(a)
				m.maybeDrained(a) // if it is drained anew by now
			})
	}
	m.emptied = m.emptied[:0]
}

// settleLater tries again what was not committed.
func (m *Master) settleLater(a *agent) {
	a.settling = true
	m.timers.set(m.now.Add(proposeAgain), func() {
		a.settling = false
		m.maybeDrained(a)
	})
}

// drainInfo is how operators see a drain, nil without one (OPR-39).
func drainInfo(d *registry.Drain) *v1.DrainInfo {
	if d.GetConfig() == nil {
		return nil
	}
	state := v1.DrainState_DRAINING
	if d.GetDrained() {
		state = v1.DrainState_DRAINED
	}
	return &v1.DrainInfo{State: state.Enum(), Config: d.GetConfig()}
}

// drainStart is when a drain began, in whole seconds, nil without one (OPR-39).
func drainStart(d *registry.Drain) *v1.TimeInfo {
	if d.GetConfig() == nil {
		return nil
	}
	return timeInfo(unixTime(d.GetTime()).Truncate(time.Second))
}
