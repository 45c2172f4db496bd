package agent

import (
	"slices"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

// Retry of unacknowledged updates (EXE-171, SCH-225).
const (
	retryMin = 10 * time.Second
	retryMax = 10 * time.Minute
)

// maxAcknowledged is how many acknowledged updates of a task are kept, to know them again when an
// executor repeats them. Executors repeat only what this agent has not confirmed.
const maxAcknowledged = 100

// updates is the stream of status updates of one task.
type updates struct {
	queue []*update // not acknowledged by the framework, oldest first
	next  uint64    // number of the next update
	// acknowledged are the newest of those acknowledged, oldest first.
	acknowledged []acknowledged
	// retry is when the head goes out again: zero if it was not sent, or waits for its
	// acknowledgement to be stored. interval is added at the next sending.
	retry    time.Time
	interval time.Duration
}

type update struct {
	number uint64
	uuid   mesos.UUID
	status *v1.TaskStatus // never changed
	stored bool           // on disk, if it is to be
	// acknowledging: the framework's acknowledgement is being stored.
	acknowledging bool
	// generation of limits that the container must have before the master may know.
	generation uint64
}

type acknowledged struct {
	number uint64
	uuid   mesos.UUID
}

// find says whether an update came before, and whether the executor may be told so.
func (s *updates) find(uuid mesos.UUID) (known, stored bool) {
	for _, u := range s.queue {
		if u.uuid == uuid {
			return true, u.stored
		}
	}
	for _, u := range s.acknowledged {
		if u.uuid == uuid {
			return true, true
		}
	}
	return false, false
}

// close drops what is not acknowledged: the framework is gone (EXE-174).
func (s *updates) close() { s.queue, s.retry = nil, time.Time{} }

// update takes over a complete status, from the executor or of the agent's own making: it is stored,
// then confirmed to the executor, then forwarded (EXE-29, EXE-172).
func (a *Agent) update(t *task, status *v1.TaskStatus) {
	uuid, err := mesos.UUIDFromBytes(status.GetUuid())
	if err != nil {
		panic("agent: a status update without uuid reached its stream")
	}
	status = a.drainedStatus(t, status)
	u := &update{number: t.updates.next, uuid: uuid, status: status}
	t.updates.next++
	t.updates.queue = append(t.updates.queue, u)
	t.view = viewWith(t.view, status)
	if t.terminal() {
		a.metrics.ended(status.GetState())
	}
	if e := t.e; e != nil {
		if t.terminal() && e.state != terminated {
			a.resize(e)
			if !e.command && t.delivered {
				// What it used is free when the container has its new limits (EXE-139).
				u.generation = e.generation
			}
		}
		a.storeUpdate(t, u, false)
	}
	a.durably(t.f, func() {
		u.stored = true
		if status.GetSource() == v1.TaskStatus_SOURCE_EXECUTOR {
			a.confirm(t.e, t.id, uuid)
		}
		a.forward(t)
	})
}

func (a *Agent) storeUpdate(t *task, u *update, acknowledged bool) {
	if !t.f.durable() || t.e == nil {
		return
	}
	record := &wire.UpdateRecord{Status: u.status}
	if acknowledged {
		record.Acknowledged = proto.Bool(true)
	}
	a.tx.set(keyUpdate(t.f.id, t.e.id, t.id, u.number), record)
}

// confirm tells the executor that an update was taken over.
func (a *Agent) confirm(e *executor, id mesos.TaskID, uuid mesos.UUID) {
	if e != nil && e.connected {
		a.emit(Send{Stream: e.stream, Event: eventAcknowledged(id, uuid)})
	}
}

// forward sends the head of a stream to the master, if it was not sent or its retry is due
// (EXE-170, EXE-171).
func (a *Agent) forward(t *task) {
	s := &t.updates
	if !a.master.registered || len(s.queue) == 0 || s.retry.After(a.now) {
		return
	}
	u := s.queue[0]
	if !u.stored || u.acknowledging || t.e != nil && u.generation > t.e.confirmed {
		return
	}
	a.send(&wire.FromAgent{Message: &wire.FromAgent_StatusUpdate{StatusUpdate: &wire.StatusUpdate{
		FrameworkId: t.f.id.Proto(),
		Status:      u.status,
		LatestState: t.view.GetState().Enum(),
	}}})
	s.interval = min(max(2*s.interval, retryMin), retryMax)
	s.retry = a.now.Add(s.interval)
}

// resume sends the heads of all streams of a framework at once.
func (a *Agent) resume(f *framework) {
	for t := range f.tasks() {
		t.updates.retry, t.updates.interval = time.Time{}, 0
		a.forward(t)
	}
}

// acknowledge takes the framework's word for the head of a stream. Anything else is old, or came
// twice (EXE-173).
func (a *Agent) acknowledge(m *wire.Acknowledge) {
	f := a.framework(mesos.FrameworkID(m.GetFrameworkId().GetValue()))
	if f == nil {
		return
	}
	t := f.task(mesos.TaskID(m.GetTaskId().GetValue()))
	uuid, err := mesos.UUIDFromBytes(m.GetUuid())
	if t == nil || err != nil || len(t.updates.queue) == 0 || t.updates.queue[0].uuid != uuid {
		a.emit(Log{Message: "ignoring an acknowledgement that does not fit", Framework: f.id, Task: mesos.TaskID(m.GetTaskId().GetValue())})
		return
	}
	u := t.updates.queue[0]
	if u.acknowledging || !u.stored {
		return
	}
	u.acknowledging, t.updates.retry = true, time.Time{}
	if mesos.Terminal(u.status.GetState()) {
		// Nothing follows that would have to wait: the record goes with the task.
		a.acknowledgedHead(t, u)
		return
	}
	a.storeUpdate(t, u, true)
	a.durably(f, func() { a.acknowledgedHead(t, u) })
}

func (a *Agent) acknowledgedHead(t *task, u *update) {
	s := &t.updates
	if len(s.queue) == 0 || s.queue[0] != u {
		return
	}
	s.queue, s.retry, s.interval = s.queue[1:], time.Time{}, 0
	s.acknowledged = append(s.acknowledged, acknowledged{number: u.number, uuid: u.uuid})
	for len(s.acknowledged) > maxAcknowledged {
		if t.f.durable() && t.e != nil {
			a.tx.remove(keyUpdate(t.f.id, t.e.id, t.id, s.acknowledged[0].number))
		}
		s.acknowledged = s.acknowledged[1:]
	}
	switch {
	case len(s.queue) > 0:
		a.forward(t)
	case t.e != nil:
		a.completeTasks(t.e)
	default:
		t.f.strays = slices.DeleteFunc(t.f.strays, func(o *task) bool { return o == t })
		a.completeFramework(t.f)
	}
}
