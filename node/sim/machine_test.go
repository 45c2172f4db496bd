package sim

import (
	"fmt"
	"time"
)

// machine is a computer: a node of the cluster, or the host of a framework's scheduler.
type machine struct {
	w      *world
	number int
	name   string
	clock  clock

	powered bool
	boots   int
	pause   time.Duration // until when nothing runs
	backlog []func()      // what is to run then
	process *process      // its daemon, nil or dead when it does not run
	restart uint64        // number of the newest wish to start the daemon

	// Of a node: id is that of its present life in the cluster, which ends when its disk is lost.
	id         string
	node       *nodeDisk
	containers map[string]*container
	launched   []*container // in order of launch; ended and forgotten ones are taken out
}

// paused says whether the machine stands still, as a virtual machine does that is being moved.
func (m *machine) paused() bool { return m.w.now < m.pause }

// process is one run of a program: a node's daemon, an executor, a scheduler.
type process struct {
	machine *machine
	dead    bool

	// Parts of a node's daemon.
	peer  *peer
	lead  *leader
	agent *agentShell
	link  *link
	// Of a framework.
	scheduler *scheduler
}

// at has fn called at an instant, if the process lives then; later if its machine stands still then.
func (p *process) at(t time.Duration, fn func()) {
	p.machine.w.at(t, func() { p.run(fn) })
}

// run calls fn now, or when the machine goes on.
func (p *process) run(fn func()) {
	m := p.machine
	switch {
	case p.dead:
	case m.paused() || len(m.backlog) > 0:
		m.backlog = append(m.backlog, func() { p.run(fn) })
	default:
		fn()
	}
}

// stand lets a machine stand still.
func (m *machine) stand(d time.Duration) {
	m.w.logf(m.name, "stands still for %v", d)
	m.pause = max(m.pause, m.w.now+d)
	m.w.at(m.pause, m.goOn)
}

// goOn does what has piled up, in its order.
func (m *machine) goOn() {
	if m.paused() {
		return
	}
	backlog := m.backlog
	m.backlog = nil
	for _, fn := range backlog {
		fn()
	}
}

func (p *process) after(d time.Duration, fn func()) { p.at(p.machine.w.now+max(d, 0), fn) }

// start runs the daemon of a machine that has none.
func (m *machine) start() {
	if !m.powered || m.process != nil && !m.process.dead {
		return
	}
	m.w.logf(m.name, "starts")
	p := &process{machine: m}
	m.process = p
	p.begin()
}

// startIn has the daemon started after a while, as a supervisor does.
func (m *machine) startIn(d time.Duration) {
	m.restart++
	wish := m.restart
	m.w.after(d, func() {
		if m.restart == wish {
			m.start()
		}
	})
}

// kill ends a process at once (SIGKILL). The kernel closes its connections.
func (p *process) kill(why string) {
	if p.dead {
		return
	}
	p.machine.w.logf(p.machine.name, "dies: %s", why)
	p.die()
	p.machine.w.net.endsOf(p, func(e *end) { e.close("process ended") })
}

func (p *process) die() {
	p.dead = true
	if p == p.machine.process && p.machine.node != nil {
		p.machine.node.crash()
		p.machine.daemonDied()
	}
}

// powerOff ends everything on a machine without a word to anybody.
func (m *machine) powerOff() {
	if !m.powered {
		return
	}
	m.w.logf(m.name, "loses its power")
	m.powered = false
	if p := m.process; p != nil && !p.dead {
		p.die()
		m.w.net.endsOf(p, (*end).abandon)
	}
	m.containersLost()
}

// powerOn boots a machine; its daemon starts by itself.
func (m *machine) powerOn() {
	if m.powered {
		return
	}
	m.powered = true
	m.boots++
	m.startIn(m.w.between(time.Second, 3*time.Second))
}

func (m *machine) bootID() string { return fmt.Sprintf("%s-%d", m.name, m.boots) }
