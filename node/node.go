package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	randv2 "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/alloc"
	"clusterd/isolate"
	"clusterd/node/agent"
	"clusterd/node/api"
	"clusterd/node/master"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
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

	leading atomic.Pointer[leadership]
	elected chan struct{} // holds a value after leading has changed

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	failed chan error // why the node must end, at most one
}

// leadership is the time of office of this node as leading master.
type leadership struct {
	shell *leader
	info  *v1.MasterInfo
}

// address is where this node is reached, as others are told.
type address struct {
	ip, hostname          string
	masterPort, agentPort int
}

func (a address) master() string { return net.JoinHostPort(a.hostname, strconv.Itoa(a.masterPort)) }
func (a address) agent() string  { return net.JoinHostPort(a.ip, strconv.Itoa(a.agentPort)) }

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

func (n *Node) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

// Close stops the node: with Config.StopTasks after ending all tasks, else tasks of checkpointing
// frameworks go on and the next start finds them.
func (n *Node) Close() error {
	if n.agent != nil {
		n.stopAgent()
	}
	n.cancel()
	if n.hub != nil {
		n.hub.Close()
	}
	if l := n.leading.Swap(nil); l != nil {
		l.shell.close()
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

// startAgent recovers the agent from disk and starts its shell.
func (n *Node) startAgent() error {
	work := filepath.Join(n.config.DataDir, "agent")
	var err error
	if n.store, err = openCheckpoints(work); err != nil {
		return fmt.Errorf("agent checkpoint: %w", err)
	}
	keys, err := n.store.load()
	if err != nil {
		return fmt.Errorf("agent checkpoint: %w", err)
	}
	recovered, err := agent.LoadCheckpoint(keys)
	if err != nil {
		return fmt.Errorf("agent checkpoint %s: %w", n.store.db.Path(), err)
	}
	n.runtime, err = isolate.Open(isolate.Config{StateDir: filepath.Join(work, "containers"), CgroupRoot: n.config.CgroupsRoot, Logger: n.log})
	if err != nil {
		return err
	}
	found, err := n.runtime.Containers()
	if err != nil {
		return err
	}
	cfg, err := n.agentConfig(work)
	if err != nil {
		return err
	}
	cfg.Checkpoint = recovered
	if err := n.attachSandboxes(work); err != nil {
		return err
	}
	shell := shellConfig{WorkDir: work, SwitchUser: n.config.SwitchUser, FrameworksHome: n.config.FrameworksHome, Files: n.agentFiles}
	n.recovery = time.Since(n.started)
	n.agent = newAgentShell(agent.New(cfg, time.Now()), shell, n.store, n.runtime, found, n.log)
	return nil
}

func (n *Node) agentConfig(work string) (agent.Config, error) {
	cfg := agent.DefaultConfig()
	resources, err := n.config.agentResources(work)
	if err != nil {
		return cfg, err
	}
	attributes, err := alloc.ParseAttributes(n.config.Attributes)
	if err != nil {
		return cfg, fmt.Errorf("--attributes: %w", err)
	}
	cfg.Info = &v1.AgentInfo{
		Hostname: proto.String(n.host.hostname), Port: proto.Int32(int32(n.host.agentPort)),
		Resources: resources, Attributes: attributes,
	}
	cfg.Version = MesosVersion
	cfg.WorkDir, cfg.Endpoint, cfg.BootID = work, n.host.agent(), bootID()
	cfg.Rand = newRand()
	cfg.ExecutorRegistrationTimeout = n.config.ExecutorRegistrationTimeout
	cfg.ExecutorReregistrationTimeout = n.config.ExecutorReregistrationTimeout
	cfg.ExecutorShutdownGracePeriod = n.config.ExecutorShutdownGracePeriod
	cfg.RecoveryTimeout = n.config.RecoveryTimeout
	cfg.MasterPingTimeout = n.config.AgentPingTimeout * time.Duration(n.config.MaxAgentPingTimeouts)
	cfg.GCDelay, cfg.GCDiskHeadroom = n.config.GCDelay, n.config.GCDiskHeadroom
	cfg.SwitchUser, cfg.CgroupsEnableCFS = n.config.SwitchUser, n.config.CgroupsEnableCFS
	cfg.MaxCompletedExecutorsPerFramework = n.config.MaxCompletedExecutors
	cfg.ExecutorEnvironment, err = n.config.executorEnvironment()
	return cfg, err
}

// newRand is seeded by the system: ids must differ between runs.
func newRand() *randv2.Rand {
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails
	return randv2.New(randv2.NewChaCha8(seed))
}

// lead starts a leading master whenever raft elects this node, and drops it when it loses.
func (n *Node) lead() {
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-n.peer.Done():
			n.fail(n.peer.Err())
			return
		case l := <-n.peer.Leadership():
			if old := n.leading.Swap(nil); old != nil {
				n.log.Info("no longer the leading master", "term", l.Term)
				old.shell.close()
			}
			if l.Leader {
				if err := n.takeOffice(l.Term); err != nil && n.ctx.Err() == nil {
					n.log.Error("election not completed", "term", l.Term, "error", err)
				}
			}
			select {
			case n.elected <- struct{}{}:
			default:
			}
		}
	}
}

