package main

import (
	"sync"
	"time"
)

// maxQueued bounds what waits for a loop: readers of streams wait beyond it.
const maxQueued = 1 << 16

// loop steps one core with what its streams bring.
type loop struct {
	crew  *crew
	nodes []*node // by the place of their agent

	mu   sync.Mutex // held while the core is stepped
	core *fleet

	queueMu sync.Mutex
	room    sync.Cond // of queueMu: the queue was taken, or ended
	queue   []event
	ended   bool
	wake    chan struct{}
}

func newLoop(c *crew, core *fleet) *loop {
	l := &loop{crew: c, core: core, wake: make(chan struct{}, 1)}
	l.room.L = &l.queueMu
	return l
}

// put queues an event. It waits while too many are queued, and drops it when the loop has ended.
func (l *loop) put(ev event) {
	l.queueMu.Lock()
	for len(l.queue) >= maxQueued && !l.ended {
		l.room.Wait()
	}
	if !l.ended {
		l.queue = append(l.queue, ev)
	}
	l.queueMu.Unlock()
	l.stir()
}

func (l *loop) stir() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take swaps the queue for an empty one.
func (l *loop) take(empty []event) []event {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	full := l.queue
	l.queue = empty[:0]
	l.room.Broadcast()
	return full
}

func (l *loop) close() {
	l.queueMu.Lock()
	l.ended = true
	l.room.Broadcast()
	l.queueMu.Unlock()
	l.stir()
}

func (l *loop) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var batch []event
	for {
		wait := time.Hour
		if at, ok := l.core.Deadline(); ok {
			wait = max(0, time.Until(at))
		}
		timer.Reset(wait)
		select {
		case <-l.crew.ctx.Done():
			return
		case <-l.wake:
		case <-timer.C:
		}
		batch = l.take(batch)
		l.mu.Lock()
		for i, ev := range batch {
			l.step(ev)
			batch[i] = nil
		}
		l.step(tick{})
		l.mu.Unlock()
	}
}

func (l *loop) step(ev event) {
	for _, e := range l.core.Step(time.Now(), ev) {
		l.carry(e)
	}
}

// carry carries out one effect. It never waits.
func (l *loop) carry(e effect) {
	c := l.crew
	switch e := e.(type) {
	case open:
		n := l.nodes[e.n]
		if old := n.want(e.stream); old != nil {
			old.close()
		}
		c.wg.Go(func() { c.connect(n, e.stream) })
	case hangUp:
		n := l.nodes[e.n]
		if old := n.want(0); old != nil {
			old.close()
		}
	case send:
		if at := l.nodes[e.n].linked(); at != nil && at.stream == e.stream {
			at.send(e.message)
		}
	case remember:
		if err := c.archive.save(l.nodes[e.n].agentID(e.id)); err != nil {
			c.fail(err)
		}
	}
}
