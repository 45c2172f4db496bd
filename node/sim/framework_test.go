package sim

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

// framework is what outlives the instances of its scheduler: the durable store that they share.
type framework struct {
	w        *world
	name     string
	machine  *machine
	id       string // empty before the first SUBSCRIBED, and after it was removed
	past     []string
	durable  bool // checkpoint
	aware    bool // PARTITION_AWARE
	failover time.Duration
	roles    []string
	tasks    []*task // of all ids, in the order of their launch
	launches int     // tasks to launch yet
	pace     int     // of 1000 offers, how many are used

	scheduler *scheduler
}

func newFramework(w *world, m *machine, n int) *framework {
	f := &framework{
		w: w, name: fmt.Sprintf("f%d", n), machine: m, durable: w.chance(800), aware: w.chance(800),
		failover: w.between(20*time.Second, 200*time.Second), roles: []string{"*"}, launches: 5 + w.rng.IntN(w.plan.tasks),
		pace: 100 + w.rng.IntN(800),
	}
	if w.chance(300) {
		f.failover = w.between(0, 10*time.Second)
	}
	if w.chance(400) {
		f.roles = []string{"r1", "r2"}
	}
	return f
}

func (f *framework) info() *v1.FrameworkInfo {
	info := &v1.FrameworkInfo{
		User: proto.String("root"), Name: &f.name, Roles: f.roles,
		FailoverTimeout: proto.Float64(f.failover.Seconds()), Checkpoint: &f.durable,
		Capabilities: []*v1.FrameworkInfo_Capability{
			{Type: v1.FrameworkInfo_Capability_MULTI_ROLE.Enum()}, {Type: v1.FrameworkInfo_Capability_RESERVATION_REFINEMENT.Enum()},
		},
	}
	if f.aware {
		info.Capabilities = append(info.Capabilities, &v1.FrameworkInfo_Capability{Type: v1.FrameworkInfo_Capability_PARTITION_AWARE.Enum()})
	}
	if f.id != "" {
		info.Id = mesos.FrameworkID(f.id).Proto()
	}
	return info
}

// begin starts an instance of the scheduler. One that runs already is not to come back when it is told
// that another took its place.
func (f *framework) begin() {
	if f.scheduler != nil {
		f.scheduler.retired = true
	}
	if f.w.chance(100) && f.failover > 10*time.Second { // its FrameworkInfo may change with each instance
		f.failover += f.w.between(0, 20*time.Second)
	}
	s := &scheduler{f: f, p: &process{machine: f.machine}, w: f.w}
	s.p.scheduler = s
	f.scheduler = s
	s.subscribe(nil, 0)
	s.watch()
	s.every(f.w.plan.reconcile, s.reconcile)
	s.every(3*time.Second, s.killSome)
}

// removed is the end of the framework's id: what it ran is over, and it begins anew.
func (f *framework) removed() {
	f.past, f.id = append(f.past, f.id), ""
}

// open are the tasks of the present id of which the end is not known.
func (f *framework) open() []*task {
	return slices.DeleteFunc(slices.Clone(f.tasks), func(t *task) bool { return t.owner != f.id || t.final != 0 })
}

// scheduler is one instance of a framework's scheduler.
type scheduler struct {
	f       *framework
	p       *process
	w       *world
	retired bool // another instance is to take its place

	leader     *machine // last known
	connecting bool
	backoff    time.Duration
	stream     *end
	uuid       string
	subscribed bool
	heard      time.Duration
	offers     []*v1.Offer
	suppressed bool
	calls      []func() *v1scheduler.Call // made when their turn comes; nil: there is nothing to call any more
	calling    bool
}

// every calls fn again and again, sooner or later than d.
func (s *scheduler) every(d time.Duration, fn func()) {
	s.p.after(s.w.between(d/2, d*3/2), func() {
		fn()
		s.every(d, fn)
	})
}

