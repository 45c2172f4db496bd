package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"
)

// program turns bytes into operations on a few ids: three bytes for each.
func program(data []byte) []*Op {
	kinds := []func(string) *Op{
		admitAgent, updateAgent, markUnreachable, markReachable, markGone, removeAgent,
		admitFramework, updateFramework, removeFramework, electMaster,
		drainAgent, agentDrained, deactivate, reactivate,
		formCluster, admitNode, updateNode, removeNode, assignRaftID, releaseRaftID, setPlacement, forgetRemovedNode,
		setSettings, setAuthorities, addToken, rotateTokens,
	}
	var ops []*Op
	for len(data) >= 3 {
		id := ""
		if data[1] > 0 {
			id = fmt.Sprintf("id-%d", data[1]%40)
		}
		op := kinds[int(data[0])%len(kinds)](id)
		time := proto.Int64(int64(data[2]))
		switch o := op.GetOp().(type) {
		case *Op_AdmitAgent:
			o.AdmitAgent.Time = time
			o.AdmitAgent.Agent.Hostname = proto.String(string(data[2:3]))
		case *Op_MarkAgentGone:
			o.MarkAgentGone.Time = time
		case *Op_UpdateFramework:
			o.UpdateFramework.LastSeen = time
		case *Op_RemoveFramework:
			o.RemoveFramework.Cause = proto.String(string(data[2:3]))
		case *Op_AdmitNode:
			o.AdmitNode.Node.Role = Node_Role(data[2] % 5).Enum()
			o.AdmitNode.Node.MayBeMaster = proto.Bool(data[2]&8 == 0)
			if data[2]&16 != 0 {
				o.AdmitNode.Node.KeyHash = hashOf("another")
			}
		case *Op_UpdateNode:
			o.UpdateNode.Node.Version = proto.String(string(data[2:3]))
		case *Op_SetPlacement:
			o.SetPlacement.Placement = Node_Placement(data[2] % 3).Enum()
		case *Op_AddToken:
			o.AddToken.Token.Role = Token_Role(data[2] % 3).Enum()
			o.AddToken.Token.Expires = proto.Int64(int64(data[2]))
			o.AddToken.Time = proto.Int64(int64(data[2]) / 2)
		case *Op_RotateTokens:
			o.RotateTokens.Role = Token_Role(data[2] % 3).Enum()
		case *Op_SetSettings:
			o.SetSettings.Settings.Masters = proto.Uint32(uint32(data[2]) % 9)
		}
		ops = append(ops, op)
		data = data[3:]
	}
	return ops
}

// Any operations, in any order: two replicas agree, one of which is restored from a snapshot on the
// way; nothing is in two lists; older versions do not change.
func FuzzApply(f *testing.F) {
	f.Add([]byte{0, 1, 1, 2, 1, 2, 3, 1, 3, 4, 1, 4})
	f.Add([]byte{6, 1, 1, 7, 1, 2, 8, 1, 3, 6, 1, 4, 9, 2, 2, 9, 2, 2, 5, 0, 0})
	f.Add([]byte{0, 1, 1, 0, 2, 1, 5, 1, 0, 4, 2, 9, 0, 2, 0, 1, 2, 0})
	f.Add([]byte{0, 1, 0xff, 8, 1, 0xc3})                                                                      // not UTF-8
	f.Add([]byte{0, 1, 1, 10, 1, 1, 11, 1, 1, 2, 1, 1, 13, 1, 1, 12, 1, 1, 4, 1, 1, 12, 1, 1})                 // drains
	f.Add([]byte{14, 1, 1, 15, 2, 1, 18, 2, 1, 16, 2, 0xff, 20, 2, 1, 19, 2, 1, 17, 2, 1, 15, 2, 1, 21, 2, 1}) // nodes
	f.Add([]byte{14, 1, 1, 22, 0, 5, 23, 3, 1, 24, 4, 9, 24, 5, 200, 25, 0, 1, 15, 6, 3, 18, 6, 3, 15, 6, 17}) // settings, tokens
	f.Fuzz(func(t *testing.T, data []byte) {
		m, replica := NewMachine("0.1.0"), NewMachine("0.1.0")
		middle := len(data) / 6
		var old *State
		var oldHash string
		for i, op := range program(data) {
			entry := mustEncode(t, op)
			got, err := m.Apply(uint64(i+1), entry)
			if err != nil {
				t.Fatal(err)
			}
			same, err := replica.Apply(uint64(i+1), entry)
			if err != nil || same != got {
				t.Fatalf("%v gave %v and %v, %v", op, got, same, err)
			}
			if i == middle {
				old, oldHash = m.View(), m.View().Hash()
				var buf bytes.Buffer
				if err := old.Write(&buf); err != nil {
					t.Fatal(err)
				}
				replica = NewMachine("0.1.0")
				if err := replica.Restore(&buf); err != nil {
					t.Fatal(err)
				}
			}
		}
		if m.View().Hash() != replica.View().Hash() {
			t.Errorf("hashes %s and %s", m.View().Hash(), replica.View().Hash())
		}
		if old != nil && old.Hash() != oldHash {
			t.Error("an older version changed")
		}
		s := m.View()
		checkMembers(t, s)
		for i := range 40 {
			id := fmt.Sprintf("id-%d", i)
			switch where(s, "node", id) {
			case "unknown", "nowhere", "standby", "member", "removed":
			default:
				t.Errorf("node %s is %s", id, where(s, "node", id))
			}
			switch where(s, "agent", id) {
			case "unknown", "admitted", "unreachable", "gone":
			default:
				t.Errorf("agent %s is %s", id, where(s, "agent", id))
			}
			switch where(s, "framework", id) {
			case "unknown", "admitted", "removed":
			default:
				t.Errorf("framework %s is %s", id, where(s, "framework", id))
			}
		}
	})
}

