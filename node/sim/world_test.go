package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// mostSteps is far more than any run needs: more come from a core that asks for a tick again and again.
const mostSteps = 5_000_000

// world is one simulated cluster with everything around it.
type world struct {
	seed  uint64
	rng   *rand.Rand
	plan  plan
	flaw  flaw
	trace io.Writer // nil: no trace

	now   time.Duration // since the beginning
	queue eventQueue
	seq   uint64
	sum   uint64 // of the history so far
	steps uint64
	calm  bool // no more faults
	wiped bool // a node has lost its disk

	net        *network
	machines   []*machine // nodes first, then those of frameworks
	nodes      []*machine
	frameworks []*framework
	tasks      map[string]*task
	taskOrder  []*task
	history    *history
	written    []string // hashes of tokens whose writing was acknowledged
	nextHandle uint64
}

// fault is the panic of a broken invariant; it ends the run.
type fault struct{ text string }

// failf ends the run: something is wrong that must never be.
func (w *world) failf(format string, args ...any) {
	panic(fault{fmt.Sprintf(format, args...)})
}

// logf adds a line to the trace.
func (w *world) logf(who, format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%10.6f %-4s %s\n", w.now.Seconds(), who, fmt.Sprintf(format, args...))
	}
}

// mix adds a number to the sum of the history.
func (w *world) mix(x uint64) {
	w.sum = (w.sum ^ x) * 0x100000001b3
	w.sum ^= w.sum >> 29
}

// handle returns a number that was never used before.
func (w *world) handle() uint64 {
	w.nextHandle++
	return w.nextHandle
}

// after has fn called when d has passed.
func (w *world) after(d time.Duration, fn func()) { w.at(w.now+max(d, 0), fn) }

// at has fn called at an instant, now at the earliest.
func (w *world) at(t time.Duration, fn func()) {
	w.seq++
	w.queue.push(event{at: max(t, w.now), seq: w.seq, do: fn})
}

// step lets the next event happen, unless it lies beyond until.
func (w *world) step(until time.Duration) bool {
	if len(w.queue) == 0 || w.queue[0].at > until {
		w.now = max(w.now, until)
		return false
	}
	e := w.queue.pop()
	w.now = e.at
	if w.steps++; w.steps > mostSteps {
		w.failf("%d events and no end", w.steps)
	}
	w.mix(uint64(e.at))
	w.mix(e.seq)
	e.do()
	return true
}

// run lets time pass.
func (w *world) run(until time.Duration) {
	for w.step(until) {
	}
}

// chance is true in p of 1000 cases.
func (w *world) chance(p int) bool { return p > 0 && w.rng.IntN(1000) < p }

// between draws a duration.
func (w *world) between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(w.rng.Int64N(int64(high-low)))
}

// pick draws one of a list that is not empty.
func pick[T any](w *world, list []T) T { return list[w.rng.IntN(len(list))] }

// event is something that will happen.
type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

// eventQueue is a heap, the next event first.
type eventQueue []event

func (q eventQueue) less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}

func (q *eventQueue) push(e event) {
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (q *eventQueue) pop() event {
	h := *q
	first, n := h[0], len(h)-1
	h[0] = h[n]
	h[n] = event{}
	h = h[:n]
	*q = h
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	return first
}
