package registry

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// CLU-38
func TestCompareVersions(t *testing.T) {
	ascending := []string{"", "0.0.9", "0.1.0", "0.1.1", "0.2.0", "0.10.0", "1.0.0", "1.2.3", "10.0.0"}
	for i, a := range ascending {
		for j, b := range ascending {
			if got := CompareVersions(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%q and %q: %d", a, b, got)
			}
		}
	}
	for _, same := range [][2]string{
		{"1.2.3-dev", "1.2.3"}, {"v1.2.3", "1.2.3"}, {"1.2.3+abc", "1.2.3"}, {"1.2", "1.2.0"}, {"1", "1.0.0"}, {"", "0.0.0"},
		{"junk", "0"}, {"1.x.5", "1.0.0"}, {"1.2.3.4", "1.2.0"}, {"99999999999.1.1", "0"}, {"-1.2.3", ""}, {"1.2.\xff", "1.2.0"},
	} {
		if CompareVersions(same[0], same[1]) != 0 || CompareVersions(same[1], same[0]) != 0 {
			t.Errorf("%q and %q differ", same[0], same[1])
		}
	}
}

// later makes the operations of drains belong to a later version for one test.
func later(t *testing.T, version string) {
	for field := range since {
		if field >= 23 {
			old := since[field]
			since[field] = version
			t.Cleanup(func() { since[field] = old })
		}
	}
}

// The state requires the newest version of what was applied to it, and no more: an upgrade can be
// undone until something new is used. CLU-38
func TestRequires(t *testing.T) {
	later(t, "0.3.0")
	s := New()
	mustApply(t, s, admitAgent("a"))
	if s.Requires() != "" {
		t.Errorf("old operations require %q", s.Requires())
	}
	if result, err := s.Apply(2, drainAgent("unknown")); err != nil || result.Refused == "" || s.Requires() != "" {
		t.Errorf("refused %q, %v: requires %q", result.Refused, err, s.Requires())
	}
	mustApply(t, s, drainAgent("a"))
	if s.Requires() != "0.3.0" {
		t.Errorf("a new operation requires %q", s.Requires())
	}
	mustApply(t, s, admitAgent("b"), removeAgent("a"))
	if s.Requires() != "0.3.0" {
		t.Errorf("after an old operation: requires %q", s.Requires())
	}
	again, err := Read(bytes.NewReader(written(t, s)))
	if err != nil || again.Requires() != "0.3.0" || again.Hash() != s.Hash() {
		t.Errorf("read %v, requires %q", err, again.Requires())
	}
	// A known operation may say itself that it needs more, by a version that this one comes up to.
	extended := admitAgent("c")
	extended.Since = proto.String("0.2.0-junk")
	s = New()
	mustApply(t, s, extended)
	if s.Requires() != "0.2.0" {
		t.Errorf("requires %q", s.Requires())
	}
}

// Needs is what to ask of the raft members before an operation is proposed. CLU-38
func TestNeeds(t *testing.T) {
	later(t, "0.3.0")
	extended := admitAgent("c")
	extended.Since = proto.String("0.4.0")
	for want, op := range map[string]*Op{"0.1.0": admitAgent("a"), "0.3.0": drainAgent("a"), "0.4.0": extended, "": {}} {
		if got := Needs(op); got != want {
			t.Errorf("%v needs %q, want %q", op, got, want)
		}
	}
	if Needs(nil) != "" {
		t.Errorf("no operation needs %q", Needs(nil))
	}
	// The entry says so to the nodes that do not know it.
	op, err := Decode(mustEncode(t, drainAgent("a")))
	if err != nil || op.GetSince() != "0.3.0" {
		t.Errorf("entry says %q, %v", op.GetSince(), err)
	}
}

// A version that does not know all that was used says which one does, of snapshots, backups and log
// entries alike, and takes nothing. CLU-38
func TestNewerThanKnown(t *testing.T) {
	var snapshot, backup []byte
	var entry []byte
	t.Run("newer", func(t *testing.T) {
		later(t, "0.3.0")
		s := New()
		mustApply(t, s, admitAgent("a"), drainAgent("a"))
		snapshot, entry = written(t, s), mustEncode(t, drainAgent("a"))
		var buf bytes.Buffer
		if err := s.WriteBackup(&buf, BackupInfo{Version: "0.3.0"}); err != nil {
			t.Fatal(err)
		}
		backup = buf.Bytes()
	})
	m := NewMachine("0.2.7")
	if _, err := m.Apply(1, mustEncode(t, admitAgent("a"))); err != nil {
		t.Fatal(err)
	}
	before := m.View().Hash()
	err := m.Restore(bytes.NewReader(snapshot))
	const want = "the registry holds what only clusterd 0.3.0 or newer knows, and this is 0.2.7: start version 0.3.0 or newer on this node"
	if newer, ok := errors.AsType[*NewerError](err); !ok || err.Error() != want || newer.Requires != "0.3.0" {
		t.Errorf("restore: %v", err)
	}
	_, _, err = ReadBackup(bytes.NewReader(backup))
	if _, ok := errors.AsType[*NewerError](err); !ok || strings.Contains(err.Error(), "and this is") {
		t.Errorf("read of the backup: %v", err)
	}
	_, err = m.Apply(2, entry)
	if unknown, ok := errors.AsType[*UnknownOpError](err); !ok || unknown.Since != "0.3.0" || unknown.Field != 23 || unknown.Index != 2 {
		t.Errorf("apply: %v", err)
	}
	// A known operation that has learned a new value says so itself.
	grown := protowire.AppendTag(nil, 1, protowire.BytesType)
	grown = protowire.AppendString(grown, "n")
	grown = protowire.AppendTag(grown, 2, protowire.VarintType)
	grown = protowire.AppendVarint(grown, 77)
	data := protowire.AppendTag(nil, 17, protowire.BytesType)
	data = protowire.AppendBytes(data, grown)
	data = protowire.AppendTag(data, 100, protowire.BytesType)
	data = protowire.AppendString(data, "0.3.0")
	_, err = m.Apply(2, data)
	if unknown, ok := errors.AsType[*UnknownOpError](err); !ok || unknown.Since != "0.3.0" || unknown.Field != 17 {
		t.Errorf("apply of a newer placement: %v", err)
	}
	if m.View().Hash() != before {
		t.Error("the state changed")
	}
}
