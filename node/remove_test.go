package node

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/isolate"
	"clusterd/node/api"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
)

// agentNode is a node with an agent that the leading master at knows.
func agentNode(t *testing.T, at *Node, name, token string, stopTasks bool) (*Node, mesos.AgentID) {
	t.Helper()
	cfg := masterConfig(t, name)
	cfg.Role, cfg.StopTasks = "auto", stopTasks
	cfg.CgroupsRoot = fmt.Sprintf("clusterd-test-remove-%d-%s", os.Getpid(), name)
	if _, err := isolate.Open(isolate.Config{StateDir: t.TempDir(), CgroupRoot: cfg.CgroupsRoot, Logger: testLog(t, name)}); err != nil {
		t.Skipf("this machine cannot run an agent: %v", err)
	}
	n := joinNode(t, at, cfg, token)
	var id mesos.AgentID
	until(t, name+" has an agent", func() bool {
		state := at.member.Load().machine.View()
		node, _ := state.Node(n.identity().NodeID)
		id = mesos.AgentID(node.GetAgentId().GetValue())
		_, admitted := state.Agent(string(id))
		return admitted
	})
	return n, id
}

// testScheduler is a framework on the leading master of its own process.
type testScheduler struct {
	t      *testing.T
	at     *leader
	id     *v1.FrameworkID
	stream api.EventStream
	events []*v1scheduler.Event // that came and were not looked at yet
}

func newTestScheduler(t *testing.T, at *leader) *testScheduler {
	t.Helper()
	info := &v1.FrameworkInfo{
		User: proto.String("root"), Name: proto.String(t.Name()), Checkpoint: proto.Bool(true), Roles: []string{"*"},
		Capabilities: []*v1.FrameworkInfo_Capability{
			{Type: v1.FrameworkInfo_Capability_MULTI_ROLE.Enum()}, {Type: v1.FrameworkInfo_Capability_PARTITION_AWARE.Enum()},
		},
	}
	call := &v1scheduler.Call{Type: v1scheduler.Call_SUBSCRIBE.Enum(), Subscribe: &v1scheduler.Call_Subscribe{FrameworkInfo: info}}
	answer, stream, err := at.Subscribe(t.Context(), api.SchedulerRequest{Call: call})
	if err != nil || stream == nil {
		t.Fatalf("SUBSCRIBE: %v %v", answer, err)
	}
	t.Cleanup(stream.Close)
	s := &testScheduler{t: t, at: at, stream: stream}
	s.id = s.next("SUBSCRIBED", func(e *v1scheduler.Event) bool { return e.GetSubscribed() != nil }).GetSubscribed().GetFrameworkId()
	return s
}

// next waits for an event; those before it are passed over.
func (s *testScheduler) next(what string, wanted func(*v1scheduler.Event) bool) *v1scheduler.Event {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for {
		for len(s.events) > 0 {
			e := s.events[0]
			s.events = s.events[1:]
			if wanted(e) {
				return e
			}
		}
		events, err := s.stream.Next(ctx)
		if err != nil {
			s.t.Fatalf("no %s: %v", what, err)
		}
		s.events = events
	}
}

func (s *testScheduler) call(call *v1scheduler.Call) {
	s.t.Helper()
	call.FrameworkId = s.id
	answer, err := s.at.Call(s.t.Context(), api.SchedulerRequest{StreamHeader: s.stream.StreamUUID(), HasStreamHeader: true, Call: call})
	if err != nil || answer.Status != 202 {
		s.t.Fatalf("%v: %v %v", call.GetType(), answer, err)
	}
}

// run has a task run on an agent.
func (s *testScheduler) run(on mesos.AgentID) {
	s.t.Helper()
	var offer *v1.Offer
	s.next("offer", func(e *v1scheduler.Event) bool {
		for _, o := range e.GetOffers().GetOffers() {
			if o.GetAgentId().GetValue() == string(on) {
				offer = o
			}
		}
		return offer != nil
	})
	scalar := func(name string, value float64) *v1.Resource {
		return &v1.Resource{Name: &name, Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: &value},
			AllocationInfo: &v1.Resource_AllocationInfo{Role: proto.String("*")}}
	}
	task := &v1.TaskInfo{
		Name: proto.String("t"), TaskId: mesos.TaskID("t").Proto(), AgentId: on.Proto(),
		Resources: []*v1.Resource{scalar("cpus", 0.1), scalar("mem", 32)}, Command: &v1.CommandInfo{Value: proto.String("sleep 1000")},
	}
	s.call(&v1scheduler.Call{Type: v1scheduler.Call_ACCEPT.Enum(), Accept: &v1scheduler.Call_Accept{
		OfferIds: []*v1.OfferID{offer.GetId()},
		Operations: []*v1.Offer_Operation{{
			Type: v1.Offer_Operation_LAUNCH.Enum(), Launch: &v1.Offer_Operation_Launch{TaskInfos: []*v1.TaskInfo{task}},
		}},
	}})
	for s.status().GetState() != v1.TaskState_TASK_RUNNING {
	}
}

