package registry_test

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	v1 "clusterd/node/mesos/v1"
	"clusterd/raft/registry"
)

func ExampleState_Apply() {
	id := &v1.FrameworkID{Value: proto.String("8e4d-0000")}
	admit := &registry.Op{Op: &registry.Op_AdmitFramework{AdmitFramework: &registry.AdmitFramework{
		Framework: &v1.FrameworkInfo{Id: id, Name: proto.String("primes"), User: proto.String("ann")}, Time: proto.Int64(1),
	}}}
	remove := &registry.Op{Op: &registry.Op_RemoveFramework{RemoveFramework: &registry.RemoveFramework{
		FrameworkId: id, Time: proto.Int64(2), Cause: proto.String("torn down"),
	}}}
	s := registry.New()
	var before *registry.State
	for i, op := range []*registry.Op{admit, remove, admit} {
		before = s.Clone()
		result, err := s.Apply(uint64(i+1), op)
		fmt.Printf("%q %v\n", result.Refused, err)
	}
	fmt.Println(before.Counts(), s.Counts(), before.Index(), s.Index())
	// Output:
	// "" <nil>
	// "" <nil>
	// "Framework has been removed" <nil>
	// {0 0 0 0 1} {0 0 0 0 1} 2 3
}

// The first node makes the cluster; another one joins and becomes a raft member.
func ExampleState_NodeByRaftID() {
	node := func(id string, raftID uint64) *registry.Node {
		return &registry.Node{
			Id: &id, Name: proto.String("host-" + id), Role: registry.Node_AUTO.Enum(), PeerAddress: proto.String("10.0.0." + id + ":5055"),
			MasterAddress: proto.String("10.0.0." + id + ":5050"), Version: proto.String("0.1.0"), MayBeMaster: proto.Bool(true),
			KeyHash: make([]byte, 32), RaftId: &raftID,
		}
	}
	s := registry.New()
	for i, op := range []*registry.Op{
		{Op: &registry.Op_FormCluster{FormCluster: &registry.FormCluster{
			ClusterId: proto.String("c"), Time: proto.Int64(1), Node: node("1", 1), Settings: &registry.Settings{Masters: proto.Uint32(3)},
			Authority: &registry.Authority{Certificate: []byte("certificate"), Key: []byte("key")},
		}}},
		{Op: &registry.Op_AdmitNode{AdmitNode: &registry.AdmitNode{Node: node("2", 0), Time: proto.Int64(2)}}},
		{Op: &registry.Op_AssignRaftId{AssignRaftId: &registry.AssignRaftID{NodeId: proto.String("2")}}},
	} {
		result, err := s.Apply(uint64(i+1), op)
		fmt.Printf("%+v %v\n", result, err)
	}
	second, _ := s.NodeByRaftID(2)
	fmt.Println(second.GetName())
	// Output:
	// {Refused: RaftID:0} <nil>
	// {Refused: RaftID:0} <nil>
	// {Refused: RaftID:2} <nil>
	// host-2
}
