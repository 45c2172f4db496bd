package api

import (
	"net/http"

	v1 "clusterd/node/mesos/v1"
)

// state serves the older JSON form of everything that the agent knows (OPR-127).
func (a *agent) state(w http.ResponseWriter, r *http.Request) {
	view, err := a.State.View(r.Context())
	if err != nil {
		failed(r, a.Logger, err).respond(w)
		return
	}
	serveJSON(w, r, func(d *document) {
		d.openObject()
		a.Build.state(d)
		d.agentSelf(view)
		d.agentResources(view)
		d.attributes(view.Info.GetAttributes())
		d.optionalText("master_hostname", view.MasterHostname)
		d.flags(a.Flags())
		if !d.agentFrameworks("frameworks", view.Frameworks) || !d.agentFrameworks("completed_frameworks", view.CompletedFrameworks) {
			return
		}
		if len(view.Missing) > 0 { // Ours: what is not isolated, told honestly.
			d.array("missing_isolation")
			for _, m := range view.Missing {
				d.openObject()
				d.text("what", m.What)
				d.text("why", m.Why)
				d.endObject()
			}
			d.endArray()
		}
		d.endObject()
	})
}

func (d *document) agentSelf(view *AgentView) {
	d.number("start_time", unixSeconds(view.Started))
	d.text("id", view.Info.GetId().GetValue())
	d.text("pid", "slave(1)@"+view.Address)
	d.text("hostname", view.Info.GetHostname())
	d.array("capabilities")
	for _, c := range view.Capabilities {
		d.textElement(c.String())
	}
	d.endArray()
	if view.Info.Domain != nil {
		d.message("domain", view.Info.GetDomain())
	}
	if view.Drain != nil {
		d.message("drain_config", view.Drain)
		d.integer("estimated_drain_start_time_seconds", view.DrainStart.Unix())
	}
}

// agentResources writes what the agent has and what its executors hold.
func (d *document) agentResources(view *AgentView) {
	byRole := reservations(view.Info.GetResources())
	var held []*v1.Resource
	for _, f := range view.Frameworks {
		for _, e := range f.Executors {
			held = append(held, e.Resources...)
		}
	}
	heldByRole := reservations(held)
	d.resources("resources", view.Info.GetResources())
	d.reserved("reserved_resources", byRole)
	d.resources("unreserved_resources", byRole[""])
	d.reservedFull("reserved_resources_full", byRole)
	d.full("unreserved_resources_full", byRole[""])
	d.reserved("reserved_resources_allocated", heldByRole)
	d.resources("unreserved_resources_allocated", heldByRole[""])
	d.array("resource_providers")
	d.endArray()
}

// agentFrameworks writes a list of frameworks (OPR-128).
func (d *document) agentFrameworks(k string, frameworks []AgentFramework) bool {
	d.array(k)
	for _, f := range frameworks {
		d.openObject()
		d.text("id", f.Info.GetId().GetValue())
		d.text("name", f.Info.GetName())
		d.text("user", f.Info.GetUser())
		d.number("failover_timeout", f.Info.GetFailoverTimeout())
		d.boolean("checkpoint", f.Info.GetCheckpoint())
		d.text("hostname", f.Info.GetHostname())
		if f.Info.Principal != nil {
			d.text("principal", f.Info.GetPrincipal())
		}
		d.frameworkRoles(f.Info)
		if !d.agentExecutors("executors", f.Executors) || !d.agentExecutors("completed_executors", f.CompletedExecutors) {
			return false
		}
		d.endObject()
	}
	d.endArray()
	return d.spill()
}

// agentExecutors writes a list of executors (OPR-129).
func (d *document) agentExecutors(k string, executors []AgentExecutor) bool {
	d.array(k)
	for _, e := range executors {
		d.openObject()
		d.text("id", e.Info.GetExecutorId().GetValue())
		d.text("name", e.Info.GetName())
		d.text("source", e.Info.GetSource())
		d.text("container", e.ContainerID.GetValue())
		d.text("directory", e.Directory)
		d.resources("resources", e.Resources)
		d.allocationRole(e.Resources)
		if e.Info.Labels != nil {
			d.labels("labels", e.Info.GetLabels())
		}
		if e.Info.Type != nil {
			d.text("type", e.Info.GetType().String())
		}
		if !d.tasks("tasks", e.Launched) {
			return false
		}
		d.array("queued_tasks")
		for _, t := range e.Queued {
			d.queuedTask(t)
		}
		d.endArray()
		if !d.completedTasks(e) {
			return false
		}
		d.endObject()
	}
	d.endArray()
	return d.spill()
}

// completedTasks also lists the tasks whose last update is not acknowledged yet (OPR-129).
func (d *document) completedTasks(e AgentExecutor) bool {
	d.array("completed_tasks")
	for _, list := range [][]*v1.Task{e.Completed, e.Terminated} {
		for _, t := range list {
			d.task(t)
			if !d.spill() {
				return false
			}
		}
	}
	d.endArray()
	return true
}
