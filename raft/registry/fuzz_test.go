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
	f.Add([]byte{0, 1, 0xff, 8, 1, 0xc3}) // not UTF-8
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
				old, oldHash = m.View(), m.Hash()
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
		if m.Hash() != replica.Hash() {
			t.Errorf("hashes %s and %s", m.Hash(), replica.Hash())
		}
		if old != nil && old.Hash() != oldHash {
			t.Error("an older version changed")
		}
		s := m.View()
		for i := range 40 {
			id := fmt.Sprintf("id-%d", i)
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

// Any bytes as a log entry: an error, or a state that can be written and read again.
func FuzzMachineApply(f *testing.F) {
	for _, op := range program([]byte{0, 1, 1, 1, 1, 1, 2, 1, 1, 3, 1, 1, 4, 1, 1, 5, 1, 1, 6, 1, 1, 7, 1, 1, 8, 1, 1, 9, 1, 1}) {
		f.Add(mustEncode(f, op))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := NewMachine("0.1.0")
		for i, op := range []*Op{admitAgent("id-1"), admitAgent("id-2"), markUnreachable("id-2"), admitFramework("id-1")} {
			if _, err := m.Apply(uint64(i+1), mustEncode(t, op)); err != nil {
				t.Fatal(err)
			}
		}
		before := m.Hash()
		if _, err := m.Apply(9, data); err != nil {
			if m.Hash() != before {
				t.Errorf("the state changed with %v", err)
			}
			return
		}
		again, err := Read(bytes.NewReader(written(t, m.View())))
		if err != nil || again.Hash() != m.Hash() {
			t.Errorf("round trip: %v", err)
		}
	})
}

// sealed makes a snapshot with a right checksum of records.
func sealed(records []byte) []byte {
	data := append([]byte(snapshotMagic), records...)
	data = append(data, 0)
	sum := sha256.Sum256(data)
	return append(data, sum[:]...)
}

// Any bytes as a snapshot: an error, or a state that is written as the same again.
func FuzzRead(f *testing.F) {
	data := written(f, populated(f, 3, 1))
	f.Add(data)
	f.Add(data[len(snapshotMagic) : len(data)-33])
	f.Add(binary.AppendUvarint(nil, maxRecordBytes))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, input := range [][]byte{data, sealed(data)} {
			s, err := Read(bytes.NewReader(input))
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Errorf("error %v", err)
				}
				continue
			}
			again, err := Read(bytes.NewReader(written(t, s)))
			if err != nil || again.Hash() != s.Hash() {
				t.Errorf("round trip: %v", err)
			}
		}
	})
}
