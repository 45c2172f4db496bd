package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"clusterd/isolate"
	"clusterd/node/agent"
	"clusterd/node/api"
	"clusterd/node/mesos"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/wire"
)

const agentPlaces = 4096

// agentShell is the shell around the core of this machine's agent: it carries out what the core
// wants and tells it what came of it.
type agentShell struct {
	log     *slog.Logger
	box     *mailbox[agent.Event]
	front   *front[*v1executor.Event, *agent.View]
	store   *checkpointStore
	runtime *isolate.Runtime
	config  shellConfig
	changed chan struct{}
	// ended gets the core's Shutdown effect, once.
	ended chan agent.Shutdown

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	fetches, fetchErrors, destroyErrors atomic.Int64

	mu         sync.Mutex
	link       uplink // to the leading master, nil without one
	containers map[mesos.ContainerID]*containerRun
}

// shellConfig is what the shell itself needs of the node's settings.
type shellConfig struct {
	WorkDir        string
	SwitchUser     bool
	FrameworksHome string
	Files          *api.Files // where sandboxes are made readable
}

// newAgentShell starts the loop. found are the containers of an earlier run; what the core does not
// know of them it will have destroyed.
func newAgentShell(core *agent.Agent, cfg shellConfig, store *checkpointStore, runtime *isolate.Runtime, found []*isolate.Container, log *slog.Logger) *agentShell {
	ctx, cancel := context.WithCancel(context.Background())
	s := &agentShell{
		log: log, box: newMailbox[agent.Event](agentPlaces), front: newFront[*v1executor.Event, *agent.View](),
		store: store, runtime: runtime, config: cfg, changed: make(chan struct{}, 1), ended: make(chan agent.Shutdown, 1),
		ctx: ctx, cancel: cancel, containers: make(map[mesos.ContainerID]*containerRun),
	}
	s.wg.Go(func() { store.run(ctx, func(seq uint64) { s.box.post(agent.Checkpointed{Seq: seq}) }, s.diskFailed) })
	s.wg.Go(func() {
		runLoop[agent.Event, agent.Effect](ctx, core, s.box, agent.Tick{}, s.carry, s.settled)
	})
	s.box.post(agent.Recovered{Containers: s.adopt(found)})
	return s
}

// close ends the loop and everything it started. Containers go on.
func (s *agentShell) close() {
	s.cancel()
	s.box.close()
	s.wg.Wait()
	s.front.endAll()
}

// diskFailed stops the agent: it must not act on what it could not write down.
func (s *agentShell) diskFailed(err error) {
	s.shutdown(agent.Shutdown{Reason: fmt.Sprintf("checkpoint: %v", err), Error: true})
}

func (s *agentShell) shutdown(why agent.Shutdown) {
	select {
	case s.ended <- why:
	default: // only the first counts
	}
}

func (s *agentShell) settled() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// carry carries out one effect of the core. It never waits.
func (s *agentShell) carry(f agent.Effect) {
	switch f := f.(type) {
	case agent.SendMaster:
		if u := s.linked(); u != nil {
			u.send(f.Message)
		}
	case agent.CloseMaster:
		s.log.Info("leaving the master", "reason", f.Reason)
		if u := s.linked(); u != nil {
			u.close(errors.New(f.Reason))
		}
	case agent.Respond:
		s.front.respond(uint64(f.Request), reply[*agent.View]{answer: api.Answer{Status: f.Status, Body: f.Body}})
	case agent.OpenStream:
		s.front.respond(uint64(f.Request), reply[*agent.View]{opened: true})
	case agent.Answer:
		s.front.respond(uint64(f.Request), reply[*agent.View]{view: f.View})
	case agent.Send:
		s.front.push(uint64(f.Stream), f.Event)
	case agent.CloseStream:
		s.front.end(uint64(f.Stream))
	case agent.Checkpoint:
		s.store.queue(f)
	case agent.Launch:
		s.launch(f.Spec)
	case agent.Update:
		s.update(f.ID, f.Limits)
	case agent.Destroy:
		s.destroy(f.ID)
	case agent.Forget:
		s.forget(f.ID)
	case agent.Collect:
		s.collect(f.Path)
	case agent.Shutdown:
		s.shutdown(f)
	case agent.Log:
		s.logEffect(f)
	default:
		panic(fmt.Sprintf("effect %T of the agent has no one to carry it out", f))
	}
}

func (s *agentShell) logEffect(f agent.Log) {
	level := slog.LevelInfo
	if f.Warn {
		level = slog.LevelWarn
	}
	var attrs []slog.Attr
	for _, a := range []slog.Attr{
		slog.String("framework_id", string(f.Framework)), slog.String("executor_id", string(f.Executor)),
		slog.String("task_id", string(f.Task)), slog.String("container_id", string(f.Container)),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	s.log.LogAttrs(s.ctx, level, f.Message, attrs...)
}

func (s *agentShell) linked() uplink {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}

// uplink is the way to the leading master.
type uplink interface {
	// send queues a frame; it never waits.
	send(*wire.FromAgent)
	// close ends the stream.
	close(why error)
}

// attach makes u the way to the leading master, until detach.
func (s *agentShell) attach(u uplink) {
	s.mu.Lock()
	s.link = u
	s.mu.Unlock()
	s.box.post(agent.MasterConnected{})
}

// detach says that u has ended; what came on it before was given to fromMaster.
func (s *agentShell) detach(u uplink) {
	s.mu.Lock()
	if s.link == u {
		s.link = nil
	}
	s.mu.Unlock()
	s.box.post(agent.MasterDisconnected{})
}

// fromMaster takes a frame of the leading master.
func (s *agentShell) fromMaster(m *wire.ToAgent) error {
	return s.box.offer(s.ctx, agent.FromMaster{Message: m})
}

// Ready implements api.Executors: checkpoints are loaded before the shell exists.
func (s *agentShell) Ready() bool { return true }

// Call implements api.Executors.
func (s *agentShell) Call(ctx context.Context, call *v1executor.Call) (api.Answer, error) {
	re, err := s.front.ask(ctx, s.box.done, func(request uint64) error {
		return s.box.offer(ctx, agent.ExecutorCall{Request: agent.RequestID(request), Call: call})
	})
	return re.answer, err
}

// Subscribe implements api.Executors.
func (s *agentShell) Subscribe(ctx context.Context, call *v1executor.Call) (api.Answer, api.ExecutorStream, error) {
	answer, st, err := s.front.subscribe(ctx, s.box.done,
		func(request, stream uint64) error {
			return s.box.offer(ctx, agent.ExecutorCall{Request: agent.RequestID(request), Stream: agent.StreamID(stream), Call: call})
		},
		func(stream uint64) { s.box.post(agent.ExecutorClosed{Stream: agent.StreamID(stream)}) })
	if st == nil {
		return answer, nil, err
	}
	return answer, st, nil
}

// view is the core's picture of now.
func (s *agentShell) view(ctx context.Context) (*agent.View, error) {
	re, err := s.front.ask(ctx, s.box.done, func(request uint64) error {
		return s.box.offer(ctx, agent.Query{Request: agent.RequestID(request)})
	})
	return re.view, err
}
