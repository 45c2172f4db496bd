package sim

import (
	"slices"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// task is one task: how it is to live, what became of it, and what its framework was told.
type task struct {
	w         *world
	id        string
	framework *framework
	owner     string // id of the framework that launched it
	agent     string // id of the agent that it was sent to
	script    script

	// The truth.
	executor *executor // in which it lives now
	starts   int
	reports  []report // of its executor, in order
	// The framework's knowledge.
	known v1.TaskState // newest that it was told, TASK_STAGING before
	heard []string     // uuids of updates, in order of their first arrival
	final v1.TaskState // the terminal state, 0 before
}

// script is how a task lives.
type script struct {
	start time.Duration // between TASK_STARTING and TASK_RUNNING
	run   time.Duration // after that; 0 is for ever
	end   v1.TaskState
	dying time.Duration // between a kill and its end, at most
}

// report is a status update that its executor made.
type report struct {
	uuid      string
	state     v1.TaskState
	confirmed bool // by the agent of a framework that checkpoints: it is not to be lost any more
}

// script draws the life of a task.
func (w *world) script() script {
	s := script{start: w.between(0, 2*time.Second), dying: w.between(0, 2*time.Second), end: v1.TaskState_TASK_FINISHED}
	if w.chance(850) {
		s.run = w.between(10*time.Millisecond, w.plan.taskTime)
	}
	if w.chance(250) {
		s.end = v1.TaskState_TASK_FAILED
	}
	return s
}

// begun notes that an executor has started the task, which happens at most once.
func (t *task) begun(x *executor) {
	if t.starts++; t.starts > 1 {
		t.w.failf("task %s runs twice", t.id)
	}
	t.executor = x
}

func (t *task) stopped() { t.executor = nil }

func (t *task) running() bool { return t.executor != nil }

// reported notes an update of the executor.
func (t *task) reported(s *v1.TaskStatus) {
	t.reports = append(t.reports, report{uuid: string(s.GetUuid()), state: s.GetState()})
}

// confirmed notes that the agent has taken an update over for good.
func (t *task) confirmed(uuid string) {
	for i := range t.reports {
		if t.reports[i].uuid == uuid {
			t.reports[i].confirmed = true
		}
	}
}

// tell takes in a status update at the framework. New is false for one that came before.
func (t *task) tell(s *v1.TaskStatus) {
	w, state, uuid := t.w, s.GetState(), string(s.GetUuid())
	if uuid != "" && !slices.Contains(t.heard, uuid) {
		t.checkOrder(uuid, state)
		t.heard = append(t.heard, uuid)
	}
	if lasting(state) && !t.refusedBefore(s) {
		if t.final != 0 && t.final != state {
			w.failf("task %s has ended as %s, then as %s: %s", t.id, t.final, state, s.GetMessage())
		}
		t.final = state
	}
	t.known = state
	if t.final != 0 {
		t.known = t.final
	}
}

// refusedBefore says whether a status only repeats in other words that the task was never launched: nobody
// keeps a task that was refused, so that the answer to a question asked meanwhile does not know it.
func (t *task) refusedBefore(s *v1.TaskStatus) bool {
	refused := t.final == v1.TaskState_TASK_ERROR || t.final == v1.TaskState_TASK_DROPPED
	return refused && t.starts == 0 && s.GetState() == v1.TaskState_TASK_GONE && s.GetReason() == v1.TaskStatus_REASON_RECONCILIATION
}

// checkOrder checks that the update comes in its turn. Updates of frameworks that do not checkpoint may
// be missing.
func (t *task) checkOrder(uuid string, state v1.TaskState) {
	at := slices.IndexFunc(t.reports, func(r report) bool { return r.uuid == uuid })
	for i := range max(at, 0) {
		if t.framework.durable && !slices.Contains(t.heard, t.reports[i].uuid) {
			t.w.failf("task %s: its update %d, %s, came before %d, %s", t.id, at, state, i, t.reports[i].state)
		}
	}
	for i := at + 1; at >= 0 && i < len(t.reports); i++ {
		if slices.Contains(t.heard, t.reports[i].uuid) {
			t.w.failf("task %s: its update %d, %s, came after %d, %s", t.id, at, state, i, t.reports[i].state)
		}
	}
}

// lasting says whether nothing may follow a state. TASK_LOST may be taken back when the agent is (SCH-268).
func lasting(s v1.TaskState) bool { return mesos.Terminal(s) && s != v1.TaskState_TASK_LOST }

// unsettled says what is not as it has to be when all is calm; empty if nothing is.
func (t *task) unsettled() string {
	switch {
	case t.owner != t.framework.id:
		if t.running() {
			return "it lives on, but its framework has ended"
		}
		return ""
	case t.final != 0 || t.known == v1.TaskState_TASK_LOST:
		if t.running() {
			return "it lives on"
		}
	case t.known == v1.TaskState_TASK_UNREACHABLE || t.known == v1.TaskState_TASK_UNKNOWN:
		if t.running() || t.w.agentAlive(t.agent) {
			return "its agent is there"
		}
	case t.known == v1.TaskState_TASK_RUNNING || t.known == v1.TaskState_TASK_STARTING:
		if !t.running() {
			return "it does not run"
		}
		if t.known == v1.TaskState_TASK_STARTING && len(t.reports) > 1 {
			return "it has started"
		}
	default:
		return "it is not known what became of it"
	}
	return t.contradiction()
}

// contradiction compares the end that the framework knows with the one that the executor reported and
// the agent confirmed.
func (t *task) contradiction() string {
	if n := len(t.reports); n > 0 && t.reports[n-1].confirmed && lasting(t.reports[n-1].state) && t.w.agentAlive(t.agent) {
		end := t.reports[n-1].state
		drained := end == v1.TaskState_TASK_KILLED && t.final == v1.TaskState_TASK_GONE_BY_OPERATOR // the agent's word for it
		if t.final != end && !drained {
			return "it ended as " + end.String()
		}
	}
	return ""
}
