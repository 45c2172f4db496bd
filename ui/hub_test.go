package ui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// pipes is a network in memory: a listener whose connections are pipes, which
// the fake clock of testing/synctest knows.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5050} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bench is a hub with its source on a network in memory, inside a bubble.
type bench struct {
	t      *testing.T
	source *fakeSource
	hub    *Hub
	net    *pipes
}

// inBubble runs the test with a hub. Everything that the hub has started must
// have ended when Close returns: the bubble fails otherwise.
func inBubble(t *testing.T, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, source: newFake(), net: newPipes()}
		b.hub = New(Options{Source: b.source, Logger: quiet(t), MaxClients: 8})
		server := &http.Server{Handler: b.hub.Handler()}
		done := make(chan error, 1)
		go func() { done <- server.Serve(b.net) }()
		t.Cleanup(func() {
			b.hub.Close()
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			if err := <-done; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
			pass(time.Minute) // net/http lets connections linger
		})
		f(b)
	})
}

// pass lets the clock of the bubble run.
func pass(d time.Duration) { <-time.After(d) }

func (b *bench) dial(path string, header http.Header) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{NetDialContext: b.net.dial}
	return d.Dial("ws://127.0.0.1:5050"+path, header)
}

// stream is a client of /ui/stream that has been greeted.
type stream struct {
	t     *testing.T
	conn  *websocket.Conn
	hello message
}

