package master

import (
	"fmt"
	"slices"

	"clusterd/alloc"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

// acceptance is one ACCEPT under way: offers of one agent and one role, used by operations in order.
type acceptance struct {
	framework *framework
	agent     *agent
	role      string
	left      alloc.Resources // not used yet
	launched  bool
}

// accept is the ACCEPT call (SCH-136 to SCH-151). The offers are used up in any case.
func (m *Master) accept(f *framework, call *v1scheduler.Call_Accept) {
	m.countLaunch(call.GetOperations())
	refuse := refuseDuration(call.GetFilters())
	offers, err := acceptedOffers(f, m, call.GetOfferIds())
	if err != nil {
		for _, o := range offers {
			m.withdraw(o, false, 0)
		}
		m.refuseOperations(f, call.GetOperations(), err.Error())
		return
	}
	x := acceptance{framework: f, agent: offers[0].agent, role: offers[0].role}
	for _, o := range offers {
		x.left = x.left.Add(o.resources)
		m.take(o)
		f.counters.offersAccepted++
	}
	for _, op := range call.GetOperations() {
		f.counters.operation(op.GetType())
		m.operation(&x, op)
	}
	m.alloc.Recover(m.now, f.id, x.agent.id, x.left, refuse)
	if x.launched {
		m.alloc.Trigger(x.agent.id) // the rest is of use to others at once (SCH-125)
	}
	m.changed(f, x.agent)
}

// acceptedOffers finds the offers of an ACCEPT. If they do not fit together it says why, with those
// that are the framework's own (SCH-138).
func acceptedOffers(f *framework, m *Master, ids []*v1.OfferID) ([]*offer, error) {
	var offers []*offer
	var problem error
	fail := func(format string, args ...any) {
		if problem == nil {
			problem = fmt.Errorf(format, args...)
		}
	}
	if len(ids) == 0 {
		fail("No offers specified")
	}
	seen := make(map[mesos.OfferID]struct{}, len(ids))
	for _, p := range ids {
		id := mesos.OfferID(p.GetValue())
		o, ok := m.offers.get(id)
		_, twice := seen[id]
		seen[id] = struct{}{}
		switch {
		case twice:
			fail("Duplicate offer %s in offer list", id)
		case !ok:
			fail("Offer %s is no longer valid", id)
		case o.framework != f:
			fail("Offer %s has invalid framework %s while framework %s is expected", id, o.framework.id, f.id)
		default:
			offers = append(offers, o)
		}
	}
	for _, o := range offers {
		switch first := offers[0]; {
		case o.role != first.role:
			fail("Aggregated offers must be allocated to the same role. Offer %s uses role '%s' but another is using role '%s'",
				o.id, o.role, first.role)
		case o.agent != first.agent:
			fail("Aggregated offers must belong to one single agent. Offer %s uses agent %s and agent %s",
				o.id, o.agent.id, first.agent.id)
		}
	}
	return offers, problem
}

// countLaunch counts the call under the names that Mesos has for it.
func (m *Master) countLaunch(operations []*v1.Offer_Operation) {
	for _, op := range operations {
		if t := op.GetType(); t == v1.Offer_Operation_LAUNCH || t == v1.Offer_Operation_LAUNCH_GROUP {
			m.counters.add("master/messages_launch_tasks")
			return
		}
	}
	if len(operations) == 0 {
		m.counters.add("master/messages_decline_offers")
	}
}

// refuseOperations answers an ACCEPT with invalid offers (SCH-139, SCH-140).
func (m *Master) refuseOperations(f *framework, operations []*v1.Offer_Operation, why string) {
	for _, op := range operations {
		switch op.GetType() {
		case v1.Offer_Operation_LAUNCH, v1.Offer_Operation_LAUNCH_GROUP:
			for _, t := range operationTasks(op) {
				m.refuseTask(f, t, v1.TaskState_TASK_DROPPED, v1.TaskStatus_REASON_INVALID_OFFERS,
					"Task launched with invalid offers: "+why)
			}
		case v1.Offer_Operation_UNKNOWN:
		default:
			m.refuseOperation(f, op, "Operation attempted with invalid offers: "+why)
		}
	}
}

func operationTasks(op *v1.Offer_Operation) []*v1.TaskInfo {
	if op.GetType() == v1.Offer_Operation_LAUNCH_GROUP {
		return op.GetLaunchGroup().GetTaskGroup().GetTasks()
	}
	return op.GetLaunch().GetTaskInfos()
}

// refuseTask says that a task was never launched; nothing is kept of it (SCH-163, SCH-164).
func (m *Master) refuseTask(f *framework, t *v1.TaskInfo, state v1.TaskState, reason v1.TaskStatus_Reason, message string) {
	state = lostState(state, f.partitionAware)
	s := m.masterStatus(mesos.TaskID(t.GetTaskId().GetValue()), state, reason, message)
	s.AgentId = t.GetAgentId()
	m.counters.terminal(f, state, s)
	m.sendStatus(f, s)
}

// refuseOperation answers an operation that has an id; others fail in silence (SCH-159, SCH-305).
func (m *Master) refuseOperation(f *framework, op *v1.Offer_Operation, message string) {
	m.counters.operationError(op.GetType())
	if op.Id == nil {
		return
	}
	m.sendOperation(f, &v1.OperationStatus{
		OperationId: op.Id,
		State:       v1.OperationState_OPERATION_ERROR.Enum(),
		Message:     &message,
	})
}

// operation carries out one operation. One that fails does not stop those after it (SCH-143).
func (m *Master) operation(x *acceptance, op *v1.Offer_Operation) {
	switch op.GetType() {
	case v1.Offer_Operation_UNKNOWN: // of a newer version: skipped (SCH-146)
	case v1.Offer_Operation_LAUNCH:
		m.launch(x, op)
	case v1.Offer_Operation_LAUNCH_GROUP:
		m.launchGroup(x, op)
	default:
		m.refuseOperation(x.framework, op, fmt.Sprintf("operation %s is not supported by this version", op.GetType()))
	}
}

// launch is a LAUNCH operation: each task stands for itself (SCH-161, SCH-166).
func (m *Master) launch(x *acceptance, op *v1.Offer_Operation) {
	for _, given := range op.GetLaunch().GetTaskInfos() {
		if op.Id != nil {
			m.refuseTask(x.framework, given, v1.TaskState_TASK_ERROR, v1.TaskStatus_REASON_TASK_INVALID,
				"The `id` field cannot be set on LAUNCH operations") // SCH-147
			continue
		}
		task := proto.CloneOf(given)
		completeTask(task)
		if task.Executor != nil && task.Executor.FrameworkId == nil {
			task.Executor.FrameworkId = x.framework.id.Proto() // SCH-165
		}
		plan, err := m.validateTask(x, task)
		if err != nil {
			m.refuseTask(x.framework, given, v1.TaskState_TASK_ERROR, v1.TaskStatus_REASON_TASK_INVALID, err.Error())
			continue
		}
		m.start(x, plan)
		m.tell(x.agent, runTask(x.framework, []*v1.TaskInfo{task}, nil))
	}
}

// launchGroup is a LAUNCH_GROUP operation: all tasks or none (SCH-188).
func (m *Master) launchGroup(x *acceptance, op *v1.Offer_Operation) {
	group := proto.CloneOf(op.GetLaunchGroup())
	tasks := group.GetTaskGroup().GetTasks()
	if len(tasks) == 0 {
		return // SCH-302: nothing to start, the resources go back
	}
	plan, err := m.validateGroup(x, op, group)
	if err != nil {
		for _, t := range tasks {
			m.refuseTask(x.framework, t, v1.TaskState_TASK_ERROR, v1.TaskStatus_REASON_TASK_GROUP_INVALID, err.Error())
		}
		return
	}
	m.start(x, plan)
	m.tell(x.agent, runTask(x.framework, tasks, group.GetExecutor()))
}

// launchPlan is what validation found out about tasks that may start.
type launchPlan struct {
	tasks     []*v1.TaskInfo
	resources []alloc.Resources // of each task
	// executor is set if the tasks bring one that is not on the agent yet.
	executor          *v1.ExecutorInfo
	executorResources alloc.Resources
}

func (p launchPlan) total() alloc.Resources {
	total := p.executorResources
	for _, r := range p.resources {
		total = total.Add(r)
	}
	return total
}

// start makes the tasks of a plan active: what they use is no longer left (SCH-150).
func (m *Master) start(x *acceptance, plan launchPlan) {
	x.left = x.left.Sub(plan.total())
	x.launched = true
	if plan.executor != nil {
		m.addExecutor(x.framework, x.agent, plan.executor, plan.executorResources, true)
	}
	for i, info := range plan.tasks {
		m.addTask(x.framework, x.agent, newTaskProto(x.framework, info), plan.resources[i], true)
	}
}

// completeTask fills in what clients may leave out (SCH-165).
func completeTask(t *v1.TaskInfo) {
	h := t.GetHealthCheck()
	if h == nil || h.Type != nil {
		return
	}
	switch {
	case h.Command != nil && h.Http == nil:
		h.Type = v1.HealthCheck_COMMAND.Enum()
	case h.Http != nil && h.Command == nil:
		h.Type = v1.HealthCheck_HTTP.Enum()
	}
}

func runTask(f *framework, tasks []*v1.TaskInfo, executor *v1.ExecutorInfo) *wire.ToAgent {
	run := &wire.RunTask{Framework: f.info, Tasks: tasks, Executor: executor}
	if executor != nil {
		run.Group = proto.Bool(true)
	}
	return &wire.ToAgent{Message: &wire.ToAgent_RunTask{RunTask: run}}
}

// allocated reads resources of a call and gives role to those that name none (SCH-119). Texts about
// bad ones show them as they were given.
func allocated(role string, list []*v1.Resource) (alloc.Resources, error) {
	r, err := alloc.FromProto(list)
	if err != nil {
		return r, err
	}
	given := r.AllocationRoles()
	switch {
	case !slices.Contains(given, ""):
		return r, nil
	case len(given) == 1:
		return r.Allocate(role), nil
	}
	bare := r.Filter(func(e alloc.Entry) bool { return e.Role() == "" })
	return r.Sub(bare).Add(bare.Allocate(role)), nil
}
