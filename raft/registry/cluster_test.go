package registry

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	v1 "clusterd/node/mesos/v1"
)

// with returns an operation after a change to it.
func with[T any](op *Op, get func(*Op) T, change func(T)) *Op {
	change(get(op))
	return op
}

// formed is a state with a cluster of the node "first".
func formed(t testing.TB) *State {
	t.Helper()
	s := New()
	mustApply(t, s, formCluster("x"))
	return s
}

// What is wrong with a cluster is said. CLU-2 CLU-5
func TestFormClusterRefusals(t *testing.T) {
	for _, test := range []struct {
		want   string
		change func(*FormCluster)
	}{
		{"cluster id is empty", func(o *FormCluster) { o.ClusterId = proto.String("") }},
		{"node id is empty", func(o *FormCluster) { o.Node = nil }},
		{"raft id of the first node is 0: 1 to 9223372036854775806 are allowed", func(o *FormCluster) { o.Node.RaftId = nil }},
		{"raft id of the first node is 9223372036854775807: 1 to 9223372036854775806 are allowed", func(o *FormCluster) { o.Node.RaftId = proto.Uint64(math.MaxInt64) }},
		{"node first cannot be a master: its role is agent", func(o *FormCluster) { o.Node.Role = Node_AGENT.Enum() }},
		{"node first cannot be a master: it joined with a token for agents", func(o *FormCluster) { o.Node.MayBeMaster = nil }},
		{"node first has no role: auto, master, agent and both are allowed", func(o *FormCluster) { o.Node.Role = nil }},
		{"certificate authority 1 has no certificate", func(o *FormCluster) { o.Authority = nil }},
		{"the first certificate authority has no key: it could not issue", func(o *FormCluster) { o.Authority.Key = nil }},
		{"number of masters is 0: 1, 3, 5 and 7 are allowed", func(o *FormCluster) { o.Settings = nil }},
		{"number of masters is 4: 1, 3, 5 and 7 are allowed", func(o *FormCluster) { o.Settings.Masters = proto.Uint32(4) }},
	} {
		s := New()
		result, err := s.Apply(1, with(formCluster("x"), (*Op).GetFormCluster, test.change))
		if err != nil || result.Refused != test.want {
			t.Errorf("refused %q, error %v; want %q", result.Refused, err, test.want)
		}
		if _, ok := s.Cluster(); ok || s.NodeCount() != 0 {
			t.Errorf("%s: a cluster was formed", test.want)
		}
	}
}

