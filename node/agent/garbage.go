package agent

import (
	"maps"
	"math"
	"path"
	"slices"
	"time"

	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

// garbage is the schedule by which sandboxes of ended executors are removed (EXE-189 to EXE-191).
type garbage struct {
	delay    time.Duration
	headroom float64
	// used is the part of the disk that was in use when last told.
	used float64
	// ended says when a directory came out of use, by the wall clock: some of the times come from disk.
	ended map[string]time.Time
	// oldest is the earliest of ended that is not being removed, if sought: looking through thousands of
	// ended sandboxes at every step would cost more than the step.
	oldest time.Time
	sought bool
	// removing are directories whose Collect is under way.
	removing          map[string]bool
	succeeded, failed float64
}

func newGarbage(cfg Config) garbage {
	return garbage{
		delay: cfg.GCDelay, headroom: cfg.GCDiskHeadroom,
		ended: map[string]time.Time{}, removing: map[string]bool{},
	}
}

func (g *garbage) restore(ended map[string]time.Time) {
	maps.Copy(g.ended, ended)
	g.sought = false
}

// allowedAge shrinks as the disk fills.
func (g *garbage) allowedAge() time.Duration {
	part := max(0, 1-g.headroom-g.used)
	return time.Duration(math.Round(part * float64(g.delay)))
}

// next is when the oldest directory is due.
func (g *garbage) next() time.Time {
	if !g.sought {
		g.sought, g.oldest = true, time.Time{}
		for p, ended := range g.ended {
			if !g.removing[p] && (g.oldest.IsZero() || ended.Before(g.oldest)) {
				g.oldest = ended
			}
		}
	}
	if g.oldest.IsZero() {
		return g.oldest
	}
	return g.oldest.Add(g.allowedAge())
}

// put schedules a directory that came out of use now. The wall clock may have been set back since others
// did.
func (g *garbage) put(dir string, now time.Time) {
	g.forget(dir)
	now = now.Round(0)
	g.ended[dir] = now
	if g.oldest.IsZero() || now.Before(g.oldest) {
		g.sought = false
	}
}

// forget takes a directory off the schedule.
func (g *garbage) forget(dir string) {
	if ended, ok := g.ended[dir]; ok && !ended.After(g.oldest) {
		g.sought = false
	}
	delete(g.ended, dir)
}

// remove notes that the removal of a scheduled directory is under way.
func (g *garbage) remove(dir string) {
	g.removing[dir] = true
	g.sought = false
}

// removed notes that it is not any more, whether the directory is gone or not.
func (g *garbage) removed(dir string) {
	delete(g.removing, dir)
	g.sought = false
}

// discard schedules the directories that an ended executor leaves without use.
func (a *Agent) discard(e *executor) {
	a.schedule(e.directory)
	executor := path.Dir(path.Dir(e.directory))
	a.schedule(executor)
	for _, other := range e.f.executors {
		if other.state != terminated {
			return
		}
	}
	a.schedule(path.Dir(path.Dir(executor)))
}

func (a *Agent) schedule(dir string) {
	a.garbage.put(dir, a.now)
	a.tx.set(keyCollect(dir), &wire.CollectRecord{Ended: proto.Int64(a.now.UnixNano())})
}

// reclaim takes the directories of a new executor off the schedule; those of its former runs stay.
func (a *Agent) reclaim(e *executor) {
	for _, dir := range []string{a.executorDirectory(e), a.frameworkDirectory(e.f)} {
		if _, ok := a.garbage.ended[dir]; ok && !a.garbage.removing[dir] {
			a.garbage.forget(dir)
			a.tx.remove(keyCollect(dir))
		}
	}
	if !e.f.durable() {
		// Nothing else will tell a restarted agent of this sandbox.
		a.tx.set(keyCollect(e.directory), &wire.CollectRecord{Ended: proto.Int64(a.now.UnixNano())})
	}
}

// collectDue removes what is old enough.
func (a *Agent) collectDue() {
	next := a.garbage.next()
	if next.IsZero() || next.After(a.now) || a.phase == loading || a.phase == ended {
		return
	}
	oldest := a.now.Add(-a.garbage.allowedAge())
	for _, dir := range slices.Sorted(maps.Keys(a.garbage.ended)) {
		if !a.garbage.ended[dir].After(oldest) && !a.garbage.removing[dir] {
			a.garbage.remove(dir)
			a.emit(Collect{Path: dir})
		}
	}
}

// collected is told how a removal went. A failed one is tried again after the usual delay.
func (a *Agent) collected(ev Collected) {
	if !a.garbage.removing[ev.Path] {
		return
	}
	a.garbage.removed(ev.Path)
	if ev.Err != "" {
		a.garbage.failed++
		a.schedule(ev.Path)
		a.emit(Log{Warn: true, Message: "removing a sandbox: " + ev.Err})
	} else {
		a.garbage.succeeded++
		a.garbage.forget(ev.Path)
		a.tx.remove(keyCollect(ev.Path))
	}
	for _, f := range a.frameworks {
		for _, e := range slices.Clone(f.executors) {
			if e.delayed {
				e.delayed = false
				a.launch(e)
			}
		}
	}
}

// sweeping says whether a directory above the executor's sandbox is being removed.
func (a *Agent) sweeping(e *executor) bool {
	return a.garbage.removing[a.executorDirectory(e)] || a.garbage.removing[a.frameworkDirectory(e.f)]
}
