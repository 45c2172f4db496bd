package sim

import (
	"slices"
	"time"
)

// network carries packets and streams between machines.
type network struct {
	w *world
	// blocked directions, by number of the machines from and to.
	blocked [][]bool
	conns   []*conn // open ones
	// loss, repeat and tardy are how many packets of 1000 are lost, come twice, and come late.
	loss, repeat, tardy int
	latency             time.Duration // of most packets, at most
}

// sweepEvery is how often streams are looked over for ends that have heard nothing for too long.
const sweepEvery = 250 * time.Millisecond

func newNetwork(w *world, machines int) *network {
	n := &network{w: w, latency: 2 * time.Millisecond, blocked: make([][]bool, machines)}
	for i := range n.blocked {
		n.blocked[i] = make([]bool, machines)
	}
	return n
}

// delay is how long something travels.
func (n *network) delay(from, to *machine) time.Duration {
	if from == to {
		return n.w.between(10*time.Microsecond, 200*time.Microsecond)
	}
	d := n.w.between(n.latency/4, n.latency)
	if n.w.chance(n.tardy) {
		d += n.w.between(0, 400*time.Millisecond)
	}
	return d
}

// open says whether something sent now arrives at a machine at all.
func (n *network) open(from, to *machine) bool {
	return !n.blocked[from.number][to.number] && to.powered
}

// packet delivers something that may be lost, repeated or overtaken.
func (n *network) packet(from, to *machine, deliver func()) {
	if !n.open(from, to) || n.w.chance(n.loss) {
		return
	}
	n.w.after(n.delay(from, to), func() {
		if to.powered {
			deliver()
		}
	})
	if n.w.chance(n.repeat) {
		n.w.after(n.delay(from, to)+n.w.between(0, 10*time.Second), func() {
			if to.powered {
				deliver()
			}
		})
	}
}

// block closes or opens a direction. What waits in streams goes on when it opens.
func (n *network) block(from, to *machine, closed bool) {
	if n.blocked[from.number][to.number] == closed {
		return
	}
	n.blocked[from.number][to.number] = closed
	if !closed {
		for _, c := range n.conns {
			c.resume()
		}
	}
}

// conn is a stream in both directions between two processes.
type conn struct {
	n    *network
	ends [2]*end
}

// end is what a process holds of a conn.
type end struct {
	conn  *conn
	owner *process
	other *end
	// receive takes what comes, gone is told once that the stream is over from the other side. Both
	// are set by the owner before anything can come.
	receive func(message any)
	gone    func(why string)
	// patience is how long the owner bears silence of the other side; 0 is for ever.
	patience time.Duration

	closed bool // by the owner, or it was told that it is gone
	// What is on its way to this end: the instant at which the newest comes, and what waits for the
	// way to be open.
	last    time.Duration
	held    []any
	stalled time.Duration // until when nothing comes through
	silent  time.Duration // since when nothing could come, -1 for not at all
}

// fin ends a stream in order.
type fin struct{ why string }

// dial opens a stream to the process that runs on a machine. accept is called there, connected here;
// failed if there is none, or no way to it in time.
func (n *network) dial(from *process, to *machine, timeout time.Duration, accept func(*process, *end), connected func(*end), failed func(why string)) {
	if !n.open(from.machine, to) || !n.open(to, from.machine) {
		from.after(timeout, func() { failed("no answer") })
		return
	}
	n.w.after(n.delay(from.machine, to), func() {
		p := to.process
		if !to.powered || n.blocked[to.number][from.machine.number] {
			from.after(timeout, func() { failed("no answer") })
			return
		}
		if p == nil || p.dead {
			from.after(n.delay(to, from.machine), func() { failed("connection refused") })
			return
		}
		if from.dead {
			return
		}
		c := &conn{n: n}
		here, there := &end{conn: c, owner: from, silent: -1}, &end{conn: c, owner: p, silent: -1}
		here.other, there.other = there, here
		c.ends = [2]*end{here, there}
		n.conns = append(n.conns, c)
		here.gone, there.gone = failed, func(string) {}
		here.last = n.w.now + n.delay(to, from.machine)
		// The side that dialled goes first: what it sends arrives after it was accepted.
		p.run(func() {
			if !there.closed {
				accept(p, there)
			}
		})
		from.at(here.last, func() {
			if !here.closed {
				connected(here)
			}
		})
	})
}

