package master

import (
	"clusterd/alloc"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"
	"clusterd/raft/registry"

	"google.golang.org/protobuf/proto"
)

// register takes in the first frame of a connection: a new agent, or one that comes back.
func (m *Master) register(ev FromAgent) {
	c, again := m.conns[ev.Conn]
	if !again {
		c = &conn{id: ev.Conn}
		m.conns[ev.Conn] = c
	} else if c.agent != nil {
		return // a second Register on one connection says nothing new
	}
	reg := ev.Message.GetRegister()
	id := mesos.AgentID(reg.GetAgent().GetId().GetValue())
	if id != "" && m.holdAgent(id, ev) {
		return
	}
	total, err := alloc.FromProto(reg.GetAgent().GetResources())
	if err != nil {
		m.turnAway(c, "Invalid agent resources: "+err.Error())
		return
	}
	if id == "" {
		m.counters.add("master/messages_register_slave")
		m.registerNew(c, ev, total)
		return
	}
	m.counters.add("master/messages_reregister_slave")
	a, registered := m.agents.get(id)
	r, recovered := m.recovered.get(id)
	_, gone := m.registry.Gone(string(id))
	_, unreachable := m.registry.Unreachable(string(id))
	switch {
	case gone:
		m.turnAway(c, markedGone)
	case registered && ev.Conn < a.conn:
		m.emit(CloseAgent{Conn: c.id}) // it was opened before the one that the agent has now
		delete(m.conns, c.id)
	case registered:
		m.reconnect(a, c, ev, total)
	case recovered:
		m.endAwaiting(id)
		info := r.info
		if !proto.Equal(info, reg.GetAgent()) {
			info = reg.GetAgent()
			m.propose(updateAgentOp(info), func(registry.Result, error) {})
		}
		m.comeBack(c, ev, info, total, false)
	case unreachable:
		m.admitAgain(c, ev, total, &registry.Op{Op: &registry.Op_MarkAgentReachable{
			MarkAgentReachable: &registry.MarkAgentReachable{Agent: reg.GetAgent()},
		}}, true)
	default:
		// The registry has never heard of it, or has lost it: what it runs is worth more than that.
		now := m.now.UnixNano()
		m.admitAgain(c, ev, total, &registry.Op{Op: &registry.Op_AdmitAgent{
			AdmitAgent: &registry.AdmitAgent{Agent: reg.GetAgent(), Time: &now},
		}}, false)
	}
}

// turnAway tells an agent to end, and why.
func (m *Master) turnAway(c *conn, reason string) {
	m.emit(SendAgent{Conn: c.id, Message: shutdownMessage(reason)})
	m.emit(CloseAgent{Conn: c.id})
	delete(m.conns, c.id)
}

func updateAgentOp(info *v1.AgentInfo) *registry.Op {
	return &registry.Op{Op: &registry.Op_UpdateAgent{UpdateAgent: &registry.UpdateAgent{Agent: info}}}
}

// registerNew admits a new agent through the registry and gives it its id.
func (m *Master) registerNew(c *conn, ev FromAgent, total alloc.Resources) {
	reg := ev.Message.GetRegister()
	id := mesos.AgentID(m.id("-S%d", &m.nextAgent))
	m.replaceAddress(reg, id)
	info := proto.CloneOf(reg.GetAgent())
	info.Id = id.Proto()
	now := m.now.UnixNano()
	m.busyAgents[id] = &busyAgent{doing: admitting}
	m.propose(&registry.Op{Op: &registry.Op_AdmitAgent{
		AdmitAgent: &registry.AdmitAgent{Agent: info, Time: &now},
	}}, func(res registry.Result, err error) {
		_, open := m.conns[c.id]
		switch {
		case err != nil || res.Refused != "":
			m.emit(CloseAgent{Conn: c.id})
			delete(m.conns, c.id)
		case !open:
			// It never heard its id and will ask for another one.
			m.propose(removeAgentOp(id), func(registry.Result, error) {})
		default:
			m.counters.add("master/slave_registrations")
			a := m.newAgent(id, info, reg, host(ev.Remote), total)
			a.registered = m.now
			m.connect(a, c)
		}
		m.releaseAgent(id)
	})
}

