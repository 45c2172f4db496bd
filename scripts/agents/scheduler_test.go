package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
)

func amount(name string, value float64) *v1.Resource {
	return &v1.Resource{Name: &name, Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: &value}}
}

// play is a framework with a clock of the test's own.
type play struct {
	t    *testing.T
	core *scheduler
	now  time.Time
	// answered are the calls that the master has answered; all unless the test says otherwise.
	answered uint64
}

func newPlay(t *testing.T, perAgent int) *play {
	p := &play{t: t, now: noon, answered: 1 << 30, core: newScheduler(schedulerConfig{
		Name: "f", Role: "fleet", User: "nobody", PerAgent: perAgent, AtOnce: 100, Prefix: "t", StartDelay: time.Second,
		Task: []*v1.Resource{amount("cpus", 0.1), amount("mem", 32)},
	})}
	if c := p.core.subscribe(); c.FrameworkId != nil || c.GetSubscribe().GetFrameworkInfo().Id != nil {
		t.Errorf("subscribes at first with %v", c)
	}
	p.give(&v1scheduler.Event{Type: v1scheduler.Event_SUBSCRIBED.Enum(), Subscribed: &v1scheduler.Event_Subscribed{FrameworkId: mesos.FrameworkID("F").Proto()}})
	return p
}

// give steps an event and tells the calls.
func (p *play) give(ev *v1scheduler.Event) []string {
	p.t.Helper()
	var all []string
	for _, c := range p.core.Step(p.now, ev, p.answered) {
		if err := proto.CheckInitialized(c); err != nil {
			p.t.Error(err)
		}
		if c.GetFrameworkId().GetValue() != "F" {
			p.t.Errorf("call of framework %v", c.GetFrameworkId())
		}
		all = append(all, callText(c))
	}
	return all
}

func callText(c *v1scheduler.Call) string {
	switch c.GetType() {
	case v1scheduler.Call_ACCEPT:
		var ids []string
		for _, task := range c.GetAccept().GetOperations()[0].GetLaunch().GetTaskInfos() {
			ids = append(ids, task.GetTaskId().GetValue()+"@"+task.GetAgentId().GetValue())
			if r := task.GetResources(); len(r) != 2 || r[0].GetAllocationInfo().GetRole() != "fleet" {
				return fmt.Sprintf("resources %v", r)
			}
		}
		return "accept " + c.GetAccept().GetOfferIds()[0].GetValue() + ": " + strings.Join(ids, " ")
	case v1scheduler.Call_DECLINE:
		return fmt.Sprintf("decline %d for %.0f s", len(c.GetDecline().GetOfferIds()), c.GetDecline().GetFilters().GetRefuseSeconds())
	case v1scheduler.Call_ACKNOWLEDGE:
		return "acknowledge " + c.GetAcknowledge().GetTaskId().GetValue() + "@" + c.GetAcknowledge().GetAgentId().GetValue()
	case v1scheduler.Call_RECONCILE:
		var ids []string
		for _, task := range c.GetReconcile().GetTasks() {
			ids = append(ids, task.GetTaskId().GetValue()+"@"+task.GetAgentId().GetValue())
		}
		return "reconcile " + strings.Join(ids, " ")
	}
	return c.GetType().String()
}

func (p *play) want(got []string, want ...string) {
	p.t.Helper()
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		p.t.Errorf("calls %q, want %q", got, want)
	}
}

// offer makes an event of offers, one for each agent, each of so many cpus.
func offer(cpus float64, agents ...string) *v1scheduler.Event {
	ev := &v1scheduler.Event{Type: v1scheduler.Event_OFFERS.Enum(), Offers: &v1scheduler.Event_Offers{}}
	for _, a := range agents {
		ev.Offers.Offers = append(ev.Offers.Offers, &v1.Offer{
			Id: mesos.OfferID("O-" + a).Proto(), FrameworkId: mesos.FrameworkID("F").Proto(), AgentId: mesos.AgentID(a).Proto(), Hostname: proto.String(a),
			Resources: []*v1.Resource{amount("cpus", cpus), amount("mem", 1000)}, AllocationInfo: &v1.Resource_AllocationInfo{Role: proto.String("fleet")},
		})
	}
	return ev
}

