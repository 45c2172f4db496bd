package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"clusterd/node/trust"
)

const (
	handshakeTime = 10 * time.Second
	// maxStrangers bounds the connections of which it is not known yet which node is behind them, and
	// maxStrangersAt those of one address: whoever lets them hang must not keep the others out.
	maxStrangers   = 1024
	maxStrangersAt = 128
	dialTime       = 3 * time.Second
)

// peerPort is the port for traffic between nodes (CLU-11, CLU-20). What a connection is for is told by
// the protocol that it agrees on in its handshake; who is behind it, by its certificate.
type peerPort struct {
	n *Node
	l net.Listener
	// web gets the connections that speak HTTP.
	web *handedListener

	mu     sync.Mutex
	places strangers
	told   remarks
	conns  map[net.Conn]string // to the node id behind it, empty if others end the connection or it is not known yet
	closed bool
}

func newPeerPort(n *Node, l net.Listener) *peerPort {
	return &peerPort{n: n, l: l, web: newHandedListener(l.Addr()), conns: make(map[net.Conn]string)}
}

// serve accepts connections until close.
func (p *peerPort) serve() {
	for {
		conn, err := p.l.Accept()
		if err != nil {
			if p.n.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			p.n.log.Warn("connection between nodes not accepted", slog.Any("error", err))
			select { // out of file descriptors, most likely: let some end
			case <-p.n.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		leave, ok := p.places.enter(remoteIP(conn))
		if !ok { // too many at once: whoever means it will come again
			_ = conn.Close()
			continue
		}
		p.n.wg.Go(func() {
			defer leave()
			p.take(conn, leave)
		})
	}
}

// remarks lets a thing be said once a minute for each address.
type remarks struct {
	mu   sync.Mutex
	said map[string]time.Time
}

// maxSaid bounds what is remembered; beyond it all is said again.
const maxSaid = 1024

func (s *remarks) due(addr string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.said[addr]) < time.Minute {
		return false
	}
	if len(s.said) >= maxSaid || s.said == nil {
		s.said = make(map[string]time.Time)
	}
	s.said[addr] = now
	return true
}

// strangers counts connections of which it is not known yet who is behind them, by address.
type strangers struct {
	mu  sync.Mutex
	all int
	at  map[string]int
}

// enter takes a place, which leave gives back; further calls of it do nothing.
func (s *strangers) enter(addr string) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= maxStrangers || s.at[addr] >= maxStrangersAt {
		return nil, false
	}
	if s.at == nil {
		s.at = make(map[string]int)
	}
	s.all++
	s.at[addr]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.at[addr]--; s.at[addr] == 0 {
			delete(s.at, addr)
		}
	}), true
}

// take finds out what a connection is for and hands it on. known is called when it is known who calls.
func (p *peerPort) take(raw net.Conn, known func()) {
	conn := tls.Server(raw, p.n.credentials.Listen(trust.ProtocolNode, trust.ProtocolRaft, trust.ProtocolHTTP, trust.ProtocolJoin))
	if !p.enter(conn) {
		_ = conn.Close()
		return
	}
	ctx, cancel := context.WithTimeout(p.n.ctx, handshakeTime)
	err := conn.HandshakeContext(ctx)
	cancel()
	remote := remoteIP(conn)
	if err != nil {
		level := slog.LevelDebug // a port that is open is knocked at
		if trust.Distrusted(err) && p.told.due(remote) {
			level = slog.LevelWarn
		}
		p.n.log.Log(p.n.ctx, level, "handshake between nodes failed", slog.String("remote", remote), slog.Any("error", err))
		p.drop(conn)
		return
	}
	state := conn.ConnectionState()
	if state.NegotiatedProtocol == trust.ProtocolJoin {
		p.n.serveJoin(conn, remote)
		p.drop(conn)
		return
	}
	from, ok := p.n.credentials.Peer(state)
	streams := state.NegotiatedProtocol == trust.ProtocolNode // the roll ends those, with a last word
	if !ok || !streams && !p.name(conn, from.NodeID) {
		p.n.log.Warn("connection between nodes refused", slog.String("remote", remote), slog.String("protocol", state.NegotiatedProtocol))
		p.drop(conn)
		return
	}
	known()
	switch state.NegotiatedProtocol {
	case trust.ProtocolNode:
		p.n.serveNode(p.tracked(conn), from, remote)
	case trust.ProtocolRaft:
		p.n.serveRaft(p.tracked(conn), from)
	case trust.ProtocolHTTP:
		p.web.hand(&peerConn{trackedConn: trackedConn{conn, p}, from: from})
	default:
		p.drop(conn)
	}
}

func (p *peerPort) enter(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.conns[conn] = ""
	}
	return !p.closed
}

func (p *peerPort) name(conn net.Conn, node string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.conns[conn]; ok {
		p.conns[conn] = node
	}
	return !p.closed
}

func (p *peerPort) drop(conn net.Conn) {
	p.mu.Lock()
	delete(p.conns, conn)
	p.mu.Unlock()
	_ = conn.Close()
}

// refuse ends the connections of removed nodes, which will not be let in again (CLU-21).
func (p *peerPort) refuse(removed []string) {
	p.mu.Lock()
	var ending []net.Conn
	for conn, node := range p.conns {
		if node != "" && slices.Contains(removed, node) {
			ending = append(ending, conn)
		}
	}
	p.mu.Unlock()
	for _, conn := range ending {
		p.drop(conn)
	}
}

// close ends the port and all of its connections.
func (p *peerPort) close() {
	_ = p.l.Close()
	_ = p.web.Close()
	p.mu.Lock()
	p.closed = true
	var all []net.Conn
	for conn := range p.conns {
		all = append(all, conn)
	}
	p.mu.Unlock()
	for _, conn := range all {
		p.drop(conn)
	}
}

func (p *peerPort) tracked(conn net.Conn) net.Conn { return &trackedConn{conn, p} }

// trackedConn leaves the port's list when it is closed.
type trackedConn struct {
	net.Conn
	port *peerPort
}

func (c *trackedConn) Close() error {
	c.port.mu.Lock()
	delete(c.port.conns, c.Conn)
	c.port.mu.Unlock()
	return c.Conn.Close()
}

// peerConn is an HTTP connection of another node.
type peerConn struct {
	trackedConn
	from trust.Identity
}

// handedListener yields the connections that it is handed.
type handedListener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandedListener(addr net.Addr) *handedListener {
	return &handedListener{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *handedListener) hand(conn net.Conn) {
	select {
	case l.conns <- conn:
	case <-l.done:
		_ = conn.Close()
	}
}

// Accept implements net.Listener.
func (l *handedListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *handedListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *handedListener) Addr() net.Addr { return l.addr }

func remoteIP(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}

// dialNode connects to a node between nodes. node is its id, which its certificate must carry; empty
// is any node of the cluster.
func (n *Node) dialNode(ctx context.Context, node, addr, protocol string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	d := tls.Dialer{NetDialer: &net.Dialer{KeepAlive: 15 * time.Second}, Config: n.credentials.Dial(node, protocol)}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("reach node %s at %s: %w", node, addr, shortError(err))
	}
	return conn, nil
}

// shortError leaves out of a network error what its caller says already.
func shortError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return op.Err
	}
	return err
}
