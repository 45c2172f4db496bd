package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
)

// patience is how long a run waits without a fitting offer before it says what it is waiting for.
const patience = 5 * time.Second

// runner is the scheduler behind `clusterd run`: it launches its tasks once, copies their output and
// ends with their status.
type runner struct {
	c        *common
	cl       *client
	o        *runOptions
	info     *v1.FrameworkInfo
	out, err io.Writer
	sub      *subscription
	tasks    []*runTask
	kills    int // how often it was interrupted
	tails    sync.WaitGroup
	lines    sync.Mutex
}

type runTask struct {
	id      string
	agent   *v1.AgentID
	addr    string // of the agent's API
	state   v1.TaskState
	started bool // launched
	tailing bool
	ended   atomic.Bool
	status  *v1.TaskStatus // the last one
}

func newRunner(c *common, cl *client, o *runOptions, out, errOut io.Writer) *runner {
	r := &runner{c: c, cl: cl, o: o, info: o.framework(), out: out, err: errOut}
	for i := range o.instances {
		t := &runTask{id: o.name, state: v1.TaskState_TASK_STAGING}
		if o.instances > 1 {
			t.id = fmt.Sprintf("%s.%d", o.name, i+1)
		}
		r.tasks = append(r.tasks, t)
	}
	return r
}

type received struct {
	sub   *subscription
	event *v1scheduler.Event
	err   error
}

func (r *runner) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	interrupts := make(chan os.Signal, 4)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	events := make(chan received)
	if err := r.subscribe(ctx, events); err != nil {
		return err
	}
	waiting := time.NewTimer(patience)
	defer waiting.Stop()
	for !r.done() {
		select {
		case ev := <-events:
			if ev.sub != r.sub {
				continue // the end of a stream that was given up
			}
			if ev.err != nil {
				if err := r.resubscribe(ctx, events, interrupts); err != nil {
					return err
				}
				continue
			}
			if err := r.event(ctx, ev.event); err != nil {
				return err
			}
		case <-interrupts:
			if err := r.interrupt(ctx); err != nil {
				return err
			}
		case <-waiting.C:
			if n := r.pending(); n > 0 {
				r.note("%d of %d tasks wait for an offer with cpus:%v mem:%v disk:%v", n, len(r.tasks), r.o.cpus, r.o.mem, r.o.disk)
			}
		}
	}
	if r.o.detach {
		r.sub.close()
		for _, t := range r.tasks {
			fmt.Fprintln(r.out, t.id)
		}
		return r.result()
	}
	r.tails.Wait()
	if err := r.call(ctx, &v1scheduler.Call{Type: v1scheduler.Call_TEARDOWN.Enum()}); err != nil {
		r.note("teardown: %v", err)
	}
	return r.result()
}

func (r *runner) note(format string, args ...any) {
	fmt.Fprintf(r.err, "clusterd run: "+format+"\n", args...)
}