func TestClusterRefusals(t *testing.T) {
	settings := func(masters uint32) *Op {
		return &Op{Op: &Op_SetSettings{&SetSettings{Settings: &Settings{Masters: proto.Uint32(masters)}}}}
	}
	place := func(id string, where Node_Placement) *Op {
		return &Op{Op: &Op_SetPlacement{&SetPlacement{NodeId: proto.String(id), Placement: where.Enum()}}}
	}
	admit := func(change func(*AdmitNode)) *Op { return with(admitNode("n"), (*Op).GetAdmitNode, change) }
	token := func(change func(*AddToken)) *Op { return with(addToken("n"), (*Op).GetAddToken, change) }
	authorities := func(list ...*Authority) *Op {
		return &Op{Op: &Op_SetAuthorities{&SetAuthorities{Authorities: list}}}
	}
	agentOnly := admit(func(o *AdmitNode) { o.Node.Role = Node_AGENT.Enum() })
	untrusted := admit(func(o *AdmitNode) { o.Node.MayBeMaster = proto.Bool(false) })
	for _, test := range []struct {
		name    string
		history []*Op
		op      *Op
		want    string
	}{
		{"formed twice", nil, formCluster("y"), "cluster cluster of x is formed already"},
		{"settings", nil, settings(2), "number of masters is 2: 1, 3, 5 and 7 are allowed"},
		{"settings", nil, settings(9), "number of masters is 9: 1, 3, 5 and 7 are allowed"},
		{"no settings", nil, &Op{Op: &Op_SetSettings{}}, "number of masters is 0: 1, 3, 5 and 7 are allowed"},

		{"no id", nil, admitNode(""), "node id is empty"},
		{"no content", nil, &Op{Op: &Op_AdmitNode{}}, "node id is empty"},
		{"no name", nil, admit(func(o *AdmitNode) { o.Node.Name = nil }), "node n has no name"},
		{"no address", nil, admit(func(o *AdmitNode) { o.Node.PeerAddress = nil }), "node n has no peer address"},
		{"no role", nil, admit(func(o *AdmitNode) { o.Node.Role = Node_UNKNOWN_ROLE.Enum() }), "node n has no role: auto, master, agent and both are allowed"},
		{"no key", nil, admit(func(o *AdmitNode) { o.Node.KeyHash = nil }), "key hash of node n has 0 bytes, not 32"},
		{"raft id", nil, admit(func(o *AdmitNode) { o.Node.RaftId = proto.Uint64(7) }), "node n cannot bring raft id 7 along"},
		// CLU-22
		{"agents' token", nil, admit(func(o *AdmitNode) { o.Node.Role, o.Node.MayBeMaster = Node_MASTER.Enum(), nil }), "node n cannot be a master: it joined with a token for agents"},
		{"agents' token", nil, admit(func(o *AdmitNode) { o.Node.Role, o.Node.MayBeMaster = Node_BOTH.Enum(), nil }), "node n cannot be a master: it joined with a token for agents"},
		{"another key", []*Op{admitNode("n")}, admit(func(o *AdmitNode) { o.Node.KeyHash = hashOf("other") }), "node n is in the cluster already"},
		{"removed", []*Op{admitNode("n"), removeNode("n")}, admitNode("n"), "node n was removed from the cluster"},
		{"as an agent", []*Op{admitNode("n"), assignRaftID("n")}, agentOnly, "node n is raft member 2: demote it first"},

		{"unknown", nil, updateNode("n"), "node n is not in the cluster"},
		{"removed", []*Op{admitNode("n"), removeNode("n")}, updateNode("n"), "node n was removed from the cluster"},
		{"no address", []*Op{admitNode("n")}, with(updateNode("n"), (*Op).GetUpdateNode, func(o *UpdateNode) { o.Node.PeerAddress = nil }), "node n has no peer address"},
		{"unknown", nil, removeNode("n"), "node n is not in the cluster"},
		{"twice", []*Op{admitNode("n"), removeNode("n")}, removeNode("n"), "node n was removed from the cluster"},
		{"member", []*Op{admitNode("n"), assignRaftID("n")}, removeNode("n"), "node n is raft member 2: demote it first"},
		{"no id", nil, removeNode(""), "node id is empty"},
		{"not removed", nil, forgetRemovedNode("n"), "node n is not among the removed ones"},
		{"present", []*Op{admitNode("n")}, forgetRemovedNode("n"), "node n is in the cluster already"},

		{"unknown", nil, assignRaftID("n"), "node n is not in the cluster"},
		{"no content", nil, &Op{Op: &Op_AssignRaftId{}}, "node id is empty"},
		{"member", nil, assignRaftID("first"), "node first is raft member 1 already"},
		{"agent", []*Op{agentOnly}, assignRaftID("n"), "node n cannot be a master: its role is agent"},
		{"agents' token", []*Op{untrusted}, assignRaftID("n"), "node n cannot be a master: it joined with a token for agents"},
		{"no member", []*Op{admitNode("n")}, releaseRaftID("n"), "node n is no raft member"},
		{"unknown", nil, releaseRaftID("n"), "node n is not in the cluster"},
		{"agent preferred", []*Op{agentOnly}, place("n", Node_PREFERRED), "node n cannot be a master: its role is agent"},
		{"untrusted preferred", []*Op{untrusted}, place("n", Node_PREFERRED), "node n cannot be a master: it joined with a token for agents"},
		{"unknown", nil, place("n", Node_ANY), "node n is not in the cluster"},

		{"token for what", nil, token(func(o *AddToken) { o.Token.Role = nil }), "role of a token is unknown: any and agent are allowed"},
		{"token's hash", nil, token(func(o *AddToken) { o.Token.Hash = []byte("short") }), "hash of a token has 5 bytes, not 32"},
		{"token's end", nil, token(func(o *AddToken) { o.Time = proto.Int64(200) }), "the token has expired already"},
		{"token twice", []*Op{addToken("n")}, addToken("n"), "the token is known already"},
		{"rotate what", nil, &Op{Op: &Op_RotateTokens{&RotateTokens{}}}, "role of the tokens is unknown: any and agent are allowed"},

		{"no authority", nil, authorities(), "there must be a certificate authority"},
		{"no certificate", nil, authorities(authority("a"), &Authority{Key: []byte("k")}), "certificate authority 2 has no certificate"},
		{"no key", nil, authorities(&Authority{Certificate: []byte("c")}, authority("a")), "the first certificate authority has no key: it could not issue"},
		{"twice", nil, authorities(authority("a"), authority("b"), authority("a")), "certificate authority 3 is in the list twice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := formed(t)
			for _, op := range test.history {
				mustApply(t, s, proto.CloneOf(op))
			}
			before := s.Clone()
			result, err := s.Apply(99, proto.CloneOf(test.op))
			if err != nil || result.Refused != test.want {
				t.Fatalf("refused %q, error %v; want %q", result.Refused, err, test.want)
			}
			before.index = s.index
			if before.Hash() != s.Hash() {
				t.Error("the refused operation changed something")
			}
		})
	}
	// Without a cluster there is nothing to change.
	for name, tried := range allOps {
		if slices.Contains([]string{"cluster", "node", "token"}, tried.kind) && name != "FormCluster" {
			if result, err := New().Apply(1, tried.op("x")); err != nil || result.Refused != "there is no cluster yet" {
				t.Errorf("%s: refused %q, error %v", name, result.Refused, err)
			}
		}
	}
}

