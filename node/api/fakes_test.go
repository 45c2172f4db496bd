package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/v1master"
	"clusterd/node/mesos/v1scheduler"

	"google.golang.org/protobuf/proto"
)

const (
	testMaster = "0b9c1d2e-0000-4000-8000-00000000000a"
	testStream = "11111111-2222-4333-8444-000000000004"
)

var quiet = slog.New(slog.DiscardHandler)

type fakeLeader struct {
	hostport        string
	self, recovered bool
}

func (l *fakeLeader) Leader() (string, bool, bool) { return l.hostport, l.self, l.recovered }

// fakeScheduler knows one framework, subscribed with testStream, and checks calls as a master does.
type fakeScheduler struct {
	mu      sync.Mutex
	calls   []SchedulerRequest
	streams chan *fakeStream[*v1scheduler.Event] // one for each SUBSCRIBE
}

func (s *fakeScheduler) Call(_ context.Context, r SchedulerRequest) (Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, r)
	switch id := r.Call.GetFrameworkId().GetValue(); {
	case id != testMaster+"-0001":
		return badRequest("Framework cannot be found"), nil
	case !r.HasStreamHeader:
		return badRequest("All non-subscribe calls should include the 'Mesos-Stream-Id' header"), nil
	case r.StreamHeader != testStream:
		return badRequest("The stream ID '" + r.StreamHeader + "' included in this request didn't match" +
			" the stream ID currently associated with framework ID " + id), nil
	}
	return Answer{Status: http.StatusAccepted}, nil
}

func (s *fakeScheduler) Subscribe(_ context.Context, r SchedulerRequest) (Answer, EventStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, r)
	stream := newFakeStream[*v1scheduler.Event]()
	s.streams <- stream
	return Answer{Status: http.StatusOK}, stream, nil
}

// fakeStream is a queue that a test fills.
type fakeStream[E proto.Message] struct {
	events chan E // closed at the end of the stream
	closed chan struct{}
	once   sync.Once
}

func newFakeStream[E proto.Message]() *fakeStream[E] {
	return &fakeStream[E]{events: make(chan E, 16), closed: make(chan struct{})}
}

func (s *fakeStream[E]) StreamUUID() string { return testStream }
func (s *fakeStream[E]) Close()             { s.once.Do(func() { close(s.closed) }) }