func (b *bench) stream() *stream {
	b.t.Helper()
	conn, _, err := b.dial("/ui/stream", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	s := &stream{t: b.t, conn: conn}
	if s.hello = s.next(); s.hello.Type != "hello" || s.hello.Build == "" {
		b.t.Fatalf("greeted with %+v", s.hello)
	}
	return s
}

func (s *stream) call(what, topic string) {
	s.t.Helper()
	if err := s.conn.WriteJSON(call{Do: what, Topic: topic}); err != nil {
		s.t.Fatal(err)
	}
}

// next is the next message that is not a beat.
func (s *stream) next() message {
	s.t.Helper()
	for {
		var m message
		if err := s.conn.ReadJSON(&m); err != nil {
			s.t.Fatalf("read: %v", err)
		}
		if m.Type != "beat" {
			return m
		}
	}
}

func (s *stream) watch(topic string) message {
	s.t.Helper()
	s.call("subscribe", topic)
	m := s.next()
	if m.Type != "snapshot" || m.Topic != topic || m.Seq == 0 {
		s.t.Fatalf("subscribed to %s and got %+v", topic, m)
	}
	return m
}

func keys(t *testing.T, rows []json.RawMessage) []string {
	t.Helper()
	out := []string{}
	for _, r := range rows {
		var k struct{ Key string }
		if err := json.Unmarshal(r, &k); err != nil {
			t.Fatal(err)
		}
		out = append(out, k.Key)
	}
	return out
}

func field[T any](t *testing.T, m message, name string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(m.Fields[name], &v); err != nil {
		t.Fatalf("field %s of %+v: %v", name, m, err)
	}
	return v
}

func plainTask(id, state string, at time.Time) *Task {
	return &Task{ID: id, Name: id, FrameworkID: "f", AgentID: "a", State: state, Statuses: []Status{{State: state, Timestamp: at}}}
}

// UI-1: the first message is a snapshot with a number, then numbered deltas
// that hold what has changed and no more.
func TestSnapshotThenDeltas(t *testing.T) {
	inBubble(t, func(b *bench) {
		start := time.Now()
		b.source.update(func(s *State) {
			s.Tasks = []*Task{plainTask("one", "TASK_RUNNING", start), plainTask("two", "TASK_RUNNING", start.Add(time.Second))}
		})
		s := b.stream()
		first := s.watch("tasks?sort=started")
		if got := keys(t, first.Rows); !slices.Equal(got, []string{"f/one", "f/two"}) {
			t.Fatalf("rows %v", got)
		}
		b.source.update(func(st *State) {
			st.Tasks = append(st.Tasks, plainTask("three", "TASK_RUNNING", start.Add(2*time.Second)))
		})
		m := s.next()
		if m.Type != "delta" || m.Seq != first.Seq+1 || len(m.Order) != 0 || len(m.Removed) != 0 {
			t.Fatalf("added: %+v", m)
		}
		if got := keys(t, m.Rows); !slices.Equal(got, []string{"f/three"}) {
			t.Fatalf("added rows %v", got)
		}
		if got := field[int](t, m, "matched"); got != 3 {
			t.Fatalf("matched %d", got)
		}
		b.source.update(func(st *State) {
			st.Tasks = []*Task{plainTask("one", "TASK_FINISHED", start), st.Tasks[2]}
		})
		m = s.next()
		if m.Seq != first.Seq+2 || !slices.Equal(m.Removed, []string{"f/two"}) || !slices.Equal(keys(t, m.Rows), []string{"f/one"}) {
			t.Fatalf("removed and changed: %+v", m)
		}
		// Nothing that the topic shows changes: no message, the number stays.
		b.source.update(func(st *State) { st.Agents = []*Agent{{ID: "x", State: AgentActive}} })
		b.source.update(func(st *State) {
			st.Tasks = append([]*Task{plainTask("zero", "TASK_RUNNING", start.Add(-time.Hour))}, st.Tasks...)
		})
		m = s.next()
		if m.Seq != first.Seq+3 || !slices.Equal(m.Order, []string{"f/zero", "f/one", "f/three"}) {
			t.Fatalf("put in front: %+v", m)
		}
	})
}

// UI-1: a client that sees a gap subscribes again and gets a snapshot with the
// number that the next delta follows.
func TestAskAgainAfterGap(t *testing.T) {
	inBubble(t, func(b *bench) {
		s := b.stream()
		s.watch("agents")
		b.source.update(func(st *State) { st.Agents = []*Agent{{ID: "x", Hostname: "x", State: AgentActive}} })
		lost := s.next()
		again := s.watch("agents")
		if again.Seq != lost.Seq || !slices.Equal(keys(t, again.Rows), []string{"x"}) {
			t.Fatalf("after %+v got %+v", lost, again)
		}
		b.source.update(func(st *State) { st.Agents = append(st.Agents, &Agent{ID: "y", Hostname: "y", State: AgentActive}) })
		if m := s.next(); m.Seq != again.Seq+1 {
			t.Fatalf("delta %d after snapshot %d", m.Seq, again.Seq)
		}
	})
}

// UI-2: lists are filtered, sorted and paged by the hub, whatever the page asks.
func TestPaging(t *testing.T) {
	inBubble(t, func(b *bench) {
		start := time.Now()
		b.source.update(func(s *State) {
			for i := range 300 {
				task := plainTask(fmt.Sprintf("task-%d", i), "TASK_RUNNING", start.Add(time.Duration(i)*time.Second))
				if i%3 == 0 {
					task = plainTask(fmt.Sprintf("task-%d", i), "TASK_FAILED", start)
				}
				task.Labels = []Label{{"shard", fmt.Sprint(i % 10)}}
				s.Tasks = append(s.Tasks, task)
			}
		})
		tests := []struct {
			topic, first string
			rows, match  int
		}{
			{"tasks?sort=name", "f/task-0", 50, 300},
			{"tasks?sort=-name&limit=10", "f/task-299", 10, 300},
			{"tasks?sort=name&offset=290&limit=50", "f/task-290", 10, 300},
			{"tasks?sort=name&offset=1000&limit=50", "f/task-250", 50, 300},
			{"tasks?sort=name&state=failed", "f/task-0", 50, 100},
			{"tasks?sort=name&state=active", "f/task-1", 50, 200},
			{"tasks?sort=name&state=TASK_FAILED&limit=1", "f/task-0", 1, 100},
			{"tasks?sort=name&q=TASK-29", "f/task-29", 11, 11},
			{"tasks?sort=name&q=shard%3D7", "f/task-7", 30, 30},
			{"tasks?sort=name&q=shard%3D7+failed", "f/task-27", 10, 10},
			{"tasks?framework=other", "", 0, 0},
		}
		for _, tt := range tests {
			s := b.stream()
			m := s.watch(tt.topic)
			got := keys(t, m.Rows)
			if len(got) != tt.rows || field[int](t, m, "matched") != tt.match || (tt.rows > 0 && got[0] != tt.first) {
				t.Errorf("%s: %d rows of %d from %v, want %d of %d from %s", tt.topic, len(got), field[int](t, m, "matched"), got[:min(1, len(got))], tt.rows, tt.match, tt.first)
			}
			s.conn.Close()
			synctest.Wait()
		}
	})
}

// UI-2: the source is asked at most every 100 ms, less often when it is slow,
// and not at all for topics that nobody watches.
func TestPace(t *testing.T) {
	inBubble(t, func(b *bench) {
		synctest.Wait()
		pass(61 * time.Second)
		idle := b.source.count()
		for range 100 {
			b.source.update(func(*State) {})
			pass(time.Millisecond)
		}
		synctest.Wait()
		if got := b.source.count(); got != idle {
			t.Fatalf("asked %d times while nobody watches", got-idle)
		}
		s := b.stream()
		s.watch("overview")
		before := b.source.count()
		for range 1000 {
			b.source.update(func(*State) {})
			pass(time.Millisecond)
		}
		if got := b.source.count() - before; got < 8 || got > 11 {
			t.Errorf("asked %d times in a second of changes", got)
		}
		b.source.mu.Lock()
		b.source.snapshot = func(context.Context) error { pass(200 * time.Millisecond); return nil }
		b.source.mu.Unlock()
		before = b.source.count()
		for range 100 {
			b.source.update(func(*State) {})
			pass(100 * time.Millisecond)
		}
		if got := b.source.count() - before; got < 8 || got > 12 {
			t.Errorf("a slow source was asked %d times in ten seconds", got)
		}
	})
}

// UI-1: a client that does not read is dropped with a close code; the others
// go on, and it can connect anew.
func TestSlowClient(t *testing.T) {
	inBubble(t, func(b *bench) {
		slow, fast := b.stream(), b.stream()
		slow.watch("overview")
		fast.watch("overview")
		for i := range 400 {
			b.source.update(func(s *State) { s.Cluster.Name = fmt.Sprint("name", i) })
			if m := fast.next(); m.Type != "delta" {
				t.Fatalf("the fast one got %+v", m)
			}
			pass(10 * time.Millisecond)
		}
		var err error
		got := 0
		for err == nil {
			if _, _, err = slow.conn.ReadMessage(); err == nil {
				got++
			}
		}
		// A pipe has no buffer: the message under way may be cut off with the
		// connection, but the queue is not sent after the client was dropped.
		if got > 2 {
			t.Errorf("the slow one still got %d messages", got)
		}
		if again := b.stream(); again.watch("overview").Seq == 0 {
			t.Error("no snapshot after connecting anew")
		}
	})
}

// UI-1: the close code of a dropped client that does read says to come again.
func TestDropCode(t *testing.T) {
	inBubble(t, func(b *bench) {
		s := b.stream()
		synctest.Wait()
		dropped := make(chan struct{})
		b.hub.do(func() {
			for c := range b.hub.clients {
				for range queueMessages + 2 {
					c.send([]byte(`{"type":"beat"}`))
				}
			}
			close(dropped)
		})
		<-dropped
		var err error
		for err == nil {
			_, _, err = s.conn.ReadMessage()
		}
		if !websocket.IsCloseError(err, websocket.CloseTryAgainLater) {
			t.Errorf("ended with %v", err)
		}
	})
}

// UI-5: only pages of this node may open its websockets; programs without an
// origin may.
func TestOrigin(t *testing.T) {
	inBubble(t, func(b *bench) {
		tests := []struct {
			origin string
			ok     bool
		}{
			{"", true}, {"http://127.0.0.1:5050", true}, {"https://127.0.0.1:5050", true},
			{"http://127.0.0.1:8080", false}, {"http://evil.example", false}, {"null", false},
			{"http://127.0.0.1:5050.evil.example", false}, {"file://127.0.0.1:5050", false},
		}
		for _, path := range []string{"/ui/stream", "/ui/tail?agent=a&path=/x"} {
			for _, tt := range tests {
				header := http.Header{}
				if tt.origin != "" {
					header.Set("Origin", tt.origin)
				}
				conn, resp, err := b.dial(path, header)
				if tt.ok != (err == nil) {
					t.Errorf("%s from %q: %v", path, tt.origin, err)
				}
				if !tt.ok && (resp == nil || resp.StatusCode != http.StatusForbidden) {
					t.Errorf("%s from %q: %v", path, tt.origin, resp)
				}
				if conn != nil {
					conn.Close()
				}
			}
		}
	})
}

// Bad calls get an error that says what is wrong; the stream goes on.
func TestBadCalls(t *testing.T) {
	inBubble(t, func(b *bench) {
		s := b.stream()
		tests := []struct{ body, want string }{
			{`{"do":"subscribe"`, "not JSON"},
			{`{"do":"subscribe","topic":"nope"}`, `unknown topic "nope"`},
			{`{"do":"subscribe","topic":"task/x"}`, "takes 2 ids, not 1"},
			{`{"do":"subscribe","topic":"agent/"}`, "bad id"},
			{`{"do":"subscribe","topic":"tasks?sort=color"}`, `cannot sort by "color", only by started`},
			{`{"do":"subscribe","topic":"tasks?limit=9999"}`, "must be a number from 0 to 200"},
			{`{"do":"subscribe","topic":"tasks?offset=-1"}`, "must be a number"},
			{`{"do":"subscribe","topic":"files/a"}`, "path is missing"},
			{`{"do":"dance","topic":"tasks"}`, "unknown call"},
			{`{"do":"subscribe","topic":"tasks?q=` + strings.Repeat("x", maxTopicBytes) + `"}`, "at most 2048"},
		}
		for _, tt := range tests {
			if err := s.conn.WriteMessage(websocket.TextMessage, []byte(tt.body)); err != nil {
				t.Fatal(err)
			}
			if m := s.next(); m.Type != "error" || !strings.Contains(m.Text, tt.want) {
				t.Errorf("%.60s: %+v, want %q", tt.body, m, tt.want)
			}
		}
		s.watch("overview")
	})
}

// Subscriptions of one stream and streams of one hub are bounded.
func TestBounds(t *testing.T) {
	inBubble(t, func(b *bench) {
		s := b.stream()
		for i := range maxSubscriptions {
			s.watch(fmt.Sprint("agent/", i))
		}
		s.call("subscribe", "overview")
		if m := s.next(); m.Type != "error" || !strings.Contains(m.Text, "too many subscriptions") {
			t.Errorf("one more: %+v", m)
		}
		s.call("unsubscribe", "agent/0")
		s.watch("overview")
		for range 7 {
			b.stream()
		}
		if _, resp, err := b.dial("/ui/stream", nil); err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("one more stream: %v %v", resp, err)
		}
	})
}

