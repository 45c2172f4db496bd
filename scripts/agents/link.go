package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	"clusterd/node/mesos/wire"
	"clusterd/node/trust"
)

// Times and bounds of a stream, those of clusterd itself.
const (
	dialTime         = 3 * time.Second
	greetingTime     = 5 * time.Second
	writeTime        = 30 * time.Second
	maxGreetingBytes = 1 << 20
	maxFrameBytes    = 64 << 20
)

// link is one stream to the leading master. A goroutine reads it; another writes while there is
// something to write, so that idle streams, which most are, cost one goroutine each.
type link struct {
	node   *node
	stream uint64
	conn   net.Conn
	wg     *sync.WaitGroup // of its goroutines

	mu      sync.Mutex
	queue   []*wire.FromNode
	writing bool
	closed  bool
}

// send queues a frame.
func (l *link) send(m *wire.FromNode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.queue = append(l.queue, m)
	if !l.writing {
		l.writing = true
		l.wg.Go(l.write)
	}
}

// frames are buffers that writers share.
var frames = sync.Pool{New: func() any { return new(frameBuffer) }}

type frameBuffer struct{ data []byte }

// maxKept is the size from which on a buffer is not kept.
const maxKept = 64 << 10

// Write implements io.Writer.
func (b *frameBuffer) Write(p []byte) (int, error) {
	b.data = append(b.data, p...)
	return len(p), nil
}

// write writes what is queued, and ends when nothing is.
func (l *link) write() {
	b := frames.Get().(*frameBuffer)
	defer func() {
		if cap(b.data) <= maxKept {
			frames.Put(b)
		}
	}()
	for {
		l.mu.Lock()
		batch := l.queue
		l.queue = nil
		if len(batch) == 0 || l.closed {
			l.writing = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		b.data = b.data[:0]
		for _, m := range batch {
			if beat := m.GetBeat(); beat != nil {
				beat.CertificateExpires = proto.Int64(l.node.certificateEnds().UnixNano())
			}
			if err := mesos.WriteFrame(b, m); err != nil {
				panic("frame of our own cannot be encoded: " + err.Error())
			}
		}
		err := l.conn.SetWriteDeadline(time.Now().Add(writeTime))
		if err == nil {
			_, err = l.conn.Write(b.data)
		}
		if err != nil {
			l.close() // the reader tells of it
		}
	}
}

// close ends the stream. The reader tells the core.
func (l *link) close() {
	l.mu.Lock()
	closed := l.closed
	l.closed, l.queue = true, nil
	l.mu.Unlock()
	if !closed {
		// A close in order would wait for what is being written.
		if c, ok := l.conn.(*tls.Conn); ok {
			_ = c.NetConn().Close()
			return
		}
		_ = l.conn.Close()
	}
}

// certificateEnds is when the node's certificate ends.
func (n *node) certificateEnds() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ends
}

// rejection is the leader's word that the stream is not to be.
type rejection struct {
	reason string
	final  bool
}

func (r *rejection) Error() string { return r.reason }

// errRedirected: the node that was asked does not lead.
var errRedirected = errors.New("another node leads, or none")

// connect opens the stream that a core asked for, and reads it to its end.
func (c *crew) connect(n *node, stream uint64) {
	l, w, err := c.dial(n, stream)
	if err == nil && !n.attach(l) {
		l.close()
		return
	}
	if err != nil {
		ev := unlinked{n: n.place, stream: stream}
		var refused *rejection
		switch {
		case errors.As(err, &refused) && refused.final:
			c.expel(n, refused)
			ev.expelled = true
		case errors.Is(err, errRedirected):
			c.count(redirects)
			ev.redirected = n.hinted()
		default:
			c.count(dialFailures)
			c.fault("reach the leading master", err)
			if n.refused(trust.Refused(err)) {
				c.expel(n, err)
				ev.expelled = true
			}
		}
		n.loop.put(ev)
		return
	}
	n.refused(false)
	n.loop.put(greeted{n: n.place, stream: stream, term: w.GetTerm(), beat: time.Duration(w.GetBeat())})
	// The handshake has grown this goroutine's stack: another one reads.
	c.wg.Go(func() { c.read(l) })
}

