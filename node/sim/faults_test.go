package sim

import (
	"time"

	"clusterd/node/mesos/v1scheduler"
)

// kind is one way in which things go wrong. A run has some of them only: what all of them together
// would hide shows when it is alone.
type kind struct {
	name string
	do   func(w *world)
}

var kinds []kind

func (k kind) String() string { return k.name }

func init() {
	kinds = []kind{
		{"kill", (*world).killOne},
		{"power", (*world).cutPower},
		{"pause", (*world).pauseOne},
		{"partition", (*world).partition},
		{"one-way", (*world).oneWay},
		{"leader", (*world).troubleLeader},
		{"cut", (*world).cutStream},
		{"stall", (*world).stallStream},
		{"container", (*world).killContainer},
		{"disk", (*world).troubleDisk},
		{"clock", (*world).jumpClock},
		{"scheduler", (*world).troubleScheduler},
		{"network", (*world).troubleNetwork},
		{"stop", (*world).stopOne},
		{"masters", (*world).changeMasters},
		{"agents", (*world).changeAgents},
		{"wipe", (*world).wipeOne},
	}
}

// goWrong lets faults happen until the world is calm.
func (w *world) goWrong() {
	if w.calm {
		return
	}
	if len(w.plan.faults) > 0 {
		k := pick(w, w.plan.faults)
		w.logf("----", "fault: %s", k.name)
		k.do(w)
	}
	w.after(w.between(w.plan.every/4, w.plan.every*7/4), w.goWrong)
}

// victim is a node; often a master, since there are few of them.
func (w *world) victim() *machine {
	if w.chance(500) {
		return pick(w, w.nodes[:w.plan.eligible])
	}
	return pick(w, w.nodes)
}

