package main

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"
)

// An agent that comes back reports its id, its frameworks, and its tasks with what is not acknowledged,
// and sends that again. EXE-154, EXE-171, CLU-60
func TestComeBack(t *testing.T) {
	s := newStage(t, 1, nil)
	s.register()
	if len(s.known) != 1 || s.known[0].id != "M-S0" {
		t.Errorf("remembers %v", s.known)
	}
	s.launch(frameworkInfo("F"), "t1", "t2", "t3")
	s.pass(time.Second)
	s.acknowledge("t1")
	s.acknowledge("t1")
	s.acknowledge("t2")
	s.said()
	s.step(unlinked{n: 0, stream: s.stream(0)})
	s.wantCount(linked, 0)
	s.wantCount(registered, 0)
	s.wantCount(running, 3) // tasks go on
	s.pass(time.Minute)
	s.want()
	s.link(0, 3)
	r := s.sent[0].message.GetAgent().GetRegister()
	if id := r.GetAgent().GetId().GetValue(); id != "M-S0" || len(r.GetFrameworks()) != 1 || len(r.GetTasks()) != 3 {
		t.Fatalf("registers with %v", r)
	}
	for i, want := range []struct {
		head     *v1.TaskState // nil: nothing is unacknowledged
		statuses int
	}{{nil, 2}, {v1.TaskState_TASK_RUNNING.Enum(), 2}, {v1.TaskState_TASK_STARTING.Enum(), 2}} {
		p := r.GetTasks()[i]
		if p.GetState() != v1.TaskState_TASK_RUNNING || len(p.GetStatuses()) != want.statuses || p.GetName() == "" || len(p.GetResources()) != 1 ||
			p.GetFrameworkId().GetValue() != "F" {
			t.Errorf("task %v", p)
		}
		if (want.head == nil) != (p.StatusUpdateState == nil) || want.head != nil && p.GetStatusUpdateState() != *want.head {
			t.Errorf("task %s: head %v, want %v", p.GetTaskId().GetValue(), p.StatusUpdateState, want.head)
		}
		if c := p.GetStatuses()[0].GetContainerStatus(); c.GetContainerId().GetValue() == "" || len(c.GetNetworkInfos()) != 1 {
			t.Errorf("container %v", c)
		}
	}
	if err := proto.CheckInitialized(r); err != nil {
		t.Error(err)
	}
	s.said()
	s.deliver(&wire.ToAgent{Message: &wire.ToAgent_Registered{Registered: &wire.Registered{AgentId: mesos.AgentID("M-S0").Proto(), Master: &v1.MasterInfo{}}}})
	s.want("RUNNING t2", "STARTING t3 latest RUNNING")
	if o := s.fleet.offices; len(o) != 2 || o[1].Term != 3 || o[1].Agents != 1 || o[1].Waits.Most != time.Minute || !o[1].Lost.Equal(noon.Add(time.Second)) {
		t.Errorf("offices %+v", o)
	}
	// A framework that has subscribed again gets the same at once. SCH-230
	s.deliver(&wire.ToAgent{Message: &wire.ToAgent_UpdateFramework{UpdateFramework: &wire.UpdateFramework{Framework: frameworkInfo("F")}}})
	s.want("RUNNING t2", "STARTING t3 latest RUNNING")
}

