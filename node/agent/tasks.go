package agent

import (
	"slices"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

// task is a task that is not complete: it is not terminal, or has an unacknowledged update.
type task struct {
	f    *framework
	e    *executor // nil for a stray
	id   mesos.TaskID
	info *v1.TaskInfo // nil for a stray that is only a name
	// view is the task as state endpoints and the master see it; replaced, never changed.
	view     *v1.Task
	sequence uint64
	group    uint64 // 0: stands alone
	// stored: on disk, if it is to be.
	stored bool
	// marked: it is about to be sent, and the mark is being stored. delivered: it was sent.
	marked, delivered bool
	// unsure: it may have been sent before a restart; its executor will tell.
	unsure bool
	// killing: a kill was asked for after delivery, last with this policy.
	killing bool
	policy  *v1.KillPolicy
	// generation of limits that the container needs for it.
	generation uint64
	updates    updates
}

func (t *task) terminal() bool { return mesos.Terminal(t.view.GetState()) }

// registered is the task as a master is told of it.
func (t *task) registered() *v1.Task {
	view := shareTask(t.view)
	if len(t.updates.queue) > 0 {
		head := t.updates.queue[0]
		view.StatusUpdateState = head.status.GetState().Enum()
		view.StatusUpdateUuid = head.uuid.Bytes()
	}
	return view
}

// viewOf is a task that has just been accepted.
func viewOf(f *framework, executor *v1.ExecutorInfo, info *v1.TaskInfo, command bool) *v1.Task {
	view := &v1.Task{
		Name:        info.Name,
		TaskId:      info.TaskId,
		FrameworkId: f.id.Proto(),
		AgentId:     info.AgentId,
		State:       v1.TaskState_TASK_STAGING.Enum(),
		Resources:   info.Resources,
		Labels:      info.Labels,
		Discovery:   info.Discovery,
		Container:   info.Container,
		HealthCheck: info.HealthCheck,
		KillPolicy:  info.KillPolicy,
		Limits:      info.Limits,
	}
	if !command {
		view.ExecutorId = executor.GetExecutorId()
	}
	// As the master has it: the framework's own user goes without saying.
	for _, c := range []*v1.CommandInfo{executor.GetCommand(), info.GetCommand()} {
		if c.GetUser() != "" {
			view.User = c.User
		}
	}
	return view
}

// shareTask is a copy that shares what is inside.
func shareTask(t *v1.Task) *v1.Task {
	return &v1.Task{
		Name: t.Name, TaskId: t.TaskId, FrameworkId: t.FrameworkId, ExecutorId: t.ExecutorId,
		AgentId: t.AgentId, State: t.State, Resources: t.Resources, Statuses: t.Statuses,
		StatusUpdateState: t.StatusUpdateState, StatusUpdateUuid: t.StatusUpdateUuid,
		Labels: t.Labels, Discovery: t.Discovery, Container: t.Container,
		HealthCheck: t.HealthCheck, KillPolicy: t.KillPolicy, User: t.User, Limits: t.Limits,
	}
}

// maxStatuses bounds the states shown for one task; an executor may go back and forth.
const maxStatuses = 50

// viewWith is the task after a status: the newest of each run of equal states is kept, without
// data (SCH-236).
func viewWith(t *v1.Task, status *v1.TaskStatus) *v1.Task {
	t = shareTask(t)
	t.State = status.GetState().Enum()
	if len(status.GetData()) > 0 {
		status = proto.CloneOf(status)
		status.Data = nil
	}
	statuses := slices.Clone(t.Statuses)
	if n := len(statuses); n > 0 && statuses[n-1].GetState() == status.GetState() {
		statuses[n-1] = status
	} else {
		statuses = append(statuses, status)
	}
	t.Statuses = last(statuses, maxStatuses)
	return t
}

// runTask accepts the tasks of one launch. They stand in the executor's queue before anything else
// of them happens, so the order of acceptance is the order of delivery (EXE-31).
func (a *Agent) runTask(m *wire.RunTask) {
	if a.phase != serving {
		a.emit(Log{Warn: true, Message: "ignoring a launch: the agent is ending"})
		return
	}
	f := a.admit(m.GetFramework())
	if f.terminating {
		a.emit(Log{Warn: true, Message: "ignoring a launch: the framework is being removed", Framework: f.id})
		return
	}
	infos := slices.DeleteFunc(slices.Clone(m.GetTasks()), func(info *v1.TaskInfo) bool {
		return f.task(mesos.TaskID(info.GetTaskId().GetValue())) != nil // sent twice
	})
	if len(infos) == 0 {
		return
	}
	if !m.GetGroup() {
		for _, info := range infos {
			a.accept(f, []*v1.TaskInfo{info}, info.GetExecutor(), 0)
		}
		return
	}
	a.groups++
	a.accept(f, infos, m.GetExecutor(), a.groups)
}

// accept queues a task, or a whole group, with its executor.
func (a *Agent) accept(f *framework, infos []*v1.TaskInfo, executor *v1.ExecutorInfo, group uint64) {
	command := executor == nil
	if command {
		executor = a.commandExecutor(f, infos[0])
	}
	e := f.executor(mesos.ExecutorID(executor.GetExecutorId().GetValue()))
	if why, refused := a.refusal(e, command); refused {
		for _, info := range infos {
			a.refuse(f, executor, info, command, why)
		}
		return
	}
	if e == nil {
		executor = proto.CloneOf(executor)
		executor.FrameworkId = f.id.Proto()
		e = a.newExecutor(f, executor, command)
	}
	for _, info := range infos {
		a.sequence++
		t := &task{
			f: f, e: e, id: mesos.TaskID(info.GetTaskId().GetValue()),
			info: info, view: viewOf(f, executor, info, command), sequence: a.sequence, group: group,
		}
		e.tasks = append(e.tasks, t)
		a.storeTask(t)
	}
	a.resize(e)
	for _, t := range e.tasks[len(e.tasks)-len(infos):] {
		t.generation = e.generation
	}
	accepted := slices.Clone(e.tasks[len(e.tasks)-len(infos):])
	a.durably(f, func() {
		for _, t := range accepted {
			t.stored = true
		}
		a.launch(e)
		a.deliver(e)
	})
}

// refusal says why a task cannot go to its executor, nil for one that is still to come (EXE-56, EXE-126,
// EXE-129).
func (a *Agent) refusal(e *executor, command bool) (termination, bool) {
	why := termination{
		state: v1.TaskState_TASK_DROPPED, lost: true,
		reason: v1.TaskStatus_REASON_EXECUTOR_TERMINATED.Enum(),
	}
	switch {
	case a.drain != nil:
		why.reason = v1.TaskStatus_REASON_AGENT_DRAINING.Enum()
		why.message = "Task was received while agent was already draining"
	case e == nil:
		return why, false
	case e.state == terminating:
		why.message = "Executor terminating"
	case e.state == terminated:
		why.message = "Executor terminated"
	case command || e.command:
		why.reason = v1.TaskStatus_REASON_TASK_INVALID.Enum()
		why.message = "Cannot reuse an already existing executor for a command task"
	default:
		return why, false
	}
	return why, true
}

// refuse answers for a task that never gets an executor. It is kept in memory only: a restarted
// agent does not know the task, and the master says so.
func (a *Agent) refuse(f *framework, executor *v1.ExecutorInfo, info *v1.TaskInfo, command bool, why termination) {
	t := &task{f: f, id: mesos.TaskID(info.GetTaskId().GetValue()), info: info, view: viewOf(f, executor, info, command)}
	f.strays = append(f.strays, t)
	status := a.status(t, why)
	status.ExecutorId = executor.GetExecutorId()
	a.update(t, status)
}

func (a *Agent) storeTask(t *task) {
	if !t.f.durable() || t.e == nil {
		return
	}
	record := &wire.TaskRecord{Task: t.info, Sequence: proto.Uint64(t.sequence), KillPolicy: t.policy}
	if t.group != 0 {
		record.Group = proto.Uint64(t.group)
	}
	if t.marked || t.delivered {
		record.Delivered = proto.Bool(!t.e.command)
	}
	if t.killing {
		record.Killing = proto.Bool(true)
	}
	a.tx.set(keyTask(t.f.id, t.e.id, t.id)+"info", record)
}

// deliver sends the tasks whose turn it is. Custom executors cannot be told twice: that they are
// told is stored first (EXE-18). The built-in one can.
func (a *Agent) deliver(e *executor) {
	if e.state != running || !e.connected || !e.placed {
		return
	}
	var ready []*task
	for _, t := range e.queued() {
		if !t.stored || t.generation > e.confirmed {
			break
		}
		if !t.marked {
			ready = append(ready, t)
		}
	}
	if len(ready) == 0 {
		return
	}
	if e.command {
		a.sendLaunch(e, ready)
		return
	}
	for _, t := range ready {
		t.marked = true
		a.storeTask(t)
	}
	a.durably(e.f, func() { a.sendLaunch(e, ready) })
}

// sendLaunch tells the executor of tasks, a group in one event (EXE-25, EXE-27). Those killed
// meanwhile stay out; for want of a connection they stay queued.
func (a *Agent) sendLaunch(e *executor, tasks []*task) {
	for len(tasks) > 0 {
		n := 1
		for n < len(tasks) && tasks[0].group != 0 && tasks[n].group == tasks[0].group {
			n++
		}
		unit := slices.DeleteFunc(slices.Clone(tasks[:n]), (*task).terminal)
		tasks = tasks[n:]
		if len(unit) == 0 {
			continue
		}
		if !e.connected || e.state != running {
			for _, t := range unit {
				t.marked = false
			}
			continue
		}
		e.used = true
		for _, t := range unit {
			t.delivered = true
		}
		if unit[0].group != 0 {
			a.emit(Send{Stream: e.stream, Event: eventLaunchGroup(unit)})
		} else {
			a.emit(Send{Stream: e.stream, Event: eventLaunch(a.launchInfo(unit[0]))})
		}
	}
}

// killTask kills a task wherever it stands (EXE-137, EXE-138).
func (a *Agent) killTask(m *wire.KillTask) {
	f := a.framework(mesos.FrameworkID(m.GetFrameworkId().GetValue()))
	id := mesos.TaskID(m.GetTaskId().GetValue())
	if f == nil || f.terminating {
		a.emit(Log{Warn: true, Message: "ignoring a kill: no such framework here", Framework: mesos.FrameworkID(m.GetFrameworkId().GetValue()), Task: id})
		return
	}
	t := f.task(id)
	switch {
	case t == nil:
		a.killUnknown(f, id)
	default:
		a.kill(t, m.GetKillPolicy())
	}
}

func (a *Agent) kill(t *task, policy *v1.KillPolicy) {
	switch {
	case t.terminal():
		// Its update is on the way.
	case !t.delivered && !t.unsure:
		a.killQueued(t)
	default:
		t.killing, t.policy = true, policy
		a.storeTask(t)
		a.durably(t.f, func() { a.sendKill(t) })
	}
}

// sendKill passes a kill on. An executor that is away gets it when it subscribes again.
func (a *Agent) sendKill(t *task) {
	if t.killing && !t.terminal() && t.e.connected && t.e.state == running {
		a.emit(Send{Stream: t.e.stream, Event: eventKill(t.id, t.policy)})
	}
}

func (a *Agent) killUnknown(f *framework, id mesos.TaskID) {
	t := &task{f: f, id: id, view: &v1.Task{
		Name: proto.String(""), TaskId: id.Proto(), FrameworkId: f.id.Proto(), AgentId: a.info.GetId(),
		State: v1.TaskState_TASK_STAGING.Enum(),
	}}
	f.strays = append(f.strays, t)
	a.update(t, a.status(t, termination{
		state: v1.TaskState_TASK_DROPPED, lost: true,
		reason:  v1.TaskStatus_REASON_EXECUTOR_TERMINATED.Enum(),
		message: "Cannot find executor",
	}))
}

// killQueued ends a task that its executor was not told of, and the rest of its group with it
// (EXE-96).
func (a *Agent) killQueued(killed *task) {
	why := termination{
		state:   v1.TaskState_TASK_KILLED,
		reason:  v1.TaskStatus_REASON_TASK_KILLED_DURING_LAUNCH.Enum(),
		message: "Killed before delivery to the executor",
	}
	if killed.group != 0 {
		why.message = "A task within the task group was killed before delivery to the executor"
	}
	e := killed.e
	for _, t := range e.queued() {
		if t == killed || killed.group != 0 && t.group == killed.group {
			a.update(t, a.status(t, why))
		}
	}
	if !e.used && e.state == running && len(e.queued()) == 0 {
		a.shutdownExecutor(e)
	}
}

// status is an update of the agent's own making (EXE-123).
func (a *Agent) status(t *task, why termination) *v1.TaskStatus {
	state := why.state
	if why.lost {
		state = t.f.lost(state)
	}
	status := &v1.TaskStatus{
		TaskId:    t.id.Proto(),
		State:     state.Enum(),
		Source:    v1.TaskStatus_SOURCE_AGENT.Enum(),
		Reason:    why.reason,
		AgentId:   a.info.GetId(),
		Timestamp: proto.Float64(seconds(a.now)),
		Uuid:      mesos.NewUUID(a.cfg.Rand).Bytes(),
	}
	if t.e != nil {
		status.ExecutorId = t.e.id.Proto()
	}
	if why.message != "" {
		status.Message = proto.String(why.message)
	}
	return status
}

// seconds since 1970, as timestamps have them.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// terminalStatus is what becomes of a live task when its container has ended.
func (a *Agent) terminalStatus(e *executor, t *task, exit Exit) *v1.TaskStatus {
	why := termination{state: v1.TaskState_TASK_FAILED, reason: v1.TaskStatus_REASON_EXECUTOR_TERMINATED.Enum()}
	switch {
	case e.ending.reason != nil:
		return a.status(t, e.ending)
	case exit.Limitation != nil:
		why.reason, why.message = exit.Limitation.Reason.Enum(), exit.Limitation.Message
		status := a.status(t, why)
		status.Limitation = &v1.TaskResourceLimitation{Resources: exit.Limitation.Resources}
		return status
	case e.command && !e.destroyed && exit.Status >= 0 && exit.Message == "":
		// The task's own end, which its executor did not live to report (EXE-157).
		return a.status(t, commandEnd(t, exit.Status))
	case e.command && t.killing && !e.destroyed:
		why.state, why.reason = v1.TaskState_TASK_KILLED, nil
	}
	switch {
	case exit.Message != "":
		why.message = "Abnormal executor termination: " + exit.Message
	case exit.Status > 0 && !e.command:
		why.message = "Executor terminated: " + mesos.WaitStatusText(exit.Status)
	default:
		why.message = "Executor terminated"
	}
	return a.status(t, why)
}

// commandEnd is the end of a command as the built-in executor reports it (EXE-59, EXE-60).
func commandEnd(t *task, status int) termination {
	end := termination{state: v1.TaskState_TASK_FAILED, message: "Command " + mesos.WaitStatusText(status)}
	switch {
	case t.killing || t.e.told:
		end.state = v1.TaskState_TASK_KILLED
	case status == 0:
		end.state = v1.TaskState_TASK_FINISHED
	}
	return end
}
