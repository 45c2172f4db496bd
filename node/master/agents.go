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
	ip           string  // of its API
	url          *v1.URL // of its API, as offers show it (SCH-120); replaced, never changed
	total        alloc.Resources

	conn   ConnID // 0 while disconnected
	active bool   // its resources are offered
	// drain is set while an operator has it deactivated or drained; never changed.
	drain *registry.Drain
	// draining says that its tasks are to end; settling that the end of that is being recorded, or will
	// be tried again.
	draining, settling bool
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

	picture *agentPicture // nil when something changed since
}

func (a *agent) connected() bool { return a.conn != 0 }

// conn is one connection of an agent that has sent Register.
type conn struct {
	id    ConnID
	agent *agent // nil until registered, and after another connection took its place
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
		m.spare(a.id) // SCH-265
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
		if m.markUnreachable(a.id); a.leaving {
			return
		}
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
	m.setConn(a, 0)
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

// activateAgent lets a connected agent be offered, unless an operator does not want that.
func (m *Master) activateAgent(a *agent) {
	m.setActive(a, a.drain == nil)
	if a.active {
		m.alloc.ActivateAgent(a.id)
	}
}

func (m *Master) setActive(a *agent, active bool) {
	m.gauges.active += toInt(active) - toInt(a.active)
	a.active = active
	m.changed(nil, a)
}

func (m *Master) setConn(a *agent, c ConnID) {
	m.gauges.connected += toInt(c != 0) - toInt(a.conn != 0)
	a.conn = c
	m.changed(nil, a)
}

// deactivateAgent takes back all offers of an agent and stops further ones.
func (m *Master) deactivateAgent(a *agent) {
	m.setActive(a, false)
	m.alloc.DeactivateAgent(a.id)
	for o := range a.offers.values() {
		m.withdraw(o, true, 0)
	}
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

func registeredMessage(m *Master, a *agent) *wire.ToAgent {
	timeout := int64(m.cfg.AgentPingTimeout) * int64(m.cfg.MaxAgentPingTimeouts)
	registered := &wire.Registered{
		AgentId:     a.id.Proto(),
		Master:      m.cfg.Info,
		PingTimeout: &v1.DurationInfo{Nanoseconds: &timeout},
	}
	if a.draining {
		registered.Drain = wireDrain(a.drain)
	}
	return &wire.ToAgent{Message: &wire.ToAgent_Registered{Registered: registered}}
}

func shutdownMessage(text string) *wire.ToAgent {
	return &wire.ToAgent{Message: &wire.ToAgent_Shutdown{Shutdown: &wire.Shutdown{Message: proto.String(text)}}}
}