// What the registry remembers of a cluster. CLU-5 CLU-20 CLU-21
func TestClusterRecords(t *testing.T) {
	s := formed(t)
	c, ok := s.Cluster()
	if !ok || c.GetId() != "cluster of x" || c.GetFormed() != 80 || c.GetSettings().GetMasters() != 3 || c.GetNextRaftId() != 2 ||
		len(c.GetAuthorities()) != 1 || string(c.GetAuthorities()[0].GetKey()) != "key of first" {
		t.Errorf("cluster %v", c)
	}
	first, ok := s.NodeByRaftID(1)
	if !ok || first.GetId() != "first" || first.GetAdmitted() != 80 {
		t.Errorf("first node %v", first)
	}
	old := s.Clone()
	mustApply(t, s, setSettings(""), setAuthorities("second"))
	c, _ = s.Cluster()
	if c.GetSettings().GetMasters() != 5 || len(c.GetAuthorities()) != 2 || string(c.GetAuthorities()[0].GetCertificate()) != "certificate of second" ||
		c.GetAuthorities()[1].Key != nil || c.GetNextRaftId() != 2 || c.GetId() != "cluster of x" {
		t.Errorf("changed cluster %v", c)
	}
	if c, _ := old.Cluster(); c.GetSettings().GetMasters() != 3 || len(c.GetAuthorities()) != 1 {
		t.Errorf("an older version changed: %v", c)
	}
}