// The pause before the next try is random and grows to 5 s; a redirection is followed at once; a stream
// that lasted makes it short again. CLU-60, EXE-168
func TestSearch(t *testing.T) {
	s := newStage(t, 1, nil)
	s.step(admitted{n: 0, id: "M-S7"})
	var pauses []time.Duration
	for range 20 {
		began := s.now
		stream := s.stream(0)
		s.step(unlinked{n: 0, stream: stream})
		s.step(unlinked{n: 0, stream: stream}) // told twice
		for s.stream(0) == stream {
			at, _ := s.fleet.Deadline()
			s.pass(at.Sub(s.now))
		}
		pauses = append(pauses, s.now.Sub(began))
	}
	if pauses[0] > firstRetry || slices.Max(pauses) > lastRetry || slices.Max(pauses) < lastRetry/2 || pauses[19] == pauses[18] {
		t.Errorf("pauses %v", pauses)
	}
	s.step(unlinked{n: 0, stream: s.stream(0), redirected: true})
	if at, ok := s.fleet.Deadline(); ok {
		t.Errorf("waits until %v after a redirection", at.Sub(s.now))
	}
	s.step(greeted{n: 0, stream: s.stream(0) - 1, term: 2, beat: time.Second}) // one that was given up
	if len(s.hungUp) != 1 {
		t.Errorf("hung up %v", s.hungUp)
	}
	s.link(0, 2)
	s.want("register M-S7")
	s.pass(11 * time.Second) // not registered, but the beats are answered
	before := s.stream(0)
	s.step(unlinked{n: 0, stream: before})
	if at, ok := s.fleet.Deadline(); !ok || at.Sub(s.now) > firstRetry {
		t.Errorf("waits %v after a stream that lasted", at.Sub(s.now))
	}
}

// A leader that falls silent is left, also if it answers beats but forgets the agent. EXE-169
func TestSilence(t *testing.T) {
	s := newStage(t, 1, nil)
	s.register()
	stream := s.stream(0)
	s.silent = true
	s.pass(7 * time.Second)
	if len(s.hungUp) != 0 {
		t.Error("hung up after three beats")
	}
	s.pass(3 * time.Second)
	if len(s.hungUp) != 1 || s.hungUp[0].stream != stream || s.stream(0) == stream {
		t.Errorf("hung up %v, opened %v", s.hungUp, s.opened)
	}
	s.wantCount(losses, 1)

	s.silent = false
	s.link(0, 2)
	s.deliver(&wire.ToAgent{Message: &wire.ToAgent_Registered{Registered: &wire.Registered{AgentId: mesos.AgentID("M-S0").Proto(), Master: &v1.MasterInfo{},
		PingTimeout: &v1.DurationInfo{Nanoseconds: proto.Int64(int64(30 * time.Second))}}}})
	s.said()
	for range 10 {
		s.pass(10 * time.Second)
		s.deliver(&wire.ToAgent{Message: &wire.ToAgent_Ping{Ping: &wire.Ping{}}})
		s.want("pong")
	}
	s.pass(28 * time.Second)
	if len(s.hungUp) != 1 {
		t.Error("leaves a leader that pings")
	}
	s.pass(5 * time.Second)
	if len(s.hungUp) != 2 {
		t.Error("stays with a leader that does not ping")
	}
}

// By their script agents go away and come back, some without their tasks.
func TestScriptedAbsence(t *testing.T) {
	s := newStage(t, 1, func(x *script) { x.DisconnectEvery, x.Reboots = time.Minute, 0.5 })
	s.register()
	seen := int64(0)
	for range 40 {
		s.launch(frameworkInfo("F"), "t")
		at := s.now
		for len(s.hungUp) == 0 {
			s.pass(time.Second)
		}
		if s.now.Sub(at) > tail*time.Minute {
			t.Fatalf("there for %v", s.now.Sub(at))
		}
		s.hungUp = nil
		stream := s.stream(0)
		left := s.now
		s.pass(19 * time.Second)
		if s.stream(0) != stream {
			t.Fatalf("away for less than 20 s: %v", s.now.Sub(left))
		}
		s.pass(time.Second)
		s.link(0, 2)
		want := 1
		if now := s.fleet.counts[reboots]; now > seen {
			seen, want = now, 0
		}
		for _, e := range s.sent {
			if r := e.message.GetAgent().GetRegister(); r != nil && e.stream == s.stream(0) && len(r.GetTasks()) != want {
				t.Fatalf("comes back with %d tasks, want %d", len(r.GetTasks()), want)
			}
		}
		s.deliver(&wire.ToAgent{Message: &wire.ToAgent_Registered{Registered: &wire.Registered{AgentId: mesos.AgentID("M-S0").Proto(), Master: &v1.MasterInfo{}}}})
		s.sent = nil
	}
	if seen < 10 || seen > 30 {
		t.Errorf("%d reboots of 40", seen)
	}
	s.wantCount(disconnects, 40)
	if o := s.fleet.offices; len(o) != 1 || o[0].Waits.size() != 1 {
		t.Errorf("scripted absences count as waits: %+v", o)
	}
}

