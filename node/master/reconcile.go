package master

import (
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"

	"google.golang.org/protobuf/proto"
)

const latestTaskState = "Reconciliation: Latest task state"

// latestStatus is the newest state of a task as the master tells it: without uuid, data and labels
// (SCH-239).
func (m *Master) latestStatus(t *task, reason v1.TaskStatus_Reason, message string) *v1.TaskStatus {
	s := m.masterStatus(t.id, lostState(t.state, t.framework.partitionAware), reason, message)
	s.AgentId = t.proto.GetAgentId()
	s.ExecutorId = t.proto.GetExecutorId()
	if n := len(t.proto.GetStatuses()); n > 0 {
		last := t.proto.GetStatuses()[n-1]
		s.Healthy = last.Healthy
		s.CheckStatus = last.CheckStatus
		s.ContainerStatus = last.ContainerStatus
	}
	return s
}

// reconcileUnknown answers for a task that is not active, by what is known of its agent. There is
// no answer while an agent that may run it has not come back after the election (SCH-242).
func (m *Master) reconcileUnknown(f *framework, id mesos.TaskID, agent *v1.AgentID) {
	if agent == nil {
		if m.recovered.len() == 0 {
			m.sendUnknown(f, id, nil, v1.TaskState_TASK_UNKNOWN, "Reconciliation: Task is unknown", nil)
		}
		return
	}
	aid := mesos.AgentID(agent.GetValue())
	if m.recovered.has(aid) {
		return
	}
	if a, ok := m.agents.get(aid); ok {
		if !a.connected() && !f.info.GetCheckpoint() {
			return // the task was given up when the agent went, and may come back with it (SCH-266)
		}
		const message = "Reconciliation: Task is unknown to the agent"
		if t, ok := f.unreachable.get(id); ok { // lost with the agent, which is back without it: it has ended
			m.endTask(t, v1.TaskState_TASK_GONE, v1.TaskStatus_REASON_RECONCILIATION, message)
			return
		}
		m.sendUnknown(f, id, agent, v1.TaskState_TASK_GONE, message, nil)
		return
	}
	if lost, ok := m.registry.Unreachable(string(aid)); ok {
		since := &v1.TimeInfo{Nanoseconds: proto.Int64(lost.GetTime())}
		m.sendUnknown(f, id, agent, v1.TaskState_TASK_UNREACHABLE, "Reconciliation: Task is unreachable", since)
		return
	}
	if _, ok := m.registry.Gone(string(aid)); ok {
		m.sendUnknown(f, id, agent, v1.TaskState_TASK_GONE_BY_OPERATOR, "Reconciliation: Task is gone", nil)
		return
	}
	m.sendUnknown(f, id, agent, v1.TaskState_TASK_UNKNOWN, "Reconciliation: Task is unknown", nil)
}

func (m *Master) sendUnknown(f *framework, id mesos.TaskID, agent *v1.AgentID, state v1.TaskState, message string, since *v1.TimeInfo) {
	s := m.masterStatus(id, lostState(state, f.partitionAware), v1.TaskStatus_REASON_RECONCILIATION, message)
	s.AgentId, s.UnreachableTime = agent, since
	m.sendStatus(f, s)
}

// reconcileOperations is the RECONCILE_OPERATIONS call. No operation has been carried out, so all
// that are asked for are unknown (SCH-256, SCH-257).
func (m *Master) reconcileOperations(f *framework, operations []*v1scheduler.Call_ReconcileOperations_Operation) {
	for _, asked := range operations {
		state, message := m.unknownOperation(asked.AgentId)
		m.sendOperation(f, &v1.OperationStatus{
			OperationId: asked.OperationId,
			State:       state.Enum(),
			Message:     &message,
			AgentId:     asked.AgentId,
		})
	}
}

func (m *Master) unknownOperation(agent *v1.AgentID) (v1.OperationState, string) {
	id := agent.GetValue()
	if agent == nil {
		return v1.OperationState_OPERATION_UNKNOWN, "Reconciliation: Operation is unknown and no 'agent_id' was provided"
	}
	if m.agents.has(mesos.AgentID(id)) {
		return v1.OperationState_OPERATION_UNKNOWN, "Reconciliation: Operation is unknown"
	}
	if m.recovered.has(mesos.AgentID(id)) {
		return v1.OperationState_OPERATION_RECOVERING, "Reconciliation: Agent is recovered but has not re-registered"
	}
	if _, ok := m.registry.Unreachable(id); ok {
		return v1.OperationState_OPERATION_UNREACHABLE, "Reconciliation: Agent is unreachable"
	}
	if _, ok := m.registry.Gone(id); ok {
		return v1.OperationState_OPERATION_GONE_BY_OPERATOR, "Reconciliation: Agent marked gone by operator"
	}
	return v1.OperationState_OPERATION_UNKNOWN, "Reconciliation: Both operation and agent are unknown"
}

// sendOperation sends an UPDATE_OPERATION_STATUS event.
func (m *Master) sendOperation(f *framework, s *v1.OperationStatus) {
	m.send(f, &v1scheduler.Event{
		Type:                  v1scheduler.Event_UPDATE_OPERATION_STATUS.Enum(),
		UpdateOperationStatus: &v1scheduler.Event_UpdateOperationStatus{Status: s},
	})
}