func (n *Node) takeOffice(term uint64) error {
	random := newRand()
	id := mesos.NewUUID(random).String()
	now := time.Now()
	elect := &registry.Op{Op: &registry.Op_ElectMaster{ElectMaster: &registry.ElectMaster{MasterId: proto.String(id), Time: proto.Int64(now.UnixNano())}}}
	data, err := registry.Encode(elect)
	if err != nil {
		return err
	}
	if _, _, err := n.peer.Propose(n.ctx, data); err != nil {
		return err
	}
	cfg, err := n.masterConfig(id)
	if err != nil {
		return err
	}
	cfg.Registry, cfg.Rand, cfg.Started = n.machine.View(), random, n.started
	office := &leadership{info: cfg.Info, shell: newLeader(master.New(cfg, now), n.submit, n.log)}
	n.leading.Store(office)
	n.source.leaderChanged(office.shell)
	n.log.Info("leading master", "term", term, "id", id, "address", n.host.master())
	return nil
}

func (n *Node) masterConfig(id string) (master.Config, error) {
	cfg := master.DefaultConfig()
	var err error
	if cfg.Weights, err = alloc.ParseWeights(n.config.Weights); err != nil {
		return cfg, fmt.Errorf("--weights: %w", err)
	}
	if cfg.MinAllocatable, err = alloc.ParseMinAllocatable(n.config.MinAllocatableResources); err != nil {
		return cfg, fmt.Errorf("--min-allocatable-resources: %w", err)
	}
	cfg.Info = n.masterInfo(id)
	cfg.AllocationInterval, cfg.OfferTimeout = n.config.AllocationInterval, n.config.OfferTimeout
	cfg.AgentPingTimeout, cfg.MaxAgentPingTimeouts = n.config.AgentPingTimeout, n.config.MaxAgentPingTimeouts
	cfg.AgentReregisterTimeout = n.config.AgentReregisterTimeout
	cfg.Roles, cfg.RootSubmissions, cfg.FilterGPU = n.config.Roles, n.config.RootSubmissions, n.config.FilterGPUResources
	cfg.MaxCompletedFrameworks = n.config.MaxCompletedFrameworks
	cfg.MaxCompletedTasksPerFramework = n.config.MaxCompletedTasksPerFramework
	cfg.MaxUnreachableTasksPerFramework = n.config.MaxUnreachableTasks
	return cfg, nil
}