// subscribe asks a master, or the one that another has named.
func (s *scheduler) subscribe(to *machine, hops int) {
	if s.connecting || s.stream != nil {
		return
	}
	if s.retired {
		s.p.kill("another instance took its place")
		return
	}
	if to == nil {
		to = pick(s.w, s.w.nodes[:s.w.plan.eligible])
		if s.leader != nil && s.w.chance(500) {
			to = s.leader
		}
	}
	s.connecting = true
	info := s.f.info()
	call := &v1scheduler.Call{Type: v1scheduler.Call_SUBSCRIBE.Enum(), FrameworkId: info.Id, Subscribe: &v1scheduler.Call_Subscribe{FrameworkInfo: info}}
	s.p.open(to, 5*time.Second, schedulerRequest{call: sent(s.w, call)}, func(e *end, r response) {
		s.connecting = false
		switch {
		case r.status == 200:
			s.opened(e, to, r.uuid)
		case r.status == 307 && hops < 3:
			e.close("redirected")
			s.subscribe(r.location, hops+1)
		default:
			e.close("refused")
			s.again()
		}
	}, func(string) {
		s.connecting = false
		s.again()
	})
}

// again tries later.
func (s *scheduler) again() {
	s.backoff = min(s.backoff*2+100*time.Millisecond, 4*time.Second)
	s.p.after(s.w.between(s.backoff/2, s.backoff), func() { s.subscribe(nil, 0) })
}

func (s *scheduler) opened(e *end, to *machine, uuid string) {
	s.stream, s.uuid, s.leader, s.backoff, s.heard = e, uuid, to, 0, s.w.now
	e.receive = func(m any) {
		s.heard = s.w.now
		s.hear(m.(*v1scheduler.Event))
	}
	e.gone = func(why string) { s.disconnected(why) }
}

// disconnected gives up the stream with all that hung on it. Calls that were not sent are void; one
// whose answer is not there may have been carried out.
func (s *scheduler) disconnected(why string) {
	if s.stream == nil {
		return
	}
	s.w.logf(s.f.name, "disconnected: %s", why)
	s.stream.close(why)
	s.stream, s.subscribed, s.calling = nil, false, false
	s.calls, s.offers = nil, nil
	s.again()
}

// watch looks after the master's heartbeats.
func (s *scheduler) watch() {
	s.p.after(s.w.plan.heartbeat, func() {
		if s.stream != nil && s.w.now-s.heard > 3*s.w.plan.heartbeat {
			s.disconnected("no heartbeat")
		}
		s.watch()
	})
}

func (s *scheduler) hear(ev *v1scheduler.Event) {
	switch ev.GetType() {
	case v1scheduler.Event_SUBSCRIBED:
		s.subscribedAs(ev.GetSubscribed().GetFrameworkId().GetValue())
	case v1scheduler.Event_OFFERS:
		for _, o := range ev.GetOffers().GetOffers() {
			s.offered(o)
		}
	case v1scheduler.Event_RESCIND:
		id := ev.GetRescind().GetOfferId().GetValue()
		s.offers = slices.DeleteFunc(s.offers, func(o *v1.Offer) bool { return o.GetId().GetValue() == id })
	case v1scheduler.Event_UPDATE:
		s.updated(ev.GetUpdate().GetStatus())
	case v1scheduler.Event_ERROR:
		s.failed(ev.GetError().GetMessage())
	}
}

func (s *scheduler) subscribedAs(id string) {
	if s.retired {
		s.disconnected("another instance took its place")
		return
	}
	if !s.subscribed && s.f.id != "" && s.f.id != id {
		s.w.failf("framework %s subscribed as %s and is called %s", s.f.name, s.f.id, id)
	}
	s.w.logf(s.f.name, "subscribed as %s at %s", id, s.leader.name)
	s.subscribed, s.f.id, s.suppressed = true, id, false
	if slices.Contains(s.f.past, id) {
		s.w.failf("framework %s has come back from the dead", id)
	}
	s.reconcile()
}

// failed is an ERROR event: the end of the stream.
func (s *scheduler) failed(message string) {
	switch {
	case message == "Framework failed over":
		s.retired = s.f.scheduler != s
	case strings.Contains(message, "removed"):
		if !s.retired {
			s.f.removed()
		}
	default:
		s.w.failf("framework %s: error %q", s.f.name, message)
	}
}

// enqueue makes a call when those before it are answered. A call belongs to the stream on which it was
// wished for.
func (s *scheduler) enqueue(make func() *v1scheduler.Call) {
	if s.stream == nil || !s.subscribed {
		return
	}
	s.calls = append(s.calls, make)
	s.next()
}

