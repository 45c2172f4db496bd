package sim

import (
	"slices"
	"time"

	"clusterd/node/agent"
	"clusterd/node/mesos"
)

// container is the model of what isolate starts: it goes on when the daemon dies, and its record says
// how it ended.
type container struct {
	machine  *machine
	spec     agent.LaunchSpec
	life     containerLife
	exit     agent.Exit // of an ended one
	doomed   bool       // Destroy came while it was being made
	process  *process
	executor *executor
}

type containerLife int

const (
	making containerLife = iota
	alive
	ended
)

func (m *machine) container(id mesos.ContainerID) *container { return m.containers[string(id)] }

// launch makes a container. It takes its time.
func (s *agentShell) launch(spec agent.LaunchSpec) {
	m, w := s.p.machine, s.p.machine.w
	if m.container(spec.ID) != nil {
		w.failf("%s: container %s is launched twice", m.name, spec.ID)
	}
	c := &container{machine: m, spec: spec}
	m.containers[string(spec.ID)] = c
	m.launched = append(m.launched, c)
	fails := !w.calm && w.chance(w.plan.launchFailures)
	s.p.after(w.between(5*time.Millisecond, 300*time.Millisecond), func() {
		switch {
		case m.container(spec.ID) != c:
		case c.doomed && w.chance(500), fails:
			m.removeContainer(c)
			s.loop.post(agent.LaunchFailed{ID: spec.ID, Message: "it could not be made"})
		default:
			c.begin()
			s.loop.post(agent.ContainerLaunched{ID: spec.ID, Pid: pidOf(c)})
			if c.doomed {
				s.p.after(w.between(0, 20*time.Millisecond), func() { c.die(9) })
			}
		}
	})
}

// pidOf is a number that stays the same for a container.
func pidOf(c *container) int { return 100 + slices.Index(c.machine.launched, c) }

// begin runs the container's first process.
func (c *container) begin() {
	c.life = alive
	c.process = &process{machine: c.machine}
	c.executor = newExecutor(c)
	c.executor.subscribeIn(c.machine.w.between(10*time.Millisecond, 500*time.Millisecond))
}

// die ends what runs in the container. The daemon learns of it, now or when it is back.
func (c *container) die(status int) {
	if c.life != alive {
		return
	}
	m := c.machine
	c.life, c.exit = ended, agent.Exit{Status: status}
	m.w.logf(m.name, "container %s of %s ended with %#x", c.spec.ID[:8], c.spec.ExecutorID, status)
	c.executor.over()
	c.process.kill("its container ended")
	if p := m.process; p != nil && p.agent != nil {
		p.after(m.w.between(time.Millisecond, 50*time.Millisecond), func() {
			p.agent.loop.post(agent.ContainerExited{ID: c.spec.ID, Exit: c.exit})
		})
	}
}

// destroy ends a container for the agent.
func (s *agentShell) destroy(id mesos.ContainerID) {
	w := s.p.machine.w
	c := s.p.machine.container(id)
	switch {
	case c == nil:
		s.loop.post(agent.ContainerExited{ID: id, Exit: agent.Exit{Status: -1, Message: "unknown container"}})
	case c.life == making:
		c.doomed = true
	case c.life == alive:
		s.p.after(w.between(time.Millisecond, 100*time.Millisecond), func() { c.die(9) })
	}
}

// forget drops the record of an ended container.
func (s *agentShell) forget(id mesos.ContainerID) {
	m := s.p.machine
	c := m.container(id)
	switch {
	case c == nil:
	case c.life == alive:
		m.w.failf("%s: container %s is forgotten alive", m.name, id)
	default:
		m.removeContainer(c)
	}
}

func (m *machine) removeContainer(c *container) {
	delete(m.containers, string(c.spec.ID))
	m.launched = slices.DeleteFunc(m.launched, func(o *container) bool { return o == c })
}

// found is what the runtime knows when the daemon starts.
func (m *machine) found() map[mesos.ContainerID]agent.ContainerState {
	states := make(map[mesos.ContainerID]agent.ContainerState)
	for _, c := range m.launched {
		switch c.life {
		case alive:
			states[c.spec.ID] = agent.ContainerState{Pid: pidOf(c)}
		case ended:
			states[c.spec.ID] = agent.ContainerState{Exit: &c.exit}
		}
	}
	return states
}

// daemonDied leaves a container that was being made in one of the states that a crash can leave it in.
func (m *machine) daemonDied() {
	for _, c := range slices.Clone(m.launched) {
		if c.life != making {
			continue
		}
		switch m.w.rng.IntN(3) {
		case 0:
			m.removeContainer(c)
		case 1:
			c.life, c.exit = ended, agent.Exit{Status: -1}
		default:
			c.begin()
		}
	}
}

// containersLost ends everything on a machine without power. Of some containers there is a record left.
func (m *machine) containersLost() {
	for _, c := range slices.Clone(m.launched) {
		if c.life == alive {
			c.executor.over()
			c.process.dead = true
			m.w.net.endsOf(c.process, (*end).abandon)
			c.life, c.exit = ended, agent.Exit{Status: -1}
		}
		if m.w.chance(500) {
			m.removeContainer(c)
		}
	}
}
