package main

import (
	"container/heap"
	"time"
)

// timer is one thing to do at an instant.
type timer struct {
	at    time.Time
	order uint64 // timers of the same instant fire in the order in which they were set
	place int    // in the heap, -1 when not in it
	fire  func()
}

// timers holds all timers of a core, the next one first.
type timers struct {
	heap timerHeap
	set  uint64
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].order < h[j].order
	}
	return h[i].at.Before(h[j].at)
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.place = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.place = -1
	return t
}

// start has fire called at the first step at or after at.
func (t *timers) start(at time.Time, fire func()) *timer {
	t.set++
	e := &timer{at: at, order: t.set, fire: fire}
	heap.Push(&t.heap, e)
	return e
}

// stop takes a timer back. Nil, and one that has fired, is ignored.
func (t *timers) stop(e *timer) {
	if e != nil && e.place >= 0 {
		heap.Remove(&t.heap, e.place)
	}
}

// due takes out the next timer whose instant has come; nil if there is none.
func (t *timers) due(now time.Time) *timer {
	if len(t.heap) == 0 || t.heap[0].at.After(now) {
		return nil
	}
	return heap.Pop(&t.heap).(*timer)
}

// next is the instant of the next timer.
func (t *timers) next() (time.Time, bool) {
	if len(t.heap) == 0 {
		return time.Time{}, false
	}
	return t.heap[0].at, true
}
