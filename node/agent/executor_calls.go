package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

const notRecovered = "Agent has not finished recovery" // EXE-3

// executorCall answers one call of the executor API.
func (a *Agent) executorCall(ev ExecutorCall) {
	if status, body := a.answer(ev); status != 0 {
		a.emit(Respond{Request: ev.Request, Status: status, Body: body})
	}
}

// answer does what a call asks for, and returns how to answer it; 0 if that is done.
func (a *Agent) answer(ev ExecutorCall) (status int, body string) {
	call := ev.Call
	if a.phase == loading || a.phase == ended {
		return 503, notRecovered
	}
	if fault := validate(call); fault != "" {
		return 400, "Failed to validate Executor::Call: " + fault
	}
	if call.GetType() == v1executor.Call_HEARTBEAT {
		return 202, ""
	}
	f := a.framework(mesos.FrameworkID(call.GetFrameworkId().GetValue()))
	if f == nil {
		return 400, "Framework cannot be found"
	}
	e := f.executor(mesos.ExecutorID(call.GetExecutorId().GetValue()))
	if e == nil {
		return 400, "Executor cannot be found"
	}
	switch {
	case call.GetType() == v1executor.Call_SUBSCRIBE:
		a.subscribe(e, ev)
		return 0, ""
	case a.phase == reconnecting:
		return 503, notRecovered
	case call.GetType() == v1executor.Call_UNKNOWN:
		return 501, "501 Not Implemented."
	case !e.connected:
		return 403, "Executor is not subscribed"
	case call.GetType() == v1executor.Call_UPDATE:
		a.executorUpdate(e, call.GetUpdate().GetStatus())
	case call.GetType() == v1executor.Call_MESSAGE:
		a.executorMessage(e, call.GetMessage().GetData())
	}
	return 202, ""
}

// validate does the checks of a call that need no state, and returns the fault (EXE-21).
func validate(call *v1executor.Call) string {
	switch call.GetType() {
	case v1executor.Call_UPDATE:
		return validateUpdate(call, call.GetUpdate().GetStatus())
	case v1executor.Call_SUBSCRIBE:
		for _, u := range call.GetSubscribe().GetUnacknowledgedUpdates() {
			if fault := validateUpdate(call, u.GetStatus()); fault != "" {
				return fault
			}
		}
	}
	return ""
}

func validateUpdate(call *v1executor.Call, s *v1.TaskStatus) string {
	executor, framework := call.GetExecutorId().GetValue(), call.GetFrameworkId().GetValue()
	if s.Uuid == nil {
		return "Expecting 'uuid' to be present"
	}
	if _, err := mesos.UUIDFromBytes(s.GetUuid()); err != nil {
		return err.Error()
	}
	if id := s.GetExecutorId(); id != nil && id.GetValue() != executor {
		return fmt.Sprintf("ExecutorID in Call: %s does not match ExecutorID in TaskStatus: %s", executor, id.GetValue())
	}
	if s.Source == nil || s.GetSource() != v1.TaskStatus_SOURCE_EXECUTOR {
		return fmt.Sprintf("Received Call from executor %s of framework %s with invalid source, expecting 'SOURCE_EXECUTOR'", executor, framework)
	}
	if s.GetState() == v1.TaskState_TASK_STAGING {
		return fmt.Sprintf("Received TASK_STAGING from executor %s of framework %s which is not allowed", executor, framework)
	}
	return validateCheckStatus(s.GetCheckStatus())
}

func validateCheckStatus(c *v1.CheckStatusInfo) string {
	if c == nil {
		return ""
	}
	var name string
	var set bool
	switch c.GetType() {
	case v1.CheckInfo_COMMAND:
		name, set = "command", c.Command != nil
	case v1.CheckInfo_HTTP:
		name, set = "http", c.Http != nil
	case v1.CheckInfo_TCP:
		name, set = "tcp", c.Tcp != nil
	default:
		return "" // of a check that has not run yet
	}
	if !set {
		return fmt.Sprintf("Expecting '%s' to be set for %s check's status", name, c.GetType())
	}
	return ""
}

