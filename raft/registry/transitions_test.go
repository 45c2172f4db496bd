package registry

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// where names the state of the agent, framework, node, token, cluster or master that a test looks at.
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
	case "drain":
		drain, ok := s.Drain(id)
		states = append(states, where(s, "agent", id))
		add(!ok, "active")
		add(ok && drain.GetConfig() == nil, "deactivated")
		add(ok && drain.GetConfig() != nil && !drain.GetDrained(), "draining")
		add(ok && drain.GetDrained(), "drained")
	case "framework":
		_, ok := s.Framework(id)
		add(ok, "admitted")
		_, ok = s.Removed(id)
		add(ok, "removed")
	case "master":
		add(s.MasterID() == id, "this")
		add(s.MasterID() != id && s.MasterID() != "", "another")
	case "cluster":
		_, ok := s.Cluster()
		add(ok, "formed")
	case "node":
		n, ok := s.Node(id)
		add(ok && n.GetRaftId() == 0, "standby")
		add(ok && n.GetRaftId() != 0, "member")
		_, ok = s.RemovedNode(id)
		add(ok, "removed")
		_, ok = s.Cluster()
		add(!ok, "nowhere")
	case "token":
		for _, token := range s.Tokens() {
			add(bytes.Equal(token.GetHash(), hashOf(id)), "valid")
		}
		_, ok := s.Cluster()
		add(!ok, "nowhere")
	}
	if len(states) == 0 {
		return "unknown"
	}
	return strings.Join(states, " ")
}

// allOps are the operations as the table test tries them, with the kind of thing that each is about.
var allOps = map[string]struct {
	kind string
	op   func(string) *Op
}{
	"ElectMaster": {"master", electMaster},
	"AdmitAgent":  {"agent", admitAgent}, "UpdateAgent": {"agent", updateAgent}, "MarkAgentUnreachable": {"agent", markUnreachable},
	"MarkAgentReachable": {"agent", markReachable}, "MarkAgentGone": {"agent", markGone}, "RemoveAgent": {"agent", removeAgent},
	"AdmitFramework": {"framework", admitFramework}, "UpdateFramework": {"framework", updateFramework}, "RemoveFramework": {"framework", removeFramework},
	"FormCluster": {"cluster", formCluster}, "SetSettings": {"cluster", setSettings}, "SetAuthorities": {"cluster", setAuthorities},
	"AdmitNode": {"node", admitNode}, "UpdateNode": {"node", updateNode}, "RemoveNode": {"node", removeNode},
	"AssignRaftID": {"node", assignRaftID}, "ReleaseRaftID": {"node", releaseRaftID}, "SetPlacement": {"node", setPlacement},
	"ForgetRemovedNode": {"node", forgetRemovedNode},
	"AddToken":          {"token", addToken}, "RotateTokens": {"token", rotateTokens},
	"DrainAgent": {"drain", drainAgent}, "AgentDrained": {"drain", agentDrained},
	"DeactivateAgent": {"drain", deactivate}, "ReactivateAgent": {"drain", reactivate},
}

// allStates are ways to every state of each kind.
var allStates = map[string]map[string][]*Op{
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
	"drain": {
		"unknown active":          nil,
		"gone active":             {admitAgent("x"), drainAgent("x"), markGone("x")},
		"admitted active":         {admitAgent("x")},
		"admitted deactivated":    {admitAgent("x"), deactivate("x")},
		"admitted draining":       {admitAgent("x"), drainAgent("x")},
		"admitted drained":        {admitAgent("x"), drainAgent("x"), agentDrained("x")},
		"unreachable active":      {admitAgent("x"), markUnreachable("x")},
		"unreachable deactivated": {admitAgent("x"), deactivate("x"), markUnreachable("x")},
		"unreachable draining":    {admitAgent("x"), markUnreachable("x"), drainAgent("x")},
		"unreachable drained":     {admitAgent("x"), drainAgent("x"), agentDrained("x"), markUnreachable("x")},
	},
	"framework": {
		"unknown":  nil,
		"admitted": {admitFramework("x")},
		"removed":  {admitFramework("x"), removeFramework("x")},
	},
	"cluster": {
		"unknown": nil,
		"formed":  {formCluster("y")},
	},
	"node": {
		"nowhere": nil,
		"unknown": {formCluster("y")},
		"standby": {formCluster("y"), admitNode("x")},
		"member":  {formCluster("y"), admitNode("x"), assignRaftID("x")},
		"removed": {formCluster("y"), admitNode("x"), removeNode("x")},
	},
	"token": {
		"nowhere": nil,
		"unknown": {formCluster("y")},
		"valid":   {formCluster("y"), addToken("x")},
	},
}

