package master

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"clusterd/alloc"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1master"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/raft/registry"
)

// View is the state of a master at one moment, for operators. It may be read from any goroutine;
// nothing in it may be changed.
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

// Viewer makes views of the pictures of one master. It keeps what it can use again; the zero value is
// ready. It belongs to one goroutine at a time, and a master's pictures to one Viewer: that of the loop's
// owner, not the loop itself, which goes on meanwhile.
type Viewer struct{ newest *View }

// View returns the view of a picture.
func (w *Viewer) View(p *Picture) *View {
	v := &View{
		Index: p.Index, Info: p.info, Started: p.started, Elected: p.elected, Removed: p.removed, Unreachable: p.unreachable,
		Drains: p.drains, Overdue: p.overdue, Metrics: p.metrics(),
	}
	if w.newest != nil && w.newest.Index == p.Index {
		v.State, v.Suppressed = w.newest.State, w.newest.Suppressed
		return v
	}
	v.Suppressed = make(map[mesos.FrameworkID][]string)
	for _, f := range p.frameworks {
		if len(f.suppressed) > 0 {
			v.Suppressed[mesos.FrameworkID(f.info.GetId().GetValue())] = f.suppressed
		}
	}
	v.State = p.state()
	w.newest = v
	return v
}

// state is everything in the form of the v1 API.
func (p *Picture) state() *v1master.Response_GetState {
	count := 0
	for _, f := range p.frameworks {
		count += size(f.tasks)
	}
	tasks := &v1master.Response_GetTasks{Tasks: make([]*v1.Task, 0, count)}
	executors := &v1master.Response_GetExecutors{}
	show := func(f *frameworkPicture) *v1master.Response_GetFrameworks_Framework {
		tasks.Tasks = appendPages(tasks.Tasks, f.tasks)
		tasks.UnreachableTasks = appendPages(tasks.UnreachableTasks, f.unreachable)
		tasks.CompletedTasks = append(tasks.CompletedTasks, f.completed...)
		executors.Executors = appendPages(executors.Executors, f.executors)
		return f.view()
	}
	frameworks := &v1master.Response_GetFrameworks{}
	for _, f := range p.frameworks {
		frameworks.Frameworks = append(frameworks.Frameworks, show(f))
	}
	for _, f := range p.completed {
		frameworks.CompletedFrameworks = append(frameworks.CompletedFrameworks, show(f))
	}
	agents := &v1master.Response_GetAgents{RecoveredAgents: appendPages(nil, p.recovered)}
	agents.Agents = make([]*v1master.Response_GetAgents_Agent, 0, p.registered)
	for _, page := range p.agents {
		for _, a := range page.items {
			agents.Agents = append(agents.Agents, a.view())
		}
	}
	return &v1master.Response_GetState{GetTasks: tasks, GetExecutors: executors, GetFrameworks: frameworks, GetAgents: agents}
}

func size[P any](pages []*page[P]) int {
	n := 0
	for _, p := range pages {
		n += len(p.items)
	}
	return n
}

func appendPages[P any](list []P, pages []*page[P]) []P {
	for _, p := range pages {
		list = append(list, p.items...)
	}
	return list
}

// sum adds up what is held on all agents, for showing only: see holdings. That of each page is kept.
func sum(pages []*page[alloc.Resources]) alloc.Resources {
	total := alloc.Resources{}
	for _, p := range pages {
		part, ok := p.note.(alloc.Resources)
		if !ok {
			for _, r := range p.items {
				part = part.Add(r)
			}
			p.note = part
		}
		total = total.Add(part)
	}
	return total
}

func (f *frameworkPicture) view() *v1master.Response_GetFrameworks_Framework {
	if f.shown != nil {
		return f.shown
	}
	constraints := f.constraints
	if constraints == nil {
		constraints = &v1scheduler.OfferConstraints{} // shown as {}
	}
	f.shown = &v1master.Response_GetFrameworks_Framework{
		FrameworkInfo:      f.info,
		Active:             &f.active,
		Connected:          &f.connected,
		Recovered:          &f.recovered,
		RegisteredTime:     optionalTime(f.registered),
		ReregisteredTime:   optionalTime(f.reregistered),
		UnregisteredTime:   optionalTime(f.unregistered),
		Offers:             slices.Clip(appendPages(nil, f.offers)),
		AllocatedResources: sum(f.used).ProtoEndpoint(),
		OfferedResources:   sum(f.offered).ProtoEndpoint(),
		OfferConstraints:   constraints,
	}
	return f.shown
}

// hostPort joins an address, or what an agent has given for one, and a port.
func hostPort(ip string, port int32) string {
	if addr, err := netip.ParseAddr(ip); err == nil {
		return netip.AddrPortFrom(addr, uint16(port)).String()
	}
	return ip + ":" + strconv.Itoa(int(port))
}

func (a *agentPicture) view() *v1master.Response_GetAgents_Agent {
	if a.shown != nil {
		return a.shown
	}
	deactivated := a.drain != nil
	pid := "slave(1)@" + hostPort(a.ip, a.info.GetPort())
	a.shown = &v1master.Response_GetAgents_Agent{
		AgentInfo:               a.info,
		Active:                  &a.active,
		Deactivated:             &deactivated,
		Version:                 &a.version,
		Pid:                     &pid,
		RegisteredTime:          optionalTime(a.registered),
		ReregisteredTime:        optionalTime(a.reregistered),
		TotalResources:          a.total.ProtoEndpoint(),
		AllocatedResources:      a.used.ProtoEndpoint(),
		OfferedResources:        a.offered.ProtoEndpoint(),
		Capabilities:            a.capabilities,
		DrainInfo:               drainInfo(a.drain),
		EstimatedDrainStartTime: drainStart(a.drain),
	}
	return a.shown
}

// optionalTime is t, nothing for the zero time.
func optionalTime(t time.Time) *v1.TimeInfo {
	if t.IsZero() {
		return nil
	}
	return timeInfo(t)
}
