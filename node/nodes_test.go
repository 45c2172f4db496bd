package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"

	"clusterd/node/api"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/trust"
	"clusterd/raft/registry"
)

// patience bounds every wait for an event: it is only reached when something is broken.
const patience = 30 * time.Second

// masterConfig is that of a node without an agent, with addresses of its own on loopback.
func masterConfig(t *testing.T, name string) Config {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir, cfg.Name, cfg.Role = filepath.Join(t.TempDir(), name), name, "master"
	// Ports that are free now: a node that starts again is to be found where it was.
	cfg.Listen, cfg.AgentListen, cfg.PeerListen = freeAddress(t), freeAddress(t), freeAddress(t)
	return cfg
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// testLog writes what the node logs to the test.
func testLog(t *testing.T, name string) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", name)
}

// startNode runs a node until the end of the test.
func startNode(t *testing.T, cfg Config) *Node {
	t.Helper()
	n, err := Start(t.Context(), cfg, nil, testLog(t, cfg.Name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close %s: %v", cfg.Name, err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.WaitReady(ctx); err != nil {
		t.Fatalf("%s is not ready: %v", cfg.Name, err)
	}
	return n
}

// joinNode runs a node that joins at another one.
func joinNode(t *testing.T, at *Node, cfg Config, role string) *Node {
	t.Helper()
	answer, err := clusterOffice{at}.Token(t.Context(), api.TokenRequest{Role: role})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Join, cfg.Token = []string{at.host.peer()}, answer.Token
	return startNode(t, cfg)
}

// until waits for a condition that the nodes reach by themselves.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not reached: %s", what)
		}
	}
}

// raftStates lists the nodes with their raft states, as the leader sees them.
func raftStates(t *testing.T, leader *Node) string {
	t.Helper()
	status, err := clusterOffice{leader}.Status(t.Context())
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, node := range status.Nodes {
		all = append(all, node.Name+":"+node.RaftState)
	}
	return strings.Join(all, " ")
}

// A cluster grows to its number of masters by itself; a fourth node stands by. CLU-2, CLU-3, CLU-4,
// CLU-5, CLU-20
func TestGrow(t *testing.T) {
	a := startNode(t, masterConfig(t, "a"))
	b := joinNode(t, a, masterConfig(t, "b"), api.TokenAny)
	c := joinNode(t, a, masterConfig(t, "c"), api.TokenAny)
	until(t, "three voters", func() bool { return raftStates(t, a) == "a:leader b:voter c:voter" })
	d := joinNode(t, a, masterConfig(t, "d"), api.TokenAny)
	until(t, "a standby", func() bool { return raftStates(t, a) == "a:leader b:voter c:voter d:standby" })

	// Every node names the leader. CLU-50
	for _, n := range []*Node{b, c, d} {
		until(t, n.name+" knows the leader", func() bool { hostport, _, _ := n.Leader(); return hostport == a.host.master() })
	}
	hash := func() string { return a.member.Load().machine.Hash()() }
	for _, n := range []*Node{b, c} {
		until(t, "equal registries", func() bool { return n.member.Load().machine.Hash()() == hash() })
	}
}

// The leader ends: another takes over, and a standby takes its place when it stays away. CLU-5, CLU-34
func TestReplace(t *testing.T) {
	cfg := func(name string) Config {
		c := masterConfig(t, name)
		c.MasterReplaceAfter = 2 * time.Second
		return c
	}
	a := startNode(t, cfg("a"))
	b := joinNode(t, a, cfg("b"), api.TokenAny)
	c := joinNode(t, a, cfg("c"), api.TokenAny)
	d := joinNode(t, a, cfg("d"), api.TokenAny)
	until(t, "three voters", func() bool { return raftStates(t, a) == "a:leader b:voter c:voter d:standby" })
	began := time.Now()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	var leader *Node
	until(t, "another leader", func() bool {
		i := slices.IndexFunc([]*Node{b, c}, func(n *Node) bool { return n.leading.Load() != nil })
		if i >= 0 {
			leader = []*Node{b, c}[i]
		}
		return i >= 0
	})
	t.Logf("another leader %v after SIGTERM", time.Since(began))
	until(t, "d in the place of a", func() bool {
		return strings.Contains(raftStates(t, leader), "a:standby") && strings.Contains(raftStates(t, leader), "d:voter")
	})
	_ = d
}

