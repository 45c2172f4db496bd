package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"
)

var noon = time.Unix(1_800_000_000, 0)

// stage is a fleet with a clock and a network of the test's own.
type stage struct {
	t     *testing.T
	fleet *fleet
	now   time.Time

	opened []open
	hungUp []hangUp
	sent   []send
	known  []remember
	silent bool // the leader does not answer beats
}

// newStage has agents that are not admitted yet. Without anything else set, tasks start after a second
// and run for ever, and nothing is delayed.
func newStage(t *testing.T, agents int, change func(*script)) *stage {
	s := &script{
		StartDelay: span{low: time.Second, high: time.Second}, RunTime: span{low: forever, high: forever},
		KillDelay: span{low: time.Second, high: time.Second}, Away: span{low: 20 * time.Second, high: 20 * time.Second},
	}
	if change != nil {
		change(s)
	}
	var profiles []*profile
	for n := range agents {
		profiles = append(profiles, &profile{name: fmt.Sprintf("host-%d", n), ip: "198.19.0.1", port: 5051})
	}
	return &stage{t: t, fleet: newFleet(s, rand.New(rand.NewPCG(1, 2)), "1.12.0", profiles), now: noon}
}

var beatAnswer = &wire.ToNode{Message: &wire.ToNode_Beat{Beat: &wire.Beat{Seq: proto.Uint64(1), Time: proto.Int64(0), Answer: proto.Bool(true)}}}

// step gives the core an event and sorts what it wants.
func (s *stage) step(ev event) {
	s.t.Helper()
	var answers []event
	defer func() {
		for _, a := range answers {
			s.step(a)
		}
	}()
	for _, e := range s.fleet.Step(s.now, ev) {
		switch e := e.(type) {
		case open:
			s.opened = append(s.opened, e)
		case hangUp:
			s.hungUp = append(s.hungUp, e)
		case send:
			s.sent = append(s.sent, e)
			if e.message.GetBeat() != nil && !s.silent {
				answers = append(answers, received{n: e.n, stream: e.stream, message: beatAnswer})
			}
		case remember:
			s.known = append(s.known, e)
		default:
			s.t.Fatalf("effect %T is unknown", e)
		}
	}
}

// pass lets time pass, with ticks whenever the core wants them.
func (s *stage) pass(d time.Duration) {
	s.t.Helper()
	end := s.now.Add(d)
	for {
		at, ok := s.fleet.Deadline()
		if !ok || at.After(end) {
			s.now = end
			return
		}
		s.now = at
		s.step(tick{})
	}
}

// stream is the newest stream that an agent has asked for.
func (s *stage) stream(n int) uint64 {
	s.t.Helper()
	for i := len(s.opened) - 1; i >= 0; i-- {
		if s.opened[i].n == n {
			return s.opened[i].stream
		}
	}
	s.t.Fatalf("agent %d has not asked for a stream", n)
	return 0
}

// link answers an agent's newest request for a stream, in a term.
func (s *stage) link(n int, term uint64) {
	s.t.Helper()
	s.step(greeted{n: n, stream: s.stream(n), term: term, beat: 2 * time.Second})
}

// register brings agent 0 to where tasks can be launched on it.
func (s *stage) register() {
	s.t.Helper()
	s.step(admitted{n: 0})
	s.link(0, 2)
	s.deliver(&wire.ToAgent{Message: &wire.ToAgent_Registered{Registered: &wire.Registered{AgentId: mesos.AgentID("M-S0").Proto(), Master: &v1.MasterInfo{}}}})
	s.sent = nil
}

// deliver gives agent 0 a message of the master.
func (s *stage) deliver(m *wire.ToAgent) {
	s.t.Helper()
	s.step(received{n: 0, stream: s.stream(0), message: &wire.ToNode{Message: &wire.ToNode_Agent{Agent: m}}})
}

