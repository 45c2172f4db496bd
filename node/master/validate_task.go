package master

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"clusterd/alloc"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// refusal is why something a framework asked for is not done, in the words of the API.
type refusal string

func (r refusal) Error() string { return string(r) }

func refusalf(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// validateTask checks one task of a LAUNCH against the state and what is left of the offers, and
// puts its resources into canonical form. The checks run in the order of the original: the first
// that fails gives the text (SCH-163).
func (m *Master) validateTask(x *acceptance, t *v1.TaskInfo) (launchPlan, error) {
	r, err := validateTaskInfo(x, t)
	if err != nil {
		return launchPlan{}, err
	}
	if !sharesCgroups(t) {
		return launchPlan{}, refusal("Only tasks in a task group may have 'share_cgroups' set to 'false'")
	}
	if (t.Executor != nil) == (t.Command != nil) {
		return launchPlan{}, refusal("Task should have at least one (but not both) of CommandInfo or ExecutorInfo present")
	}
	plan := launchPlan{tasks: []*v1.TaskInfo{t}, resources: []alloc.Resources{r}}
	if t.Executor != nil {
		if t.Executor.Type != nil && t.Executor.GetType() != v1.ExecutorInfo_CUSTOM {
			return launchPlan{}, refusal("'ExecutorInfo.type' must be 'CUSTOM'")
		}
		if err := planExecutor(x, t.Executor, &plan); err != nil {
			return launchPlan{}, err
		}
	}
	total := plan.total()
	if !x.left.Contains(total) {
		return launchPlan{}, refusalf("Total resources %s required by task and its executor is more than available %s", total, x.left)
	}
	return plan, nil
}

// validateTaskInfo makes the checks that do not depend on how the task is launched. It returns the
// resources of the task.
func validateTaskInfo(x *acceptance, t *v1.TaskInfo) (alloc.Resources, error) {
	none := alloc.Resources{}
	id := t.GetTaskId().GetValue()
	if err := mesos.ValidateID(id); err != nil {
		return none, err
	}
	if x.framework.tasks.has(mesos.TaskID(id)) {
		return none, refusal("Task has duplicate ID: " + id)
	}
	if x.framework.unreachable.has(mesos.TaskID(id)) {
		return none, refusal("Task reuses the ID of an unreachable task: " + id)
	}
	if given := t.GetAgentId().GetValue(); given != string(x.agent.id) {
		return none, refusalf("Task uses invalid agent %s while agent %s is expected", given, x.agent.id)
	}
	if t.GetKillPolicy().GetGracePeriod().GetNanoseconds() < 0 {
		return none, refusal("Task's 'kill_policy.grace_period' must be non-negative")
	}
	if t.GetMaxCompletionTime().GetNanoseconds() < 0 {
		return none, refusal("Task's `max_completion_time` must be non-negative")
	}
	if t.Check != nil {
		if err := validateCheck(t.Check); err != nil {
			return none, refusal("Task uses invalid check: " + err.Error())
		}
	}
	if t.HealthCheck != nil {
		if err := validateHealthCheck(t.HealthCheck); err != nil {
			return none, refusal("Task uses invalid health check: " + err.Error())
		}
	}
	r, err := validateTaskResources(x.role, t)
	if err != nil {
		return none, err
	}
	if err := validateCommand(t.Command); err != nil {
		return none, refusal("Task's `CommandInfo` is invalid: " + err.Error())
	}
	if err := validateContainer(t.Container); err != nil {
		return none, refusal("Task's `ContainerInfo` is invalid: " + err.Error())
	}
	return r, validateLimits(t.GetLimits(), r)
}

// validateTaskResources checks the resources of a task and puts them into canonical form (SCH-173,
// SCH-175).
func validateTaskResources(role string, t *v1.TaskInfo) (alloc.Resources, error) {
	if len(t.GetResources()) == 0 {
		return alloc.Resources{}, refusal("Task uses no resources")
	}
	r, err := allocated(role, t.GetResources())
	if err != nil {
		return r, err
	}
	if err := validateGPUs(r); err != nil {
		return r, refusal("Task uses invalid resources: " + err.Error())
	}
	if err := validateOneRole(r); err != nil {
		return r, refusal("Invalid task resources: " + err.Error())
	}
	if err := validateRevocable(r); err != nil {
		return r, refusal("Task mixes revocable and non-revocable resources: " + err.Error())
	}
	if err := validateVolumes(r); err != nil {
		return r, refusal("Task uses invalid resources: " + err.Error())
	}
	t.Resources = r.Proto()
	return r, nil
}

func validateGPUs(r alloc.Resources) error {
	if r.Scalar("gpus")%1000 != 0 {
		return refusal("Invalid 'gpus' resource: The 'gpus' resource must be an unsigned integer")
	}
	return nil
}

func validateOneRole(r alloc.Resources) error {
	if roles := r.AllocationRoles(); len(roles) > 1 {
		return refusalf("The resources have multiple allocation roles ('%s' and '%s') but only one allocation role is allowed",
			roles[len(roles)-1], roles[0])
	}
	return nil
}

func validateRevocable(r alloc.Resources) error {
	kinds := make(map[string][2]bool)
	for _, e := range r.Entries() {
		kind := kinds[e.Name()]
		if e.Revocable() {
			kind[0] = true
		} else {
			kind[1] = true
		}
		kinds[e.Name()] = kind
		if kind[0] && kind[1] {
			return refusalf("Cannot use both revocable and non-revocable '%s' at the same time", e.Name())
		}
	}
	return nil
}

// validateVolumes refuses the same persistent volume twice (SCH-176).
func validateVolumes(r alloc.Resources) error {
	type volume struct{ role, id string }
	seen := make(map[volume]bool)
	for _, e := range r.Entries() {
		if !e.PersistentVolume() {
			continue
		}
		v := volume{e.ReservationRole(), e.Disk().GetPersistence().GetId()}
		if seen[v] && !e.Shared() {
			return refusalf("Persistence ID '%s' is not unique", v.id)
		}
		seen[v] = true
	}
	return nil
}

// validateOverlap refuses ports or set items that a task and its executor both want (SCH-176).
func validateOverlap(task, executor alloc.Resources) error {
	a, b, sum := discrete(task), discrete(executor), discrete(task.Add(executor))
	for _, name := range sum.Names() {
		if a[name]+b[name] != sum[name] {
			return refusalf("There are overlapping resources in the task resources %s and executor resources %s", task, executor)
		}
	}
	return nil
}

func discrete(r alloc.Resources) alloc.Quantities {
	return r.Filter(func(e alloc.Entry) bool { return e.Type() != v1.Value_SCALAR }).Quantities()
}

// validateLimits checks TaskInfo.limits against the requests (SCH-182).
func validateLimits(limits map[string]*v1.Value_Scalar, r alloc.Resources) error {
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		var short, long string
		switch name {
		case "cpus":
			short, long = "cpu", "CPU"
		case "mem":
			short, long = "memory", "memory"
		default:
			return refusal("Only cpus and mem may be included in a task's resource limits")
		}
		request := r.Scalar(name)
		if request == 0 {
			return refusalf("When a %s limit is specified, a %s request must also be specified", long, long)
		}
		if v := limits[name].GetValue(); !(v*1000 >= float64(request)) { // true for infinity, false for NaN
			return refusalf("The %s limit must be greater than or equal to the %s request", short, short)
		}
	}
	return nil
}

