package agent

import (
	"fmt"

	"clusterd/node/mesos"
)

// Check tests the invariants of the agent and returns the first that does not hold. Tests and
// simulations call it after every step; it changes nothing that can be seen.
func (a *Agent) Check() error {
	executors, connected := 0, 0
	for _, f := range a.frameworks {
		if len(f.executors) == 0 && len(f.strays) == 0 {
			return fmt.Errorf("framework %s is kept for nothing", f.id)
		}
		for _, e := range f.executors {
			executors++
			if e.connected {
				connected++
			}
			if err := a.checkExecutor(e); err != nil {
				return fmt.Errorf("executor %s of framework %s: %w", e.id, f.id, err)
			}
		}
		ids := map[mesos.TaskID]bool{}
		for t := range f.tasks() {
			if ids[t.id] && t.info != nil {
				return fmt.Errorf("task %s of framework %s is there twice", t.id, f.id)
			}
			ids[t.id] = true
			if a.drain != nil && t.e != nil && !f.terminating && !t.terminal() && !t.killing {
				return fmt.Errorf("task %s of framework %s is not being killed though the agent drains", t.id, f.id)
			}
			if err := checkTask(t); err != nil {
				return fmt.Errorf("task %s of framework %s: %w", t.id, f.id, err)
			}
		}
	}
	if executors != len(a.containers) || connected != len(a.streams) {
		return fmt.Errorf("%d executors, %d connected, but %d containers and %d streams are known", executors, connected, len(a.containers), len(a.streams))
	}
	seq := uint64(0)
	for _, w := range a.waiting {
		if w.seq <= seq || w.seq > a.seq {
			return fmt.Errorf("checkpoint %d waits after %d, last is %d", w.seq, seq, a.seq)
		}
		seq = w.seq
	}
	sought := a.garbage
	sought.sought = false
	if next := a.garbage.next(); !next.Equal(sought.next()) {
		return fmt.Errorf("the oldest sandbox is taken to be due at %v, it is at %v", next, sought.next())
	}
	return nil
}

func (a *Agent) checkExecutor(e *executor) error {
	switch {
	case a.containers[e.container] != e:
		return fmt.Errorf("container %s is not its own", e.container)
	case e.connected && a.streams[e.stream] != e:
		return fmt.Errorf("stream %d is not its own", e.stream)
	case e.connected && e.state == terminated:
		return fmt.Errorf("connected though terminated")
	case e.state == terminated && len(e.tasks) == 0:
		return fmt.Errorf("kept though complete")
	case e.state == running && !e.launching:
		return fmt.Errorf("running though never launched")
	case e.updating > e.generation, e.confirmed > e.generation && e.confirmed != settled:
		return fmt.Errorf("limits %d confirmed, %d under way of %d", e.confirmed, e.updating, e.generation)
	case e.launching && e.state != terminated && !e.command && !e.f.terminating && a.phase != loading && a.limits(e) != e.limits:
		return fmt.Errorf("limits are %+v instead of %+v", e.limits, a.limits(e))
	}
	for _, t := range e.tasks {
		if t.e != e || t.f != e.f {
			return fmt.Errorf("task %s is not its own", t.id)
		}
		if e.state == terminated && !t.terminal() {
			return fmt.Errorf("task %s lives on", t.id)
		}
	}
	return nil
}

func checkTask(t *task) error {
	s := &t.updates
	if t.terminal() && len(s.queue) == 0 && !t.f.terminating {
		return fmt.Errorf("kept though complete")
	}
	if !s.retry.IsZero() && (len(s.queue) == 0 || s.queue[0].acknowledging) {
		return fmt.Errorf("retry without an update to send")
	}
	seen := map[mesos.UUID]bool{}
	for i, u := range s.queue {
		switch {
		case seen[u.uuid]:
			return fmt.Errorf("update %s is queued twice", u.uuid)
		case i > 0 && u.number <= s.queue[i-1].number:
			return fmt.Errorf("updates out of order")
		case mesos.Terminal(u.status.GetState()) && i < len(s.queue)-1:
			return fmt.Errorf("an update follows the terminal one")
		case i > 0 && u.stored && !s.queue[i-1].stored:
			return fmt.Errorf("an update is stored before the one in front of it")
		case u.acknowledging && i > 0:
			return fmt.Errorf("an update is acknowledged before the one in front of it")
		}
		seen[u.uuid] = true
	}
	return nil
}
