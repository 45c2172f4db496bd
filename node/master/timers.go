package master

import (
	"container/heap"
	"time"
)

// timer is one thing to do at an instant. Two timers of the same instant fire in the order in which
// they were set.
type timer struct {
	at    time.Time
	seq   uint64
	index int // place in the heap, -1 when not in it
	fire  func()
}

// timers is a heap, the next one first.
type timers struct {
	heap []*timer
	seq  uint64
}

func (t *timers) Len() int { return len(t.heap) }
func (t *timers) Less(i, j int) bool {
	a, b := t.heap[i], t.heap[j]
	if !a.at.Equal(b.at) {
		return a.at.Before(b.at)
	}
	return a.seq < b.seq
}
func (t *timers) Swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.heap[i].index, t.heap[j].index = i, j
}
func (t *timers) Push(x any) {
	e := x.(*timer)
	e.index = len(t.heap)
	t.heap = append(t.heap, e)
}
func (t *timers) Pop() any {
	n := len(t.heap) - 1
	e := t.heap[n]
	t.heap[n] = nil
	t.heap = t.heap[:n]
	e.index = -1
	return e
}

// set arranges for fire to be called at the first step at or after at.
func (t *timers) set(at time.Time, fire func()) *timer {
	t.seq++
	e := &timer{at: at, seq: t.seq, fire: fire}
	heap.Push(t, e)
	return e
}

// stop takes a timer back; nil and fired timers are ignored.
func (t *timers) stop(e *timer) {
	if e != nil && e.index >= 0 {
		heap.Remove(t, e.index)
	}
}

// due takes out the next timer if its instant has come.
func (t *timers) due(now time.Time) *timer {
	if len(t.heap) == 0 || t.heap[0].at.After(now) {
		return nil
	}
	return heap.Pop(t).(*timer)
}

func (t *timers) next() (time.Time, bool) {
	if len(t.heap) == 0 {
		return time.Time{}, false
	}
	return t.heap[0].at, true
}
