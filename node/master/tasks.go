package master

import (
	"clusterd/alloc"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"

	"google.golang.org/protobuf/proto"
)

type taskKey struct {
	framework mesos.FrameworkID
	task      mesos.TaskID
}

type executorKey struct {
	framework mesos.FrameworkID
	agent     mesos.AgentID
	executor  mesos.ExecutorID
}

// task is one that is active (on an agent, in framework.tasks) or unreachable (without agent, in
// framework.unreachable). A completed one is only its proto.
type task struct {
	id        mesos.TaskID
	framework *framework
	agent     *agent
	// proto is what operators see; it is replaced, never changed. Its state is TASK_LOST where state
	// is TASK_UNREACHABLE and the framework is not PARTITION_AWARE.
	proto     *v1.Task
	state     v1.TaskState
	resources alloc.Resources
	holds     bool // resources are charged to framework and agent
	// own is a status that the master has to deliver itself, because no agent will send it again
	// (SCH-269). The task goes when it is acknowledged.
	own *v1.TaskStatus
}

// executor is a custom or default executor that an agent is known to run. Executors of command
// tasks are the agent's own affair and not listed.
type executor struct {
	id        mesos.ExecutorID
	framework *framework
	agent     *agent
	info      *v1.ExecutorInfo // never changed
	resources alloc.Resources
	// ended says that the agent reported its end while it had tasks on the way that start it anew.
	ended bool
}

func (e *executor) key() executorKey { return executorKey{e.framework.id, e.agent.id, e.id} }

