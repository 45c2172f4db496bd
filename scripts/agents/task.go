package main

import (
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"
)

const (
	// retryMin and retryMax bound the time until an unacknowledged update is sent again (EXE-171).
	retryMin = 10 * time.Second
	retryMax = 10 * time.Minute
	// killGrace is between SIGTERM and SIGKILL without a kill policy (EXE-62).
	killGrace = 3 * time.Second

	noReason v1.TaskStatus_Reason = -1
)

// task is a task that is not complete: it lives, or has an update that is not acknowledged.
type task struct {
	id        mesos.TaskID
	executor  mesos.ExecutorID // the task's own id for a command, empty for a task that is only a name
	shared    bool             // the executor is the framework's own
	container mesos.UUID
	info      []byte // v1.Task without its state; nil for a task that is only a name
	grace     time.Duration
	state     v1.TaskState
	killing   bool
	killBy    time.Time // when the kill has to be over

	reports      []report
	acknowledged int  // of reports
	sent         bool // the head, once at least
	interval     time.Duration
	life, retry  *timer
}

// report is one state of a task with its update.
type report struct {
	state   v1.TaskState
	reason  v1.TaskStatus_Reason
	own     bool // made by the agent, not by the executor
	uuid    mesos.UUID
	at      float64 // seconds since 1970
	message string
}

// executor is one that the framework brought along, or a default executor.
type executor struct {
	id         mesos.ExecutorID
	info       []byte // v1.ExecutorInfo
	withoutEnd bool   // custom: it stays until it is told to end
}

func (t *task) terminal() bool { return mesos.Terminal(t.state) }

// head is the oldest report that is not acknowledged; nil if all are.
func (t *task) head() *report {
	if t.acknowledged == len(t.reports) {
		return nil
	}
	return &t.reports[t.acknowledged]
}

func (h *hosted) task(id string) *task {
	for _, t := range h.tasks {
		if string(t.id) == id {
			return t
		}
	}
	return nil
}

func (h *hosted) executor(id string) *executor {
	for _, e := range h.executors {
		if string(e.id) == id {
			return e
		}
	}
	return nil
}

// can says whether the framework has a capability.
func (h *hosted) can(c v1.FrameworkInfo_Capability_Type) bool { return mesos.HasCapability(h.info, c) }

// lost is a state as the framework may see it: TASK_LOST unless it is partition aware.
func (h *hosted) lost(s v1.TaskState) v1.TaskState {
	if h.can(v1.FrameworkInfo_Capability_PARTITION_AWARE) {
		return s
	}
	return v1.TaskState_TASK_LOST
}

// runTask takes the tasks of one launch.
func (a *agent) runTask(m *wire.RunTask) {
	h := a.host(m.GetFramework())
	for _, info := range m.GetTasks() {
		if h.task(info.GetTaskId().GetValue()) != nil {
			continue // sent twice
		}
		executor := info.GetExecutor()
		if m.GetGroup() {
			executor = m.GetExecutor()
		}
		a.take(h, info, executor)
	}
	a.tidy(h)
}

// take begins the life of one task.
func (a *agent) take(h *hosted, info *v1.TaskInfo, brought *v1.ExecutorInfo) {
	f := a.fleet
	t := &task{
		id: mesos.TaskID(info.GetTaskId().GetValue()), container: mesos.NewUUID(f.rand), info: taskForm(h, info, brought),
		grace: killGrace, state: v1.TaskState_TASK_STAGING,
	}
	t.executor = mesos.ExecutorID(t.id)
	if grace := info.GetKillPolicy().GetGracePeriod(); grace != nil {
		t.grace = time.Duration(grace.GetNanoseconds())
	}
	f.counts[tasks]++
	h.tasks = append(h.tasks, t)
	if brought != nil {
		t.executor, t.shared = mesos.ExecutorID(brought.GetExecutorId().GetValue()), true
	}
	if a.drain != nil {
		f.counts[refusals]++
		a.report(h, t, report{state: h.lost(v1.TaskState_TASK_DROPPED), reason: v1.TaskStatus_REASON_AGENT_DRAINING, own: true,
			message: "Task was received while agent was already draining"})
		return
	}
	if t.shared && h.executor(string(t.executor)) == nil {
		h.executors = append(h.executors, &executor{
			id: t.executor, info: executorForm(h, brought), withoutEnd: brought.GetType() != v1.ExecutorInfo_DEFAULT,
		})
	}
	f.counts[launches]++
	t.life = f.after(f.script.StartDelay.draw(f.rand), func() { a.begin(h, t) })
}

