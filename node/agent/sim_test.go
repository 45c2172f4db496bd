package agent

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

// world is everything around an agent: a master, a disk, a runtime, executors. All of it is driven
// by one seed, and remembers what must not happen twice or be lost.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	a     *Agent
	cfg   Config
	now   time.Time
	steps int
	calm  bool // no more faults

	kv      map[string][]byte
	pending []Checkpoint
	box     []Event // for the agent, in order

	containers map[mesos.ContainerID]*simContainer
	requests   map[RequestID]*simContainer
	request    RequestID
	stream     StreamID

	connected, registered bool
	frameworks            []*v1.FrameworkInfo
	tasks                 []*simTask
	acks                  []*wire.Acknowledge
	drain                 *wire.Drain // as the master wants it

	trace []traced // newest last, shown with a failure
}

// traced is an event and what came of it.
type traced struct {
	event   Event
	effects []Effect
}

// simTask is what the framework knows of a task.
type simTask struct {
	f        *v1.FrameworkInfo
	info     *v1.TaskInfo
	executor string
	runs     int      // how often an executor started it
	emitted  []string // uuids, as the executor sent them
	accepted []string // uuids that the agent has confirmed
	seen     []string // uuids, as the framework got them
	state    v1.TaskState
	done     bool // terminal and acknowledged, or reconciled
}

type simContainer struct {
	spec      LaunchSpec
	launching bool
	alive     bool
	exit      *Exit
	stream    StreamID
	connected bool
	updates   []*v1.TaskStatus
	unacked   []*v1.TaskInfo
	live      []*simTask
	started   bool
	told      bool // SHUTDOWN
	// sent of the updates were told on this connection, posting is the call under way: an executor
	// tells one at a time, or order would be lost with a refusal.
	sent    int
	posting RequestID
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: epoch, cfg: testConfig(),
		kv: map[string][]byte{}, containers: map[mesos.ContainerID]*simContainer{}, requests: map[RequestID]*simContainer{},
	}
	w.cfg.Rand = rand.New(rand.NewPCG(seed, 8))
	w.cfg.ExecutorReregistrationExtension = time.Hour
	durable := frameworkInfo(true, partitionAware)
	volatile := frameworkInfo(false)
	volatile.Id = mesos.FrameworkID("G").Proto()
	w.frameworks = []*v1.FrameworkInfo{durable, volatile}
	w.boot()
	return w
}

func (w *world) boot() {
	saved, err := LoadCheckpoint(w.kv)
	if err != nil {
		w.t.Fatalf("step %d: %v", w.steps, err)
	}
	w.cfg.Checkpoint = saved
	w.a = New(w.cfg, w.now)
	found := map[mesos.ContainerID]ContainerState{}
	for id, c := range w.containers {
		switch {
		case c.alive:
			found[id] = ContainerState{Pid: 100}
		case c.exit != nil:
			found[id] = ContainerState{Exit: c.exit}
		}
	}
	w.box = []Event{Recovered{Containers: found}}
}

// crash kills the agent. Of what it was storing a part may have reached the disk. Launches that had
// not made a container are undone.
func (w *world) crash() {
	for range w.rng.IntN(len(w.pending) + 1) {
		apply(w.kv, w.pending[0])
		w.pending = w.pending[1:]
	}
	w.pending, w.box, w.acks = nil, nil, nil
	w.connected, w.registered = false, false
	for _, id := range w.sorted() {
		c := w.containers[id]
		c.connected = false
		if c.launching {
			c.launching = false
			switch w.rng.IntN(3) {
			case 0:
				delete(w.containers, id)
			case 1:
				c.exit = &Exit{Status: -1}
			default:
				c.alive = true
			}
		}
	}
	w.boot()
}

func (w *world) sorted() []mesos.ContainerID {
	var ids []mesos.ContainerID
	for id := range w.containers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	var before strings.Builder
	for _, t := range w.trace {
		before.WriteString(renderEvent(t.event) + "\n" + render(t.effects))
	}
	w.t.Fatalf("step %d: %s; before:\n%s", w.steps, fmt.Sprintf(format, args...), before.String())
}

// deliver gives the agent one event.
func (w *world) deliver(ev Event) {
	effects := w.a.Step(w.now, ev)
	if err := w.a.Check(); err != nil {
		w.fail("after %T: %v", ev, err)
	}
	if w.trace = append(w.trace, traced{ev, effects}); len(w.trace) > 40 {
		w.trace = w.trace[1:]
	}
	for _, e := range effects {
		w.carryOut(e)
	}
}