// leading is a machine that leads, or takes itself for the leader, nil if there is none.
func (w *world) leading() *machine {
	var all []*machine
	for _, m := range w.nodes {
		if m.process != nil && !m.process.dead && m.process.lead != nil {
			all = append(all, m)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return pick(w, all)
}

// outage is how long something lasts: mostly short.
func (w *world) outage() time.Duration {
	switch {
	case w.chance(150):
		return w.between(time.Millisecond, 50*time.Millisecond)
	case w.chance(700):
		return w.between(50*time.Millisecond, 4*time.Second)
	}
	return w.between(4*time.Second, 30*time.Second)
}

func (w *world) killOne() { w.restart(w.victim(), w.outage()) }

func (w *world) restart(m *machine, after time.Duration) {
	if m.process != nil && !m.process.dead {
		m.process.kill("killed")
		m.startIn(after)
	}
}

func (w *world) cutPower() {
	m := w.victim()
	if m.powered {
		m.powerOff()
		w.after(w.outage(), m.powerOn)
	}
}

func (w *world) pauseOne() { w.victim().stand(w.outage()) }

// partition cuts the machines in two groups that do not reach each other.
func (w *world) partition() {
	left := make([]bool, len(w.machines))
	for i := range left {
		left[i] = w.chance(400)
	}
	w.divide(w.outage(), func(from, to *machine) bool { return left[from.number] != left[to.number] })
}

// oneWay keeps one group from reaching the other, but not the other way round.
func (w *world) oneWay() {
	left := make([]bool, len(w.machines))
	for i := range left {
		left[i] = w.chance(300)
	}
	w.divide(w.outage(), func(from, to *machine) bool { return left[from.number] && !left[to.number] })
}

// divide blocks the directions that cut names for some time.
func (w *world) divide(d time.Duration, cut func(from, to *machine) bool) {
	var closed [][2]*machine
	for _, from := range w.machines {
		for _, to := range w.machines {
			if from != to && cut(from, to) && !w.net.blocked[from.number][to.number] {
				closed = append(closed, [2]*machine{from, to})
				w.net.block(from, to, true)
			}
		}
	}
	w.after(d, func() {
		for _, c := range closed {
			w.net.block(c[0], c[1], false)
		}
	})
}

// troubleLeader does to the leader what hurts most.
func (w *world) troubleLeader() {
	m := w.leading()
	if m == nil {
		return
	}
	master := func(o *machine) bool { return o.number < w.plan.eligible }
	switch w.rng.IntN(7) {
	case 0:
		w.restart(m, w.outage())
	case 1:
		m.stand(w.outage())
	case 2: // away from all
		w.divide(w.outage(), func(from, to *machine) bool { return from == m || to == m })
	case 3: // away from the other masters only
		w.divide(w.outage(), func(from, to *machine) bool { return from == m && master(to) || to == m && master(from) })
	case 4: // it hears, but is not heard
		w.divide(w.outage(), func(from, to *machine) bool { return from == m && master(to) })
	case 5: // it is heard, but does not hear
		w.divide(w.outage(), func(from, to *machine) bool { return to == m && master(from) })
	case 6: // away from one other master, while those that reach both come and go
		other, d := pick(w, w.nodes[:w.plan.eligible]), w.between(time.Second, 8*time.Second)
		w.divide(d, func(from, to *machine) bool { return from == m && to == other || from == other && to == m })
		for _, third := range w.nodes[:w.plan.eligible] {
			for range w.rng.IntN(4) {
				if third != m && third != other {
					w.after(w.between(0, d), func() { w.restart(third, w.between(time.Millisecond, 400*time.Millisecond)) })
				}
			}
		}
	}
}

// stream is one between two machines, mostly; nil if there is none.
func (w *world) stream() *conn {
	var far []*conn
	for _, c := range w.net.conns {
		if c.ends[0].owner.machine != c.ends[1].owner.machine {
			far = append(far, c)
		}
	}
	switch {
	case len(far) > 0 && w.chance(900):
		return pick(w, far)
	case len(w.net.conns) > 0:
		return pick(w, w.net.conns)
	}
	return nil
}

func (w *world) cutStream() {
	for range 1 + w.rng.IntN(3) {
		if c := w.stream(); c != nil {
			c.cut()
		}
	}
}

// stallStream keeps one direction of a stream from delivering for a while. What is stalled may be cut.
func (w *world) stallStream() {
	for range 1 + w.rng.IntN(3) {
		c := w.stream()
		if c == nil {
			return
		}
		d := w.outage()
		c.ends[w.rng.IntN(2)].stall(d)
		if w.chance(300) {
			w.after(w.between(0, d), c.cut)
		}
	}
}

func (w *world) killContainer() {
	if m := pick(w, w.nodes); len(m.launched) > 0 {
		pick(w, m.launched).die(9)
	}
}

// troubleDisk makes a disk slow, full or unreliable for some time.
func (w *world) troubleDisk() {
	d := w.victim().node
	switch w.rng.IntN(3) {
	case 0:
		d.latency = w.between(50*time.Millisecond, 2*time.Second)
	case 1:
		d.full = true
	case 2:
		d.broken = 100
	}
	w.after(w.outage(), d.mend)
}

// jumpClock sets a machine's wall clock.
func (w *world) jumpClock() {
	m := pick(w, w.machines)
	if w.chance(500) {
		m = w.victim()
	}
	d := w.between(-2*time.Hour, 2*time.Hour)
	if w.chance(500) {
		d /= 1000
	}
	m.clock.wall += d
	w.logf(m.name, "its wall clock jumps by %v", d)
}

// troubleScheduler crashes a framework's scheduler, has it fail over, or lets it be away for long.
func (w *world) troubleScheduler() {
	f := pick(w, w.frameworks)
	s := f.scheduler
	if s == nil {
		return // yet to come
	}
	switch w.rng.IntN(8) {
	case 0, 1, 2:
		s.p.kill("killed")
		d := w.outage()
		if w.chance(200) {
			d += f.failover
		}
		w.after(d, func() {
			if f.scheduler == s {
				f.begin()
			}
		})
	case 3, 4: // another instance takes over while this one still runs
		if f.id != "" {
			f.begin()
		}
	case 5, 6:
		f.machine.stand(w.outage())
	case 7:
		s.enqueue(func() *v1scheduler.Call { return &v1scheduler.Call{Type: v1scheduler.Call_TEARDOWN.Enum()} })
	}
}

// troubleNetwork changes how bad the network is.
func (w *world) troubleNetwork() {
	w.net.loss, w.net.repeat, w.net.tardy = w.rng.IntN(150), w.rng.IntN(100), w.rng.IntN(150)
	w.net.latency = w.between(time.Millisecond, 60*time.Millisecond)
}

// heal ends all faults.
func (w *world) heal() {
	w.calm = true
	w.net.loss, w.net.repeat, w.net.tardy, w.net.latency = 0, 0, 0, 2*time.Millisecond
	for _, from := range w.machines {
		for _, to := range w.machines {
			w.net.block(from, to, false)
		}
	}
	for _, c := range w.net.conns {
		for _, e := range c.ends {
			if e.stalled < 1<<62 {
				e.stalled = 0
			}
		}
		c.resume()
	}
	for _, m := range w.nodes {
		m.node.mend()
		m.powerOn()
		if m.process == nil || m.process.dead {
			m.startIn(w.between(0, time.Second))
		}
	}
	for _, m := range w.machines {
		m.pause = min(m.pause, w.now)
		m.goOn()
	}
	for _, f := range w.frameworks {
		if f.scheduler == nil || f.scheduler.p.dead {
			f.begin()
		}
	}
}
