package raft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// faults is what a network does to messages.
type faults struct {
	loss, repeat float64       // shares of all messages
	delay        time.Duration // of a message, at most
	breaks       float64       // share of writes with which a connection ends
}

// faultyNetwork connects peers in a bubble of testing/synctest and treats what they send badly, by
// chance from one seed. Messages go by themselves, or over a Network on connections that break and
// fall silent.
type faultyNetwork struct {
	overConnections bool
	wg              sync.WaitGroup

	mu      sync.Mutex
	random  *rand.Rand
	faults  faults
	blocked map[[2]uint64]bool // from, to
	peers   map[uint64]*Peer
	nets    map[uint64]*Network
	conns   map[*faultyConn]bool
	burst   burst
}

// burst notices a peer that sends without end while no time passes, as the clock of the bubble would
// stand still for ever.
type burst struct {
	at    time.Time
	count int
}

const maxBurst = 100_000

func (b *burst) add(messages []*raftpb.Message) {
	if now := time.Now(); !now.Equal(b.at) {
		b.at, b.count = now, 0
	}
	if b.count += len(messages); b.count > maxBurst {
		panic(fmt.Sprintf("%d messages in no time, the last of them %v", b.count, messages))
	}
}

func newFaultyNetwork(random *rand.Rand, overConnections bool) *faultyNetwork {
	return &faultyNetwork{
		overConnections: overConnections, random: random,
		blocked: map[[2]uint64]bool{}, peers: map[uint64]*Peer{}, nets: map[uint64]*Network{}, conns: map[*faultyConn]bool{},
	}
}

// transport is what one peer is opened with.
func (f *faultyNetwork) transport(id uint64) Transport {
	if !f.overConnections {
		return faultyPort{f, id}
	}
	n := NewNetwork(NetworkConfig{ID: id, Dial: func(_ context.Context, to uint64) (net.Conn, error) { return f.dial(id, to) }})
	f.mu.Lock()
	f.nets[id] = n
	f.mu.Unlock()
	return n
}

// attach makes a peer reachable that was opened with transport.
func (f *faultyNetwork) attach(id uint64, p *Peer) {
	f.mu.Lock()
	f.peers[id] = p
	n := f.nets[id]
	f.mu.Unlock()
	if n != nil {
		n.Attach(p)
	}
}

// detach ends what attach began; the peer may be closed then.
func (f *faultyNetwork) detach(id uint64) error {
	f.mu.Lock()
	delete(f.peers, id)
	n := f.nets[id]
	delete(f.nets, id)
	f.mu.Unlock()
	if n == nil {
		return nil
	}
	return n.Close()
}

// set changes the faults and what is blocked. Messages on their way are lost if their link is blocked
// when they would arrive.
func (f *faultyNetwork) set(faults faults, blocked map[[2]uint64]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults, f.blocked = faults, maps.Clone(blocked)
	for c := range f.conns {
		if f.blocked[c.link] {
			c.silent = true // for ever: what was lost cannot come any more
		}
	}
}

// lucky says whether something happens that has this share of all.
func (f *faultyNetwork) lucky(share float64) bool { return f.random.Float64() < share }

// pause is a delay for one message. The lock is held.
func (f *faultyNetwork) pause() time.Duration {
	if f.faults.delay <= 0 {
		return 0
	}
	return time.Duration(f.random.Int64N(int64(f.faults.delay)))
}

// faultyPort is one peer's way into a network without connections.
type faultyPort struct {
	net  *faultyNetwork
	from uint64
}

func (p faultyPort) Send(messages []*raftpb.Message) {
	f := p.net
	f.mu.Lock()
	defer f.mu.Unlock()
	f.burst.add(messages)
	for _, m := range messages {
		m = proto.Clone(m).(*raftpb.Message)
		copies := 1
		if f.lucky(f.faults.repeat) {
			copies = 2
		}
		if f.lucky(f.faults.loss) {
			copies = 0
		}
		if copies == 0 && m.GetType() != raftpb.MsgSnap && f.lucky(0.5) {
			continue // nobody is told
		}
		told := sync.OnceFunc(func() { f.report(p.from, m, false) })
		if copies == 0 {
			f.wg.Go(told)
		}
		for range copies {
			pause, cut := f.pause(), f.lucky(f.faults.loss)
			f.wg.Go(func() {
				time.Sleep(pause) // of the bubble's clock
				if m.GetType() == raftpb.MsgSnap {
					f.carrySnapshot(p.from, proto.Clone(m).(*raftpb.Message), cut)
				} else if !f.arrive(p.from, proto.Clone(m).(*raftpb.Message)) {
					told()
				}
			})
		}
	}
}

// report tells the sending peer what came of a message.
func (f *faultyNetwork) report(from uint64, m *raftpb.Message, delivered bool) {
	f.mu.Lock()
	p := f.peers[from]
	f.mu.Unlock()
	switch {
	case p == nil:
	case m.GetType() == raftpb.MsgSnap:
		p.ReportSnapshot(m.GetTo(), delivered)
	case !delivered:
		p.ReportUnreachable(m.GetTo())
	}
}

