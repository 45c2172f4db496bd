package master

import (
	"time"

	"clusterd/alloc"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1master"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/raft/registry"
)

// View is the state of a master at one moment, for operators. It may be read from any goroutine;
// nothing in it may be changed, and the master never changes it after it has been handed out.
type View struct {
	// Index grows with each change: two views of one master with the same index are the same, apart
	// from Metrics.
	Index uint64
	Info  *v1.MasterInfo
	// Started is when the process started, Elected when this time of office began.
	Started, Elected time.Time
	// State holds tasks, executors, frameworks and agents. Frameworks and agents are in the order in
	// which they came, tasks in that order within their framework.
	State *v1master.Response_GetState
	// Removed are the frameworks whose ids may not come back, by id.
	Removed []RemovedFramework
	// Unreachable are the agents that are marked so, by id.
	Unreachable []UnreachableAgent
	// Drains are the agents that an operator has deactivated or drained, by id, also those that are away.
	Drains []*registry.Drain
	// Overdue is the number of agents that are awaited beyond their time because too many are absent
	// (see Config.RecoveryAgentRemovalLimit).
	Overdue int
	// Suppressed are the suppressed roles of frameworks that have any, sorted.
	Suppressed map[mesos.FrameworkID][]string
	// Metrics are counters and gauges under their Mesos names.
	Metrics map[string]float64
}

// RemovedFramework is a framework that ended.
type RemovedFramework struct {
	ID    mesos.FrameworkID
	At    time.Time
	Cause string
}

// UnreachableAgent is an agent that stopped answering.
type UnreachableAgent struct {
	Info  *v1.AgentInfo
	Since time.Time
}

// frameworkView is the part of a view that one framework makes.
type frameworkView struct {
	info                          *v1master.Response_GetFrameworks_Framework
	tasks, unreachable, completed []*v1.Task
	executors                     []*v1master.Response_GetExecutors_Executor
}

// agentView is the part of a view that one agent makes.
type agentView struct {
	info *v1master.Response_GetAgents_Agent
	// Thousandths of the resources of gaugeResources.
	total, used, revocableTotal, revocableUsed [len(gaugeResources)]int64
	// consumed is what is used by role and name.
	consumed map[string]alloc.Quantities
}

// viewCache is the newest view, good as long as nothing changes, and its slow-moving parts.
type viewCache struct {
	view          *View
	removed       []RemovedFramework
	unreachable   []UnreachableAgent
	drains        []*registry.Drain
	registryIndex uint64
	registryRead  bool
}

// changed notes that views made before do not show the newest state of f or a. Both may be nil for
// changes to the lists themselves.
func (m *Master) changed(f *framework, a *agent) {
	m.index++
	if f != nil {
		f.view = nil
	}
	if a != nil {
		a.view = nil
	}
}

// view returns the newest state. Parts that did not change are taken from earlier views.
func (m *Master) view() *View {
	if old := m.views.view; old != nil && old.Index == m.index {
		fresh := *old
		fresh.Metrics = m.metrics()
		return &fresh
	}
	v := &View{
		Index:      m.index,
		Info:       m.cfg.Info,
		Started:    m.cfg.Started,
		Elected:    m.elected,
		Suppressed: make(map[mesos.FrameworkID][]string),
		Metrics:    m.metrics(),
	}
	m.readRegistry()
	v.Removed, v.Unreachable, v.Drains = m.views.removed, m.views.unreachable, m.views.drains
	v.Overdue = m.absence.overdue
	count := 0
	for f := range m.frameworks.values() {
		count += f.tasks.len()
	}
	tasks := &v1master.Response_GetTasks{Tasks: make([]*v1.Task, 0, count)}
	executors := &v1master.Response_GetExecutors{}
	frameworks := &v1master.Response_GetFrameworks{}
	show := func(f *framework) *v1master.Response_GetFrameworks_Framework {
		fv := m.frameworkView(f)
		tasks.Tasks = append(tasks.Tasks, fv.tasks...)
		tasks.UnreachableTasks = append(tasks.UnreachableTasks, fv.unreachable...)
		tasks.CompletedTasks = append(tasks.CompletedTasks, fv.completed...)
		executors.Executors = append(executors.Executors, fv.executors...)
		return fv.info
	}
	for f := range m.frameworks.values() {
		frameworks.Frameworks = append(frameworks.Frameworks, show(f))
		if len(f.suppressed) > 0 {
			v.Suppressed[f.id] = f.suppressedRoles()
		}
	}
	for _, f := range m.completed {
		frameworks.CompletedFrameworks = append(frameworks.CompletedFrameworks, show(f))
	}
	agents := &v1master.Response_GetAgents{}
	for a := range m.agents.values() {
		agents.Agents = append(agents.Agents, m.agentView(a).info)
	}
	for r := range m.recovered.values() {
		agents.RecoveredAgents = append(agents.RecoveredAgents, r.info)
	}
	v.State = &v1master.Response_GetState{
		GetTasks: tasks, GetExecutors: executors, GetFrameworks: frameworks, GetAgents: agents,
	}
	m.views.view = v
	return v
}

