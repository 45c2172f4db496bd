package ui

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeSource is a cluster in memory.
type fakeSource struct {
	changed chan struct{}

	mu        sync.Mutex
	state     *State
	err       error
	snapshots int
	files     map[string][]byte              // by agent and path
	dirs      map[string][]File              // likewise
	read      map[string]func(int64, []byte) // generated files
	sizes     map[string]int64               // of generated files
	most      int                            // bytes that Read gives at a time; 0: all
	kills     []string
	kill      func(frameworkID, taskID string) error
	snapshot  func(context.Context) error // called in Snapshot
}

func newFake() *fakeSource {
	return &fakeSource{
		changed: make(chan struct{}, 1), state: &State{TaskCounts: map[string]int64{}},
		files: map[string][]byte{}, dirs: map[string][]File{}, read: map[string]func(int64, []byte){}, sizes: map[string]int64{},
	}
}

func (f *fakeSource) Changed() <-chan struct{} { return f.changed }

func (f *fakeSource) Snapshot(ctx context.Context) (*State, error) {
	f.mu.Lock()
	hook := f.snapshot
	f.mu.Unlock()
	if hook != nil {
		if err := hook(ctx); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.snapshots++
	return f.state, f.err
}

// update replaces the state by a changed copy and tells the hub.
func (f *fakeSource) update(change func(*State)) {
	f.mu.Lock()
	next := *f.state
	next.Tasks = append([]*Task(nil), next.Tasks...)
	next.Agents = append([]*Agent(nil), next.Agents...)
	next.Frameworks = append([]*Framework(nil), next.Frameworks...)
	change(&next)
	next.Index++
	next.TaskCounts = map[string]int64{}
	for _, t := range next.Tasks {
		next.TaskCounts[t.State]++
	}
	f.state = &next
	f.mu.Unlock()
	f.tell()
}

func (f *fakeSource) tell() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *fakeSource) fail(err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	f.tell()
}

func (f *fakeSource) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snapshots
}

func (f *fakeSource) Files(_ context.Context, agentID, path string) ([]File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list, ok := f.dirs[agentID+":"+path]
	if !ok {
		return nil, fmt.Errorf("directory %s: %w", path, ErrNotFound)
	}
	return list, nil
}

func (f *fakeSource) setDir(agentID, path string, list []File) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dirs[agentID+":"+path] = list
}

func (f *fakeSource) Read(_ context.Context, agentID, path string, offset int64, length int) ([]byte, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := agentID + ":" + path
	if gen, ok := f.read[key]; ok {
		size := f.sizes[key]
		n := max(0, min(int64(length), size-offset))
		if offset < 0 {
			n = 0
		}
		out := make([]byte, n)
		if n > 0 {
			gen(offset, out)
		}
		return out, size, nil
	}
	data, ok := f.files[key]
	if !ok {
		return nil, 0, fmt.Errorf("file %s: %w", path, ErrNotFound)
	}
	size := int64(len(data))
	if offset < 0 || offset >= size {
		return nil, size, nil
	}
	if f.most > 0 {
		length = min(length, f.most)
	}
	return append([]byte(nil), data[offset:min(size, offset+int64(length))]...), size, nil
}

func (f *fakeSource) write(agentID, path, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[agentID+":"+path] = []byte(text)
}

func (f *fakeSource) append(agentID, path, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[agentID+":"+path] = append(f.files[agentID+":"+path], text...)
}

func (f *fakeSource) Kill(_ context.Context, frameworkID, taskID string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kill != nil {
		if err := f.kill(frameworkID, taskID); err != nil {
			return err
		}
	}
	f.kills = append(f.kills, frameworkID+"/"+taskID)
	return nil
}

func (f *fakeSource) killed() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.kills...)
}

func quiet(testing.TB) *slog.Logger { return slog.New(slog.DiscardHandler) }

const (
	masterID = "5b0c3f0e-6b1a-4a0f-9d51-2f8f6c1e77aa"
	runDir   = "/var/lib/clusterd/slaves/%s/frameworks/%s/executors/%s/runs/%s"
)

// demoAgent and the other demo functions make a small cluster as a real one
// would look.
func demoAgent(i int, now time.Time) *Agent {
	return &Agent{
		ID: fmt.Sprintf("%s-S%d", masterID, i), Hostname: fmt.Sprintf("node-%02d.lab.example", i+1), Address: fmt.Sprintf("10.0.4.%d:5051", 11+i),
		State: AgentActive, Version: "0.1.0", Region: "eu", Zone: string(rune('a' + i%3)),
		Attributes: []Label{{"rack", fmt.Sprintf("r%d", i/2+1)}, {"disk", "ssd"}}, Capabilities: []string{"MULTI_ROLE", "RESERVATION_REFINEMENT"},
		Isolation:  "containers, cgroups v2",
		Total:      Resources{CPUs: 16, MemMB: 65536, DiskMB: 512000, GPUs: float64(i % 2), Ports: "[31000-32000]"},
		Registered: now.Add(-time.Duration(50+i) * time.Hour),
	}
}