func (s *fakeStream[E]) Next(ctx context.Context) ([]E, error) {
	select {
	case event, ok := <-s.events:
		if !ok {
			return nil, io.EOF
		}
		return []E{event}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fakeExecutors knows no framework at all, as the agent of the recorded requests.
type fakeExecutors struct {
	notReady bool
	known    bool // every framework and executor is known
	calls    []*v1executor.Call
	streams  chan *fakeStream[*v1executor.Event]
}

func (e *fakeExecutors) Ready() bool { return !e.notReady }

func (e *fakeExecutors) Call(_ context.Context, call *v1executor.Call) (Answer, error) {
	e.calls = append(e.calls, call)
	if !e.known {
		return badRequest("Framework cannot be found"), nil
	}
	return Answer{Status: http.StatusAccepted}, nil
}

func (e *fakeExecutors) Subscribe(_ context.Context, call *v1executor.Call) (Answer, ExecutorStream, error) {
	e.calls = append(e.calls, call)
	if !e.known {
		return badRequest("Framework cannot be found"), nil, nil
	}
	stream := newFakeStream[*v1executor.Event]()
	e.streams <- stream
	return Answer{Status: http.StatusOK}, stream, nil
}

type fakeOperator struct {
	torn    []mesos.FrameworkID
	killed  []string
	changed []string // agents
}

// DrainAgent and the others know one agent.
func (o *fakeOperator) DrainAgent(_ context.Context, _ string, agent mesos.AgentID, config *v1.DrainConfig) (Answer, error) {
	grace := "none"
	if config.GetMaxGracePeriod() != nil {
		grace = time.Duration(config.GetMaxGracePeriod().GetNanoseconds()).String()
	}
	return o.change(agent, "Unknown agent", fmt.Sprint("drain ", grace, " ", config.GetMarkGone()))
}

func (o *fakeOperator) DeactivateAgent(_ context.Context, _ string, agent mesos.AgentID) (Answer, error) {
	return o.change(agent, "Unknown agent", "deactivate")
}

func (o *fakeOperator) ReactivateAgent(_ context.Context, _ string, agent mesos.AgentID) (Answer, error) {
	return o.change(agent, "Agent is not deactivated", "reactivate")
}

func (o *fakeOperator) MarkAgentGone(_ context.Context, _ string, agent mesos.AgentID) (Answer, error) {
	if agent != testMaster+"-S0" {
		return Answer{Status: http.StatusNotFound, Body: "Agent '" + string(agent) + "' not found"}, nil
	}
	return o.change(agent, "", "gone")
}

func (o *fakeOperator) change(agent mesos.AgentID, unknown, what string) (Answer, error) {
	if agent != testMaster+"-S0" {
		return badRequest(unknown), nil
	}
	o.changed = append(o.changed, what)
	return Answer{Status: http.StatusOK}, nil
}

func (o *fakeOperator) Kill(_ context.Context, _ string, framework mesos.FrameworkID, task mesos.TaskID, grace time.Duration) (Answer, error) {
	o.killed = append(o.killed, fmt.Sprint(framework, " ", task, " ", grace))
	return Answer{Status: http.StatusOK}, nil
}

func (o *fakeOperator) Teardown(_ context.Context, _ string, id mesos.FrameworkID) (Answer, error) {
	if id != testMaster+"-0001" {
		return badRequest("No framework found with specified ID"), nil
	}
	o.torn = append(o.torn, id)
	return Answer{Status: http.StatusOK}, nil
}

type fakeMasterState struct {
	view *MasterView
	err  error
}

func (s *fakeMasterState) View(context.Context) (*MasterView, error) { return s.view, s.err }

type fakeAgentState struct {
	view *AgentView
	err  error
}

func (s *fakeAgentState) View(context.Context) (*AgentView, error) { return s.view, s.err }

type fakeContainers []Container

func (c fakeContainers) Containers(context.Context) ([]Container, error) { return c, nil }

var testBuild = Build{
	Version: "0.1.0", Time: time.Date(2024, 8, 23, 19, 0, 0, 0, time.UTC), User: "root",
	GitSHA: "c1b42f79d157aa900be5cbb0c1023f1479962aa7", GitBranch: "refs/heads/master",
}

// testCluster is a master and an agent whose cores are fakes.
type testCluster struct {
	leader     fakeLeader
	scheduler  fakeScheduler
	operator   fakeOperator
	executors  fakeExecutors
	state      fakeMasterState
	agentState fakeAgentState
	containers fakeContainers
	files      *Files
	flags      map[string]string
	metrics    map[string]float64
}

func newTestCluster() *testCluster {
	return &testCluster{
		leader:     fakeLeader{hostport: "localhost:15050", self: true, recovered: true},
		scheduler:  fakeScheduler{streams: make(chan *fakeStream[*v1scheduler.Event], 8)},
		executors:  fakeExecutors{streams: make(chan *fakeStream[*v1executor.Event], 8)},
		state:      fakeMasterState{view: emptyMasterView()},
		agentState: fakeAgentState{view: emptyAgentView()},
		files:      NewFiles(),
		flags:      map[string]string{"port": "15050", "quiet": "false"},
		metrics:    map[string]float64{"master/elected": 1, "system/load_1min": 0.25, "system/cpus_total": 2},
	}
}

func (c *testCluster) master() http.Handler { return NewMaster(c.masterOptions()) }

func (c *testCluster) masterOptions() MasterOptions {
	return MasterOptions{
		Leader: &c.leader, State: &c.state, Scheduler: &c.scheduler, Operator: &c.operator, Files: c.files,
		Metrics: func(context.Context) map[string]float64 { return c.metrics },
		Flags:   func() map[string]string { return c.flags }, Build: testBuild, Logger: quiet,
	}
}

func (c *testCluster) agent() http.Handler {
	return NewAgent(AgentOptions{
		State: &c.agentState, Executors: &c.executors, Containers: &c.containers, Files: c.files,
		Metrics: func(context.Context) map[string]float64 { return c.metrics },
		Flags:   func() map[string]string { return c.flags }, Build: testBuild, Logger: quiet,
	})
}

func emptyMasterView() *MasterView {
	return &MasterView{
		State: &v1master.Response_GetState{},
		Info: &v1.MasterInfo{
			Id: proto.String(testMaster), Ip: proto.Uint32(16777343), Port: proto.Uint32(15050),
			Pid: proto.String("master@127.0.0.1:15050"), Hostname: proto.String("localhost"), Version: proto.String(MesosVersion),
		},
		Started: time.Unix(1704164700, 500e6), Elected: time.Unix(1704164701, 0),
	}
}

func emptyAgentView() *AgentView {
	return &AgentView{
		Info:    &v1.AgentInfo{Hostname: proto.String("localhost"), Port: proto.Int32(15051)},
		Address: "127.0.0.1:15051", Started: time.Unix(1704164700, 500e6),
	}
}

// do sends one request straight to a handler.
func do(h http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const jsonType = "application/json"

// post sends a JSON call.
func post(h http.Handler, path, body string, headers ...string) *httptest.ResponseRecorder {
	return do(h, http.MethodPost, path, body, append([]string{"Content-Type", jsonType}, headers...)...)
}

// recordedRequest is one request to a real Mesos and its answer.
type recordedRequest struct {
	Row         int               `json:"row"`
	Name        string            `json:"name"`
	Method      string            `json:"method"`
	Path        string            `json:"path"`
	Headers     map[string]string `json:"headers"`
	Body        string            `json:"body"`
	Status      int               `json:"status"`
	Text        *string           `json:"text"`
	Allow       string            `json:"allow"`
	Location    string            `json:"location"`
	ContentType string            `json:"content_type"`
}

func recordedRequests(t *testing.T, file string) []recordedRequest {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var rows []recordedRequest
	if err := json.Unmarshal(b, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no rows", file)
	}
	return rows
}

// check sends a recorded request and compares the answer.
func (row recordedRequest) check(t *testing.T, h http.Handler) {
	t.Helper()
	var headers []string
	for k, v := range row.Headers {
		headers = append(headers, k, v)
	}
	w := do(h, row.Method, row.Path, row.Body, headers...)
	if w.Code != row.Status {
		t.Fatalf("status %d, want %d; body %q", w.Code, row.Status, w.Body)
	}
	if row.Text != nil && w.Body.String() != *row.Text {
		t.Errorf("body\n%q, want\n%q", w.Body, *row.Text)
	}
	for header, want := range map[string]string{"Allow": row.Allow, "Location": row.Location, "Content-Type": row.ContentType} {
		if got := w.Header().Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
}