// row is one operation in one state.
type row struct{ kind, op, from string }

// allowed is what an operation makes of a state. What is not here is refused.
var allowed = map[row]string{
	{"master", "ElectMaster", "unknown"}: "this",
	{"master", "ElectMaster", "another"}: "this",

	{"agent", "AdmitAgent", "unknown"}:             "admitted",
	{"agent", "UpdateAgent", "admitted"}:           "admitted",
	{"agent", "MarkAgentUnreachable", "admitted"}:  "unreachable",
	{"agent", "MarkAgentReachable", "unreachable"}: "admitted",
	{"agent", "MarkAgentGone", "admitted"}:         "gone",
	{"agent", "MarkAgentGone", "unreachable"}:      "gone",
	{"agent", "RemoveAgent", "admitted"}:           "unknown",
	{"agent", "RemoveAgent", "unreachable"}:        "unknown",

	{"framework", "AdmitFramework", "unknown"}:   "admitted",
	{"framework", "UpdateFramework", "admitted"}: "admitted",
	{"framework", "RemoveFramework", "admitted"}: "removed",

	{"cluster", "FormCluster", "unknown"}:   "formed",
	{"cluster", "SetSettings", "formed"}:    "formed",
	{"cluster", "SetAuthorities", "formed"}: "formed",

	{"node", "FormCluster", "nowhere"}:       "unknown",
	{"node", "AdmitNode", "unknown"}:         "standby",
	{"node", "AdmitNode", "standby"}:         "standby", // with the same key
	{"node", "AdmitNode", "member"}:          "member",  // likewise
	{"node", "UpdateNode", "standby"}:        "standby",
	{"node", "UpdateNode", "member"}:         "member",
	{"node", "RemoveNode", "standby"}:        "removed",
	{"node", "AssignRaftID", "standby"}:      "member",
	{"node", "ReleaseRaftID", "member"}:      "standby",
	{"node", "SetPlacement", "standby"}:      "standby",
	{"node", "SetPlacement", "member"}:       "member",
	{"node", "ForgetRemovedNode", "removed"}: "unknown",

	{"token", "FormCluster", "nowhere"}:  "unknown",
	{"token", "AddToken", "unknown"}:     "valid",
	{"token", "RotateTokens", "unknown"}: "unknown",
	{"token", "RotateTokens", "valid"}:   "unknown",

	{"drain", "AdmitAgent", "unknown active"}: "admitted active",

	{"drain", "DrainAgent", "admitted active"}:      "admitted draining",
	{"drain", "DrainAgent", "admitted deactivated"}: "admitted draining",
	{"drain", "DrainAgent", "admitted draining"}:    "admitted draining",
	{"drain", "DrainAgent", "admitted drained"}:     "admitted draining",
	{"drain", "AgentDrained", "admitted draining"}:  "admitted drained",

	{"drain", "DeactivateAgent", "admitted active"}:      "admitted deactivated",
	{"drain", "DeactivateAgent", "admitted deactivated"}: "admitted deactivated",
	{"drain", "DeactivateAgent", "admitted draining"}:    "admitted draining",
	{"drain", "DeactivateAgent", "admitted drained"}:     "admitted drained",
	{"drain", "ReactivateAgent", "admitted deactivated"}: "admitted active",
	{"drain", "ReactivateAgent", "admitted drained"}:     "admitted active",

	{"drain", "DrainAgent", "unreachable active"}:           "unreachable draining",
	{"drain", "DrainAgent", "unreachable deactivated"}:      "unreachable draining",
	{"drain", "DrainAgent", "unreachable draining"}:         "unreachable draining",
	{"drain", "DrainAgent", "unreachable drained"}:          "unreachable draining",
	{"drain", "AgentDrained", "unreachable draining"}:       "unreachable drained",
	{"drain", "DeactivateAgent", "unreachable active"}:      "unreachable deactivated",
	{"drain", "DeactivateAgent", "unreachable deactivated"}: "unreachable deactivated",
	{"drain", "DeactivateAgent", "unreachable draining"}:    "unreachable draining",
	{"drain", "DeactivateAgent", "unreachable drained"}:     "unreachable drained",
	{"drain", "ReactivateAgent", "unreachable deactivated"}: "unreachable active",
	{"drain", "ReactivateAgent", "unreachable drained"}:     "unreachable active",

	// An agent that comes and goes keeps its record; one that is lost for good loses it.
	{"drain", "MarkAgentUnreachable", "admitted active"}:       "unreachable active",
	{"drain", "MarkAgentUnreachable", "admitted deactivated"}:  "unreachable deactivated",
	{"drain", "MarkAgentUnreachable", "admitted draining"}:     "unreachable draining",
	{"drain", "MarkAgentUnreachable", "admitted drained"}:      "unreachable drained",
	{"drain", "MarkAgentReachable", "unreachable active"}:      "admitted active",
	{"drain", "MarkAgentReachable", "unreachable deactivated"}: "admitted deactivated",
	{"drain", "MarkAgentReachable", "unreachable draining"}:    "admitted draining",
	{"drain", "MarkAgentReachable", "unreachable drained"}:     "admitted drained",
	{"drain", "MarkAgentGone", "admitted active"}:              "gone active",
	{"drain", "MarkAgentGone", "admitted deactivated"}:         "gone active",
	{"drain", "MarkAgentGone", "admitted draining"}:            "gone active",
	{"drain", "MarkAgentGone", "admitted drained"}:             "gone active",
	{"drain", "MarkAgentGone", "unreachable active"}:           "gone active",
	{"drain", "MarkAgentGone", "unreachable deactivated"}:      "gone active",
	{"drain", "MarkAgentGone", "unreachable draining"}:         "gone active",
	{"drain", "MarkAgentGone", "unreachable drained"}:          "gone active",
	{"drain", "RemoveAgent", "admitted active"}:                "unknown active",
	{"drain", "RemoveAgent", "admitted deactivated"}:           "unknown active",
	{"drain", "RemoveAgent", "admitted draining"}:              "unknown active",
	{"drain", "RemoveAgent", "admitted drained"}:               "unknown active",
	{"drain", "RemoveAgent", "unreachable active"}:             "unknown active",
	{"drain", "RemoveAgent", "unreachable deactivated"}:        "unknown active",
	{"drain", "RemoveAgent", "unreachable draining"}:           "unknown active",
	{"drain", "RemoveAgent", "unreachable drained"}:            "unknown active",
}