// send gives a message to the other end. It is lost if the stream is.
func (e *end) send(message any) {
	if !e.closed {
		e.other.incoming(message)
	}
}

// close ends the stream: the other end is told after what was sent before.
func (e *end) close(why string) {
	if e.closed {
		return
	}
	e.closed, e.held = true, nil
	e.other.incoming(fin{why})
}

// abandon is the end of a stream whose machine has lost its power: nobody is told.
func (e *end) abandon() { e.closed, e.held = true, nil }

// way says whether something can come to the end now.
func (e *end) way() bool {
	n := e.conn.n
	return n.open(e.other.owner.machine, e.owner.machine) && n.w.now >= e.stalled
}

// incoming puts a message on its way to the end.
func (e *end) incoming(message any) {
	if len(e.held) > 0 || !e.way() {
		if !e.closed || isFin(message) {
			e.held = append(e.held, message)
		}
		return
	}
	n := e.conn.n
	e.last = max(e.last, n.w.now+n.delay(e.other.owner.machine, e.owner.machine))
	n.w.at(e.last, func() {
		if !e.closed && !e.owner.dead {
			e.owner.run(func() { e.arrive(message) })
			return
		}
		if m := e.owner.machine; !e.other.closed && m.powered { // there is nobody any more: reset
			e.other.lose("connection reset", n.delay(m, e.other.owner.machine))
		}
	})
}

func isFin(m any) bool { _, ok := m.(fin); return ok }

func (e *end) arrive(message any) {
	if e.closed {
		return
	}
	if f, ok := message.(fin); ok {
		e.over("closed by the other side: " + f.why)
		return
	}
	e.receive(message)
}

// over tells the owner that the stream has ended.
func (e *end) over(why string) {
	if e.closed {
		return
	}
	e.close(why)
	e.gone(why)
}

// lose ends the stream for one side after a while.
func (e *end) lose(why string, in time.Duration) {
	e.owner.after(in, func() { e.over(why) })
}

// resume sends what was held back when there is a way again.
func (c *conn) resume() {
	for _, e := range c.ends {
		if len(e.held) == 0 || !e.way() {
			continue
		}
		held := e.held
		e.held = nil
		for _, m := range held {
			e.incoming(m)
		}
	}
}

// cut breaks the stream: of what is on its way some arrives, then both ends learn of it in their time.
func (c *conn) cut() {
	for _, e := range c.ends {
		if e.closed {
			continue
		}
		e.stalled = 1 << 62
		e.lose("connection broken", c.n.w.between(0, 3*time.Second))
	}
}

// stall keeps one direction from delivering for some time.
func (e *end) stall(d time.Duration) {
	n := e.conn.n
	e.stalled = n.w.now + d
	n.w.after(d, e.conn.resume)
}

// endsOf calls fn for each end of an open stream that a process holds.
func (n *network) endsOf(p *process, fn func(*end)) {
	for _, c := range n.conns {
		for _, e := range c.ends {
			if e.owner == p && !e.closed {
				fn(e)
			}
		}
	}
}

// sweep ends streams that were silent for longer than their owners bear, and forgets those that ended.
func (n *network) sweep() {
	for _, c := range n.conns {
		for _, e := range c.ends {
			if e.closed || e.patience == 0 {
				continue
			}
			hears := e.way() && !e.other.closed && !e.other.owner.dead && !e.other.owner.machine.paused()
			switch {
			case hears:
				e.silent = -1
			case e.silent < 0:
				e.silent = n.w.now
			case n.w.now-e.silent >= e.patience && !e.owner.dead && !e.owner.machine.paused():
				e.over("the other side is silent")
			}
		}
	}
	n.conns = slices.DeleteFunc(n.conns, func(c *conn) bool { return c.ends[0].closed && c.ends[1].closed })
	n.w.after(sweepEvery, n.sweep)
}
