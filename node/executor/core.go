package executor

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"

	"google.golang.org/protobuf/proto"
)

const (
	// defaultKillGrace is between SIGTERM and SIGKILL without a kill policy (EXE-62).
	defaultKillGrace = 3 * time.Second
	// reapGrace is kept of the shutdown grace for reporting (EXE-65).
	reapGrace = 2 * time.Second
	// acknowledgeTimeout is how long a connected agent may take to acknowledge the last update
	// (EXE-68).
	acknowledgeTimeout = time.Minute
	// firstAttempts is how long an executor without checkpointing tries to reach its agent at all.
	firstAttempts = 10 * time.Second
	backoffMin    = 20 * time.Millisecond
)

// The events that the core learns of.
type event interface{ event() }

type (
	// received is an event of the agent, on the stream of this number.
	received struct {
		stream  uint64
		message *v1executor.Event
	}
	// disconnected: the stream of this number has ended, or could not be opened.
	disconnected struct{ stream uint64 }
	// posted: the agent has accepted the call of this number, or not. refused says that it does
	// not see this executor as subscribed.
	posted struct {
		number      uint64
		ok, refused bool
	}
	// started: the process runs, or err says why not.
	started struct{ err error }
	// exited: the process has ended.
	exited struct{ exit Exit }
	// cancelled: the shim wants the executor to end.
	cancelled struct{}
	// tick: the deadline has come.
	tick struct{}
)

func (received) event()     {}
func (disconnected) event() {}
func (posted) event()       {}
func (started) event()      {}
func (exited) event()       {}
func (cancelled) event()    {}
func (tick) event()         {}

// The effects that the core wants.
type effect interface{ effect() }

type (
	// subscribe opens a stream with this call, after closing the one there is.
	subscribe struct {
		stream uint64
		call   *v1executor.Call
	}
	// post sends a call.
	post struct {
		number uint64
		call   *v1executor.Call
	}
	// start the process; answered by started.
	start struct{ command Command }
	// signal all processes of the task.
	signal struct{ signal syscall.Signal }
	// report a line to the standard error of the sandbox.
	report struct{ line string }
	// end Run with this exit code.
	end struct{ code int }
)

func (subscribe) effect() {}
func (post) effect()      {}
func (start) effect()     {}
func (signal) effect()    {}
func (report) effect()    {}
func (end) effect()       {}

// life of the process.
type life int

const (
	unborn life = iota
	starting
	alive
	dead
)

// core is the executor without its connections and process.
type core struct {
	s    settings
	rand *rand.Rand

	// stream is the number of the newest subscription; connected says that it was accepted.
	stream    uint64
	connected bool
	backoff   time.Duration
	// connectAt is when to try again; giveUp when to stop trying.
	connectAt, giveUp time.Time

	framework *v1.FrameworkInfo
	task      *v1.TaskInfo
	life      life
	path      string
	// tasks and updates that the agent has not acknowledged, oldest first.
	tasks   []*v1.TaskInfo
	updates []*v1executor.Call_Update
	// sent of updates were accepted by the agent on this connection. posting is the number of the
	// call under way, 0 for none; posts counts them. After a failure the next is due at postAt.
	sent           int
	posting, posts uint64
	postAt         time.Time

	// terminated: nothing more will be reported but what is in updates.
	terminated bool
	ackBy      time.Time

	// killing since term; SIGKILL at killAt, sent: killed.
	killing      bool
	term, killAt time.Time
	killed       bool
	// shutdown: the executor ends with the task, or without one. alone: no agent will hear of it.
	shutdown, alone bool
	// completeBy is max_completion_time; expired when it was reached (EXE-67).
	completeBy time.Time
	expired    bool

	ended   bool
	now     time.Time
	effects []effect
}

// newCore returns the core and its first effects.
func newCore(s settings, r *rand.Rand, now time.Time) (*core, []effect) {
	c := &core{s: s, rand: r, now: now, backoff: backoffMin}
	patience := s.recoveryTimeout
	if !s.checkpoint {
		patience = firstAttempts
	}
	c.giveUp = now.Add(patience)
	c.subscribe()
	return c, c.effects
}