// What the registry remembers of nodes: what they say of themselves changes, the rest does not, and a
// join whose answer was lost may be repeated. CLU-3 CLU-6 CLU-21 CLU-36
func TestNodeRecords(t *testing.T) {
	s := formed(t)
	mustApply(t, s, admitNode("n"), setPlacement("n"))
	n, _ := s.Node("n")
	if n.GetAdmitted() != 90 || n.GetPlacement() != Node_BARRED || n.GetRaftId() != 0 || !n.MayLead() {
		t.Errorf("admitted node %v", n)
	}
	mustApply(t, s, assignRaftID("n"))
	says := updateNode("n")
	says.GetUpdateNode().Node = &Node{
		Id: proto.String("n"), Name: proto.String("updated"), Role: Node_AGENT.Enum(), PeerAddress: proto.String("10.0.0.9:1"), MasterAddress: proto.String("10.0.0.9:2"),
		AgentAddress: proto.String("10.0.0.9:3"), Version: proto.String("0.2.0"), MayBeMaster: proto.Bool(false), KeyHash: hashOf("other"),
		RaftId: proto.Uint64(9), Placement: Node_ANY.Enum(), Admitted: proto.Int64(5), AgentId: agentID("a"),
		Attributes: []*v1.Attribute{{Name: proto.String("rack"), Type: v1.Value_TEXT.Enum(), Text: &v1.Value_Text{Value: proto.String("r1")}}},
	}
	mustApply(t, s, says)
	want := proto.CloneOf(says.GetUpdateNode().Node)
	want.Role, want.MayBeMaster, want.KeyHash = Node_AUTO.Enum(), proto.Bool(true), hashOf("n")
	want.RaftId, want.Placement, want.Admitted = proto.Uint64(2), Node_BARRED.Enum(), proto.Int64(90)
	if n, _ = s.Node("n"); !proto.Equal(n, want) {
		t.Errorf("updated node %v, want %v", n, want)
	}
	// It joins again with the same key.
	again := admitNode("n")
	again.GetAdmitNode().Time = proto.Int64(99)
	mustApply(t, s, again)
	want = node("n")
	want.RaftId, want.Placement, want.Admitted, want.AgentId = proto.Uint64(2), Node_BARRED.Enum(), proto.Int64(90), agentID("a")
	if n, _ = s.Node("n"); !proto.Equal(n, want) {
		t.Errorf("node admitted again %v, want %v", n, want)
	}
	mustApply(t, s, releaseRaftID("n"), removeNode("n"))
	r, ok := s.RemovedNode("n")
	if _, still := s.Node("n"); still || !ok || r.GetNodeId() != "n" || r.GetTime() != 100 || r.GetUntil() != 1000 {
		t.Errorf("removed node %v", r)
	}
	if all := s.RemovedNodes(); len(all) != 1 || all[0] != r {
		t.Errorf("removed nodes %v", all)
	}
	mustApply(t, s, forgetRemovedNode("n"), admitNode("n"))
	var ids []string
	for _, n := range s.Nodes() {
		ids = append(ids, n.GetId())
	}
	if !slices.Equal(ids, []string{"first", "n"}) || s.NodeCount() != 2 {
		t.Errorf("nodes %v", ids)
	}
}

// A preferred node that joins again as an agent is preferred no longer.
func TestAdmitAgainAsAgent(t *testing.T) {
	s := formed(t)
	prefer := setPlacement("n")
	prefer.GetSetPlacement().Placement = Node_PREFERRED.Enum()
	agent := admitNode("n")
	agent.GetAdmitNode().Node.Role = Node_AGENT.Enum()
	mustApply(t, s, admitNode("n"), prefer)
	if n, _ := s.Node("n"); n.GetPlacement() != Node_PREFERRED {
		t.Errorf("promoted node %v", n)
	}
	mustApply(t, s, agent)
	if n, _ := s.Node("n"); n.GetPlacement() != Node_ANY || n.MayLead() {
		t.Errorf("node that became an agent %v", n)
	}
}

