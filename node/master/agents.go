package master

import (
	"net/netip"
	"time"

	"clusterd/alloc"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"
	"clusterd/raft/registry"

	"google.golang.org/protobuf/proto"
)

// agent is one that is registered: connected, or away for a time that is still bearable.
type agent struct {
	id           mesos.AgentID
	info         *v1.AgentInfo // replaced, never changed
	version      string
	capabilities []*v1.AgentInfo_Capability
	ip           string // of its API
	total        alloc.Resources

	conn   ConnID // 0 while disconnected
	active bool   // its resources are offered
	// leaving says that a registry operation in flight ends the agent.
	leaving bool

	registered, reregistered time.Time

	tasks     ordered[taskKey, *task]
	executors ordered[executorKey, *executor]
	offers    ordered[mesos.OfferID, *offer]
	kills     ordered[taskKey, *wire.KillTask] // to be delivered when it comes back (SCH-216)

	used, offered alloc.Resources

	ping     *timer
	unponged bool // the last ping has no answer yet
	missed   int
	away     *timer // end of the time for coming back

	view *agentView // nil when something changed since
}

func (a *agent) connected() bool { return a.conn != 0 }

// conn is one connection of an agent that has sent Register.
type conn struct {
	id    ConnID
	agent *agent // nil until registered, and after another connection took its place
}

// recoveredAgent is one that the registry has and that did not come back yet.
type recoveredAgent struct {
	info *v1.AgentInfo
	away *timer
}

// recoverAgents takes over the agents of the registry at the election (SCH-278).
func (m *Master) recoverAgents() {
	for _, r := range m.registry.Agents() {
		m.awaitAgent(r.GetInfo())
	}
}

// awaitAgent gives an agent of the registry the usual time for coming back.
func (m *Master) awaitAgent(info *v1.AgentInfo) {
	id := mesos.AgentID(info.GetId().GetValue())
	r := &recoveredAgent{info: info}
	r.away = m.timers.set(m.now.Add(m.cfg.AgentReregisterTimeout), func() { m.markUnreachable(id) })
	m.recovered.put(id, r)
	m.changed(nil, nil)
}

// tell sends a frame to the agent if it is connected.
func (m *Master) tell(a *agent, message *wire.ToAgent) {
	if a.connected() {
		m.emit(SendAgent{Conn: a.conn, Message: message})
	}
}

// fromAgent takes in one frame.
func (m *Master) fromAgent(ev FromAgent) {
	if ev.Message.GetRegister() != nil {
		m.register(ev)
		return
	}
	c, ok := m.conns[ev.Conn]
	if !ok {
		m.emit(CloseAgent{Conn: ev.Conn}) // Register must come first
		return
	}
	a := c.agent
	if a == nil {
		return // not registered yet, or replaced by a newer connection
	}
	switch msg := ev.Message.GetMessage().(type) {
	case *wire.FromAgent_StatusUpdate:
		m.statusUpdate(a, msg.StatusUpdate)
	case *wire.FromAgent_ExecutorMessage:
		m.executorMessage(a, msg.ExecutorMessage)
	case *wire.FromAgent_ExecutorExited:
		m.executorExited(a, msg.ExecutorExited)
	case *wire.FromAgent_Pong:
		a.unponged, a.missed = false, 0
	case *wire.FromAgent_Unregister:
		m.counters.add("master/messages_unregister_slave")
		m.removeAgent(a, "the agent unregistered", "unregistered")
	}
}

// startPings sends a ping at once and then at each interval, and counts those that stay without
// an answer (SCH-262). It goes on while the agent is disconnected.
func (m *Master) startPings(a *agent) {
	m.timers.stop(a.ping)
	a.missed = 0
	a.unponged = true
	m.tell(a, ping)
	a.ping = m.timers.set(m.now.Add(m.cfg.AgentPingTimeout), func() { m.nextPing(a) })
}

func (m *Master) nextPing(a *agent) {
	if a.unponged {
		a.missed++
	}
	if a.missed >= m.cfg.MaxAgentPingTimeouts {
		m.markUnreachable(a.id)
		return
	}
	a.unponged = true
	m.tell(a, ping)
	a.ping = m.timers.set(m.now.Add(m.cfg.AgentPingTimeout), func() { m.nextPing(a) })
}

