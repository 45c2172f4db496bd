package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// errNotReached is the end of a run that did not come where -hold wants it.
var errNotReached = errors.New("not all agents were registered with all tasks running when -for was over")

// campaign is one run: the agents, the frameworks, and what came of them.
type campaign struct {
	*settings
	parts    int // processes
	herd     herd
	sessions []*session
	progress io.Writer
	watch    watch
	stop     context.CancelFunc // of the frameworks
	wg       sync.WaitGroup

	mu     sync.Mutex
	faults faults
}

// run simulates until the settings or ctx end it.
func run(ctx context.Context, s *settings, args []string, out, progress io.Writer) error {
	c, err := start(ctx, s, args, progress)
	if err != nil {
		return err
	}
	err = c.follow(ctx)
	final, ended := c.finish()
	return errors.Join(err, ended, final.write(out, s.output))
}

// start starts the agents and the frameworks. args are the command line, for other processes.
func start(ctx context.Context, s *settings, args []string, progress io.Writer) (*campaign, error) {
	parts, err := processCount(s)
	if err != nil {
		return nil, err
	}
	known, err := s.discover(ctx)
	if err != nil {
		return nil, err
	}
	task, err := s.task()
	if err != nil {
		return nil, err
	}
	c := &campaign{settings: s, parts: parts, progress: progress, faults: make(faults)}
	c.watch = watch{began: time.Now(), agents: int64(s.agents), want: int64(s.agents) * int64(s.tasksPerAgent), perAgent: int64(s.tasksPerAgent)}
	if parts == 1 {
		c.herd, err = recruit(s, known, 0, 1)
	} else {
		c.herd, err = startChildren(args, known, parts, progress)
	}
	if err != nil {
		return nil, err
	}
	ctx, c.stop = context.WithCancel(context.Background())
	for i, cfg := range s.schedulers(task, runID()) {
		one := newSession(newScheduler(cfg), rotated(known.Masters, i), s.media, c.fault)
		c.sessions = append(c.sessions, one)
		c.wg.Go(func() { one.run(ctx) })
	}
	return c, nil
}

// finish ends the frameworks and their tasks, then the agents. The summary is of the moment between.
func (c *campaign) finish() (summary, error) {
	err := c.teardown()
	c.stop()
	c.wg.Wait()
	final := c.summary()
	return final, errors.Join(err, c.end())
}

// runID is in the names of all tasks of a run.
func runID() string {
	return mesos.NewUUID(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))).String()[:8]
}

// discover finds out about the cluster.
func (s *settings) discover(ctx context.Context) (*cluster, error) {
	q := throughMaster(s.master)
	if s.dataDir != "" {
		q = throughSocket(s.dataDir)
	}
	known, err := q.look(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	if known.Token, err = s.secret(); err == nil && known.Token == "" && q.admin {
		known.Token, err = q.token(ctx)
	}
	return known, err
}

// schedulers are what the frameworks are made from. run is in the ids of their tasks.
func (s *settings) schedulers(task []*v1.Resource, run string) []schedulerConfig {
	if s.tasksPerAgent == 0 {
		return nil
	}
	roles := s.roleList()
	var all []schedulerConfig
	for i := range s.frameworks {
		share := s.tasksPerAgent*(i+1)/s.frameworks - s.tasksPerAgent*i/s.frameworks
		all = append(all, schedulerConfig{
			Name: fmt.Sprintf("fleet-%d", i), Role: roles[i%len(roles)], User: s.user, PerAgent: share, Task: task, AtOnce: s.atOnce / s.frameworks,
			Prefix: fmt.Sprintf("%s-%d-", run, i), StartDelay: s.script.StartDelay.most(),
		})
	}
	return all
}

// rotated is a list that begins at another place.
func rotated(list []string, by int) []string {
	by %= len(list)
	return append(list[by:len(list):len(list)], list[:by]...)
}

func (c *campaign) fault(kind string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults.add(kind, err)
}

// follow watches the run until it is over, and prints a line a second.
func (c *campaign) follow(ctx context.Context) error {
	tick := time.NewTicker(pictureEvery)
	defer tick.Stop()
	var over <-chan time.Time
	if c.most > 0 {
		over = time.After(c.most)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-over:
			if c.hold > 0 && c.watch.full.IsZero() {
				return errNotReached
			}
			return nil
		case err := <-c.herd.failure():
			return err
		case <-tick.C:
		}
		now := time.Now()
		if line := c.watch.look(now, c.herd.picture(), c.figures(), c.allFaults()); line != "" {
			fmt.Fprintln(c.progress, line)
		}
		if c.hold > 0 && !c.watch.full.IsZero() && now.Sub(c.watch.full) >= c.hold {
			return nil
		}
	}
}

// figures are those of all frameworks.
func (c *campaign) figures() figures {
	var sum figures
	for _, s := range c.sessions {
		sum = sum.plus(s.figures())
	}
	return sum
}

func (c *campaign) allFaults() faults {
	agents := c.herd.picture().Faults
	c.mu.Lock()
	defer c.mu.Unlock()
	return agents.plus(c.faults)
}

// teardown ends the frameworks, and their tasks with them.
func (c *campaign) teardown() error {
	ctx, cancel := context.WithTimeout(context.Background(), farewellTime)
	defer cancel()
	var errs []error
	for _, s := range c.sessions {
		errs = append(errs, s.teardown(ctx))
	}
	return errors.Join(errs...)
}

// end takes the agents away.
func (c *campaign) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), farewellTime)
	defer cancel()
	return c.herd.end(ctx, c.leave)
}
