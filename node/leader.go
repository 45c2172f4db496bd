package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"clusterd/node/api"
	"clusterd/node/master"
	"clusterd/node/mesos"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/raft/registry"
)

const masterPlaces = 4096

// leader is the shell around the core of a leading master. It exists from the election of this node
// to the loss of its leadership, then it is dropped whole.
type leader struct {
	log     *slog.Logger
	box     *mailbox[master.Event]
	front   *front[*v1scheduler.Event, *master.Picture]
	steward *steward
	roll    *roll
	self    whereabouts
	term    uint64
	changed chan struct{} // holds a value after something may have changed

	viewing sync.Mutex // holds viewer
	viewer  master.Viewer

	cancel context.CancelFunc
	wg     sync.WaitGroup

	hashes struct {
		sync.Mutex
		index uint64
		hash  string
	}

	// owners are the nodes of agents, by which nobody takes another's for its own.
	owners map[mesos.AgentID]string

	mu     sync.Mutex // guards owners and what follows
	conns  map[master.ConnID]*attendance
	closed bool

	proposals chan *registry.Op
}

// leaderConfig is what a leader starts from.
type leaderConfig struct {
	core    *master.Master
	steward *steward
	self    whereabouts
	term    uint64
	log     *slog.Logger
}

// newLeader starts the loop and the steward.
func newLeader(cfg leaderConfig) *leader {
	ctx, cancel := context.WithCancel(context.Background())
	l := &leader{
		log: cfg.log, steward: cfg.steward, roll: newRoll(), self: cfg.self, term: cfg.term, cancel: cancel, changed: make(chan struct{}, 1),
		box: newMailbox[master.Event](masterPlaces), front: newFront[*v1scheduler.Event, *master.Picture](),
		conns: make(map[master.ConnID]*attendance), owners: make(map[mesos.AgentID]string), proposals: make(chan *registry.Op, 1<<16),
	}
	l.steward.l = l
	for _, node := range l.registry().Nodes() {
		if id := node.GetAgentId().GetValue(); id != "" {
			l.owners[mesos.AgentID(id)] = node.GetId()
		}
	}
	l.wg.Go(func() { l.commit(ctx) })
	l.wg.Go(func() { l.steward.run(ctx) })
	l.wg.Go(func() {
		c := leased{Master: cfg.core, ctx: ctx, leading: l.steward.m.peer.Leading}
		runLoop[master.Event, master.Effect](ctx, c, l.box, master.Tick{}, l.carry, l.settled)
	})
	return l
}

// leased is the core of a leading master that takes no step without the lease of its raft peer (CLU-33): a
// process that was stopped for a while must not act before it has heard whether another leads.
type leased struct {
	*master.Master
	ctx     context.Context
	leading func() bool
}

// leaseLook is how often a leader whose lease has run out looks whether it has it again.
const leaseLook = 10 * time.Millisecond

// Step waits for the lease; at the end of the leader's time it does nothing.
func (c leased) Step(now time.Time, ev master.Event) []master.Effect {
	for !c.leading() {
		pause(c.ctx, leaseLook)
		if c.ctx.Err() != nil {
			return nil
		}
		now = time.Now()
	}
	return c.Master.Step(now, ev)
}

// close ends the loop, all streams and all connections, and waits for them.
func (l *leader) close() {
	l.cancel()
	l.box.close()
	l.wg.Wait()
	l.front.endAll()
	l.mu.Lock()
	l.closed = true
	conns := make([]*frameConn, 0, len(l.conns))
	for _, a := range l.conns {
		conns = append(conns, a.conn)
	}
	l.mu.Unlock()
	for _, c := range conns {
		c.close(errStopped)
	}
	for _, c := range conns {
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
		l.front.respond(uint64(f.Request), reply[*master.Picture]{answer: api.Answer{Status: f.Status, Body: f.Body}})
	case master.OpenStream:
		l.front.respond(uint64(f.Request), reply[*master.Picture]{opened: true, uuid: f.UUID})
	case master.Answer:
		l.front.respond(uint64(f.Request), reply[*master.Picture]{view: f.Picture})
	case master.Send:
		l.front.push(uint64(f.Stream), f.Event)
	case master.CloseStream:
		l.front.end(uint64(f.Stream))
	case master.SendAgent:
		l.sendAgent(f.Conn, f.Message)
	case master.CloseAgent:
		if a := l.conn(f.Conn); a != nil {
			a.conn.finish()
		}
	case master.Propose:
		select {
		case l.proposals <- f.Op:
		default: // more than 65536 admissions wait for the disk: refuse rather than stall the loop
			l.box.post(master.Committed{Op: f.Op, Err: errors.New("too many registry operations wait")})
		}
	case master.Log:
		l.note(f)
	default:
		panic(fmt.Sprintf("effect %T of the master has no one to carry it out", f))
	}
}

// note logs what the core has to tell operators.
func (l *leader) note(f master.Log) {
	level, attrs := slog.LevelInfo, []slog.Attr{}
	if f.Warn {
		level = slog.LevelWarn
	}
	if f.Agent != "" {
		attrs = append(attrs, slog.String("agent_id", string(f.Agent)))
	}
	l.log.LogAttrs(context.Background(), level, f.Message, attrs...)
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
			if err := l.steward.m.submit(ctx, op, ended); err != nil {
				ended(registry.Result{}, err)
			}
		}
	}
}

func (l *leader) conn(id master.ConnID) *attendance {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[id]
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
	return l.operate(ctx, func(r master.RequestID) master.Event { return master.TeardownFramework{Request: r, ID: id} })
}

// kill asks for the end of one task for an operator. grace overrides the task's own if not negative.
func (l *leader) kill(ctx context.Context, framework mesos.FrameworkID, task mesos.TaskID, grace time.Duration) (api.Answer, error) {
	return l.operate(ctx, func(r master.RequestID) master.Event {
		return master.KillTask{Request: r, Framework: framework, Task: task, Grace: grace}
	})
}

// operate has the core answer one event of an operator, which make builds for a fresh request.
func (l *leader) operate(ctx context.Context, make func(master.RequestID) master.Event) (api.Answer, error) {
	re, err := l.front.ask(ctx, l.box.done, func(request uint64) error {
		return l.box.offer(ctx, make(master.RequestID(request)))
	})
	return re.answer, err
}

// view is the state of now. The core only hands out a picture; what is made of it is made here.
func (l *leader) view(ctx context.Context) (*master.View, error) {
	re, err := l.front.ask(ctx, l.box.done, func(request uint64) error {
		return l.box.offer(ctx, master.Query{Request: master.RequestID(request)})
	})
	if err != nil {
		return nil, err
	}
	l.viewing.Lock()
	defer l.viewing.Unlock()
	return l.viewer.View(re.view), nil
}

// contentHash is the hash of the registry's content, which is summed once for each index.
func (l *leader) contentHash(state *registry.State) string {
	l.hashes.Lock()
	defer l.hashes.Unlock()
	if l.hashes.hash == "" || l.hashes.index != state.Index() {
		l.hashes.index, l.hashes.hash = state.Index(), state.ContentHash()
	}
	return l.hashes.hash
}
