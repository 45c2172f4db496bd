package api

import (
	"net/http"
	"net/url"

	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1master"
)

// index sorts what a view holds by framework, once for each request.
type index struct {
	view       *MasterView
	frameworks map[string]*frameworkIndex
}

type frameworkIndex struct {
	tasks, unreachable, completed []*v1.Task
	executors                     []*v1master.Response_GetExecutors_Executor
}

func newIndex(view *MasterView) *index {
	ix := &index{view: view, frameworks: make(map[string]*frameworkIndex)}
	state := view.State
	for _, f := range state.GetGetFrameworks().GetFrameworks() {
		ix.frameworks[f.GetFrameworkInfo().GetId().GetValue()] = new(frameworkIndex)
	}
	for _, f := range state.GetGetFrameworks().GetCompletedFrameworks() {
		ix.frameworks[f.GetFrameworkInfo().GetId().GetValue()] = new(frameworkIndex)
	}
	for _, t := range state.GetGetTasks().GetTasks() {
		if f := ix.frameworks[t.GetFrameworkId().GetValue()]; f != nil {
			f.tasks = append(f.tasks, t)
		}
	}
	for _, t := range state.GetGetTasks().GetUnreachableTasks() {
		if f := ix.frameworks[t.GetFrameworkId().GetValue()]; f != nil {
			f.unreachable = append(f.unreachable, t)
		}
	}
	for _, t := range state.GetGetTasks().GetCompletedTasks() {
		if f := ix.frameworks[t.GetFrameworkId().GetValue()]; f != nil {
			f.completed = append(f.completed, t)
		}
	}
	for _, e := range state.GetGetExecutors().GetExecutors() {
		if f := ix.frameworks[e.GetExecutorInfo().GetFrameworkId().GetValue()]; f != nil {
			f.executors = append(f.executors, e)
		}
	}
	return ix
}

// of never returns nil for a framework of the view.
func (ix *index) of(f *v1master.Response_GetFrameworks_Framework) *frameworkIndex {
	return ix.frameworks[f.GetFrameworkInfo().GetId().GetValue()]
}

// state serves the older JSON form of everything (OPR-103).
func (m *master) state(w http.ResponseWriter, r *http.Request, view *MasterView) {
	ix := newIndex(view)
	serveJSON(w, r, func(d *document) {
		d.openObject()
		m.Build.state(d)
		d.number("start_time", unixSeconds(view.Started))
		if !view.Elected.IsZero() {
			d.number("elected_time", unixSeconds(view.Elected))
		}
		d.masterInfo(view)
		d.flags(m.Flags())
		d.array("slaves")
		for _, a := range view.State.GetGetAgents().GetAgents() {
			d.openObject()
			d.agent(a)
			d.endObject()
			if !d.spill() {
				return
			}
		}
		d.endArray()
		d.recoveredAgents(view)
		if !d.frameworkLists(ix, nil) {
			return
		}
		d.array("orphan_tasks")
		d.endArray()
		d.array("unregistered_frameworks")
		d.endArray()
		d.endObject()
	})
}

// masterInfo writes the members about this master, which is the leader, and the number of agents.
func (d *document) masterInfo(view *MasterView) {
	info := view.Info
	d.text("id", info.GetId())
	d.text("pid", info.GetPid())
	d.text("hostname", info.GetHostname())
	capabilityNames(d, info.GetCapabilities())
	if info.Domain != nil {
		d.message("domain", info.GetDomain())
	}
	active, inactive := 0, 0
	for _, a := range view.State.GetGetAgents().GetAgents() {
		if a.GetActive() {
			active++
		} else {
			inactive++
		}
	}
	d.number("activated_slaves", float64(active))
	d.number("deactivated_slaves", float64(inactive))
	d.number("unreachable_slaves", float64(view.UnreachableAgents))
	d.text("leader", info.GetPid())
	d.object("leader_info")
	d.text("id", info.GetId())
	d.text("pid", info.GetPid())
	d.integer("port", int64(info.GetPort()))
	d.text("hostname", info.GetHostname())
	if info.Domain != nil {
		d.message("domain", info.GetDomain())
	}
	d.endObject()
}

// agentInfo writes the members that are known of every agent, also of one that is not back yet.
func (d *document) agentInfo(info *v1.AgentInfo) {
	d.text("id", info.GetId().GetValue())
	d.text("hostname", info.GetHostname())
	d.integer("port", int64(info.GetPort()))
	d.attributes(info.GetAttributes())
	if info.Domain != nil {
		d.message("domain", info.GetDomain())
	}
}

// agent writes the members of an agent (OPR-105).
func (d *document) agent(a *v1master.Response_GetAgents_Agent) {
	d.agentInfo(a.GetAgentInfo())
	d.text("pid", a.GetPid())
	d.number("registered_time", seconds(a.GetRegisteredTime()))
	if a.ReregisteredTime != nil {
		d.number("reregistered_time", seconds(a.GetReregisteredTime()))
	}
	byRole := reservations(a.GetTotalResources())
	d.resources("resources", a.GetTotalResources())
	d.resources("used_resources", a.GetAllocatedResources())
	d.resources("offered_resources", a.GetOfferedResources())
	d.reserved("reserved_resources", byRole)
	d.resources("unreserved_resources", byRole[""])
	d.boolean("active", a.GetActive())
	d.boolean("deactivated", a.GetDeactivated())
	d.text("version", a.GetVersion())
	capabilityNames(d, a.GetCapabilities())
	if a.DrainInfo != nil {
		d.message("drain_info", a.GetDrainInfo())
	}
	if a.EstimatedDrainStartTime != nil {
		d.number("estimated_drain_start_time_seconds", float64(a.GetEstimatedDrainStartTime().GetNanoseconds()/1e9))
	}
}

func (d *document) recoveredAgents(view *MasterView) {
	d.array("recovered_slaves")
	for _, info := range view.State.GetGetAgents().GetRecoveredAgents() {
		d.openObject()
		d.agentInfo(info)
		d.endObject()
		d.spill()
	}
	d.endArray()
}

// agents serves the agents with every resource entry (OPR-112).
func (m *master) agents(w http.ResponseWriter, r *http.Request, view *MasterView) {
	wanted := newFilter(r.URL.Query(), "slave_id")
	serveJSON(w, r, func(d *document) {
		d.openObject()
		d.array("slaves")
		for _, a := range view.State.GetGetAgents().GetAgents() {
			if !wanted.match(a.GetAgentInfo().GetId().GetValue()) {
				continue
			}
			byRole := reservations(a.GetTotalResources())
			d.openObject()
			d.agent(a)
			d.reservedFull("reserved_resources_full", byRole)
			d.full("unreserved_resources_full", byRole[""])
			d.full("used_resources_full", a.GetAllocatedResources())
			d.full("offered_resources_full", a.GetOfferedResources())
			d.endObject()
			if !d.spill() {
				return
			}
		}
		d.endArray()
		d.array("recovered_slaves")
		for _, info := range view.State.GetGetAgents().GetRecoveredAgents() {
			if wanted.match(info.GetId().GetValue()) {
				d.openObject()
				d.agentInfo(info)
				d.endObject()
				d.spill()
			}
		}
		d.endArray()
		d.endObject()
	})
}

// filter is an optional query parameter that names the only entry wanted.
type filter struct {
	value string
	set   bool
}

func newFilter(query url.Values, name string) filter {
	return filter{query.Get(name), query.Has(name)}
}

func (f filter) match(id string) bool { return !f.set || f.value == id }
