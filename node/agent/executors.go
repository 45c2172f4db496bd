package agent

import (
	"math"
	"slices"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

// executorState only moves forward.
type executorState int

const (
	registering executorState = iota // has not subscribed (again)
	running
	terminating // was told to end, or its container is being destroyed
	terminated  // its container has ended
)

func (s executorState) String() string {
	return [...]string{"REGISTERING", "RUNNING", "TERMINATING", "TERMINATED"}[s]
}

// settled is a generation of limits that no container will ever be behind.
const settled = math.MaxUint64

// executor is one run of an executor.
type executor struct {
	f         *framework
	id        mesos.ExecutorID
	info      *v1.ExecutorInfo
	command   bool // generated for one command task
	container mesos.ContainerID
	directory string

	state executorState
	// launching: Launch was emitted, by this agent or the one before it; pid != 0: it succeeded.
	launching bool
	pid       int
	// placed: pid is on disk, if it is to be. No task is sent before: a restarted agent must know
	// that one may have run.
	placed bool
	// delayed: the launch waits for the removal of old sandboxes at the same place.
	delayed bool
	// used: a task was sent to it at some time (EXE-19). proven: it has reported on one, which is
	// what a restarted agent can be sure of.
	used, proven bool
	// told: it was asked to shut down.
	told bool
	// recovered: it comes from a checkpoint and has not subscribed since.
	recovered bool
	// connected: stream is open.
	connected bool
	stream    StreamID
	// deadline by state: to subscribe, or the end of the grace period.
	deadline time.Time
	// destroyed: Destroy was emitted. ending: why the agent did so.
	destroyed bool
	ending    termination

	tasks     []*task // not complete, in order of acceptance
	completed []*v1.Task

	// limits wanted for the container. Each change is a new generation; confirmed is the newest
	// that the container has, updating the one under way.
	limits              Limits
	generation          uint64
	confirmed, updating uint64
}

// termination is what the agent says about tasks of an executor that it ended itself. The zero
// value leaves it to the exit status.
type termination struct {
	state   v1.TaskState
	reason  *v1.TaskStatus_Reason
	message string
	// lost states depend on the framework.
	lost bool
}

// newExecutor makes an executor whose container is yet to be launched.
func (a *Agent) newExecutor(f *framework, info *v1.ExecutorInfo, command bool) *executor {
	e := &executor{
		f:         f,
		id:        mesos.ExecutorID(info.GetExecutorId().GetValue()),
		info:      info,
		command:   command,
		container: mesos.ContainerID(mesos.NewUUID(a.cfg.Rand).String()),
	}
	e.directory = a.sandbox(e)
	f.executors = append(f.executors, e)
	a.containers[e.container] = e
	a.reclaim(e)
	if f.durable() {
		a.tx.set(keyExecutor(f.id, e.id)+"info", &wire.ExecutorRecord{Executor: info, Command: proto.Bool(command)})
		a.storeContainer(e)
	}
	return e
}

func (a *Agent) storeContainer(e *executor) {
	if !e.f.durable() {
		return
	}
	record := &wire.ContainerRecord{
		ContainerId: proto.String(string(e.container)),
		Directory:   proto.String(e.directory),
	}
	if e.pid != 0 {
		record.Pid = proto.Int64(int64(e.pid))
	}
	if e.proven {
		record.Used = proto.Bool(true)
	}
	if e.state == terminated {
		record.Exited = proto.Bool(true)
	}
	a.tx.set(keyExecutor(e.f.id, e.id)+"container", record)
}

// queued are the tasks that were not sent to the executor and are not killed.
func (e *executor) queued() []*task {
	var q []*task
	for _, t := range e.tasks {
		if !t.delivered && !t.terminal() {
			q = append(q, t)
		}
	}
	return q
}

// launch starts the container of an executor whose tasks are on disk. If all of them were killed
// meanwhile there is nothing to start for.
func (a *Agent) launch(e *executor) {
	if e.launching || e.state == terminated {
		return
	}
	if len(e.queued()) == 0 {
		a.exited(e, Exit{Status: -1})
		return
	}
	if a.sweeping(e) {
		e.delayed = true
		return
	}
	spec, err := a.launchSpec(e)
	if err != nil {
		a.metrics.containerLaunchErrors++
		e.ending = launchFailure(err.Error())
		a.exited(e, Exit{Status: -1})
		return
	}
	e.launching = true
	e.limits = spec.Limits
	e.generation++
	e.confirmed = e.generation
	if e.command {
		e.confirmed = settled
	}
	e.deadline = a.now.Add(a.cfg.ExecutorRegistrationTimeout)
	a.emit(Launch{Spec: spec})
}

func (a *Agent) containerLaunched(ev ContainerLaunched) {
	e := a.containers[ev.ID]
	if e == nil || e.state == terminated || e.pid != 0 {
		return
	}
	a.place(e, ev.Pid)
	a.resize(e)
}

// place notes where a container runs.
func (a *Agent) place(e *executor, pid int) {
	e.pid = pid
	a.storeContainer(e)
	a.durably(e.f, func() {
		e.placed = true
		a.deliver(e)
	})
}

func launchFailure(cause string) termination {
	return termination{
		state:   v1.TaskState_TASK_FAILED,
		reason:  v1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED.Enum(),
		message: "Failed to launch container: " + cause,
	}
}

func (a *Agent) launchFailed(ev LaunchFailed) {
	e := a.containers[ev.ID]
	if e == nil || e.state == terminated {
		delete(a.orphans, ev.ID)
		return
	}
	a.metrics.containerLaunchErrors++
	if e.ending.reason == nil {
		e.ending = launchFailure(ev.Message)
		if ev.Sandbox {
			e.ending = termination{
				state:   v1.TaskState_TASK_DROPPED,
				lost:    true,
				reason:  v1.TaskStatus_REASON_EXECUTOR_TERMINATED.Enum(),
				message: ev.Message,
			}
		}
	}
	a.exited(e, Exit{Status: -1})
}

func (a *Agent) containerExited(id mesos.ContainerID, exit Exit) {
	if a.orphans[id] {
		delete(a.orphans, id)
		a.emit(Forget{ID: id})
		return
	}
	if e := a.containers[id]; e != nil && e.state != terminated {
		a.exited(e, exit)
	}
}

// exited ends an executor whose container is gone, or never was. Live tasks get their terminal
// updates; these, the exit of the executor and its record become durable together.
func (a *Agent) exited(e *executor, exit Exit) {
	a.disconnect(e)
	e.state, e.deadline, e.recovered = terminated, time.Time{}, false
	e.confirmed, e.updating = settled, 0
	a.metrics.executorsTerminated++
	a.storeContainer(e)
	status := int32(exit.Status)
	a.durably(e.f, func() {
		if !e.command && !e.f.terminating && a.master.registered {
			a.send(&wire.FromAgent{Message: &wire.FromAgent_ExecutorExited{ExecutorExited: &wire.ExecutorExited{
				FrameworkId: e.f.id.Proto(), ExecutorId: e.id.Proto(), Status: proto.Int32(status),
			}}})
		}
	})
	for _, t := range slices.Clone(e.tasks) {
		switch {
		case e.f.terminating:
			t.updates.close()
		case !t.terminal():
			a.update(t, a.terminalStatus(e, t, exit))
		default:
			a.forward(t)
		}
	}
	if e.launching {
		a.durably(e.f, func() { a.emit(Forget{ID: e.container}) })
	}
	a.discard(e)
	a.completeTasks(e)
}

// completeTasks moves tasks without unacknowledged updates to the history, and the executor after
// them when it has ended (EXE-146).
func (a *Agent) completeTasks(e *executor) {
	for _, t := range slices.Clone(e.tasks) {
		if len(t.updates.queue) > 0 || !t.terminal() && !(e.f.terminating && e.state == terminated) {
			continue
		}
		e.tasks = slices.DeleteFunc(e.tasks, func(o *task) bool { return o == t })
		e.completed = last(append(e.completed, t.view), a.cfg.MaxCompletedTasksPerExecutor)
		if e.f.durable() {
			a.tx.remove(keyTask(e.f.id, e.id, t.id))
		}
	}
	if e.state != terminated || len(e.tasks) > 0 {
		return
	}
	i := slices.Index(e.f.executors, e)
	if i < 0 {
		return
	}
	e.f.executors = slices.Delete(e.f.executors, i, i+1)
	delete(a.containers, e.container)
	if e.f.durable() {
		a.tx.remove(keyExecutor(e.f.id, e.id))
	}
	view := a.executorView(e)
	view.Resources = sumOf([][]*v1.Resource{e.info.GetResources()})
	e.f.completed = last(append(e.f.completed, view), a.cfg.MaxCompletedExecutorsPerFramework)
	a.completeFramework(e.f)
}

// executorOverdue acts on the deadline of an executor.
func (a *Agent) executorOverdue(e *executor) {
	e.deadline = time.Time{}
	switch e.state {
	case registering:
		if e.recovered {
			a.destroy(e, termination{
				state: v1.TaskState_TASK_GONE, lost: true,
				reason:  v1.TaskStatus_REASON_EXECUTOR_REREGISTRATION_TIMEOUT.Enum(),
				message: "Executor did not reregister within " + mesos.FormatDuration(a.cfg.ExecutorReregistrationTimeout),
			})
			return
		}
		a.destroy(e, termination{
			state:   v1.TaskState_TASK_FAILED,
			reason:  v1.TaskStatus_REASON_EXECUTOR_REGISTRATION_TIMEOUT.Enum(),
			message: "Executor did not register within " + mesos.FormatDuration(a.cfg.ExecutorRegistrationTimeout),
		})
	case terminating:
		a.destroy(e, termination{})
	}
}

func (a *Agent) shutdownExecutorOf(m *wire.ShutdownExecutor) {
	if e := a.executorOf(m.GetFrameworkId(), m.GetExecutorId()); e != nil {
		a.shutdownExecutor(e)
	}
}

// shutdownExecutor asks an executor to end, and sees to it after the grace period (EXE-143,
// EXE-144).
func (a *Agent) shutdownExecutor(e *executor) {
	if e.state >= terminating {
		return
	}
	if !e.launching {
		a.exited(e, Exit{Status: -1})
		return
	}
	e.state, e.told = terminating, true
	e.deadline = a.now.Add(a.shutdownGrace(e))
	if e.connected {
		a.emit(Send{Stream: e.stream, Event: eventShutdown()})
	}
}

// destroy ends the container at once. The first reason given is the one that tasks are told.
func (a *Agent) destroy(e *executor, why termination) {
	if e.state == terminated {
		return
	}
	if e.ending.reason == nil {
		e.ending = why
	}
	e.state, e.deadline = terminating, time.Time{}
	if !e.launching {
		a.exited(e, Exit{Status: -1})
		return
	}
	if !e.destroyed {
		e.destroyed = true
		a.emit(Destroy{ID: e.container})
	}
}

// disconnect ends the stream of an executor from this side.
func (a *Agent) disconnect(e *executor) {
	if !e.connected {
		return
	}
	a.emit(CloseStream{Stream: e.stream})
	delete(a.streams, e.stream)
	e.connected = false
}

// resize asks for the limits that the executor's live tasks need. Built-in command executors keep
// what they were launched with: their container ends with their only task.
func (a *Agent) resize(e *executor) {
	if e.command || e.state == terminated {
		return
	}
	if limits := a.limits(e); limits != e.limits {
		e.limits = limits
		e.generation++
	}
	if e.pid == 0 || e.destroyed || e.updating != 0 || e.confirmed >= e.generation {
		return
	}
	e.updating = e.generation
	a.emit(Update{ID: e.container, Limits: e.limits})
}

// containerUpdated lets go what waited for the limits: tasks that needed more (EXE-25) and terminal
// updates that promise less (EXE-139).
func (a *Agent) containerUpdated(ev ContainerUpdated) {
	e := a.containers[ev.ID]
	if e == nil || e.updating == 0 {
		return
	}
	e.confirmed, e.updating = e.updating, 0
	if ev.Err != "" {
		a.destroy(e, termination{
			state: v1.TaskState_TASK_GONE, lost: true,
			reason:  v1.TaskStatus_REASON_CONTAINER_UPDATE_FAILED.Enum(),
			message: "Failed to update resources for container: " + ev.Err,
		})
	}
	a.resize(e)
	a.deliver(e)
	for _, t := range e.tasks {
		a.forward(t)
	}
}
