package master

import (
	"maps"
	"slices"
	"time"

	"clusterd/alloc"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"
	"clusterd/raft/registry"

	"google.golang.org/protobuf/proto"
)

// framework is one that was admitted and not removed; in Master.completed, one that ended.
type framework struct {
	id   mesos.FrameworkID
	info *v1.FrameworkInfo // replaced, never changed

	roles      []string
	suppressed map[string]struct{}
	// constraints are what agents may be offered, in both forms.
	constraints      constraints
	constraintsGiven *v1scheduler.OfferConstraints
	// Capabilities that are asked for often.
	partitionAware, multiRole, refinement bool

	stream     StreamID // 0 while disconnected
	streamUUID string
	active     bool // gets offers
	recovered  bool // known from the registry or from agents, not yet subscribed

	registered, reregistered, unregistered time.Time
	heartbeat, failover                    *timer
	// seenRecorded says that the registry has the time at which the framework was last connected.
	seenRecorded bool

	tasks       ordered[mesos.TaskID, *task]
	unreachable ordered[mesos.TaskID, *task]
	completed   []*v1.Task
	executors   ordered[executorKey, *executor]
	offers      ordered[mesos.OfferID, *offer]

	used, offered holdings
	shapes        []shape // of resources that its tasks have
	// reconciliations are RECONCILE calls that are being answered, the oldest first; queued says that
	// the framework waits for its next turn.
	reconciliations []*reconciliation
	queued          bool
	// states counts the tasks that have not ended, by state.
	states tally

	counters frameworkCounters
	picture  *frameworkPicture // nil when something changed since
}

// holdings are resources by agent. They are never summed up for keeping: the same ports of two agents
// are one range in a sum, and what is taken off it again would be missing. Gauges keep sums of scalars.
type holdings struct {
	ordered[mesos.AgentID, alloc.Resources]
}

func (h *holdings) add(a *agent, r alloc.Resources) {
	held, _ := h.get(a.id)
	h.put(a.id, held.Add(r))
}

func (h *holdings) sub(a *agent, r alloc.Resources) {
	held, _ := h.get(a.id)
	if rest := held.Sub(r); rest.Empty() {
		h.delete(a.id)
	} else {
		h.put(a.id, rest)
	}
}

func (f *framework) connected() bool { return f.stream != 0 }

// failoverTimeout is how long the framework may stay away. Validation has bounded it.
func (f *framework) failoverTimeout() time.Duration {
	return max(0, secondsToDuration(f.info.GetFailoverTimeout()))
}

// setInfo replaces the FrameworkInfo and what is derived from it.
func (f *framework) setInfo(info *v1.FrameworkInfo) {
	f.info = info
	f.roles = mesos.Roles(info)
	f.partitionAware = mesos.HasCapability(info, v1.FrameworkInfo_Capability_PARTITION_AWARE)
	f.multiRole = mesos.HasCapability(info, v1.FrameworkInfo_Capability_MULTI_ROLE)
	f.refinement = mesos.HasCapability(info, v1.FrameworkInfo_Capability_RESERVATION_REFINEMENT)
}

func (f *framework) setSuppressed(roles []string) {
	f.suppressed = make(map[string]struct{}, len(roles))
	for _, r := range roles {
		f.suppressed[r] = struct{}{}
	}
}

func (f *framework) suppressedRoles() []string { return slices.Sorted(maps.Keys(f.suppressed)) }

// allocatorFramework is the framework as the allocator wants it.
func (f *framework) allocatorFramework() alloc.Framework {
	caps := make(map[v1.FrameworkInfo_Capability_Type]bool)
	for _, c := range f.info.GetCapabilities() {
		caps[c.GetType()] = true
	}
	minimum := make(map[string][]alloc.Quantities)
	for role, filter := range f.info.GetOfferFilters() {
		if filter.GetMinAllocatableResources() == nil {
			continue
		}
		list := []alloc.Quantities{}
		for _, q := range filter.GetMinAllocatableResources().GetQuantities() {
			quantities := alloc.Quantities{}
			for name, scalar := range q.GetQuantities() {
				quantities[name] = milli(scalar.GetValue())
			}
			list = append(list, quantities)
		}
		minimum[role] = list
	}
	return alloc.Framework{
		ID:             f.id,
		Roles:          slices.Clone(f.roles),
		Suppressed:     f.suppressedRoles(),
		Capabilities:   caps,
		MinAllocatable: minimum,
	}
}

