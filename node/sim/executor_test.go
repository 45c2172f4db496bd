package sim

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"
)

// executor is the process in a container: the built-in one for a command task, or one of the
// framework's own. Its tasks live as their scripts say.
type executor struct {
	c       *container
	p       *process
	command bool
	durable bool // its framework checkpoints

	stream    *end // nil while not subscribed
	trying    bool
	connected bool
	used      bool // a task was started
	told      bool // SHUTDOWN
	done      bool
	idle      uint64 // number of the newest wait for another task

	live    []*task
	unacked []*v1.TaskInfo
	// updates that the agent has not confirmed, oldest first. sent of them were told on this
	// connection; an executor tells one at a time, or order would be lost with a refusal. posting is the
	// number of the call under way, 0 for none.
	updates []*v1.TaskStatus
	sent    int
	posting uint64
	late    *v1.TaskStatus // what a flaw lets another overtake
}

func newExecutor(c *container) *executor {
	checkpoint := slices.Contains(c.spec.Environment, "MESOS_CHECKPOINT=1")
	return &executor{c: c, p: c.process, command: c.spec.CommandTask, durable: checkpoint}
}

func (x *executor) world() *world { return x.c.machine.w }

func (x *executor) call(kind v1executor.Call_Type) *v1executor.Call {
	return &v1executor.Call{Type: kind.Enum(), FrameworkId: x.c.spec.FrameworkID.Proto(), ExecutorId: x.c.spec.ExecutorID.Proto()}
}

func (x *executor) subscribeIn(d time.Duration) {
	if x.trying || x.done {
		return
	}
	x.trying = true
	x.p.after(d, x.subscribe)
}

// subscribe tells the agent what it has not confirmed.
func (x *executor) subscribe() {
	call := x.call(v1executor.Call_SUBSCRIBE)
	call.Subscribe = &v1executor.Call_Subscribe{UnacknowledgedTasks: slices.Clone(x.unacked)}
	x.sent, x.posting = len(x.updates), 0
	for _, u := range x.updates {
		call.Subscribe.UnacknowledgedUpdates = append(call.Subscribe.UnacknowledgedUpdates, &v1executor.Call_Update{Status: u})
	}
	x.p.open(x.c.machine, 5*time.Second, executorRequest{sent(x.world(), call)}, func(e *end, r response) {
		x.trying = false
		if r.status != 200 {
			e.close("refused")
			x.subscribeIn(x.world().between(50*time.Millisecond, time.Second))
			return
		}
		x.stream, x.connected = e, true
		e.receive = func(m any) { x.hear(m.(*v1executor.Event)) }
		e.gone = func(string) { x.disconnected() }
		x.post()
	}, func(string) {
		x.trying = false
		x.disconnected()
	})
}

// disconnected tries again; an executor that is not to outlive its agent ends.
func (x *executor) disconnected() {
	x.stream, x.connected, x.posting = nil, false, 0
	w := x.world()
	switch {
	case x.done:
	case x.told:
		x.p.after(w.between(0, time.Second), func() { x.c.die(0) })
	case !x.durable:
		x.p.after(w.between(0, 500*time.Millisecond), func() { x.c.die(0x100) })
	default:
		x.subscribeIn(w.between(50*time.Millisecond, time.Second))
	}
}

func (x *executor) hear(ev *v1executor.Event) {
	w := x.world()
	switch ev.GetType() {
	case v1executor.Event_LAUNCH:
		x.launch(ev.GetLaunch().GetTask())
	case v1executor.Event_KILL:
		if t := w.tasks[ev.GetKill().GetTaskId().GetValue()]; slices.Contains(x.live, t) {
			x.p.after(w.between(0, t.script.dying), func() { x.finish(t, v1.TaskState_TASK_KILLED) })
		}
	case v1executor.Event_ACKNOWLEDGED:
		x.acknowledged(ev.GetAcknowledged())
	case v1executor.Event_SHUTDOWN:
		x.told = true
		for _, t := range slices.Clone(x.live) {
			x.finish(t, v1.TaskState_TASK_KILLED)
		}
		x.p.after(w.between(time.Second, 3*time.Second), func() { x.c.die(0) })
		x.rest()
	}
}

