package master

import (
	"bytes"
	"slices"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

// statusUpdate takes in a status update from an agent: the newest state is kept, a terminal one
// frees resources, and the framework is told, also of duplicates (SCH-225, SCH-228).
func (m *Master) statusUpdate(a *agent, u *wire.StatusUpdate) {
	m.counters.add("master/messages_status_update")
	id := mesos.FrameworkID(u.GetFrameworkId().GetValue())
	status := u.GetStatus()
	f, ok := m.frameworks.get(id)
	if !ok {
		m.counters.add("master/invalid_status_updates")
		m.strayUpdate(a, id, status)
		return
	}
	if state := lostState(status.GetState(), f.partitionAware); state != status.GetState() {
		status = proto.CloneOf(status)
		status.State = state.Enum()
	}
	if t, ok := f.tasks.get(mesos.TaskID(status.GetTaskId().GetValue())); ok && t.agent != a {
		// Of a former task of that id, which restoreTask has killed: not the framework's any more.
		m.counters.add("master/invalid_status_updates")
		m.acknowledgeFor(a, id, status)
		return
	}
	t, ok := a.tasks.get(taskKey{id, mesos.TaskID(status.GetTaskId().GetValue())})
	if !ok {
		// The agent knows better; the framework may repeat the acknowledgement.
		m.counters.add("master/invalid_status_updates")
		m.sendStatus(f, status)
		return
	}
	m.counters.add("master/valid_status_updates")
	m.record(t, status, u.LatestState)
	m.sendStatus(f, status)
}

// strayUpdate answers an update of a framework that is not known any more: the agent has missed
// its end, or is about to carry it out. Nobody else will acknowledge.
func (m *Master) strayUpdate(a *agent, f mesos.FrameworkID, status *v1.TaskStatus) {
	m.tell(a, &wire.ToAgent{Message: &wire.ToAgent_ShutdownFramework{
		ShutdownFramework: &wire.ShutdownFramework{FrameworkId: f.Proto()},
	}})
	m.acknowledgeFor(a, f, status)
}

// acknowledgeFor acknowledges an update that no framework will ever see.
func (m *Master) acknowledgeFor(a *agent, f mesos.FrameworkID, status *v1.TaskStatus) {
	if len(status.GetUuid()) > 0 {
		m.tell(a, &wire.ToAgent{Message: &wire.ToAgent_Acknowledge{Acknowledge: &wire.Acknowledge{
			FrameworkId: f.Proto(), TaskId: status.GetTaskId(), Uuid: status.GetUuid(),
		}}})
	}
}

// record keeps a status of t. latest, if set, is a state further on than that of the status.
func (m *Master) record(t *task, status *v1.TaskStatus, latest *v1.TaskState) {
	to := status.GetState()
	if latest != nil {
		to = *latest
	}
	moved := m.transition(t, lostState(to, t.framework.partitionAware), status)
	p := copyTask(t.proto)
	if !moved && !hasStatus(p.GetStatuses(), status.GetUuid()) {
		p.Statuses = withStatus(p, status)
	}
	p.StatusUpdateState = status.State
	p.StatusUpdateUuid = status.Uuid
	t.show(p)
	m.changed(t.framework, t.agent)
}

// hasStatus reports whether a history has the status of this uuid.
func hasStatus(history []*v1.TaskStatus, uuid []byte) bool {
	return slices.ContainsFunc(history, func(s *v1.TaskStatus) bool { return bytes.Equal(s.GetUuid(), uuid) })
}

// acknowledge is the ACKNOWLEDGE call: that of a terminal state ends the task, and the agent is
// told in any case (SCH-227, SCH-228).
func (m *Master) acknowledge(f *framework, ack *v1scheduler.Call_Acknowledge) {
	id := mesos.TaskID(ack.GetTaskId().GetValue())
	a, ok := m.agents.get(mesos.AgentID(ack.GetAgentId().GetValue()))
	if !ok {
		m.counters.add("master/invalid_status_update_acknowledgements")
		return
	}
	t, ok := a.tasks.get(taskKey{f.id, id})
	ends := ok && mesos.Terminal(t.proto.GetStatusUpdateState()) && bytes.Equal(t.proto.GetStatusUpdateUuid(), ack.GetUuid())
	switch {
	case ends && t.own != nil: // the agent does not know the task
		m.complete(t)
		m.counters.add("master/valid_status_update_acknowledgements")
		return
	case !a.connected(): // it will send the update again
		m.counters.add("master/invalid_status_update_acknowledgements")
		return
	case ends:
		m.complete(t)
	}
	m.counters.add("master/valid_status_update_acknowledgements")
	m.tell(a, &wire.ToAgent{Message: &wire.ToAgent_Acknowledge{Acknowledge: &wire.Acknowledge{
		FrameworkId: f.id.Proto(), TaskId: ack.GetTaskId(), Uuid: ack.GetUuid(),
	}}})
}

// dropUnknown ends a task that its agent does not know although the master has sent it (SCH-269).
// The master answers for the update until it is acknowledged.
func (m *Master) dropUnknown(t *task) {
	if t.own != nil {
		m.sendStatus(t.framework, t.own)
		return
	}
	status := m.masterStatus(t.id, lostState(v1.TaskState_TASK_DROPPED, t.framework.partitionAware),
		v1.TaskStatus_REASON_RECONCILIATION, "Reconciliation: task unknown to the agent")
	status.Source = v1.TaskStatus_SOURCE_AGENT.Enum()
	status.AgentId = t.agent.id.Proto()
	status.Uuid = mesos.NewUUID(m.rand).Bytes()
	t.own = status
	m.record(t, status, v1.TaskState_TASK_DROPPED.Enum())
	m.sendStatus(t.framework, status)
}

// resendOwn sends again what only the master can deliver (SCH-230).
func (m *Master) resendOwn(f *framework) {
	for t := range f.tasks.values() {
		if t.own != nil {
			m.sendStatus(f, t.own)
		}
	}
}

// executorExited takes in the end of a custom or default executor (SCH-259).
func (m *Master) executorExited(a *agent, x *wire.ExecutorExited) {
	m.counters.add("master/messages_exited_executor")
	key := executorKey{
		mesos.FrameworkID(x.GetFrameworkId().GetValue()), a.id, mesos.ExecutorID(x.GetExecutorId().GetValue()),
	}
	e, ok := a.executors.get(key)
	if !ok {
		return // its framework has ended, or it was never known
	}
	if e.ended = e.awaited(); !e.ended {
		m.removeExecutor(e)
	}
	m.send(e.framework, failureEvent(a.id, x.GetExecutorId(), x.Status))
}