func (s *scheduler) next() {
	for !s.calling && len(s.calls) > 0 {
		made := s.calls[0]
		s.calls, s.calling = s.calls[1:], true
		call := made()
		if call == nil {
			s.calling = false
			continue
		}
		call.FrameworkId = mesos.FrameworkID(s.f.id).Proto()
		stream := s.stream
		s.w.logf(s.f.name, "calls %s: %s", s.leader.name, show(call))
		s.p.ask(s.leader, 10*time.Second, schedulerRequest{call: sent(s.w, call), stream: s.uuid}, func(r response) {
			switch {
			case s.stream != stream:
			case r.status != 202 && r.status != 200:
				s.disconnected(fmt.Sprintf("%s is answered %d %s", call.GetType(), r.status, r.body))
			case call.GetType() == v1scheduler.Call_TEARDOWN:
				s.f.removed()
				s.disconnected("torn down")
			default:
				s.calling = false
				s.next()
			}
		}, func(why string) {
			if s.stream == stream {
				s.disconnected(call.GetType().String() + ": " + why)
			}
		})
	}
}

// updated takes in a status update: first what it says is kept, then it is acknowledged.
func (s *scheduler) updated(u *v1.TaskStatus) {
	t := s.w.tasks[u.GetTaskId().GetValue()]
	if t == nil || t.framework != s.f {
		s.w.failf("framework %s is told of task %s", s.f.name, u.GetTaskId().GetValue())
	}
	s.w.logf(s.f.name, "task %s is %s (%s): %s", t.id, u.GetState(), u.GetReason(), u.GetMessage())
	if t.owner != s.f.id {
		return
	}
	t.tell(u)
	if len(u.GetUuid()) == 0 || !s.w.calm && s.w.chance(s.w.plan.forgetful) {
		return // not acknowledged: it will come again
	}
	acknowledge := func() {
		s.enqueue(func() *v1scheduler.Call {
			return &v1scheduler.Call{Type: v1scheduler.Call_ACKNOWLEDGE.Enum(), Acknowledge: &v1scheduler.Call_Acknowledge{
				AgentId: u.GetAgentId(), TaskId: u.GetTaskId(), Uuid: u.GetUuid(),
			}}
		})
	}
	if s.w.chance(200) {
		stream := s.stream
		s.p.after(s.w.between(0, 3*time.Second), func() {
			if s.stream == stream {
				acknowledge()
			}
		})
		return
	}
	acknowledge()
}

// reconcile asks for all tasks that are not known to have ended.
func (s *scheduler) reconcile() {
	s.enqueue(func() *v1scheduler.Call {
		call := &v1scheduler.Call{Type: v1scheduler.Call_RECONCILE.Enum(), Reconcile: &v1scheduler.Call_Reconcile{}}
		for _, t := range s.f.open() {
			call.Reconcile.Tasks = append(call.Reconcile.Tasks, &v1scheduler.Call_Reconcile_Task{
				TaskId: mesos.TaskID(t.id).Proto(), AgentId: mesos.AgentID(t.agent).Proto(),
			})
		}
		if len(call.Reconcile.Tasks) == 0 {
			return nil
		}
		return call
	})
}

// killSome kills a task now and then.
func (s *scheduler) killSome() {
	if s.w.calm || !s.w.chance(s.w.plan.kills) {
		return
	}
	s.enqueue(func() *v1scheduler.Call {
		open := s.f.open()
		if len(open) == 0 {
			return nil
		}
		t := pick(s.w, open)
		if x := t.executor; x != nil && s.w.chance(100) {
			return &v1scheduler.Call{Type: v1scheduler.Call_SHUTDOWN.Enum(), Shutdown: &v1scheduler.Call_Shutdown{
				ExecutorId: x.c.spec.ExecutorID.Proto(), AgentId: mesos.AgentID(t.agent).Proto(),
			}}
		}
		return &v1scheduler.Call{Type: v1scheduler.Call_KILL.Enum(), Kill: &v1scheduler.Call_Kill{
			TaskId: mesos.TaskID(t.id).Proto(), AgentId: mesos.AgentID(t.agent).Proto(),
		}}
	})
}
