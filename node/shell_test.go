package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"

	"clusterd/node/agent"
	"clusterd/node/api"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"
)

// countCore notes what it is stepped with and wants a tick at an instant.
type countCore struct {
	mu    sync.Mutex // the test looks while the loop waits
	steps []string
	at    time.Time
}

func (c *countCore) Step(now time.Time, ev string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steps = append(c.steps, ev)
	if ev == "tick" {
		c.at = time.Time{}
	}
	return []string{"effect of " + ev}
}

func (c *countCore) seen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.steps)
}

func (c *countCore) Deadline() (time.Time, bool) { return c.at, !c.at.IsZero() }

// The loop takes events in order, ticks at the deadline and carries effects in their order.
func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &countCore{at: time.Now().Add(5 * time.Second)}
		box := newMailbox[string](2)
		var effects []string
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan bool)
		go func() {
			runLoop(ctx, c, box, "tick", func(f string) { effects = append(effects, f) }, func() {})
			close(ended)
		}()
		for _, ev := range []string{"a", "b", "c"} {
			if err := box.offer(ctx, ev); err != nil {
				t.Fatal(err)
			}
		}
		box.post("d")
		synctest.Wait()
		if got, want := c.seen(), []string{"a", "b", "c", "d"}; !slices.Equal(got, want) {
			t.Errorf("steps %v, want %v", got, want)
		}
		<-time.After(6 * time.Second) // of the fake clock
		synctest.Wait()
		cancel()
		<-ended
		if c.steps[len(c.steps)-1] != "tick" || effects[len(effects)-1] != "effect of tick" {
			t.Errorf("no tick at the deadline: %v", c.steps)
		}
		if err := box.offer(t.Context(), "late"); !errors.Is(err, errStopped) {
			t.Errorf("offer to an ended loop: %v", err)
		}
		box.post("late") // dropped, not stuck
	})
}

// Offers wait for a place; what the loop's helpers post never does.
func TestMailboxPlaces(t *testing.T) {
	box := newMailbox[int](1)
	if err := box.offer(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := box.offer(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("offer without a place: %v", err)
	}
	for i := range 100 {
		box.post(i)
	}
	if got := box.take(nil); len(got) != 101 {
		t.Errorf("%d events, want 101", len(got))
	}
	if err := box.offer(t.Context(), 3); err != nil {
		t.Errorf("the place was not given back: %v", err)
	}
}

// A subscriber gets everything and then the end. SCH-261
func TestStreamEnd(t *testing.T) {
	s := newStream[*v1scheduler.Event](func() { t.Error("cut off") })
	ev := &v1scheduler.Event{Type: v1scheduler.Event_HEARTBEAT.Enum()}
	s.push(ev)
	s.push(ev)
	s.end()
	s.push(ev) // after the end: dropped
	if batch, err := s.Next(t.Context()); err != nil || len(batch) != 2 {
		t.Errorf("batch of %d, %v", len(batch), err)
	}
	if _, err := s.Next(t.Context()); err != io.EOF {
		t.Errorf("after the last event: %v, want EOF", err)
	}
}

// A subscriber that does not read is cut off: at once when far too much waits for it, else after a while.
// SCH-291
func TestStreamSlowSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := &v1scheduler.Event{Message: &v1scheduler.Event_Message{Data: make([]byte, 1<<20)}}
		for name, stalled := range map[string]time.Duration{"far too much": 0, "for too long": streamPatience + 1} {
			gone := 0
			s := newStream[*v1scheduler.Event](func() { gone++ })
			for range maxStalledBytes >> 20 {
				s.push(large)
			}
			if time.Sleep(stalled); stalled == 0 {
				for range (maxStreamBytes - maxStalledBytes) >> 20 {
					s.push(large)
				}
			}
			s.push(large)
			if gone != 1 {
				t.Errorf("%s: told %d times that the subscriber is cut off, want once", name, gone)
			}
			if _, err := s.Next(t.Context()); !errors.Is(err, errSlowSubscriber) {
				t.Errorf("%s: %v", name, err)
			}
			s.Close()
			if gone != 1 {
				t.Errorf("%s: told again", name)
			}
		}
	})
}

// A subscriber that reads gets all of a large batch, in order and in pieces, and may be idle for long
// before. SCH-238, SCH-291
func TestStreamBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream[*v1scheduler.Event](func() { t.Error("cut off") })
		time.Sleep(time.Hour)
		sent, got := 0, 0
		send := func() {
			n := float64(sent)
			s.push(&v1scheduler.Event{Subscribed: &v1scheduler.Event_Subscribed{HeartbeatIntervalSeconds: &n}})
			sent++
		}
		for range 50_000 {
			send()
		}
		for range 20 {
			time.Sleep(streamPatience - 1)
			got += takeNumbered(t, s, got)
			send()
		}
		for got < sent {
			got += takeNumbered(t, s, got)
		}
		s.end()
		if _, err := s.Next(t.Context()); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
		if s.bytes != 0 {
			t.Errorf("%d bytes are charged to an empty queue", s.bytes)
		}
	})
}

