package registry

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"

	v1 "clusterd/node/mesos/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// populated is a state with n entries in each list, made in the order of a seed.
func populated(t testing.TB, n int, seed uint64) *State {
	r := rand.New(rand.NewPCG(seed, 2))
	s := New()
	mustApply(t, s, electMaster("7c0cb5f1-3a15-4f6e-9d0f-000000000001"))
	for _, i := range r.Perm(n) {
		mustApply(t, s, admitAgent(fmt.Sprintf("agent-%d", i)), admitAgent(fmt.Sprintf("lost-%d", i)), admitAgent(fmt.Sprintf("gone-%d", i)),
			markUnreachable(fmt.Sprintf("lost-%d", i)), markGone(fmt.Sprintf("gone-%d", i)))
		f := admitFramework(fmt.Sprintf("framework-%d", i))
		f.GetAdmitFramework().Framework.OfferFilters = map[string]*v1.OfferFilters{"a": {}, "b": {}, "c": {}, "d": {}}
		mustApply(t, s, f, admitFramework(fmt.Sprintf("removed-%d", i)), removeFramework(fmt.Sprintf("removed-%d", i)))
	}
	return s
}

func written(t testing.TB, s *State) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := s.Write(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// A snapshot holds the whole state; what is read from it goes on exactly as the original. CLU-32
func TestSnapshotRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 300} {
		s := New()
		if n > 0 {
			s = populated(t, n, 1)
		}
		data := written(t, s)
		again, err := Read(iotest.OneByteReader(bytes.NewReader(data)))
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		if again.Hash() != s.Hash() || again.Index() != s.Index() || again.Counts() != s.Counts() || again.MasterID() != s.MasterID() {
			t.Errorf("%d: read %+v at %d, want %+v at %d", n, again.Counts(), again.Index(), s.Counts(), s.Index())
		}
		if !bytes.Equal(written(t, again), data) {
			t.Errorf("%d: the second snapshot differs", n)
		}
		if sum := hex.EncodeToString(data[len(data)-32:]); sum != s.Hash() {
			t.Errorf("%d: checksum %s, hash %s", n, sum, s.Hash())
		}
		for _, op := range []*Op{admitAgent("new"), markReachable("lost-0"), admitFramework("removed-0"), removeAgent("agent-0")} {
			want, err := s.Apply(s.Index()+1, op)
			if err != nil {
				t.Fatal(err)
			}
			got, err := again.Apply(again.Index()+1, proto.Clone(op).(*Op))
			if err != nil || got != want || again.Hash() != s.Hash() {
				t.Errorf("%d: %v gave %+v, want %+v", n, op, got, want)
			}
		}
	}
}

// The hash is a function of the content: the order of operations and the way to the state do not
// show in it, and every difference does. CLU-32
func TestHash(t *testing.T) {
	a, b := populated(t, 200, 1), populated(t, 200, 2)
	if a.Hash() != b.Hash() {
		t.Error("the same content has two hashes")
	}
	detour := a.Clone()
	for i := range 500 {
		mustApply(t, detour, admitAgent(fmt.Sprintf("guest-%d", i)))
	}
	for i := range 500 {
		mustApply(t, detour, removeAgent(fmt.Sprintf("guest-%d", i)))
	}
	detour.index = a.index
	if detour.Hash() != a.Hash() {
		t.Error("what was removed shows in the hash")
	}
	seen := map[string]string{a.Hash(): "original"}
	mustApply(t, a, formCluster("x"), admitNode("n"), admitNode("m"), assignRaftID("m"), admitNode("r"), removeNode("r"), addToken("t"), drainAgent("agent-2"))
	seen = map[string]string{a.Hash(): "original"}
	for name, op := range map[string]*Op{
		"settings": setSettings(""), "authorities": setAuthorities("y"), "node": admitNode("o"), "node's update": updateNode("n"), "node's removal": removeNode("n"),
		"raft id": assignRaftID("n"), "no raft id": releaseRaftID("m"), "placement": setPlacement("n"), "forgotten": forgetRemovedNode("r"),
		"token": addToken("u"), "rotation": rotateTokens(""), "drain": drainAgent("agent-1"), "drained": agentDrained("agent-2"), "deactivation": deactivate("agent-1"),
		"master": electMaster("other"), "admit": admitAgent("agent-x"), "update": updateAgent("agent-1"), "unreachable": markUnreachable("agent-1"),
		"reachable": markReachable("lost-1"), "gone": markGone("agent-1"), "gone too": markGone("lost-1"), "remove": removeAgent("agent-1"),
		"framework": admitFramework("x"), "framework update": updateFramework("framework-1"), "framework removal": removeFramework("framework-1"),
		"refused": admitAgent("gone-1"), // the index is part of the state
	} {
		s := a.Clone()
		if _, err := s.Apply(a.Index()+1, op); err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[s.Hash()]; ok {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[s.Hash()] = name
	}
}

// Damage of any byte, a cut at any place and bytes too many are noticed. CLU-32
func TestDamagedSnapshot(t *testing.T) {
	data := written(t, populated(t, 6, 1))
	for at := range data {
		damaged := slices.Clone(data)
		damaged[at] ^= 0x04
		if _, err := Read(bytes.NewReader(damaged)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d of %d: error %v", at, len(data), err)
		}
		if _, err := Read(bytes.NewReader(data[:at])); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d of %d bytes: error %v", at, len(data), err)
		}
	}
	if _, err := Read(bytes.NewReader(append(slices.Clone(data), 0))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte too many: error %v", err)
	}
	// An error of the disk is not corruption.
	broken := errors.New("broken")
	if _, err := Read(io.MultiReader(bytes.NewReader(data[:100]), iotest.ErrReader(broken))); !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) {
		t.Errorf("read error: %v", err)
	}
}