func (w *world) carryOut(e Effect) {
	switch e := e.(type) {
	case SendMaster:
		w.fromAgent(e.Message)
	case Respond:
		w.answered(e)
	case OpenStream:
		c := w.requests[e.Request]
		c.connected, c.stream = c.alive, e.Stream
		w.post(c)
	case CloseStream:
		for _, c := range w.containers {
			if c.connected && c.stream == e.Stream {
				c.connected = false
				if c.told {
					c.updates = nil // heard with its SUBSCRIBE
				}
			}
		}
	case Send:
		for _, id := range w.sorted() {
			if c := w.containers[id]; c.connected && c.stream == e.Stream && c.alive {
				w.toExecutor(c, e.Event)
			}
		}
	case Checkpoint:
		w.pending = append(w.pending, e)
	case Launch:
		if w.containers[e.Spec.ID] != nil {
			w.fail("container %s is launched twice", e.Spec.ID)
		}
		w.containers[e.Spec.ID] = &simContainer{spec: e.Spec, launching: true}
	case Update:
		w.box = append(w.box, ContainerUpdated{ID: e.ID})
	case Destroy:
		w.destroy(e.ID)
	case Forget:
		if c := w.containers[e.ID]; c != nil && c.alive {
			w.fail("container %s is forgotten alive", e.ID)
		}
		delete(w.containers, e.ID)
	case Collect:
		w.box = append(w.box, Collected{Path: e.Path})
	case CloseMaster:
		w.disconnectMaster()
	case Shutdown:
		w.fail("the agent ends: %s", e.Reason)
	}
}

func (w *world) destroy(id mesos.ContainerID) {
	c := w.containers[id]
	switch {
	case c == nil:
	case c.launching:
		delete(w.containers, id)
		w.box = append(w.box, LaunchFailed{ID: id, Message: "destroyed"})
	case c.alive:
		w.die(c, 9)
	}
}

// die ends a container. The agent hears of it in time.
func (w *world) die(c *simContainer, status int) {
	c.alive, c.connected = false, false
	c.exit = &Exit{Status: status}
	w.box = append(w.box, ContainerExited{ID: c.spec.ID, Exit: *c.exit})
}

func (w *world) disconnectMaster() {
	if w.connected {
		w.connected, w.registered = false, false
		w.box = append(w.box, MasterDisconnected{})
	}
}

func (w *world) task(f, id string) *simTask {
	for _, t := range w.tasks {
		if t.f.GetId().GetValue() == f && t.info.GetTaskId().GetValue() == id {
			return t
		}
	}
	w.fail("task %s of %s was never launched", id, f)
	return nil
}

// fromAgent is the master.
func (w *world) fromAgent(m *wire.FromAgent) {
	if !w.connected {
		return
	}
	switch m := m.GetMessage().(type) {
	case *wire.FromAgent_Register:
		w.registered = true
		w.box = append(w.box, FromMaster{Message: &wire.ToAgent{Message: &wire.ToAgent_Registered{Registered: &wire.Registered{
			AgentId: mesos.AgentID("S0").Proto(), Master: &v1.MasterInfo{Id: proto.String("M"), Ip: proto.Uint32(1), Port: proto.Uint32(5050)},
			PingTimeout: &v1.DurationInfo{Nanoseconds: proto.Int64(int64(1000 * time.Hour))}, Drain: w.drain,
		}}}})
		w.reconcile(m.Register)
	case *wire.FromAgent_StatusUpdate:
		w.statusUpdate(m.StatusUpdate)
	}
}

// reconcile finds the tasks that the agent has not. Those of a checkpointing framework must never
// have run (SCH-269).
func (w *world) reconcile(m *wire.Register) {
	for _, t := range w.tasks {
		known := slices.ContainsFunc(m.GetTasks(), func(o *v1.Task) bool {
			return o.GetTaskId().GetValue() == t.info.GetTaskId().GetValue() && o.GetFrameworkId().GetValue() == t.f.GetId().GetValue()
		})
		if known || t.done {
			continue
		}
		if t.f.GetCheckpoint() && t.runs > 0 {
			w.fail("task %s, %s, ran and is lost", t.info.GetTaskId().GetValue(), t.state)
		}
		t.done = true
	}
}