// replaceAddress removes a disconnected agent whose address a new one has (SCH-271).
func (m *Master) replaceAddress(reg *wire.Register, by mesos.AgentID) {
	if reg.GetIp() == "" {
		return
	}
	for a := range m.away.values() {
		if a.ip == reg.GetIp() && a.info.GetPort() == reg.GetAgent().GetPort() {
			m.removeAgent(a, "agent "+string(by)+" registered at the address of agent "+string(a.id), "registered")
		}
	}
}

// admitAgain puts an agent with an id back among the admitted ones, then takes over what it runs.
func (m *Master) admitAgain(c *conn, ev FromAgent, total alloc.Resources, op *registry.Op, unreachable bool) {
	info := ev.Message.GetRegister().GetAgent()
	id := mesos.AgentID(info.GetId().GetValue())
	m.busyAgents[id] = &busyAgent{doing: admitting}
	m.propose(op, func(res registry.Result, err error) {
		_, open := m.conns[c.id]
		switch {
		case err != nil || res.Refused != "":
			m.emit(CloseAgent{Conn: c.id})
			delete(m.conns, c.id)
		case !open:
			m.awaitAgent(info, false)
		default:
			m.comeBack(c, ev, info, total, unreachable)
		}
		m.releaseAgent(id)
	})
}

// comeBack makes an agent that the registry has a registered one, with all that it runs.
func (m *Master) comeBack(c *conn, ev FromAgent, info *v1.AgentInfo, total alloc.Resources, unreachable bool) {
	m.counters.add("master/slave_reregistrations")
	reg := ev.Message.GetRegister()
	id := mesos.AgentID(info.GetId().GetValue())
	a := m.newAgent(id, info, reg, host(ev.Remote), total)
	if admitted, ok := m.registry.Agent(string(id)); ok {
		a.registered = unixTime(admitted.GetAdmitted())
	}
	a.reregistered = m.now
	m.connect(a, c)
	m.restore(a, reg, unreachable)
}

// reconnect continues a registered agent on another connection.
func (m *Master) reconnect(a *agent, c *conn, ev FromAgent, total alloc.Resources) {
	m.counters.add("master/slave_reregistrations")
	reg := ev.Message.GetRegister()
	if a.connected() { // the older connection is dead, or will be
		delete(m.conns, a.conn)
		m.emit(CloseAgent{Conn: a.conn})
	}
	m.timers.stop(a.away)
	a.away = nil
	m.away.delete(a.id)
	m.spare(a.id)
	// Mesos ends an agent that comes back with another address (SCH-272): its id could be a copy. Here the
	// node's certificate says whose it is, and a machine may move (CLU-36).
	was := a.url.GetAddress()
	if !proto.Equal(a.info, reg.GetAgent()) {
		a.info = reg.GetAgent()
		m.propose(updateAgentOp(a.info), func(registry.Result, error) {})
	}
	a.describe(reg, host(ev.Remote))
	if !a.total.Equal(total) || !proto.Equal(was, a.url.GetAddress()) {
		for o := range a.offers.values() {
			m.withdraw(o, true, 0)
		}
	}
	m.gauges.have(a.total, -1)
	m.gauges.have(total, 1)
	a.total = total
	m.alloc.UpdateAgent(a.allocatorAgent())
	a.reregistered = m.now
	m.connect(a, c)
	m.restore(a, reg, false)
}

// newAgent adds an agent that is not connected yet.
func (m *Master) newAgent(id mesos.AgentID, info *v1.AgentInfo, reg *wire.Register, remote string, total alloc.Resources) *agent {
	a := &agent{id: id, info: info, total: total}
	a.describe(reg, remote)
	m.agents.put(id, a)
	m.gauges.have(total, 1)
	m.alloc.AddAgent(a.allocatorAgent(), nil)
	m.alloc.DeactivateAgent(id) // until it is connected, if it may be offered at all
	m.readDrain(a)
	return a
}