// Snapshots whose checksum is right but whose content cannot be are refused.
func TestImpossibleSnapshots(t *testing.T) {
	agent := &Snapshot_Agent{Info: agentInfo("x", "h")}
	lost := &Snapshot_Unreachable{Info: agentInfo("x", "h"), Time: proto.Int64(1)}
	gone := goneRecord("x", 1)
	framework := &Snapshot_Framework{Info: frameworkInfo("x", "n")}
	removed := removedRecord("x", removal{time: 1})
	cluster := func(s *Snapshot) *Snapshot {
		s.Cluster = &Snapshot_Cluster{Id: proto.String("c"), NextRaftId: proto.Uint64(3)}
		return s
	}
	member := func(id string, raftID uint64) *Node {
		n := node(id)
		n.RaftId = proto.Uint64(raftID)
		return n
	}
	gonenode := &Snapshot_RemovedNode{NodeId: proto.String("x")}
	for name, part := range map[string]*Snapshot{
		"drain of nobody":         {Drains: []*Drain{{AgentId: agentID("x")}}},
		"drain of a gone agent":   {Gone: []*Snapshot_Gone{gone}, Drains: []*Drain{{AgentId: agentID("x")}}},
		"drain twice":             {Agents: []*Snapshot_Agent{agent}, Drains: []*Drain{{AgentId: agentID("x")}, {AgentId: agentID("x")}}},
		"drain without id":        {Drains: []*Drain{{}}},
		"node without cluster":    {Nodes: []*Node{node("x")}},
		"removed without cluster": {RemovedNodes: []*Snapshot_RemovedNode{gonenode}},
		"token without cluster":   {Tokens: []*Token{{Hash: hashOf("x")}}},
		"cluster without id":      {Cluster: &Snapshot_Cluster{}},
		"node twice":              cluster(&Snapshot{Nodes: []*Node{node("x"), node("x")}}),
		"node without id":         cluster(&Snapshot{Nodes: []*Node{{}}}),
		"node, removed":           cluster(&Snapshot{Nodes: []*Node{node("x")}, RemovedNodes: []*Snapshot_RemovedNode{gonenode}}),
		"removed without id":      cluster(&Snapshot{RemovedNodes: []*Snapshot_RemovedNode{{}}}),
		"raft id twice":           cluster(&Snapshot{Nodes: []*Node{member("x", 2), member("y", 2)}}),
		"raft id to come":         cluster(&Snapshot{Nodes: []*Node{member("x", 3)}}),
		"token without hash":      cluster(&Snapshot{Tokens: []*Token{{}}}),
		"token twice":             cluster(&Snapshot{Tokens: []*Token{{Hash: hashOf("x")}, {Hash: hashOf("x")}}}),
		"agent twice":             {Agents: []*Snapshot_Agent{agent, agent}},
		"admitted, unreachable":   {Agents: []*Snapshot_Agent{agent}, Unreachable: []*Snapshot_Unreachable{lost}},
		"admitted, gone":          {Agents: []*Snapshot_Agent{agent}, Gone: []*Snapshot_Gone{gone}},
		"unreachable, gone":       {Unreachable: []*Snapshot_Unreachable{lost}, Gone: []*Snapshot_Gone{gone}},
		"framework, removed":      {Frameworks: []*Snapshot_Framework{framework}, RemovedFrameworks: []*Snapshot_Removed{removed}},
		"agent without id":        {Agents: []*Snapshot_Agent{{}}},
		"framework without info":  {Frameworks: []*Snapshot_Framework{{}}},
		"gone without id":         {Gone: []*Snapshot_Gone{{}}},
	} {
		var buf bytes.Buffer
		r := recorder{w: &buf, part: part}
		r.flush()
		if r.err != nil {
			t.Fatal(r.err)
		}
		if _, err := Read(bytes.NewReader(sealed(buf.Bytes()))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// A writer that fails gives its error.
func TestSnapshotWriteError(t *testing.T) {
	s := populated(t, 3, 1)
	broken := errors.New("broken")
	for left := range len(written(t, s)) {
		if err := s.Write(&failing{left: left, err: broken}); !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: %v", left, err)
		}
	}
}

type failing struct {
	left int
	err  error
}

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return f.left, f.err
	}
	f.left -= len(p)
	return len(p), nil
}

// Snapshots of earlier versions stay readable, and this version writes them the same: the hash is
// compared between peers. The first is of a clusterd that did not know clusters yet. To change these
// files is to break clusters that are being upgraded.
func TestGoldenSnapshots(t *testing.T) {
	for name, want := range map[string]*State{"snapshot-1": populated(t, 3, 1), "snapshot-2": crowded(t)} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, written(t, want), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Read(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if got.Hash() != want.Hash() {
			t.Errorf("%s: read %+v, want %+v", name, got.Counts(), want.Counts())
		}
		if !bytes.Equal(written(t, want), data) {
			t.Errorf("%s: the same state is written differently", name)
		}
		if !strings.HasPrefix(string(data), snapshotMagic) {
			t.Errorf("%s begins with %q", name, data[:20])
		}
	}
}

// Backups of earlier versions stay readable.
func TestGoldenBackup(t *testing.T) {
	path := filepath.Join("testdata", "backup-1")
	want := crowded(t)
	if *update {
		if err := os.WriteFile(path, backedUp(t, want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, info, err := ReadBackup(bytes.NewReader(data))
	if err != nil || got.ContentHash() != want.ContentHash() || info.ClusterID != "cluster of x" {
		t.Errorf("read %+v of %+v, %v", got, info, err)
	}
	if !bytes.Equal(backedUp(t, want), data) {
		t.Error("the same state is written differently")
	}
}
