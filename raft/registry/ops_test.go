package registry

import (
	"crypto/sha256"
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

func drainAgent(id string) *Op {
	return &Op{Op: &Op_DrainAgent{&DrainAgent{AgentId: agentID(id), Config: &v1.DrainConfig{MarkGone: proto.Bool(true)}, Time: proto.Int64(70)}}}
}

func agentDrained(id string) *Op {
	return &Op{Op: &Op_AgentDrained{&AgentDrained{AgentId: agentID(id)}}}
}

func deactivate(id string) *Op {
	return &Op{Op: &Op_DeactivateAgent{&DeactivateAgent{AgentId: agentID(id)}}}
}

func reactivate(id string) *Op {
	return &Op{Op: &Op_ReactivateAgent{&ReactivateAgent{AgentId: agentID(id)}}}
}

// The operations on the cluster, and on one node and one token of it.

// hashOf is the hash of the key or the token that belongs to an id.
func hashOf(id string) []byte {
	h := sha256.Sum256([]byte(id))
	return h[:]
}

func node(id string) *Node {
	return &Node{
		Id: proto.String(id), Name: proto.String("name of " + id), Role: Node_AUTO.Enum(), PeerAddress: proto.String("10.0.0.1:5055"),
		MasterAddress: proto.String("10.0.0.1:5050"), Version: proto.String("0.1.0"), MayBeMaster: proto.Bool(true), KeyHash: hashOf(id),
	}
}

func authority(name string) *Authority {
	return &Authority{Certificate: []byte("certificate of " + name), Key: []byte("key of " + name)}
}

func formCluster(id string) *Op {
	first := node("first")
	first.RaftId = proto.Uint64(1)
	return &Op{Op: &Op_FormCluster{&FormCluster{
		ClusterId: proto.String("cluster of " + id), Time: proto.Int64(80), Node: first, Authority: authority("first"),
		Settings: &Settings{Masters: proto.Uint32(3)},
	}}}
}

func admitNode(id string) *Op {
	return &Op{Op: &Op_AdmitNode{&AdmitNode{Node: node(id), Time: proto.Int64(90)}}}
}

func updateNode(id string) *Op {
	n := node(id)
	n.Name, n.PeerAddress = proto.String("updated"), proto.String("10.0.0.2:5055")
	return &Op{Op: &Op_UpdateNode{&UpdateNode{Node: n}}}
}

func removeNode(id string) *Op {
	return &Op{Op: &Op_RemoveNode{&RemoveNode{NodeId: proto.String(id), Time: proto.Int64(100), Until: proto.Int64(1000)}}}
}

func assignRaftID(id string) *Op {
	return &Op{Op: &Op_AssignRaftId{&AssignRaftID{NodeId: proto.String(id)}}}
}

func releaseRaftID(id string) *Op {
	return &Op{Op: &Op_ReleaseRaftId{&ReleaseRaftID{NodeId: proto.String(id)}}}
}

func setPlacement(id string) *Op {
	return &Op{Op: &Op_SetPlacement{&SetPlacement{NodeId: proto.String(id), Placement: Node_BARRED.Enum()}}}
}

func forgetRemovedNode(id string) *Op {
	return &Op{Op: &Op_ForgetRemovedNode{&ForgetRemovedNode{NodeId: proto.String(id)}}}
}

func setSettings(string) *Op {
	return &Op{Op: &Op_SetSettings{&SetSettings{Settings: &Settings{Masters: proto.Uint32(5)}}}}
}

func setAuthorities(id string) *Op {
	old := authority("first")
	old.Key = nil
	return &Op{Op: &Op_SetAuthorities{&SetAuthorities{Authorities: []*Authority{authority(id), old}}}}
}

func addToken(id string) *Op {
	return &Op{Op: &Op_AddToken{&AddToken{
		Token: &Token{Role: Token_ANY.Enum(), Hash: hashOf(id), Expires: proto.Int64(200)}, Time: proto.Int64(110),
	}}}
}

func rotateTokens(string) *Op {
	return &Op{Op: &Op_RotateTokens{&RotateTokens{Role: Token_ANY.Enum()}}}
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
