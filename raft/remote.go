package raft

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

const (
	// maxQueue and maxQueueBytes bound what waits for one member. The entries are mostly those that the
	// log keeps in memory anyway.
	maxQueue      = 4096
	maxQueueBytes = 64 << 20
	// writeBufferBytes is what is encoded before it is written, and kept for the next time.
	writeBufferBytes = 2 * pieceBytes
)

// remote is another member as the network of one sees it.
type remote struct {
	id      uint64
	net     *Network
	ctx     context.Context // ends when the member is dropped, or with the network
	cancel  context.CancelFunc
	queue   queue
	soon    chan struct{} // holds a value when the member seems to be there again
	offered chan struct{} // holds a value when there may be a snapshot to send

	heard atomic.Int64 // nanoseconds from the network's beginning, 0 if never

	mu       sync.Mutex // guards what follows
	err      error      // why the member cannot be reached
	accepted map[purpose]*accepted
	sending  *transfer // the snapshot on its way to it, nil if there is none
}

// newRemote starts the senders of messages and snapshots to a member. The network's lock is held.
func newRemote(n *Network, id uint64) *remote {
	r := &remote{
		id: id, net: n, queue: newQueue(), soon: make(chan struct{}, 1), offered: make(chan struct{}, 1),
		accepted: make(map[purpose]*accepted),
	}
	r.ctx, r.cancel = context.WithCancel(n.ctx)
	n.wg.Go(r.send)
	n.wg.Go(r.sendSnapshots)
	return r
}

// alive notes a sign of life. The clock is read by the caller.
func (r *remote) alive(now time.Time) { r.heard.Store(int64(max(now.Sub(r.net.begun), 1))) }

func (r *remote) contact() (last time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at := r.heard.Load(); at != 0 {
		last = r.net.begun.Add(time.Duration(at))
	}
	return last, r.err
}

// reached notes whether the last try to reach the member succeeded, and logs a change of that.
func (r *remote) reached(err error) {
	r.mu.Lock()
	was := r.err
	r.err = err
	r.mu.Unlock()
	switch {
	case err != nil && was == nil:
		r.net.log.Warn("raft peer cannot be reached", "peer", r.net.cfg.ID, "to", r.id, "err", err)
	case err == nil && was != nil:
		r.net.log.Info("raft peer reached again", "peer", r.net.cfg.ID, "to", r.id)
	}
}