// newTaskProto is the Task of a launched TaskInfo (SCH-150).
func newTaskProto(f *framework, info *v1.TaskInfo) *v1.Task {
	t := &v1.Task{
		Name:        info.Name,
		TaskId:      info.TaskId,
		FrameworkId: f.info.Id,
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
	switch {
	case info.GetCommand().GetUser() != "":
		t.User = info.Command.User
	case info.GetExecutor().GetCommand().GetUser() != "":
		t.User = info.Executor.Command.User
	}
	if info.Executor != nil {
		t.ExecutorId = info.Executor.ExecutorId
	}
	return t
}

// copyTask is a shallow copy: the nested messages are shared and never changed.
func copyTask(t *v1.Task) *v1.Task {
	return &v1.Task{
		Name:              t.Name,
		TaskId:            t.TaskId,
		FrameworkId:       t.FrameworkId,
		ExecutorId:        t.ExecutorId,
		AgentId:           t.AgentId,
		State:             t.State,
		Resources:         t.Resources,
		Statuses:          t.Statuses,
		StatusUpdateState: t.StatusUpdateState,
		StatusUpdateUuid:  t.StatusUpdateUuid,
		Labels:            t.Labels,
		Discovery:         t.Discovery,
		Container:         t.Container,
		HealthCheck:       t.HealthCheck,
		KillPolicy:        t.KillPolicy,
		User:              t.User,
		Limits:            t.Limits,
	}
}

// addTask makes a task active on a. charged says that the allocator has its resources already.
//
// p is the master's own.
func (m *Master) addTask(f *framework, a *agent, p *v1.Task, r alloc.Resources, charged bool) *task {
	r, p.Resources = f.share(r, p.Resources)
	p.AgentId = a.info.Id
	t := &task{id: mesos.TaskID(p.GetTaskId().GetValue()), framework: f, agent: a, proto: p, state: p.GetState(), resources: r}
	f.tasks.put(t.id, t)
	a.tasks.put(taskKey{f.id, t.id}, t)
	f.states[t.state]++
	if !mesos.Terminal(t.state) {
		t.holds = true
		m.charge(f, a, r, charged)
	}
	m.changed(f, a)
	return t
}

// charge counts r as used by f on a.
func (m *Master) charge(f *framework, a *agent, r alloc.Resources, charged bool) {
	a.used = a.used.Add(r)
	f.used.add(a, r)
	m.gauges.use(r, 1)
	if !charged {
		m.alloc.Charge(f.id, a.id, r)
	}
	m.changed(f, a)
}

// release gives back what was charged.
func (m *Master) release(f *framework, a *agent, r alloc.Resources) {
	a.used = a.used.Sub(r)
	f.used.sub(a, r)
	m.gauges.use(r, -1)
	m.alloc.Recover(m.now, f.id, a.id, r, 0)
	m.alloc.Trigger(a.id)
	m.changed(f, a)
}

// transition moves a task to a state if that may follow, keeping the status that says so. A terminal
// task gives its resources back at once (SCH-228).
func (m *Master) transition(t *task, to v1.TaskState, status *v1.TaskStatus) bool {
	if !mayFollow(t.state, to) {
		return false
	}
	from := t.state
	t.framework.states[from]--
	t.framework.states[to]++
	t.state = to
	p := copyTask(t.proto)
	p.State = lostState(to, t.framework.partitionAware).Enum()
	p.Statuses = withStatus(p, status)
	t.show(p)
	if mesos.Terminal(to) {
		m.counters.terminal(t.framework, to, status)
	}
	if t.holds && mesos.Terminal(to) {
		t.holds = false
		m.release(t.framework, t.agent, t.resources)
	}
	m.settleExecutor(t, from)
	m.changed(t.framework, t.agent)
	return true
}

// settleExecutor decides about an executor whose end was reported while tasks were on the way to it:
// it lives again when one of them moves on, and is gone when all have ended.
func (m *Master) settleExecutor(t *task, from v1.TaskState) {
	if t.agent == nil || t.proto.ExecutorId == nil {
		return
	}
	e, ok := t.agent.executors.get(executorKey{t.framework.id, t.agent.id, mesos.ExecutorID(t.proto.GetExecutorId().GetValue())})
	switch {
	case !ok || !e.ended:
	case !mesos.Terminal(t.state):
		e.ended = e.ended && from != v1.TaskState_TASK_STAGING
	case !e.awaited():
		m.removeExecutor(e)
	}
}

// awaited reports whether tasks are on the way to the executor.
func (e *executor) awaited() bool {
	for t := range e.agent.tasks.values() {
		if t.framework == e.framework && t.state == v1.TaskState_TASK_STAGING &&
			t.proto.GetExecutorId().GetValue() == string(e.id) {
			return true
		}
	}
	return false
}

// withStatus is the history of a task with one more status: the newest of each run of equal states
// (SCH-236). The history that it has is not changed.
func withStatus(t *v1.Task, s *v1.TaskStatus) []*v1.TaskStatus {
	n := len(t.Statuses)
	if n > 0 && t.Statuses[n-1].GetState() == s.GetState() {
		n--
	}
	return append(t.Statuses[:n:n], kept(t, s))
}

// forget takes a task out of the lists of active and unreachable ones.
func (m *Master) forget(t *task) {
	f := t.framework
	if t.holds {
		t.holds = false
		m.release(f, t.agent, t.resources)
	}
	if t.agent != nil {
		t.agent.tasks.delete(taskKey{f.id, t.id})
		t.agent.kills.delete(taskKey{f.id, t.id})
		f.tasks.delete(t.id)
		m.maybeDrained(t.agent)
	} else {
		f.unreachable.delete(t.id)
	}
	f.states[t.state]--
	m.changed(f, t.agent)
}

// complete moves a task to the history of its framework.
func (m *Master) complete(t *task) {
	m.forget(t)
	t.agent = nil
	f := t.framework
	f.completed = appendBounded(f.completed, t.proto, m.cfg.MaxCompletedTasksPerFramework)
}

// lose moves a task to the unreachable ones of its framework (SCH-263).
func (m *Master) lose(t *task) {
	m.forget(t)
	t.agent = nil
	f := t.framework
	f.unreachable.put(t.id, t)
	f.states[t.state]++
	for f.unreachable.len() > m.cfg.MaxUnreachableTasksPerFramework {
		_, oldest, _ := f.unreachable.first()
		m.forget(oldest)
	}
}

// addExecutor counts the resources of an executor once, however many tasks it runs.
func (m *Master) addExecutor(f *framework, a *agent, info *v1.ExecutorInfo, r alloc.Resources, charged bool) {
	e := &executor{
		id: mesos.ExecutorID(info.GetExecutorId().GetValue()), framework: f, agent: a, info: info, resources: r,
	}
	f.executors.put(e.key(), e)
	a.executors.put(e.key(), e)
	m.charge(f, a, r, charged)
}

func (m *Master) removeExecutor(e *executor) {
	e.framework.executors.delete(e.key())
	e.agent.executors.delete(e.key())
	m.release(e.framework, e.agent, e.resources)
}

// masterStatus is a status that the master makes: without uuid, never acknowledged (SCH-164).
func (m *Master) masterStatus(id mesos.TaskID, state v1.TaskState, reason v1.TaskStatus_Reason, message string) *v1.TaskStatus {
	return &v1.TaskStatus{
		TaskId:    id.Proto(),
		State:     state.Enum(),
		Source:    v1.TaskStatus_SOURCE_MASTER.Enum(),
		Reason:    reason.Enum(),
		Message:   &message,
		Timestamp: proto.Float64(seconds(m.now)),
	}
}

// sendStatus sends an UPDATE event (SCH-229).
func (m *Master) sendStatus(f *framework, s *v1.TaskStatus) {
	m.send(f, &v1scheduler.Event{
		Type:   v1scheduler.Event_UPDATE.Enum(),
		Update: &v1scheduler.Event_Update{Status: s},
	})
}
