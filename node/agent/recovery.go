package agent

import (
	"maps"
	"slices"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// unknownContainer ends what no runtime knows of: after a reboot, or when its state was removed
// (EXE-132, EXE-160).
var unknownContainer = Exit{Status: -1, Message: "unknown container"}

// restore makes the frameworks, executors and tasks of a checkpoint. Nothing is done about them
// before Recovered.
func (a *Agent) restore(c *SavedState) {
	if c.Info != nil && a.info.GetId() == nil {
		a.info.Id = c.Info.GetId()
	}
	a.drain = c.drain
	a.garbage.restore(c.collect)
	for _, sf := range c.frameworks {
		f := &framework{id: sf.id, info: sf.info}
		a.frameworks = append(a.frameworks, f)
		for _, se := range sf.executors {
			e := &executor{
				f: f, id: se.id, info: se.info.GetExecutor(), command: se.info.GetCommand(),
				container: mesos.ContainerID(se.container.GetContainerId()),
				directory: se.container.GetDirectory(),
				pid:       int(se.container.GetPid()),
				used:      se.container.GetUsed(),
				proven:    se.container.GetUsed(),
			}
			if se.container.GetExited() {
				e.state, e.confirmed, e.launching = terminated, settled, true
			}
			f.executors = append(f.executors, e)
			a.containers[e.container] = e
			for _, st := range se.tasks {
				e.tasks = append(e.tasks, a.restoreTask(e, st))
			}
			e.limits = a.limits(e)
		}
	}
}

func (a *Agent) restoreTask(e *executor, st *storedTask) *task {
	record := st.info
	t := &task{
		f: e.f, e: e, id: st.id, info: record.GetTask(),
		view:     viewOf(e.f, e.info, record.GetTask(), e.command),
		sequence: record.GetSequence(), group: record.GetGroup(),
		stored: true, marked: record.GetDelivered(), delivered: record.GetDelivered(),
		killing: record.GetKilling(), policy: record.GetKillPolicy(),
	}
	a.sequence = max(a.sequence, t.sequence)
	a.groups = max(a.groups, t.group)
	for _, su := range st.updates {
		t.view = viewWith(t.view, su.record.GetStatus())
		if su.record.GetStatus().GetSource() == v1.TaskStatus_SOURCE_EXECUTOR {
			t.marked, t.delivered = true, true
		}
		t.updates.next = su.number + 1
		uuid, err := mesos.UUIDFromBytes(su.record.GetStatus().GetUuid())
		if err != nil {
			continue // refused by LoadCheckpoint
		}
		if su.record.GetAcknowledged() {
			t.updates.acknowledged = append(t.updates.acknowledged, acknowledged{number: su.number, uuid: uuid})
			continue
		}
		t.updates.queue = append(t.updates.queue, &update{number: su.number, uuid: uuid, status: su.record.GetStatus(), stored: true})
	}
	return t
}

// recover compares the checkpoint with the containers that the runtime found (EXE-149, EXE-167).
func (a *Agent) recover(containers map[mesos.ContainerID]ContainerState) {
	if a.phase != loading {
		return
	}
	a.phase = serving // unless there is something to wait for
	rebooted := a.cfg.Checkpoint != nil && a.cfg.Checkpoint.BootID != a.cfg.BootID
	known := map[mesos.ContainerID]bool{}
	for _, f := range slices.Clone(a.frameworks) {
		for _, e := range slices.Clone(f.executors) {
			known[e.container] = true
			state, found := containers[e.container]
			a.recoverExecutor(e, state, found, rebooted)
		}
		a.completeFramework(f)
	}
	if rebooted && a.info.GetId() != nil {
		a.storeAgent()
	}
	for _, id := range slices.Sorted(maps.Keys(containers)) {
		if known[id] {
			continue
		}
		if containers[id].Exit != nil {
			a.emit(Forget{ID: id})
			continue
		}
		a.orphans[id] = true
		a.emit(Destroy{ID: id})
	}
	switch {
	case a.leaveAfterRecovery:
		a.leave("the agent was told to leave", false)
	case a.phase == reconnecting:
		a.deadline = a.now.Add(a.cfg.ExecutorReregistrationTimeout)
	default:
		a.register()
	}
}

// recoverExecutor takes up one executor where the agent before this one left it.
func (a *Agent) recoverExecutor(e *executor, state ContainerState, found, rebooted bool) {
	for _, t := range e.tasks {
		t.unsure = e.command && !t.delivered && !t.terminal()
	}
	switch {
	case e.state == terminated:
		if found {
			a.emit(Forget{ID: e.container})
		}
		a.completeTasks(e)
	case found && state.Exit != nil && state.Exit.Status < 0 && state.Exit.Limitation == nil && !rebooted && !e.sighted():
		// It died with the agent while it was being launched: nothing has run in it.
		a.emit(Forget{ID: e.container})
		a.relaunch(e)
	case found && state.Exit != nil:
		e.launching = true
		a.exited(e, *state.Exit)
	case found && !rebooted:
		a.awaitExecutor(e, state.Pid)
	case !rebooted && !e.sighted():
		// The agent died between the checkpoint and the launch: the container never was, though half
		// of its sandbox may be there.
		a.relaunch(e)
	default:
		e.launching = found
		a.exited(e, unknownContainer)
	}
	a.completeTasks(e)
}

// relaunch does the launch that an agent before this one had only stored, in a fresh container.
func (a *Agent) relaunch(e *executor) {
	a.renew(e)
	for _, t := range e.tasks {
		t.unsure = false
	}
	a.reclaim(e)
	a.durably(e.f, func() { a.launch(e) })
}

// renew gives an executor another container in the place of one that came to nothing.
func (a *Agent) renew(e *executor) {
	a.schedule(e.directory)
	delete(a.containers, e.container)
	e.container = mesos.ContainerID(mesos.NewUUID(a.cfg.Rand).String())
	e.directory = a.sandbox(e)
	a.containers[e.container] = e
	a.storeContainer(e)
}

// sighted says whether anything was ever heard of the executor's container.
func (e *executor) sighted() bool {
	return e.pid != 0 || e.used || slices.ContainsFunc(e.tasks, func(t *task) bool { return t.delivered })
}

// awaitExecutor gives a living executor time to subscribe again (EXE-153).
func (a *Agent) awaitExecutor(e *executor, pid int) {
	e.launching, e.recovered = true, true
	if e.placed = e.pid == pid; !e.placed {
		a.place(e, pid)
	}
	e.generation = 1
	if e.command {
		e.confirmed = settled
		e.deadline = a.now.Add(a.cfg.ExecutorReregistrationTimeout + a.cfg.RecoveryTimeout)
	} else {
		for _, t := range e.tasks {
			t.generation = e.generation
		}
		e.deadline = a.now.Add(a.cfg.ExecutorReregistrationTimeout + a.cfg.ExecutorReregistrationExtension)
	}
	a.phase = reconnecting
}

// reconnected ends the wait early when every executor is back.
func (a *Agent) reconnected() {
	if a.phase != reconnecting {
		return
	}
	for _, f := range a.frameworks {
		for _, e := range f.executors {
			if e.recovered && e.state == registering {
				return
			}
		}
	}
	a.serve()
}

// serve ends recovery: the task list is right, so the master may have it (EXE-154).
func (a *Agent) serve() {
	a.phase, a.deadline = serving, time.Time{}
	a.register()
}
