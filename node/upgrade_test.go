package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/api"
	v1 "clusterd/node/mesos/v1"
	"clusterd/raft/registry"
)

// The test binary re-executed with the first variable is clusterd (see TestMain), and with the second it is
// clusterd of that version.
const (
	asProgram = "CLUSTERD_TEST_MAIN"
	asVersion = "CLUSTERD_TEST_VERSION"
)

func init() {
	if v := os.Getenv(asVersion); v != "" {
		Version = v
	}
}

// otherNode is a node of another version, in a process of its own: the version of a process is one for all
// of its nodes.
type otherNode struct {
	cfg   Config
	cmd   *exec.Cmd
	ended chan error

	mu  sync.Mutex
	log bytes.Buffer
}

// Write takes what the node logs.
func (o *otherNode) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.log.Write(b)
}

func (o *otherNode) logged() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.log.String()
}

// startVersion runs a node of a version until the end of the test, or until stop.
func startVersion(t *testing.T, version string, cfg Config) *otherNode {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := &otherNode{cfg: cfg, ended: make(chan error, 1)}
	args := []string{"start", "--data-dir", cfg.DataDir, "--node-name", cfg.Name, "--role", cfg.Role,
		"--listen", cfg.Listen, "--agent-listen", cfg.AgentListen, "--peer-listen", cfg.PeerListen, "--advertise", "127.0.0.1", "--hostname", "127.0.0.1"}
	if len(cfg.Join) > 0 {
		args = append(args, "--join", strings.Join(cfg.Join, ","), "--token", cfg.Token)
	}
	o.cmd = exec.Command(self, args...)
	o.cmd.Env = append(os.Environ(), asProgram+"=1", asVersion+"="+version)
	o.cmd.Stdout, o.cmd.Stderr = o, o
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { o.ended <- o.cmd.Wait() }()
	t.Cleanup(func() {
		o.stop(t)
		if t.Failed() {
			t.Logf("node %s of version %s:\n%s", cfg.Name, version, o.logged())
		}
	})
	return o
}

// wait waits for the end of the node.
func (o *otherNode) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-o.ended:
		o.ended <- err // for others who ask
		return err
	case <-time.After(patience):
		t.Fatalf("node %s does not end", o.cfg.Name)
		return nil
	}
}

// stop ends the node as an operator does, unless it has ended.
func (o *otherNode) stop(t *testing.T) {
	t.Helper()
	if len(o.ended) > 0 {
		return
	}
	if err := o.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	if err := o.wait(t); err != nil {
		t.Errorf("node %s: %v", o.cfg.Name, err)
	}
}

// joinAt is cfg for a node that joins at another one.
func joinAt(t *testing.T, at *Node, cfg Config) Config {
	t.Helper()
	answer, err := clusterOffice{at}.Token(t.Context(), api.TokenRequest{Role: api.TokenAny})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Join, cfg.Token = []string{at.host.peer()}, answer.Token
	return cfg
}

// setVersion makes this process one of another version for the rest of the test. No node of it runs.
func setVersion(t *testing.T, version string) {
	t.Helper()
	before := Version
	Version = version
	t.Cleanup(func() { Version = before })
}

// mixed is the code of the problem that nodes run different versions.
const mixed = "mixed-versions"

// census lists the nodes with versions and raft states, and whether operators are told of several versions, as
// the node with this master address says it to everybody.
func census(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Get("http://" + address + "/cluster/status")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var s api.ClusterStatus
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return err.Error()
	}
	var all []string
	for _, n := range s.Nodes {
		state := n.RaftState
		if !n.Connected {
			state += " away"
		}
		if n.LagEntries != nil && *n.LagEntries > 0 {
			state += " behind"
		}
		all = append(all, fmt.Sprintf("%s %s %s", n.Name, n.Version, state))
	}
	if slices.ContainsFunc(s.Problems, func(p api.ClusterProblem) bool { return p.Code == mixed }) {
		all = append(all, mixed)
	}
	return strings.Join(all, ", ")
}

