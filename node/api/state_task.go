package api

import (
	"maps"
	"math"
	"slices"

	v1 "clusterd/node/mesos/v1"
)

// task writes an array element for a task in the older JSON form (OPR-108).
func (d *document) task(t *v1.Task) {
	d.openObject()
	d.text("id", t.GetTaskId().GetValue())
	d.text("name", t.GetName())
	d.text("framework_id", t.GetFrameworkId().GetValue())
	d.text("executor_id", t.GetExecutorId().GetValue())
	d.text("slave_id", t.GetAgentId().GetValue())
	d.text("state", t.GetState().String())
	d.resources("resources", t.GetResources())
	d.limits(t.GetLimits())
	d.allocationRole(t.GetResources())
	d.array("statuses")
	for _, s := range t.GetStatuses() {
		d.taskStatus(s)
	}
	d.endArray()
	if t.User != nil {
		d.text("user", t.GetUser())
	}
	if t.Labels != nil {
		d.labels("labels", t.GetLabels())
	}
	if t.Discovery != nil {
		d.message("discovery", t.GetDiscovery())
	}
	if t.Container != nil {
		d.message("container", t.GetContainer())
	}
	if t.HealthCheck != nil {
		d.message("health_check", t.GetHealthCheck())
	}
	d.endObject()
}

// limits writes the resource limits of a task, if it has any; no limit at all is "Infinity".
func (d *document) limits(limits map[string]*v1.Value_Scalar) {
	if len(limits) == 0 {
		return
	}
	d.object("limits")
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		d.name(name)
		if v := limits[name].GetValue(); math.IsInf(v, 1) {
			d.buf = appendString(d.buf, "Infinity")
		} else {
			d.buf = appendDouble(d.buf, v)
		}
	}
	d.endObject()
}

// allocationRole writes the role that resources are allocated to. Those of one task or executor are
// never allocated to different ones.
func (d *document) allocationRole(resources []*v1.Resource) {
	if len(resources) > 0 && resources[0].AllocationInfo != nil {
		d.text("role", resources[0].GetAllocationInfo().GetRole())
	}
}

// taskStatus writes an array element without data, message and reason (OPR-109).
func (d *document) taskStatus(s *v1.TaskStatus) {
	d.openObject()
	d.text("state", s.GetState().String())
	d.number("timestamp", s.GetTimestamp())
	if s.Labels != nil {
		d.labels("labels", s.GetLabels())
	}
	if s.ContainerStatus != nil {
		d.containerStatus(s.GetContainerStatus())
	}
	if s.Healthy != nil {
		d.boolean("healthy", s.GetHealthy())
	}
	d.endObject()
}

// containerStatus writes what concerns the network; the process id is not shown here.
func (d *document) containerStatus(s *v1.ContainerStatus) {
	d.object("container_status")
	if s.ContainerId != nil {
		d.key("container_id")
		d.containerID(s.GetContainerId())
	}
	if len(s.GetNetworkInfos()) > 0 {
		d.array("network_infos")
		for _, n := range s.GetNetworkInfos() {
			d.networkInfo(n)
		}
		d.endArray()
	}
	if s.CgroupInfo != nil {
		d.message("cgroup_info", s.GetCgroupInfo())
	}
	d.endObject()
}

func (d *document) containerID(id *v1.ContainerID) {
	d.openObject()
	d.text("value", id.GetValue())
	if id.Parent != nil {
		d.key("parent")
		d.containerID(id.GetParent())
	}
	d.endObject()
}

func (d *document) networkInfo(n *v1.NetworkInfo) {
	d.openObject()
	if len(n.GetGroups()) > 0 {
		d.array("groups")
		for _, g := range n.GetGroups() {
			d.textElement(g)
		}
		d.endArray()
	}
	if n.Labels != nil {
		d.labels("labels", n.GetLabels())
	}
	if len(n.GetIpAddresses()) > 0 {
		d.array("ip_addresses")
		for _, a := range n.GetIpAddresses() {
			d.openObject()
			d.text("protocol", a.GetProtocol().String())
			if a.IpAddress != nil {
				d.text("ip_address", a.GetIpAddress())
			}
			d.endObject()
		}
		d.endArray()
	}
	if n.Name != nil {
		d.text("name", n.GetName())
	}
	if len(n.GetPortMappings()) > 0 {
		d.array("port_mappings")
		for _, p := range n.GetPortMappings() {
			d.element(p)
		}
		d.endArray()
	}
	d.endObject()
}

// labels writes a plain array of labels, unlike the v1 form.
func (d *document) labels(k string, labels *v1.Labels) {
	d.array(k)
	for _, l := range labels.GetLabels() {
		d.openObject()
		d.text("key", l.GetKey())
		if l.Value != nil {
			d.text("value", l.GetValue())
		}
		d.endObject()
	}
	d.endArray()
}

// command writes a member for the command of an executor or task (OPR-110).
func (d *document) command(k string, c *v1.CommandInfo) {
	d.object(k)
	if c != nil {
		d.boolean("shell", c.GetShell())
	}
	if c != nil && c.Value != nil {
		d.text("value", c.GetValue())
	}
	d.array("argv")
	for _, a := range c.GetArguments() {
		d.textElement(a)
	}
	d.endArray()
	if c != nil && c.Environment != nil {
		d.message("environment", c.GetEnvironment())
	}
	d.array("uris")
	for _, u := range c.GetUris() {
		d.openObject()
		d.text("value", u.GetValue())
		d.boolean("executable", u.GetExecutable())
		d.endObject()
	}
	d.endArray()
	d.endObject()
}

// queuedTask writes an array element for a task that its executor has not got yet (OPR-130).
func (d *document) queuedTask(t *v1.TaskInfo) {
	d.openObject()
	d.text("id", t.GetTaskId().GetValue())
	d.text("name", t.GetName())
	d.text("slave_id", t.GetAgentId().GetValue())
	d.resources("resources", t.GetResources())
	d.limits(t.GetLimits())
	d.allocationRole(t.GetResources())
	if t.Command != nil {
		d.command("command", t.GetCommand())
	}
	if t.Executor != nil {
		d.text("executor_id", t.GetExecutor().GetExecutorId().GetValue())
	}
	if t.Discovery != nil {
		d.message("discovery", t.GetDiscovery())
	}
	d.endObject()
}
