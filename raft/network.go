package raft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

const (
	// dialTimeout is how long a connection and its hello may take. It is short so that after a cut
	// the first packet does not wait for a long retransmission.
	dialTimeout = 2 * time.Second
	// pingInterval is how often a connection carries a sign of life at least, and silence how long
	// either side waits for one before it gives the connection up.
	pingInterval = 500 * time.Millisecond
	silence      = 3 * time.Second
	// minBackoff and maxBackoff are the pauses between two tries to reach a peer.
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
)

// ErrRemoved: the other member says that this one was removed from the group.
var ErrRemoved = errors.New("raft member was removed from the group")

// errDropped is why nothing is sent to a member that this side knows to be removed.
var errDropped = errors.New("raft member was dropped")

// Receiver is what a [Network] brings messages and snapshots to: a [Peer].
type Receiver interface {
	Receive(ctx context.Context, m *raftpb.Message) error
	ReportUnreachable(id uint64)
	ReportSnapshot(id uint64, delivered bool)
	OpenSnapshot(index, term uint64) (*SnapshotReader, error)
	ReceiveSnapshot(file SnapshotFile) (*SnapshotWriter, error)
}

// NetworkConfig is how a network reaches other members.
type NetworkConfig struct {
	// ID is the member that sends and receives here.
	ID uint64
	// Dial makes a connection to another member. Whether it is the right one is Dial's to check; so is
	// that nobody can alter or read what goes over it.
	Dial func(ctx context.Context, to uint64) (net.Conn, error)
	// Logger is told when a member cannot be reached, and when it can again. Default: discard.
	Logger *slog.Logger
}

// Network is the [Transport] of one member over connections that its user dials and accepts. All its
// methods may be called from any goroutine. To each member it holds one connection for messages, and
// another while a snapshot is sent. What cannot be sent soon is dropped: the protocol sends it again.
type Network struct {
	cfg    NetworkConfig
	log    *slog.Logger
	begun  time.Time
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // all goroutines, and calls of Serve

	attached chan struct{} // closed when receiver is set
	receiver Receiver

	mu      sync.RWMutex
	closed  bool
	remotes map[uint64]*remote
	dropped map[uint64]bool

	reports reports
}

var _ Transport = (*Network)(nil)

// NewNetwork makes the network of one member, which Close must end. It delivers nothing before
// [Network.Attach]; what is sent goes out at once.
func NewNetwork(cfg NetworkConfig) *Network {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	n := &Network{
		cfg: cfg, log: cfg.Logger, begun: time.Now(), attached: make(chan struct{}),
		remotes: make(map[uint64]*remote), dropped: make(map[uint64]bool),
		reports: newReports(),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.wg.Go(n.report)
	return n
}

// Attach says to whom messages go: the peer that was opened with this network as its transport. It
// must be called once.
func (n *Network) Attach(to Receiver) {
	n.receiver = to
	close(n.attached)
}

// Send queues messages to other members. It never blocks.
func (n *Network) Send(messages []*raftpb.Message) {
	for _, m := range messages {
		r, err := n.remote(m.GetTo())
		switch {
		case err != nil:
			if m.GetType() == raftpb.MsgSnap {
				n.reports.snapshot(m.GetTo(), false)
			}
		case m.GetType() == raftpb.MsgSnap:
			r.transfer(m)
		case !r.queue.push(m):
			n.reports.unreachable(m.GetTo())
		}
	}
}

// Serve takes an accepted connection of which the caller knows that the member from is at its other
// end. It returns when the connection has ended. Of two connections of a member for the same purpose
// the newer one stays.
func (n *Network) Serve(conn net.Conn, from uint64) {
	defer conn.Close() // whatever is wrong with it, it is over
	if !n.enter() {
		return
	}
	defer n.wg.Done()
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	a := &accepted{conn: conn, from: from, cancel: cancel, ended: make(chan struct{})}
	defer close(a.ended)
	err := n.serve(ctx, a)
	if err != nil && ctx.Err() == nil {
		level := slog.LevelDebug // connections end; the sending side tells of it when it matters
		if errors.Is(err, errProtocol) || errors.Is(err, errRefused) {
			level = slog.LevelWarn
		}
		n.log.Log(ctx, level, "raft connection ended", "peer", n.cfg.ID, "from", from, "err", err)
	}
}

// enter counts a call of Serve, unless the network is closed.
func (n *Network) enter() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.wg.Add(1)
	}
	return !n.closed
}

// Drop ends all connections of a member that was removed from the group, for ever: its id is never
// used again. Whoever tries to reach this member from there is told that it was removed.
func (n *Network) Drop(id uint64) {
	n.mu.Lock()
	n.dropped[id] = true
	r := n.remotes[id]
	delete(n.remotes, id)
	n.mu.Unlock()
	if r != nil {
		r.cancel()
	}
}

// Contact says when anything was last heard from a member, the zero time if nothing ever was; and why
// it cannot be reached now, nil if it can or if nothing was to be sent to it. The error is an
// [ErrRemoved] if that member says that this one is no part of the group any more.
func (n *Network) Contact(id uint64) (last time.Time, err error) {
	n.mu.RLock()
	r, dropped := n.remotes[id], n.dropped[id]
	n.mu.RUnlock()
	switch {
	case dropped:
		return time.Time{}, errDropped
	case r == nil:
		return time.Time{}, nil
	}
	return r.contact()
}

// Close ends all connections and waits for all goroutines and calls of Serve. What is queued is lost.
// It returns nil, always.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.cancel()
	n.wg.Wait()
	return nil
}

