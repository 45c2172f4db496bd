package raft_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	v1 "clusterd/node/mesos/v1"
	"clusterd/raft"
	"clusterd/raft/registry"
)

// The registry is what clusterd replicates; package raft knows nothing of it.
var (
	_ raft.StateMachine = (*registry.Machine)(nil)
	_ raft.Hasher       = (*registry.Machine)(nil)
)

func Example() {
	dir, err := os.MkdirTemp("", "raft")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	machine := registry.NewMachine("0.1.0")
	peer, err := raft.Open(raft.Config{Dir: filepath.Join(dir, "raft"), ID: 1}, machine)
	if err != nil {
		log.Fatal(err)
	}
	for l := range peer.Leadership() {
		if l.Leader {
			break
		}
	}
	entry, err := registry.Encode(&registry.Op{Op: &registry.Op_ElectMaster{
		ElectMaster: &registry.ElectMaster{MasterId: proto.String("8e4d"), Time: proto.Int64(0)},
	}})
	if err != nil {
		log.Fatal(err)
	}
	_, result, err := peer.Propose(context.Background(), entry)
	fmt.Printf("%q %v %s\n", result.(registry.Result).Refused, err, machine.View().MasterID())
	_, result, err = peer.Propose(context.Background(), entry)
	fmt.Printf("%q %v\n", result.(registry.Result).Refused, err)
	fmt.Println(peer.Close())
	// Output:
	// "" <nil> 8e4d
	// "master 8e4d is elected already" <nil>
	// <nil>
}

// A removed framework's id stays refused over restarts, whether it is in the log or in a snapshot;
// the state after a restart is exactly the one before. SCH-64 SCH-65 SCH-87 SCH-264 CLU-32
func TestRegistryOverRestarts(t *testing.T) {
	cfg := raft.Config{Dir: t.TempDir(), ID: 1, SnapshotEntries: 7, KeepEntries: 2}
	hash := ""
	for round := range 6 {
		machine := registry.NewMachine("0.1.0")
		p, err := raft.Open(cfg, machine)
		if err != nil {
			t.Fatal(err)
		}
		for l := range p.Leadership() {
			if l.Leader {
				break
			}
		}
		if round > 0 && machine.View().Hash() != hash {
			t.Fatalf("round %d: hash %s, want %s", round, machine.View().Hash(), hash)
		}
		propose := func(op *registry.Op) string {
			t.Helper()
			entry, err := registry.Encode(op)
			if err != nil {
				t.Fatal(err)
			}
			_, result, err := p.Propose(t.Context(), entry)
			if err != nil {
				t.Fatal(err)
			}
			return result.(registry.Result).Refused
		}
		admit := func(id string) string {
			return propose(&registry.Op{Op: &registry.Op_AdmitFramework{AdmitFramework: &registry.AdmitFramework{
				Framework: &v1.FrameworkInfo{Id: &v1.FrameworkID{Value: &id}, Name: proto.String("n"), User: proto.String("u"), FailoverTimeout: proto.Float64(60)},
				Time:      proto.Int64(int64(round)),
			}}})
		}
		for old := range round {
			if refused := admit(fmt.Sprint("removed-", old)); refused != registry.RemovedText {
				t.Errorf("round %d: framework removed in round %d: %q", round, old, refused)
			}
			f, ok := machine.View().Framework(fmt.Sprint("kept-", old))
			if !ok || f.GetLastSeen() != int64(old) || f.GetInfo().GetFailoverTimeout() != 60 {
				t.Errorf("round %d: framework of round %d: %v", round, old, f)
			}
			if u, ok := machine.View().Unreachable(fmt.Sprint("agent-", old)); !ok || u.GetTime() != int64(old) {
				t.Errorf("round %d: agent marked in round %d: %v", round, old, u)
			}
		}
		removed, agent := fmt.Sprint("removed-", round), fmt.Sprint("agent-", round)
		for _, refused := range []string{
			admit(removed), admit(fmt.Sprint("kept-", round)),
			propose(&registry.Op{Op: &registry.Op_RemoveFramework{RemoveFramework: &registry.RemoveFramework{
				FrameworkId: &v1.FrameworkID{Value: &removed}, Time: proto.Int64(1),
			}}}),
			propose(&registry.Op{Op: &registry.Op_AdmitAgent{AdmitAgent: &registry.AdmitAgent{
				Agent: &v1.AgentInfo{Id: &v1.AgentID{Value: &agent}, Hostname: proto.String("h")}, Time: proto.Int64(1),
			}}}),
			propose(&registry.Op{Op: &registry.Op_MarkAgentUnreachable{MarkAgentUnreachable: &registry.MarkAgentUnreachable{
				AgentId: &v1.AgentID{Value: &agent}, Time: proto.Int64(int64(round)),
			}}}),
		} {
			if refused != "" {
				t.Errorf("round %d: %s", round, refused)
			}
		}
		hash = machine.View().Hash()
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
