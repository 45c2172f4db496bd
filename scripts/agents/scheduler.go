package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
)

const (
	// enough is for how long what is left of an agent is refused, in seconds: a task that ends there
	// makes more of it, which is offered all the same.
	enough = 3600.0
	// unheardOf is the time after which the master is asked for a task of which nothing was heard.
	unheardOf = 30 * time.Second
	// maxAsked bounds the tasks in one RECONCILE.
	maxAsked = 1000
)

// schedulerConfig is what a framework wants.
type schedulerConfig struct {
	Name string
	Role string
	User string
	// PerAgent is how many tasks each agent is to run for this framework.
	PerAgent int
	// Task is what one task needs.
	Task []*v1.Resource
	// AtOnce bounds the tasks that are launched and do not run yet: beyond it, offers are kept for a while.
	AtOnce int
	// Prefix begins the ids of all tasks. No other run may have the same.
	Prefix string
	// StartDelay is the longest that a task takes to run by its script.
	StartDelay time.Duration
}

// scheduler is the core of a framework that keeps every agent at a number of tasks: a function of its
// events, without clock or network.
type scheduler struct {
	schedulerConfig
	id     mesos.FrameworkID // empty before the first subscription
	agents map[mesos.AgentID]int
	tasks  map[mesos.TaskID]*placed
	next   uint64
	asking time.Time // when the master was asked for tasks last
	kept   []*v1.Offer
	coming int // tasks that do not run yet
	// made counts the calls since the subscription; answered are how many of them were.
	made, answered uint64

	figures figures
	now     time.Time
	calls   []*v1scheduler.Call
}

// placed is a task that was launched and has not ended.
type placed struct {
	agent   mesos.AgentID
	state   v1.TaskState
	ordered time.Time
	doubted bool // nothing was heard of it since the stream broke
	// acknowledged is the newest update that was, by the call of this number.
	acknowledged mesos.UUID
	call         uint64
}

// figures are what a framework has done and seen.
type figures struct {
	Frameworks    int64  `json:"frameworks"` // subscribed now
	Offers        int64  `json:"offers"`
	Declined      int64  `json:"declined_offers"`
	Rescinded     int64  `json:"rescinded_offers"`
	Accepts       int64  `json:"accepts"`
	Launched      int64  `json:"launched_tasks"`
	Ran           int64  `json:"tasks_seen_running"`
	Live          int64  `json:"live_tasks"`
	Running       int64  `json:"running_tasks"`
	Finished      int64  `json:"finished_tasks"`
	Failed        int64  `json:"failed_tasks"`
	Killed        int64  `json:"killed_tasks"`
	Lost          int64  `json:"lost_tasks"` // of which nobody knows any more, or that were never started
	Refused       int64  `json:"refused_tasks"`
	Updates       int64  `json:"updates"`
	Repeated      int64  `json:"repeated_updates"` // before their acknowledgement was sent
	Acknowledged  int64  `json:"acknowledgements"`
	Reconciled    int64  `json:"reconciled_tasks"`
	Calls         int64  `json:"calls"`
	Subscriptions int64  `json:"subscriptions"`
	Latency       spread `json:"-"` // from ACCEPT to TASK_RUNNING as the framework sees it
}

func (f figures) plus(o figures) figures {
	return figures{
		f.Frameworks + o.Frameworks, f.Offers + o.Offers, f.Declined + o.Declined, f.Rescinded + o.Rescinded, f.Accepts + o.Accepts,
		f.Launched + o.Launched, f.Ran + o.Ran, f.Live + o.Live, f.Running + o.Running, f.Finished + o.Finished, f.Failed + o.Failed,
		f.Killed + o.Killed, f.Lost + o.Lost, f.Refused + o.Refused, f.Updates + o.Updates, f.Repeated + o.Repeated, f.Acknowledged + o.Acknowledged,
		f.Reconciled + o.Reconciled, f.Calls + o.Calls, f.Subscriptions + o.Subscriptions, f.Latency.plus(o.Latency),
	}
}

func newScheduler(cfg schedulerConfig) *scheduler {
	return &scheduler{schedulerConfig: cfg, agents: make(map[mesos.AgentID]int), tasks: make(map[mesos.TaskID]*placed)}
}

// info introduces the framework.
func (s *scheduler) info() *v1.FrameworkInfo {
	info := &v1.FrameworkInfo{
		User: &s.User, Name: &s.Name, Roles: []string{s.Role}, Checkpoint: proto.Bool(true), FailoverTimeout: proto.Float64(3600),
	}
	for _, c := range []v1.FrameworkInfo_Capability_Type{
		v1.FrameworkInfo_Capability_MULTI_ROLE, v1.FrameworkInfo_Capability_PARTITION_AWARE,
		v1.FrameworkInfo_Capability_RESERVATION_REFINEMENT, v1.FrameworkInfo_Capability_TASK_KILLING_STATE,
	} {
		info.Capabilities = append(info.Capabilities, &v1.FrameworkInfo_Capability{Type: c.Enum()})
	}
	if s.id != "" {
		info.Id = s.id.Proto()
	}
	return info
}

