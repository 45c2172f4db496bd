package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"clusterd/node/mesos/wire"
	"clusterd/node/trust"
)

// crew is the agents of one process, with their nodes, their streams and the loops that step them.
type crew struct {
	crewConfig
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup // all goroutines
	loops    []*loop
	nodes    []*node
	dialling chan struct{} // places
	term     atomic.Uint64 // the newest in which somebody leads
	creds    atomic.Pointer[trust.Credentials]
	joinAt   atomic.Pointer[string] // where the last join succeeded

	mu      sync.Mutex
	known   []whereabouts // masters
	index   uint64        // of the registry when they were
	issuing string        // fingerprint of the authority that issues certificates
	issuers [][]byte      // certificates of authorities, DER: each node's identity has one of these
	counts  counts        // but those of the cores
	faults  faults
	failed  chan error // why the run must end, at most one
}

// crewConfig is what a crew is made from.
type crewConfig struct {
	script   *script
	first    int // number of the first agent
	profiles []*profile
	ids      map[int]*identity // of former runs, by number
	archive  *archive
	token    trust.Token
	peers    []string // HOST:PORT of masters
	version  string
	loops    int
	dials    int // at the same time
	joins    int // at the same time
	seed     uint64
}

// newCrew starts the agents. They join and register by themselves.
func newCrew(cfg crewConfig) *crew {
	c := &crew{crewConfig: cfg, dialling: make(chan struct{}, cfg.dials), faults: make(faults), failed: make(chan error, 1)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	for _, peer := range cfg.peers {
		c.known = append(c.known, whereabouts{peer: peer})
	}
	now := time.Now()
	count := max(1, min(cfg.loops, len(cfg.profiles)))
	for i := range count {
		from, to := len(cfg.profiles)*i/count, len(cfg.profiles)*(i+1)/count
		seed := rand.New(rand.NewPCG(cfg.seed, uint64(cfg.first+from)))
		l := newLoop(c, newFleet(cfg.script, seed, cfg.version, cfg.profiles[from:to]))
		for place := range to - from {
			l.nodes = append(l.nodes, &node{number: cfg.first + from + place, loop: l, place: place, profile: cfg.profiles[from+place], started: now})
		}
		c.nodes = append(c.nodes, l.nodes...)
		c.loops = append(c.loops, l)
	}
	for _, l := range c.loops {
		c.wg.Go(l.run)
	}
	c.join()
	c.wg.Go(c.tend)
	return c
}

// issuer is a certificate of an authority as all nodes have it in common.
func (c *crew) issuer(der []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, known := range c.issuers {
		if bytes.Equal(known, der) {
			return known
		}
	}
	c.issuers = append(c.issuers, der)
	return der
}

// tend writes the identities down and renews certificates.
func (c *crew) tend() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		if err := c.archive.flush(); err != nil {
			c.fail(err)
		}
		c.mu.Lock()
		issuing := c.issuing
		c.mu.Unlock()
		for _, n := range c.nodes {
			asked, err := n.renew(time.Now(), issuing)
			if asked {
				c.count(renewals)
			}
			if err != nil {
				c.count(renewalFailures)
				c.fault("renew a certificate", err)
			}
		}
	}
}

// renewed takes over a new certificate.
func (c *crew) renewed(n *node, r *wire.Renewed) error {
	if len(r.GetCertificates()) < 2 {
		return fmt.Errorf("renewed certificate of node %s: it comes without that of its authority", n.identity().NodeID)
	}
	id := n.identity()
	id.Certificate, id.Issuer = r.GetCertificates()[0], c.issuer(r.GetCertificates()[1])
	if err := n.become(id, rand.Float64()); err != nil {
		return err
	}
	return c.archive.save(id)
}

// takeMembers takes over where the masters are and who is trusted. All nodes are told the same.
func (c *crew) takeMembers(m *wire.Members) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.GetIndex() <= c.index {
		return nil
	}
	c.index = m.GetIndex()
	if len(m.GetMembers()) > 0 {
		c.known = mastersIn(m.GetMembers())
	}
	if len(m.GetAuthorities()) == 0 {
		return nil
	}
	c.issuing = trust.Fingerprint(m.GetAuthorities()[0])
	if err := c.creds.Load().Trust(m.GetAuthorities()); err != nil {
		return fmt.Errorf("certificate authorities that the leader names: %w", err)
	}
	return nil
}

func mastersIn(members []*wire.Member) []whereabouts {
	var all []whereabouts
	for _, m := range members {
		all = append(all, whereabouts{m.GetNodeId(), m.GetAddresses().GetPeer()})
	}
	return all
}

// masters are those that the agents know.
func (c *crew) masters() []whereabouts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known
}

// credentials are those with which masters are verified; what a node shows is its own. They are there
// before any node has an identity.
func (c *crew) credentials() *trust.Credentials { return c.creds.Load() }

// dialer leaves, where the way is Linux's loopback, from an address of the node's own, as it would from
// a machine of its own: masters bound what they take from one address, and one has no more than about
// 28,000 ports.
func (c *crew) dialer(number int, to string) *net.Dialer {
	d := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}} // beats tell more
	at, err := netip.ParseAddrPort(to)
	if err == nil && at.Addr().IsLoopback() && at.Addr().Is4() && runtime.GOOS == "linux" {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, byte(1+number>>16), byte(number>>8), byte(number))}
	}
	return d
}

// expel notes that the cluster does not want a node any more.
func (c *crew) expel(n *node, why error) {
	id := n.identity()
	id.Void = true
	c.fault("expelled", fmt.Errorf("node %s: %w", id.NodeID, why))
	if err := c.archive.save(id); err != nil {
		c.fail(err)
	}
}

func (c *crew) count(n count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[n]++
}

// fault notes what went wrong, unless that is only because the run ends.
func (c *crew) fault(kind string, err error) {
	if c.ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults.add(kind, err)
}

// fail asks for the end of the run.
func (c *crew) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
}

// picture is where the agents stand.
func (c *crew) picture() picture {
	c.mu.Lock()
	p := picture{Agents: int64(len(c.nodes)), Counts: c.counts, Faults: c.faults.clone(), Memory: memory()}
	c.mu.Unlock()
	for _, l := range c.loops {
		l.mu.Lock()
		p.Counts = p.Counts.plus(l.core.counts)
		p.Offices = mergeOffices(p.Offices, l.core.offices)
		l.mu.Unlock()
	}
	return p
}

// leave has all agents unregister. It returns when the master has let all go, or ctx ends.
func (c *crew) leave(ctx context.Context) {
	for _, l := range c.loops {
		l.put(leave{})
	}
	for ctx.Err() == nil && c.anyLinked() {
		pause(ctx, 10*time.Millisecond)
	}
}

func (c *crew) anyLinked() bool {
	for _, n := range c.nodes {
		if n.linked() != nil {
			return true
		}
	}
	return false
}

// close ends all streams and goroutines.
func (c *crew) close() error {
	c.cancel()
	for _, l := range c.loops {
		l.close()
	}
	for _, n := range c.nodes {
		if l := n.want(0); l != nil {
			l.close()
		}
	}
	c.wg.Wait()
	return c.archive.close()
}