// checkMembers looks at what must hold of raft ids at any time.
func checkMembers(t *testing.T, s *State) {
	c, _ := s.Cluster()
	members := 0
	for _, n := range s.Nodes() {
		id := n.GetRaftId()
		if id == 0 {
			continue
		}
		members++
		if of, ok := s.NodeByRaftID(id); !ok || of != n || id >= c.GetNextRaftId() || !n.MayLead() {
			t.Errorf("raft id %d, of %v, is that of %v", id, n, of)
		}
	}
	if members != s.members.n {
		t.Errorf("%d nodes have a raft id, %d raft ids a node", members, s.members.n)
	}
}

// Any bytes as a log entry: an error, or a state that can be written and read again.
func FuzzMachineApply(f *testing.F) {
	for kind := range allOps {
		f.Add(mustEncode(f, allOps[kind].op("id-1")))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := NewMachine("0.1.0")
		for i, op := range []*Op{admitAgent("id-1"), admitAgent("id-2"), markUnreachable("id-2"), admitFramework("id-1"), formCluster("c"), admitNode("id-1")} {
			if _, err := m.Apply(uint64(i+1), mustEncode(t, op)); err != nil {
				t.Fatal(err)
			}
		}
		before := m.View().Hash()
		if _, err := m.Apply(9, data); err != nil {
			if m.View().Hash() != before {
				t.Errorf("the state changed with %v", err)
			}
			return
		}
		again, err := Read(bytes.NewReader(written(t, m.View())))
		if err != nil || again.Hash() != m.View().Hash() {
			t.Errorf("round trip: %v", err)
		}
	})
}

// sealed makes a snapshot with a right checksum of records.
func sealed(records []byte) []byte { return sealedAs(snapshotMagic, records) }

func sealedAs(magic string, records []byte) []byte {
	data := append([]byte(magic), records...)
	data = append(data, 0)
	sum := sha256.Sum256(data)
	return append(data, sum[:]...)
}

// Any bytes as a snapshot: an error, or a state that is written as the same again.
func FuzzRead(f *testing.F) {
	for _, s := range []*State{populated(f, 3, 1), crowded(f)} {
		data := written(f, s)
		f.Add(data)
		f.Add(data[len(snapshotMagic) : len(data)-33])
	}
	f.Add(binary.AppendUvarint(nil, maxRecordBytes))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, input := range [][]byte{data, sealed(data)} {
			s, err := Read(bytes.NewReader(input))
			if err != nil {
				if !errors.Is(err, ErrCorrupt) && !errors.As(err, new(*NewerError)) {
					t.Errorf("error %v", err)
				}
				continue
			}
			checkMembers(t, s)
			again, err := Read(bytes.NewReader(written(t, s)))
			if err != nil || again.Hash() != s.Hash() {
				t.Errorf("round trip: %v", err)
			}
		}
	})
}

// Any bytes as a backup: an error, or a state that is written as the same again.
func FuzzReadBackup(f *testing.F) {
	for _, s := range []*State{New(), crowded(f)} {
		data := backedUp(f, s)
		f.Add(data)
		f.Add(data[len(backupMagic) : len(data)-33])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, input := range [][]byte{data, sealedAs(backupMagic, data)} {
			s, info, err := ReadBackup(bytes.NewReader(input))
			if err != nil {
				if !errors.Is(err, ErrCorrupt) && !errors.As(err, new(*NewerError)) {
					t.Errorf("error %v", err)
				}
				continue
			}
			var buf bytes.Buffer
			if err := s.WriteBackup(&buf, info); err != nil {
				t.Fatal(err)
			}
			again, _, err := ReadBackup(&buf)
			if err != nil || again.ContentHash() != s.ContentHash() || s.ContentHash() != info.ContentHash {
				t.Errorf("round trip: %v", err)
			}
		}
	})
}
