package registry

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	v1 "clusterd/node/mesos/v1"
)

func agentInfo(id, hostname string) *v1.AgentInfo {
	return &v1.AgentInfo{Id: agentID(id), Hostname: proto.String(hostname)}
}

func agentID(id string) *v1.AgentID { return &v1.AgentID{Value: proto.String(id)} }

func frameworkInfo(id, name string) *v1.FrameworkInfo {
	return &v1.FrameworkInfo{Id: frameworkID(id), User: proto.String("u"), Name: proto.String(name)}
}

func frameworkID(id string) *v1.FrameworkID { return &v1.FrameworkID{Value: proto.String(id)} }

// The operations on one agent, one framework and the master, as the table test tries them.

func electMaster(id string) *Op {
	return &Op{Op: &Op_ElectMaster{&ElectMaster{MasterId: proto.String(id), Time: proto.Int64(1)}}}
}

func admitAgent(id string) *Op {
	return &Op{Op: &Op_AdmitAgent{&AdmitAgent{Agent: agentInfo(id, "admitted"), Time: proto.Int64(10)}}}
}

func updateAgent(id string) *Op {
	return &Op{Op: &Op_UpdateAgent{&UpdateAgent{Agent: agentInfo(id, "updated")}}}
}

func markUnreachable(id string) *Op {
	return &Op{Op: &Op_MarkAgentUnreachable{&MarkAgentUnreachable{AgentId: agentID(id), Time: proto.Int64(20)}}}
}

func markReachable(id string) *Op {
	return &Op{Op: &Op_MarkAgentReachable{&MarkAgentReachable{Agent: agentInfo(id, "back")}}}
}

func markGone(id string) *Op {
	return &Op{Op: &Op_MarkAgentGone{&MarkAgentGone{AgentId: agentID(id), Time: proto.Int64(30)}}}
}

func removeAgent(id string) *Op {
	return &Op{Op: &Op_RemoveAgent{&RemoveAgent{AgentId: agentID(id)}}}
}

func admitFramework(id string) *Op {
	return &Op{Op: &Op_AdmitFramework{&AdmitFramework{Framework: frameworkInfo(id, "admitted"), Time: proto.Int64(40)}}}
}

func updateFramework(id string) *Op {
	return &Op{Op: &Op_UpdateFramework{&UpdateFramework{Framework: frameworkInfo(id, "updated"), LastSeen: proto.Int64(50)}}}
}

func removeFramework(id string) *Op {
	return &Op{Op: &Op_RemoveFramework{&RemoveFramework{FrameworkId: frameworkID(id), Time: proto.Int64(60), Cause: proto.String("torn down")}}}
}

// mustApply applies operations that fit.
func mustApply(t testing.TB, s *State, ops ...*Op) {
	t.Helper()
	for _, op := range ops {
		result, err := s.Apply(s.Index()+1, op)
		if err != nil || result.Refused != "" {
			t.Fatalf("apply %v: refused %q, error %v", op, result.Refused, err)
		}
	}
}

// where names the state of the agent, framework or master that a test looks at.
func where(s *State, kind, id string) string {
	var states []string
	add := func(ok bool, name string) {
		if ok {
			states = append(states, name)
		}
	}
	switch kind {
	case "agent":
		_, ok := s.Agent(id)
		add(ok, "admitted")
		_, ok = s.Unreachable(id)
		add(ok, "unreachable")
		_, ok = s.Gone(id)
		add(ok, "gone")
	case "framework":
		_, ok := s.Framework(id)
		add(ok, "admitted")
		_, ok = s.Removed(id)
		add(ok, "removed")
	case "master":
		add(s.MasterID() == id, "this")
		add(s.MasterID() != id && s.MasterID() != "", "another")
	}
	if len(states) == 0 {
		return "unknown"
	}
	return fmt.Sprint(states)[1 : len(fmt.Sprint(states))-1]
}

