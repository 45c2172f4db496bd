package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"time"

	"github.com/schollz/progressbar/v3"
)

const (
	taskCPUs, taskMem         = 0.5, 32
	executorCPUs, executorMem = 0.1, 64
	// A task that nobody heard of for so long after a reconciliation is run again.
	lostAfter = 30 * time.Second
)

type piece struct {
	from, to uint64
	attempt  int
	task     string // id of the attempt that is under way, "" if none
	agent    string
	asked    time.Time // when its state was last asked for without an answer; zero if it is known
	done     bool
	primes   uint64
}

type scheduler struct {
	o       options
	log     io.Writer
	client  *client
	id      string // framework id, "" before the first subscription
	binary  string // URL of the executor
	pieces  []*piece
	byTask  map[string]*piece
	left    int
	again   int
	quiet   bool // suppressed: nothing is left to launch
	bar     *progressbar.ProgressBar
	retryIn time.Duration
}

var errFinished = errors.New("finished")

func newScheduler(o options, log io.Writer) *scheduler {
	s := &scheduler{o: o, log: log, byTask: make(map[string]*piece), retryIn: 100 * time.Millisecond}
	s.client = newClient("http://" + o.master + "/api/v1/scheduler")
	n := uint64(o.tasks)
	for i := range n {
		// In steps that cannot overflow: n*i stays below 10^17.
		p := &piece{from: o.n / n * i, to: o.n / n * (i + 1)}
		if i == n-1 {
			p.to = o.n + 1
		}
		s.pieces = append(s.pieces, p)
	}
	s.left = len(s.pieces)
	return s
}

// run returns the number of primes once every piece is counted.
func (s *scheduler) run(ctx context.Context) (uint64, error) {
	stop, err := s.serveExecutor()
	if err != nil {
		return 0, err
	}
	defer stop()
	s.bar = progressbar.NewOptions(len(s.pieces), progressbar.OptionSetWriter(s.log), progressbar.OptionSetDescription("counting"),
		progressbar.OptionShowCount(), progressbar.OptionSetWidth(40), progressbar.OptionThrottle(50*time.Millisecond), progressbar.OptionSetPredictTime(true))
	for {
		err := s.session(ctx)
		switch {
		case errors.Is(err, errFinished):
			_ = s.bar.Finish() // only draws
			fmt.Fprintln(s.log)
			return s.sum(), nil
		case ctx.Err() != nil:
			return 0, errors.New("interrupted")
		}
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return 0, err
		}
		s.bar.Describe("waiting for the master")
		if s.id == "" && s.retryIn >= 3*time.Second {
			return 0, fmt.Errorf("subscribing at %s: %w", s.o.master, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(s.retryIn):
		}
		s.retryIn = min(2*s.retryIn, 3*time.Second)
	}
}

// fatalError is an ERROR event: the master will not have this framework.
type fatalError struct{ message string }

func (e *fatalError) Error() string { return e.message }

// serveExecutor lets agents download this very binary.
func (s *scheduler) serveExecutor() (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", s.o.serve)
	if err != nil {
		return nil, fmt.Errorf("-serve: %w", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, self) })}
	go func() { _ = server.Serve(l) }()
	s.binary = "http://" + l.Addr().String() + "/primes"
	return func() { _ = server.Close() }, nil
}