// begin makes a task run.
func (a *agent) begin(h *hosted, t *task) {
	f := a.fleet
	if !f.script.NoStarting {
		a.report(h, t, report{state: v1.TaskState_TASK_STARTING, reason: noReason})
	}
	a.report(h, t, report{state: v1.TaskState_TASK_RUNNING, reason: noReason})
	t.life = nil
	if d := f.script.RunTime.draw(f.rand); d < forever {
		t.life = f.after(d, func() { a.end(h, t, f.script.Ends.draw(f.rand)) })
	}
}

// end is the end of a task by itself.
func (a *agent) end(h *hosted, t *task, how ending) {
	r := report{state: v1.TaskState_TASK_FINISHED, reason: noReason, message: "Command exited with status 0"}
	switch how {
	case failed:
		r.state, r.reason, r.message = v1.TaskState_TASK_FAILED, v1.TaskStatus_REASON_COMMAND_EXECUTOR_FAILED, "Command exited with status 1"
	case killed:
		r.state, r.message = v1.TaskState_TASK_KILLED, "Command terminated with signal Terminated"
	}
	a.report(h, t, r)
}

// killTask kills a task wherever it stands (EXE-137, EXE-138).
func (a *agent) killTask(m *wire.KillTask) {
	h := a.framework(m.GetFrameworkId())
	if h == nil {
		return
	}
	a.fleet.counts[kills]++
	id := m.GetTaskId().GetValue()
	t := h.task(id)
	if t == nil {
		t = &task{id: mesos.TaskID(id), state: v1.TaskState_TASK_STAGING}
		a.fleet.counts[tasks]++
		h.tasks = append(h.tasks, t)
		a.report(h, t, report{state: h.lost(v1.TaskState_TASK_DROPPED), reason: v1.TaskStatus_REASON_EXECUTOR_TERMINATED, own: true,
			message: "Cannot find executor"})
		return
	}
	limit := time.Duration(math.MaxInt64)
	if grace := m.GetKillPolicy().GetGracePeriod(); grace != nil {
		limit = time.Duration(grace.GetNanoseconds())
	}
	a.kill(h, t, limit)
}

// kill ends a task after the scripted time, but not beyond its grace, or limit if that is less.
func (a *agent) kill(h *hosted, t *task, limit time.Duration) {
	f := a.fleet
	switch {
	case t.terminal():
	case t.state == v1.TaskState_TASK_STAGING:
		a.report(h, t, report{state: v1.TaskState_TASK_KILLED, reason: v1.TaskStatus_REASON_TASK_KILLED_DURING_LAUNCH, own: true,
			message: "Killed before delivery to the executor"})
	default:
		by := f.now.Add(max(0, min(f.script.KillDelay.draw(f.rand), t.grace, limit)))
		if t.killing && !by.Before(t.killBy) {
			return
		}
		if !t.killing && h.can(v1.FrameworkInfo_Capability_TASK_KILLING_STATE) {
			a.report(h, t, report{state: v1.TaskState_TASK_KILLING, reason: noReason})
		}
		t.killing, t.killBy = true, by
		f.timers.stop(t.life)
		t.life = f.timers.start(by, func() { a.end(h, t, killed) })
	}
}

// report changes the state of a task and tells the framework.
func (a *agent) report(h *hosted, t *task, r report) {
	f := a.fleet
	r.uuid, r.at = mesos.NewUUID(f.rand), seconds(f.now)
	if a.drain != nil && (r.state == v1.TaskState_TASK_KILLING || r.state == v1.TaskState_TASK_KILLED) {
		r.reason = v1.TaskStatus_REASON_AGENT_DRAINING
		if r.state == v1.TaskState_TASK_KILLED && a.drain.GetConfig().GetMarkGone() && h.can(v1.FrameworkInfo_Capability_PARTITION_AWARE) {
			r.state = v1.TaskState_TASK_GONE_BY_OPERATOR
		}
	}
	if t.state == v1.TaskState_TASK_RUNNING {
		f.counts[running]--
	}
	t.state = r.state
	t.reports = append(t.reports, r)
	switch {
	case t.state == v1.TaskState_TASK_RUNNING:
		f.counts[running]++
	case t.terminal():
		f.timers.stop(t.life)
		t.life = nil
		f.countEnd(t.state)
		a.endExecutor(h, t)
	}
	a.forward(h, t)
}

