package api

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	headerTimeout  = 30 * time.Second
	maxHeaderBytes = 64 << 10
)

// Gate accepts the connections of one or more listening sockets and lets requests through to a handler,
// within the limits that the package comment names. Whoever calls Serve must call Shutdown or Close.
type Gate struct{ http http.Server }

// NewGate returns a Gate in front of h. Faults of single connections are logged as debug messages.
func NewGate(h http.Handler, log *slog.Logger) *Gate {
	return &Gate{http: http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// No IdleTimeout and no ReadTimeout: idle connections stay (SCH-16, EXE-10).
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
}

// ConnContext has the context of each connection's requests made by fn. It is called before Serve.
func (g *Gate) ConnContext(fn func(context.Context, net.Conn) context.Context) {
	g.http.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if p, ok := c.(*patientConn); ok {
			c = p.Conn
		}
		return fn(ctx, c)
	}
}

// Serve accepts connections until Shutdown or Close, and then returns nil.
func (g *Gate) Serve(l net.Listener) error {
	if err := g.http.Serve(patientListener{l}); err != http.ErrServerClosed {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// Shutdown stops accepting and waits until the requests under way are answered, or ctx ends. Event
// streams end when the cores end them.
func (g *Gate) Shutdown(ctx context.Context) error {
	if err := g.http.Shutdown(ctx); err != nil {
		return fmt.Errorf("shut down HTTP: %w", err)
	}
	return nil
}

// Close closes every socket and connection at once.
func (g *Gate) Close() error {
	if err := g.http.Close(); err != nil {
		return fmt.Errorf("close HTTP: %w", err)
	}
	return nil
}

// patientListener yields connections whose first request may be as long in coming as any other one: a
// scheduler library opens its second connection long before it needs it and takes its end for the end
// of the master (SCH-16).
type patientListener struct{ net.Listener }

func (l patientListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &patientConn{Conn: c}, nil
}

// patientConn lets the time limit for the header of its first request begin with the first byte, as
// the standard library does for the later ones.
type patientConn struct {
	net.Conn
	mu      sync.Mutex
	begun   bool
	pending time.Duration // the limit to set at the first byte; 0 is none
}

func (c *patientConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A limit that has already passed is how a blocked Read is interrupted.
	if c.begun || !t.IsZero() && time.Until(t) <= 0 {
		return c.Conn.SetReadDeadline(t)
	}
	c.pending = 0
	if !t.IsZero() {
		c.pending = time.Until(t)
	}
	return c.Conn.SetReadDeadline(time.Time{})
}

func (c *patientConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.begin()
	}
	return n, err
}

func (c *patientConn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun {
		return
	}
	c.begun = true
	if c.pending > 0 {
		// A connection that takes no deadline fails at its next Read.
		_ = c.Conn.SetReadDeadline(time.Now().Add(c.pending))
	}
}
