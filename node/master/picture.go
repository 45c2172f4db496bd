package master

import (
	"maps"
	"slices"
	"time"

	"clusterd/alloc"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1master"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/raft/registry"
)

// Picture is what the loop hands out to be shown: references to what it knows at one moment, which
// never changes afterwards. A Viewer makes a View of it, outside the loop.
type Picture struct {
	// Index grows with each change: two pictures of one master with the same index show the same,
	// apart from metrics.
	Index uint64

	info                  *v1.MasterInfo
	started, elected, now time.Time
	removed               []RemovedFramework
	unreachable           []UnreachableAgent
	drains                []*registry.Drain
	overdue               int

	frameworks, completed []*frameworkPicture // the order in which they came, and ended
	agents                []*page[*agentPicture]
	recovered             []*page[*v1.AgentInfo]

	// What metrics are made of.
	counters          map[string]float64
	frameworkCounters []frameworkCounters // of frameworks
	gauges            gauges
	stats             alloc.Stats
	offers            int  // outstanding
	registered        int  // agents
	awaited, marked   int  // agents that are not back yet, and unreachable ones
	perFramework      bool // --publish_per_framework_metrics
}

// frameworkPicture is one framework at one moment.
type frameworkPicture struct {
	info                                   *v1.FrameworkInfo
	roles, suppressed                      []string // suppressed is sorted
	active, connected, recovered           bool
	registered, reregistered, unregistered time.Time
	constraints                            *v1scheduler.OfferConstraints
	states                                 tally // of tasks that have not ended, by state

	used, offered      []*page[alloc.Resources] // by agent
	tasks, unreachable []*page[*v1.Task]
	completed          []*v1.Task
	executors          []*page[*v1master.Response_GetExecutors_Executor]
	offers             []*page[*v1.Offer]

	// shown belongs to the Viewer, as the notes of pages do.
	shown *v1master.Response_GetFrameworks_Framework
}

// agentPicture is one agent at one moment.
type agentPicture struct {
	info                     *v1.AgentInfo
	active                   bool
	drain                    *registry.Drain
	version, ip              string
	capabilities             []*v1.AgentInfo_Capability
	registered, reregistered time.Time
	total, used, offered     alloc.Resources

	shown *v1master.Response_GetAgents_Agent // belongs to the Viewer
}

// registryLists are parts of a picture that only the registry knows, good until the next operation.
type registryLists struct {
	removed     []RemovedFramework
	unreachable []UnreachableAgent
	drains      []*registry.Drain
	index       uint64
	read        bool
}

// changed notes that pictures made before do not show the newest state of f or a. Both may be nil for
// changes to the lists themselves.
func (m *Master) changed(f *framework, a *agent) {
	m.index++
	if f != nil {
		f.picture = nil
	}
	if a != nil && a.picture != nil {
		a.picture = nil
		m.agents.touch(a.id)
	}
}

// show replaces what operators see of a task.
func (t *task) show(p *v1.Task) {
	t.proto = p
	if t.agent != nil {
		t.framework.tasks.touch(t.id)
	} else {
		t.framework.unreachable.touch(t.id)
	}
}

// picture is the newest state. Parts that did not change are those of earlier pictures.
func (m *Master) picture() *Picture {
	m.readRegistry()
	p := &Picture{
		Index: m.index, info: m.cfg.Info, started: m.cfg.Started, elected: m.elected, now: m.now,
		removed: m.lists.removed, unreachable: m.lists.unreachable, drains: m.lists.drains, overdue: m.absence.overdue,

		frameworks: make([]*frameworkPicture, 0, m.frameworks.len()), completed: make([]*frameworkPicture, 0, len(m.completed)),
		agents:    pictures(&m.agents, (*agent).shown),
		recovered: pictures(&m.recovered, func(r *recoveredAgent) *v1.AgentInfo { return r.info }),

		counters: maps.Clone(m.counters.byName), frameworkCounters: make([]frameworkCounters, 0, m.frameworks.len()),
		gauges: m.gauges.clone(), stats: m.alloc.Stats(),
		offers: m.offers.len(), registered: m.agents.len(), awaited: m.recovered.len(), marked: m.registry.Counts().Unreachable,
		perFramework: m.cfg.PublishPerFrameworkMetrics,
	}
	for f := range m.frameworks.values() {
		p.frameworks = append(p.frameworks, f.shown())
		p.frameworkCounters = append(p.frameworkCounters, f.counters)
	}
	for _, f := range m.completed {
		p.completed = append(p.completed, f.shown())
	}
	return p
}

// readRegistry lists what only the registry knows, again after each operation.
func (m *Master) readRegistry() {
	l := &m.lists
	if l.read && l.index == m.registry.Index() {
		return
	}
	*l = registryLists{drains: m.registry.Drains(), index: m.registry.Index(), read: true}
	for _, r := range m.registry.RemovedFrameworks() {
		l.removed = append(l.removed, RemovedFramework{
			ID: mesos.FrameworkID(r.GetFrameworkId().GetValue()), At: unixTime(r.GetTime()), Cause: r.GetCause(),
		})
	}
	for _, r := range m.registry.Unreachables() {
		l.unreachable = append(l.unreachable, UnreachableAgent{Info: r.GetInfo(), Since: unixTime(r.GetTime())})
	}
}

func (f *framework) shown() *frameworkPicture {
	if f.picture != nil {
		return f.picture
	}
	f.picture = &frameworkPicture{
		info: f.info, roles: f.roles, suppressed: f.suppressedRoles(),
		active: f.active, connected: f.connected(), recovered: f.recovered,
		registered: f.registered, reregistered: f.reregistered, unregistered: f.unregistered,
		constraints: f.constraintsGiven, states: f.states,
		used: pictures(&f.used.ordered, itself[alloc.Resources]), offered: pictures(&f.offered.ordered, itself[alloc.Resources]),
		tasks:       pictures(&f.tasks, func(t *task) *v1.Task { return t.proto }),
		unreachable: pictures(&f.unreachable, func(t *task) *v1.Task { return t.proto }),
		completed:   slices.Clone(f.completed),
		executors:   pictures(&f.executors, (*executor).shown),
		offers:      pictures(&f.offers, func(o *offer) *v1.Offer { return o.proto }),
	}
	return f.picture
}

func (e *executor) shown() *v1master.Response_GetExecutors_Executor {
	return &v1master.Response_GetExecutors_Executor{ExecutorInfo: e.info, AgentId: e.agent.id.Proto()}
}

func (a *agent) shown() *agentPicture {
	if a.picture == nil {
		a.picture = &agentPicture{
			info: a.info, active: a.active, drain: a.drain, version: a.version, ip: a.ip, capabilities: a.capabilities,
			registered: a.registered, reregistered: a.reregistered, total: a.total, used: a.used, offered: a.offered,
		}
	}
	return a.picture
}