func (w *world) statusUpdate(m *wire.StatusUpdate) {
	s := m.GetStatus()
	t := w.task(m.GetFrameworkId().GetValue(), s.GetTaskId().GetValue())
	id := string(s.GetUuid())
	if !slices.Contains(t.seen, id) {
		if mesos.Terminal(t.state) {
			w.fail("task %s is %s after %s", s.GetTaskId().GetValue(), s.GetState(), t.state)
		}
		if i := slices.Index(t.emitted, id); i > 0 && t.f.GetCheckpoint() && !slices.Contains(t.seen, t.emitted[i-1]) {
			w.fail("task %s: update %d came before the one in front of it", s.GetTaskId().GetValue(), i)
		}
		t.seen = append(t.seen, id)
		t.state = s.GetState()
	}
	w.acks = append(w.acks, &wire.Acknowledge{FrameworkId: m.FrameworkId, TaskId: s.TaskId, Uuid: s.Uuid})
}

// acknowledge is the framework.
func (w *world) acknowledge() {
	ack := w.acks[0]
	w.acks = w.acks[1:]
	t := w.task(ack.GetFrameworkId().GetValue(), ack.GetTaskId().GetValue())
	if mesos.Terminal(t.state) && string(ack.GetUuid()) == t.seen[len(t.seen)-1] {
		t.done = true
	}
	w.fromMaster(&wire.ToAgent{Message: &wire.ToAgent_Acknowledge{Acknowledge: ack}})
}

func (w *world) fromMaster(m *wire.ToAgent) { w.box = append(w.box, FromMaster{Message: m}) }

// toExecutor is an executor that hears an event.
func (w *world) toExecutor(c *simContainer, ev *v1executor.Event) {
	fid := string(c.spec.FrameworkID)
	switch ev.GetType() {
	case v1executor.Event_LAUNCH:
		t := w.task(fid, ev.GetLaunch().GetTask().GetTaskId().GetValue())
		if c.spec.CommandTask && slices.Contains(c.live, t) {
			return // told again
		}
		if t.runs++; t.runs > 1 {
			w.fail("task %s runs twice", t.info.GetTaskId().GetValue())
		}
		c.started = true
		c.live = append(c.live, t)
		c.unacked = append(c.unacked, t.info)
		w.report(c, t, v1.TaskState_TASK_STARTING)
	case v1executor.Event_KILL:
		if t := w.task(fid, ev.GetKill().GetTaskId().GetValue()); slices.Contains(c.live, t) {
			w.finish(c, t, v1.TaskState_TASK_KILLED)
		}
	case v1executor.Event_ACKNOWLEDGED:
		id := string(ev.GetAcknowledged().GetUuid())
		t := w.task(fid, ev.GetAcknowledged().GetTaskId().GetValue())
		t.accepted = append(t.accepted, id)
		if i := slices.IndexFunc(c.updates, func(s *v1.TaskStatus) bool { return string(s.GetUuid()) == id }); i >= 0 {
			c.updates = slices.Delete(c.updates, i, i+1)
			switch {
			case i < c.sent:
				c.sent--
			case i == c.sent:
				c.posting = 0
			}
			w.post(c)
		}
		c.unacked = slices.DeleteFunc(c.unacked, func(i *v1.TaskInfo) bool { return i == t.info })
	case v1executor.Event_SHUTDOWN:
		c.told = true
		for _, t := range slices.Clone(c.live) {
			w.finish(c, t, v1.TaskState_TASK_KILLED)
		}
	}
}

// report sends an update of an executor; it stays unacknowledged until the agent confirms it.
func (w *world) report(c *simContainer, t *simTask, state v1.TaskState) {
	s := status(t.info.GetTaskId().GetValue(), state, 0)
	s.Uuid = mesos.NewUUID(w.rng).Bytes()
	t.emitted = append(t.emitted, string(s.Uuid))
	c.updates = append(c.updates, s)
	w.post(c)
}

// post tells the agent the next update.
func (w *world) post(c *simContainer) {
	if !c.connected || c.posting != 0 || c.sent >= len(c.updates) {
		return
	}
	w.callAgent(c, v1executor.Call_UPDATE, func(call *v1executor.Call) {
		call.Update = &v1executor.Call_Update{Status: c.updates[c.sent]}
	})
	c.posting = w.request
}