// The full table: each operation in each state. What has no row is refused and changes nothing.
// SCH-64 SCH-65 SCH-264 SCH-270
func TestTransitions(t *testing.T) {
	states := map[string]map[string][]*Op{
		"master": {
			"unknown": nil,
			"this":    {electMaster("x")},
			"another": {electMaster("y")},
		},
		"agent": {
			"unknown":     nil,
			"admitted":    {admitAgent("x")},
			"unreachable": {admitAgent("x"), markUnreachable("x")},
			"gone":        {admitAgent("x"), markGone("x")},
		},
		"framework": {
			"unknown":  nil,
			"admitted": {admitFramework("x")},
			"removed":  {admitFramework("x"), removeFramework("x")},
		},
	}
	ops := map[string]func(string) *Op{
		"ElectMaster": electMaster, "AdmitAgent": admitAgent, "UpdateAgent": updateAgent,
		"MarkAgentUnreachable": markUnreachable, "MarkAgentReachable": markReachable, "MarkAgentGone": markGone,
		"RemoveAgent": removeAgent, "AdmitFramework": admitFramework, "UpdateFramework": updateFramework,
		"RemoveFramework": removeFramework,
	}
	type row struct{ kind, op, from string }
	allowed := map[row]string{
		{"master", "ElectMaster", "unknown"}:           "this",
		{"master", "ElectMaster", "another"}:           "this",
		{"agent", "AdmitAgent", "unknown"}:             "admitted",
		{"agent", "UpdateAgent", "admitted"}:           "admitted",
		{"agent", "MarkAgentUnreachable", "admitted"}:  "unreachable",
		{"agent", "MarkAgentReachable", "unreachable"}: "admitted",
		{"agent", "MarkAgentGone", "admitted"}:         "gone",
		{"agent", "MarkAgentGone", "unreachable"}:      "gone",
		{"agent", "RemoveAgent", "admitted"}:           "unknown",
		{"agent", "RemoveAgent", "unreachable"}:        "unknown",
		{"framework", "AdmitFramework", "unknown"}:     "admitted",
		{"framework", "UpdateFramework", "admitted"}:   "admitted",
		{"framework", "RemoveFramework", "admitted"}:   "removed",
	}
	// An operation on another kind, or on another id, leaves this one as it is.
	kindOf := func(op string) string {
		switch op {
		case "ElectMaster":
			return "master"
		case "AdmitFramework", "UpdateFramework", "RemoveFramework":
			return "framework"
		}
		return "agent"
	}
	if n := (&Op{}).ProtoReflect().Descriptor().Oneofs().Get(0).Fields().Len(); n != len(ops) || n != len(since) {
		t.Fatalf("%d operations in the message, %d in this table, %d in since", n, len(ops), len(since))
	}
	used := 0
	for kind, froms := range states {
		for from, history := range froms {
			for name, op := range ops {
				t.Run(name+" "+kind+" "+from, func(t *testing.T) {
					s := New()
					mustApply(t, s, history...)
					mustApply(t, s, admitAgent("other"), admitFramework("other"))
					if got := where(s, kind, "x"); got != from {
						t.Fatalf("state is %s, want %s", got, from)
					}
					before := s.Clone()
					result, err := s.Apply(100, op("x"))
					if err != nil {
						t.Fatal(err)
					}
					to, ok := allowed[row{kind, name, from}]
					if ok {
						used++
					}
					if kind == kindOf(name) && ok != (result.Refused == "") {
						t.Fatalf("refused %q, allowed %v", result.Refused, ok)
					}
					if !ok {
						to = from
					}
					if got := where(s, kind, "x"); got != to {
						t.Errorf("state is %s, want %s", got, to)
					}
					if where(s, "agent", "other") != "admitted" || where(s, "framework", "other") != "admitted" {
						t.Error("another agent or framework changed")
					}
					if result.Refused != "" {
						before.index = s.index
						if before.Hash() != s.Hash() {
							t.Error("the refused operation changed something")
						}
					}
				})
			}
		}
	}
	if used != len(allowed) {
		t.Errorf("%d of %d rows were tried", used, len(allowed))
	}
}

// Empty ids are refused by every operation, and the reasons name the id.
func TestRefusals(t *testing.T) {
	tests := []struct {
		name    string
		history []*Op
		op      *Op
		want    string
	}{
		{"no master", nil, electMaster(""), "master id is empty"},
		{"same master", []*Op{electMaster("m")}, electMaster("m"), "master m is elected already"},
		{"no agent id", nil, admitAgent(""), "agent id is empty"},
		{"no agent id", nil, updateAgent(""), "agent id is empty"},
		{"no agent id", nil, markUnreachable(""), "agent id is empty"},
		{"no agent id", nil, markReachable(""), "agent id is empty"},
		{"no agent id", nil, markGone(""), "agent id is empty"},
		{"no agent id", nil, removeAgent(""), "agent id is empty"},
		{"again", []*Op{admitAgent("a")}, admitAgent("a"), "agent a is admitted already"},
		{"gone", []*Op{admitAgent("a"), markGone("a")}, admitAgent("a"), "agent a has been marked gone"},
		{"unreachable", []*Op{admitAgent("a"), markUnreachable("a")}, admitAgent("a"), "agent a is marked unreachable"},
		{"unknown", nil, markGone("a"), "agent a is unknown"},
		{"no framework id", nil, admitFramework(""), "framework id is empty"},
		{"no framework id", nil, updateFramework(""), "framework id is empty"},
		{"no framework id", nil, removeFramework(""), "framework id is empty"},
		{"again", []*Op{admitFramework("f")}, admitFramework("f"), "framework f is admitted already"},
		{"unknown", nil, removeFramework("f"), "framework f is unknown"},
		// SCH-64
		{"removed", []*Op{admitFramework("f"), removeFramework("f")}, admitFramework("f"), "Framework has been removed"},
		{"no content", nil, &Op{Op: &Op_AdmitAgent{}}, "agent id is empty"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := New()
			mustApply(t, s, test.history...)
			result, err := s.Apply(9, test.op)
			if err != nil || result.Refused != test.want {
				t.Errorf("refused %q, error %v; want %q", result.Refused, err, test.want)
			}
			if s.Index() != 9 {
				t.Errorf("index %d, want 9", s.Index())
			}
		})
	}
}

