package master

import (
	"clusterd/alloc"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// validateGroup checks a task group and its executor: all or nothing, with one text for all tasks
// (SCH-188 to SCH-195, SCH-301).
func (m *Master) validateGroup(x *acceptance, op *v1.Offer_Operation, group *v1.Offer_Operation_LaunchGroup) (launchPlan, error) {
	if op.Id != nil {
		return launchPlan{}, refusal("The `id` field cannot be set on LAUNCH_GROUP operations")
	}
	plan := launchPlan{tasks: group.GetTaskGroup().GetTasks()}
	seen := make(map[string]bool, len(plan.tasks))
	for _, t := range plan.tasks {
		id := t.GetTaskId().GetValue()
		r, err := validateGroupTask(x, t)
		if err == nil && seen[id] {
			err = refusal("Task has duplicate ID: " + id)
		}
		if err != nil {
			return launchPlan{}, refusal("Task '" + id + "' is invalid: " + err.Error())
		}
		seen[id] = true
		plan.resources = append(plan.resources, r)
	}
	if err := validateShareCgroups(plan.tasks); err != nil {
		return launchPlan{}, err
	}
	if err := validateGroupExecutor(x, group.GetExecutor(), &plan); err != nil {
		return launchPlan{}, err
	}
	total := plan.total()
	if !x.left.Contains(total) {
		return launchPlan{}, refusalf("Total resources %s required by task group and its executor are more than available %s", total, x.left)
	}
	for _, t := range plan.tasks {
		t.Executor = group.GetExecutor()
	}
	return plan, nil
}

func validateGroupTask(x *acceptance, t *v1.TaskInfo) (alloc.Resources, error) {
	completeTask(t)
	r, err := validateTaskInfo(x, t)
	if err != nil {
		return r, err
	}
	if t.GetContainer().GetType() == v1.ContainerInfo_DOCKER && t.Container != nil {
		return r, refusal("Docker ContainerInfo is not supported on the task")
	}
	if c := t.GetHealthCheck().GetType(); len(t.GetContainer().GetNetworkInfos()) > 0 &&
		(c == v1.HealthCheck_HTTP || c == v1.HealthCheck_TCP) {
		return r, refusal("HTTP and TCP health checks are not supported for nested containers not joining parent's network")
	}
	if len(t.GetLimits()) > 0 && sharesCgroups(t) {
		return r, refusal("Resource limits may only be set for tasks within a task group when the 'share_cgroups' field is set to 'false'.")
	}
	return r, nil
}

func sharesCgroups(t *v1.TaskInfo) bool { return t.GetContainer().GetLinuxInfo().GetShareCgroups() }

// validateShareCgroups wants one answer from all tasks of a group (SCH-194).
func validateShareCgroups(tasks []*v1.TaskInfo) error {
	for _, t := range tasks {
		if sharesCgroups(t) != sharesCgroups(tasks[0]) {
			return refusal("If set, the value of 'share_cgroups' must be the same for all tasks in each task group and under a single executor")
		}
	}
	return nil
}

// Least resources of a default executor, in thousandths (SCH-191).
const (
	minExecutorCPUs = 10
	minExecutorMem  = 32_000
)

func validateGroupExecutor(x *acceptance, e *v1.ExecutorInfo, plan *launchPlan) error {
	if e.Type == nil {
		return refusal("'ExecutorInfo.type' must be set")
	}
	if e.GetType() == v1.ExecutorInfo_UNKNOWN {
		return refusal("Unknown executor type")
	}
	if e.FrameworkId == nil {
		return refusal("'ExecutorInfo.framework_id' must be set")
	}
	given := proto.CloneOf(e)
	if err := planExecutor(x, e, plan); err != nil {
		return err
	}
	if e.Container != nil && e.GetContainer().GetType() == v1.ContainerInfo_DOCKER {
		return refusal("Docker ContainerInfo is not supported on the executor")
	}
	if e.GetType() == v1.ExecutorInfo_DEFAULT {
		if err := validateDefaultExecutor(e); err != nil {
			return err
		}
	}
	for _, t := range plan.tasks {
		if t.Executor != nil && !proto.Equal(t.Executor, given) {
			return refusalf("The `ExecutorInfo` of task '%s' is different from executor '%s'",
				t.GetTaskId().GetValue(), e.GetExecutorId().GetValue())
		}
	}
	return nil
}

func validateDefaultExecutor(e *v1.ExecutorInfo) error {
	r, err := alloc.FromProto(e.GetResources())
	if err != nil {
		return err
	}
	id := mesos.ExecutorID(e.GetExecutorId().GetValue())
	if cpus := r.Scalar("cpus"); cpus < minExecutorCPUs {
		return refusalf("Executor '%s' uses less CPUs (%s) than the minimum required (0.01)", id, amount(cpus, ""))
	}
	if mem := r.Scalar("mem"); mem < minExecutorMem {
		return refusalf("Executor '%s' uses less memory (%s) than the minimum required (32MB)", id, amount(mem, "MB"))
	}
	if r.Scalar("disk") <= 0 {
		return refusalf("Executor '%s' uses no disk", id)
	}
	return nil
}

// amount is a number of thousandths as messages give it.
func amount(milli int64, unit string) string {
	if milli == 0 {
		return "None"
	}
	return formatMilli(milli) + unit
}