// Operators choose masters, remove nodes and let them leave. CLU-6, CLU-21
func TestNodeVerbs(t *testing.T) {
	a := startNode(t, masterConfig(t, "a"))
	b := joinNode(t, a, masterConfig(t, "b"), api.TokenAny)
	c := joinNode(t, a, masterConfig(t, "c"), api.TokenAny)
	cfg := masterConfig(t, "d")
	d := joinNode(t, a, cfg, api.TokenAny)
	until(t, "three voters", func() bool { return raftStates(t, a) == "a:leader b:voter c:voter d:standby" })
	change := func(at, node *Node, verb string) {
		t.Helper()
		if err := (clusterOffice{at}).ChangeNode(t.Context(), node.identity().NodeID, verb, api.DrainRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	change(a, c, api.NodeDemote)
	until(t, "d in the place of c", func() bool { return raftStates(t, a) == "a:leader b:voter c:standby d:voter" })
	until(t, "c has put its log aside", func() bool { return c.member.Load() == nil })
	change(a, c, api.NodePromote)
	until(t, "c preferred to another", func() bool { return strings.Contains(raftStates(t, a), "c:voter") })

	// One that is removed is told, and not let in again.
	out := b
	if strings.Contains(raftStates(t, a), "b:standby") {
		out = d
	}
	change(a, out, api.NodeRemove)
	select {
	case err := <-out.Failed():
		if err == nil || !strings.Contains(err.Error(), "removed") {
			t.Errorf("the removed node ends with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the removed node does not end")
	}
	if strings.Contains(raftStates(t, a), out.name+":") {
		t.Errorf("nodes are %s", raftStates(t, a))
	}
	until(t, "its certificate is refused", func() bool {
		conn, err := out.dialNode(t.Context(), "", a.host.peer(), trust.ProtocolNode)
		if err == nil {
			_, err = out.greet(conn, a.self())
		}
		return err != nil
	})

	// The leader itself leaves: leadership moves on first, and its directory can join again.
	if err := (clusterOffice{a}).Leave(t.Context(), api.LeaveRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	rest := slices.DeleteFunc([]*Node{b, c, d}, func(n *Node) bool { return n == out })
	var leader *Node
	until(t, "another leader", func() bool {
		for _, n := range rest {
			if n.leading.Load() != nil {
				leader = n
			}
		}
		return leader != nil
	})
	again := a.config
	again.Name = "again"
	joinNode(t, leader, again, api.TokenAny)
	until(t, "three voters again", func() bool {
		states := raftStates(t, leader)
		return strings.Contains(states, "again:voter") && !strings.Contains(states, "a:")
	})
}

// Certificates are renewed, and the authority is replaced, while the cluster runs. CLU-21
func TestRotateAuthority(t *testing.T) {
	short := func(name string) Config { // the old authority outlives all that it has signed, not more
		cfg := masterConfig(t, name)
		cfg.CertificateLifetime = 2 * time.Minute
		return cfg
	}
	a := startNode(t, short("a"))
	b := joinNode(t, a, short("b"), api.TokenAny)
	before := b.credentials.Chain()[0]
	if err := b.askRenewal(); err != nil {
		t.Fatal(err)
	}
	until(t, "a renewed certificate", func() bool { return !slices.Equal(before, b.credentials.Chain()[0]) })
	old, err := clusterOffice{a}.Token(t.Context(), api.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := (clusterOffice{a}).RotateAuthority(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*Node{a, b} {
		until(t, n.name+" trusts both", func() bool { return len(n.credentials.Authorities()) == 2 })
		until(t, n.name+" has a certificate of the new one", func() bool {
			if err := n.askRenewal(); err != nil {
				t.Log(err)
			}
			return sameCertificates(n.credentials.Chain()[1:2], n.credentials.Authorities()[:1])
		})
	}
	if got := len(a.credentials.Authorities()); got != 2 {
		t.Errorf("%d authorities are trusted, want the old one too", got)
	}
	stored, err := b.files.Load()
	if err != nil {
		t.Fatal(err)
	}
	if !sameCertificates(stored.Chain, b.credentials.Chain()) {
		t.Error("the new certificate is not on disk")
	}
	cfg := masterConfig(t, "late")
	cfg.Join, cfg.Token = []string{a.host.peer()}, old.Token
	if n, err := Start(t.Context(), cfg, nil, testLog(t, "late")); err == nil {
		n.Close()
		t.Error("joined with a token of the old authority")
	}
	joinNode(t, a, masterConfig(t, "c"), api.TokenAny)
}

// page is a dashboard's stream through a node.
func page(t *testing.T, n *Node) *websocket.Conn {
	t.Helper()
	var conn *websocket.Conn
	until(t, "a stream through "+n.name, func() (ok bool) {
		header := http.Header{"Origin": {"http://" + n.listeners.master.Addr().String()}}
		c, resp, err := websocket.DefaultDialer.Dial("ws://"+n.listeners.master.Addr().String()+"/ui/stream", header)
		if resp != nil {
			defer resp.Body.Close()
		}
		conn = c
		return err == nil
	})
	t.Cleanup(func() { conn.Close() })
	return conn
}

// showsLeader reads a stream until it shows which master leads.
func showsLeader(t *testing.T, conn *websocket.Conn, want string) {
	t.Helper()
	if err := conn.WriteJSON(map[string]string{"do": "subscribe", "topic": "overview"}); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for {
		_, body, err := conn.ReadMessage()
		if err != nil {
			t.Fatalf("stream ended before it showed %s as the leader: %v", want, err)
		}
		if strings.Contains(string(body), want) {
			return
		}
	}
}

// The dashboard works on every node, also after another has become the leader. CLU-51
func TestDashboardEverywhere(t *testing.T) {
	a := startNode(t, masterConfig(t, "a"))
	b := joinNode(t, a, masterConfig(t, "b"), api.TokenAny)
	c := joinNode(t, a, masterConfig(t, "c"), api.TokenAny)
	d := joinNode(t, a, func() Config {
		cfg := masterConfig(t, "d")
		cfg.Role = "auto"
		cfg.CgroupsRoot = "clusterd-test-d"
		return cfg
	}(), api.TokenAgent)
	until(t, "three voters", func() bool { return strings.HasPrefix(raftStates(t, a), "a:leader b:voter c:voter") })
	for _, n := range []*Node{a, b, c, d} {
		showsLeader(t, page(t, n), a.host.master())
	}
	open := page(t, d)
	showsLeader(t, open, a.host.master())
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for { // the page is told to come back
		if _, _, err := open.ReadMessage(); err != nil {
			break
		}
	}
	until(t, "another leader", func() bool { return b.leading.Load() != nil || c.leading.Load() != nil })
	leader := b
	if c.leading.Load() != nil {
		leader = c
	}
	for _, n := range []*Node{b, c, d} {
		until(t, n.name+" knows the leader", func() bool { hostport, _, _ := n.Leader(); return hostport == leader.host.master() })
		showsLeader(t, page(t, n), leader.host.master())
	}
}

// A data directory is of one cluster and one process; what is wrong is said. CLU-3, CLU-22
func TestJoinRefused(t *testing.T) {
	a := startNode(t, masterConfig(t, "a"))
	other := startNode(t, masterConfig(t, "other"))
	token := func(at *Node, r api.TokenRequest) string {
		answer, err := clusterOffice{at}.Token(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return answer.Token
	}
	good := token(a, api.TokenRequest{Role: api.TokenAny})
	agent := token(a, api.TokenRequest{Role: api.TokenAgent})
	for _, test := range []struct{ name, token, role, want string }{
		{"no token", "", "master", "--token"},
		{"typing error", good[:len(good)-1], "master", "typing error"},
		{"of another cluster", token(other, api.TokenRequest{Role: api.TokenAny}), "master", "another authority"},
		{"agent's token for a master", agent, "master", "agent"},
		{"rotated", good, "master", "rotated"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "rotated" {
				token(a, api.TokenRequest{Role: api.TokenAny, Rotate: true})
			}
			cfg := masterConfig(t, "new")
			cfg.Join, cfg.Token, cfg.Role = []string{a.host.peer()}, test.token, test.role
			n, err := Start(t.Context(), cfg, nil, testLog(t, "new"))
			if err == nil {
				n.Close()
				t.Fatal("joined")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %q, want one with %q", err, test.want)
			}
			if _, err := os.Stat(filepath.Join(cfg.DataDir, identityName)); err == nil {
				t.Error("an identity is left behind")
			}
		})
	}
	for i := range 12 {
		cfg := masterConfig(t, fmt.Sprint("new", i))
		cfg.Join, cfg.Token = []string{a.host.peer()}, good
		_, err := Start(t.Context(), cfg, nil, testLog(t, cfg.Name))
		if err == nil || i == 11 && !strings.Contains(err.Error(), "too many") {
			t.Fatalf("try %d: error is %v", i, err)
		}
	}
}

// register makes frameworks known to the cluster, which are writes to its registry.
func register(t *testing.T, n *Node, count int) {
	t.Helper()
	m := n.member.Load()
	for i := range count {
		info := &v1.FrameworkInfo{User: proto.String("u"), Name: proto.String("f"), FailoverTimeout: proto.Float64(1e6), Id: &v1.FrameworkID{Value: proto.String(fmt.Sprintf("framework-%03d", i))}}
		op := &registry.Op{Op: &registry.Op_AdmitFramework{AdmitFramework: &registry.AdmitFramework{Framework: info, Time: proto.Int64(int64(i))}}}
		if _, err := m.propose(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
}

// A backup restores to another cluster with the same content, which nodes of the old one cannot join.
// CLU-8
func TestBackupRestore(t *testing.T) {
	a := startNode(t, masterConfig(t, "a"))
	register(t, a, 100)
	info, write, err := clusterOffice{a}.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	cfg := masterConfig(t, "restored")
	report, err := Restore(RestoreConfig{File: file, DataDir: cfg.DataDir}, testLog(t, "restore"))
	if err != nil {
		t.Fatal(err)
	}
	if report.StateHash != info.StateHash || report.Frameworks != 100 {
		t.Errorf("restored %+v, saved %+v", report, info)
	}
	if _, err := Restore(RestoreConfig{File: file, DataDir: cfg.DataDir}, testLog(t, "restore")); err == nil {
		t.Error("restored into the directory of a cluster")
	}
	b := startNode(t, cfg)
	if got := b.member.Load().machine.View().ContentHash(); got != info.StateHash {
		t.Errorf("content hash is %s, of the backup %s", got, info.StateHash)
	}
	if b.identity().ClusterID == a.identity().ClusterID {
		t.Error("the restored cluster has the id of the old one")
	}
	if _, err := b.dialNode(t.Context(), "", a.host.peer(), trust.ProtocolNode); err == nil {
		t.Error("a node of the restored cluster trusts one of the old")
	}
	damaged := filepath.Join(t.TempDir(), "damaged")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(damaged, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(RestoreConfig{File: damaged, DataDir: masterConfig(t, "x").DataDir}, testLog(t, "restore")); err == nil {
		t.Error("restored a damaged backup")
	}
}

// Two of three masters are lost for good: reads are stale, writes say who is missing, and the last one is
// made a cluster of its own with all of its data, in which nodes that come back join again. CLU-8, CLU-35
func TestRecover(t *testing.T) {
	configs := map[string]Config{"a": masterConfig(t, "a"), "b": masterConfig(t, "b"), "c": masterConfig(t, "c")}
	a := startNode(t, configs["a"])
	b := joinNode(t, a, configs["b"], api.TokenAny)
	c := joinNode(t, a, configs["c"], api.TokenAny)
	until(t, "three voters", func() bool { return raftStates(t, a) == "a:leader b:voter c:voter" })
	register(t, a, 50)
	hash := a.member.Load().machine.View().ContentHash()
	until(t, "c has all", func() bool { return c.member.Load().machine.View().ContentHash() == hash })
	for _, n := range []*Node{a, b} {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "no leader", func() bool { return c.leading.Load() == nil && !c.leaderIsKnown() })
	until(t, "c says who is missing", func() bool {
		s, err := clusterOffice{c}.Status(t.Context())
		return err == nil && s.Stale && !s.Quorum.OK && s.StateHash == hash && len(c.noLeader().Missing) == 2
	})
	if _, err := (clusterOffice{c}).Token(t.Context(), api.TokenRequest{}); err == nil || !strings.Contains(err.Error(), "a (127.0.0.1:") {
		t.Errorf("error of a write is %v", err)
	}
	if _, err := Recover(configs["c"].DataDir, testLog(t, "recover")); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("recovered the directory of a running node: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := Recover(configs["c"].DataDir, testLog(t, "recover"))
	if err != nil {
		t.Fatal(err)
	}
	if report.StateHash != hash || len(report.Lost) != 2 {
		t.Errorf("recovered %+v, content hash was %s", report, hash)
	}
	c = startNode(t, configs["c"])
	until(t, "c leads alone", func() bool { return raftStates(t, c) == "a:standby b:standby c:leader" })
	if got := c.member.Load().machine.View().ContentHash(); got != hash {
		t.Errorf("content hash is %s, was %s", got, hash)
	}
	// The lost ones come back after all, and do as the present leader says.
	startNode(t, configs["a"])
	startNode(t, configs["b"])
	until(t, "three voters again", func() bool { return raftStates(t, c) == "a:voter b:voter c:leader" })
}

// No node takes the agent of another for its own. CLU-20
func TestAgentOwner(t *testing.T) {
	l := &leader{owners: map[mesos.AgentID]string{"A": "n1"}}
	for _, test := range []struct {
		node  string
		agent mesos.AgentID
		want  bool
	}{{"n1", "A", true}, {"n2", "A", false}, {"n2", "B", true}, {"n2", "", true}} {
		if got := l.owns(&attendance{node: test.node}, test.agent); got != test.want {
			t.Errorf("node %s owns agent %q: %v", test.node, test.agent, got)
		}
	}
}
