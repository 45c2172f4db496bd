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