// subscribe opens the event stream of an executor; the newest connection wins (EXE-15).
func (a *Agent) subscribe(e *executor, ev ExecutorCall) {
	subscribe := ev.Call.GetSubscribe()
	a.disconnect(e)
	e.stream, e.connected = ev.Stream, true
	a.streams[e.stream] = e
	a.emit(OpenStream{Request: ev.Request, Stream: ev.Stream})
	if e.state >= terminating || e.f.terminating {
		// What it has to say is heard all the same (EXE-16).
		a.repeated(e, subscribe.GetUnacknowledgedUpdates())
		a.emit(Send{Stream: e.stream, Event: eventShutdown()})
		a.disconnect(e)
		return
	}
	e.state, e.recovered, e.deadline = running, false, time.Time{}
	a.emit(Send{Stream: e.stream, Event: a.eventSubscribed(e)})
	a.repeated(e, subscribe.GetUnacknowledgedUpdates())
	a.reconcile(e, subscribe.GetUnacknowledgedTasks())
	if !e.used && len(e.queued()) == 0 {
		a.shutdownExecutor(e) // EXE-19
	}
	if e.state != running {
		a.reconnected()
		return
	}
	for _, t := range e.tasks {
		a.sendKill(t)
	}
	a.resize(e)
	a.deliver(e)
	a.reconnected()
}

// repeated takes the updates that the executor could not get rid of before (EXE-17).
func (a *Agent) repeated(e *executor, updates []*v1executor.Call_Update) {
	for _, u := range updates {
		a.executorUpdate(e, u.GetStatus())
	}
}

// reconcile compares what was sent with what arrived. A command task that did not arrive is sent
// again, unless it was killed since. Other tasks are dropped (EXE-18). A custom executor that this
// agent has sent a task counts as used, whether the task arrived or not (EXE-19); a built-in one is
// of no use without its task.
func (a *Agent) reconcile(e *executor, known []*v1.TaskInfo) {
	if e.command {
		e.used = e.proven
	}
	for _, t := range slices.Clone(e.tasks) {
		if t.terminal() || t.view.GetState() != v1.TaskState_TASK_STAGING || !t.delivered && !t.unsure {
			continue
		}
		t.unsure = false
		arrived := slices.ContainsFunc(known, func(i *v1.TaskInfo) bool { return i.GetTaskId().GetValue() == string(t.id) })
		switch {
		case arrived:
			t.marked, t.delivered, e.used = true, true, true
		case e.command:
			t.marked, t.delivered = false, false
			if t.killing {
				a.killQueued(t)
			}
		default:
			a.update(t, a.status(t, termination{
				state: v1.TaskState_TASK_DROPPED, lost: true,
				reason:  v1.TaskStatus_REASON_AGENT_RESTARTED.Enum(),
				message: "Task launched during agent restart",
			}))
		}
	}
}

func (a *Agent) executorClosed(stream StreamID) {
	if e := a.streams[stream]; e != nil {
		delete(a.streams, stream)
		e.connected = false
	}
}

// executorUpdate takes a status from an executor.
func (a *Agent) executorUpdate(e *executor, status *v1.TaskStatus) {
	id := mesos.TaskID(status.GetTaskId().GetValue())
	uuid, err := mesos.UUIDFromBytes(status.GetUuid())
	if err != nil {
		return // validated before
	}
	i := slices.IndexFunc(e.tasks, func(t *task) bool { return t.id == id })
	switch {
	case e.f.terminating:
		// The master has settled what became of the tasks.
		if i >= 0 {
			e.tasks[i].view = viewWith(e.tasks[i].view, a.complete(e, status))
		}
		a.confirm(e, id, uuid)
		return
	case i < 0:
		a.strayUpdate(e, id, uuid, a.complete(e, status))
		return
	}
	t := e.tasks[i]
	if known, stored := t.updates.find(uuid); known {
		if stored {
			a.confirm(e, id, uuid)
		}
		return
	}
	if t.terminal() {
		a.metrics.invalidStatusUpdates++
		a.confirm(e, id, uuid) // EXE-23
		return
	}
	a.metrics.validStatusUpdates++
	t.marked, t.delivered, t.unsure = true, true, false
	if e.used = true; !e.proven {
		e.proven = true
		a.storeContainer(e)
	}
	a.update(t, a.complete(e, status))
}

// strayUpdate is about a task that this agent does not know, or not any more. The framework is told
// once of the first kind (EXE-23).
func (a *Agent) strayUpdate(e *executor, id mesos.TaskID, uuid mesos.UUID, status *v1.TaskStatus) {
	a.metrics.invalidStatusUpdates++
	ended := slices.ContainsFunc(e.completed, func(t *v1.Task) bool { return t.GetTaskId().GetValue() == string(id) })
	if !ended && a.master.registered {
		a.send(&wire.FromAgent{Message: &wire.FromAgent_StatusUpdate{StatusUpdate: &wire.StatusUpdate{
			FrameworkId: e.f.id.Proto(), Status: status, LatestState: status.GetState().Enum(),
		}}})
	}
	a.confirm(e, id, uuid)
}

