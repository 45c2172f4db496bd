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

	"clusterd/alloc"
	"clusterd/isolate"
	"clusterd/node/agent"
	"clusterd/node/api"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"
	"clusterd/node/trust"
	"clusterd/ui"
)

// Version is clusterd's own version; the build sets it with -ldflags "-X clusterd/node.Version=...".
var Version = "0.1.0-dev"

// MesosVersion is the version of Mesos whose API is spoken.
const MesosVersion = api.MesosVersion

// Node is one running clusterd: perhaps a raft member that may lead, perhaps an agent.
type Node struct {
	config     Config
	flags      map[string]string
	log        *slog.Logger
	started    time.Time
	name       string
	domain     *v1.DomainInfo
	attributes []*v1.Attribute
	// recovery is how long the agent took to load its checkpoint and find its containers.
	recovery time.Duration
	host     address // as others are told
	lock     *os.File

	files       *trust.Files
	credentials *trust.Credentials
	peers       *peerPort
	member      atomic.Pointer[member]       // nil unless this node is a raft member
	members     atomic.Pointer[wire.Members] // as the leader last told
	moved       sync.Map                     // node id to *wire.Addresses, of nodes that have called here
	linked      atomic.Pointer[link]         // nil without a stream to the leader
	lost        atomic.Value                 // string: why there was no stream the last time
	term        atomic.Uint64                // the newest of which a leader was seen
	wanted      chan uint64                  // holds the raft id that this node is to have
	renewal     chan struct{}                // holds a value to have the certificate renewed at once

	runtime *isolate.Runtime // nil without an agent, as are the next two
	store   *checkpointStore
	agent   *agentShell
	hub     *ui.Hub
	source  *uiSource

	masterFiles, agentFiles *api.Files
	listeners               listeners
	gates                   []*api.Gate

	leading     atomic.Pointer[leader]
	watchLeader leaderWatch

	mu    sync.Mutex
	id    *identity // replaced, never changed
	fresh *newcomer // the founder of a cluster, until the registry has it

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	failed chan error // why the node must end, at most one
	broken atomic.Bool
	// leaving: the end of the agent is not that of the node.
	leaving    atomic.Bool
	closing    sync.Once
	closeErr   error
	founded    atomic.Bool
	complained time.Time // of follow's goroutine
}

// Start opens the data directory, takes the node's ports, forms or joins a cluster if the directory is
// new, and begins to work. flags are shown by /flags. The node runs until Close; Failed tells when it
// cannot go on.
func Start(ctx context.Context, cfg Config, flags map[string]string, log *slog.Logger) (_ *Node, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{
		config: cfg, flags: flags, log: log, started: time.Now(),
		masterFiles: api.NewFiles(), agentFiles: api.NewFiles(), failed: make(chan error, 1),
		wanted: make(chan uint64, 1), renewal: make(chan struct{}, 1),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, n.cancel) // a join may wait long
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if err := n.prepare(); err != nil {
		return nil, err
	}
	if err := n.identify(); err != nil {
		return nil, err
	}
	n.peers = newPeerPort(n, n.listeners.peer)
	if runsTasks(n.config.Role) {
		if err := n.startAgent(); err != nil {
			return nil, err
		}
	}
	n.source = newUISource(n)
	if err := n.serve(); err != nil {
		return nil, err
	}
	if err := n.resumeMember(); err != nil {
		return nil, err
	}
	n.wg.Go(n.peers.serve)
	n.wg.Go(n.tendMember)
	n.wg.Go(n.keepCertified)
	n.wg.Go(n.follow)
	n.wg.Go(n.watch)
	return n, nil
}

// prepare takes what belongs to the node alone: its data directory and its ports.
func (n *Node) prepare() (err error) {
	if n.name, err = n.config.NodeName(); err != nil {
		return err
	}
	if n.domain, err = n.config.FaultDomain(); err != nil {
		return fmt.Errorf("--domain: %w", err)
	}
	if n.attributes, err = alloc.ParseAttributes(n.config.Attributes); err != nil {
		return fmt.Errorf("--attributes: %w", err)
	}
	if n.config.DataDir, err = filepath.Abs(n.config.DataDir); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	if err := os.MkdirAll(n.config.DataDir, 0o755); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	tasks := runsTasks(n.config.Role)
	// Who this node is decides whether it has an agent, but is only looked at here.
	if id, err := loadIdentity(n.config.DataDir); err == nil && id != nil {
		tasks = runsTasks(id.Role)
	}
	// Ports before anything is changed: one that is taken is the commonest mistake.
	if err := n.listeners.open(&n.config, tasks); err != nil {
		return err
	}
	n.host = n.addresses()
	n.lock, err = lockData(n.config.DataDir)
	return err
}