// answered goes on with the next update; a refused one is repeated with the next SUBSCRIBE.
func (w *world) answered(r Respond) {
	c := w.requests[r.Request]
	switch {
	case r.Status != 202:
		c.connected = false
	case c.posting == r.Request:
		c.posting = 0
		c.sent++
		w.post(c)
	}
}

func (w *world) finish(c *simContainer, t *simTask, state v1.TaskState) {
	c.live = slices.DeleteFunc(c.live, func(o *simTask) bool { return o == t })
	w.report(c, t, state)
}

func (w *world) callAgent(c *simContainer, kind v1executor.Call_Type, fill func(*v1executor.Call)) {
	w.request++
	w.stream++
	w.requests[w.request] = c
	call := &v1executor.Call{Type: kind.Enum(), FrameworkId: c.spec.FrameworkID.Proto(), ExecutorId: c.spec.ExecutorID.Proto()}
	fill(call)
	w.box = append(w.box, ExecutorCall{Request: w.request, Stream: w.stream, Call: call})
}

// act lets one thing happen in the world, and says whether there was one.
func (w *world) act() bool {
	w.steps++
	var choices []func()
	may := func(weight int, do func()) {
		for range weight {
			choices = append(choices, do)
		}
	}
	if len(w.box) > 0 {
		may(12, func() {
			ev := w.box[0]
			w.box = w.box[1:]
			w.deliver(ev)
		})
	}
	if len(w.pending) > 0 {
		may(4, func() {
			c := w.pending[0]
			w.pending = w.pending[1:]
			apply(w.kv, c)
			w.box = append(w.box, Checkpointed{Seq: c.Seq})
		})
	}
	if !w.connected {
		may(2, func() {
			w.connected = true
			w.box = append(w.box, MasterConnected{})
		})
	}
	if w.registered && len(w.acks) > 0 {
		may(3, w.acknowledge)
	}
	for _, id := range w.sorted() {
		w.containerActs(w.containers[id], may)
	}
	if !w.calm {
		w.faults(may)
	} else if at, ok := w.a.Deadline(); ok && !w.finished() {
		may(1, func() {
			if at.After(w.now) {
				w.now = at
			}
			w.deliver(Tick{})
		})
	}
	if len(choices) == 0 {
		return false
	}
	choices[w.rng.IntN(len(choices))]()
	return true
}

func (w *world) containerActs(c *simContainer, may func(int, func())) {
	switch {
	case c.launching:
		may(2, func() {
			c.launching, c.alive = false, true
			w.box = append(w.box, ContainerLaunched{ID: c.spec.ID, Pid: 100})
		})
	case c.alive && !c.connected && !slices.ContainsFunc(w.box, func(ev Event) bool {
		x, ok := ev.(ExecutorCall)
		return ok && w.requests[x.Request] == c
	}):
		may(2, func() {
			w.callAgent(c, v1executor.Call_SUBSCRIBE, func(call *v1executor.Call) {
				call.Subscribe = &v1executor.Call_Subscribe{UnacknowledgedTasks: slices.Clone(c.unacked)}
				c.sent, c.posting = len(c.updates), 0
				for _, u := range c.updates {
					call.Subscribe.UnacknowledgedUpdates = append(call.Subscribe.UnacknowledgedUpdates, &v1executor.Call_Update{Status: u})
				}
			})
		})
	}
	if !c.alive {
		return
	}
	for _, t := range c.live {
		may(1, func() {
			if states := len(t.emitted); states < 2 {
				w.report(c, t, v1.TaskState_TASK_RUNNING)
			} else {
				w.finish(c, t, v1.TaskState_TASK_FINISHED)
			}
		})
	}
	// An idle custom executor is left alone (EXE-19): it ends when it has enough.
	enough := c.started
	if !c.spec.CommandTask {
		enough = w.calm && c.connected
	}
	if len(c.live) == 0 && len(c.updates) == 0 && (c.told || enough) {
		may(1, func() { w.die(c, 0) })
	}
}