func (a *agent) describe(reg *wire.Register, remote string) {
	a.version = reg.GetVersion()
	a.capabilities = reg.GetCapabilities()
	if reg.GetIp() != "" {
		a.ip = reg.GetIp()
	} else {
		a.ip = remote
	}
	port := a.info.GetPort()
	a.url = &v1.URL{
		Scheme:  proto.String("http"),
		Address: &v1.Address{Hostname: a.info.Hostname, Ip: proto.String(a.ip), Port: &port},
		Path:    proto.String("/slave(1)"),
	}
}

// connect makes c the connection of a and tells it so before anything else.
func (m *Master) connect(a *agent, c *conn) {
	c.agent = a
	m.setConn(a, c.id)
	m.tell(a, registeredMessage(m, a))
	m.activateAgent(a)
	m.startPings(a)
	m.changed(nil, a)
}

// restore compares what an agent says it runs with what the master knows, and makes the master's
// knowledge follow. unreachable says that the tasks had been declared unreachable (SCH-268).
func (m *Master) restore(a *agent, reg *wire.Register, unreachable bool) {
	frameworks := m.reportedFrameworks(a, reg)
	m.restoreExecutors(a, reg, frameworks)
	reported := make(map[taskKey]struct{}, len(reg.GetTasks()))
	for _, p := range reg.GetTasks() {
		f := frameworks[mesos.FrameworkID(p.GetFrameworkId().GetValue())]
		if f == nil {
			continue
		}
		reported[taskKey{f.id, mesos.TaskID(p.GetTaskId().GetValue())}] = struct{}{}
		m.restoreTask(a, f, p, unreachable)
	}
	for t := range a.tasks.values() {
		if _, ok := reported[taskKey{t.framework.id, t.id}]; !ok {
			m.dropUnknown(t)
		}
	}
	for k := range a.kills.values() {
		m.tell(a, killTask(k))
	}
	a.kills = ordered[taskKey, *wire.KillTask]{}
	m.maybeDrained(a)
}

// reportedFrameworks finds the frameworks of what an agent runs. Those that ended are shut down
// there (SCH-91); an agent with an older FrameworkInfo gets the new one.
func (m *Master) reportedFrameworks(a *agent, reg *wire.Register) map[mesos.FrameworkID]*framework {
	frameworks := make(map[mesos.FrameworkID]*framework)
	ended := make(map[mesos.FrameworkID]struct{})
	shutdown := func(id mesos.FrameworkID) {
		if _, done := ended[id]; !done {
			ended[id] = struct{}{}
			m.tell(a, &wire.ToAgent{Message: &wire.ToAgent_ShutdownFramework{
				ShutdownFramework: &wire.ShutdownFramework{FrameworkId: id.Proto()},
			}})
		}
	}
	for _, info := range reg.GetFrameworks() {
		id := mesos.FrameworkID(info.GetId().GetValue())
		if _, removed := m.registry.Removed(string(id)); removed || id == "" {
			shutdown(id)
			continue
		}
		f := m.reportedFramework(info)
		frameworks[id] = f
		if f.connected() || !sameInfo(f.info, info) {
			m.tellFramework(a, f)
		}
	}
	find := func(id mesos.FrameworkID) {
		if _, ok := frameworks[id]; ok {
			return
		}
		if f, ok := m.frameworks.get(id); ok {
			frameworks[id] = f
			return
		}
		shutdown(id) // nothing is known of it
	}
	for _, p := range reg.GetTasks() {
		find(mesos.FrameworkID(p.GetFrameworkId().GetValue()))
	}
	for _, e := range reg.GetExecutors() {
		find(mesos.FrameworkID(e.GetFrameworkId().GetValue()))
	}
	return frameworks
}

