package cluster_test

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/cluster"
	"clusterd/raft/registry"
)

// A leader sees that one of three voters has been away for long and that another node is there.
func ExamplePlanner() {
	now := time.Unix(1_700_000_000, 0)
	node := func(id string, raftID uint64) *registry.Node {
		return &registry.Node{Id: &id, Name: &id, Role: registry.Node_AUTO.Enum(), MayBeMaster: proto.Bool(true), RaftId: &raftID, PeerAddress: &id}
	}
	picture := cluster.Picture{
		Masters: 3, ReplaceAfter: 5 * time.Minute, Since: now.Add(-time.Hour),
		Nodes: []cluster.Member{
			{Node: node("a", 1), Voter: true, Leader: true, Alive: true, LastHeard: now},
			{Node: node("b", 2), Voter: true, Alive: true, CaughtUp: true, LastHeard: now},
			{Node: node("c", 3), Voter: true, LastHeard: now.Add(-4 * time.Minute)},
			{Node: node("d", 0), Alive: true, LastHeard: now},
		},
	}
	var planner cluster.Planner
	step, next := planner.Plan(now, picture)
	fmt.Println(step.Kind, "until", next.Sub(now))

	now = next
	step, _ = planner.Plan(now, picture)
	fmt.Println(step.Kind, step.NodeID, step.Why)
	planner.Done(now, step, 4, nil) // the registry gave it raft id 4

	picture.Nodes[3].Node = node("d", 4)
	step, _ = planner.Plan(now, picture)
	fmt.Println(step.Kind, step.NodeID, step.RaftID)
	// Output:
	// none until 1m0s
	// assign d in place of node c: it has been unreachable for 5m0s
	// add-learner d 4
}