// UI-1, UI-32: when the node has no data the page is told why, once, keeps what
// it has, and goes on by itself.
func TestTrouble(t *testing.T) {
	inBubble(t, func(b *bench) {
		s := b.stream()
		s.watch("overview")
		b.source.fail(fmt.Errorf("no leading master: %w", ErrUnavailable))
		if m := s.next(); m.Type != "trouble" || m.Text != "no leading master: unavailable" {
			t.Fatalf("got %+v", m)
		}
		other, _, err := b.dial("/ui/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		o := &stream{t: t, conn: other}
		if h, m := o.next(), o.next(); h.Type != "hello" || m.Type != "trouble" {
			t.Fatalf("a new client got %+v, %+v", h, m)
		}
		other.Close()
		b.source.mu.Lock()
		b.source.err = nil // without telling: the hub asks again by itself
		b.source.mu.Unlock()
		b.source.mu.Lock()
		b.source.state = &State{Cluster: Cluster{Leader: "10.0.0.2:5050"}, TaskCounts: map[string]int64{}}
		b.source.mu.Unlock()
		if m := s.next(); m.Type != "trouble" || m.Text != "" {
			t.Fatalf("got %+v", m)
		}
		m := s.next()
		if c := field[struct{ Leader string }](t, m, "cluster"); c.Leader != "10.0.0.2:5050" {
			t.Fatalf("got %+v", m)
		}
	})
}

// UI-10: samples of the task counts are taken while nobody watches.
func TestHistory(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.source.update(func(s *State) { s.Tasks = []*Task{plainTask("one", "TASK_RUNNING", time.Now())} })
		pass(70 * time.Second)
		b.source.update(func(s *State) { s.Tasks = []*Task{plainTask("one", "TASK_FAILED", time.Now())} })
		pass(time.Minute)
		s := b.stream()
		samples := field[[]sample](t, s.watch("overview"), "history")
		running, failed := 0, int64(0)
		for _, p := range samples {
			if p.Counts["TASK_RUNNING"] == 1 {
				running++
			}
			failed += p.Counts["TASK_FAILED"]
		}
		// The first sample, at the very start, may come before the task or after it.
		if len(samples) < 8 || running < 4 || running > 5 || failed != 1 {
			t.Errorf("%d samples, %d with the task running, %d failures: %v", len(samples), running, failed, samples)
		}
	})
}

