package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// fakeMaster answers as a master does: not as the leader, by naming the leader, or as the leader.
type fakeMaster struct {
	*httptest.Server
	leader     atomic.Pointer[string] // HOST:PORT of the leader; nil: there is none
	subscribed chan call
	agents     atomic.Int32
	end        chan struct{} // closed: streams end
}

func newFakeMaster(t *testing.T) *fakeMaster {
	m := &fakeMaster{subscribed: make(chan call, 8), end: make(chan struct{})}
	m.Server = httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(m.Close)
	return m
}

func (m *fakeMaster) address() string { return strings.TrimPrefix(m.URL, "http://") }

func (m *fakeMaster) serve(w http.ResponseWriter, r *http.Request) {
	leader := m.leader.Load()
	switch {
	case leader == nil:
		http.Error(w, "No leader elected", http.StatusServiceUnavailable)
	case *leader != m.address():
		w.Header().Set("Location", "//"+*leader+r.URL.Path)
		w.WriteHeader(http.StatusTemporaryRedirect)
	case r.URL.Path == "/api/v1":
		agents := strings.Repeat(`{"active":true},`, int(m.agents.Add(1)))
		fmt.Fprintf(w, `{"type":"GET_AGENTS","get_agents":{"agents":[%s{"active":false}],"recovered_agents":[{}]}}`, agents)
	default:
		m.stream(w, r)
	}
}

func (m *fakeMaster) stream(w http.ResponseWriter, r *http.Request) {
	var c call
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.subscribed <- c
	record := `{"type":"SUBSCRIBED","subscribed":{"framework_id":{"value":"f-1"}}}`
	if _, err := fmt.Fprintf(w, "%d\n%s", len(record), record); err != nil {
		return
	}
	w.(http.Flusher).Flush()
	<-m.end
}

// CLU-34: a framework finds the next leader by itself, and keeps its id.
func TestFollowLeader(t *testing.T) {
	first, second := newFakeMaster(t), newFakeMaster(t)
	a, b := first.address(), second.address()
	first.leader.Store(&a)
	info := frameworkInfo{Name: "x", Checkpoint: true, FailoverTimeout: 60}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	if _, err := subscribeAs(ctx, http.DefaultClient, b, info); err == nil || !strings.Contains(err.Error(), "No leader elected") {
		t.Fatalf("subscribed without a leader: %v", err)
	}
	second.leader.Store(&a)
	f, err := subscribeAs(ctx, http.DefaultClient, b, info)
	if err != nil {
		t.Fatal(err)
	}
	if f.master() != a || f.id.Value != "f-1" || f.subscribed.IsZero() {
		t.Errorf("subscribed at %s as %v, want %s", f.master(), f.id, a)
	}
	if c := <-first.subscribed; c.FrameworkID != nil || c.Subscribe.FrameworkInfo.ID != nil {
		t.Errorf("a new framework subscribed as %+v", c)
	}
	if err := f.awaitAgents(ctx, 3); err != nil {
		t.Fatal(err)
	}
	if n := first.agents.Load(); n != 3 {
		t.Errorf("agents were counted %d times, want 3", n)
	}

	before := time.Now()
	close(first.end)
	cut, err := f.over(ctx)
	if err != nil || cut.Before(before) {
		t.Fatalf("stream over at %v, %v", cut, err)
	}
	if err := f.awaitAgents(ctx, 100); err == nil || !strings.Contains(err.Error(), "event stream") {
		t.Errorf("agents counted without a stream: %v", err)
	}
	f.abandon()

	first.leader.Store(&b)
	second.leader.Store(&b)
	info.ID = f.id
	again, err := subscribeAs(ctx, http.DefaultClient, a, info)
	if err != nil {
		t.Fatal(err)
	}
	if c := <-second.subscribed; again.master() != b || c.FrameworkID.Value != "f-1" || c.Subscribe.FrameworkInfo.ID.Value != "f-1" {
		t.Errorf("subscribed again at %s as %+v", again.master(), c)
	}
	close(second.end)
	again.abandon()
}

func TestNodeNotes(t *testing.T) {
	net, err := parseNet([]byte("tag=cl-0a1b\nnet=198.18.80\n"))
	if err != nil || net != "198.18.80" {
		t.Errorf("got %q, %v", net, err)
	}
	for _, text := range []string{"", "tag=cl-0a1b\n", "net=\n", "net=10\n"} {
		if net, err := parseNet([]byte(text)); err == nil {
			t.Errorf("%q is network %q, want an error", text, net)
		}
	}
	pid, born, err := parseBirth([]byte("123 4567890\n"))
	if err != nil || pid != 123 || born != 4567890 {
		t.Errorf("got %d, %d, %v", pid, born, err)
	}
	for _, text := range []string{"", "123", "123 x", "x 4567890"} {
		if _, _, err := parseBirth([]byte(text)); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
	n := &nodes{net: "198.18.80", count: 3}
	for i, m := range []string{"198.18.80.11:5050", "198.18.80.12:5050", "198.18.80.13:5050"} {
		if node, err := n.at(m); err != nil || node != i+1 {
			t.Errorf("%s is node %d, %v", m, node, err)
		}
	}
	if _, err := n.at("198.18.80.14:5050"); err == nil {
		t.Error("a fourth node of three")
	}
}

func TestAddFailovers(t *testing.T) {
	s := &survivor{
		nodes: &nodes{count: 3}, tasks: map[string]string{"a": running, "b": running, "c": "TASK_LOST"},
		killed: failovers{subscribed: []float64{1500, 1900, 2500}, offered: []float64{1, 2, 3}, agents: []float64{3001, 3002, 1}},
		termed: failovers{subscribed: []float64{100, 300}, leaderless: []float64{10, 20}},
	}
	b := &bench{progress: io.Discard}
	b.addFailovers(s)
	for i, want := range []struct {
		value   float64
		met     bool
		samples int
	}{{1900, true, 3}, {2500, false, 3}, {3001, false, 3}, {3002, false, 3}, {2, true, 3}, {3, false, 3}, {15, true, 2}, {20, false, 2}, {1, false, 15}} {
		f := b.report.Figures[i]
		if met := f.Met != nil && *f.Met; f.Value != want.value || met != want.met || f.Samples != want.samples {
			t.Errorf("%s: %+v, want %+v", f.Name, f, want)
		}
	}
}