// complete adds to a status what the agent knows better (EXE-22).
func (a *Agent) complete(e *executor, status *v1.TaskStatus) *v1.TaskStatus {
	s := proto.CloneOf(status)
	s.AgentId = a.info.GetId()
	s.ExecutorId = e.id.Proto()
	s.Source = v1.TaskStatus_SOURCE_EXECUTOR.Enum()
	if s.Timestamp == nil {
		s.Timestamp = proto.Float64(seconds(a.now))
	}
	if s.ContainerStatus == nil {
		s.ContainerStatus = &v1.ContainerStatus{}
	}
	c := s.ContainerStatus
	if c.ContainerId == nil {
		c.ContainerId = e.container.Proto()
	}
	if ip, err := netip.ParseAddr(a.ip()); err == nil && len(c.NetworkInfos) == 0 {
		protocol := v1.NetworkInfo_IPv4
		if ip.Is6() {
			protocol = v1.NetworkInfo_IPv6
		}
		c.NetworkInfos = []*v1.NetworkInfo{{IpAddresses: []*v1.NetworkInfo_IPAddress{{
			Protocol: protocol.Enum(), IpAddress: proto.String(ip.String()),
		}}}}
	}
	if c.ExecutorPid == nil && e.pid > 0 {
		c.ExecutorPid = proto.Uint32(uint32(e.pid))
	}
	return s
}

// executorMessage passes a message on; it is lost while there is no master (EXE-24).
func (a *Agent) executorMessage(e *executor, data []byte) {
	if !a.master.registered || e.f.terminating {
		return
	}
	a.send(&wire.FromAgent{Message: &wire.FromAgent_ExecutorMessage{ExecutorMessage: &wire.ExecutorMessage{
		FrameworkId: e.f.id.Proto(), ExecutorId: e.id.Proto(), Data: data,
	}}})
}

func (a *Agent) eventSubscribed(e *executor) *v1executor.Event {
	return &v1executor.Event{
		Type: v1executor.Event_SUBSCRIBED.Enum(),
		Subscribed: &v1executor.Event_Subscribed{
			ExecutorInfo:  e.info,
			FrameworkInfo: e.f.info,
			AgentInfo:     a.info,
			ContainerId:   e.container.Proto(),
		},
	}
}

func eventLaunch(task *v1.TaskInfo) *v1executor.Event {
	return &v1executor.Event{
		Type:   v1executor.Event_LAUNCH.Enum(),
		Launch: &v1executor.Event_Launch{Task: task},
	}
}

func eventLaunchGroup(tasks []*task) *v1executor.Event {
	group := &v1.TaskGroupInfo{}
	for _, t := range tasks {
		group.Tasks = append(group.Tasks, t.info)
	}
	return &v1executor.Event{
		Type:        v1executor.Event_LAUNCH_GROUP.Enum(),
		LaunchGroup: &v1executor.Event_LaunchGroup{TaskGroup: group},
	}
}

// eventKill has a policy only if the framework gave one (EXE-28).
func eventKill(id mesos.TaskID, policy *v1.KillPolicy) *v1executor.Event {
	return &v1executor.Event{
		Type: v1executor.Event_KILL.Enum(),
		Kill: &v1executor.Event_Kill{TaskId: id.Proto(), KillPolicy: policy},
	}
}

func eventAcknowledged(id mesos.TaskID, uuid mesos.UUID) *v1executor.Event {
	return &v1executor.Event{
		Type:         v1executor.Event_ACKNOWLEDGED.Enum(),
		Acknowledged: &v1executor.Event_Acknowledged{TaskId: id.Proto(), Uuid: uuid.Bytes()},
	}
}

func eventMessage(data []byte) *v1executor.Event {
	return &v1executor.Event{
		Type:    v1executor.Event_MESSAGE.Enum(),
		Message: &v1executor.Event_Message{Data: data},
	}
}

func eventShutdown() *v1executor.Event {
	return &v1executor.Event{Type: v1executor.Event_SHUTDOWN.Enum()}
}