func (m *Master) restoreExecutors(a *agent, reg *wire.Register, frameworks map[mesos.FrameworkID]*framework) {
	reported := make(map[executorKey]struct{}, len(reg.GetExecutors()))
	for _, info := range reg.GetExecutors() {
		f := frameworks[mesos.FrameworkID(info.GetFrameworkId().GetValue())]
		if f == nil {
			continue
		}
		key := executorKey{f.id, a.id, mesos.ExecutorID(info.GetExecutorId().GetValue())}
		r, err := alloc.FromProto(info.GetResources())
		if err != nil {
			continue // its tasks are listed all the same; it holds nothing that could be counted
		}
		reported[key] = struct{}{}
		if !a.executors.has(key) {
			m.addExecutor(f, a, info, r, false)
		}
	}
	for e := range a.executors.values() {
		if _, ok := reported[e.key()]; !ok {
			m.removeExecutor(e)
			m.send(e.framework, failureEvent(a.id, e.id.Proto(), proto.Int32(-1)))
		}
	}
}

// restoreTask takes over one task as its agent reports it.
func (m *Master) restoreTask(a *agent, f *framework, p *v1.Task, unreachable bool) {
	id := mesos.TaskID(p.GetTaskId().GetValue())
	r, err := alloc.FromProto(p.GetResources())
	if err != nil {
		return // a task that no master can have launched
	}
	if t, ok := f.tasks.get(id); ok && t.agent != a {
		// The framework was told that this one was lost and has used its id again elsewhere.
		m.tell(a, killTask(&wire.KillTask{FrameworkId: f.id.Proto(), TaskId: p.GetTaskId()}))
		return
	}
	told := unreachable
	if t, ok := f.unreachable.get(id); ok {
		m.forget(t)
		told = true
	}
	if t, ok := a.tasks.get(taskKey{f.id, id}); ok {
		if t.own == nil && (t.state == p.GetState() || mayFollow(t.state, p.GetState())) {
			m.follow(t, p)
			return
		}
		m.forget(t) // the master was wrong about it
		told = t.own != nil
	}
	told = f.takeBackLost(id) || told
	report := shared(f, a, p)
	state := p.GetState()
	report.State = lostState(state, f.partitionAware).Enum()
	t := m.addTask(f, a, report, r, false)
	if told {
		m.sendStatus(f, m.latestStatus(t, v1.TaskStatus_REASON_AGENT_REREGISTERED, "Unreachable agent re-reregistered"))
	}
}

// follow brings a known task to the state that its agent reports.
func (m *Master) follow(t *task, p *v1.Task) {
	report := shared(t.framework, t.agent, p)
	report.Resources = t.proto.Resources
	report.State = lostState(p.GetState(), t.framework.partitionAware).Enum()
	if len(report.GetStatuses()) < len(t.proto.GetStatuses()) {
		report.Statuses = t.proto.GetStatuses()
	}
	if report.StatusUpdateState == nil {
		report.StatusUpdateState, report.StatusUpdateUuid = t.proto.StatusUpdateState, t.proto.StatusUpdateUuid
	}
	if t.state != p.GetState() {
		var last *v1.TaskStatus
		if n := len(report.GetStatuses()); n > 0 {
			last = report.GetStatuses()[n-1]
		} else {
			last = m.latestStatus(t, v1.TaskStatus_REASON_RECONCILIATION, latestTaskState)
			last.State = report.State
		}
		m.transition(t, p.GetState(), last)
	}
	if len(report.GetStatuses()) == 0 {
		report.Statuses = t.proto.GetStatuses()
	}
	t.show(report)
	m.changed(t.framework, t.agent)
}

// takeBackLost removes a task from the history if it was given up when its agent disconnected.
func (f *framework) takeBackLost(id mesos.TaskID) bool {
	for i, p := range f.completed {
		if p.GetTaskId().GetValue() == string(id) && p.GetState() == v1.TaskState_TASK_LOST {
			f.completed = append(f.completed[:i:i], f.completed[i+1:]...)
			return true
		}
	}
	return false
}
