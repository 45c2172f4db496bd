package agent

import (
	"slices"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

// stopTimeout is how long a stopping agent waits for the executors that end with it.
const stopTimeout = 5 * time.Second

// phase is where the agent stands between start and end.
type phase int

const (
	loading      phase = iota // Recovered is awaited
	reconnecting              // executors may subscribe again
	serving                   // registered or about to
	leaving                   // all executors are being shut down, then the agent ends
	stopping                  // only executors of frameworks without checkpoint are ended
	ended                     // Shutdown was emitted
)

// Agent is the core. The zero value is not usable; see [New].
type Agent struct {
	cfg     Config
	started time.Time
	phase   phase
	// reason of the Shutdown to come, while leaving or stopping.
	reason  string
	failure bool
	// leaveAfterRecovery: Leave came before Recovered.
	leaveAfterRecovery bool
	// deadline of the phase: the end of reconnecting or stopping.
	deadline time.Time

	info       *v1.AgentInfo // replaced, never changed
	drain      *wire.Drain   // while it drains; replaced, never changed
	master     masterLink
	frameworks []*framework // in order of arrival
	completed  []*FrameworkView
	containers map[mesos.ContainerID]*executor
	streams    map[StreamID]*executor
	orphans    map[mesos.ContainerID]bool
	garbage    garbage
	sequence   uint64 // of the last accepted task
	groups     uint64 // of the last accepted task group
	index      uint64
	metrics    counters

	// Of the step under way.
	now     time.Time
	effects []Effect
	tx      transaction
	soon    []func()

	// Checkpoints under way, oldest first.
	seq     uint64
	waiting []waiting
}

type waiting struct {
	seq   uint64
	after []func()
}

// masterLink is the agent's side of the stream to the master.
type masterLink struct {
	connected  bool
	registered bool
	info       *v1.MasterInfo
	// pingTimeout is what the master announced, or the configured one.
	pingTimeout time.Duration
	// silent is when the link counts as dead; zero while there is none.
	silent time.Time
}

// New makes an agent with what its checkpoint holds. It waits for Recovered.
func New(cfg Config, now time.Time) *Agent {
	a := &Agent{
		cfg:        cfg,
		started:    now,
		now:        now,
		info:       proto.CloneOf(cfg.Info),
		containers: map[mesos.ContainerID]*executor{},
		streams:    map[StreamID]*executor{},
		orphans:    map[mesos.ContainerID]bool{},
		garbage:    newGarbage(cfg),
	}
	if cfg.Checkpoint != nil {
		a.restore(cfg.Checkpoint)
	}
	return a
}

// Step takes one event and returns what is to be done, in order. Events come one at a time, with
// now never going back.
func (a *Agent) Step(now time.Time, ev Event) []Effect {
	a.now, a.effects = now, nil
	switch ev := ev.(type) {
	case Recovered:
		a.recover(ev.Containers)
	case MasterConnected:
		a.masterConnected()
	case MasterDisconnected:
		a.masterDisconnected()
	case FromMaster:
		a.fromMaster(ev.Message)
	case ExecutorCall:
		a.executorCall(ev)
	case ExecutorClosed:
		a.executorClosed(ev.Stream)
	case Checkpointed:
		a.checkpointed(ev.Seq)
	case ContainerLaunched:
		a.containerLaunched(ev)
	case LaunchFailed:
		a.launchFailed(ev)
	case ContainerExited:
		a.containerExited(ev.ID, ev.Exit)
	case ContainerUpdated:
		a.containerUpdated(ev)
	case DiskUsage:
		a.garbage.used = ev.Used
	case Collected:
		a.collected(ev)
	case Stop:
		a.stop()
	case Leave:
		a.leave("the agent was told to leave", false)
	case Query:
		a.emit(Answer{Request: ev.Request, View: a.view()})
		return a.effects
	case Tick:
	}
	a.index++
	a.expire()
	a.drained()
	a.commit()
	a.finish()
	return a.effects
}

// Deadline is the next instant at which Step wants a Tick, if any.
func (a *Agent) Deadline() (time.Time, bool) {
	var next time.Time
	soonest := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if a.phase == ended {
		return next, false
	}
	soonest(a.deadline)
	soonest(a.master.silent)
	if a.phase != loading {
		soonest(a.garbage.next())
	}
	for _, f := range a.frameworks {
		for _, e := range f.executors {
			soonest(e.deadline)
		}
		if a.master.registered {
			for t := range f.tasks() {
				soonest(t.updates.retry)
			}
		}
	}
	return next, !next.IsZero()
}

// expire does what is due.
func (a *Agent) expire() {
	due := func(t time.Time) bool { return !t.IsZero() && !t.After(a.now) }
	if due(a.master.silent) {
		a.master.silent = time.Time{}
		a.emit(CloseMaster{Reason: "no ping from the master for " + mesos.FormatDuration(a.master.pingTimeout)})
	}
	if due(a.deadline) {
		a.phaseOver()
	}
	for _, f := range slices.Clone(a.frameworks) {
		for _, e := range slices.Clone(f.executors) {
			if due(e.deadline) {
				a.executorOverdue(e)
			}
		}
		for t := range f.tasks() {
			if a.master.registered && due(t.updates.retry) {
				a.forward(t)
			}
		}
	}
	a.collectDue()
}

func (a *Agent) phaseOver() {
	a.deadline = time.Time{}
	switch a.phase {
	case reconnecting:
		a.serve()
	case stopping:
		a.end()
	}
}

func (a *Agent) emit(e Effect) { a.effects = append(a.effects, e) }

// durably runs fn when all that this step changes of the framework is on disk; for a framework
// without checkpoint at the end of the step.
func (a *Agent) durably(f *framework, fn func()) {
	if f.durable() {
		a.tx.after = append(a.tx.after, fn)
	} else {
		a.soon = append(a.soon, fn)
	}
}

// commit ends the step: what was changed becomes one Checkpoint. What hangs on nothing durable runs
// now, and may change more.
func (a *Agent) commit() {
	for len(a.soon) > 0 || len(a.tx.after) > 0 || !a.tx.empty() {
		soon, tx := a.soon, a.tx
		a.soon, a.tx = nil, transaction{}
		switch {
		case !tx.empty():
			a.seq++
			a.emit(Checkpoint{Seq: a.seq, Put: tx.put, Delete: tx.deletes})
			a.waiting = append(a.waiting, waiting{seq: a.seq, after: tx.after})
		case len(a.waiting) > 0 && len(tx.after) > 0:
			last := &a.waiting[len(a.waiting)-1]
			last.after = append(last.after, tx.after...)
		default:
			soon = append(soon, tx.after...)
		}
		for _, fn := range soon {
			fn()
		}
	}
}

func (a *Agent) checkpointed(seq uint64) {
	for len(a.waiting) > 0 && a.waiting[0].seq <= seq {
		after := a.waiting[0].after
		a.waiting = a.waiting[1:]
		for _, fn := range after {
			fn()
		}
	}
}

// stop begins the end of an agent that leaves durable executors behind.
func (a *Agent) stop() {
	switch a.phase {
	case leaving, ended:
		return
	case loading:
		a.reason = "the agent was told to stop"
		a.end()
		return
	}
	a.phase, a.reason, a.deadline = stopping, "the agent was told to stop", a.now.Add(stopTimeout)
	for _, f := range a.frameworks {
		if f.durable() {
			continue
		}
		for _, e := range slices.Clone(f.executors) {
			a.destroy(e, termination{})
		}
	}
}

// leave begins the end of an agent whose executors all end with it.
func (a *Agent) leave(reason string, failure bool) {
	switch a.phase {
	case ended:
		return
	case loading:
		a.leaveAfterRecovery = true
		return
	}
	if a.master.registered && !failure {
		a.send(&wire.FromAgent{Message: &wire.FromAgent_Unregister{Unregister: &wire.Unregister{}}})
	}
	a.phase, a.reason, a.failure, a.deadline = leaving, reason, failure, time.Time{}
	for _, f := range slices.Clone(a.frameworks) {
		for _, e := range slices.Clone(f.executors) {
			a.shutdownExecutor(e)
		}
	}
}

// finish ends the agent when nothing is left that it waits for.
func (a *Agent) finish() {
	if a.phase != leaving && a.phase != stopping || len(a.waiting) > 0 {
		return
	}
	for _, f := range a.frameworks {
		for _, e := range f.executors {
			if e.state != terminated && (a.phase == leaving || !f.durable()) {
				return
			}
		}
	}
	a.end()
}

func (a *Agent) end() {
	if a.phase == ended {
		return
	}
	a.phase, a.deadline = ended, time.Time{}
	a.emit(Shutdown{Reason: a.reason, Error: a.failure})
}

// id of the agent, empty before it was admitted.
func (a *Agent) id() mesos.AgentID { return mesos.AgentID(a.info.GetId().GetValue()) }
