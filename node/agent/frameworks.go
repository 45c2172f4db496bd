package agent

import (
	"iter"
	"slices"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// framework is a framework with something on this agent: an executor, or an update that is not
// acknowledged.
type framework struct {
	id   mesos.FrameworkID
	info *v1.FrameworkInfo // replaced, never changed
	// terminating: the master has removed it. Its executors are ended without updates.
	terminating bool
	// forgotten: nothing of it is stored any more.
	forgotten bool
	executors []*executor // in order of arrival
	// strays are tasks that were refused before they had an executor; they have only an update.
	strays    []*task
	completed []*ExecutorView
}

// durable says whether steps of this framework are stored (EXE-149, EXE-150).
func (f *framework) durable() bool { return f.info.GetCheckpoint() && !f.forgotten }

// lost is the state as the framework may see it: TASK_LOST unless it is partition aware.
func (f *framework) lost(state v1.TaskState) v1.TaskState {
	if mesos.HasCapability(f.info, v1.FrameworkInfo_Capability_PARTITION_AWARE) {
		return state
	}
	return v1.TaskState_TASK_LOST
}

func (f *framework) executor(id mesos.ExecutorID) *executor {
	for _, e := range f.executors {
		if e.id == id {
			return e
		}
	}
	return nil
}

// task finds a task that is not complete.
func (f *framework) task(id mesos.TaskID) *task {
	for t := range f.tasks() {
		if t.id == id {
			return t
		}
	}
	return nil
}

// tasks are all tasks that are not complete, in order.
func (f *framework) tasks() iter.Seq[*task] {
	return func(yield func(*task) bool) {
		for _, e := range f.executors {
			for _, t := range slices.Clone(e.tasks) {
				if !yield(t) {
					return
				}
			}
		}
		for _, t := range slices.Clone(f.strays) {
			if !yield(t) {
				return
			}
		}
	}
}

func (a *Agent) framework(id mesos.FrameworkID) *framework {
	for _, f := range a.frameworks {
		if f.id == id {
			return f
		}
	}
	return nil
}

func (a *Agent) executorOf(fid *v1.FrameworkID, eid *v1.ExecutorID) *executor {
	f := a.framework(mesos.FrameworkID(fid.GetValue()))
	if f == nil {
		return nil
	}
	return f.executor(mesos.ExecutorID(eid.GetValue()))
}

// admit finds the framework of a task, or makes it.
func (a *Agent) admit(info *v1.FrameworkInfo) *framework {
	id := mesos.FrameworkID(info.GetId().GetValue())
	f := a.framework(id)
	if f == nil {
		f = &framework{id: id, info: info}
		a.frameworks = append(a.frameworks, f)
		a.storeFramework(f)
	}
	return f
}

func (a *Agent) storeFramework(f *framework) {
	if f.durable() {
		a.tx.set(keyFramework(f.id)+"info", f.info)
	}
}

// shutdownFramework ends a removed framework: no more updates, executors are shut down (EXE-142,
// EXE-174).
func (a *Agent) shutdownFramework(id mesos.FrameworkID) {
	f := a.framework(id)
	if f == nil || f.terminating {
		return
	}
	f.terminating = true
	for _, t := range slices.Clone(f.strays) {
		t.updates.close()
	}
	for t := range f.tasks() {
		t.updates.close()
	}
	for _, e := range slices.Clone(f.executors) {
		a.shutdownExecutor(e)
		a.completeTasks(e)
	}
	f.strays = nil
	a.completeFramework(f)
}

// completeFramework forgets a framework that has nothing left here.
func (a *Agent) completeFramework(f *framework) {
	if len(f.executors) > 0 || len(f.strays) > 0 {
		return
	}
	i := slices.Index(a.frameworks, f)
	if i < 0 {
		return
	}
	a.frameworks = slices.Delete(a.frameworks, i, i+1)
	if f.durable() {
		a.tx.remove(keyFramework(f.id))
	}
	if len(f.completed) == 0 {
		return
	}
	// A framework that comes and goes is one entry of the history.
	a.completed = slices.DeleteFunc(a.completed, func(v *FrameworkView) bool {
		if v.Info.GetId().GetValue() != string(f.id) {
			return false
		}
		f.completed = append(slices.Clone(v.CompletedExecutors), f.completed...)
		return true
	})
	f.completed = last(f.completed, a.cfg.MaxCompletedExecutorsPerFramework)
	a.completed = last(append(a.completed, &FrameworkView{Info: f.info, CompletedExecutors: f.completed}), a.cfg.MaxCompletedFrameworks)
}

// last keeps the newest n entries.
func last[T any](entries []T, n int) []T {
	if len(entries) > n {
		return slices.Clone(entries[len(entries)-n:])
	}
	return entries
}