// Who may be a master. CLU-4 CLU-22
func TestMayLead(t *testing.T) {
	for _, test := range []struct {
		role    Node_Role
		allowed bool
		want    bool
	}{
		{Node_AUTO, true, true}, {Node_MASTER, true, true}, {Node_BOTH, true, true}, {Node_AGENT, true, false}, {Node_UNKNOWN_ROLE, true, false},
		{Node_AUTO, false, false}, {Node_MASTER, false, false}, {Node_BOTH, false, false}, {Node_AGENT, false, false},
	} {
		n := &Node{Role: test.role.Enum(), MayBeMaster: proto.Bool(test.allowed)}
		if n.MayLead() != test.want {
			t.Errorf("%v with %v may lead: %v", test.role, test.allowed, n.MayLead())
		}
	}
	if (*Node)(nil).MayLead() {
		t.Error("no node may lead")
	}
}

// A raft id is given out once, whatever becomes of its node. CLU-37
func TestRaftIDsAreNeverReused(t *testing.T) {
	s := formed(t)
	seen := map[uint64]bool{1: true}
	for i := range 50 {
		id := fmt.Sprint("node-", i%7)
		if _, ok := s.Node(id); !ok {
			mustApply(t, s, admitNode(id))
		}
		result, err := s.Apply(s.Index()+1, assignRaftID(id))
		if err != nil || result.Refused != "" || seen[result.RaftID] || result.RaftID == 0 {
			t.Fatalf("round %d: %+v, %v", i, result, err)
		}
		seen[result.RaftID] = true
		if n, ok := s.NodeByRaftID(result.RaftID); !ok || n.GetId() != id || n.GetRaftId() != result.RaftID {
			t.Fatalf("round %d: raft id %d is of %v", i, result.RaftID, n)
		}
		mustApply(t, s, releaseRaftID(id))
		if n, ok := s.NodeByRaftID(result.RaftID); ok {
			t.Fatalf("round %d: released raft id %d is of %v", i, result.RaftID, n)
		}
		if i%3 == 0 {
			mustApply(t, s, removeNode(id), forgetRemovedNode(id))
		}
	}
	if _, ok := s.NodeByRaftID(0); ok {
		t.Error("raft id 0 is of a node")
	}
	// When there are none left, that is said.
	last := formCluster("y")
	last.GetFormCluster().Node.RaftId = proto.Uint64(math.MaxInt64 - 1)
	s = New()
	mustApply(t, s, last, admitNode("a"), admitNode("b"), assignRaftID("a"))
	if result, err := s.Apply(9, assignRaftID("b")); err != nil || result.Refused != "all raft ids are used up" {
		t.Errorf("refused %q, %v", result.Refused, err)
	}
}

// Tokens are kept until they expire or are rotated, in the order of their hashes, and not without
// bounds. CLU-7 CLU-22 CLU-23
func TestTokens(t *testing.T) {
	add := func(id string, role Token_Role, time, expires int64) *Op {
		return &Op{Op: &Op_AddToken{&AddToken{Token: &Token{Role: role.Enum(), Hash: hashOf(id), Expires: proto.Int64(expires)}, Time: proto.Int64(time)}}}
	}
	s := formed(t)
	mustApply(t, s, add("a", Token_ANY, 10, 20), add("b", Token_AGENT, 10, 30), add("c", Token_ANY, 19, 40))
	if n := len(s.Tokens()); n != 3 {
		t.Fatalf("%d tokens", n)
	}
	// The one that ends now is dropped.
	mustApply(t, s, add("d", Token_AGENT, 20, 25))
	tokens := s.Tokens()
	if len(tokens) != 3 || !slices.IsSortedFunc(tokens, func(a, b *Token) int { return slices.Compare(a.GetHash(), b.GetHash()) }) {
		t.Errorf("tokens %v", tokens)
	}
	for _, token := range tokens {
		if string(token.GetHash()) == string(hashOf("a")) {
			t.Error("an expired token is kept")
		}
	}
	rotate := func(role Token_Role) *Op { return &Op{Op: &Op_RotateTokens{&RotateTokens{Role: role.Enum()}}} }
	mustApply(t, s, rotate(Token_AGENT), rotate(Token_AGENT))
	c, _ := s.Cluster()
	if tokens := s.Tokens(); len(tokens) != 1 || string(tokens[0].GetHash()) != string(hashOf("c")) || c.GetAgentGeneration() != 2 || c.GetAnyGeneration() != 0 {
		t.Errorf("tokens %v of %v", tokens, c)
	}
	mustApply(t, s, rotate(Token_ANY))
	if c, _ := s.Cluster(); len(s.Tokens()) != 0 || c.GetAgentGeneration() != 2 || c.GetAnyGeneration() != 1 {
		t.Errorf("tokens %v of %v", s.Tokens(), c)
	}
	for i := range maxTokens {
		mustApply(t, s, add(fmt.Sprint(i), Token_ANY, 50, 100+int64(i)))
	}
	if result, err := s.Apply(9, add("more", Token_ANY, 50, 100)); err != nil || result.Refused != "1000 tokens are valid, which is the most: wait until one expires, or rotate them" {
		t.Errorf("refused %q, %v", result.Refused, err)
	}
	mustApply(t, s, add("more", Token_ANY, 100, 200))
	if n := len(s.Tokens()); n != maxTokens {
		t.Errorf("%d tokens", n)
	}
}