// Failed receives an error when the node cannot go on: Close it then. A nil error means that the
// agent has ended in order.
func (n *Node) Failed() <-chan error { return n.failed }

// Addresses returns HOST:PORT of the master's and of the agent's API, as this machine reaches them; the
// agent's is empty if there is none.
func (n *Node) Addresses() (masterAPI, agentAPI string) {
	if n.listeners.agent != nil {
		agentAPI = reachable(n.listeners.agent.Addr())
	}
	return reachable(n.listeners.master.Addr()), agentAPI
}

// DataDir is where the node keeps everything.
func (n *Node) DataDir() string { return n.config.DataDir }

// Isolation says what the agent enforces on this machine; nothing if there is no agent.
func (n *Node) Isolation() isolate.Isolation {
	if n.runtime == nil {
		return isolate.Isolation{}
	}
	return n.runtime.Isolation()
}

// HasAgent says whether this node runs tasks.
func (n *Node) HasAgent() bool { return n.agent != nil }

// ready says whether the node is in contact with the leading master, and its agent registered.
func (n *Node) ready(ctx context.Context) bool {
	if n.linked.Load() == nil {
		return false
	}
	if n.agent == nil {
		return true
	}
	v, err := n.agent.view(ctx)
	return err == nil && v.Registered
}

// WaitReady returns when this node is in contact with the leading master and its agent is registered.
func (n *Node) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if n.ready(ctx) {
			return nil
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
// it could not write down must not be undone by what it does in its last moments. Later calls return what
// the first did.
func (n *Node) Close() error {
	n.closing.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

func (n *Node) close() error {
	if n.agent != nil {
		n.stopAgent()
	}
	n.handOver()
	n.cancel()
	if n.hub != nil {
		n.hub.Close()
	}
	if l := n.leading.Swap(nil); l != nil {
		l.close()
	}
	var errs []error
	errs = append(errs, n.shutGates())
	n.listeners.close()
	if n.peers != nil {
		n.peers.close()
	}
	if n.agent != nil {
		n.agent.close()
	}
	if n.store != nil {
		errs = append(errs, n.store.close())
	}
	n.wg.Wait()
	if m := n.member.Swap(nil); m != nil {
		errs = append(errs, m.close())
	}
	if n.leaving.Load() && !exists(filepath.Join(n.config.DataDir, identityName)) { // it is forgotten
		errs = append(errs, n.releaseFiles())
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	if n.config.Ephemeral {
		errs = append(errs, os.RemoveAll(n.config.DataDir))
	}
	return errors.Join(errs...)
}

// shutGates ends the HTTP servers, all at once: some clients hold their streams to the last.
func (n *Node) shutGates() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	errs := make([]error, len(n.gates))
	var wg sync.WaitGroup
	for i, g := range n.gates {
		wg.Go(func() {
			if err := g.Shutdown(ctx); err != nil {
				errs[i] = g.Close() // someone reads slowly: do not wait for that
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// handOverTime is how long a leader that ends tries to leave the office to another (CLU-34).
const handOverTime = time.Second

// handOver lets another master lead before this one ends, if there is another.
func (n *Node) handOver() {
	m := n.member.Load()
	if m == nil || n.leading.Load() == nil || len(m.peer.Status().Voters) < 2 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverTime)
	defer cancel()
	if err := m.peer.Transfer(ctx, 0); err != nil {
		n.log.Warn("leadership not handed over", "error", err)
	}
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
	if n.agent == nil {
		return
	}
	tick := time.NewTicker(n.config.DiskWatchInterval)
	defer tick.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case why := <-n.agent.ended:
			n.agent.shutdown(why) // Close looks for it too
			if n.leaving.Load() {
				return
			}
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
func (n *Node) Leave() {
	if n.agent != nil {
		n.agent.box.post(agent.Leave{})
	}
}
