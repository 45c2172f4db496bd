package node

import (
	"bufio"
	"errors"
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
)

var (
	errSlowPeer = errors.New("peer does not read its messages")
	errFinished = errors.New("connection was closed in order")
)

// frameConn is one stream of frames between a master and an agent: a reader and a writer goroutine
// around a connection. Send never waits; a peer that lets its queue fill up is cut off.
type frameConn struct {
	conn net.Conn
	wake chan struct{} // holds a value after the queue or last has changed
	done chan struct{}
	once sync.Once
	wg   sync.WaitGroup

	mu    sync.Mutex
	queue []proto.Message
	last  bool // end after what is queued
	err   error
}

// newFrameConn starts the goroutines. read is called for each frame in order, with a message made by
// fresh; an error from it ends the connection. closed is called once when the connection has ended.
func newFrameConn[T proto.Message](conn net.Conn, fresh func() T, read func(T) error, closed func(error)) *frameConn {
	c := &frameConn{conn: conn, wake: make(chan struct{}, 1), done: make(chan struct{})}
	c.wg.Add(2)
	go func() {
		defer c.wg.Done()
		c.close(c.write())
	}()
	go func() {
		defer c.wg.Done()
		r := bufio.NewReaderSize(conn, 32<<10)
		err := func() error {
			for {
				m := fresh()
				if err := mesos.ReadFrame(r, m, maxFrameBytes); err != nil {
					return err
				}
				if err := read(m); err != nil {
					return err
				}
			}
		}()
		c.close(err)
		closed(c.reason())
	}()
	return c
}

func (c *frameConn) send(m proto.Message) {
	c.mu.Lock()
	full := len(c.queue) >= maxFrameQueue
	if !full && !c.last {
		c.queue = append(c.queue, m)
	}
	c.mu.Unlock()
	if full {
		c.close(errSlowPeer)
		return
	}
	c.signal()
}

// finish ends the connection after what was sent before.
func (c *frameConn) finish() {
	c.mu.Lock()
	c.last = true
	c.mu.Unlock()
	c.signal()
}

func (c *frameConn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *frameConn) write() error {
	w := bufio.NewWriterSize(c.conn, 32<<10)
	for {
		select {
		case <-c.done:
			return nil
		case <-c.wake:
		}
		c.mu.Lock()
		batch, last := c.queue, c.last
		c.queue = nil
		c.mu.Unlock()
		// The deadline covers the whole batch: a stalled peer must not hold the goroutine for ever.
		if err := c.conn.SetWriteDeadline(time.Now().Add(frameWriteTime)); err != nil {
			return err
		}
		for _, m := range batch {
			if err := mesos.WriteFrame(w, m); err != nil {
				return err
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if last {
			return errFinished
		}
	}
}

// close ends the connection; the first reason is kept.
func (c *frameConn) close(err error) {
	c.once.Do(func() {
		c.mu.Lock()
		c.err = err
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

// wait returns when both goroutines have ended.
func (c *frameConn) wait() { c.wg.Wait() }
