package executor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"

	"google.golang.org/protobuf/proto"
)

// testAgent is an agent's end of the executor API. Calls come out of one channel in order; the
// events of the newest stream go into another.
type testAgent struct {
	t      *testing.T
	server *httptest.Server
	calls  chan *v1executor.Call
	mu     sync.Mutex
	events chan *v1executor.Event // of the newest stream; nil ends it
	answer int                    // to the next call, 0 for the usual
}

func newTestAgent(t *testing.T) *testAgent {
	a := &testAgent{t: t, calls: make(chan *v1executor.Call, 100)}
	a.server = httptest.NewServer(a)
	t.Cleanup(a.server.Close)
	return a
}

func (a *testAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	call := &v1executor.Call{}
	if err != nil || r.URL.Path != "/api/v1/executor" || r.Method != http.MethodPost ||
		r.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(body, call) != nil {
		a.t.Errorf("bad request %s %s %v", r.Method, r.URL, r.Header)
	}
	a.mu.Lock()
	refuse := a.answer
	a.answer = 0
	var events chan *v1executor.Event
	if refuse == 0 && call.GetType() == v1executor.Call_SUBSCRIBE {
		events = make(chan *v1executor.Event, 100)
		a.events = events
	}
	a.mu.Unlock()
	if refuse != 0 {
		http.Error(w, "refused", refuse)
		return
	}
	a.calls <- call
	if events == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	flush := http.NewResponseController(w)
	for {
		select {
		case ev := <-events:
			if ev == nil {
				return
			}
			record, err := proto.Marshal(ev)
			if err != nil {
				a.t.Error(err)
			}
			if _, err := w.Write(mesos.AppendRecord(nil, record)); err != nil {
				return
			}
			if err := flush.Flush(); err != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

func (a *testAgent) send(ev *v1executor.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events <- ev
}

// refuse answers the next call with an error.
func (a *testAgent) refuse(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = status
}

// next call, which must be of this type.
func (a *testAgent) next(want v1executor.Call_Type) *v1executor.Call {
	a.t.Helper()
	select {
	case call := <-a.calls:
		if call.GetType() != want {
			a.t.Fatalf("call %v, want %s", call, want)
		}
		return call
	case <-time.After(20 * time.Second):
		a.t.Fatalf("no %s", want)
		return nil
	}
}

// accept takes a subscription.
func (a *testAgent) accept() *v1executor.Call_Subscribe {
	a.t.Helper()
	call := a.next(v1executor.Call_SUBSCRIBE)
	a.send(&v1executor.Event{Type: v1executor.Event_SUBSCRIBED.Enum(), Subscribed: &v1executor.Event_Subscribed{
		ExecutorInfo:  &v1.ExecutorInfo{ExecutorId: mesos.ExecutorID("t1").Proto()},
		FrameworkInfo: &v1.FrameworkInfo{User: proto.String("root"), Name: proto.String("fw")},
		AgentInfo:     &v1.AgentInfo{Hostname: proto.String("localhost")},
	}})
	return call.GetSubscribe()
}

// update takes an update and acknowledges it.
func (a *testAgent) update(state v1.TaskState) *v1.TaskStatus {
	a.t.Helper()
	s := a.next(v1executor.Call_UPDATE).GetUpdate().GetStatus()
	if s.GetState() != state {
		a.t.Fatalf("update %v, want %s", s, state)
	}
	a.send(acknowledged(s))
	return s
}

func (a *testAgent) env(checkpoint bool) []string {
	env := environment(checkpoint)
	for i, e := range env {
		if strings.HasPrefix(e, "MESOS_AGENT_ENDPOINT=") {
			env[i] = "MESOS_AGENT_ENDPOINT=" + a.server.Listener.Addr().String()
		}
		if strings.HasPrefix(e, "MESOS_SUBSCRIPTION_BACKOFF_MAX=") {
			env[i] = "MESOS_SUBSCRIPTION_BACKOFF_MAX=20ms"
		}
	}
	return env
}

// testProcess ends when told to, or by any signal.
type testProcess struct {
	exit    chan Exit
	signals chan syscall.Signal
}

func (p *testProcess) Pid() int   { return 1 }
func (p *testProcess) Wait() Exit { return <-p.exit }
func (p *testProcess) Kill() error {
	return p.Signal(syscall.SIGKILL)
}
func (p *testProcess) Signal(s syscall.Signal) error {
	p.signals <- s
	select {
	case p.exit <- Exit{Status: int(s)}:
	default: // ended already
	}
	return nil
}

type testLauncher struct {
	process *testProcess
	started chan Command
	err     error
}

func newTestLauncher() *testLauncher {
	return &testLauncher{started: make(chan Command, 1), process: &testProcess{exit: make(chan Exit, 1), signals: make(chan syscall.Signal, 10)}}
}

func (l *testLauncher) Start(c Command) (Process, error) {
	l.started <- c
	if l.err != nil {
		return nil, l.err
	}
	return l.process, nil
}

// run starts Run and returns its end.
func run(t *testing.T, ctx context.Context, env []string, l Launcher) (<-chan int, *bytes.Buffer) {
	t.Helper()
	stderr := &bytes.Buffer{}
	done := make(chan int, 1)
	go func() { done <- Run(ctx, env, l, stderr) }()
	return done, stderr
}

func ended(t *testing.T, done <-chan int) int {
	t.Helper()
	select {
	case code := <-done:
		return code
	case <-time.After(20 * time.Second):
		t.Fatal("Run does not end")
		return -1
	}
}

func launchEvent(info *v1.TaskInfo) *v1executor.Event {
	return &v1executor.Event{Type: v1executor.Event_LAUNCH.Enum(), Launch: &v1executor.Event_Launch{Task: info}}
}

// EXE-58, EXE-68, EXE-48: over HTTP, with nothing written to the task's files.
func TestRun(t *testing.T) {
	a, l := newTestAgent(t), newTestLauncher()
	done, stderr := run(t, t.Context(), a.env(true), l)
	a.accept()
	a.send(launchEvent(task("echo hi")))
	a.update(v1.TaskState_TASK_STARTING)
	if c := <-l.started; !slices.Equal(c.Args, []string{"sh", "-c", "echo hi"}) {
		t.Errorf("command %+v", c)
	}
	a.update(v1.TaskState_TASK_RUNNING)
	l.process.exit <- Exit{Status: 3 << 8}
	if s := a.update(v1.TaskState_TASK_FAILED); s.GetMessage() != "Command exited with status 3" {
		t.Errorf("status %v", s)
	}
	if code := ended(t, done); code != 0 || stderr.Len() != 0 {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// EXE-61
func TestRunKill(t *testing.T) {
	a, l := newTestAgent(t), newTestLauncher()
	done, _ := run(t, t.Context(), a.env(false), l)
	a.accept()
	a.send(launchEvent(task("sleep 1000")))
	a.update(v1.TaskState_TASK_STARTING)
	a.update(v1.TaskState_TASK_RUNNING)
	a.send(&v1executor.Event{Type: v1executor.Event_KILL.Enum(), Kill: &v1executor.Event_Kill{TaskId: mesos.TaskID("t1").Proto()}})
	if s := <-l.process.signals; s != syscall.SIGTERM {
		t.Errorf("signal %v", s)
	}
	if s := a.update(v1.TaskState_TASK_KILLED); s.GetMessage() != "Command terminated with signal Terminated" {
		t.Errorf("status %v", s)
	}
	ended(t, done)
}

// EXE-17, EXE-147, EXE-157: the agent goes away and comes back; 503 and a broken stream mean try
// again, and the end of the task is not lost.
func TestRunReconnects(t *testing.T) {
	a, l := newTestAgent(t), newTestLauncher()
	a.refuse(http.StatusServiceUnavailable)
	done, _ := run(t, t.Context(), a.env(true), l)
	a.accept()
	a.send(launchEvent(task("x")))
	a.update(v1.TaskState_TASK_STARTING)
	a.update(v1.TaskState_TASK_RUNNING)
	a.send(nil)
	if s := a.accept(); len(s.GetUnacknowledgedUpdates()) != 0 || len(s.GetUnacknowledgedTasks()) != 0 {
		t.Errorf("SUBSCRIBE %v", s)
	}
	a.refuse(http.StatusServiceUnavailable)
	l.process.exit <- Exit{}
	a.next(v1executor.Call_UPDATE) // repeated
	a.send(nil)
	s := a.accept().GetUnacknowledgedUpdates()
	if len(s) != 1 || s[0].GetStatus().GetState() != v1.TaskState_TASK_FINISHED {
		t.Fatalf("unacknowledged %v", s)
	}
	a.send(acknowledged(s[0].GetStatus()))
	ended(t, done)
}

// EXE-49: what could not be executed is a line in the sandbox's stderr.
func TestRunCannotExecute(t *testing.T) {
	a, l := newTestAgent(t), newTestLauncher()
	l.err = &ExecError{Path: "/bin/sh", Err: syscall.ENOENT}
	done, stderr := run(t, t.Context(), a.env(true), l)
	a.accept()
	a.send(launchEvent(task("x")))
	a.update(v1.TaskState_TASK_STARTING)
	a.update(v1.TaskState_TASK_RUNNING)
	a.update(v1.TaskState_TASK_FAILED)
	ended(t, done)
	if got := stderr.String(); got != "Failed to execute '/bin/sh': no such file or directory\n" {
		t.Errorf("stderr %q", got)
	}
}

// Cancelling ends the task and Run, whatever the agent does.
func TestRunCancelled(t *testing.T) {
	a, l := newTestAgent(t), newTestLauncher()
	ctx, cancel := context.WithCancelCause(t.Context())
	done, _ := run(t, ctx, a.env(true), l)
	a.accept()
	a.send(launchEvent(task("x")))
	a.update(v1.TaskState_TASK_STARTING)
	a.update(v1.TaskState_TASK_RUNNING)
	cancel(errors.New("enough"))
	ended(t, done)
	if s := <-l.process.signals; s != syscall.SIGTERM {
		t.Errorf("signal %v", s)
	}
}

// No agent and no checkpointing: Run gives up.
func TestRunBadEnvironment(t *testing.T) {
	done, stderr := run(t, t.Context(), []string{"MESOS_FRAMEWORK_ID=F"}, newTestLauncher())
	if code := ended(t, done); code != 1 || !strings.Contains(stderr.String(), "is missing") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}