// newFramework adds a framework that is neither connected nor active.
func (m *Master) newFramework(info *v1.FrameworkInfo) *framework {
	f := &framework{id: mesos.FrameworkID(info.GetId().GetValue()), counters: newFrameworkCounters(info)}
	f.setInfo(info)
	f.setSuppressed(nil)
	m.frameworks.put(f.id, f)
	m.alloc.AddFramework(f.allocatorFramework())
	m.alloc.DeactivateFramework(f.id)
	m.changed(f, nil)
	return f
}

// recoverFrameworks takes over the frameworks of the registry at the election (SCH-87, SCH-277).
func (m *Master) recoverFrameworks() {
	for _, r := range m.registry.Frameworks() {
		f := m.newFramework(r.GetInfo())
		f.recovered = true
		f.registered = time.Unix(0, r.GetAdmitted())
		lastSeen := r.GetLastSeen()
		if lastSeen == r.GetAdmitted() {
			lastSeen = 0 // never disconnected since its admission
		}
		f.seenRecorded = lastSeen != 0
		m.startFailover(f, m.recoveredDeadline(f, lastSeen))
	}
}

// recoveredDeadline is when a framework that was away at the election has to be back. One that was
// connected then (no lastSeen) has its whole failover time-out from now. For others it runs since
// they were last seen; time that ran out while nobody led is made good up to the time that agents
// have for coming back.
func (m *Master) recoveredDeadline(f *framework, lastSeen int64) time.Time {
	timeout := f.failoverTimeout()
	if lastSeen == 0 {
		return m.elected.Add(timeout)
	}
	deadline := time.Unix(0, lastSeen).Add(timeout)
	if grace := m.elected.Add(min(timeout, m.cfg.AgentReregisterTimeout)); deadline.Before(grace) {
		deadline = grace
	}
	if latest := m.elected.Add(timeout); deadline.After(latest) {
		deadline = latest
	}
	return deadline
}

// reportedFramework is the framework of tasks and executors that an agent runs. One that the
// registry does not know is admitted as recovered (SCH-277).
func (m *Master) reportedFramework(info *v1.FrameworkInfo) *framework {
	id := mesos.FrameworkID(info.GetId().GetValue())
	if f, ok := m.frameworks.get(id); ok {
		return f
	}
	f := m.newFramework(info)
	f.recovered = true
	f.registered = m.now
	m.startFailover(f, m.now.Add(f.failoverTimeout()))
	now := m.now.UnixNano()
	m.propose(&registry.Op{Op: &registry.Op_AdmitFramework{AdmitFramework: &registry.AdmitFramework{
		Framework: info, Time: &now,
	}}}, func(registry.Result, error) {})
	return f
}

// streamClosed handles the end of a stream from the client's side (SCH-82, SCH-293).
func (m *Master) streamClosed(s StreamID) {
	if sub, ok := m.pending[s]; ok {
		sub.closed = true
		return
	}
	if f, ok := m.streams[s]; ok {
		m.disconnect(f)
	}
}

// detach forgets the stream of f.
func (m *Master) detach(f *framework) {
	delete(m.streams, f.stream)
	f.stream, f.streamUUID = 0, ""
	f.reconciliations = nil // nobody waits for the answers
	m.timers.stop(f.heartbeat)
	f.heartbeat = nil
	m.changed(f, nil)
}

// deactivate takes all offers back and stops further ones. The allocator forgets filters and
// suppressed roles with it (SCH-79).
func (m *Master) deactivate(f *framework) {
	f.active = false
	m.alloc.DeactivateFramework(f.id)
	for o := range f.offers.values() {
		m.alloc.Trigger(o.agent.id) // for others
		m.withdraw(o, false, 0)
	}
	m.changed(f, nil)
}

// disconnect follows the loss of the stream: offers go to others at once, tasks keep running, and
// the failover timer starts (SCH-82, SCH-85).
func (m *Master) disconnect(f *framework) {
	m.detach(f)
	m.deactivate(f)
	m.startFailover(f, m.now.Add(f.failoverTimeout()))
	m.recordSeen(f)
}