func (r *runner) subscribe(ctx context.Context, events chan<- received) error {
	sub, err := r.cl.subscribe(ctx, r.info)
	if err != nil {
		return err
	}
	r.sub = sub
	go func() {
		defer sub.close()
		for {
			ev, err := sub.next()
			select {
			case events <- received{sub, ev, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return nil
}

// resubscribe finds the leading master again, for as long as the framework may be away.
func (r *runner) resubscribe(ctx context.Context, events chan<- received, interrupts <-chan os.Signal) error {
	if r.info.Id == nil {
		return errors.New("the master closed the connection before the subscription was complete")
	}
	r.note("lost the master, looking for it again")
	deadline := time.Now().Add(time.Duration(r.info.GetFailoverTimeout() * float64(time.Second)))
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		cl, err := r.c.dial(ctx)
		if err == nil {
			r.cl = cl
			if err = r.subscribe(ctx, events); err == nil {
				return r.reconcile(ctx)
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the master did not come back: %w", err)
		}
		select {
		case <-time.After(wait):
		case <-interrupts:
			return errors.New("interrupted while the master was away: the task may still run")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *runner) reconcile(ctx context.Context) error {
	var tasks []*v1scheduler.Call_Reconcile_Task
	for _, t := range r.tasks {
		if t.started && !t.ended.Load() {
			tasks = append(tasks, &v1scheduler.Call_Reconcile_Task{TaskId: &v1.TaskID{Value: &t.id}, AgentId: t.agent})
		}
	}
	if len(tasks) == 0 {
		return nil
	}
	return r.call(ctx, &v1scheduler.Call{Type: v1scheduler.Call_RECONCILE.Enum(), Reconcile: &v1scheduler.Call_Reconcile{Tasks: tasks}})
}

func (r *runner) call(ctx context.Context, call *v1scheduler.Call) error {
	return r.sub.call(ctx, r.info.Id, call)
}

func (r *runner) event(ctx context.Context, ev *v1scheduler.Event) error {
	switch ev.GetType() {
	case v1scheduler.Event_SUBSCRIBED:
		r.info.Id = ev.GetSubscribed().GetFrameworkId()
	case v1scheduler.Event_OFFERS:
		for _, o := range ev.GetOffers().GetOffers() {
			if err := r.offer(ctx, o); err != nil {
				return err
			}
		}
	case v1scheduler.Event_UPDATE:
		return r.update(ctx, ev.GetUpdate().GetStatus())
	case v1scheduler.Event_ERROR:
		return errors.New(ev.GetError().GetMessage())
	}
	return nil
}

func (r *runner) offer(ctx context.Context, o *v1.Offer) error {
	fits := r.o.fits(o)
	var infos []*v1.TaskInfo
	for _, t := range r.tasks {
		if t.started || r.kills > 0 || fits == 0 {
			continue
		}
		fits--
		t.started, t.agent = true, o.GetAgentId()
		if a := o.GetUrl().GetAddress(); a != nil {
			t.addr = agentEntry{Hostname: a.GetIp(), Port: int(a.GetPort())}.address()
		}
		infos = append(infos, r.o.task(t.id, o.GetAgentId()))
	}
	accept := &v1scheduler.Call_Accept{OfferIds: []*v1.OfferID{o.GetId()}}
	if len(infos) > 0 {
		accept.Operations = []*v1.Offer_Operation{{Type: v1.Offer_Operation_LAUNCH.Enum(), Launch: &v1.Offer_Operation_Launch{TaskInfos: infos}}}
	}
	if r.pending() > 0 {
		accept.Filters = &v1.Filters{RefuseSeconds: proto.Float64(1)}
	}
	if err := r.call(ctx, &v1scheduler.Call{Type: v1scheduler.Call_ACCEPT.Enum(), Accept: accept}); err != nil {
		return err
	}
	if r.pending() == 0 {
		return r.call(ctx, &v1scheduler.Call{Type: v1scheduler.Call_SUPPRESS.Enum()})
	}
	return nil
}

func (r *runner) update(ctx context.Context, st *v1.TaskStatus) error {
	for _, t := range r.tasks {
		if t.id == st.GetTaskId().GetValue() && !t.ended.Load() {
			r.progress(ctx, t, st)
		}
	}
	if len(st.GetUuid()) == 0 {
		return nil
	}
	return r.call(ctx, &v1scheduler.Call{Type: v1scheduler.Call_ACKNOWLEDGE.Enum(), Acknowledge: &v1scheduler.Call_Acknowledge{
		AgentId: st.GetAgentId(), TaskId: st.GetTaskId(), Uuid: st.GetUuid(),
	}})
}

func (r *runner) progress(ctx context.Context, t *runTask, st *v1.TaskStatus) {
	t.state, t.status = st.GetState(), st
	container := st.GetContainerStatus().GetContainerId().GetValue()
	if container != "" && t.addr != "" && !t.tailing && !r.o.detach {
		t.tailing = true
		dir := taskEntry{ID: t.id, Framework: r.info.GetId().GetValue()}.sandbox()
		dir = dir[:len(dir)-len("latest")] + container
		r.tail(ctx, t, dir+"/stdout", r.out)
		r.tail(ctx, t, dir+"/stderr", r.err)
	}
	if terminal(st.GetState().String()) {
		t.ended.Store(true)
	}
}

// tail copies one output file until the task has ended and all is copied.
func (r *runner) tail(ctx context.Context, t *runTask, path string, to io.Writer) {
	w := io.Writer(&lockedWriter{&r.lines, to})
	var lines *lineWriter
	if len(r.tasks) > 1 {
		lines = &lineWriter{prefix: t.id + " | ", to: w}
		w = lines
	}
	r.tails.Go(func() {
		f := &sandboxFile{cl: r.cl, addr: t.addr, path: path}
		if err := f.follow(ctx, w, 0, t.ended.Load); err != nil {
			r.note("%v", err)
		}
		if lines != nil {
			lines.flush()
		}
	})
}

// interrupt kills the tasks; the second time without grace, the third time the run gives up.
func (r *runner) interrupt(ctx context.Context) error {
	r.kills++
	if r.kills > 2 {
		return errors.New("interrupted again: the task may still run")
	}
	for _, t := range r.tasks {
		if !t.started {
			t.ended.Store(true)
			t.state = v1.TaskState_TASK_KILLED
			continue
		}
		if t.ended.Load() {
			continue
		}
		kill := &v1scheduler.Call_Kill{TaskId: &v1.TaskID{Value: &t.id}, AgentId: t.agent}
		if r.kills > 1 {
			kill.KillPolicy = &v1.KillPolicy{GracePeriod: seconds(0)}
		}
		if err := r.call(ctx, &v1scheduler.Call{Type: v1scheduler.Call_KILL.Enum(), Kill: kill}); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) pending() (n int) {
	for _, t := range r.tasks {
		if !t.started {
			n++
		}
	}
	return n
}

func (r *runner) done() bool {
	for _, t := range r.tasks {
		if !t.ended.Load() && !(r.o.detach && t.state == v1.TaskState_TASK_RUNNING) {
			return false
		}
	}
	return true
}

// result is the exit status of the first task that did not succeed, with its message if the status
// alone does not tell.
func (r *runner) result() error {
	code := 0
	for _, t := range r.tasks {
		c, explained := exitCode(t.state, t.status.GetReason(), t.status.GetMessage())
		if !explained && t.ended.Load() && t.status != nil {
			message, _, _ := strings.Cut(t.status.GetMessage(), "\n") // statistics may follow
			if t.status.Reason != nil {
				message = t.status.GetReason().String() + ": " + message
			}
			r.note("task %s: %s: %s", t.id, t.state, message)
		}
		if code == 0 {
			code = c
		}
	}
	if r.o.detach {
		for _, t := range r.tasks {
			if t.ended.Load() && t.state != v1.TaskState_TASK_FINISHED {
				return exitError{max(code, 1)}
			}
		}
		return nil
	}
	if code != 0 {
		return exitError{code}
	}
	return nil
}

var (
	exitedText = regexp.MustCompile(`^Command exited with status (\d+)`)
	signalText = regexp.MustCompile(`^Command terminated with signal ([A-Za-z ]+?)( \(core dumped\))?$`)
	// signals are the texts of the signals that commonly end a process.
	signals = map[string]int{"Hangup": 1, "Interrupt": 2, "Quit": 3, "Illegal instruction": 4, "Aborted": 6, "Bus error": 7,
		"Floating point exception": 8, "Killed": 9, "User defined signal 1": 10, "Segmentation fault": 11,
		"User defined signal 2": 12, "Broken pipe": 13, "Alarm clock": 14, "Terminated": 15}
)

// exitCode translates the end of a command task. explained is false when the message says more than
// the number does. A task that was killed for a limit has the status of a process that got SIGKILL.
func exitCode(state v1.TaskState, reason v1.TaskStatus_Reason, message string) (code int, explained bool) {
	if m := exitedText.FindStringSubmatch(message); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n < 256 {
			return n, true
		}
	}
	if m := signalText.FindStringSubmatch(message); m != nil {
		if n := signals[m[1]]; n > 0 {
			return 128 + n, true
		}
	}
	switch {
	case state == v1.TaskState_TASK_FINISHED:
		return 0, true
	case state == v1.TaskState_TASK_KILLED, reason == v1.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY:
		return 128 + int(syscall.SIGKILL), false
	}
	return 1, false
}

// lockedWriter keeps the writes of several tails apart.
type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// maxLine is where a line without end is cut.
const maxLine = 64 << 10

// lineWriter writes whole lines, each with a prefix.
type lineWriter struct {
	prefix string
	to     io.Writer
	rest   []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	var out []byte
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 {
			break
		}
		out = append(append(out, l.prefix...), l.rest[:i+1]...)
		l.rest = l.rest[i+1:]
	}
	if len(l.rest) > maxLine {
		out = append(append(append(out, l.prefix...), l.rest...), '\n')
		l.rest = nil
	}
	if len(out) > 0 {
		if _, err := l.to.Write(out); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (l *lineWriter) flush() {
	if len(l.rest) > 0 {
		_, _ = l.to.Write(append(append([]byte(l.prefix), l.rest...), '\n')) // its error would be the next write's too
		l.rest = nil
	}
}