// What the registry remembers of drains. OPR-57 OPR-58 OPR-59
func TestDrainRecords(t *testing.T) {
	s := New()
	mustApply(t, s, admitAgent("a"), admitAgent("b"), deactivate("b"), deactivate("a"))
	if d, ok := s.Drain("a"); !ok || d.Config != nil || d.Time != nil || d.GetAgentId().GetValue() != "a" {
		t.Errorf("deactivated agent %v", d)
	}
	mustApply(t, s, drainAgent("a"))
	if d, ok := s.Drain("a"); !ok || !d.GetConfig().GetMarkGone() || d.GetTime() != 70 || d.GetDrained() {
		t.Errorf("draining agent %v", d)
	}
	// A drain cannot be cancelled, but its config can be replaced.
	anew := drainAgent("a")
	anew.GetDrainAgent().Config = &v1.DrainConfig{MaxGracePeriod: &v1.DurationInfo{Nanoseconds: proto.Int64(5)}}
	mustApply(t, s, anew, agentDrained("a"))
	if d, ok := s.Drain("a"); !ok || d.GetConfig().GetMarkGone() || d.GetConfig().GetMaxGracePeriod().GetNanoseconds() != 5 || !d.GetDrained() || d.GetTime() != 70 {
		t.Errorf("drained agent %v", d)
	}
	var ids []string
	for _, d := range s.Drains() {
		ids = append(ids, d.GetAgentId().GetValue())
	}
	if !slices.Equal(ids, []string{"a", "b"}) {
		t.Errorf("drains of %v", ids)
	}
	mustApply(t, s, reactivate("a"), reactivate("b"))
	if n := len(s.Drains()); n != 0 {
		t.Errorf("%d drains", n)
	}
	for _, test := range []struct {
		history []*Op
		op      *Op
		want    string
	}{
		{nil, drainAgent(""), "agent id is empty"},
		{nil, drainAgent("x"), "agent x is unknown"},
		{nil, deactivate("x"), "agent x is unknown"},
		{nil, reactivate("x"), "agent x is unknown"},
		{nil, agentDrained("x"), "agent x is unknown"},
		{[]*Op{markGone("a")}, drainAgent("a"), "agent a has been marked gone"},
		{nil, reactivate("a"), "agent a is not deactivated"},
		{nil, agentDrained("a"), "agent a is not being drained"},
		{[]*Op{deactivate("a")}, agentDrained("a"), "agent a is not being drained"},
		{[]*Op{drainAgent("a")}, reactivate("a"), "agent a is still being drained"},
		{[]*Op{drainAgent("a"), agentDrained("a")}, agentDrained("a"), "agent a is drained already"},
	} {
		c := s.Clone()
		mustApply(t, c, test.history...)
		if result, err := c.Apply(99, test.op); err != nil || result.Refused != test.want {
			t.Errorf("refused %q, %v; want %q", result.Refused, err, test.want)
		}
	}
}