// dial reaches a master and greets it.
func (c *crew) dial(n *node, stream uint64) (*link, *wire.Welcome, error) {
	select {
	case c.dialling <- struct{}{}:
		defer func() { <-c.dialling }()
	case <-c.ctx.Done():
		return nil, nil, c.ctx.Err()
	}
	to, ok := n.target(c.masters())
	if !ok {
		return nil, nil, errors.New("no master is known")
	}
	c.count(dials)
	ctx, cancel := context.WithTimeout(c.ctx, dialTime)
	defer cancel()
	config := c.credentials().Dial(to.nodeID, trust.ProtocolNode)
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return n.certificate() }
	dialer := tls.Dialer{NetDialer: c.dialer(n.number, to.peer), Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", to.peer)
	if err != nil {
		return nil, nil, fmt.Errorf("master %s: %w", to.peer, err)
	}
	w, err := c.greet(n, conn, to)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return &link{node: n, stream: stream, conn: conn, wg: &c.wg}, w, nil
}

// greet says Hello and takes the answer.
func (c *crew) greet(n *node, conn net.Conn, to whereabouts) (*wire.Welcome, error) {
	if err := conn.SetDeadline(time.Now().Add(greetingTime)); err != nil {
		return nil, err
	}
	if err := mesos.WriteFrame(conn, n.hello(c.version, c.term.Load(), time.Now())); err != nil {
		return nil, fmt.Errorf("greet master %s: %w", to.peer, err)
	}
	first := new(wire.ToNode)
	if err := mesos.ReadFrame(conn, first, maxGreetingBytes); err != nil {
		return nil, fmt.Errorf("greet master %s: %w", to.peer, err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	switch m := first.GetMessage().(type) {
	case *wire.ToNode_Welcome:
		if !c.saw(m.Welcome.GetTerm()) {
			return nil, fmt.Errorf("master %s leads in term %d, but a newer one has begun", to.peer, m.Welcome.GetTerm())
		}
		n.welcomed(whereabouts{m.Welcome.GetLeader(), m.Welcome.GetAddresses().GetPeer()})
		return m.Welcome, nil
	case *wire.ToNode_Redirect:
		n.redirected(to, whereabouts{m.Redirect.GetLeader(), m.Redirect.GetAddresses().GetPeer()})
		return nil, errRedirected
	case *wire.ToNode_Refused:
		return nil, &rejection{m.Refused.GetReason(), m.Refused.GetFinal()}
	}
	return nil, fmt.Errorf("greet master %s: its first frame is %T", to.peer, first.GetMessage())
}

// saw notes a term in which somebody leads. It is false if a newer one has been seen (CLU-33).
func (c *crew) saw(term uint64) bool {
	for {
		seen := c.term.Load()
		if term < seen {
			return false
		}
		if c.term.CompareAndSwap(seen, term) {
			return true
		}
	}
}

// read hands what the leader sends to the core until the stream ends.
func (c *crew) read(l *link) {
	n := l.node
	err := func() error {
		for {
			m := new(wire.ToNode)
			if err := mesos.ReadFrame(l.conn, m, maxFrameBytes); err != nil {
				return err
			}
			switch m := m.GetMessage().(type) {
			case *wire.ToNode_Members:
				if err := c.takeMembers(m.Members); err != nil {
					return err
				}
				continue
			case *wire.ToNode_Renewed:
				if err := c.renewed(n, m.Renewed); err != nil {
					return err
				}
				continue
			case *wire.ToNode_Refused:
				return &rejection{m.Refused.GetReason(), m.Refused.GetFinal()}
			}
			n.loop.put(received{n: n.place, stream: l.stream, message: m})
		}
	}()
	l.mu.Lock()
	ours := l.closed
	l.mu.Unlock()
	l.close()
	n.detach(l)
	ev := unlinked{n: n.place, stream: l.stream}
	var refused *rejection
	switch {
	case errors.As(err, &refused) && refused.final:
		c.expel(n, refused)
		ev.expelled = true
	case !ours:
		c.fault("stream to the leading master", err)
	}
	n.loop.put(ev)
}