func (f *fleet) countEnd(s v1.TaskState) {
	switch s {
	case v1.TaskState_TASK_FINISHED:
		f.counts[finishedTasks]++
	case v1.TaskState_TASK_FAILED:
		f.counts[failedTasks]++
	case v1.TaskState_TASK_KILLED, v1.TaskState_TASK_GONE_BY_OPERATOR:
		f.counts[killedTasks]++
	}
}

// endExecutor ends the default executor of a task with the last of its tasks.
func (a *agent) endExecutor(h *hosted, t *task) {
	if !t.shared {
		return
	}
	e := h.executor(string(t.executor))
	if e == nil || e.withoutEnd {
		return
	}
	for _, o := range h.tasks {
		if o.shared && o.executor == e.id && !o.terminal() {
			return
		}
	}
	a.exit(h, e, 0)
}

// exit is the end of an executor, with its raw wait status (SCH-259).
func (a *agent) exit(h *hosted, e *executor, status int32) {
	h.executors = slices.DeleteFunc(h.executors, func(o *executor) bool { return o == e })
	if a.phase == serving {
		a.sayAgent(&wire.FromAgent{Message: &wire.FromAgent_ExecutorExited{ExecutorExited: &wire.ExecutorExited{
			FrameworkId: h.framework.id.Proto(), ExecutorId: e.id.Proto(), Status: proto.Int32(status)}}})
	}
}

// shutdownExecutor ends an executor with all of its tasks (EXE-143).
func (a *agent) shutdownExecutor(m *wire.ShutdownExecutor) {
	h := a.framework(m.GetFrameworkId())
	if h == nil {
		return
	}
	if e := h.executor(m.GetExecutorId().GetValue()); e != nil {
		a.exit(h, e, 0)
	}
	for _, t := range slices.Clone(h.tasks) {
		if string(t.executor) == m.GetExecutorId().GetValue() && !t.terminal() {
			a.end(h, t, killed)
		}
	}
	a.tidy(h)
}

// forward sends the head of a task's updates, unless that was done on this stream and its retry is not
// due (EXE-170, EXE-171).
func (a *agent) forward(h *hosted, t *task) {
	f := a.fleet
	head := t.head()
	if a.phase != serving || head == nil || t.retry != nil {
		return
	}
	f.counts[updates]++
	if t.sent {
		f.counts[resent]++
	}
	t.sent = true
	a.sayAgent(&wire.FromAgent{Message: &wire.FromAgent_StatusUpdate{StatusUpdate: &wire.StatusUpdate{
		FrameworkId: h.framework.id.Proto(), Status: a.status(h, t, head), LatestState: t.state.Enum()}}})
	t.interval = min(max(2*t.interval, retryMin), retryMax)
	t.retry = f.after(t.interval, func() {
		t.retry = nil
		a.forward(h, t)
	})
}

// resume sends the heads of all updates of a framework at once.
func (a *agent) resume(h *hosted) {
	for _, t := range h.tasks {
		a.stop(&t.retry)
		t.interval = 0
		a.forward(h, t)
	}
}

// acknowledge takes the framework's word for the head of a task's updates. Anything else is old, or
// came twice (EXE-173).
func (a *agent) acknowledge(m *wire.Acknowledge) {
	f := a.fleet
	h := a.framework(m.GetFrameworkId())
	var t *task
	if h != nil {
		t = h.task(m.GetTaskId().GetValue())
	}
	if t == nil || t.head() == nil || string(t.head().uuid[:]) != string(m.GetUuid()) {
		f.counts[strayAcknowledgements]++
		return
	}
	f.counts[acknowledged]++
	t.acknowledged++
	a.stop(&t.retry)
	t.interval, t.sent = 0, false
	if t.head() != nil {
		a.forward(h, t)
		return
	}
	if !t.terminal() {
		return
	}
	a.discard(t)
	h.tasks = slices.DeleteFunc(h.tasks, func(o *task) bool { return o == t })
	a.tidy(h)
	a.drained()
}

// discard puts away what belongs to a task that is complete, or forgotten.
func (a *agent) discard(t *task) {
	f := a.fleet
	f.timers.stop(t.life)
	f.timers.stop(t.retry)
	t.life, t.retry = nil, nil
	f.counts[tasks]--
	if t.state == v1.TaskState_TASK_RUNNING {
		f.counts[running]--
	}
}