// replace puts a connection in the place of the one before, when that one has ended.
func (r *remote) replace(ctx context.Context, why purpose, a *accepted) error {
	r.mu.Lock()
	old := r.accepted[why]
	r.accepted[why] = a
	r.mu.Unlock()
	if old != nil {
		old.cancel()
		select {
		case <-old.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// forget ends the place of a connection, unless a newer one has it.
func (r *remote) forget(why purpose, a *accepted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.accepted[why] == a {
		delete(r.accepted, why)
	}
}

// dialSoon shortens the pause before the next try, since the member was just heard.
func (r *remote) dialSoon() {
	select {
	case r.soon <- struct{}{}:
	default:
	}
}

// send is the goroutine that brings queued messages to the member. It dials when there is the first,
// and then keeps the connection up: an election must not wait for one.
func (r *remote) send() {
	if !r.queue.wait(r.ctx) {
		return
	}
	for pause := minBackoff; r.ctx.Err() == nil; pause = min(2*pause, maxBackoff) {
		begun := time.Now()
		conn, err := r.net.connect(r.ctx, r.id, forMessages)
		if err == nil {
			r.alive(time.Now())
			r.reached(nil)
			err = r.write(conn)
		}
		if r.ctx.Err() != nil {
			return
		}
		r.reached(err)
		r.queue.clear() // it was old when it could be sent, and some before it was lost
		r.net.reports.unreachable(r.id)
		if time.Since(begun) > maxBackoff+dialTimeout {
			pause = minBackoff // it was connected for a while
		}
		r.rest(pause)
	}
}

// rest waits between two tries.
func (r *remote) rest(pause time.Duration) {
	least := time.NewTimer(minBackoff)
	defer least.Stop()
	select {
	case <-least.C:
	case <-r.ctx.Done():
		return
	}
	whole := time.NewTimer(pause - minBackoff)
	defer whole.Stop()
	select {
	case <-whole.C:
	case <-r.soon:
	case <-r.ctx.Done():
	}
}

// write sends messages over a connection until it ends, which is always an error.
func (r *remote) write(conn net.Conn) error {
	ctx, cancel := context.WithCancelCause(r.ctx)
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		cancel(r.listen(conn))
	}()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	w := &messageWriter{conn: conn, queue: &r.queue, limit: newLimit(conn.SetWriteDeadline, silence)}
	err := w.run(ctx)
	cancel(err)
	if stop() {
		conn.Close() // AfterFunc did not
	}
	<-listening
	if cause := context.Cause(ctx); cause != nil {
		err = cause // the first of the two
	}
	return err
}

// listen waits for the signs of life on a connection that is written to.
func (r *remote) listen(conn net.Conn) error {
	frames := newFrameReader(conn)
	for {
		now := time.Now()
		if err := conn.SetReadDeadline(now.Add(silence)); err != nil {
			return err
		}
		kind, payload, err := frames.next()
		if err != nil {
			return fmt.Errorf("read sign of life: %w", err)
		}
		if kind != framePong || len(payload) > 0 {
			return fmt.Errorf("%w: frame of kind %d in place of a sign of life", errProtocol, kind)
		}
		r.alive(time.Now())
	}
}

// messageWriter writes the messages of a queue to one connection.
type messageWriter struct {
	conn  net.Conn
	queue *queue
	limit *limit
	buf   []byte
}

// run writes until an error, or until the context ends.
func (w *messageWriter) run(ctx context.Context) error {
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ping.C:
			w.buf = appendHeader(w.buf, framePing, 0)
		case <-w.queue.ready:
		}
		for {
			more, err := w.fill()
			if err == nil {
				err = w.flush()
			}
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
	}
}

// fill encodes what is queued, the urgent messages first, up to about pieceBytes. It says whether more
// is there.
func (w *messageWriter) fill() (more bool, err error) {
	for {
		m, more := w.queue.pop(len(w.buf) < pieceBytes)
		if m == nil {
			return more, nil
		}
		if payloadBytes(m) > pieceBytes {
			if err := w.cut(m); err != nil {
				return false, err
			}
			continue
		}
		if w.buf, err = appendMessage(w.buf, m); err != nil {
			return false, err
		}
	}
}

// cut writes a large message in pieces, and urgent messages between them.
func (w *messageWriter) cut(m *raftpb.Message) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode raft message: %w", err)
	}
	for len(data) > 0 {
		piece, kind := data[:min(len(data), pieceBytes)], framePart
		if data = data[len(piece):]; len(data) == 0 {
			kind = frameEnd
		}
		w.buf = append(appendHeader(w.buf, kind, len(piece)), piece...)
		for m := w.queue.popUrgent(); m != nil; m = w.queue.popUrgent() {
			if w.buf, err = appendMessage(w.buf, m); err != nil {
				return err
			}
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
	return nil
}

// flush writes what is encoded.
func (w *messageWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if err := w.limit.extend(time.Now()); err != nil {
		return err
	}
	_, err := w.conn.Write(w.buf)
	if w.buf = w.buf[:0]; cap(w.buf) > 2*writeBufferBytes {
		w.buf = nil
	}
	if err != nil {
		return fmt.Errorf("write messages: %w", err)
	}
	return nil
}

// limit is a deadline that is moved on with each use, at small cost.
type limit struct {
	set   func(time.Time) error
	after time.Duration
	at    time.Time
}

func newLimit(set func(time.Time) error, after time.Duration) *limit {
	return &limit{set: set, after: after}
}

// extend makes sure that at least three quarters of the time are left.
func (l *limit) extend(now time.Time) error {
	if l.at.Sub(now) > l.after*3/4 {
		return nil
	}
	l.at = now.Add(l.after)
	return l.set(l.at)
}

// queue holds the messages to one member in two lanes: appends, which must stay in their order and may
// be large, and urgent ones, which overtake them.
type queue struct {
	ready chan struct{} // holds a value when something may be queued

	mu           sync.Mutex
	urgent, bulk []*raftpb.Message
	bytes        int // of bulk
}

func newQueue() queue { return queue{ready: make(chan struct{}, 1)} }

// push adds a message, unless there is no room.
func (q *queue) push(m *raftpb.Message) bool {
	q.mu.Lock()
	switch size := payloadBytes(m); {
	case m.GetType() != raftpb.MsgApp && len(q.urgent) < maxQueue:
		q.urgent = append(q.urgent, m)
	case m.GetType() == raftpb.MsgApp && len(q.bulk) < maxQueue && (len(q.bulk) == 0 || q.bytes+size <= maxQueueBytes):
		q.bulk = append(q.bulk, m)
		q.bytes += size
	default:
		q.mu.Unlock()
		return false
	}
	q.mu.Unlock()
	q.wake()
	return true
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// pop takes the next message. If room is false there is no place for it: then it only says whether
// there is one.
func (q *queue) pop(room bool) (m *raftpb.Message, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !room {
		return nil, len(q.urgent)+len(q.bulk) > 0
	}
	if m := take(&q.urgent); m != nil {
		return m, true
	}
	m = take(&q.bulk)
	if m != nil {
		q.bytes -= payloadBytes(m)
	}
	return m, m != nil
}

// popUrgent takes the next urgent message, nil if there is none.
func (q *queue) popUrgent() *raftpb.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	return take(&q.urgent)
}

// take cuts the first message off a lane, and lets go of the memory of an empty one.
func take(lane *[]*raftpb.Message) *raftpb.Message {
	if len(*lane) == 0 {
		return nil
	}
	m := (*lane)[0]
	(*lane)[0] = nil
	if *lane = (*lane)[1:]; len(*lane) == 0 {
		*lane = nil
	}
	return m
}

// clear drops all that waits.
func (q *queue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.urgent, q.bulk, q.bytes = nil, nil, 0
}

// wait waits until something is queued. It returns false when the context ends.
func (q *queue) wait(ctx context.Context) bool {
	for {
		if _, some := q.pop(false); some {
			q.wake() // who writes it finds it by this
			return ctx.Err() == nil
		}
		select {
		case <-q.ready:
		case <-ctx.Done():
			return false
		}
	}
}

// payloadBytes is about what a message holds, without its fixed part.
func payloadBytes(m *raftpb.Message) int {
	size := len(m.GetContext())
	for _, e := range m.GetEntries() {
		size += len(e.GetData()) + 32
	}
	return size
}
