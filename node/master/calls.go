package master

import (
	"fmt"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"
)

// schedulerCall makes the checks that need the state, in the order of SCH-96 to SCH-98, and passes
// the call on.
func (m *Master) schedulerCall(c SchedulerCall) {
	if c.Call.GetType() == v1scheduler.Call_SUBSCRIBE {
		m.subscribe(c)
		return
	}
	id := mesos.FrameworkID(c.Call.GetFrameworkId().GetValue())
	f, ok := m.frameworks.get(id)
	if !ok {
		m.respond(c.Request, 400, "Framework cannot be found")
		return
	}
	if status, reason := checkCaller(f, c); status != 0 {
		m.respond(c.Request, status, reason)
		return
	}
	m.dispatch(f, c)
}

// checkCaller says why a call is not one of the subscribed scheduler of f.
func checkCaller(f *framework, c SchedulerCall) (status int, reason string) {
	principal := f.info.GetPrincipal()
	switch {
	case c.Principal != "" && c.Principal != principal:
		return 400, fmt.Sprintf("Authenticated principal '%s' does not match principal '%s' set in `FrameworkInfo`",
			c.Principal, principal)
	case !f.connected():
		return 403, "Framework is not subscribed"
	case !c.HasHeader:
		return 400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header"
	case c.Header != f.streamUUID:
		return 400, fmt.Sprintf("The stream ID '%s' included in this request didn't match the stream ID currently associated with framework ID %s",
			c.Header, f.id)
	}
	return 0, ""
}

// dispatch carries out a call of a subscribed framework.
func (m *Master) dispatch(f *framework, c SchedulerCall) {
	call := c.Call
	switch call.GetType() {
	case v1scheduler.Call_TEARDOWN:
		f.counters.call(call.GetType())
		m.counters.add("master/messages_unregister_framework")
		m.teardown(f, c)
		return
	case v1scheduler.Call_UPDATE_FRAMEWORK:
		m.updateFramework(f, c)
		return
	case v1scheduler.Call_UNKNOWN:
		m.respond(c.Request, 501, "") // SCH-10
		return
	}
	// The answer never waits for the outcome, which arrives as events (SCH-99).
	f.counters.call(call.GetType())
	m.respond(c.Request, 202, "")
	switch call.GetType() {
	case v1scheduler.Call_ACCEPT:
		m.accept(f, call.GetAccept())
	case v1scheduler.Call_DECLINE:
		m.counters.add("master/messages_decline_offers")
		m.decline(f, call.GetDecline())
	case v1scheduler.Call_ACCEPT_INVERSE_OFFERS, v1scheduler.Call_DECLINE_INVERSE_OFFERS:
		// No maintenance, so no inverse offers: every id is unknown and ignored (SCH-200).
	case v1scheduler.Call_REVIVE:
		m.counters.add("master/messages_revive_offers")
		m.revive(f, call.GetRevive().GetRoles())
	case v1scheduler.Call_SUPPRESS:
		m.counters.add("master/messages_suppress_offers")
		m.suppress(f, call.GetSuppress().GetRoles())
	case v1scheduler.Call_KILL:
		m.counters.add("master/messages_kill_task")
		m.kill(f, call.GetKill())
	case v1scheduler.Call_SHUTDOWN:
		m.shutdownExecutor(f, call.GetShutdown())
	case v1scheduler.Call_ACKNOWLEDGE:
		m.counters.add("master/messages_status_update_acknowledgement")
		m.acknowledge(f, call.GetAcknowledge())
	case v1scheduler.Call_ACKNOWLEDGE_OPERATION_STATUS:
		// No operation has been carried out: unknown ones are ignored (SCH-250).
		m.counters.add("master/messages_operation_status_update_acknowledgement")
		m.counters.add("master/invalid_operation_status_update_acknowledgements")
	case v1scheduler.Call_RECONCILE:
		m.counters.add("master/messages_reconcile_tasks")
		m.reconcile(f, call.GetReconcile().GetTasks())
	case v1scheduler.Call_RECONCILE_OPERATIONS:
		m.counters.add("master/messages_reconcile_operations")
		m.reconcileOperations(f, call.GetReconcileOperations().GetOperations())
	case v1scheduler.Call_MESSAGE:
		m.counters.add("master/messages_framework_to_executor")
		m.frameworkMessage(f, call.GetMessage())
	case v1scheduler.Call_REQUEST:
		m.counters.add("master/messages_resource_request") // SCH-206
	}
}