// recordSeen puts the time at which the framework was last connected into the registry, so that
// the failover time-out survives a change of leader (SCH-87).
func (m *Master) recordSeen(f *framework) {
	if _, busy := m.busyFrameworks[f.id]; busy || f.connected() || f.seenRecorded {
		return // when busy, releaseFramework does it after the commit
	}
	f.seenRecorded = true
	m.propose(updateFrameworkOp(f.info, m.now.UnixNano()), func(registry.Result, error) {})
}

func updateFrameworkOp(info *v1.FrameworkInfo, lastSeen int64) *registry.Op {
	return &registry.Op{Op: &registry.Op_UpdateFramework{UpdateFramework: &registry.UpdateFramework{
		Framework: info, LastSeen: &lastSeen,
	}}}
}

// startFailover sets the instant at which an absent framework is removed (SCH-85, SCH-86).
func (m *Master) startFailover(f *framework, at time.Time) {
	m.timers.stop(f.failover)
	f.failover = m.timers.set(at, func() {
		f.failover = nil
		m.remove(f, "failover timeout", nil)
	})
}

// holdFramework keeps ev for after the operation in flight on the framework, if there is one.
func (m *Master) holdFramework(id mesos.FrameworkID, ev Event) bool {
	held, busy := m.busyFrameworks[id]
	if busy {
		m.busyFrameworks[id] = append(held, ev)
	}
	return busy
}

// releaseFramework ends the operation in flight and steps the events that were held back for it.
func (m *Master) releaseFramework(id mesos.FrameworkID) {
	held := m.busyFrameworks[id]
	delete(m.busyFrameworks, id)
	for i, ev := range held {
		m.apply(ev)
		if _, busy := m.busyFrameworks[id]; busy {
			m.busyFrameworks[id] = append(m.busyFrameworks[id], held[i+1:]...)
			return
		}
	}
	if f, ok := m.frameworks.get(id); ok {
		m.recordSeen(f)
	}
}

// remove ends a framework for good: the registry first, then everybody else (SCH-86, SCH-88).
// answer, if any, runs after the commit.
func (m *Master) remove(f *framework, cause string, answer func(ok bool)) {
	if m.holdFramework(f.id, removeFramework{id: f.id, cause: cause, answer: answer}) {
		return
	}
	m.timers.stop(f.failover)
	f.failover = nil
	m.busyFrameworks[f.id] = nil
	now := m.now.UnixNano()
	m.propose(&registry.Op{Op: &registry.Op_RemoveFramework{RemoveFramework: &registry.RemoveFramework{
		FrameworkId: f.id.Proto(), Time: &now, Cause: &cause,
	}}}, func(res registry.Result, err error) {
		if answer != nil {
			answer(err == nil)
		}
		switch {
		case err == nil:
			m.removeNow(f)
		case !f.connected():
			m.startFailover(f, m.now.Add(proposeAgain))
		}
		m.releaseFramework(f.id)
	})
}

// proposeAgain is when an operation of the master's own that was not committed is tried again.
const proposeAgain = 10 * time.Second

// removeFramework is a removal that waits for another operation on the framework. It is an event
// only of the queue of held ones.
type removeFramework struct {
	id     mesos.FrameworkID
	cause  string
	answer func(ok bool)
}

func (removeFramework) event() {}

func (m *Master) removeHeld(ev removeFramework) {
	f, ok := m.frameworks.get(ev.id)
	switch {
	case !ok:
		if ev.answer != nil {
			ev.answer(true)
		}
	case ev.answer == nil && (f.connected() || f.failover != nil):
		// The failover timer ran out while the framework was coming back.
	default:
		m.remove(f, ev.cause, ev.answer)
	}
}

