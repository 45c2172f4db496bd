package registry

import (
	"slices"
	"testing"
)

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