// said tells what was sent since the last time, but for beats.
func (s *stage) said() []string {
	var all []string
	for _, e := range s.sent {
		if e.message.GetBeat() != nil {
			continue
		}
		switch m := e.message.GetAgent().GetMessage().(type) {
		case *wire.FromAgent_Register:
			all = append(all, "register "+m.Register.GetAgent().GetId().GetValue())
		case *wire.FromAgent_StatusUpdate:
			u := m.StatusUpdate
			text := strings.TrimPrefix(u.GetStatus().GetState().String(), "TASK_") + " " + u.GetStatus().GetTaskId().GetValue()
			if latest := u.GetLatestState(); latest != u.GetStatus().GetState() {
				text += " latest " + strings.TrimPrefix(latest.String(), "TASK_")
			}
			if u.GetStatus().Reason != nil {
				text += " " + u.GetStatus().GetReason().String()
			}
			all = append(all, text)
		case *wire.FromAgent_ExecutorExited:
			all = append(all, "exited "+m.ExecutorExited.GetExecutorId().GetValue())
		case *wire.FromAgent_Pong:
			all = append(all, "pong")
		case *wire.FromAgent_Unregister:
			all = append(all, "unregister")
		default:
			s.t.Fatalf("frame %v is not expected", e.message)
		}
	}
	s.sent = nil
	return all
}

// want checks what was said, in order.
func (s *stage) want(all ...string) {
	s.t.Helper()
	if got := s.said(); strings.Join(got, "; ") != strings.Join(all, "; ") {
		s.t.Errorf("at %v: said %q, want %q", s.now.Sub(noon), got, all)
	}
}

// acknowledge confirms the newest update of a task that is unacknowledged.
func (s *stage) acknowledge(id string) {
	s.t.Helper()
	for _, h := range s.fleet.agents[0].hosted {
		if t := h.task(id); t != nil && t.head() != nil {
			s.deliver(&wire.ToAgent{Message: &wire.ToAgent_Acknowledge{Acknowledge: &wire.Acknowledge{
				FrameworkId: h.framework.id.Proto(), TaskId: t.id.Proto(), Uuid: t.head().uuid.Bytes()}}})
			return
		}
	}
	s.t.Fatalf("task %s has nothing to acknowledge", id)
}

// wantCount checks one of the counts.
func (s *stage) wantCount(c count, want int64) {
	s.t.Helper()
	if got := s.fleet.counts[c]; got != want {
		s.t.Errorf("at %v: %s is %d, want %d", s.now.Sub(noon), countNames[c], got, want)
	}
}

// frameworkInfo has the capabilities that are named.
func frameworkInfo(id string, can ...v1.FrameworkInfo_Capability_Type) *v1.FrameworkInfo {
	info := &v1.FrameworkInfo{User: proto.String("nobody"), Name: proto.String("f"), Id: mesos.FrameworkID(id).Proto()}
	for _, c := range can {
		info.Capabilities = append(info.Capabilities, &v1.FrameworkInfo_Capability{Type: c.Enum()})
	}
	return info
}

func taskInfo(id string) *v1.TaskInfo {
	return &v1.TaskInfo{
		Name: proto.String("task " + id), TaskId: mesos.TaskID(id).Proto(), AgentId: mesos.AgentID("M-S0").Proto(),
		Resources: []*v1.Resource{{Name: proto.String("cpus"), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: proto.Float64(0.1)}}},
		Command:   &v1.CommandInfo{Value: proto.String("true")},
	}
}

// launch orders command tasks of framework F.
func (s *stage) launch(info *v1.FrameworkInfo, ids ...string) {
	s.t.Helper()
	for _, id := range ids {
		s.deliver(&wire.ToAgent{Message: &wire.ToAgent_RunTask{RunTask: &wire.RunTask{Framework: info, Tasks: []*v1.TaskInfo{taskInfo(id)}}}})
	}
}

func killMessage(framework, task string, grace time.Duration) *wire.ToAgent {
	k := &wire.KillTask{FrameworkId: mesos.FrameworkID(framework).Proto(), TaskId: mesos.TaskID(task).Proto()}
	if grace >= 0 {
		k.KillPolicy = &v1.KillPolicy{GracePeriod: &v1.DurationInfo{Nanoseconds: proto.Int64(int64(grace))}}
	}
	return &wire.ToAgent{Message: &wire.ToAgent_KillTask{KillTask: k}}
}