// Messages are late in both directions, each by its own time, and keep their order.
func TestDelay(t *testing.T) {
	s := newStage(t, 1, func(x *script) {
		x.Delay, x.NoStarting = span{low: 100 * time.Millisecond, high: time.Second}, true
	})
	s.step(admitted{n: 0})
	s.link(0, 2)
	s.want()
	s.pass(time.Second)
	s.want("register ")
	s.deliver(&wire.ToAgent{Message: &wire.ToAgent_Registered{Registered: &wire.Registered{AgentId: mesos.AgentID("M-S0").Proto(), Master: &v1.MasterInfo{}}}})
	s.wantCount(registered, 0)
	s.pass(time.Second)
	s.wantCount(registered, 1)
	var want []string
	for range 50 {
		s.deliver(&wire.ToAgent{Message: &wire.ToAgent_Ping{Ping: &wire.Ping{}}})
		s.deliver(killMessage("F", "x", 0))
		want = append(want, "pong")
	}
	s.launch(frameworkInfo("F"), "t1", "t2")
	s.pass(50 * time.Millisecond)
	s.want()
	s.pass(4 * time.Second)
	s.want(append(want, "RUNNING t1", "RUNNING t2")...)

	// What is on its way when the stream ends is lost.
	s.deliver(&wire.ToAgent{Message: &wire.ToAgent_Ping{Ping: &wire.Ping{}}})
	s.step(unlinked{n: 0, stream: s.stream(0)})
	s.pass(50 * time.Millisecond)
	s.want()
}

// An agent that the master ends comes back as another one; a node that the cluster has removed does not.
// EXE-165
func TestDismissedAndExpelled(t *testing.T) {
	s := newStage(t, 1, nil)
	s.register()
	s.launch(frameworkInfo("F"), "t1")
	s.deliver(&wire.ToAgent{Message: &wire.ToAgent_Shutdown{Shutdown: &wire.Shutdown{Message: proto.String("gone")}}})
	if len(s.hungUp) != 1 || len(s.known) != 2 || s.known[1].id != "" {
		t.Errorf("hung up %v, remembers %v", s.hungUp, s.known)
	}
	s.wantCount(tasks, 0)
	s.pass(20 * time.Second)
	s.link(0, 2)
	s.want("register ")
	s.step(unlinked{n: 0, stream: s.stream(0), expelled: true})
	s.pass(time.Hour)
	if len(s.opened) != 2 {
		t.Errorf("opened %v", s.opened)
	}
	for c, want := range map[count]int64{expelled: 1, dismissals: 1, linked: 0, registered: 0} {
		s.wantCount(c, want)
	}
}

// At the end the agents take their leave, and none comes back. EXE-164
func TestLeave(t *testing.T) {
	s := newStage(t, 2, nil)
	s.register()
	s.launch(frameworkInfo("F"), "t1")
	s.step(admitted{n: 1})
	s.step(leave{})
	s.want("unregister")
	s.step(unlinked{n: 0, stream: s.stream(0)})
	s.step(unlinked{n: 1, stream: s.stream(1)})
	opened := len(s.opened)
	s.pass(time.Hour)
	s.step(admitted{n: 1})
	if len(s.opened) != opened {
		t.Error("an agent comes back")
	}
	for _, c := range []count{linked, registered, tasks, running} {
		s.wantCount(c, 0)
	}
}