// planExecutor checks the executor of a launch and adds it to the plan unless it runs already
// (SCH-184, SCH-185).
func planExecutor(x *acceptance, e *v1.ExecutorInfo, plan *launchPlan) error {
	if err := mesos.ValidateID(e.GetExecutorId().GetValue()); err != nil {
		return err
	}
	if err := validateExecutorType(e); err != nil {
		return err
	}
	r, err := allocated(x.role, e.GetResources())
	if err != nil {
		return err
	}
	e.Resources = r.Proto()
	existing, running := x.agent.executors.get(executorKey{
		x.framework.id, x.agent.id, mesos.ExecutorID(e.GetExecutorId().GetValue()),
	})
	if running && !proto.Equal(existing.info, e) {
		return incompatibleExecutor(existing.info, e)
	}
	if given := e.GetFrameworkId().GetValue(); given != string(x.framework.id) {
		return refusalf("ExecutorInfo has an invalid FrameworkID (Actual: %s vs Expected: %s)", given, x.framework.id)
	}
	if e.GetShutdownGracePeriod().GetNanoseconds() < 0 {
		return refusal("ExecutorInfo's 'shutdown_grace_period' must be non-negative")
	}
	if err := validateExecutorResources(r, plan); err != nil {
		return err
	}
	if err := validateCommand(e.Command); err != nil {
		return refusal("Executor's `CommandInfo` is invalid: " + err.Error())
	}
	if err := validateContainer(e.Container); err != nil {
		return refusal("Executor's `ContainerInfo` is invalid: " + err.Error())
	}
	if l := e.GetContainer().GetLinuxInfo(); l != nil && l.ShareCgroups != nil && l.GetShareCgroups() {
		return refusal("The 'share_cgroups' field cannot be set to 'true' on executor containers")
	}
	if !running {
		plan.executor, plan.executorResources = e, r
	}
	return nil
}

func validateExecutorType(e *v1.ExecutorInfo) error {
	switch e.GetType() {
	case v1.ExecutorInfo_DEFAULT:
		if e.Command != nil {
			return refusal("'ExecutorInfo.command' must not be set for 'DEFAULT' executor")
		}
		if e.Container != nil {
			if e.GetContainer().GetType() != v1.ContainerInfo_MESOS {
				return refusal("'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor")
			}
			if e.GetContainer().GetMesos().GetImage() != nil {
				return refusal("'ExecutorInfo.container.mesos.image' must not be set for 'DEFAULT' executor")
			}
		}
	case v1.ExecutorInfo_CUSTOM:
		if e.Command == nil {
			return refusal("'ExecutorInfo.command' must be set for 'CUSTOM' executor")
		}
	default:
		if e.Command == nil {
			return refusal("'ExecutorInfo.command' must be set")
		}
	}
	return nil
}

func validateExecutorResources(r alloc.Resources, plan *launchPlan) error {
	if err := validateGPUs(r); err != nil {
		return refusal("Executor uses invalid resources: " + err.Error())
	}
	if err := validateOneRole(r); err != nil {
		return refusal("Invalid executor resources: " + err.Error())
	}
	if err := validateRevocable(r); err != nil {
		return refusal("Executor mixes revocable and non-revocable resources: " + err.Error())
	}
	for _, e := range r.Entries() {
		if e.Shared() {
			return refusal("Executor resources " + r.String() + " should not contain any shared resources")
		}
	}
	for _, task := range plan.resources {
		if err := validateOverlap(task, r); err != nil {
			return err
		}
		if err := validateRevocable(task.Add(r)); err != nil {
			return refusal("Task and its executor mix revocable and non-revocable resources: " + err.Error())
		}
	}
	return nil
}

func incompatibleExecutor(existing, given *v1.ExecutorInfo) error {
	line := strings.Repeat("-", 60) + "\n"
	return refusal("ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n" +
		line + "Existing ExecutorInfo:\n" + mesos.DebugString(existing) + "\n" +
		line + "ExecutorInfo:\n" + mesos.DebugString(given) + "\n" + line)
}