// launch starts a task, and lets its script run.
func (x *executor) launch(info *v1.TaskInfo) {
	w := x.world()
	t := w.tasks[info.GetTaskId().GetValue()]
	if t == nil {
		w.failf("%s: task %s was never asked for", x.c.machine.name, info.GetTaskId().GetValue())
	}
	if x.command && slices.Contains(x.live, t) {
		return // told again
	}
	t.begun(x)
	x.used = true
	x.live = append(x.live, t)
	x.unacked = append(x.unacked, info)
	x.report(t, v1.TaskState_TASK_STARTING)
	x.p.after(t.script.start, func() {
		if slices.Contains(x.live, t) {
			x.report(t, v1.TaskState_TASK_RUNNING)
		}
	})
	if t.script.run > 0 {
		x.p.after(t.script.start+t.script.run, func() { x.finish(t, t.script.end) })
	}
}

// finish ends a task that lives.
func (x *executor) finish(t *task, state v1.TaskState) {
	if !slices.Contains(x.live, t) {
		return
	}
	x.live = slices.DeleteFunc(x.live, func(o *task) bool { return o == t })
	x.report(t, state)
	t.stopped()
}

// over ends the tasks with the executor, without a word.
func (x *executor) over() {
	x.done = true
	for _, t := range x.live {
		t.stopped()
	}
	x.live = nil
}

// report keeps an update until the agent confirms it.
func (x *executor) report(t *task, state v1.TaskState) {
	s := &v1.TaskStatus{
		TaskId: mesos.TaskID(t.id).Proto(), State: state.Enum(), Source: v1.TaskStatus_SOURCE_EXECUTOR.Enum(),
		Uuid: mesos.NewUUID(x.world().rng).Bytes(), Timestamp: proto.Float64(float64(x.c.machine.clock.read().UnixNano()) / 1e9),
	}
	t.reported(s)
	if x.world().flaw.reorder && x.late == nil && x.world().chance(100) {
		x.late = s
		return
	}
	x.updates = append(x.updates, s)
	if x.late != nil {
		x.updates, x.late = append(x.updates, x.late), nil
	}
	x.post()
}

// post tells the agent the next update.
func (x *executor) post() {
	if !x.connected || x.posting != 0 || x.sent >= len(x.updates) {
		return
	}
	call := x.call(v1executor.Call_UPDATE)
	call.Update = &v1executor.Call_Update{Status: x.updates[x.sent]}
	number := x.world().handle()
	x.posting = number
	stream := x.stream
	again := func() {
		if x.stream == stream && stream != nil {
			stream.close("update refused")
			x.disconnected()
		}
	}
	x.p.ask(x.c.machine, 5*time.Second, executorRequest{sent(x.world(), call)}, func(r response) {
		switch {
		case x.stream != stream:
		case r.status != 202:
			again()
		case x.posting == number:
			x.posting = 0
			x.sent++
			x.post()
		}
	}, func(string) { again() })
}

func (x *executor) acknowledged(a *v1executor.Event_Acknowledged) {
	x.unacked = slices.DeleteFunc(x.unacked, func(i *v1.TaskInfo) bool { return i.GetTaskId().GetValue() == a.GetTaskId().GetValue() })
	id := string(a.GetUuid())
	i := slices.IndexFunc(x.updates, func(s *v1.TaskStatus) bool { return string(s.GetUuid()) == id })
	if i < 0 {
		return
	}
	if t := x.world().tasks[a.GetTaskId().GetValue()]; x.durable {
		t.confirmed(id)
	}
	x.updates = slices.Delete(x.updates, i, i+1)
	switch {
	case i < x.sent:
		x.sent--
	case i == x.sent:
		x.posting = 0 // confirmed before the answer to the call: that will be of no interest
	}
	x.post()
	x.rest()
}

// rest ends an executor that has nothing left to do.
func (x *executor) rest() {
	if x.done || len(x.live) > 0 || len(x.updates) > 0 {
		return
	}
	w := x.world()
	switch {
	case x.told || x.command && x.used:
		x.p.after(w.between(0, 50*time.Millisecond), func() { x.c.die(0) })
	case x.used:
		x.idle++
		wait := x.idle
		x.p.after(w.between(time.Second, 15*time.Second), func() {
			if x.idle == wait && len(x.live) == 0 && len(x.updates) == 0 {
				x.c.die(0)
			}
		})
	}
}