// untilCensus waits for a census at a node.
func untilCensus(t *testing.T, address, want string) {
	t.Helper()
	var last string
	defer func() {
		if t.Failed() {
			t.Logf("the last census is %q", last)
		}
	}()
	until(t, want, func() bool { last = census(t, address); return last == want })
}

// later is an operation that only clusterd 0.2.0 knows in full.
func later() *registry.Op {
	info := &v1.FrameworkInfo{User: proto.String("u"), Name: proto.String("f"), Id: &v1.FrameworkID{Value: proto.String("later")}}
	return &registry.Op{
		Since: proto.String("0.2.0"),
		Op:    &registry.Op_AdmitFramework{AdmitFramework: &registry.AdmitFramework{Framework: info, Time: proto.Int64(0)}},
	}
}

// refusedLater proposes later and wants an error with this text, and nothing written.
func refusedLater(t *testing.T, leader *Node, want string) {
	t.Helper()
	m := leader.member.Load()
	_, err := m.propose(t.Context(), later())
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("operation of a later version: %v, want %q", err, want)
	}
	if _, ok := m.machine.View().Framework("later"); ok || m.machine.View().Requires() != "" {
		t.Errorf("it is written down all the same; the registry requires %q", m.machine.View().Requires())
	}
}

// A cluster is upgraded node by node: versions next to each other work together, each node comes back by
// itself, also at another address and with the version before, and what an old master would not know is
// refused until the last one is new. CLU-36, CLU-38
func TestRollingUpgrade(t *testing.T) {
	setVersion(t, "0.2.0")
	a := startNode(t, masterConfig(t, "a"))
	b := startVersion(t, "0.1.9", joinAt(t, a, masterConfig(t, "b")))
	c := startVersion(t, "0.1.9", joinAt(t, a, masterConfig(t, "c")))
	at := a.host.master()
	untilCensus(t, at, "a 0.2.0 leader, b 0.1.9 voter, c 0.1.9 voter, mixed-versions")
	register(t, a, 3)
	refusedLater(t, a, "this needs clusterd 0.2.0 or newer on every master, but node ")

	b.stop(t)
	b.cfg.Listen, b.cfg.PeerListen, b.cfg.Join = freeAddress(t), freeAddress(t), nil
	b = startVersion(t, "0.2.0", b.cfg)
	untilCensus(t, at, "a 0.2.0 leader, b 0.2.0 voter, c 0.1.9 voter, mixed-versions")
	until(t, "b at its new address", func() bool {
		n, ok := a.member.Load().machine.View().Node(nodeNamed(t, a, "b"))
		return ok && n.GetPeerAddress() == b.cfg.PeerListen && n.GetMasterAddress() == b.cfg.Listen
	})
	refusedLater(t, a, "this needs clusterd 0.2.0 or newer on every master, but node c runs 0.1.9")

	c.stop(t)
	c.cfg.Join = nil
	c = startVersion(t, "0.2.0", c.cfg)
	untilCensus(t, at, "a 0.2.0 leader, b 0.2.0 voter, c 0.2.0 voter")
	// From here on it may be used. It is not: no later version is built in here.
	data, err := a.member.Load().encode(later())
	if err != nil {
		t.Errorf("all masters are new: %v", err)
	}
	if op, err := registry.Decode(data); err != nil || op.GetSince() != "0.2.0" {
		t.Errorf("the entry says %q, %v", op.GetSince(), err)
	}

	// Nothing new was used: the way back is open.
	c.stop(t)
	c = startVersion(t, "0.1.9", c.cfg)
	untilCensus(t, at, "a 0.2.0 leader, b 0.2.0 voter, c 0.1.9 voter, mixed-versions")
	refusedLater(t, a, "this needs clusterd 0.2.0 or newer on every master, but node c runs 0.1.9")

	// The leader is the last: whoever is next, old or new, leads the rest, and takes it back.
	hash := a.member.Load().machine.View().ContentHash()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = startNode(t, a.config)
	until(t, "a among the others again", func() bool {
		return strings.Replace(census(t, c.cfg.Listen), "leader", "voter", 1) == "a 0.2.0 voter, b 0.2.0 voter, c 0.1.9 voter, mixed-versions"
	})
	until(t, "a with all that was there", func() bool { return a.member.Load().machine.View().ContentHash() == hash })
}