// revive is the REVIVE call (SCH-202). A role that the framework does not have makes the whole call
// void (SCH-204).
func (m *Master) revive(f *framework, roles []string) {
	if !f.hasRoles(roles) {
		return
	}
	if len(roles) == 0 {
		f.setSuppressed(nil)
	}
	for _, r := range roles {
		delete(f.suppressed, r)
	}
	m.alloc.Revive(f.id, roles)
	m.changed(f, nil)
}

// suppress is the SUPPRESS call (SCH-203).
func (m *Master) suppress(f *framework, roles []string) {
	if !f.hasRoles(roles) {
		return
	}
	if len(roles) == 0 {
		f.setSuppressed(f.roles)
	}
	for _, r := range roles {
		f.suppressed[r] = struct{}{}
	}
	m.alloc.Suppress(f.id, roles)
	m.changed(f, nil)
}

// kill is the KILL call. A task that the master does not know is answered as in reconciliation
// (SCH-213 to SCH-217).
func (m *Master) kill(f *framework, k *v1scheduler.Call_Kill) {
	id := mesos.TaskID(k.GetTaskId().GetValue())
	t, ok := f.tasks.get(id)
	if !ok {
		m.reconcileUnknown(f, id, k.GetAgentId())
		return
	}
	if k.AgentId != nil && k.GetAgentId().GetValue() != string(t.agent.id) {
		return
	}
	message := &wire.KillTask{FrameworkId: f.id.Proto(), TaskId: id.Proto(), KillPolicy: k.GetKillPolicy()}
	if !t.agent.connected() {
		t.agent.kills.put(taskKey{f.id, id}, message)
		return
	}
	m.tell(t.agent, killTask(message))
}

func killTask(k *wire.KillTask) *wire.ToAgent {
	return &wire.ToAgent{Message: &wire.ToAgent_KillTask{KillTask: k}}
}

// shutdownExecutor is the SHUTDOWN call (SCH-219).
func (m *Master) shutdownExecutor(f *framework, s *v1scheduler.Call_Shutdown) {
	a, ok := m.agents.get(mesos.AgentID(s.GetAgentId().GetValue()))
	if !ok {
		return
	}
	m.tell(a, &wire.ToAgent{Message: &wire.ToAgent_ShutdownExecutor{ShutdownExecutor: &wire.ShutdownExecutor{
		FrameworkId: f.id.Proto(), ExecutorId: s.GetExecutorId(),
	}}})
}

// frameworkMessage is the MESSAGE call: at most once, to the framework's own executors only
// (SCH-220, SCH-290).
func (m *Master) frameworkMessage(f *framework, msg *v1scheduler.Call_Message) {
	a, ok := m.agents.get(mesos.AgentID(msg.GetAgentId().GetValue()))
	if !ok || !a.connected() {
		m.counters.add("master/invalid_framework_to_executor_messages")
		return
	}
	m.counters.add("master/valid_framework_to_executor_messages")
	m.tell(a, &wire.ToAgent{Message: &wire.ToAgent_FrameworkMessage{FrameworkMessage: &wire.FrameworkMessage{
		FrameworkId: f.id.Proto(), ExecutorId: msg.GetExecutorId(), Data: msg.GetData(),
	}}})
}

// executorMessage passes the message of an executor on (SCH-220).
func (m *Master) executorMessage(a *agent, msg *wire.ExecutorMessage) {
	m.counters.add("master/messages_executor_to_framework")
	f, ok := m.frameworks.get(mesos.FrameworkID(msg.GetFrameworkId().GetValue()))
	if !ok || !m.send(f, &v1scheduler.Event{
		Type: v1scheduler.Event_MESSAGE.Enum(),
		Message: &v1scheduler.Event_Message{
			AgentId: a.id.Proto(), ExecutorId: msg.GetExecutorId(), Data: msg.GetData(),
		},
	}) {
		m.counters.add("master/invalid_executor_to_framework_messages")
		return
	}
	m.counters.add("master/valid_executor_to_framework_messages")
}

// hasRoles reports whether all of roles are roles of f.
func (f *framework) hasRoles(roles []string) bool {
	for _, r := range roles {
		found := false
		for _, own := range f.roles {
			found = found || own == r
		}
		if !found {
			return false
		}
	}
	return true
}

// failureEvent is the event that an agent, or an executor on it, is lost (SCH-258, SCH-259).
func failureEvent(a mesos.AgentID, e *v1.ExecutorID, status *int32) *v1scheduler.Event {
	return &v1scheduler.Event{
		Type:    v1scheduler.Event_FAILURE.Enum(),
		Failure: &v1scheduler.Event_Failure{AgentId: a.Proto(), ExecutorId: e, Status: status},
	}
}
