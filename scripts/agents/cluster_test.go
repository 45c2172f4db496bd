package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	daemon "clusterd/node"
)

// The test binary is the program too: started again with this variable it is one of its processes.
const asFleet = "FLEET_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asFleet) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// patience bounds every wait for an event: it is only reached when something is broken.
const patience = 30 * time.Second

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// masterConfig is that of a master with addresses that it keeps when it starts again.
func masterConfig(t *testing.T) daemon.Config {
	cfg := daemon.DefaultConfig()
	cfg.DataDir, cfg.Name, cfg.Role, cfg.Masters = filepath.Join(t.TempDir(), "m"), "m", "master", 1
	cfg.Listen, cfg.AgentListen, cfg.PeerListen = freePort(t), "127.0.0.1:0", freePort(t)
	return cfg
}

func startMaster(t *testing.T, cfg daemon.Config) *daemon.Node {
	t.Helper()
	n, err := daemon.Start(t.Context(), cfg, nil, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close the master: %v", err)
		}
	})
	return n
}

// until waits for what agents and frameworks reach by themselves.
func until(t *testing.T, c *campaign, what string, reached func(picture, figures) bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !reached(c.herd.picture(), c.figures()) {
		select {
		case <-tick.C:
		case err := <-c.herd.failure():
			t.Fatalf("not reached: %s: %v", what, err)
		case <-late:
			text, err := json.Marshal(c.summary())
			t.Fatalf("not reached: %s: %s %v", what, text, err)
		}
	}
}