// subscribe is the call that opens the stream.
func (s *scheduler) subscribe() *v1scheduler.Call {
	info := s.info()
	return &v1scheduler.Call{
		Type: v1scheduler.Call_SUBSCRIBE.Enum(), FrameworkId: info.Id, Subscribe: &v1scheduler.Call_Subscribe{FrameworkInfo: info},
	}
}

// call is one that needs nothing but the framework's id.
func (s *scheduler) call(t v1scheduler.Call_Type) *v1scheduler.Call {
	return &v1scheduler.Call{Type: t.Enum(), FrameworkId: s.id.Proto()}
}

func (s *scheduler) emit(c *v1scheduler.Call) {
	s.figures.Calls++
	s.made++
	s.calls = append(s.calls, c)
}

// Step takes one event and returns the calls to make, in order. The slice is good until the next step.
// answered is how many calls of this subscription the master has answered.
func (s *scheduler) Step(now time.Time, ev *v1scheduler.Event, answered uint64) []*v1scheduler.Call {
	s.now, s.calls, s.answered = now, s.calls[:0], answered
	switch ev.GetType() {
	case v1scheduler.Event_SUBSCRIBED:
		s.subscribed(mesos.FrameworkID(ev.GetSubscribed().GetFrameworkId().GetValue()))
	case v1scheduler.Event_OFFERS:
		s.figures.Offers += int64(len(ev.GetOffers().GetOffers()))
		s.kept = append(s.kept, ev.GetOffers().GetOffers()...)
	case v1scheduler.Event_RESCIND:
		s.figures.Rescinded++
		id := ev.GetRescind().GetOfferId().GetValue()
		s.kept = slices.DeleteFunc(s.kept, func(o *v1.Offer) bool { return o.GetId().GetValue() == id })
	case v1scheduler.Event_UPDATE:
		s.update(ev.GetUpdate().GetStatus())
	case v1scheduler.Event_HEARTBEAT:
		s.askForUnheard()
	}
	s.offers()
	return s.calls
}

// subscribed goes on after a break. What became of the tasks meanwhile is asked for later: another
// leading master has to hear of them itself first.
func (s *scheduler) subscribed(id mesos.FrameworkID) {
	s.id, s.asking, s.made, s.kept = id, s.now, 0, nil
	s.figures.Subscriptions++
	for _, t := range s.tasks {
		t.doubted, t.call = true, 0
	}
}

// offers launches on each agent what is missing there, and declines the rest of the offers.
func (s *scheduler) offers() {
	var declined []*v1.OfferID
	used := 0
	for _, o := range s.kept {
		agent := mesos.AgentID(o.GetAgentId().GetValue())
		missing := min(s.PerAgent-s.agents[agent], fits(o.GetResources(), s.Task))
		if missing > 0 && s.coming >= s.AtOnce {
			break
		}
		used++
		if missing <= 0 {
			declined = append(declined, o.Id)
			continue
		}
		s.accept(o, agent, missing)
	}
	clear(s.kept[:used])
	s.kept = s.kept[used:]
	if len(declined) > 0 {
		s.figures.Declined += int64(len(declined))
		c := s.call(v1scheduler.Call_DECLINE)
		c.Decline = &v1scheduler.Call_Decline{OfferIds: declined, Filters: &v1.Filters{RefuseSeconds: proto.Float64(enough)}}
		s.emit(c)
	}
}

func (s *scheduler) accept(o *v1.Offer, agent mesos.AgentID, count int) {
	launch := &v1.Offer_Operation_Launch{}
	resources := allocated(s.Task, o.GetAllocationInfo())
	command := &v1.CommandInfo{Value: proto.String("simulated")}
	for range count {
		s.next++
		id := mesos.TaskID(fmt.Sprintf("%s%d", s.Prefix, s.next))
		launch.TaskInfos = append(launch.TaskInfos, &v1.TaskInfo{
			Name: &s.Name, TaskId: id.Proto(), AgentId: o.AgentId, Resources: resources, Command: command,
		})
		s.tasks[id] = &placed{agent: agent, state: v1.TaskState_TASK_STAGING, ordered: s.now}
	}
	s.agents[agent] += count
	s.coming += count
	s.figures.Accepts++
	s.figures.Launched += int64(count)
	s.figures.Live += int64(count)
	c := s.call(v1scheduler.Call_ACCEPT)
	c.Accept = &v1scheduler.Call_Accept{
		OfferIds:   []*v1.OfferID{o.Id},
		Operations: []*v1.Offer_Operation{{Type: v1.Offer_Operation_LAUNCH.Enum(), Launch: launch}},
		Filters:    &v1.Filters{RefuseSeconds: proto.Float64(enough)},
	}
	s.emit(c)
}