// step takes one event and returns what to do, in order.
func (c *core) step(now time.Time, ev event) []effect {
	c.now, c.effects = now, nil
	if c.ended {
		return nil
	}
	switch ev := ev.(type) {
	case received:
		if ev.stream == c.stream {
			c.receive(ev.message)
		}
	case disconnected:
		if ev.stream == c.stream {
			c.disconnect()
		}
	case posted:
		c.posted(ev)
	case started:
		c.started(ev.err)
	case exited:
		c.exited(ev.exit)
	case cancelled:
		c.abandon(0)
	}
	c.expire()
	c.postNext()
	return c.effects
}

// deadline is when the next tick is due, if ever.
func (c *core) deadline() (time.Time, bool) {
	var next time.Time
	if c.ended {
		return next, false
	}
	for _, t := range []time.Time{c.connectAt, c.giveUp, c.postAt, c.killAt, c.completeBy, c.ackBy} {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next, !next.IsZero()
}

func (c *core) expire() {
	due := func(t *time.Time) bool {
		if t.IsZero() || t.After(c.now) {
			return false
		}
		*t = time.Time{}
		return true
	}
	if due(&c.completeBy) && c.life != dead {
		c.expired = true
		c.signal(syscall.SIGTERM)
		c.signal(syscall.SIGKILL)
		c.killed = true
	}
	if due(&c.killAt) && c.life != dead {
		c.killed = true
		c.signal(syscall.SIGKILL)
	}
	if due(&c.connectAt) {
		c.subscribe()
	}
	due(&c.postAt)
	if due(&c.giveUp) {
		c.abandon(max(0, c.s.shutdownGrace-reapGrace))
	}
	if due(&c.ackBy) {
		c.alone = true
		c.finish()
	}
}

func (c *core) emit(e effect) { c.effects = append(c.effects, e) }

func (c *core) call(t v1executor.Call_Type) *v1executor.Call {
	return &v1executor.Call{
		Type:        t.Enum(),
		FrameworkId: mesos.FrameworkID(c.s.framework).Proto(),
		ExecutorId:  mesos.ExecutorID(c.s.executor).Proto(),
	}
}

// subscribe tells the agent what it has not acknowledged.
func (c *core) subscribe() {
	call := c.call(v1executor.Call_SUBSCRIBE)
	call.Subscribe = &v1executor.Call_Subscribe{
		UnacknowledgedTasks:   slices.Clone(c.tasks),
		UnacknowledgedUpdates: slices.Clone(c.updates),
	}
	c.sent = len(c.updates)
	c.connectAt = time.Time{}
	c.stream++
	c.emit(subscribe{stream: c.stream, call: call})
}

// disconnect tries again after a random delay, if the agent is worth waiting for (EXE-147).
func (c *core) disconnect() {
	lost := c.connected
	c.connected, c.posting, c.postAt, c.ackBy = false, 0, time.Time{}, time.Time{}
	if c.alone {
		return
	}
	if lost && !c.s.checkpoint {
		c.abandon(max(0, c.s.shutdownGrace-reapGrace))
		return
	}
	if lost && c.giveUp.IsZero() {
		c.giveUp = c.now.Add(c.s.recoveryTimeout)
	}
	c.connectAt = c.now.Add(c.backoff/2 + time.Duration(c.rand.Int64N(int64(c.backoff/2)+1)))
	c.backoff = min(2*c.backoff, max(c.s.backoffMax, backoffMin))
}

// abandon ends the executor with its task: no agent will hear of them.
func (c *core) abandon(grace time.Duration) {
	c.shutdown, c.alone = true, true
	c.connectAt, c.giveUp = time.Time{}, time.Time{}
	c.kill(grace)
	c.finish()
}

func (c *core) receive(ev *v1executor.Event) {
	switch ev.GetType() {
	case v1executor.Event_SUBSCRIBED:
		c.connected, c.backoff, c.giveUp = true, backoffMin, time.Time{}
		c.framework = ev.GetSubscribed().GetFrameworkInfo()
		if c.terminated {
			c.ackBy = c.now.Add(acknowledgeTimeout)
		}
	case v1executor.Event_LAUNCH:
		c.launch(ev.GetLaunch().GetTask())
	case v1executor.Event_LAUNCH_GROUP:
		for _, task := range ev.GetLaunchGroup().GetTaskGroup().GetTasks() {
			c.tasks = append(c.tasks, task)
			c.update(task, v1.TaskState_TASK_FAILED, nil, "Attempted to run a task group using a \"command\" executor")
		}
	case v1executor.Event_KILL:
		c.killTask(ev.GetKill())
	case v1executor.Event_ACKNOWLEDGED:
		c.acknowledged(ev.GetAcknowledged())
	case v1executor.Event_SHUTDOWN:
		c.shutDown()
	case v1executor.Event_ERROR:
		c.emit(report{line: "Agent refused the executor: " + ev.GetError().GetMessage()})
	}
}

// launch starts the one task of this executor. A repeated LAUNCH of it is the agent making sure;
// another task is refused (EXE-69).
func (c *core) launch(task *v1.TaskInfo) {
	if c.task != nil && c.task.GetTaskId().GetValue() == task.GetTaskId().GetValue() {
		return
	}
	c.tasks = append(c.tasks, task)
	if c.task != nil {
		c.update(task, v1.TaskState_TASK_FAILED, nil, "Attempted to run multiple tasks using a \"command\" executor")
		return
	}
	c.task, c.life = task, starting
	c.update(task, v1.TaskState_TASK_STARTING, nil, "")
	command, overwritten, err := c.command(task.GetCommand())
	if err != nil {
		c.terminate(v1.TaskState_TASK_FAILED, nil, "Task cannot be started: "+err.Error())
		return
	}
	for _, name := range overwritten {
		c.emit(report{line: "Overwriting environment variable '" + name + "'"})
	}
	if d := task.GetMaxCompletionTime(); d != nil {
		c.completeBy = c.now.Add(time.Duration(d.GetNanoseconds()))
	}
	c.path = command.Path
	c.emit(start{command: command})
}

// started goes on where a kill meanwhile has left it.
func (c *core) started(err error) {
	if err != nil {
		c.notStarted(err)
		return
	}
	c.life = alive
	c.update(c.task, v1.TaskState_TASK_RUNNING, nil, "")
	if c.killing || c.expired {
		c.emit(signal{signal: syscall.SIGTERM})
	}
	if c.killed {
		c.emit(signal{signal: syscall.SIGKILL})
	}
}

// notStarted reports a program that cannot be executed like one that said so itself (EXE-49), and
// any other obstacle as what it is (EXE-130).
func (c *core) notStarted(err error) {
	if cause, ok := execError(c.path, err); ok {
		c.emit(report{line: cause.Error()})
		c.update(c.task, v1.TaskState_TASK_RUNNING, nil, "")
		c.exited(Exit{Status: 1 << 8})
		return
	}
	state := v1.TaskState_TASK_FAILED
	if c.killing {
		state = v1.TaskState_TASK_KILLED
	}
	c.terminate(state, v1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED.Enum(), "Failed to launch container: "+err.Error())
}

// exited reports the end of the process (EXE-59, EXE-60, EXE-67).
func (c *core) exited(exit Exit) {
	message := "Command " + mesos.WaitStatusText(exit.Status)
	switch {
	case exit.Limited:
		c.life, c.terminated, c.alone = dead, true, true
		c.finish()
	case c.expired:
		c.terminate(v1.TaskState_TASK_FAILED, v1.TaskStatus_REASON_MAX_COMPLETION_TIME_REACHED.Enum(), message)
	case c.killing:
		c.terminate(v1.TaskState_TASK_KILLED, nil, message)
	case exit.Status == 0:
		c.terminate(v1.TaskState_TASK_FINISHED, nil, message)
	default:
		c.terminate(v1.TaskState_TASK_FAILED, nil, message)
	}
}

// terminate sends the last update; the executor ends with its acknowledgement (EXE-68).
func (c *core) terminate(state v1.TaskState, reason *v1.TaskStatus_Reason, message string) {
	c.life, c.terminated = dead, true
	c.killAt, c.completeBy = time.Time{}, time.Time{}
	c.update(c.task, state, reason, message)
	if c.connected {
		c.ackBy = c.now.Add(acknowledgeTimeout)
	}
	c.finish()
}

func (c *core) update(task *v1.TaskInfo, state v1.TaskState, reason *v1.TaskStatus_Reason, message string) {
	status := &v1.TaskStatus{
		TaskId:     task.GetTaskId(),
		ExecutorId: mesos.ExecutorID(c.s.executor).Proto(),
		State:      state.Enum(),
		Source:     v1.TaskStatus_SOURCE_EXECUTOR.Enum(),
		Reason:     reason,
		Timestamp:  proto.Float64(float64(c.now.UnixNano()) / 1e9),
		Uuid:       mesos.NewUUID(c.rand).Bytes(),
	}
	if message != "" {
		status.Message = proto.String(message)
	}
	c.updates = append(c.updates, &v1executor.Call_Update{Status: status})
}

// postNext sends the oldest update that the agent was not told of on this connection.
func (c *core) postNext() {
	if !c.connected || c.posting != 0 || !c.postAt.IsZero() || c.sent >= len(c.updates) || c.ended {
		return
	}
	call := c.call(v1executor.Call_UPDATE)
	call.Update = c.updates[c.sent]
	c.posts++
	c.posting = c.posts
	c.emit(post{number: c.posting, call: call})
}

func (c *core) posted(ev posted) {
	if ev.number != c.posting {
		return // of a connection before this one, or acknowledged already
	}
	c.posting = 0
	switch {
	case ev.ok:
		c.sent = min(c.sent+1, len(c.updates))
	case ev.refused:
		c.disconnect()
	default:
		c.postAt = c.now.Add(c.backoff)
		c.backoff = min(2*c.backoff, max(c.s.backoffMax, backoffMin))
	}
}

// acknowledged forgets what the agent has taken over (EXE-29).
func (c *core) acknowledged(ack *v1executor.Event_Acknowledged) {
	i := slices.IndexFunc(c.updates, func(u *v1executor.Call_Update) bool {
		return string(u.GetStatus().GetUuid()) == string(ack.GetUuid())
	})
	if i >= 0 {
		c.updates = slices.Delete(c.updates, i, i+1)
		switch {
		case i < c.sent:
			c.sent--
		case c.posting != 0 && i == c.sent:
			c.posting = 0 // its answer is still to come, and means nothing any more
		}
	}
	c.tasks = slices.DeleteFunc(c.tasks, func(t *v1.TaskInfo) bool {
		return t.GetTaskId().GetValue() == ack.GetTaskId().GetValue()
	})
	c.finish()
}

func (c *core) killTask(kill *v1executor.Event_Kill) {
	if c.task == nil || c.task.GetTaskId().GetValue() != kill.GetTaskId().GetValue() {
		return
	}
	grace := defaultKillGrace
	for _, policy := range []*v1.KillPolicy{c.task.GetKillPolicy(), kill.GetKillPolicy()} {
		if d := policy.GetGracePeriod(); d != nil {
			grace = max(0, time.Duration(d.GetNanoseconds()))
		}
	}
	c.kill(grace)
}

// kill begins to end the task, or shortens the grace that counts from the first SIGTERM (EXE-61 to
// EXE-64).
func (c *core) kill(grace time.Duration) {
	if c.life != starting && c.life != alive || c.expired {
		return
	}
	if !c.killing {
		c.killing, c.term, c.killAt = true, c.now, c.now.Add(grace)
		c.completeBy = time.Time{}
		if mesos.HasCapability(c.framework, v1.FrameworkInfo_Capability_TASK_KILLING_STATE) {
			c.update(c.task, v1.TaskState_TASK_KILLING, nil, "")
		}
		c.signal(syscall.SIGTERM)
		return
	}
	if at := c.term.Add(grace); !c.killed && at.Before(c.killAt) {
		c.killAt = at
	}
}

// signal a living process; started makes up for one that is not there yet.
func (c *core) signal(s syscall.Signal) {
	if c.life == alive {
		c.emit(signal{signal: s})
	}
}

// shutDown ends the task the same way, in time to be reported (EXE-65).
func (c *core) shutDown() {
	c.shutdown = true
	grace := max(0, c.s.shutdownGrace-reapGrace)
	if c.killing {
		grace += c.now.Sub(c.term)
	}
	c.kill(grace)
	if !c.connected && c.sent == len(c.updates) && c.life != starting && c.life != alive {
		// A stream that begins with SHUTDOWN ends with it: what the SUBSCRIBE carried was heard.
		c.alone = true
	}
	c.finish()
}

// finish ends the executor when nothing is left to do and nobody has to hear more of it.
func (c *core) finish() {
	idle := c.life == dead || c.life == unborn && c.shutdown
	if c.ended || !idle || !c.alone && len(c.updates) > 0 {
		return
	}
	c.ended = true
	c.emit(end{})
}