func status(task string, state v1.TaskState, own bool) *v1scheduler.Event {
	s := &v1.TaskStatus{TaskId: mesos.TaskID(task).Proto(), State: state.Enum(), AgentId: mesos.AgentID("S1").Proto()}
	if !own {
		s.Uuid = []byte{0, 1, 2, 3, 4, 5, 0x40, 7, 0x80, 9, 10, 11, 12, 13, 14, 15}
	}
	return &v1scheduler.Event{Type: v1scheduler.Event_UPDATE.Enum(), Update: &v1scheduler.Event_Update{Status: s}}
}

// Every agent gets as many tasks as it lacks, or as fit, and no more; updates with a uuid are
// acknowledged; a task that has ended is replaced.
func TestFill(t *testing.T) {
	p := newPlay(t, 3)
	p.want(p.give(offer(16, "S1", "S2")), "accept O-S1: t1@S1 t2@S1 t3@S1", "accept O-S2: t4@S2 t5@S2 t6@S2")
	p.want(p.give(offer(0.2, "S3")), "accept O-S3: t7@S3 t8@S3")
	p.want(p.give(offer(0.05, "S4")), "decline 1 for 3600 s")
	p.want(p.give(offer(16, "S1", "S2")), "decline 2 for 3600 s")
	p.want(p.give(status("t1", v1.TaskState_TASK_STARTING, false)), "acknowledge t1@S1")
	p.now = p.now.Add(time.Second)
	p.want(p.give(status("t1", v1.TaskState_TASK_RUNNING, false)), "acknowledge t1@S1")
	p.want(p.give(status("t1", v1.TaskState_TASK_RUNNING, true)))
	p.want(p.give(status("t2", v1.TaskState_TASK_RUNNING, false)), "acknowledge t2@S1")
	if f := p.core.figures; f.Running != 2 || f.Ran != 2 || f.Live != 8 || f.Launched != 8 || f.Latency.size() != 2 || f.Latency.Most != time.Second {
		t.Errorf("figures %+v", f)
	}
	p.want(p.give(status("t1", v1.TaskState_TASK_FAILED, false)), "acknowledge t1@S1")
	p.want(p.give(status("t1", v1.TaskState_TASK_FAILED, false)), "acknowledge t1@S1") // sent again
	p.want(p.give(status("other", v1.TaskState_TASK_LOST, false)), "acknowledge other@S1")
	p.want(p.give(status("t2", v1.TaskState_TASK_FINISHED, false)), "acknowledge t2@S1")
	p.want(p.give(status("t3", v1.TaskState_TASK_KILLED, false)), "acknowledge t3@S1")
	p.want(p.give(status("t4", v1.TaskState_TASK_ERROR, true)))
	p.want(p.give(status("t5", v1.TaskState_TASK_DROPPED, true)))
	p.want(p.give(offer(16, "S1", "S2")), "accept O-S1: t9@S1 t10@S1 t11@S1", "accept O-S2: t12@S2 t13@S2")
	f := p.core.figures
	if f.Running != 0 || f.Failed != 1 || f.Finished != 1 || f.Killed != 1 || f.Refused != 1 || f.Lost != 1 || f.Live != 8 || f.Launched != 13 ||
		f.Launched != f.Live+f.Failed+f.Finished+f.Killed+f.Refused+f.Lost {
		t.Errorf("figures %+v", f)
	}
}