var ping = &wire.ToAgent{Message: &wire.ToAgent_Ping{Ping: &wire.Ping{}}}

// agentDisconnected handles the loss of a connection: offers are rescinded, and frameworks that do
// not checkpoint lose their tasks at once (SCH-266).
func (m *Master) agentDisconnected(id ConnID) {
	c, ok := m.conns[id]
	if !ok {
		return
	}
	delete(m.conns, id)
	a := c.agent
	if a == nil {
		return
	}
	a.conn = 0
	if !a.leaving { // else what follows comes with the commit
		m.awayAgent(a)
	}
}

// awayAgent gives a disconnected agent time to come back.
func (m *Master) awayAgent(a *agent) {
	m.deactivateAgent(a)
	message := "Agent " + a.info.GetHostname() + " disconnected"
	for t := range a.tasks.values() {
		if !t.framework.info.GetCheckpoint() {
			m.endTask(t, v1.TaskState_TASK_LOST, v1.TaskStatus_REASON_AGENT_DISCONNECTED, message)
		}
	}
	for e := range a.executors.values() {
		if !e.framework.info.GetCheckpoint() {
			m.removeExecutor(e)
		}
	}
	m.away.put(a.id, a)
	m.timers.stop(a.away)
	a.away = m.timers.set(m.now.Add(m.cfg.AgentReregisterTimeout), func() { m.markUnreachable(a.id) }) // SCH-267
}

// stay undoes leaving when the registry did not take the operation that was to end the agent.
func (m *Master) stay(id mesos.AgentID) {
	if r, ok := m.recovered.get(id); ok {
		m.timers.stop(r.away)
		m.awaitAgent(r.info)
		return
	}
	a, ok := m.agents.get(id)
	if !ok {
		return
	}
	a.leaving = false
	m.startPings(a)
	if !a.connected() {
		m.awayAgent(a)
	}
}

// deactivateAgent takes back all offers of an agent and stops further ones.
func (m *Master) deactivateAgent(a *agent) {
	a.active = false
	m.alloc.DeactivateAgent(a.id)
	for o := range a.offers.values() {
		m.withdraw(o, true, 0)
	}
	m.changed(nil, a)
}

// endTask completes a task for a reason of the master's own; a task that has ended before only
// leaves the list.
func (m *Master) endTask(t *task, state v1.TaskState, reason v1.TaskStatus_Reason, message string) {
	if mesos.Terminal(t.state) {
		m.complete(t)
		return
	}
	status := m.masterStatus(t.id, lostState(state, t.framework.partitionAware), reason, message)
	status.AgentId = t.proto.GetAgentId()
	m.transition(t, state, status)
	m.complete(t)
	m.sendStatus(t.framework, status)
}

// holdAgent keeps a Register for after the operation in flight on the agent, if there is one.
func (m *Master) holdAgent(id mesos.AgentID, ev FromAgent) bool {
	held, busy := m.busyAgents[id]
	if busy {
		m.busyAgents[id] = append(held, ev)
	}
	return busy
}

func (m *Master) releaseAgent(id mesos.AgentID) {
	held := m.busyAgents[id]
	delete(m.busyAgents, id)
	for _, ev := range held {
		if _, open := m.conns[ev.Conn]; open {
			m.register(ev) // holds itself again if need be
		}
	}
}

// markUnreachable writes the mark into the registry before any framework is told (SCH-264). It is
// for registered and recovered agents.
func (m *Master) markUnreachable(id mesos.AgentID) {
	if _, busy := m.busyAgents[id]; busy {
		return // a removal, or the same mark
	}
	m.counters.add("master/slave_unreachable_scheduled")
	m.busyAgents[id] = nil
	a, registered := m.agents.get(id)
	if registered {
		a.leaving = true
	}
	now := m.now.UnixNano()
	m.propose(&registry.Op{Op: &registry.Op_MarkAgentUnreachable{MarkAgentUnreachable: &registry.MarkAgentUnreachable{
		AgentId: id.Proto(), Time: &now,
	}}}, func(res registry.Result, err error) {
		if err != nil {
			m.counters.add("master/slave_unreachable_canceled")
			m.stay(id)
		} else {
			m.counters.add("master/slave_unreachable_completed")
			m.counters.removal("unhealthy")
			m.agentUnreachable(id, now)
		}
		m.releaseAgent(id)
	})
}