// removeNow carries out a committed removal in the order of SCH-89.
func (m *Master) removeNow(f *framework) {
	m.deactivate(f)
	f.unregistered = m.now
	for _, a := range m.agentsOf(f) {
		m.tell(a, &wire.ToAgent{Message: &wire.ToAgent_ShutdownFramework{
			ShutdownFramework: &wire.ShutdownFramework{FrameworkId: f.id.Proto()},
		}})
	}
	message := "Framework " + string(f.id) + " removed"
	kill := func(t *task) {
		status := m.masterStatus(t.id, v1.TaskState_TASK_KILLED, v1.TaskStatus_REASON_FRAMEWORK_REMOVED, message)
		status.AgentId = t.proto.AgentId
		m.transition(t, v1.TaskState_TASK_KILLED, status)
		m.complete(t)
	}
	for t := range f.tasks.values() {
		kill(t)
	}
	for t := range f.unreachable.values() {
		kill(t) // SCH-90
	}
	for e := range f.executors.values() {
		m.removeExecutor(e)
	}
	if s := f.stream; s != 0 {
		m.detach(f)
		m.emit(CloseStream{Stream: s})
	}
	m.timers.stop(f.failover)
	m.alloc.RemoveFramework(f.id)
	m.frameworks.delete(f.id)
	f.recovered = false
	m.completed = appendBounded(m.completed, f, m.cfg.MaxCompletedFrameworks)
	m.changed(f, nil)
}

// agentsOf lists the agents that run tasks or executors of f, in the order in which they were
// first used.
func (m *Master) agentsOf(f *framework) []*agent {
	var agents []*agent
	seen := make(map[*agent]struct{})
	add := func(a *agent) {
		if _, ok := seen[a]; !ok && a != nil {
			seen[a] = struct{}{}
			agents = append(agents, a)
		}
	}
	for t := range f.tasks.values() {
		add(t.agent)
	}
	for e := range f.executors.values() {
		add(e.agent)
	}
	return agents
}

// teardown is the TEARDOWN call (SCH-88).
func (m *Master) teardown(f *framework, c SchedulerCall) {
	m.remove(f, "torn down by the framework", func(ok bool) { m.respondRemoved(c.Request, ok, 202) })
}

func (m *Master) teardownByOperator(ev TeardownFramework) {
	f, ok := m.frameworks.get(ev.ID)
	if !ok {
		m.respond(ev.Request, 400, "No framework found with specified ID") // SCH-93
		return
	}
	m.remove(f, "torn down by an operator", func(ok bool) { m.respondRemoved(ev.Request, ok, 200) })
}

func (m *Master) respondRemoved(r RequestID, ok bool, status int) {
	if !ok {
		m.respond(r, 503, notCommitted)
		return
	}
	m.respond(r, status, "")
}

// notCommitted answers requests whose registry operation was lost, which happens when the
// leadership is lost.
const notCommitted = "The registry operation was not committed: this master no longer leads"

// send writes an event to the framework if it is connected.
func (m *Master) send(f *framework, e *v1scheduler.Event) bool {
	if !f.connected() {
		return false
	}
	f.counters.event(e.GetType())
	m.emit(Send{Stream: f.stream, Event: e})
	return true
}

// startHeartbeats keeps the phase of the subscription whatever else is sent (SCH-46).
func (m *Master) startHeartbeats(f *framework, at time.Time) {
	f.heartbeat = m.timers.set(at, func() {
		m.send(f, heartbeat)
		next := at.Add(m.cfg.HeartbeatInterval)
		if !next.After(m.now) {
			// The loop was away for more than an interval: one late heartbeat is enough.
			missed := m.now.Sub(at) / m.cfg.HeartbeatInterval
			next = at.Add((missed + 1) * m.cfg.HeartbeatInterval)
		}
		m.startHeartbeats(f, next)
	})
}

var heartbeat = &v1scheduler.Event{Type: v1scheduler.Event_HEARTBEAT.Enum()}

func errorEvent(message string) *v1scheduler.Event {
	return &v1scheduler.Event{
		Type:  v1scheduler.Event_ERROR.Enum(),
		Error: &v1scheduler.Event_Error{Message: &message},
	}
}

// appendBounded appends and drops the oldest beyond limit. The result shares nothing with views.
func appendBounded[T any](list []T, v T, limit int) []T {
	list = append(list, v)
	if over := len(list) - limit; over > 0 {
		clear(list[:over])
		list = list[over:]
	}
	return list
}

// sameInfo reports whether two FrameworkInfos say the same.
func sameInfo(a, b *v1.FrameworkInfo) bool { return proto.Equal(a, b) }