// snapshot is the master's own count of things.
func snapshot(t *testing.T, master string) map[string]float64 {
	t.Helper()
	resp, err := http.Get("http://" + master + "/metrics/snapshot")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all := make(map[string]float64)
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// Fifty agents that come and go by their script, with messages that are late, are filled with tasks by
// two frameworks; the master ends and starts again; all come back with their tasks, and every task that
// was launched is known to its framework, its agent and the master alike. The next run is the same
// agents. CLU-33, CLU-60, CLU-61, CLU-63
func TestCluster(t *testing.T) {
	cfg := masterConfig(t)
	master := startMaster(t, cfg)
	args := []string{"-data-dir", cfg.DataDir, "-state", t.TempDir(), "-agents", "50", "-tasks-per-agent", "5", "-frameworks", "2", "-roles", "a,b",
		"-start-delay", "0-50ms", "-delay", "0-10ms", "-disconnect-every", "20s", "-away", "0-200ms", "-racks", "5"}
	s, err := parse(args, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	c, err := start(t.Context(), s, args, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	all := func(p picture, f figures) bool {
		return p.Counts[joined] == 50 && f.Running == 250 && p.Counts[running] == 250 && p.Counts[disconnects] >= 3
	}
	until(t, c, "all tasks run", all)

	if err := master.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, c, "the agents have lost the master", func(p picture, f figures) bool { return p.Counts[registered] == 0 && f.Frameworks == 0 })
	startMaster(t, cfg)
	until(t, c, "all tasks run after the restart", func(p picture, f figures) bool {
		back := len(p.Offices) == 2 && p.Offices[1].Agents == 50 && f.Frameworks == 2
		// What a framework was about to be told it is told again.
		return back && all(p, f) && p.Counts[tasks] == 250 && snapshot(t, cfg.Listen)["master/tasks_running"] == 250
	})
	p, f := c.herd.picture(), c.figures()
	if f.Launched != f.Live+f.Finished+f.Failed+f.Killed+f.Lost+f.Refused || f.Live != 250 {
		t.Errorf("not every task is accounted for: %+v", f)
	}
	if p.Counts[joins] != 50 || p.Counts[expelled] != 0 {
		t.Errorf("counts %v", p.Counts)
	}
	if counted := snapshot(t, cfg.Listen); counted["master/tasks_running"]+counted["master/tasks_staging"]+counted["master/tasks_starting"] != 250 {
		t.Errorf("the master has other tasks: %v", counted)
	}
	if _, err := c.finish(); err != nil {
		t.Error(err)
	}

	// The same agents once more, without a join; at the end they take their leave.
	args = append(args, "-tasks-per-agent", "0", "-frameworks", "1", "-disconnect-every", "0", "-leave")
	if s, err = parse(args, t.Output()); err != nil {
		t.Fatal(err)
	}
	if c, err = start(t.Context(), s, args, t.Output()); err != nil {
		t.Fatal(err)
	}
	until(t, c, "all are registered", func(p picture, _ figures) bool { return p.Counts[registered] == 50 })
	if p := c.herd.picture(); p.Counts[joins] != 0 || p.Counts[tasks] != 0 || p.Counts[dismissals] != 0 {
		t.Errorf("counts %v", p.Counts)
	}
	if n := snapshot(t, cfg.Listen)["master/slaves_active"]; n != 50 {
		t.Errorf("the master has %v agents", n)
	}
	if _, err := c.finish(); err != nil {
		t.Error(err)
	}
	if n := snapshot(t, cfg.Listen)["master/slaves_active"]; n != 0 {
		t.Errorf("after their leave the master has %v agents", n)
	}
}

// The whole program, with its agents in two processes and tasks that end: it prints a line a second, ends
// when -hold is over, and its summary counts every task.
func TestProcesses(t *testing.T) {
	cfg := masterConfig(t)
	startMaster(t, cfg)
	t.Setenv(asFleet, "1")
	var out, progress strings.Builder
	args := strings.Fields(fmt.Sprintf("-data-dir %s -agents 10 -tasks-per-agent 4 -processes 2 -hold 1500ms -for 30s -start-delay 0 -run-time 1s-1300ms -ends finished=1,failed=1 -content json -no-starting -o json", cfg.DataDir))
	if err := begin(args, nil, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	var s summary
	if err := json.Unmarshal([]byte(out.String()), &s); err != nil {
		t.Fatal(err)
	}
	f := s.Figures
	if s.Processes != 2 || s.Agents != 10 || s.Counts[joins] != 10 || s.AllRunning == nil || s.Launches == nil || f.Launched < 40 || f.Live != 40 && f.Live < 30 ||
		f.Launched != f.Live+f.Finished+f.Failed+f.Killed+f.Lost+f.Refused || f.Finished+f.Failed == 0 || len(s.Faults) != 0 {
		t.Errorf("summary %s", out.String())
	}
	if !strings.Contains(progress.String(), "agents 10 joined, 10 linked, 10 registered; tasks ") {
		t.Errorf("progress %s", progress.String())
	}
}

// Nodes that were removed while they were away are told so by the masters' refusal of their certificates,
// and are not tried again by the next run. CLU-21
func TestRemoved(t *testing.T) {
	cfg := masterConfig(t)
	startMaster(t, cfg)
	args := []string{"-data-dir", cfg.DataDir, "-state", t.TempDir(), "-agents", "3"}
	begin := func() *campaign {
		s, err := parse(args, t.Output())
		if err != nil {
			t.Fatal(err)
		}
		c, err := start(t.Context(), s, args, t.Output())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	finish := func(c *campaign) {
		if _, err := c.finish(); err != nil {
			t.Error(err)
		}
	}
	c := begin()
	until(t, c, "all are registered", func(p picture, _ figures) bool { return p.Counts[registered] == 3 })
	id := c.herd.(*crew).nodes[1].identity().NodeID
	finish(c)
	if err := throughSocket(cfg.DataDir).ask(t.Context(), http.MethodPost, "/cluster/nodes/"+id+"/remove", nil, new(struct{})); err != nil {
		t.Fatal(err)
	}
	c = begin()
	n := c.herd.(*crew).nodes[1]
	n.mu.Lock()
	n.refusals = maxRefusals - 2 // its patience is not measured here
	n.mu.Unlock()
	until(t, c, "one is expelled", func(p picture, _ figures) bool { return p.Counts[expelled] == 1 && p.Counts[registered] == 2 })
	finish(c)
	c = begin()
	until(t, c, "a new node has its number", func(p picture, _ figures) bool { return p.Counts[registered] == 3 && p.Counts[joins] == 1 })
	if c.herd.(*crew).nodes[1].identity().NodeID == id {
		t.Error("the removed node is there again")
	}
	finish(c)
}

// What cannot work ends at once, with a text that says why. CLU-22
func TestCannotJoin(t *testing.T) {
	cfg := masterConfig(t)
	startMaster(t, cfg)
	var out strings.Builder
	other := "clusterd-1-agent-" + strings.Repeat("a", 52)
	for _, test := range []struct{ args, want string }{
		{"-token nonsense", "-token: the token does not begin with"},
		{"-token " + other, "-token: token: it has a typing error"},
		{"", "a token is needed to join"},
		{"-token-file /no/such/file", "-token-file: "},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		s, err := parse(strings.Fields("-agents 3 -master "+cfg.Listen+" "+test.args), &out)
		if err == nil {
			err = run(ctx, s, nil, &out, t.Output())
		}
		cancel()
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v, want one with %q", test.args, err, test.want)
		}
	}
	q := throughSocket(cfg.DataDir)
	token, err := q.token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := q.ask(t.Context(), http.MethodPost, "/cluster/token", map[string]any{"role": "agent", "rotate": true}, new(struct{})); err != nil {
		t.Fatal(err)
	}
	s, err := parse([]string{"-agents", "3", "-master", cfg.Listen, "-token", token}, &out)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), s, nil, &out, t.Output()); err == nil || !strings.Contains(err.Error(), "the token is not valid, or was rotated") {
		t.Errorf("a rotated token: %v", err)
	}
}