// nodeNamed is the id of a node.
func nodeNamed(t *testing.T, at *Node, name string) string {
	t.Helper()
	for _, n := range at.member.Load().machine.View().Nodes() {
		if n.GetName() == name {
			return n.GetId()
		}
	}
	t.Fatalf("no node %s", name)
	return ""
}

// Versions too far apart: neither a new node nor an old member is let in, both are told why in the same words,
// and the member comes back with a version that fits. CLU-22, CLU-36, CLU-38
func TestIncompatibleVersion(t *testing.T) {
	setVersion(t, "0.2.0")
	a := startNode(t, masterConfig(t, "a"))
	for _, version := range []string{"0.4.0", "0.0.9", "1.2.0"} {
		far := startVersion(t, version, joinAt(t, a, masterConfig(t, "far")))
		if err := far.wait(t); err == nil {
			t.Errorf("clusterd %s has joined", version)
		}
		want := "clusterd: join " + a.host.peer() + ": clusterd " + version + " is too far from version 0.2.0 of the cluster: 0.1 to 0.3 are allowed\n"
		if !strings.HasSuffix(far.logged(), want) {
			t.Errorf("clusterd %s says %q, want %q", version, far.logged(), want)
		}
	}
	b := startVersion(t, "0.3.0", joinAt(t, a, masterConfig(t, "b")))
	at := a.host.master()
	untilCensus(t, at, "a 0.2.0 leader, b 0.3.0 learner, mixed-versions")
	b.stop(t)
	b.cfg.Join = nil
	b = startVersion(t, "0.4.0", b.cfg)
	until(t, "b is told", func() bool {
		return strings.Contains(b.logged(), "clusterd 0.4.0 is too far from version 0.2.0 of the cluster: 0.1 to 0.3 are allowed")
	})
	if got := census(t, at); !strings.HasPrefix(got, "a 0.2.0 leader, b 0.3.0 learner away") {
		t.Errorf("the cluster is %q", got)
	}
	b.stop(t)
	startVersion(t, "0.1.0", b.cfg)
	untilCensus(t, at, "a 0.2.0 leader, b 0.1.0 learner, mixed-versions")
}

// A master that is away while another moves and becomes the leader finds that one when it is back. CLU-36
func TestMovedLeader(t *testing.T) {
	a := startNode(t, masterConfig(t, "a"))
	b := joinNode(t, a, masterConfig(t, "b"), api.TokenAny)
	c := joinNode(t, a, masterConfig(t, "c"), api.TokenAny)
	until(t, "three voters", func() bool { return raftStates(t, a) == "a:leader b:voter c:voter" })
	moved, away := b.config, c.config
	for _, n := range []*Node{c, b} {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	moved.PeerListen, moved.Join, away.Join = freeAddress(t), nil, nil
	b = startNode(t, moved)
	until(t, "the new address in the registry", func() bool {
		n, ok := b.member.Load().machine.View().Node(b.identity().NodeID)
		return ok && n.GetPeerAddress() == moved.PeerListen
	})
	if err := a.member.Load().peer.Transfer(t.Context(), b.member.Load().id); err != nil {
		t.Fatal(err)
	}
	until(t, "b leads", func() bool { return b.leading.Load() != nil })
	c = startNode(t, away)
	until(t, "c has all", func() bool { return c.member.Load().machine.Hash()() == b.member.Load().machine.Hash()() })
}