// remote returns what is known of another member, from the first use of its id on.
func (n *Network) remote(id uint64) (*remote, error) {
	n.mu.RLock()
	r := n.remotes[id]
	n.mu.RUnlock()
	if r != nil {
		return r, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return nil, net.ErrClosed
	case n.dropped[id]:
		return nil, errDropped
	case n.remotes[id] == nil:
		n.remotes[id] = newRemote(n, id)
	}
	return n.remotes[id], nil
}

// errRefused is a connection that this side does not take.
var errRefused = errors.New("connection refused")

// accepted is a connection that another member dialled.
type accepted struct {
	conn   net.Conn
	from   uint64
	cancel context.CancelFunc
	ended  chan struct{} // closed when nothing uses the connection any more
}

// serve says hello and reads until the end.
func (n *Network) serve(ctx context.Context, a *accepted) error {
	if err := a.conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	h, err := readHello(a.conn)
	if err != nil {
		return err
	}
	r, reply := n.judge(h, a.from)
	if r != nil {
		defer context.AfterFunc(r.ctx, a.cancel)() // the member may be dropped
		// The one before must let go of what it received, above all of a snapshot, before this one begins.
		if err := r.replace(ctx, h.purpose, a); err != nil {
			return err
		}
		defer r.forget(h.purpose, a)
		select {
		case <-n.attached:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(dialTimeout):
			return fmt.Errorf("%w: the peer is not open yet", errRefused)
		}
	}
	if _, err := a.conn.Write(reply.encode()); err != nil {
		return err
	}
	if r == nil {
		return fmt.Errorf("%w: %s", errRefused, reply.text)
	}
	if err := a.conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	r.alive(time.Now())
	r.dialSoon()
	if h.purpose == forSnapshot {
		return n.receiveSnapshot(ctx, r, a.conn)
	}
	return n.receiveMessages(ctx, r, a.conn)
}

// judge says whether a connection is taken; there is no remote if not.
func (n *Network) judge(h hello, from uint64) (*remote, answer) {
	refuse := func(code answerCode, format string, args ...any) (*remote, answer) {
		return nil, answer{version: wireVersion, code: code, text: fmt.Sprintf(format, args...)}
	}
	switch {
	case h.version < wireOldest:
		return refuse(answerRefused, "version %d is too old, member %d speaks %d to %d", h.version, n.cfg.ID, wireOldest, wireVersion)
	case h.from != from:
		return refuse(answerRefused, "hello of member %d on a connection of member %d", h.from, from)
	case h.to != n.cfg.ID:
		return refuse(answerRefused, "this is member %d, not %d", n.cfg.ID, h.to)
	case from == 0 || from == n.cfg.ID:
		return refuse(answerRefused, "member %d cannot be at the other end of member %d", from, n.cfg.ID)
	case h.purpose != forMessages && h.purpose != forSnapshot:
		return refuse(answerRefused, "%v is unknown", h.purpose)
	}
	r, err := n.remote(from)
	switch {
	case errors.Is(err, errDropped):
		return refuse(answerRemoved, "member %d was removed from the group", from)
	case err != nil:
		return refuse(answerRefused, "member %d is closed", n.cfg.ID)
	}
	return r, answer{version: min(h.version, wireVersion)}
}

// receiveMessages takes messages from a connection until it ends.
func (n *Network) receiveMessages(ctx context.Context, r *remote, conn net.Conn) error {
	frames := newFrameReader(conn)
	messages := messageReader{from: r.id, to: n.cfg.ID}
	limit := newLimit(conn.SetReadDeadline, silence)
	pong, ponged := appendHeader(nil, framePong, 0), time.Time{}
	for {
		if err := limit.extend(time.Now()); err != nil {
			return err
		}
		kind, payload, err := frames.next()
		if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		now := time.Now()
		r.alive(now)
		// Not only a ping is answered: on a slow connection it comes behind much else.
		if now.Sub(ponged) >= pingInterval/2 {
			ponged = now
			if err := conn.SetWriteDeadline(now.Add(silence)); err != nil {
				return err
			}
			if _, err := conn.Write(pong); err != nil {
				return fmt.Errorf("write sign of life: %w", err)
			}
		}
		if kind == framePing && len(payload) == 0 {
			continue
		}
		m, err := messages.take(kind, payload)
		if err != nil {
			return err
		}
		if m == nil {
			continue
		}
		if err := n.receiver.Receive(ctx, m); err != nil {
			return fmt.Errorf("receive %v: %w", m.GetType(), err)
		}
	}
}

// connect makes a connection to another member and says hello. It is nobody else's until it returns.
func (n *Network) connect(ctx context.Context, to uint64, why purpose) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := n.cfg.Dial(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("dial member %d: %w", to, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = n.greet(conn, to, why)
	if !stop() {
		err = fmt.Errorf("no answer within %v: %w", dialTimeout, ctx.Err())
	}
	if err != nil {
		conn.Close() // it was of no use
		return nil, fmt.Errorf("greet member %d: %w", to, err)
	}
	return conn, nil
}

// greet says hello and waits for the answer, until the connection is closed.
func (n *Network) greet(conn net.Conn, to uint64, why purpose) error {
	h := hello{version: wireVersion, purpose: why, from: n.cfg.ID, to: to}
	if _, err := conn.Write(h.encode()); err != nil {
		return err
	}
	a, err := readAnswer(conn)
	if err != nil {
		return err
	}
	return a.err()
}