// status waits for a status of the task and acknowledges it.
func (s *testScheduler) status() *v1.TaskStatus {
	s.t.Helper()
	status := s.next("status", func(e *v1scheduler.Event) bool { return e.GetUpdate() != nil }).GetUpdate().GetStatus()
	if mesos.Terminal(status.GetState()) && status.GetSource() != v1.TaskStatus_SOURCE_MASTER {
		s.t.Fatalf("the task ended by itself: %v", status)
	}
	if status.Uuid != nil {
		s.call(&v1scheduler.Call{Type: v1scheduler.Call_ACKNOWLEDGE.Enum(), Acknowledge: &v1scheduler.Call_Acknowledge{
			AgentId: status.AgentId, TaskId: status.TaskId, Uuid: status.Uuid,
		}})
	}
	return status
}

// A node that is removed takes its agent with it: what that runs is gone at once, and it is not let in
// again. CLU-6, CLU-21, OPR-56, SCH-270
func TestRemoveNodeWithAgent(t *testing.T) {
	a := startNode(t, masterConfig(t, "a"))
	for _, c := range []struct{ name, token string }{{"agent", api.TokenAgent}, {"master", api.TokenAny}} {
		t.Run(c.name, func(t *testing.T) {
			n, id := agentNode(t, a, c.name, c.token, true)
			s := newTestScheduler(t, a.leading.Load())
			s.run(id)
			if err := (clusterOffice{a}).ChangeNode(t.Context(), n.identity().NodeID, api.NodeRemove, api.DrainRequest{}); err != nil {
				t.Fatal(err)
			}
			if _, gone := a.member.Load().machine.View().Gone(string(id)); !gone {
				t.Error("the agent is not gone")
			}
			if states := raftStates(t, a); strings.Contains(states, n.name+":") {
				t.Errorf("nodes are %s", states)
			}
			if got := s.status(); got.GetState() != v1.TaskState_TASK_GONE_BY_OPERATOR || got.GetMessage() != "Agent has been marked gone" {
				t.Errorf("the task ends %v", got)
			}
			lost := s.next("FAILURE", func(e *v1scheduler.Event) bool { return e.GetFailure() != nil }).GetFailure()
			if lost.GetAgentId().GetValue() != string(id) || lost.ExecutorId != nil {
				t.Errorf("lost %v", lost)
			}
			select {
			case err := <-n.Failed():
				t.Logf("the removed node ends: %v", err)
			case <-time.After(patience):
				t.Error("the removed node does not end")
			}
		})
	}
}

// Nobody waits for the agent of a node that is removed while it is away. CLU-6, OPR-56
func TestRemoveNodeThatIsAway(t *testing.T) {
	a := startNode(t, masterConfig(t, "a"))
	n, id := agentNode(t, a, "away", api.TokenAgent, false)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	node := n.identity().NodeID
	if err := (clusterOffice{a}).ChangeNode(t.Context(), node, api.NodeRemove, api.DrainRequest{}); err != nil {
		t.Fatal(err)
	}
	state := a.member.Load().machine.View()
	if _, gone := state.Gone(string(id)); !gone {
		t.Error("the agent is not gone")
	}
	if _, known := state.Node(node); known {
		t.Error("the node is not removed")
	}
}

// The agent of a node that leaves has taken its own leave: it is forgotten, not gone. CLU-6, SCH-271
func TestLeaveWithAgent(t *testing.T) {
	a := startNode(t, masterConfig(t, "a"))
	n, id := agentNode(t, a, "leaver", api.TokenAgent, true)
	s := newTestScheduler(t, a.leading.Load())
	s.run(id)
	if err := (clusterOffice{n}).Leave(t.Context(), api.LeaveRequest{}); err != nil {
		t.Fatal(err)
	}
	state := a.member.Load().machine.View()
	if _, admitted := state.Agent(string(id)); admitted {
		t.Error("the agent is still known")
	}
	if _, gone := state.Gone(string(id)); gone {
		t.Error("the agent is marked gone")
	}
	if _, known := state.Node(n.identity().NodeID); known {
		t.Error("the node is not removed")
	}
	if got := s.status(); got.GetState() != v1.TaskState_TASK_LOST && got.GetState() != v1.TaskState_TASK_KILLED {
		t.Errorf("the task ends %v", got)
	}
}
