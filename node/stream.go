package node

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/protobuf/proto"
)

// Bounds of one event stream. A subscriber that lets more pile up is cut off (SCH-291).
const (
	maxStreamEvents = 16384
	maxStreamBytes  = 64 << 20
)

var errSlowSubscriber = errors.New("subscriber does not read its events")

// stream is the queue of events between a loop and one subscriber. The loop pushes and never waits;
// the subscriber's HTTP goroutine takes batches.
type stream[T proto.Message] struct {
	uuid   string
	onGone func() // told once when the subscriber has gone or was cut off

	mu     sync.Mutex
	queue  []T
	bytes  int
	ending bool  // nothing more comes: end after what is queued
	err    error // why it was cut off
	wake   chan struct{}
	once   sync.Once
}

func newStream[T proto.Message](onGone func()) *stream[T] {
	return &stream[T]{onGone: onGone, wake: make(chan struct{}, 1)}
}

// push queues one event. It reports false when the stream has been cut off.
func (s *stream[T]) push(ev T) {
	size := proto.Size(ev)
	s.mu.Lock()
	if s.ending || s.err != nil {
		s.mu.Unlock()
		return
	}
	if len(s.queue) >= maxStreamEvents || s.bytes+size > maxStreamBytes {
		s.err, s.queue, s.bytes = errSlowSubscriber, nil, 0
		s.mu.Unlock()
		s.signal()
		s.gone()
		return
	}
	s.queue = append(s.queue, ev)
	s.bytes += size
	s.mu.Unlock()
	s.signal()
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

// Next waits for events and returns all that are queued. io.EOF: the stream was ended in order.
func (s *stream[T]) Next(ctx context.Context) ([]T, error) {
	for {
		s.mu.Lock()
		switch {
		case s.err != nil:
			defer s.mu.Unlock()
			return nil, s.err
		case len(s.queue) > 0:
			batch := s.queue
			s.queue, s.bytes = nil, 0
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

// Close tells the loop that the subscriber has gone.
func (s *stream[T]) Close() { s.gone() }