// session is the life of one subscription.
func (s *scheduler) session(ctx context.Context) error {
	info := frameworkInfo{User: loginName(), Name: "primes", Roles: []string{s.o.role}, Checkpoint: true, FailoverTimeout: 3600,
		Capabilities: []capability{{"MULTI_ROLE"}, {"PARTITION_AWARE"}, {"RESERVATION_REFINEMENT"}}}
	call := map[string]any{"type": "SUBSCRIBE"}
	if s.id != "" {
		info.ID = &id{s.id}
		call["framework_id"] = info.ID
	}
	call["subscribe"] = map[string]any{"framework_info": info}
	// The stream outlives ctx for a moment: only a subscribed framework may be torn down.
	stream, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		defer cancel()
		bye, done := context.WithTimeout(stream, 2*time.Second)
		defer done()
		if err := s.client.call(bye, s.simple("TEARDOWN")); err != nil {
			fmt.Fprintf(s.log, "\nteardown: %v\n", err)
		}
	})()
	// A master that sends nothing for several heartbeats is gone, whatever TCP thinks.
	silence := time.AfterFunc(75*time.Second, cancel)
	defer silence.Stop()
	return s.client.subscribe(stream, call, func(record []byte) error {
		silence.Reset(75 * time.Second)
		return s.event(stream, record)
	})
}

func (s *scheduler) simple(kind string) map[string]any {
	return map[string]any{"type": kind, "framework_id": id{s.id}}
}

