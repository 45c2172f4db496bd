package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// callTime is how long the answer to a call may take.
	callTime = time.Minute
	// maxUnanswered bounds the calls of one connection that wait for their answer.
	maxUnanswered = 256
	// maxAnswerBytes is what is read of the text of an error.
	maxAnswerBytes = 4096
)

// caller makes the calls of a framework that are answered with 202, on one connection and without
// waiting for one answer before the next call: an answer costs both sides more than a call does.
type caller struct {
	conn   net.Conn
	header []byte // of every request, up to the length of its body

	answered atomic.Uint64 // calls

	mu         sync.Mutex
	queue      [][]byte
	wake       chan struct{}
	unanswered chan struct{} // places
	ended      chan struct{}
	once       sync.Once
	err        error
	wg         sync.WaitGroup
}

// dialCaller opens a connection to a master's scheduler API for one subscription.
func dialCaller(ctx context.Context, master, contentType, stream string) (*caller, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", master)
	if err != nil {
		return nil, err
	}
	header := "POST /api/v1/scheduler HTTP/1.1\r\nHost: " + master + "\r\nContent-Type: " + contentType +
		"\r\nMesos-Stream-Id: " + stream + "\r\nContent-Length: "
	c := &caller{
		conn: conn, header: []byte(header), wake: make(chan struct{}, 1),
		unanswered: make(chan struct{}, maxUnanswered), ended: make(chan struct{}),
	}
	c.wg.Go(func() { c.end(c.write()) })
	c.wg.Go(func() { c.end(c.read()) })
	return c, nil
}

// post queues a call.
func (c *caller) post(body []byte) {
	c.mu.Lock()
	c.queue = append(c.queue, body)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// write sends what is queued, as many calls at a time as there are places.
func (c *caller) write() error {
	var out []byte
	for {
		select {
		case <-c.ended:
			return nil
		case <-c.wake:
		}
		c.mu.Lock()
		batch := c.queue
		c.queue = nil
		c.mu.Unlock()
		for len(batch) > 0 {
			out = out[:0]
			for len(batch) > 0 && len(out) < 64<<10 {
				if !c.place(len(out) == 0) {
					break
				}
				out = append(out, c.header...)
				out = strconv.AppendInt(out, int64(len(batch[0])), 10)
				out = append(out, "\r\n\r\n"...)
				out = append(out, batch[0]...)
				batch = batch[1:]
			}
			if len(out) == 0 {
				return nil
			}
			if err := c.conn.SetWriteDeadline(time.Now().Add(callTime)); err != nil {
				return err
			}
			if _, err := c.conn.Write(out); err != nil {
				return fmt.Errorf("call: %w", err)
			}
		}
	}
}

// place takes a place for a call; it waits for one if it may.
func (c *caller) place(wait bool) bool {
	if wait {
		select {
		case c.unanswered <- struct{}{}:
			return true
		case <-c.ended:
			return false
		}
	}
	select {
	case c.unanswered <- struct{}{}:
		return true
	default:
		return false
	}
}

// read takes the answers.
func (c *caller) read() error {
	r := bufio.NewReaderSize(c.conn, 32<<10)
	for {
		if _, err := r.Peek(1); err != nil { // without a deadline: no call may be under way
			return fmt.Errorf("connection for calls: %w", err)
		}
		if err := c.conn.SetReadDeadline(time.Now().Add(callTime)); err != nil {
			return err
		}
		if err := readAccepted(r); err != nil {
			return err
		}
		if err := c.conn.SetReadDeadline(time.Time{}); err != nil {
			return err
		}
		select {
		case <-c.unanswered:
			c.answered.Add(1)
		default:
			return errors.New("an answer without a call")
		}
	}
}

// callError is an answer other than 202.
type callError struct {
	status int
	text   string
}

func (e *callError) Error() string { return fmt.Sprintf("call answered with %d: %s", e.status, e.text) }

var accepted = []byte("HTTP/1.1 202 ")

// readAccepted reads one answer, which should be 202 with nothing in it.
func readAccepted(r *bufio.Reader) error {
	start, err := r.Peek(len(accepted))
	if err != nil {
		return fmt.Errorf("answer of a call: %w", err)
	}
	if !bytes.Equal(start, accepted) {
		return readRefused(r)
	}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("answer of a call: %w", err)
		}
		if len(line) <= 2 {
			return nil
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		switch {
		case !ok:
		case bytes.EqualFold(name, []byte("Transfer-Encoding")),
			bytes.EqualFold(name, []byte("Content-Length")) && string(bytes.TrimSpace(value)) != "0":
			return errors.New("a 202 that is not empty")
		}
	}
}

func readRefused(r *bufio.Reader) error {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return fmt.Errorf("answer of a call: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	return errors.Join(&callError{resp.StatusCode, strings.TrimSpace(string(text))}, err, resp.Body.Close())
}

func (c *caller) end(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.ended)
		_ = c.conn.Close() // the reader and the writer end with it
	})
}

// close ends the connection; calls that are queued are not made.
func (c *caller) close() {
	c.end(nil)
	c.wg.Wait()
}

// reason is why the connection has ended, once ended is closed.
func (c *caller) reason() error {
	<-c.ended
	return c.err
}