// UI-16: a sandbox is listed anew while somebody watches it, directories first.
func TestFilesTopic(t *testing.T) {
	inBubble(t, func(b *bench) {
		now := time.Now()
		s := b.stream()
		m := s.watch("files/a?path=%2Fbox")
		if !field[bool](t, m, "missing") {
			t.Fatalf("got %+v", m)
		}
		b.source.setDir("a", "/box", []File{{Name: "stdout", Mode: "-rw-r--r--", Size: 1, Modified: now}, {Name: "zdir", Mode: "drwxr-xr-x"}})
		m = s.next()
		if got := keys(t, m.Rows); !slices.Equal(got, []string{"zdir", "stdout"}) || !slices.Equal(m.Gone, []string{"error", "missing"}) {
			t.Fatalf("got %+v", m)
		}
		b.source.setDir("a", "/box", []File{{Name: "stdout", Mode: "-rw-r--r--", Size: 2, Modified: now}, {Name: "zdir", Mode: "drwxr-xr-x"}})
		if m = s.next(); !slices.Equal(keys(t, m.Rows), []string{"stdout"}) {
			t.Fatalf("got %+v", m)
		}
	})
}

// Close ends the streams with "going away"; inBubble shows that no goroutine
// is left.
func TestClose(t *testing.T) {
	inBubble(t, func(b *bench) {
		s := b.stream()
		s.watch("overview")
		s.watch("files/a?path=%2Fbox")
		tail, _, err := b.dial("/ui/tail?agent=a&path=/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		codes := make(chan error, 2)
		for _, c := range []*websocket.Conn{s.conn, tail} {
			go func() {
				for {
					if _, _, err := c.ReadMessage(); err != nil {
						codes <- err
						return
					}
				}
			}()
		}
		synctest.Wait()
		b.hub.Close()
		for range 2 {
			if err := <-codes; !websocket.IsCloseError(err, websocket.CloseGoingAway) {
				t.Errorf("ended with %v", err)
			}
		}
		if _, resp, err := b.dial("/ui/stream", nil); err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a stream after Close: %v %v", resp, err)
		}
	})
}
