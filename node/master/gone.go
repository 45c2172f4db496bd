package master

import (
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/raft/registry"
)

const markedGone = "Agent has been marked gone"

// markGoneByOperator is the call MARK_AGENT_GONE (OPR-56).
func (m *Master) markGoneByOperator(ev MarkAgentGone) {
	notFound := "Agent '" + string(ev.Agent) + "' not found"
	if _, already := m.registry.Gone(string(ev.Agent)); already {
		m.respond(ev.Request, 200, "")
		return
	}
	if b, busy := m.busyAgents[ev.Agent]; busy {
		m.respond(ev.Request, 503, "Agent '"+string(ev.Agent)+"' is being "+string(b.doing))
		return
	}
	if !m.admitted(ev.Agent) {
		m.respond(ev.Request, 404, notFound)
		return
	}
	m.markGone(ev.Agent, func(res registry.Result, err error) {
		switch {
		case err != nil:
			m.respond(ev.Request, 503, notCommitted)
		case res.Refused != "":
			m.respond(ev.Request, 404, notFound) // an agent that never heard its id was taken back meanwhile
		default:
			m.respond(ev.Request, 200, "")
		}
	})
}

// markGone ends an agent for ever, whether it is there or not; then runs at the end. The mark is in the
// registry before anybody is told (SCH-270).
//
// Preconditions: the agent is admitted and not busy.
func (m *Master) markGone(id mesos.AgentID, then func(registry.Result, error)) {
	m.counters.add("master/slave_shutdowns_scheduled")
	m.beginLeaving(id, markingGone)
	now := m.now.UnixNano()
	m.propose(&registry.Op{Op: &registry.Op_MarkAgentGone{MarkAgentGone: &registry.MarkAgentGone{
		AgentId: id.Proto(), Time: &now,
	}}}, func(res registry.Result, err error) {
		if err != nil || res.Refused != "" {
			m.counters.add("master/slave_shutdowns_canceled")
			m.stay(id)
		} else {
			m.counters.add("master/slave_shutdowns_completed")
			m.agentGone(id)
		}
		then(res, err)
		m.releaseAgent(id) // who comes back is turned away
	})
}

// agentGone tells everybody, in the order of SCH-270. That an unreachable agent is lost has been told
// and counted before.
func (m *Master) agentGone(id mesos.AgentID) {
	a, registered := m.agents.get(id)
	if registered {
		for t := range a.tasks.values() {
			m.endGoneTask(t)
		}
	}
	for f := range m.frameworks.values() {
		for t := range f.unreachable.values() {
			if t.proto.GetAgentId().GetValue() == string(id) {
				m.endGoneTask(t)
			}
		}
	}
	switch {
	case registered:
		m.tell(a, shutdownMessage(markedGone))
		m.dropAgent(a)
	case m.recovered.has(id):
		m.endAwaiting(id)
	default:
		m.changed(nil, nil)
		return
	}
	m.counters.add("master/slave_removals")
	m.announceFailure(id)
}

// endGoneTask completes a task of an agent that is gone, in the words that its framework knows.
func (m *Master) endGoneTask(t *task) {
	if t.framework.partitionAware {
		m.endTask(t, v1.TaskState_TASK_GONE_BY_OPERATOR, v1.TaskStatus_REASON_AGENT_REMOVED_BY_OPERATOR, markedGone)
	} else {
		m.endTask(t, v1.TaskState_TASK_LOST, v1.TaskStatus_REASON_AGENT_REMOVED, markedGone)
	}
}