func demoTask(fw *Framework, a *Agent, id, state string, started time.Time) *Task {
	t := &Task{
		ID: id, Name: id, FrameworkID: fw.ID, AgentID: a.ID, ExecutorID: id, Role: fw.Roles[0], User: "root", State: state,
		Command: "exec ./serve --port $PORT0", Resources: Resources{CPUs: 0.5, MemMB: 256, DiskMB: 64},
		ContainerID: "c7f1f0aa-92b3-4d3e-a8f2-0e5a6c1b" + fmt.Sprintf("%04x", len(id)), IPs: []string{strings.TrimSuffix(a.Address, ":5051")},
		Labels: []Label{{"team", "search"}, {"tier", "front"}},
	}
	t.Sandbox = fmt.Sprintf(runDir, a.ID, fw.ID, id, t.ContainerID)
	t.Statuses = []Status{{State: "TASK_STARTING", Source: "SOURCE_EXECUTOR", Timestamp: started.Add(-200 * time.Millisecond)}}
	if state != "TASK_STARTING" {
		t.Statuses = append(t.Statuses, Status{State: "TASK_RUNNING", Source: "SOURCE_EXECUTOR", Timestamp: started})
	}
	return t
}

func (t *Task) end(state, reason, message string, at time.Time) *Task {
	t.State = state
	t.Statuses = append(t.Statuses, Status{State: state, Reason: reason, Message: message, Source: "SOURCE_EXECUTOR", Timestamp: at})
	return t
}

const memoryMessage = "Memory limit exceeded: Requested: 64MB Maximum Used: 64MB\n\nMEMORY STATISTICS: \ncache 0\nrss 67108864\nmapped_file 0\nswap 0"

// demo fills the source with agents, frameworks and tasks in all states.
func demo(f *fakeSource, now time.Time) {
	f.update(func(s *State) {
		s.Cluster = Cluster{
			Name: "lab", Version: "0.1.0", Build: "c1b42f7, 2026-01-12", MasterID: masterID, Leader: "10.0.4.11:5050", Leading: true,
			Started: now.Add(-51 * time.Hour), Elected: now.Add(-50 * time.Hour), Isolation: "containers, cgroups v2",
			Masters: []Master{{ID: "1", Address: "10.0.4.11:5050", State: "leader", Term: 3, Applied: 18233}},
		}
		s.Problems = []Problem{{Code: "agent-unreachable", Severity: "warning", Text: "The agent node-05.lab.example does not answer since 12 minutes.", Do: "Check the machine and its network; its tasks are kept as unreachable until it comes back."}}
		for i := range 5 {
			s.Agents = append(s.Agents, demoAgent(i, now))
		}
		s.Agents[4].State = AgentUnreachable
		s.Agents[4].Unreachable = now.Add(-12 * time.Minute)
		names := []string{"web", "primes", "cron"}
		for i, name := range names {
			s.Frameworks = append(s.Frameworks, &Framework{
				ID: fmt.Sprintf("%s-%04d", masterID, i), Name: name, User: "root", Principal: []string{"web-team", "", "ops"}[i], Hostname: fmt.Sprintf("node-%02d.lab.example", i+1),
				WebUIURL: "http://node-01.lab.example:8080/", Roles: []string{[]string{"web", "batch", "ops"}[i]}, Capabilities: []string{"MULTI_ROLE", "PARTITION_AWARE", "TASK_KILLING_STATE"},
				Active: true, Connected: true, Checkpoint: true, FailoverTimeout: 7 * 24 * time.Hour, Registered: now.Add(-time.Duration(i*7+1) * time.Hour),
			})
		}
		s.Frameworks[2].Active, s.Frameworks[2].Connected, s.Frameworks[2].Disconnected = false, false, now.Add(-3*time.Minute)
		s.Frameworks[2].FailoverTimeout = time.Hour
		demoTasks(s, now)
	})
}

func demoTasks(s *State, now time.Time) {
	fw := s.Frameworks
	for i := range 64 {
		a := s.Agents[i%4]
		t := demoTask(fw[i%2], a, fmt.Sprintf("%s-%d", fw[i%2].Name, i), "TASK_RUNNING", now.Add(-time.Duration(i*97+20)*time.Second))
		ended := now.Add(-time.Duration(i*31+5) * time.Second)
		switch {
		case i%7 == 3:
			t.end("TASK_FINISHED", "", "Command exited with status 0", ended)
		case i == 8:
			t.end("TASK_FAILED", "REASON_CONTAINER_LIMITATION_MEMORY", memoryMessage, ended)
		case i == 14:
			t.end("TASK_FAILED", "REASON_COMMAND_EXECUTOR_FAILED", "Command exited with status 127", ended)
		case i == 21:
			t.end("TASK_KILLED", "", "Command terminated with signal Terminated", ended)
		case i == 2:
			t.State, t.Statuses = "TASK_STAGING", nil
			t.Sandbox = ""
		case i == 5:
			sick := false
			t.Healthy = &sick
		case i == 33:
			t.AgentID = s.Agents[4].ID
			t.State = "TASK_UNREACHABLE"
		}
		if i == 0 {
			t.Ports = []Port{{31000, "http", "tcp"}, {31001, "admin", "tcp"}}
		}
		if !terminal(t.State) {
			a.Allocated = plus(a.Allocated, t.Resources)
			fw[i%2].Allocated = plus(fw[i%2].Allocated, t.Resources)
		}
		s.Tasks = append(s.Tasks, t)
	}
	s.Agents[1].Offered = Resources{CPUs: 4, MemMB: 16384, DiskMB: 128000}
}
