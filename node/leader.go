package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"clusterd/node/api"
	"clusterd/node/master"
	"clusterd/node/mesos"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"
	"clusterd/raft/registry"
)

const masterPlaces = 4096

// leader is the shell around the core of a leading master. It exists from the election of this node
// to the loss of its leadership, then it is dropped whole.
type leader struct {
	log     *slog.Logger
	box     *mailbox[master.Event]
	front   *front[*v1scheduler.Event, *master.View]
	submit  submitFunc
	changed chan struct{} // holds a value after something may have changed

	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns map[master.ConnID]*frameConn

	proposals chan *registry.Op
}

// submitFunc hands one operation to raft; ended is told its outcome. An error means that it was not
// taken and ended will not be called.
type submitFunc func(ctx context.Context, op *registry.Op, ended func(registry.Result, error)) error

// newLeader starts the loop. submit is called from one goroutine, in the order of the proposals.
func newLeader(core *master.Master, submit submitFunc, log *slog.Logger) *leader {
	ctx, cancel := context.WithCancel(context.Background())
	l := &leader{
		log: log, submit: submit, cancel: cancel, changed: make(chan struct{}, 1),
		box: newMailbox[master.Event](masterPlaces), front: newFront[*v1scheduler.Event, *master.View](),
		conns: make(map[master.ConnID]*frameConn), proposals: make(chan *registry.Op, 1<<16),
	}
	l.wg.Go(func() { l.commit(ctx) })
	l.wg.Go(func() {
		runLoop[master.Event, master.Effect](ctx, core, l.box, master.Tick{}, l.carry, l.settled)
	})
	return l
}

// close ends the loop, all streams and all connections, and waits for them.
func (l *leader) close() {
	l.cancel()
	l.box.close()
	l.wg.Wait()
	l.front.endAll()
	l.mu.Lock()
	conns := make([]*frameConn, 0, len(l.conns))
	for _, c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	for _, c := range conns {
		c.close(errStopped)
		c.wait()
	}
}

func (l *leader) settled() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// carry carries out one effect of the core. It never waits.
func (l *leader) carry(f master.Effect) {
	switch f := f.(type) {
	case master.Respond:
		l.front.respond(uint64(f.Request), reply[*master.View]{answer: api.Answer{Status: f.Status, Body: f.Body}})
	case master.OpenStream:
		l.front.respond(uint64(f.Request), reply[*master.View]{opened: true, uuid: f.UUID})
	case master.Answer:
		l.front.respond(uint64(f.Request), reply[*master.View]{view: f.View})
	case master.Send:
		l.front.push(uint64(f.Stream), f.Event)
	case master.CloseStream:
		l.front.end(uint64(f.Stream))
	case master.SendAgent:
		if c := l.conn(f.Conn); c != nil {
			c.send(f.Message)
		}
	case master.CloseAgent:
		if c := l.conn(f.Conn); c != nil {
			c.finish()
		}
	case master.Propose:
		select {
		case l.proposals <- f.Op:
		default: // more than 65536 admissions wait for the disk: refuse rather than stall the loop
			l.box.post(master.Committed{Op: f.Op, Err: errors.New("too many registry operations wait")})
		}
	default:
		panic(fmt.Sprintf("effect %T of the master has no one to carry it out", f))
	}
}

// commit hands operations to raft without waiting for their outcomes, which come in the same order.
func (l *leader) commit(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case op := <-l.proposals:
			ended := func(result registry.Result, err error) {
				if err != nil && ctx.Err() == nil {
					l.log.Error("registry operation not committed", "error", err)
				}
				l.box.post(master.Committed{Op: op, Result: result, Err: err})
			}
			if err := l.submit(ctx, op, ended); err != nil {
				ended(registry.Result{}, err)
			}
		}
	}
}

func (l *leader) conn(id master.ConnID) *frameConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[id]
}

// serveAgent takes over a connection that an agent opened. The caller does not use it any more.
func (l *leader) serveAgent(conn net.Conn, remote string) {
	id := master.ConnID(l.front.handle())
	ready := make(chan struct{})
	c := newFrameConn(conn,
		func() *wire.FromAgent { return new(wire.FromAgent) },
		func(m *wire.FromAgent) error {
			<-ready
			return l.box.offer(context.Background(), master.FromAgent{Conn: id, Remote: remote, Message: m})
		},
		func(err error) {
			<-ready
			l.mu.Lock()
			delete(l.conns, id)
			l.mu.Unlock()
			l.log.Debug("agent connection ended", "remote", remote, "error", err)
			l.box.post(master.AgentDisconnected{Conn: id})
		})
	l.mu.Lock()
	l.conns[id] = c
	l.mu.Unlock()
	close(ready)
}

// Call implements api.Scheduler.
func (l *leader) Call(ctx context.Context, r api.SchedulerRequest) (api.Answer, error) {
	re, err := l.front.ask(ctx, l.box.done, func(request uint64) error {
		return l.box.offer(ctx, schedulerCall(request, 0, r))
	})
	return re.answer, err
}

// Subscribe implements api.Scheduler.
func (l *leader) Subscribe(ctx context.Context, r api.SchedulerRequest) (api.Answer, api.EventStream, error) {
	answer, s, err := l.front.subscribe(ctx, l.box.done,
		func(request, stream uint64) error { return l.box.offer(ctx, schedulerCall(request, stream, r)) },
		func(stream uint64) { l.box.post(master.StreamClosed{Stream: master.StreamID(stream)}) })
	if s == nil {
		return answer, nil, err
	}
	return answer, s, nil
}

func schedulerCall(request, stream uint64, r api.SchedulerRequest) master.SchedulerCall {
	return master.SchedulerCall{
		Request: master.RequestID(request), Stream: master.StreamID(stream),
		Header: r.StreamHeader, HasHeader: r.HasStreamHeader, Principal: r.Principal, Call: r.Call,
	}
}

// teardown removes a framework for an operator.
func (l *leader) teardown(ctx context.Context, id mesos.FrameworkID) (api.Answer, error) {
	re, err := l.front.ask(ctx, l.box.done, func(request uint64) error {
		return l.box.offer(ctx, master.TeardownFramework{Request: master.RequestID(request), ID: id})
	})
	return re.answer, err
}

// kill asks for the end of one task for an operator. grace overrides the task's own if not negative.
func (l *leader) kill(ctx context.Context, framework mesos.FrameworkID, task mesos.TaskID, grace time.Duration) (api.Answer, error) {
	re, err := l.front.ask(ctx, l.box.done, func(request uint64) error {
		return l.box.offer(ctx, master.KillTask{Request: master.RequestID(request), Framework: framework, Task: task, Grace: grace})
	})
	return re.answer, err
}

// view is the core's picture of now.
func (l *leader) view(ctx context.Context) (*master.View, error) {
	re, err := l.front.ask(ctx, l.box.done, func(request uint64) error {
		return l.box.offer(ctx, master.Query{Request: master.RequestID(request)})
	})
	return re.view, err
}
