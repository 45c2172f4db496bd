package master

import (
	"slices"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
)

const (
	// sliceUpdates is how many answers to RECONCILE one step makes at most: a few milliseconds' work.
	sliceUpdates = 500
	// sliceInterval lets other events in between two slices.
	sliceInterval = time.Millisecond
	// maxReconciliations is how many calls of one framework may wait. Beyond it the oldest is answered
	// at once, whatever that takes: what waits is bounded then.
	maxReconciliations = 64
)

// reconciliation is one RECONCILE call that is being answered, over several steps if it is long. A
// task is answered for with what is known when its turn comes, so that no answer is older than an
// update that the framework got before it.
type reconciliation struct {
	asked []*v1scheduler.Call_Reconcile_Task // what was named and is not answered yet
	// all says that no task was named: all active ones are listed when the first answer is due.
	all, listed bool
	tasks       []*task
}

// reconciling are the frameworks with calls to be answered, in the order of their turns.
type reconciling struct {
	turns []*framework
	timer *timer // for the next slice, nil if nothing waits
}

// reconcile is the RECONCILE call: of all tasks if none is named, else of the named ones (SCH-238 to
// SCH-246).
func (m *Master) reconcile(f *framework, tasks []*v1scheduler.Call_Reconcile_Task) {
	if len(tasks) == 0 {
		if n := len(f.reconciliations); n > 0 && f.reconciliations[n-1].all && !f.reconciliations[n-1].listed {
			return // the call before this one is answered with what this one asks for
		}
	}
	f.reconciliations = append(f.reconciliations, &reconciliation{asked: tasks, all: len(tasks) == 0})
	for len(f.reconciliations) > maxReconciliations {
		m.answerSome(f, len(f.reconciliations[0].asked)+f.tasks.len()+1)
	}
	if !f.queued {
		f.queued = true
		m.reconciling.turns = append(m.reconciling.turns, f)
	}
	if m.reconciling.timer == nil {
		m.reconcileSlice()
	}
}

// reconcileSlice makes the answers of one step and sets the timer for those of the next.
func (m *Master) reconcileSlice() {
	q := &m.reconciling
	q.timer = nil
	for budget := sliceUpdates; budget > 0 && len(q.turns) > 0; {
		f := q.turns[0]
		q.turns = slices.Delete(q.turns, 0, 1)
		budget -= m.answerSome(f, budget)
		if f.queued = len(f.reconciliations) > 0; f.queued {
			q.turns = append(q.turns, f)
		}
	}
	if len(q.turns) > 0 {
		q.timer = m.timers.set(m.now.Add(sliceInterval), m.reconcileSlice)
	}
}

// answerSome answers for up to budget tasks of the oldest call and returns for how many it did, at
// least 1.
func (m *Master) answerSome(f *framework, budget int) int {
	if len(f.reconciliations) == 0 {
		return 1 // its stream has ended meanwhile
	}
	r := f.reconciliations[0]
	if r.all && !r.listed {
		r.listed = true
		r.tasks = slices.AppendSeq(make([]*task, 0, f.tasks.len()), f.tasks.values())
	}
	n := 0
	for ; n < budget && len(r.tasks) > 0; n++ {
		id := r.tasks[0].id
		r.tasks = r.tasks[1:]
		if t, active := f.tasks.get(id); active { // else the framework knows its end
			m.sendStatus(f, m.latestStatus(t, v1.TaskStatus_REASON_RECONCILIATION, latestTaskState))
		}
	}
	for ; n < budget && len(r.asked) > 0; n++ {
		m.reconcileTask(f, r.asked[0])
		r.asked = r.asked[1:]
	}
	if len(r.tasks) == 0 && len(r.asked) == 0 {
		f.reconciliations = slices.Delete(f.reconciliations, 0, 1)
	}
	return max(n, 1)
}

// reconcileTask answers for one named task.
func (m *Master) reconcileTask(f *framework, asked *v1scheduler.Call_Reconcile_Task) {
	id := mesos.TaskID(asked.GetTaskId().GetValue())
	if t, ok := f.tasks.get(id); ok {
		m.sendStatus(f, m.latestStatus(t, v1.TaskStatus_REASON_RECONCILIATION, latestTaskState))
		return
	}
	m.reconcileUnknown(f, id, asked.GetAgentId())
}
