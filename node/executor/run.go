package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"clusterd/node/mesos"
	"clusterd/node/mesos/v1executor"
)

const (
	// maxEventBytes bounds one event of the agent: a task is at most as large as a call (12 MiB).
	maxEventBytes = 64 << 20
	// postTimeout bounds one call; the agent answers at once.
	postTimeout = 30 * time.Second
)

// Run executes one command task for the agent that env names (MESOS_*, EXE-32) and returns the exit
// code of the executor: when the agent has acknowledged the end of the task, has told the executor
// to end, or is lost. Lines about what cannot be told to the agent go to stderr. Cancelling ctx
// kills the task and ends Run.
func Run(ctx context.Context, env []string, l Launcher, stderr io.Writer) (exitCode int) {
	s, err := parseSettings(env)
	if err != nil {
		fmt.Fprintf(stderr, "executor: %v\n", err)
		return 1
	}
	r := &runner{
		s: s, launcher: l, stderr: stderr,
		events: make(chan event),
		client: &http.Client{Transport: &http.Transport{
			DialContext:        (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			DisableCompression: true,
		}},
	}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer r.close()
	return r.loop(ctx)
}

// runner carries out what the core wants. Its loop goroutine owns all fields but the channel.
type runner struct {
	s        settings
	launcher Launcher
	stderr   io.Writer
	client   *http.Client
	events   chan event
	ctx      context.Context // of all calls; ends with Run
	cancel   context.CancelFunc
	work     sync.WaitGroup
	// dropStream ends the stream there is. Its events are of the past from then on.
	dropStream context.CancelFunc
	process    Process
	code       int
	done       bool
}

func (r *runner) close() {
	r.cancel()
	r.work.Wait()
	r.client.CloseIdleConnections()
}

func (r *runner) loop(ctx context.Context) int {
	core, effects := newCore(r.s, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	cancel := ctx.Done()
	for {
		for _, e := range effects {
			r.carryOut(e)
		}
		if r.done {
			return r.code
		}
		if at, ok := core.deadline(); ok {
			timer.Reset(time.Until(at))
		} else {
			timer.Stop()
		}
		var ev event
		select {
		case ev = <-r.events:
		case <-timer.C:
			ev = tick{}
		case <-cancel:
			cancel, ev = nil, cancelled{}
		}
		if p, ok := ev.(processStarted); ok {
			r.process, ev = p.process, started{}
			r.wait(p.process)
		}
		effects = core.step(time.Now(), ev)
	}
}

// processStarted is started{} with what only the runner needs.
type processStarted struct{ process Process }

func (processStarted) event() {}

func (r *runner) carryOut(e effect) {
	switch e := e.(type) {
	case subscribe:
		r.subscribe(e)
	case post:
		r.work.Go(func() { r.tell(r.post(e)) })
	case start:
		r.work.Go(func() { r.start(e.command) })
	case signal:
		r.signal(e.signal)
	case report:
		r.complain(e.line)
	case end:
		r.code, r.done = e.code, true
	}
}

// tell hands an event to the loop, unless that has ended.
func (r *runner) tell(ev event) {
	select {
	case r.events <- ev:
	case <-r.ctx.Done():
	}
}

func (r *runner) complain(line string) {
	// Where even this cannot be written there is nobody left to tell.
	_, _ = fmt.Fprintln(r.stderr, line)
}

func (r *runner) start(c Command) {
	p, err := r.launcher.Start(c)
	if err != nil {
		r.tell(started{err: err})
		return
	}
	select {
	case r.events <- processStarted{process: p}:
	case <-r.ctx.Done():
		r.end(p)
	}
}

// wait is the one waiter of the process; it outlives the loop until the process is gone.
func (r *runner) wait(p Process) {
	r.work.Go(func() { r.tell(exited{exit: p.Wait()}) })
}

// end a process that came too late to be anybody's.
func (r *runner) end(p Process) {
	if err := p.Kill(); err != nil {
		r.complain("executor: kill the task: " + err.Error())
	}
	p.Wait()
}

func (r *runner) signal(s syscall.Signal) {
	if r.process == nil {
		return
	}
	var err error
	if s == syscall.SIGKILL {
		err = r.process.Kill()
	} else {
		err = r.process.Signal(s)
	}
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		r.complain(fmt.Sprintf("executor: send %s to the task: %v", mesos.SignalText(int(s)), err))
	}
}

func (r *runner) request(ctx context.Context, call *v1executor.Call) (*http.Response, error) {
	body, err := mesos.Protobuf.Marshal(call)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", call.GetType(), err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.s.endpoint+"/api/v1/executor", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", call.GetType(), err)
	}
	req.Header.Set("Content-Type", mesos.Protobuf.String())
	req.Header.Set("Accept", mesos.Protobuf.String())
	if r.s.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.s.token)
	}
	return r.client.Do(req)
}

// subscribe opens the stream in the place of the one before.
func (r *runner) subscribe(s subscribe) {
	if r.dropStream != nil {
		r.dropStream()
	}
	ctx, cancel := context.WithCancel(r.ctx)
	r.dropStream = cancel
	r.work.Go(func() {
		defer cancel()
		// Whatever ends the stream, the remedy is the same: subscribe again.
		_ = r.read(ctx, s)
		if ctx.Err() == nil {
			r.tell(disconnected{stream: s.stream})
		}
	})
}

// read passes on the events of one stream until it ends.
func (r *runner) read(ctx context.Context, s subscribe) error {
	resp, err := r.request(ctx, s.call)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("subscribe: %s", resp.Status)
	}
	records := mesos.NewRecordReader(resp.Body, maxEventBytes)
	for {
		record, err := records.Next()
		if err != nil {
			return err
		}
		ev := &v1executor.Event{}
		if err := mesos.Protobuf.Unmarshal(record, ev); err != nil {
			return err
		}
		select {
		case r.events <- received{stream: s.stream, message: ev}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// post sends one call and says how it went.
func (r *runner) post(p post) posted {
	answer := posted{number: p.number}
	ctx, cancel := context.WithTimeout(r.ctx, postTimeout)
	defer cancel()
	resp, err := r.request(ctx, p.call)
	if err != nil {
		return answer
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return answer
	}
	answer.ok = resp.StatusCode == http.StatusAccepted
	answer.refused = resp.StatusCode == http.StatusForbidden
	return answer
}
