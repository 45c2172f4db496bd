package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterd/node/api"
)

// patience bounds every wait for an event: it is only reached when something is broken.
const patience = 30 * time.Second

// masterConfig is that of a node without an agent, with addresses of its own on loopback.
func masterConfig(t *testing.T, name string) Config {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir, cfg.Name, cfg.Role = filepath.Join(t.TempDir(), name), name, "master"
	cfg.Listen, cfg.AgentListen, cfg.PeerListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	return cfg
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
	c := joinNode(t, b2leader(b, a), masterConfig(t, "c"), api.TokenAny)
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

// b2leader asks the leader for a token: any node would pass the question on.
func b2leader(_, leader *Node) *Node { return leader }

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