// takeNumbered takes one batch and checks that its numbers follow.
func takeNumbered(t *testing.T, s *stream[*v1scheduler.Event], from int) int {
	t.Helper()
	batch, err := s.Next(t.Context())
	if err != nil || len(batch) == 0 || len(batch) > maxTake {
		t.Fatalf("after %d events: a batch of %d, %v", from, len(batch), err)
	}
	for i, ev := range batch {
		if n := ev.GetSubscribed().GetHeartbeatIntervalSeconds(); int(n) != from+i {
			t.Fatalf("event %v, want %d", n, from+i)
		}
	}
	return len(batch)
}

// Requests get their own answers; one that was given up gets none; a stopped loop answers all. SCH-293
func TestFront(t *testing.T) {
	f := newFront[*v1scheduler.Event, string]()
	done := make(chan struct{})
	asked := make(chan uint64, 1)
	got := make(chan string, 1)
	go func() {
		r, err := f.ask(t.Context(), done, func(id uint64) error { asked <- id; return nil })
		got <- fmt.Sprint(r.view, err)
	}()
	id := <-asked
	f.respond(id+1000, reply[string]{view: "for nobody"})
	f.respond(id, reply[string]{view: "answer"})
	f.respond(id, reply[string]{view: "twice"})
	if s := <-got; s != "answer<nil>" {
		t.Errorf("got %s", s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var closed []uint64
	_, s, err := f.subscribe(ctx, done, func(uint64, uint64) error { cancel(); return nil }, func(id uint64) { closed = append(closed, id) })
	if s != nil || !errors.Is(err, context.Canceled) || len(closed) != 1 {
		t.Errorf("a subscriber that went away: %v %v, loop told of %v", s, err, closed)
	}
	close(done)
	if _, err := f.ask(t.Context(), done, func(uint64) error { return nil }); !errors.Is(err, api.ErrNotReady) {
		t.Errorf("a stopped loop: %v", err)
	}
	if n := f.waiting(); n != 0 {
		t.Errorf("%d requests are left", n)
	}
}

// Frames arrive in order, the last ones before a close that is asked for; a peer that does not read is cut
// off without holding anyone up.
func TestFrameConn(t *testing.T) {
	ours, theirs := net.Pipe()
	var got []string
	done := make(chan error, 1)
	b := newFrameConn(theirs, func() *wire.ToAgent { return new(wire.ToAgent) },
		func(m *wire.ToAgent) error { got = append(got, m.GetShutdown().GetMessage()); return nil },
		func(err error) { done <- err })
	ended := make(chan error, 1)
	a := newFrameConn(ours, func() *wire.FromAgent { return new(wire.FromAgent) }, func(*wire.FromAgent) error { return nil }, func(err error) { ended <- err })
	for i := range 1000 {
		a.send(&wire.ToAgent{Message: &wire.ToAgent_Shutdown{Shutdown: &wire.Shutdown{Message: proto.String(fmt.Sprint(i))}}})
	}
	a.finish()
	<-done
	<-ended
	a.wait()
	b.wait()
	if len(got) != 1000 || got[0] != "0" || got[999] != "999" {
		t.Errorf("%d frames, %v", len(got), got)
	}

	ours, theirs = net.Pipe()
	defer theirs.Close()
	cut := make(chan error, 1)
	a = newFrameConn(ours, func() *wire.FromAgent { return new(wire.FromAgent) }, func(*wire.FromAgent) error { return nil }, func(err error) { cut <- err })
	for range 2*maxFrameQueue + 10 { // the writer holds one batch at most
		a.send(&wire.ToAgent{Message: &wire.ToAgent_Ping{Ping: &wire.Ping{}}})
	}
	if err := <-cut; !errors.Is(err, errSlowPeer) {
		t.Errorf("a peer that does not read: %v", err)
	}
	a.wait()
}

// A frame that is too long, or none at all, ends the connection with an error and reads nothing more.
func TestFrameConnBadPeer(t *testing.T) {
	for name, data := range map[string][]byte{
		"too long": {0xff, 0xff, 0xff, 0xff}, "not a message": {0, 0, 0, 2, 0xff, 0xff}, "cut off": {0, 0, 0, 9, 1},
	} {
		ours, theirs := net.Pipe()
		ended := make(chan error, 1)
		c := newFrameConn(ours, func() *wire.FromAgent { return new(wire.FromAgent) }, func(*wire.FromAgent) error { t.Errorf("%s: a message came through", name); return nil }, func(err error) { ended <- err })
		if _, err := theirs.Write(data); err != nil {
			t.Logf("%s: %v", name, err) // it may be cut off before all is written
		}
		theirs.Close()
		if err := <-ended; err == nil {
			t.Errorf("%s: no error", name)
		}
		c.wait()
	}
}

func record(id string) []byte {
	data, err := proto.Marshal(&wire.AgentRecord{Agent: &v1.AgentInfo{Id: &v1.AgentID{Value: &id}, Hostname: proto.String("h")}, BootId: proto.String("b")})
	if err != nil {
		panic(err)
	}
	return data
}

// Checkpoints are committed in order and survive; prefixes are deleted whole; without the link "latest"
// nothing is loaded. EXE-159, EXE-184, EXE-185
func TestCheckpointStore(t *testing.T) {
	dir := t.TempDir()
	s, err := openCheckpoints(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openCheckpoints(dir); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("opened twice: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan uint64, 10)
	ended := make(chan bool)
	go func() {
		s.run(ctx, func(seq uint64) { done <- seq }, func(err error) { t.Error(err) })
		close(ended)
	}()
	s.queue(agent.Checkpoint{Seq: 1, Put: map[string][]byte{"info": record("M-S0"), "a/b/1": []byte("x"), "a/b/2": []byte("y"), "a/c": []byte("z"), "ab": []byte("w")}})
	s.queue(agent.Checkpoint{Seq: 2, Delete: []string{"a/b/", "missing", "missing/"}, Put: map[string][]byte{"a/b/3": []byte("new")}})
	for <-done != 2 {
	}
	cancel()
	<-ended
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(filepath.Join(dir, "meta", "slaves", "latest")); err != nil || target != "M-S0" {
		t.Errorf("latest: %q, %v", target, err)
	}
	load := func() map[string][]byte {
		t.Helper()
		s, err := openCheckpoints(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		kv, err := s.load()
		if err != nil {
			t.Fatal(err)
		}
		return kv
	}
	kv := load()
	if len(kv) != 4 || string(kv["a/b/3"]) != "new" || string(kv["a/c"]) != "z" || string(kv["ab"]) != "w" {
		t.Errorf("loaded %v", kv)
	}
	if err := os.Remove(filepath.Join(dir, "meta", "slaves", "latest")); err != nil {
		t.Fatal(err)
	}
	if kv := load(); len(kv) != 0 {
		t.Errorf("without latest: %v", kv)
	}
}

// Old sandboxes are removed; what lies outside, or behind a link, is not touched. EXE-193
func TestRemoveSandbox(t *testing.T) {
	outside := t.TempDir()
	keep := filepath.Join(outside, "keep")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	run := filepath.Join(work, "slaves", "S0", "frameworks", "F", "executors", "E", "runs", "C")
	if err := os.MkdirAll(filepath.Join(run, "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(run, "deep", "link")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{work, filepath.Join(work, ".."), outside, filepath.Join(run, "..", "..", "..", "..", "..", "..", "..", "..", "..", "etc")} {
		if err := removeSandbox(work, path); err == nil {
			t.Errorf("removed %s", path)
		}
	}
	if err := removeSandbox(work, run); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(run); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("sandbox is still there: %v", err)
	}
	if _, err := os.Lstat(keep); err != nil {
		t.Errorf("a file behind a link was removed: %v", err)
	}
	// A link in the middle of the path leads nowhere.
	if err := os.Symlink(outside, filepath.Join(work, "slaves", "evil")); err != nil {
		t.Fatal(err)
	}
	if err := removeSandbox(work, filepath.Join(work, "slaves", "evil", "keep")); err == nil {
		t.Error("followed a link out of the work directory")
	}
}

func TestConfigValidate(t *testing.T) { // OPR-206, OPR-220, CLU-9
	for _, c := range []struct {
		args []string
		want string // "" is valid
	}{
		{nil, ""},
		{[]string{"--listen", "nope"}, `--listen: "nope" is not HOST:PORT`},
		{[]string{"--agent-listen", ":70000"}, `--agent-listen: port "70000" of ":70000" is not between 0 and 65535`},
		{[]string{"--advertise", "host"}, `--advertise: "host" is not an IP address`},
		{[]string{"--agent_ping_timeout", "100ms"}, "--agent-ping-timeout: 100ms is not between 1secs and 15mins"},
		{[]string{"--weights", "a=0"}, "--weights: Invalid weight: 'a=0'. Weights must be positive"},
		{[]string{"--executor_environment_variables", `{"A":1}`}, "--executor-environment-variables: `executor_environment_variables` must only contain string values"},
		{[]string{"--cgroups-root", "../x"}, `--cgroups-root: "../x" is not a relative path below the cgroup hierarchy`},
		{[]string{"--logging-level", "loud"}, `--logging-level: "loud" is not one of debug, info, warn, error`},
		{[]string{"--gc-delay", "2weeks", "--gc-disk-headroom", "2", "--max-agent-ping-timeouts", "0"}, "--gc-disk-headroom: 2 is not between 0 and 1\n--max-agent-ping-timeouts: 0 is less than 1"},
		{[]string{"--slave_ping_timeout", "20secs", "--work_dir", "/tmp/x", "--gc_delay", "90s"}, ""}, // Mesos's older names, Go's durations
	} {
		cfg := DefaultConfig()
		fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
		cfg.AddFlags(fs)
		if err := fs.Parse(c.args); err != nil {
			t.Errorf("%v: %v", c.args, err)
			continue
		}
		got := ""
		if err := cfg.Validate(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.args, got, c.want)
		}
	}
}

// The command line wins over the environment, CLUSTERD_ over MESOS_. OPR-205, OPR-212
func TestEnvironment(t *testing.T) {
	cfg := DefaultConfig()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	cfg.AddFlags(fs)
	if err := fs.Parse([]string{"--hostname", "given"}); err != nil {
		t.Fatal(err)
	}
	env := []string{"CLUSTERD_HOSTNAME=env", "CLUSTERD_CLUSTER=ours", "MESOS_CLUSTER=theirs", "MESOS_ROLES=a,b", "MESOS_UNKNOWN=1", "PATH=/bin"}
	if _, err := ApplySources(fs, env); err != nil {
		t.Fatal(err)
	}
	if cfg.Hostname != "given" || cfg.Cluster != "ours" || !slices.Equal(cfg.Roles, []string{"a", "b"}) {
		t.Errorf("hostname %q, cluster %q, roles %v", cfg.Hostname, cfg.Cluster, cfg.Roles)
	}
	if _, err := ApplySources(fs, []string{"CLUSTERD_GC_DELAY=soon"}); err == nil || !strings.Contains(err.Error(), "--gc-delay") {
		t.Errorf("bad value: %v", err)
	}
	values := FlagValues(fs)
	if values["agent_ping_timeout"] != "15secs" || values["roles"] != "a,b" || values["root_submissions"] != "true" {
		t.Errorf("flag values %v", values)
	}
}

func TestDetectedResources(t *testing.T) { // RES-34, RES-36, RES-37, RES-38, EXE-187
	const gb = 1 << 30
	for total, want := range map[uint64]int64{0: 1024, gb: 512, 2 * gb: 1024, 24 * gb: 23 * 1024} {
		if got := memMB(total); got != want {
			t.Errorf("mem of %d: %d, want %d", total, got, want)
		}
	}
	for total, want := range map[uint64]int64{0: 10240, 4 * gb: 2048, 10 * gb: 5 * 1024, 100 * gb: 95 * 1024} {
		if got := diskMB(total, 0); got != want {
			t.Errorf("disk of %d: %d, want %d", total, got, want)
		}
	}
	for text, want := range map[string]string{
		"":                                "cpus mem disk ports",
		"cpus:2;mem:100":                  "cpus mem disk ports",
		"cpus:0;mem:100":                  "mem disk ports", // named with 0: not detected
		"cpus(prod):2":                    "cpus mem disk ports",
		"cpus:1;mem:1;disk:1;gpus:2":      "cpus mem disk gpus ports",
		"cpus:1;mem:1;disk:1;ports:[1-2]": "cpus mem disk ports",
	} {
		cfg := DefaultConfig()
		cfg.Resources = text
		resources, err := cfg.agentResources(t.TempDir())
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		var names []string
		for _, r := range resources {
			names = append(names, r.GetName())
		}
		if text == "cpus:2;mem:100" && resources[0].GetScalar().GetValue() != 2 {
			t.Errorf("%q: cpus %v", text, resources[0])
		}
		slices.Sort(names)
		wanted := strings.Fields(want)
		slices.Sort(wanted)
		if !slices.Equal(names, wanted) {
			t.Errorf("%q: %v, want %v", text, names, wanted)
		}
	}
}

// A taken port is one clear error that names the flag. CLU-11
func TestListeners(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := DefaultConfig()
	cfg.Listen, cfg.AgentListen, cfg.PeerListen = "127.0.0.1:0", l.Addr().String(), "127.0.0.1:0"
	var ls listeners
	err = ls.open(&cfg, true)
	if want := "--agent-listen: address " + l.Addr().String() + " is in use by another program"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