// What the registry remembers of agents. SCH-264 SCH-270
func TestAgentRecords(t *testing.T) {
	s := New()
	mustApply(t, s, admitAgent("b"), admitAgent("a"), admitAgent("c"))
	if got := agentIDs(s); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("agents %v", got)
	}
	mustApply(t, s, updateAgent("a"))
	if a, _ := s.Agent("a"); a.GetInfo().GetHostname() != "updated" || a.GetAdmitted() != 10 {
		t.Errorf("updated agent %v", a)
	}
	mustApply(t, s, markUnreachable("a"))
	if u, ok := s.Unreachable("a"); !ok || u.GetInfo().GetHostname() != "updated" || u.GetTime() != 20 || u.GetAdmitted() != 10 {
		t.Errorf("unreachable agent %v", u)
	}
	if u := s.Unreachables(); len(u) != 1 || u[0].GetInfo().GetId().GetValue() != "a" {
		t.Errorf("unreachable agents %v", u)
	}
	mustApply(t, s, markReachable("a"))
	if a, ok := s.Agent("a"); !ok || a.GetInfo().GetHostname() != "back" || a.GetAdmitted() != 10 {
		t.Errorf("agent that came back %v", a)
	}
	mustApply(t, s, markGone("a"), removeAgent("b"))
	if g, ok := s.Gone("a"); !ok || g.GetAgentId().GetValue() != "a" || g.GetTime() != 30 {
		t.Errorf("gone agent %v", g)
	}
	if g := s.GoneAgents(); len(g) != 1 || g[0].GetTime() != 30 {
		t.Errorf("gone agents %v", g)
	}
	if got, want := s.Counts(), (Counts{Agents: 1, Gone: 1}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

// What the registry remembers of frameworks. SCH-65 SCH-87
func TestFrameworkRecords(t *testing.T) {
	s := New()
	mustApply(t, s, admitFramework("f"), admitFramework("e"))
	if f, ok := s.Framework("f"); !ok || f.GetAdmitted() != 40 || f.GetLastSeen() != 40 || f.GetInfo().GetName() != "admitted" {
		t.Errorf("admitted framework %v", f)
	}
	mustApply(t, s, updateFramework("f"))
	quiet := updateFramework("f")
	quiet.GetUpdateFramework().LastSeen = nil
	mustApply(t, s, quiet)
	if f, ok := s.Framework("f"); !ok || f.GetAdmitted() != 40 || f.GetLastSeen() != 50 || f.GetInfo().GetName() != "updated" {
		t.Errorf("updated framework %v", f)
	}
	silent := removeFramework("e")
	silent.GetRemoveFramework().Cause = nil
	mustApply(t, s, removeFramework("f"), silent)
	if r, ok := s.Removed("f"); !ok || r.GetTime() != 60 || r.GetCause() != "torn down" || r.GetFrameworkId().GetValue() != "f" {
		t.Errorf("removed framework %v", r)
	}
	if r, ok := s.Removed("e"); !ok || r.Cause != nil {
		t.Errorf("framework removed without a cause %v", r)
	}
	all := s.RemovedFrameworks()
	if len(all) != 2 || all[0].GetFrameworkId().GetValue() != "e" || len(s.Frameworks()) != 0 {
		t.Errorf("removed %v, frameworks %v", all, s.Frameworks())
	}
}

func agentIDs(s *State) []string {
	var ids []string
	for _, a := range s.Agents() {
		ids = append(ids, a.GetInfo().GetId().GetValue())
	}
	return ids
}
