package sim

import "time"

// core is the one shape of clusterd's roles.
type core[E, F any] interface {
	Step(now time.Time, ev E) []F
	Deadline() (time.Time, bool)
	Check() error
}

// loop is the model of package node's runLoop and mailbox: it steps a core with what was posted, and
// with tick when its deadline has come.
type loop[E, F any] struct {
	p    *process
	name string
	core core[E, F]
	tick E
	// carry carries out one effect. ready, if set, says before each turn whether the core may go on.
	carry func(F)
	ready func() bool
	// idle says of a step that nothing came of it that matters. The check of the core is left to the next
	// one that is not: most of the time goes into checks.
	idle func(E, []F) bool

	box    []E
	queued bool   // a turn is on its way
	timer  uint64 // number of the newest timer
	ended  bool
}

// post gives the core an event. Those posted first are stepped first.
func (l *loop[E, F]) post(ev E) {
	if l.ended {
		return
	}
	l.box = append(l.box, ev)
	l.wake()
}

func (l *loop[E, F]) wake() {
	if l.queued {
		return
	}
	l.queued = true
	w := l.p.machine.w
	l.p.after(w.between(5*time.Microsecond, 200*time.Microsecond), func() {
		l.queued = false
		l.turn()
	})
}

// turn steps everything that is in the box, and tick if its time has come.
func (l *loop[E, F]) turn() {
	if l.ended || l.ready != nil && !l.ready() {
		return
	}
	box := l.box
	l.box = nil
	for _, ev := range box {
		if l.step(ev); l.ended || l.p.dead {
			return
		}
	}
	if at, ok := l.core.Deadline(); ok && l.p.machine.clock.until(at) <= 0 {
		if l.step(l.tick); l.ended || l.p.dead {
			return
		}
	}
	l.arm()
}

func (l *loop[E, F]) step(ev E) {
	w := l.p.machine.w
	now := l.p.machine.clock.read()
	effects := l.core.Step(now, ev)
	w.mix(uint64(len(effects)))
	if w.trace != nil {
		w.logf(l.p.machine.name, "%s < %s", l.name, show(ev))
		for _, f := range effects {
			w.logf(l.p.machine.name, "%s > %s", l.name, show(f))
		}
	}
	if l.idle == nil || !l.idle(ev, effects) {
		if err := l.core.Check(); err != nil {
			w.failf("%s: %s after %T: %v", l.p.machine.name, l.name, ev, err)
		}
	}
	for _, f := range effects {
		l.carry(f)
	}
}

// arm sets the timer for the core's deadline.
func (l *loop[E, F]) arm() {
	if l.ended {
		return
	}
	at, ok := l.core.Deadline()
	if !ok {
		return
	}
	l.timer++
	number := l.timer
	// A timer never fires early, and mostly a little late.
	l.p.after(l.p.machine.clock.until(at)+50*time.Microsecond, func() {
		if l.timer == number && !l.ended {
			l.turn()
		}
	})
}