// readRegistry lists what only the registry knows, again after each operation.
func (m *Master) readRegistry() {
	if m.views.registryRead && m.views.registryIndex == m.registry.Index() {
		return
	}
	m.views.registryRead, m.views.registryIndex = true, m.registry.Index()
	m.views.removed, m.views.unreachable, m.views.drains = nil, nil, m.registry.Drains()
	for _, r := range m.registry.RemovedFrameworks() {
		m.views.removed = append(m.views.removed, RemovedFramework{
			ID: mesos.FrameworkID(r.GetFrameworkId().GetValue()), At: unixTime(r.GetTime()), Cause: r.GetCause(),
		})
	}
	for _, r := range m.registry.Unreachables() {
		m.views.unreachable = append(m.views.unreachable, UnreachableAgent{Info: r.GetInfo(), Since: unixTime(r.GetTime())})
	}
}

func (m *Master) frameworkView(f *framework) *frameworkView {
	if f.view != nil {
		return f.view
	}
	constraints := f.constraintsGiven
	if constraints == nil {
		constraints = &v1scheduler.OfferConstraints{} // shown as {}
	}
	active, connected, recovered := f.active, f.connected(), f.recovered
	v := &frameworkView{
		info: &v1master.Response_GetFrameworks_Framework{
			FrameworkInfo:      f.info,
			Active:             &active,
			Connected:          &connected,
			Recovered:          &recovered,
			RegisteredTime:     optionalTime(f.registered),
			ReregisteredTime:   optionalTime(f.reregistered),
			UnregisteredTime:   optionalTime(f.unregistered),
			AllocatedResources: f.used.total().ProtoEndpoint(),
			OfferedResources:   f.offered.total().ProtoEndpoint(),
			OfferConstraints:   constraints,
		},
		completed: append([]*v1.Task(nil), f.completed...),
		tasks:     make([]*v1.Task, 0, f.tasks.len()),
	}
	for o := range f.offers.values() {
		v.info.Offers = append(v.info.Offers, o.proto)
	}
	for t := range f.tasks.values() {
		v.tasks = append(v.tasks, t.proto)
	}
	for t := range f.unreachable.values() {
		v.unreachable = append(v.unreachable, t.proto)
	}
	for e := range f.executors.values() {
		v.executors = append(v.executors, &v1master.Response_GetExecutors_Executor{
			ExecutorInfo: e.info, AgentId: e.agent.id.Proto(),
		})
	}
	f.view = v
	return v
}

func (m *Master) agentView(a *agent) *agentView {
	if a.view != nil {
		return a.view
	}
	active, deactivated, version, pid := a.active, a.drain != nil, a.version, a.pid()
	a.view = &agentView{info: &v1master.Response_GetAgents_Agent{
		AgentInfo:          a.info,
		Active:             &active,
		Deactivated:        &deactivated,
		Version:            &version,
		Pid:                &pid,
		RegisteredTime:     optionalTime(a.registered),
		ReregisteredTime:   optionalTime(a.reregistered),
		TotalResources:     a.total.ProtoEndpoint(),
		AllocatedResources: a.used.ProtoEndpoint(),
		OfferedResources:   a.offered.ProtoEndpoint(),
		Capabilities:       a.capabilities,
		DrainInfo:          drainInfo(a.drain),

		EstimatedDrainStartTime: drainStart(a.drain),
	}}
	a.view.count(a)
	return a.view
}

// count sums up for metrics.
func (v *agentView) count(a *agent) {
	for i, name := range gaugeResources {
		v.total[i] = a.total.NonRevocable().Scalar(name)
		v.used[i] = a.used.NonRevocable().Scalar(name)
		v.revocableTotal[i] = a.total.Revocable().Scalar(name)
		v.revocableUsed[i] = a.used.Revocable().Scalar(name)
	}
	v.consumed = make(map[string]alloc.Quantities)
	for _, e := range a.used.Entries() {
		if e.Type() != v1.Value_SCALAR {
			continue
		}
		if v.consumed[e.Role()] == nil {
			v.consumed[e.Role()] = make(alloc.Quantities)
		}
		v.consumed[e.Role()][e.Name()] += e.Milli()
	}
}

// optionalTime is t, nothing for the zero time.
func optionalTime(t time.Time) *v1.TimeInfo {
	if t.IsZero() {
		return nil
	}
	return timeInfo(t)
}
