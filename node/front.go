package node

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	"clusterd/node/api"
)

// front is what stands between HTTP goroutines and a loop: requests that wait for an answer and the
// event streams that are open. E is the type of the streams' events, V that of a query's answer.
type front[E proto.Message, V any] struct {
	mu       sync.Mutex
	next     uint64
	requests map[uint64]chan reply[V]
	streams  map[uint64]*stream[E]
}

// reply is what the loop says to one request.
type reply[V any] struct {
	answer api.Answer
	uuid   string // of the stream that was opened
	opened bool
	view   V
}

func newFront[E proto.Message, V any]() *front[E, V] {
	return &front[E, V]{requests: make(map[uint64]chan reply[V]), streams: make(map[uint64]*stream[E])}
}

// handle returns a number that was never used before in this front.
func (f *front[E, V]) handle() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	return f.next
}

// ask sends the event that send makes of a fresh request handle and waits for the loop's answer.
func (f *front[E, V]) ask(ctx context.Context, done <-chan struct{}, send func(request uint64) error) (reply[V], error) {
	answered := make(chan reply[V], 1)
	f.mu.Lock()
	f.next++
	id := f.next
	f.requests[id] = answered
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.requests, id)
		f.mu.Unlock()
	}()
	if err := send(id); err != nil {
		return reply[V]{}, notReady(err)
	}
	select {
	case r := <-answered:
		return r, nil
	case <-ctx.Done():
		return reply[V]{}, ctx.Err()
	case <-done:
		return reply[V]{}, notReady(errStopped)
	}
}

// subscribe is ask for a call that opens a stream. gone posts the event that tells the loop about the
// end of the stream.
func (f *front[E, V]) subscribe(ctx context.Context, done <-chan struct{}, send func(request, stream uint64) error, gone func(stream uint64)) (api.Answer, *stream[E], error) {
	id := f.handle()
	s := newStream[E](func() {
		f.drop(id)
		gone(id)
	})
	f.mu.Lock()
	f.streams[id] = s
	f.mu.Unlock()
	r, err := f.ask(ctx, done, func(request uint64) error { return send(request, id) })
	switch {
	case err != nil:
		s.gone()
		return api.Answer{}, nil, err
	case !r.opened:
		f.drop(id)
		return r.answer, nil, nil
	}
	s.uuid = r.uuid
	return api.Answer{Status: 200}, s, nil
}

// respond answers a request; one that waits no more is forgotten already.
func (f *front[E, V]) respond(request uint64, r reply[V]) {
	f.mu.Lock()
	answered := f.requests[request]
	delete(f.requests, request)
	f.mu.Unlock()
	if answered != nil {
		answered <- r
	}
}

func (f *front[E, V]) stream(id uint64) *stream[E] {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.streams[id]
}

func (f *front[E, V]) push(id uint64, ev E) {
	if s := f.stream(id); s != nil {
		s.push(ev)
	}
}

// end closes a stream in order: its subscriber reads what was pushed before.
func (f *front[E, V]) end(id uint64) {
	if s := f.stream(id); s != nil {
		f.drop(id)
		s.end()
	}
}

func (f *front[E, V]) drop(id uint64) {
	f.mu.Lock()
	delete(f.streams, id)
	f.mu.Unlock()
}

// endAll closes every stream; the loop has ended.
func (f *front[E, V]) endAll() {
	f.mu.Lock()
	all := f.streams
	f.streams = make(map[uint64]*stream[E])
	f.mu.Unlock()
	for _, s := range all {
		s.end()
	}
}

func notReady(err error) error { return fmt.Errorf("%w: %w", api.ErrNotReady, err) }

// waiting is how many requests wait for an answer.
func (f *front[E, V]) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}
