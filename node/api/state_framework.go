package api

import (
	"net/http"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1master"
)

// frameworks serves the frameworks with all their tasks (OPR-113).
func (m *master) frameworks(w http.ResponseWriter, r *http.Request, view *MasterView) {
	wanted := newFilter(r.URL.Query(), "framework_id")
	ix := newIndex(view)
	serveJSON(w, r, func(d *document) {
		d.openObject()
		if !d.frameworkLists(ix, &wanted) {
			return
		}
		d.array("unregistered_frameworks")
		d.endArray()
		d.endObject()
	})
}

// frameworkLists writes the members for present and completed frameworks. It reports false if there is
// no use in going on.
func (d *document) frameworkLists(ix *index, wanted *filter) bool {
	lists := ix.view.State.GetGetFrameworks()
	return d.frameworkList("frameworks", ix, lists.GetFrameworks(), wanted) &&
		d.frameworkList("completed_frameworks", ix, lists.GetCompletedFrameworks(), wanted)
}

func (d *document) frameworkList(k string, ix *index, list []*v1master.Response_GetFrameworks_Framework, wanted *filter) bool {
	d.array(k)
	for _, f := range list {
		if wanted != nil && !wanted.match(f.GetFrameworkInfo().GetId().GetValue()) {
			continue
		}
		d.openObject()
		if !d.framework(f, ix.of(f)) {
			return false
		}
		d.endObject()
	}
	d.endArray()
	return true
}

// frameworkSummary writes the members that the summary has as well.
func (d *document) frameworkSummary(f *v1master.Response_GetFrameworks_Framework) {
	info := f.GetFrameworkInfo()
	d.text("id", info.GetId().GetValue())
	d.text("name", info.GetName())
	d.resources("used_resources", f.GetAllocatedResources())
	d.resources("offered_resources", f.GetOfferedResources())
	capabilityNames(d, info.GetCapabilities())
	d.text("hostname", info.GetHostname())
	d.text("webui_url", info.GetWebuiUrl())
	d.boolean("active", f.GetActive())
	d.boolean("connected", f.GetConnected())
	d.boolean("recovered", f.GetRecovered())
}

// framework writes the members of a framework (OPR-107).
func (d *document) framework(f *v1master.Response_GetFrameworks_Framework, ix *frameworkIndex) bool {
	info := f.GetFrameworkInfo()
	d.frameworkSummary(f)
	d.text("user", info.GetUser())
	d.number("failover_timeout", info.GetFailoverTimeout())
	d.boolean("checkpoint", info.GetCheckpoint())
	d.number("registered_time", seconds(f.GetRegisteredTime()))
	d.number("unregistered_time", seconds(f.GetUnregisteredTime()))
	if info.Principal != nil {
		d.text("principal", info.GetPrincipal())
	}
	d.resources("resources", f.GetAllocatedResources(), f.GetOfferedResources())
	if f.ReregisteredTime != nil && f.GetReregisteredTime().GetNanoseconds() != f.GetRegisteredTime().GetNanoseconds() {
		d.number("reregistered_time", seconds(f.GetReregisteredTime()))
	}
	d.frameworkRoles(info)
	if !d.tasks("tasks", ix.tasks) || !d.tasks("unreachable_tasks", ix.unreachable) || !d.tasks("completed_tasks", ix.completed) {
		return false
	}
	d.offers(f.GetOffers())
	d.array("executors")
	for _, e := range ix.executors {
		d.executor(e)
		if !d.spill() {
			return false
		}
	}
	d.endArray()
	if info.Labels != nil {
		d.labels("labels", info.GetLabels())
	}
	if f.OfferConstraints != nil {
		d.message("offer_constraints", f.GetOfferConstraints())
	} else {
		d.object("offer_constraints")
		d.endObject()
	}
	return d.spill()
}

// frameworkRoles writes one role, or the list of one that can have several.
func (d *document) frameworkRoles(info *v1.FrameworkInfo) {
	if !mesos.HasCapability(info, v1.FrameworkInfo_Capability_MULTI_ROLE) {
		d.text("role", info.GetRole())
		return
	}
	d.array("roles")
	for _, role := range info.GetRoles() {
		d.textElement(role)
	}
	d.endArray()
}

func (d *document) tasks(k string, tasks []*v1.Task) bool {
	d.array(k)
	for _, t := range tasks {
		d.task(t)
		if !d.spill() {
			return false
		}
	}
	d.endArray()
	return true
}

// offers writes the offers that a framework has not answered (OPR-111).
func (d *document) offers(offers []*v1.Offer) {
	d.array("offers")
	for _, o := range offers {
		d.openObject()
		d.text("id", o.GetId().GetValue())
		d.text("framework_id", o.GetFrameworkId().GetValue())
		d.object("allocation_info")
		d.text("role", o.GetAllocationInfo().GetRole())
		d.endObject()
		d.text("slave_id", o.GetAgentId().GetValue())
		d.resources("resources", o.GetResources())
		d.endObject()
	}
	d.endArray()
}

// executor writes an array element (OPR-110).
func (d *document) executor(e *v1master.Response_GetExecutors_Executor) {
	info := e.GetExecutorInfo()
	d.openObject()
	d.text("executor_id", info.GetExecutorId().GetValue())
	d.text("name", info.GetName())
	d.text("framework_id", info.GetFrameworkId().GetValue())
	d.command("command", info.GetCommand())
	d.resources("resources", info.GetResources())
	d.allocationRole(info.GetResources())
	if info.Labels != nil {
		d.labels("labels", info.GetLabels())
	}
	if info.Type != nil {
		d.text("type", info.GetType().String())
	}
	d.text("slave_id", e.GetAgentId().GetValue())
	d.endObject()
}
