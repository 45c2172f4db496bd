package node

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
)

// Bounds of one event stream, in bytes of memory (SCH-291). A subscriber that takes nothing for
// streamPatience is cut off once more than maxStalledBytes wait for it. One that reads may fall behind
// further: the answer to one RECONCILE of a large framework is hundreds of thousands of events, which
// the core makes faster than anybody can write them.
const (
	maxStalledBytes = 16 << 20
	maxStreamBytes  = 128 << 20
	streamPatience  = 5 * time.Second
	// eventOverhead is what a queued event costs beyond its encoded size.
	eventOverhead = 512
	// maxTake is the number of events that the subscriber takes at a time.
	maxTake = 1024
)

var errSlowSubscriber = errors.New("subscriber does not read its events")

// stream is the queue of events between a loop and one subscriber. The loop pushes and never waits;
// the subscriber's HTTP goroutine takes batches.
type stream[T proto.Message] struct {
	uuid   string
	onGone func() // told once when the subscriber has gone or was cut off

	mu     sync.Mutex
	queue  []T
	bytes  int       // charge of the queue
	taken  time.Time // when the subscriber last took events, or when it could for the first time since
	ending bool      // nothing more comes: end after what is queued
	err    error     // why it was cut off
	wake   chan struct{}
	once   sync.Once
}

func newStream[T proto.Message](onGone func()) *stream[T] {
	return &stream[T]{onGone: onGone, wake: make(chan struct{}, 1)}
}

// charge is the memory that a queued event is taken to need.
func charge[T proto.Message](ev T) int { return proto.Size(ev) + eventOverhead }

// push queues one event, or cuts the subscriber off.
func (s *stream[T]) push(ev T) {
	cost := charge(ev)
	s.mu.Lock()
	if s.ending || s.err != nil {
		s.mu.Unlock()
		return
	}
	if s.overfull(cost) {
		s.err, s.queue, s.bytes = errSlowSubscriber, nil, 0
		s.mu.Unlock()
		s.signal()
		s.gone()
		return
	}
	if len(s.queue) == 0 {
		s.taken = time.Now()
	}
	s.queue = append(s.queue, ev)
	s.bytes += cost
	s.mu.Unlock()
	s.signal()
}

// overfull reports whether an event of that cost is too much. The caller holds the lock.
func (s *stream[T]) overfull(cost int) bool {
	after := s.bytes + cost
	return after > maxStreamBytes || after > maxStalledBytes && time.Since(s.taken) > streamPatience
}

// end lets the subscriber read what is queued and then see the end of the stream.
func (s *stream[T]) end() {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.signal()
}

func (s *stream[T]) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *stream[T]) gone() { s.once.Do(s.onGone) }

// StreamUUID is the value of the Mesos-Stream-Id header.
func (s *stream[T]) StreamUUID() string { return s.uuid }

// Next waits for events and returns up to maxTake of those that are queued. io.EOF: the stream was ended
// in order.
func (s *stream[T]) Next(ctx context.Context) ([]T, error) {
	for {
		s.mu.Lock()
		switch {
		case s.err != nil:
			defer s.mu.Unlock()
			return nil, s.err
		case len(s.queue) > 0:
			batch := s.take()
			s.mu.Unlock()
			return batch, nil
		case s.ending:
			s.mu.Unlock()
			return nil, io.EOF
		}
		s.mu.Unlock()
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take removes the oldest events from the queue, which is not empty. The caller holds the lock.
func (s *stream[T]) take() []T {
	s.taken = time.Now()
	if len(s.queue) <= maxTake {
		batch := s.queue
		s.queue, s.bytes = nil, 0
		return batch
	}
	batch := s.queue[:maxTake:maxTake]
	s.queue = s.queue[maxTake:]
	for _, ev := range batch {
		s.bytes -= charge(ev)
	}
	return batch
}

// Close tells the loop that the subscriber has gone.
func (s *stream[T]) Close() { s.gone() }
