package node

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
)

const (
	maxFrameBytes  = 64 << 20
	maxFrameQueue  = 65536
	frameWriteTime = 30 * time.Second
	// maxWriteBytes is about how much is written at once.
	maxWriteBytes = 32 << 10
)

var (
	errSlowPeer = errors.New("peer does not read its messages")
	errFinished = errors.New("connection was closed in order")
)

// frameConn is one stream of frames between a master and a node: a goroutine reads the connection, and
// another one writes while there is something to write. Send never waits; a peer that lets its queue
// fill up is cut off. A leading master has very many of these, nearly all idle: such a one costs one
// small stack and no buffers beside those of TLS, which holds a whole record for its reader anyway.
type frameConn struct {
	conn net.Conn
	done chan struct{}
	once sync.Once
	wg   sync.WaitGroup

	mu      sync.Mutex
	queue   []proto.Message
	writing bool // a goroutine writes
	last    bool // end after what is queued
	ended   bool // no goroutine is to begin any more
	err     error
}

// newFrameConn starts reading. read is called for each frame in order, with a message made by fresh; an
// error from it ends the connection. closed is called once when the connection has ended.
func newFrameConn[T proto.Message](conn net.Conn, fresh func() T, read func(T) error, closed func(error)) *frameConn {
	c := &frameConn{conn: conn, done: make(chan struct{})}
	c.wg.Go(func() {
		err := func() error {
			for {
				m := fresh()
				if err := mesos.ReadFrame(conn, m, maxFrameBytes); err != nil {
					return err
				}
				if err := read(m); err != nil {
					return err
				}
			}
		}()
		c.close(err)
		closed(c.reason())
	})
	return c
}

func (c *frameConn) send(m proto.Message) {
	c.mu.Lock()
	full := len(c.queue) >= maxFrameQueue
	if !full && !c.last && !c.ended {
		c.queue = append(c.queue, m)
		c.startWriting()
	}
	c.mu.Unlock()
	if full {
		c.close(errSlowPeer)
	}
}

// finish ends the connection after what was sent before.
func (c *frameConn) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = true
	c.startWriting()
}

// startWriting is called with the lock held.
func (c *frameConn) startWriting() {
	if !c.writing && !c.ended {
		c.writing = true
		c.wg.Go(c.write)
	}
}

// writeBuffers are shared by all connections.
var writeBuffers = sync.Pool{New: func() any { return new([]byte) }}

// write ends when the queue is empty.
func (c *frameConn) write() {
	buffer := writeBuffers.Get().(*[]byte)
	defer func() {
		if cap(*buffer) <= 2*maxWriteBytes { // one very long frame does not stay in memory
			writeBuffers.Put(buffer)
		}
	}()
	for {
		c.mu.Lock()
		batch, last := c.queue, c.last
		c.queue = nil
		if len(batch) == 0 || c.ended {
			c.writing = false
			c.mu.Unlock()
			if last {
				c.close(errFinished)
			}
			return
		}
		c.mu.Unlock()
		if err := c.writeAll(batch, buffer); err != nil {
			c.close(err)
		}
	}
}

// writeAll writes some frames by way of the buffer.
func (c *frameConn) writeAll(batch []proto.Message, buffer *[]byte) error {
	// The deadline covers the whole batch: a stalled peer must not hold the goroutine for ever.
	if err := c.conn.SetWriteDeadline(time.Now().Add(frameWriteTime)); err != nil {
		return err
	}
	b := (*buffer)[:0]
	for i, m := range batch {
		var err error
		if b, err = mesos.AppendFrame(b, m); err != nil {
			return err
		}
		if len(b) < maxWriteBytes && i < len(batch)-1 {
			continue
		}
		if _, err := c.conn.Write(b); err != nil {
			return fmt.Errorf("write frames: %w", err)
		}
		b = b[:0]
	}
	*buffer = b
	return nil
}

// close ends the connection; the first reason is kept.
func (c *frameConn) close(err error) {
	c.once.Do(func() {
		c.mu.Lock()
		c.err, c.ended = err, true
		c.mu.Unlock()
		close(c.done)
		_ = c.conn.Close() // the reader and writer see it as their error
	})
}

// over says whether the connection has ended, or is about to.
func (c *frameConn) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *frameConn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// wait returns when its goroutines have ended.
func (c *frameConn) wait() { c.wg.Wait() }
