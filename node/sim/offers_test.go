package sim

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
)

// offered thinks about an offer for a while, then accepts or declines it, or forgets about it.
func (s *scheduler) offered(o *v1.Offer) {
	s.offers = append(s.offers, o)
	if !s.w.calm && s.w.chance(s.w.plan.hoarding) {
		return
	}
	stream := s.stream
	s.p.after(s.w.between(0, time.Second), func() {
		if s.stream == stream {
			s.answer(o)
		}
	})
}

// answer accepts or declines an offer that is still there when the call's turn comes.
func (s *scheduler) answer(o *v1.Offer) {
	s.enqueue(func() *v1scheduler.Call {
		i := slices.Index(s.offers, o)
		if i < 0 {
			return nil // rescinded
		}
		s.offers = slices.Delete(s.offers, i, i+1)
		refuse := &v1.Filters{RefuseSeconds: proto.Float64([]float64{0, 1, 5}[s.w.rng.IntN(3)])}
		ids := []*v1.OfferID{o.Id}
		if s.w.calm || s.f.launches <= 0 || !s.w.chance(s.f.pace) {
			if s.f.launches <= 0 && !s.suppressed {
				s.suppress()
			}
			return &v1scheduler.Call{Type: v1scheduler.Call_DECLINE.Enum(), Decline: &v1scheduler.Call_Decline{OfferIds: ids, Filters: refuse}}
		}
		launch := &v1.Offer_Operation{Type: v1.Offer_Operation_LAUNCH.Enum(), Launch: &v1.Offer_Operation_Launch{TaskInfos: s.launch(o)}}
		return &v1scheduler.Call{Type: v1scheduler.Call_ACCEPT.Enum(), Accept: &v1scheduler.Call_Accept{
			OfferIds: ids, Operations: []*v1.Offer_Operation{launch}, Filters: refuse,
		}}
	})
}

// suppress wants no more offers for some time.
func (s *scheduler) suppress() {
	s.suppressed = true
	plain := func(kind v1scheduler.Call_Type) func() *v1scheduler.Call {
		return func() *v1scheduler.Call { return &v1scheduler.Call{Type: kind.Enum()} }
	}
	s.enqueue(plain(v1scheduler.Call_SUPPRESS))
	s.p.after(s.w.between(2*time.Second, 30*time.Second), func() { s.enqueue(plain(v1scheduler.Call_REVIVE)) })
}

// launch makes tasks that fit into an offer. They are in the store before anybody else hears of them.
func (s *scheduler) launch(o *v1.Offer) []*v1.TaskInfo {
	cpus, mem := amount(o, "cpus"), amount(o, "mem")
	var tasks []*v1.TaskInfo
	for range 1 + s.w.rng.IntN(3) {
		need := []float64{0.1, 0.2, 0.5, 1}[s.w.rng.IntN(4)]
		custom := s.w.chance(s.w.plan.customExecutors)
		with := need
		if custom {
			with += executorCPUs
		}
		if with > cpus || mem < 96 {
			break
		}
		cpus, mem = cpus-with, mem-96
		tasks = append(tasks, s.f.newTask(o, need, custom))
	}
	return tasks
}

const executorCPUs = 0.1

func amount(o *v1.Offer, name string) float64 {
	total := 0.0
	for _, r := range o.GetResources() {
		if r.GetName() == name {
			total += r.GetScalar().GetValue()
		}
	}
	return total
}

func scalars(cpus, mem float64) []*v1.Resource {
	one := func(name string, value float64) *v1.Resource {
		return &v1.Resource{Name: &name, Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: &value}}
	}
	return []*v1.Resource{one("cpus", cpus), one("mem", mem)}
}

// newTask makes a command task, or one for an executor that others of the framework share.
func (f *framework) newTask(o *v1.Offer, cpus float64, custom bool) *v1.TaskInfo {
	w := f.w
	f.launches--
	t := &task{
		w: w, id: fmt.Sprintf("%s-t%d", f.name, len(f.tasks)), framework: f, owner: f.id, agent: o.GetAgentId().GetValue(),
		script: w.script(), known: v1.TaskState_TASK_STAGING,
	}
	f.tasks = append(f.tasks, t)
	w.tasks[t.id] = t
	w.taskOrder = append(w.taskOrder, t)
	info := &v1.TaskInfo{Name: &t.id, TaskId: mesos.TaskID(t.id).Proto(), AgentId: o.AgentId, Resources: scalars(cpus, 32)}
	if !custom {
		info.Command = &v1.CommandInfo{Value: proto.String("true")}
		return info
	}
	info.Executor = &v1.ExecutorInfo{
		Type: v1.ExecutorInfo_CUSTOM.Enum(), ExecutorId: mesos.ExecutorID(fmt.Sprintf("x%d", w.rng.IntN(2))).Proto(),
		FrameworkId: mesos.FrameworkID(f.id).Proto(), Command: &v1.CommandInfo{Value: proto.String("executor")},
		Resources: scalars(executorCPUs, 32),
	}
	return info
}