// masterInfo describes this node as master. ip is the IPv4 address in network byte order read as a
// little-endian number (SCH-45).
func (n *Node) masterInfo(id string) *v1.MasterInfo {
	var ip uint32
	if v4 := net.ParseIP(n.host.ip).To4(); v4 != nil {
		ip = binary.LittleEndian.Uint32(v4)
	}
	info := &v1.MasterInfo{
		Id: proto.String(id), Ip: proto.Uint32(ip), Port: proto.Uint32(uint32(n.host.masterPort)),
		Pid: proto.String("master@" + net.JoinHostPort(n.host.ip, strconv.Itoa(n.host.masterPort))), Hostname: proto.String(n.host.hostname),
		Version: proto.String(MesosVersion),
		Address: &v1.Address{Hostname: proto.String(n.host.hostname), Ip: proto.String(n.host.ip), Port: proto.Int32(int32(n.host.masterPort))},
	}
	for _, t := range []v1.MasterInfo_Capability_Type{v1.MasterInfo_Capability_AGENT_UPDATE, v1.MasterInfo_Capability_AGENT_DRAINING, v1.MasterInfo_Capability_QUOTA_V2} {
		info.Capabilities = append(info.Capabilities, &v1.MasterInfo_Capability{Type: t.Enum()})
	}
	return info
}

// submit hands one registry operation to raft.
func (n *Node) submit(ctx context.Context, op *registry.Op, ended func(registry.Result, error)) error {
	data, err := registry.Encode(op)
	if err != nil {
		return err
	}
	return n.peer.Submit(ctx, data, func(_ uint64, result any, err error) {
		if err != nil {
			ended(registry.Result{}, err)
			return
		}
		ended(result.(registry.Result), nil)
	})
}

// follow keeps the agent on a stream to the leading master. The agent of the master's own machine
// uses the same frames over an in-memory connection.
func (n *Node) follow() {
	for wait := time.Duration(0); ; {
		l := n.leading.Load()
		if l == nil {
			select {
			case <-n.ctx.Done():
				return
			case <-n.elected:
			}
			continue
		}
		ours, theirs := net.Pipe()
		l.shell.serveAgent(theirs, n.host.ip)
		began := time.Now()
		select {
		case <-n.agent.connect(ours):
		case <-n.ctx.Done():
			return
		}
		if time.Since(began) > 10*time.Second {
			wait = 0
		}
		// Random and growing, so that many agents do not come back at the same instant (EXE-168).
		wait = min(2*wait+jitter(100*time.Millisecond), time.Minute)
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func jitter(most time.Duration) time.Duration {
	v, err := rand.Int(rand.Reader, big.NewInt(int64(most)))
	if err != nil {
		return most
	}
	return time.Duration(v.Int64())
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

// addresses works out what others are told. An address that is not given is taken from the listening
// socket, or, if that listens everywhere, from the way to the outside.
func (n *Node) addresses() address {
	a := address{ip: n.config.Advertise, hostname: n.config.Hostname}
	a.masterPort, a.agentPort = port(n.listeners.master.Addr()), port(n.listeners.agent.Addr())
	if a.ip == "" {
		if tcp, ok := n.listeners.master.Addr().(*net.TCPAddr); ok && !tcp.IP.IsUnspecified() {
			a.ip = tcp.IP.String()
		} else {
			a.ip = outwardIP()
		}
	}
	if a.hostname == "" {
		a.hostname = lookupName(a.ip)
	}
	return a
}

// lookupName is the name that the address has and that leads back to it; else the address itself.
func lookupName(ip string) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	names, err := net.DefaultResolver.LookupAddr(ctx, ip)
	if err != nil {
		return ip
	}
	for _, name := range names {
		name = strings.TrimSuffix(name, ".")
		back, err := net.DefaultResolver.LookupHost(ctx, name)
		if err != nil {
			continue
		}
		for _, b := range back {
			if b == ip {
				return name
			}
		}
	}
	return ip
}

// outwardIP is the address with which this machine would speak to others. Nothing is sent.
func outwardIP() string {
	conn, err := net.Dial("udp", "192.0.2.1:9")
	if err != nil {
		return "127.0.0.1"
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).IP.String()
}

func port(a net.Addr) int {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// reachable is the address of a socket as this machine reaches it.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
}

// Leave makes the agent unregister and end all its executors; then Failed receives nil (EXE-164).
func (n *Node) Leave() { n.agent.box.post(agent.Leave{}) }