// allocated is resources as a task takes them from an offer.
func allocated(list []*v1.Resource, to *v1.Resource_AllocationInfo) []*v1.Resource {
	var all []*v1.Resource
	for _, r := range list {
		r = proto.CloneOf(r)
		r.AllocationInfo = to
		all = append(all, r)
	}
	return all
}

// fits is how many tasks the scalar resources of an offer are enough for.
func fits(offered, task []*v1.Resource) int {
	most := -1
	for _, need := range task {
		var have float64
		for _, r := range offered {
			if r.GetName() == need.GetName() {
				have += r.GetScalar().GetValue()
			}
		}
		const rounding = 1e-6 // amounts have three digits
		n := int(have/need.GetScalar().GetValue() + rounding)
		if most < 0 || n < most {
			most = n
		}
	}
	return most
}

// update takes a status. One with a uuid is acknowledged.
func (s *scheduler) update(status *v1.TaskStatus) {
	s.figures.Updates++
	t := s.tasks[mesos.TaskID(status.GetTaskId().GetValue())]
	if len(status.GetUuid()) > 0 {
		s.acknowledge(t, status)
	}
	if t == nil {
		return // it has ended, or is not of this run
	}
	t.doubted = false
	state := status.GetState()
	if state == v1.TaskState_TASK_STAGING && t.state == state {
		t.ordered = s.now // the master knows it: that is all that was asked
	}
	if t.state == v1.TaskState_TASK_RUNNING && state != t.state {
		s.figures.Running--
	}
	if state == v1.TaskState_TASK_RUNNING && t.state != state {
		s.figures.Running++
		if coming(t.state) {
			s.figures.Ran++
			s.figures.Latency.add(s.now.Sub(t.ordered))
		}
	}
	switch {
	case coming(t.state) && !coming(state):
		s.coming--
	case !coming(t.state) && coming(state): // its agent has come back
		s.coming++
	}
	t.state = state
	s.countEnd(state)
	if ended(state) {
		s.figures.Live--
		delete(s.tasks, mesos.TaskID(status.GetTaskId().GetValue()))
		if s.agents[t.agent]--; s.agents[t.agent] == 0 {
			delete(s.agents, t.agent)
		}
	}
}

// acknowledge answers an update. One that comes again while its acknowledgement waits to be sent is only
// counted: to answer all of them would make a master that is behind fall further behind.
func (s *scheduler) acknowledge(t *placed, status *v1.TaskStatus) {
	uuid, err := mesos.UUIDFromBytes(status.GetUuid())
	if t != nil && err == nil {
		if t.acknowledged == uuid && t.call > s.answered {
			s.figures.Repeated++
			return
		}
		t.acknowledged, t.call = uuid, s.made+1
	}
	s.figures.Acknowledged++
	c := s.call(v1scheduler.Call_ACKNOWLEDGE)
	c.Acknowledge = &v1scheduler.Call_Acknowledge{AgentId: status.AgentId, TaskId: status.TaskId, Uuid: status.Uuid}
	s.emit(c)
}

// ended says that a task will not run any more, as far as this framework is concerned. One that is
// unreachable may come back with its agent.
func ended(state v1.TaskState) bool {
	return mesos.Terminal(state) || state == v1.TaskState_TASK_UNKNOWN
}

// coming says that a task does not run yet.
func coming(state v1.TaskState) bool {
	return state == v1.TaskState_TASK_STAGING || state == v1.TaskState_TASK_STARTING
}

func (s *scheduler) countEnd(state v1.TaskState) {
	switch state {
	case v1.TaskState_TASK_FINISHED:
		s.figures.Finished++
	case v1.TaskState_TASK_FAILED:
		s.figures.Failed++
	case v1.TaskState_TASK_KILLED:
		s.figures.Killed++
	case v1.TaskState_TASK_ERROR:
		s.figures.Refused++
	default:
		if ended(state) {
			s.figures.Lost++
		}
	}
}

// askForUnheard asks the master for the tasks of which nothing is known: their launch, or the news of
// them, may have been lost with a master.
func (s *scheduler) askForUnheard() {
	if s.now.Sub(s.asking) < unheardOf {
		return
	}
	s.asking = s.now
	var ids []mesos.TaskID
	for id, t := range s.tasks {
		late := t.state == v1.TaskState_TASK_STAGING && s.now.Sub(t.ordered) >= unheardOf+s.StartDelay
		if late || t.doubted || t.state == v1.TaskState_TASK_UNREACHABLE {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b mesos.TaskID) int { return strings.Compare(string(a), string(b)) })
	s.figures.Reconciled += int64(len(ids))
	for some := range slices.Chunk(ids, maxAsked) {
		c := s.call(v1scheduler.Call_RECONCILE)
		c.Reconcile = &v1scheduler.Call_Reconcile{}
		for _, id := range some {
			c.Reconcile.Tasks = append(c.Reconcile.Tasks, &v1scheduler.Call_Reconcile_Task{TaskId: id.Proto(), AgentId: s.tasks[id].agent.Proto()})
		}
		s.emit(c)
	}
}