// The full table: each operation in each state. What has no row is refused and changes nothing.
// SCH-64 SCH-65 SCH-264 SCH-270 OPR-57 OPR-58 OPR-59 CLU-6 CLU-21
func TestTransitions(t *testing.T) {
	if n := (&Op{}).ProtoReflect().Descriptor().Oneofs().Get(0).Fields().Len(); n != len(allOps) || n != len(since) {
		t.Fatalf("%d operations in the message, %d in this table, %d in since", n, len(allOps), len(since))
	}
	used := make(map[row]bool)
	for kind, froms := range allStates {
		for from, history := range froms {
			for name := range allOps {
				t.Run(name+" "+kind+" "+from, func(t *testing.T) {
					r := row{kind, name, from}
					tryRow(t, r, history)
					if _, ok := allowed[r]; ok {
						used[r] = true
					}
				})
			}
		}
	}
	for r := range allowed {
		if !used[r] {
			t.Errorf("row %v was not tried", r)
		}
	}
}

func tryRow(t *testing.T, r row, history []*Op) {
	s := New()
	mustApply(t, s, admitAgent("other"), admitFramework("other"), drainAgent("other"))
	for _, op := range history {
		mustApply(t, s, proto.CloneOf(op))
	}
	_, formed := s.Cluster()
	if formed {
		token := addToken("other")
		token.GetAddToken().Token.Role = Token_AGENT.Enum()
		mustApply(t, s, admitNode("other"), assignRaftID("other"), token)
	}
	if got := where(s, r.kind, "x"); got != r.from {
		t.Fatalf("state is %s, want %s", got, r.from)
	}
	before := s.Clone()
	tried := allOps[r.op]
	result, err := s.Apply(100, tried.op("x"))
	if err != nil {
		t.Fatal(err)
	}
	to, ok := allowed[r]
	// Whether it is refused is up to the kind that it is about.
	if r.kind == tried.kind && ok != (result.Refused == "") {
		t.Fatalf("refused %q, allowed %v", result.Refused, ok)
	}
	if !ok {
		to = r.from
	}
	if got := where(s, r.kind, "x"); got != to {
		t.Errorf("state is %s, want %s", got, to)
	}
	if where(s, "agent", "other") != "admitted" || where(s, "framework", "other") != "admitted" || where(s, "drain", "other") != "admitted draining" ||
		formed && (where(s, "node", "other") != "member" || where(s, "token", "other") != "valid") {
		t.Error("another agent, framework, node or token changed")
	}
	if result.Refused != "" {
		before.index = s.index
		if before.Hash() != s.Hash() {
			t.Error("the refused operation changed something")
		}
		if result.RaftID != 0 {
			t.Errorf("a refused operation gave raft id %d", result.RaftID)
		}
	}
	if again, err := Read(bytes.NewReader(written(t, s))); err != nil || again.Hash() != s.Hash() {
		t.Errorf("a snapshot does not restore it: %v", err)
	}
}