// ends are the peers of a link, unless it is blocked or one of them is down.
func (f *faultyNetwork) ends(from, to uint64) (a, b *Peer, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, b = f.peers[from], f.peers[to]
	return a, b, a != nil && b != nil && !f.blocked[[2]uint64{from, to}]
}

func (f *faultyNetwork) arrive(from uint64, m *raftpb.Message) bool {
	_, to, ok := f.ends(from, m.GetTo())
	// A peer that ends meanwhile receives nothing.
	return ok && to.Receive(context.Background(), m) == nil
}

// carrySnapshot brings a snapshot and its message to a peer; if it is cut, only the first half.
func (f *faultyNetwork) carrySnapshot(from uint64, m *raftpb.Message, cut bool) {
	a, b, ok := f.ends(from, m.GetTo())
	delivered := ok && carryPart(a, b, m, cut) == nil && f.arrive(from, m)
	f.report(from, m, delivered)
}

func carryPart(from, to *Peer, m *raftpb.Message, cut bool) (err error) {
	if !cut {
		return carry(from, to, m)
	}
	meta := m.GetSnapshot().GetMetadata()
	r, err := from.OpenSnapshot(meta.GetIndex(), meta.GetTerm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	w, err := to.ReceiveSnapshot(r.File())
	if err != nil {
		return err
	}
	if _, err := r.Seek(w.Offset(), io.SeekStart); err != nil {
		return errors.Join(err, w.Close())
	}
	_, err = io.CopyN(w, r, (r.File().Size-w.Offset())/2)
	return errors.Join(errDown, err, w.Close())
}

// faultyConn is one end of a connection. Its fields are guarded by the network's lock.
type faultyConn struct {
	net.Conn
	net    *faultyNetwork
	link   [2]uint64 // in the direction of what is written
	silent bool      // what is written is lost
}

// dial connects two networks.
func (f *faultyNetwork) dial(from, to uint64) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nets[to]
	if n == nil || f.blocked[[2]uint64{from, to}] || f.blocked[[2]uint64{to, from}] || f.lucky(f.faults.loss) {
		return nil, errDown
	}
	here, there := net.Pipe()
	a := &faultyConn{Conn: here, net: f, link: [2]uint64{from, to}}
	b := &faultyConn{Conn: there, net: f, link: [2]uint64{to, from}}
	f.conns[a], f.conns[b] = true, true
	f.wg.Go(func() { n.Serve(b, from) })
	return a, nil
}

func (c *faultyConn) Write(p []byte) (int, error) {
	c.net.mu.Lock()
	pause, silent, broken := c.net.pause(), c.silent, c.net.lucky(c.net.faults.breaks)
	c.net.mu.Unlock()
	time.Sleep(pause) // of the bubble's clock
	switch {
	case silent:
		return len(p), nil
	case broken:
		return 0, errors.Join(errDown, c.Close())
	}
	return c.Conn.Write(p)
}

func (c *faultyConn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	return c.Conn.Close()
}

// cuts are ways to cut a group apart: the links to block.
func (f *faultyNetwork) cut(ids []uint64, leader uint64) (string, map[[2]uint64]bool) {
	blocked := map[[2]uint64]bool{}
	block := func(a, b uint64) { blocked[[2]uint64{a, b}] = true }
	ids = slices.Clone(ids)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	others := slices.DeleteFunc(slices.Clone(ids), func(id uint64) bool { return id == leader })
	switch kind := f.random.IntN(6); {
	case len(ids) < 2:
		return "nothing", blocked
	case kind == 0: // in two
		k := 1 + f.random.IntN(len(ids)-1)
		for _, a := range ids[:k] {
			for _, b := range ids[k:] {
				block(a, b)
				block(b, a)
			}
		}
		return fmt.Sprintf("%v from %v", ids[:k], ids[k:]), blocked
	case kind == 1 && leader != 0: // the leader speaks and hears nothing
		for _, b := range others {
			block(b, leader)
		}
		return fmt.Sprintf("leader %d hears nobody", leader), blocked
	case kind == 2 && leader != 0:
		for _, b := range others {
			block(leader, b)
		}
		return fmt.Sprintf("nobody hears leader %d", leader), blocked
	case kind == 3 && leader != 0:
		for _, b := range others {
			block(leader, b)
			block(b, leader)
		}
		return fmt.Sprintf("leader %d alone", leader), blocked
	default: // single links, one way
		text := "links"
		for range 1 + f.random.IntN(len(ids)) {
			a, b := ids[f.random.IntN(len(ids))], ids[f.random.IntN(len(ids))]
			block(a, b)
			text += fmt.Sprintf(" %d-%d", a, b)
		}
		return text, blocked
	}
}