func (s *scheduler) event(ctx context.Context, record []byte) error {
	var ev struct {
		Type       string `json:"type"`
		Subscribed struct {
			FrameworkID id `json:"framework_id"`
		} `json:"subscribed"`
		Offers struct {
			Offers []offer `json:"offers"`
		} `json:"offers"`
		Update struct {
			Status taskStatus `json:"status"`
		} `json:"update"`
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(record, &ev); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	switch ev.Type {
	case "SUBSCRIBED":
		s.id = ev.Subscribed.FrameworkID.Value
		s.retryIn = 100 * time.Millisecond
		s.quiet = false
		s.bar.Describe("counting")
		return s.reconcile(ctx, true)
	case "OFFERS":
		return s.offers(ctx, ev.Offers.Offers)
	case "UPDATE":
		return s.update(ctx, ev.Update.Status)
	case "HEARTBEAT":
		return s.reconcile(ctx, false)
	case "ERROR":
		return &fatalError{ev.Error.Message}
	}
	return nil
}

// reconcile asks for the state of the tasks under way: all of them after a subscription, later those
// that gave no answer yet. What stays unknown for long is run again.
func (s *scheduler) reconcile(ctx context.Context, all bool) error {
	type query struct {
		TaskID  id `json:"task_id"`
		AgentID id `json:"agent_id"`
	}
	var queries []query
	now := time.Now()
	for _, task := range s.tasks() {
		p := s.byTask[task]
		if !all && p.asked.IsZero() {
			continue
		}
		if p.asked.IsZero() {
			p.asked = now
		} else if now.Sub(p.asked) > lostAfter {
			s.redo(p)
			continue
		}
		queries = append(queries, query{id{p.task}, id{p.agent}})
	}
	if len(queries) == 0 {
		return nil
	}
	call := s.simple("RECONCILE")
	call["reconcile"] = map[string]any{"tasks": queries}
	return s.client.call(ctx, call)
}

func (s *scheduler) tasks() []string {
	out := make([]string, 0, len(s.byTask))
	for task := range s.byTask {
		out = append(out, task)
	}
	sort.Strings(out)
	return out
}

func (s *scheduler) offers(ctx context.Context, offers []offer) error {
	for _, o := range offers {
		cpus, mem := amount(o, "cpus"), amount(o, "mem")
		cpus, mem = cpus-executorCPUs, mem-executorMem // the executor may have to be started first
		var tasks []taskInfo
		for _, p := range s.pieces {
			if p.done || p.task != "" || cpus < taskCPUs || mem < taskMem {
				continue
			}
			cpus, mem = cpus-taskCPUs, mem-taskMem
			tasks = append(tasks, s.launch(p, o))
		}
		call := s.simple("ACCEPT")
		accept := map[string]any{"offer_ids": []id{o.ID}, "filters": map[string]float64{"refuse_seconds": 1}}
		if len(tasks) > 0 {
			accept["operations"] = []any{map[string]any{"type": "LAUNCH", "launch": map[string]any{"task_infos": tasks}}}
		}
		call["accept"] = accept
		if err := s.client.call(ctx, call); err != nil {
			return err
		}
	}
	return s.wants(ctx)
}

func (s *scheduler) launch(p *piece, o offer) taskInfo {
	p.attempt++
	p.task = fmt.Sprintf("primes-%d-%d.%d", p.from, p.to, p.attempt)
	p.agent = o.AgentID.Value
	p.asked = time.Time{}
	s.byTask[p.task] = p
	data, err := json.Marshal(work{p.from, p.to, int64(s.o.slow)})
	if err != nil {
		panic(err) // a struct of numbers
	}
	return taskInfo{
		Name: p.task, TaskID: id{p.task}, AgentID: o.AgentID, Data: data, Resources: resources(taskCPUs, taskMem),
		Executor: &executorInfo{
			Type: "CUSTOM", ExecutorID: id{"primes"}, FrameworkID: id{s.id}, Name: "primes", Resources: resources(executorCPUs, executorMem),
			Command: command{Value: "./primes", Arguments: []string{"primes", "executor"}, URIs: []uri{{Value: s.binary, Executable: true}}},
		},
	}
}

func resources(cpus, mem float64) []resource {
	return []resource{{"cpus", "SCALAR", &scalar{cpus}}, {"mem", "SCALAR", &scalar{mem}}}
}

func amount(o offer, name string) float64 {
	var sum float64
	for _, r := range o.Resources {
		if r.Name == name && r.Scalar != nil {
			sum += r.Scalar.Value
		}
	}
	return sum
}

func (s *scheduler) update(ctx context.Context, st taskStatus) error {
	p, current := s.byTask[st.TaskID.Value]
	if current {
		p.asked = time.Time{}
		switch st.State {
		case "TASK_FINISHED":
			var r result
			// An answer to a reconciliation has no data: the update itself still comes.
			if len(st.Data) > 0 {
				if err := json.Unmarshal(st.Data, &r); err != nil {
					return fmt.Errorf("result of %s: %w", st.TaskID.Value, err)
				}
				p.done, p.primes = true, r.Primes
				delete(s.byTask, p.task)
				s.left--
				_ = s.bar.Add(1)
			}
		case "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED", "TASK_GONE", "TASK_GONE_BY_OPERATOR", "TASK_UNKNOWN":
			s.redo(p)
			fmt.Fprintf(s.log, "\n%s: %s %s %s, will be run again\n", st.TaskID.Value, st.State, st.Reason, st.Message)
			if p.attempt >= 20 {
				return &fatalError{fmt.Sprintf("task for %d to %d ended 20 times: %s %s", p.from, p.to, st.State, st.Message)}
			}
		}
	}
	if len(st.UUID) > 0 {
		call := s.simple("ACKNOWLEDGE")
		call["acknowledge"] = map[string]any{"agent_id": st.AgentID, "task_id": st.TaskID, "uuid": st.UUID}
		if err := s.client.call(ctx, call); err != nil {
			return err
		}
	}
	if s.left == 0 {
		return errors.Join(errFinished, s.client.call(ctx, s.simple("TEARDOWN")))
	}
	return s.wants(ctx)
}

func (s *scheduler) redo(p *piece) {
	delete(s.byTask, p.task)
	p.task, p.asked = "", time.Time{}
	s.again++
}

// wants tells the master whether offers are of use.
func (s *scheduler) wants(ctx context.Context) error {
	idle := true
	for _, p := range s.pieces {
		idle = idle && (p.done || p.task != "")
	}
	if idle == s.quiet {
		return nil
	}
	s.quiet = idle
	if idle {
		return s.client.call(ctx, s.simple("SUPPRESS"))
	}
	return s.client.call(ctx, s.simple("REVIVE"))
}

func (s *scheduler) sum() (n uint64) {
	for _, p := range s.pieces {
		n += p.primes
	}
	return n
}