// agentUnreachable tells everybody, in the order of SCH-263.
func (m *Master) agentUnreachable(id mesos.AgentID, since int64) {
	if a, ok := m.agents.get(id); ok {
		for t := range a.tasks.values() {
			m.loseTask(t, since)
		}
		m.dropAgent(a)
	} else if r, ok := m.recovered.get(id); ok {
		m.counters.add("master/recovery_slave_removals")
		m.timers.stop(r.away)
		m.recovered.delete(id)
	}
	m.announceFailure(id)
}

func (m *Master) loseTask(t *task, since int64) {
	if mesos.Terminal(t.state) {
		m.complete(t)
		return
	}
	status := m.masterStatus(t.id, lostState(v1.TaskState_TASK_UNREACHABLE, t.framework.partitionAware),
		v1.TaskStatus_REASON_AGENT_REMOVED, "health check timed out")
	status.AgentId = t.proto.GetAgentId()
	status.UnreachableTime = &v1.TimeInfo{Nanoseconds: &since}
	m.transition(t, v1.TaskState_TASK_UNREACHABLE, status)
	m.lose(t)
	m.sendStatus(t.framework, status)
}

// dropAgent forgets an agent whose tasks are dealt with.
func (m *Master) dropAgent(a *agent) {
	m.deactivateAgent(a)
	for e := range a.executors.values() {
		m.removeExecutor(e)
	}
	m.timers.stop(a.ping)
	m.timers.stop(a.away)
	if a.connected() {
		delete(m.conns, a.conn)
		m.emit(CloseAgent{Conn: a.conn})
		a.conn = 0
	}
	m.alloc.RemoveAgent(a.id)
	m.agents.delete(a.id)
	m.away.delete(a.id)
	m.changed(nil, nil)
}

// announceFailure tells every connected framework that an agent is lost (SCH-258).
func (m *Master) announceFailure(id mesos.AgentID) {
	for f := range m.frameworks.values() {
		m.send(f, failureEvent(id, nil, nil))
	}
	m.changed(nil, nil)
}

// removeAgent ends an agent for good at its own wish, or because another took its address (SCH-271).
func (m *Master) removeAgent(a *agent, why, counter string) {
	if _, busy := m.busyAgents[a.id]; busy {
		return
	}
	a.leaving = true
	m.busyAgents[a.id] = nil
	m.propose(removeAgentOp(a.id), func(res registry.Result, err error) {
		if err != nil {
			m.stay(a.id)
		} else {
			m.counters.removal(counter)
			message := "Agent " + a.info.GetHostname() + " removed: " + why
			for t := range a.tasks.values() {
				m.endTask(t, v1.TaskState_TASK_LOST, v1.TaskStatus_REASON_AGENT_REMOVED, message)
			}
			m.dropAgent(a)
			m.announceFailure(a.id)
		}
		m.releaseAgent(a.id)
	})
}

func removeAgentOp(id mesos.AgentID) *registry.Op {
	return &registry.Op{Op: &registry.Op_RemoveAgent{RemoveAgent: &registry.RemoveAgent{AgentId: id.Proto()}}}
}

// host is an address without its port.
func host(address string) string {
	if a, err := netip.ParseAddrPort(address); err == nil {
		return a.Addr().String()
	}
	return address
}

// allocatorAgent is the agent as the allocator wants it.
func (a *agent) allocatorAgent() alloc.Agent {
	return alloc.Agent{ID: a.id, Total: a.total, Attributes: a.info.GetAttributes(), Domain: a.info.GetDomain()}
}

func registeredMessage(m *Master, id mesos.AgentID) *wire.ToAgent {
	timeout := int64(m.cfg.AgentPingTimeout) * int64(m.cfg.MaxAgentPingTimeouts)
	return &wire.ToAgent{Message: &wire.ToAgent_Registered{Registered: &wire.Registered{
		AgentId:     id.Proto(),
		Master:      m.cfg.Info,
		PingTimeout: &v1.DurationInfo{Nanoseconds: &timeout},
	}}}
}

func shutdownMessage(text string) *wire.ToAgent {
	return &wire.ToAgent{Message: &wire.ToAgent_Shutdown{Shutdown: &wire.Shutdown{Message: proto.String(text)}}}
}
