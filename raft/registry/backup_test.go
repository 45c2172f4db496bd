package registry

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"google.golang.org/protobuf/proto"
)

// crowded is a state with something in every list.
func crowded(t testing.TB) *State {
	s := populated(t, 3, 1)
	mustApply(t, s, formCluster("x"), setSettings(""), setAuthorities("second"),
		admitNode("n1"), assignRaftID("n1"), admitNode("n2"), setPlacement("n2"), admitNode("n3"), removeNode("n3"),
		addToken("t1"), rotateTokens(""), addToken("t2"), drainAgent("agent-1"), drainAgent("lost-1"), agentDrained("lost-1"), deactivate("agent-2"))
	return s
}

func backedUp(t testing.TB, s *State) []byte {
	t.Helper()
	var buf bytes.Buffer
	info := BackupInfo{ClusterID: "of no cluster", Version: "0.1.0", Index: 999, Time: time.Unix(5, 7), ContentHash: "ignored"}
	if err := s.WriteBackup(&buf, info); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// A backup holds all that a new cluster is to begin with, and nothing secret. CLU-8 CLU-23
func TestBackup(t *testing.T) {
	s := crowded(t)
	data := backedUp(t, s)
	for _, secret := range []string{"key of", "certificate of", string(hashOf("t2")), string(hashOf("n1")), "name of n1"} {
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("the backup contains %q", secret)
		}
	}
	restored, info, err := ReadBackup(iotest.OneByteReader(bytes.NewReader(data)))
	if err != nil {
		t.Fatal(err)
	}
	if want := (BackupInfo{ClusterID: "cluster of x", Version: "0.1.0", Index: s.Index(), Time: time.Unix(5, 7), ContentHash: s.ContentHash()}); info != want {
		t.Errorf("info %+v, want %+v", info, want)
	}
	if restored.ContentHash() != s.ContentHash() || restored.Counts() != s.Counts() || len(restored.Drains()) != 3 {
		t.Errorf("restored %+v, want %+v", restored.Counts(), s.Counts())
	}
	_, formed := restored.Cluster()
	if formed || restored.NodeCount() != 0 || len(restored.RemovedNodes()) != 0 || len(restored.Tokens()) != 0 || restored.MasterID() != "" || restored.Index() != 0 {
		t.Errorf("restored with a cluster: %v", restored)
	}
	// It begins as the state of a new cluster, with the same content.
	mustApply(t, restored, electMaster("new"), formCluster("y"), admitNode("n3"), assignRaftID("n3"))
	if restored.ContentHash() != s.ContentHash() {
		t.Error("a new cluster changes the content")
	}
	if again, err := Read(bytes.NewReader(written(t, restored))); err != nil || again.Hash() != restored.Hash() {
		t.Errorf("snapshot of the new cluster: %v", err)
	}
	// A registry of a clusterd that did not know clusters yet can be backed up too.
	if _, info, err = ReadBackup(bytes.NewReader(backedUp(t, populated(t, 2, 1)))); err != nil || info.ClusterID != "of no cluster" {
		t.Errorf("backup without a cluster: %+v, %v", info, err)
	}
}

// Only content shows in the content hash, and all of it. CLU-8
func TestContentHash(t *testing.T) {
	s := crowded(t)
	for _, op := range []*Op{
		electMaster("other"), admitNode("n9"), removeNode("n2"), addToken("t9"), rotateTokens(""), setAuthorities("third"), assignRaftID("n2"),
		updateNode("n1"), forgetRemovedNode("n3"), admitAgent("gone-1"), /* refused: the index alone changes */
	} {
		c := s.Clone()
		if _, err := c.Apply(c.Index()+1, op); err != nil {
			t.Fatal(err)
		}
		if c.ContentHash() != s.ContentHash() || c.Hash() == s.Hash() {
			t.Errorf("%v: content hash %s, want %s", op, c.ContentHash(), s.ContentHash())
		}
	}
	for _, op := range []*Op{
		admitAgent("a"), updateAgent("agent-1"), markUnreachable("agent-1"), markGone("agent-0"), removeAgent("agent-1"), admitFramework("f"),
		updateFramework("framework-1"), removeFramework("framework-1"), deactivate("agent-0"), agentDrained("agent-1"), reactivate("agent-2"),
	} {
		c := s.Clone()
		mustApply(t, c, op)
		if c.ContentHash() == s.ContentHash() {
			t.Errorf("%v does not show in the content hash", op)
		}
	}
}

// Damage of any byte, a cut at any place and bytes too many are noticed. CLU-8
func TestDamagedBackup(t *testing.T) {
	data := backedUp(t, crowded(t))
	for at := range data {
		damaged := slices.Clone(data)
		damaged[at] ^= 0x04
		if _, _, err := ReadBackup(bytes.NewReader(damaged)); !errors.Is(err, ErrCorrupt) && !errors.As(err, new(*NewerError)) {
			t.Fatalf("byte %d of %d: error %v", at, len(data), err)
		}
		if _, _, err := ReadBackup(bytes.NewReader(data[:at])); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d of %d bytes: error %v", at, len(data), err)
		}
	}
	if _, _, err := ReadBackup(bytes.NewReader(append(slices.Clone(data), 0))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte too many: error %v", err)
	}
	if _, _, err := ReadBackup(bytes.NewReader(written(t, crowded(t)))); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "header of the backup") {
		t.Errorf("a snapshot as a backup: error %v", err)
	}
	broken := errors.New("broken")
	for _, cut := range []int{0, 100, len(data)} {
		_, _, err := ReadBackup(io.MultiReader(bytes.NewReader(data[:cut]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "read backup") {
			t.Errorf("read error after %d bytes: %v", cut, err)
		}
	}
	for left := range data {
		if err := crowdedBackup(t, &failing{left: left, err: broken}); !errors.Is(err, broken) {
			t.Fatalf("write error after %d bytes: %v", left, err)
		}
	}
}

func crowdedBackup(t testing.TB, w io.Writer) error {
	return crowded(t).WriteBackup(w, BackupInfo{Version: "0.1.0", Time: time.Unix(5, 7)})
}

// Backups whose checksum is right but whose content cannot be are refused.
func TestImpossibleBackups(t *testing.T) {
	s := crowded(t)
	begin := func(hash string) *Backup {
		return &Backup{ClusterId: proto.String("c"), Version: proto.String("0.1.0"), Index: proto.Uint64(1), Time: proto.Int64(1), ContentHash: proto.String(hash)}
	}
	for name, records := range map[string][]proto.Message{
		"nothing":            {},
		"no first record":    {&Snapshot{Agents: []*Snapshot_Agent{{Info: agentInfo("a", "h")}}}},
		"another hash":       {begin(s.ContentHash())},
		"with a master":      {begin(New().ContentHash()), &Snapshot{MasterId: proto.String("m")}},
		"with a cluster":     {begin(New().ContentHash()), &Snapshot{Cluster: s.cluster}},
		"with an index":      {begin(New().ContentHash()), &Snapshot{Index: proto.Uint64(3)}},
		"with a version":     {begin(New().ContentHash()), &Snapshot{Requires: proto.String("0.0.1")}},
		"impossible content": {begin(New().ContentHash()), &Snapshot{Agents: []*Snapshot_Agent{{}}}},
	} {
		var buf bytes.Buffer
		r := recorder{w: &buf, part: &Snapshot{}}
		for _, m := range records {
			r.write(m)
		}
		if r.err != nil {
			t.Fatal(r.err)
		}
		if _, _, err := ReadBackup(bytes.NewReader(sealedAs(backupMagic, buf.Bytes()))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