func (w *world) faults(may func(int, func())) {
	if w.registered && len(w.tasks) < 12 {
		may(2, w.launchTask)
	}
	if w.registered && len(w.tasks) > 0 {
		may(1, func() {
			t := w.tasks[w.rng.IntN(len(w.tasks))]
			if !t.done {
				w.fromMaster(&wire.ToAgent{Message: &wire.ToAgent_KillTask{KillTask: &wire.KillTask{FrameworkId: t.f.Id, TaskId: t.info.TaskId}}})
			}
		})
		may(1, func() {
			f := w.frameworks[w.rng.IntN(2)]
			w.fromMaster(&wire.ToAgent{Message: &wire.ToAgent_UpdateFramework{UpdateFramework: &wire.UpdateFramework{Framework: f}}})
		})
	}
	if w.registered && w.rng.IntN(10) == 0 {
		may(1, w.toggleDrain)
	}
	if w.connected {
		may(1, w.disconnectMaster)
	}
	may(1, func() {
		w.now = w.now.Add(time.Duration(w.rng.IntN(3)) * time.Second)
		w.box = append(w.box, Tick{})
	})
	for _, id := range w.sorted() {
		c := w.containers[id]
		if c.connected && w.rng.IntN(8) == 0 {
			may(1, func() {
				w.box = append(w.box, ExecutorClosed{Stream: c.stream})
				c.connected = false
			})
		}
		if c.alive && w.rng.IntN(12) == 0 {
			may(1, func() { w.die(c, 0x300) })
		}
	}
}

// toggleDrain is an operator.
func (w *world) toggleDrain() {
	d := &wire.Drain{}
	if w.drain == nil {
		d.Config = &v1.DrainConfig{MarkGone: proto.Bool(w.rng.IntN(2) == 0)}
		w.drain = d
	} else {
		w.drain = nil
	}
	w.fromMaster(&wire.ToAgent{Message: &wire.ToAgent_Drain{Drain: d}})
}

func (w *world) launchTask() {
	f := w.frameworks[w.rng.IntN(2)]
	id := fmt.Sprintf("t%d", len(w.tasks))
	executor := id
	info := commandTask(id, "x")
	if w.rng.IntN(2) == 0 {
		executor = fmt.Sprintf("e%d", w.rng.IntN(2))
		info = customTask(id, executor)
	}
	w.tasks = append(w.tasks, &simTask{f: f, info: info, executor: executor})
	w.fromMaster(&wire.ToAgent{Message: &wire.ToAgent_RunTask{RunTask: &wire.RunTask{Framework: f, Tasks: []*v1.TaskInfo{info}}}})
}

// settle lets everything come to its end, without faults. What takes time gets it.
func (w *world) settle() {
	w.calm = true
	for range 20000 {
		if !w.act() {
			break
		}
	}
	for _, t := range w.tasks {
		if !t.done {
			w.fail("task %s of %s is %s for ever", t.info.GetTaskId().GetValue(), t.f.GetId().GetValue(), t.state)
		}
		for _, id := range t.accepted {
			if t.f.GetCheckpoint() && !slices.Contains(t.seen, id) && !mesos.Terminal(t.state) {
				w.fail("task %s: an update that was confirmed never came", t.info.GetTaskId().GetValue())
			}
		}
	}
	for _, f := range w.a.frameworks {
		for _, e := range f.executors {
			w.fail("executor %s is left: %+v in %+v", e.id, e, w.containers[e.container])
		}
		w.fail("framework %s is left", f.id)
	}
	for key := range w.kv {
		if key != "info" && key[:3] != "gc/" {
			w.fail("key %s is left", key)
		}
	}
	if w.a.drain != nil {
		w.fail("the agent drains for ever")
	}
	if len(w.containers) != 0 {
		w.fail("%d containers are left", len(w.containers))
	}
}

func (w *world) finished() bool {
	return len(w.a.frameworks) == 0 && !slices.ContainsFunc(w.tasks, func(t *simTask) bool { return !t.done })
}

// Random histories, with crashes, keep the invariants and come to an end (EXE-149, EXE-158,
// EXE-168, EXE-170, EXE-172, EXE-199, SCH-226).
func TestRandomHistories(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed)
			for range 400 {
				w.act()
				if w.rng.IntN(100) == 0 {
					w.crash()
				}
			}
			w.settle()
		})
	}
}

// One history is cut at every point: the agent dies there, comes back, and nothing is lost, done
// twice or out of order (EXE-149, EXE-157, EXE-172).
func TestCrashAtEveryPoint(t *testing.T) {
	const length = 160
	for seed := range uint64(1) {
		for cut := range length {
			w := newWorld(t, 1000+seed)
			for step := range length {
				if step == cut {
					w.crash()
				}
				w.act()
			}
			w.settle()
			if t.Failed() {
				t.Fatalf("seed %d, cut at %d", seed, cut)
			}
		}
	}
}