// A framework that has lost its stream comes back as the same one, and asks for the tasks of which it
// hears nothing for a while.
func TestResubscribe(t *testing.T) {
	p := newPlay(t, 1)
	p.give(offer(16, "S1", "S2", "S3"))
	p.give(status("t1", v1.TaskState_TASK_RUNNING, false))
	p.give(status("t2", v1.TaskState_TASK_RUNNING, false))
	heartbeat := &v1scheduler.Event{Type: v1scheduler.Event_HEARTBEAT.Enum()}
	p.now = p.now.Add(30 * time.Second)
	p.want(p.give(heartbeat)) // the order of t3 is younger than that and its start
	p.now = p.now.Add(30 * time.Second)
	p.want(p.give(heartbeat), "reconcile t3@S3")
	p.want(p.give(status("t3", v1.TaskState_TASK_STAGING, true))) // the master knows it
	p.now = p.now.Add(29 * time.Second)
	p.want(p.give(heartbeat))

	if c := p.core.subscribe(); c.GetFrameworkId().GetValue() != "F" || c.GetSubscribe().GetFrameworkInfo().GetId().GetValue() != "F" {
		t.Errorf("subscribes again with %v", c)
	}
	p.want(p.give(&v1scheduler.Event{Type: v1scheduler.Event_SUBSCRIBED.Enum(), Subscribed: &v1scheduler.Event_Subscribed{FrameworkId: mesos.FrameworkID("F").Proto()}}))
	p.give(status("t2", v1.TaskState_TASK_RUNNING, true))
	p.now = p.now.Add(29 * time.Second)
	p.want(p.give(heartbeat))
	p.now = p.now.Add(time.Second)
	p.want(p.give(heartbeat), "reconcile t1@S1 t3@S3")
	p.give(status("t1", v1.TaskState_TASK_UNREACHABLE, true))
	p.give(status("t3", v1.TaskState_TASK_UNKNOWN, true))
	if f := p.core.figures; f.Running != 1 || f.Live != 2 || f.Lost != 1 {
		t.Errorf("figures %+v", f)
	}
	p.want(p.give(offer(16, "S1", "S3")), "accept O-S3: t4@S3", "decline 1 for 3600 s") // t1 may come back
	p.give(status("t1", v1.TaskState_TASK_RUNNING, true))
	if f := p.core.figures; f.Running != 2 || f.Ran != 2 {
		t.Errorf("figures %+v", f)
	}
}

// An update that comes again is answered again, but not while its acknowledgement waits to be sent.
func TestRepeatedUpdate(t *testing.T) {
	p := newPlay(t, 1)
	p.give(offer(16, "S1"))
	p.answered = 1
	p.want(p.give(status("t1", v1.TaskState_TASK_STARTING, false)), "acknowledge t1@S1")
	p.want(p.give(status("t1", v1.TaskState_TASK_STARTING, false)))
	next := status("t1", v1.TaskState_TASK_RUNNING, false)
	next.Update.Status.Uuid[6] = 0x41
	p.want(p.give(next), "acknowledge t1@S1")
	p.want(p.give(next))
	p.answered = 3
	p.want(p.give(next), "acknowledge t1@S1")
	if f := p.core.figures; f.Repeated != 2 || f.Acknowledged != 3 || f.Updates != 5 {
		t.Errorf("figures %+v", f)
	}
	// Another subscription has calls of its own.
	p.want(p.give(&v1scheduler.Event{Type: v1scheduler.Event_SUBSCRIBED.Enum(), Subscribed: &v1scheduler.Event_Subscribed{FrameworkId: mesos.FrameworkID("F").Proto()}}))
	p.answered = 0
	p.want(p.give(next), "acknowledge t1@S1")
	p.want(p.give(next))
}

// Offers wait while enough tasks are on their way, those that were rescinded or are of another
// subscription excepted.
func TestAtOnce(t *testing.T) {
	p := newPlay(t, 2)
	p.core.AtOnce = 3
	p.want(p.give(offer(16, "S1", "S2", "S3", "S4")), "accept O-S1: t1@S1 t2@S1", "accept O-S2: t3@S2 t4@S2")
	p.want(p.give(&v1scheduler.Event{Type: v1scheduler.Event_RESCIND.Enum(), Rescind: &v1scheduler.Event_Rescind{OfferId: mesos.OfferID("O-S3").Proto()}}))
	p.want(p.give(status("t1", v1.TaskState_TASK_RUNNING, true)))
	p.want(p.give(status("t1", v1.TaskState_TASK_RUNNING, true))) // no news
	p.want(p.give(status("t3", v1.TaskState_TASK_FAILED, true)), "accept O-S4: t5@S4 t6@S4")
	p.want(p.give(offer(16, "S5")))
	p.give(&v1scheduler.Event{Type: v1scheduler.Event_SUBSCRIBED.Enum(), Subscribed: &v1scheduler.Event_Subscribed{FrameworkId: mesos.FrameworkID("F").Proto()}})
	for _, id := range []string{"t2", "t4", "t5", "t6"} {
		p.want(p.give(status(id, v1.TaskState_TASK_RUNNING, true)))
	}
	if p.core.coming != 0 || len(p.core.kept) != 0 {
		t.Errorf("%d tasks coming, %d offers kept", p.core.coming, len(p.core.kept))
	}
	p.want(p.give(offer(16, "S2")), "accept O-S2: t7@S2")
}
