package node

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errStopped is returned to those who wait for a loop that has ended.
var errStopped = errors.New("node is stopping")

// mailbox is the queue before a loop. Requests from outside wait for one of a bounded number of
// places (offer); what the loop's own helpers report back (post) is never refused, since the loop
// itself may be waiting for it: its amount is bounded by what the loop asked for.
type mailbox[E any] struct {
	places chan struct{}
	wake   chan struct{}
	done   chan struct{} // closed by close: nothing is taken any more

	mu     sync.Mutex
	queue  []letter[E]
	closed bool
}

type letter[E any] struct {
	event  E
	placed bool
}

func newMailbox[E any](places int) *mailbox[E] {
	return &mailbox[E]{places: make(chan struct{}, places), wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// offer queues an event from outside; it waits for a place.
func (m *mailbox[E]) offer(ctx context.Context, e E) error {
	select {
	case m.places <- struct{}{}:
	case <-m.done:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	if !m.put(letter[E]{e, true}) {
		return errStopped
	}
	return nil
}

// post queues an event of the loop's own helpers. It is dropped when the loop has ended.
func (m *mailbox[E]) post(e E) { m.put(letter[E]{e, false}) }

func (m *mailbox[E]) put(l letter[E]) bool {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return false
	}
	m.queue = append(m.queue, l)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return true
}

func (m *mailbox[E]) take(into []letter[E]) []letter[E] {
	m.mu.Lock()
	into = append(into[:0], m.queue...)
	clear(m.queue)
	m.queue = m.queue[:0]
	m.mu.Unlock()
	for _, l := range into {
		if l.placed {
			<-m.places
		}
	}
	return into
}

func (m *mailbox[E]) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.done)
	}
}

// core is the one shape of clusterd's roles: a value stepped by one loop.
type core[E, F any] interface {
	Step(now time.Time, ev E) []F
	Deadline() (time.Time, bool)
}

// runLoop steps c with everything that comes into box, and with tick whenever its deadline has come,
// until ctx ends. carry carries one effect out; it must not block. settled is called after each
// batch of events, before the loop waits again.
func runLoop[E, F any](ctx context.Context, c core[E, F], box *mailbox[E], tick E, carry func(F), settled func()) {
	defer box.close()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var batch []letter[E]
	for {
		due := false
		if at, ok := c.Deadline(); ok {
			wait := time.Until(at)
			due = wait <= 0
			timer.Reset(max(wait, 0))
		} else {
			timer.Reset(time.Hour)
		}
		if !due {
			select {
			case <-ctx.Done():
				return
			case <-box.wake:
			case <-timer.C:
				due = true
			}
		} else if ctx.Err() != nil {
			return
		}
		batch = box.take(batch)
		for _, l := range batch {
			for _, f := range c.Step(time.Now(), l.event) {
				carry(f)
			}
		}
		clear(batch)
		if due {
			for _, f := range c.Step(time.Now(), tick) {
				carry(f)
			}
		}
		settled()
	}
}

// length is how many events wait.
func (m *mailbox[E]) length() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue)
}
