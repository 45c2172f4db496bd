package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"clusterd/isolate"
	"clusterd/node/agent"
	"clusterd/node/api"
	"clusterd/raft"
	"clusterd/raft/registry"
	"clusterd/ui"
)

// Version is clusterd's own version; the build sets it with -ldflags "-X clusterd/node.Version=...".
var Version = "0.1.0-dev"

// MesosVersion is the version of Mesos whose API is spoken.
const MesosVersion = api.MesosVersion

// Node is one running clusterd: a raft member that may lead, and an agent.
type Node struct {
	config  Config
	flags   map[string]string
	log     *slog.Logger
	started time.Time
	// recovery is how long the agent took to load its checkpoint and find its containers.
	recovery time.Duration
	host     address // as others are told

	machine *registry.Machine
	peer    *raft.Peer
	runtime *isolate.Runtime
	store   *checkpointStore
	agent   *agentShell
	hub     *ui.Hub
	source  *uiSource

	masterFiles, agentFiles *api.Files
	listeners               listeners
	gates                   []*api.Gate

	leading atomic.Pointer[leader]
	elected chan struct{} // holds a value after leading has changed

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	failed chan error // why the node must end, at most one
	broken atomic.Bool
}

// Start opens the data directory, takes the node's ports and begins to work. flags are shown by
// /flags. The node runs until Close; Failed tells when it cannot go on.
func Start(cfg Config, flags map[string]string, log *slog.Logger) (_ *Node, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{
		config: cfg, flags: flags, log: log, started: time.Now(), machine: registry.NewMachine(),
		masterFiles: api.NewFiles(), agentFiles: api.NewFiles(), elected: make(chan struct{}, 1), failed: make(chan error, 1),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.config.DataDir, err = filepath.Abs(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	if err := os.MkdirAll(n.config.DataDir, 0o755); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	// Ports first: one that is taken is the commonest mistake, and nothing has been touched yet.
	if err := n.listeners.open(&n.config); err != nil {
		return nil, err
	}
	n.host = n.addresses()
	// The raft log's lock keeps a second process out of the data directory before anything is changed.
	if n.peer, err = raft.Open(raft.Config{Dir: filepath.Join(n.config.DataDir, "raft"), ID: 1, Logger: log}, n.machine); err != nil {
		if errors.Is(err, raft.ErrLocked) {
			return nil, fmt.Errorf("--data-dir: %s is in use by another clusterd", n.config.DataDir)
		}
		return nil, err
	}
	if err := n.startAgent(); err != nil {
		return nil, err
	}
	n.source = newUISource(n)
	n.wg.Go(n.lead)
	n.wg.Go(n.follow)
	n.wg.Go(n.watch)
	n.serve()
	return n, nil
}

// Failed receives an error when the node cannot go on: Close it then. A nil error means that the
// agent has ended in order.
func (n *Node) Failed() <-chan error { return n.failed }

// Addresses returns HOST:PORT of the master's and of the agent's API, as this machine reaches them.
func (n *Node) Addresses() (masterAPI, agentAPI string) {
	return reachable(n.listeners.master.Addr()), reachable(n.listeners.agent.Addr())
}

// DataDir is where the node keeps everything.
func (n *Node) DataDir() string { return n.config.DataDir }

// Isolation says what the agent enforces on this machine.
func (n *Node) Isolation() isolate.Isolation { return n.runtime.Isolation() }

// WaitReady returns when this node leads and its agent is registered.
func (n *Node) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if l := n.leading.Load(); l != nil {
			if v, err := n.agent.view(ctx); err == nil && v.Registered {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-n.failed:
			n.fail(err) // leave it for the caller
			return err
		case <-tick.C:
		}
	}
}

// fail asks for the end of the node. One that is broken ends as if it had crashed: its tasks go on.
func (n *Node) fail(err error) {
	if err != nil {
		n.broken.Store(true)
	}
	select {
	case n.failed <- err:
	default:
	}
}

// Close stops the node: with Config.StopTasks after ending all tasks, else tasks of checkpointing
// frameworks go on and the next start finds them. A node that has failed leaves all of them alone: what
// it could not write down must not be undone by what it does in its last moments.
func (n *Node) Close() error {
	if n.agent != nil {
		n.stopAgent()
	}
	n.cancel()
	if n.hub != nil {
		n.hub.Close()
	}
	if l := n.leading.Swap(nil); l != nil {
		l.close()
	}
	var errs []error
	for _, g := range n.gates {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if err := g.Shutdown(ctx); err != nil {
			errs = append(errs, g.Close()) // someone reads slowly: do not wait for that
		}
		cancel()
	}
	n.listeners.close()
	if n.agent != nil {
		n.agent.close()
	}
	if n.store != nil {
		errs = append(errs, n.store.close())
	}
	if n.peer != nil {
		errs = append(errs, n.peer.Close())
	}
	n.wg.Wait()
	if n.config.Ephemeral {
		errs = append(errs, os.RemoveAll(n.config.DataDir))
	}
	return errors.Join(errs...)
}

// stopAgent lets the core wind up: kill everything, or only what would not survive.
func (n *Node) stopAgent() {
	if n.broken.Load() && !n.config.Ephemeral {
		return
	}
	patience := 2 * time.Second
	if n.config.StopTasks {
		n.agent.box.post(agent.Leave{})
		patience = n.config.ExecutorShutdownGracePeriod + 5*time.Second
	} else {
		n.agent.box.post(agent.Stop{})
	}
	select {
	case <-n.agent.ended:
	case <-time.After(patience):
		n.log.Warn("executors did not end in time")
	}
	if n.config.StopTasks {
		for _, c := range n.agent.live() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			if err := errors.Join(c.Destroy(ctx), c.Forget()); err != nil {
				n.log.Error("container not destroyed", "container_id", c.ID(), "error", err)
			}
			cancel()
		}
	}
}

// watch tells the agent how full its disk is and ends the node when the agent has ended.
func (n *Node) watch() {
	tick := time.NewTicker(n.config.DiskWatchInterval)
	defer tick.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case why := <-n.agent.ended:
			n.agent.shutdown(why) // Close looks for it too
			if why.Error {
				n.fail(errors.New(why.Reason))
			} else {
				n.log.Info("agent has ended", "reason", why.Reason)
				n.fail(nil)
			}
			return
		case <-tick.C:
			if total, free := diskUsage(n.config.DataDir); total > 0 {
				n.agent.box.post(agent.DiskUsage{Used: 1 - float64(free)/float64(total)})
			}
		}
	}
}

// Leave makes the agent unregister and end all its executors; then Failed receives nil (EXE-164).
func (n *Node) Leave() { n.agent.box.post(agent.Leave{}) }
