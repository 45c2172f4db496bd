package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"
)

const (
	failoverNodes = 3
	tasksPerNode  = 2
	// subscribeTime bounds one try to subscribe while there may be no leader, and agentsTime how long
	// everything may take to be as it was before.
	subscribeTime = 2 * time.Second
	agentsTime    = time.Minute
)

// measureFailover ends the leading master of three real nodes again and again, first with -9, then with
// SIGTERM, while a framework has tasks on all of them (CLU-34). The framework finds the next leader by
// itself. After each failover the ended node starts again, and all tasks must still run.
func measureFailover(ctx context.Context, b *bench) (err error) {
	if os.Geteuid() != 0 {
		if b.named {
			return errors.New("network namespaces need root")
		}
		b.say("failover: left out, it needs root for network namespaces")
		return nil
	}
	n, err := startNodes(ctx, b.binary, failoverNodes, b.progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	s, err := newSurvivor(ctx, n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.framework.close()) }()
	for i := range b.failovers {
		if err := s.failover(ctx, syscall.SIGKILL, &s.killed); err != nil {
			return fmt.Errorf("kill -9, round %d: %w", i+1, err)
		}
		b.say("failover, kill -9 %d of %d: SUBSCRIBED after %s ms, first offer %s ms, agents back %s ms", i+1, b.failovers,
			number(s.killed.subscribed[i]), number(s.killed.offered[i]), number(s.killed.agents[i]))
	}
	for i := range b.handovers {
		if err := s.failover(ctx, syscall.SIGTERM, &s.termed); err != nil {
			return fmt.Errorf("SIGTERM, round %d: %w", i+1, err)
		}
		b.say("failover, SIGTERM %d of %d: %s ms without a leader", i+1, b.handovers, number(s.termed.leaderless[i]))
	}
	b.addFailovers(s)
	return nil
}

// survivor is a framework that outlives leading masters, with its tasks.
type survivor struct {
	nodes     *nodes
	framework *framework
	info      frameworkInfo
	http      *http.Client
	tasks     map[string]string // to the newest state
	agents    map[string]id     // of each task

	killed, termed failovers
	unplanned      int // changes of the leader that nobody asked for
}

// failovers are samples in milliseconds, an element for each round: from the signal, but leaderless,
// which counts from the end of the stream to the old leader.
type failovers struct {
	subscribed, offered, agents, leaderless []float64
}

// newSurvivor subscribes and starts tasks on every node.
func newSurvivor(ctx context.Context, n *nodes) (*survivor, error) {
	s := &survivor{
		nodes: n, tasks: make(map[string]string), agents: make(map[string]id),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: ackers + 2, ResponseHeaderTimeout: subscribeTime}},
		info: frameworkInfo{
			User: "root", Name: "measure-failover", Roles: []string{"failover"}, Capabilities: []capability{{Type: "MULTI_ROLE"}, {Type: "PARTITION_AWARE"}},
			Checkpoint: true, FailoverTimeout: time.Hour.Seconds(),
		},
	}
	if err := s.subscribe(ctx); err != nil {
		return nil, err
	}
	if err := s.spread(ctx); err != nil {
		return nil, errors.Join(err, s.framework.close())
	}
	return s, nil
}

// subscribe tries one node after the other until a leading master accepts.
func (s *survivor) subscribe(ctx context.Context) error {
	within, cancel := context.WithTimeoutCause(ctx, agentsTime, fmt.Errorf("no leading master for %v", agentsTime))
	defer cancel()
	var last error
	err := poll(within, func() (bool, error) {
		for _, m := range s.nodes.masters() {
			var f *framework
			if f, last = subscribeAs(ctx, s.http, m, s.info); last == nil {
				s.framework, s.info.ID = f, f.id
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// steadily does something that needs one leading master from its beginning to its end, and again if that
// changes meanwhile: on a machine that is too busy, a leader may lose its quorum for a moment.
func (s *survivor) steadily(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || ctx.Err() != nil {
			return err
		}
		within, cancel := context.WithTimeout(ctx, time.Second) // a call may fail before the stream does
		_, still := s.framework.over(within)
		cancel()
		if still != nil {
			return err
		}
		s.unplanned++
		s.framework.abandon()
		if err := s.subscribe(ctx); err != nil {
			return err
		}
	}
}

// spread launches tasks on each node once.
func (s *survivor) spread(ctx context.Context) error {
	used := make(map[string]bool)
	for len(used) < s.nodes.count {
		ev, err := s.next(ctx)
		if err != nil {
			return fmt.Errorf("tasks on %d of %d nodes: %w", len(used), s.nodes.count, err)
		}
		for _, o := range ev.Offers.Offers {
			if used[o.AgentID.Value] {
				if err := s.framework.decline(o.ID); err != nil {
					return err
				}
				continue
			}
			used[o.AgentID.Value] = true
			all := tasks(&o, fmt.Sprintf("on-%d", len(used)), tasksPerNode, taskCPUs, "/bin/sleep", "1000000")
			for _, t := range all {
				s.tasks[t.TaskID.Value], s.agents[t.TaskID.Value] = staging, t.AgentID
			}
			if err := s.framework.accept(&o, all); err != nil {
				return err
			}
		}
	}
	return s.settle(ctx)
}

// next waits for an event and notes the state of a task. An update that says less than what is known, such
// as the answer to a reconciliation that crosses it, changes nothing that counts here.
func (s *survivor) next(ctx context.Context) (event, error) {
	ev, err := s.framework.next(ctx)
	if err == nil && ev.Type == "UPDATE" {
		st := ev.Update.Status
		if old, ok := s.tasks[st.TaskID.Value]; ok && !terminal(old) {
			s.tasks[st.TaskID.Value] = st.State
		}
	}
	return ev, err
}

// settle waits until no task is on its way to run.
func (s *survivor) settle(ctx context.Context) error {
	for {
		waiting := 0
		for _, state := range s.tasks {
			if state == staging || state == starting {
				waiting++
			}
		}
		if waiting == 0 {
			return nil
		}
		if _, err := s.next(ctx); err != nil {
			return fmt.Errorf("%d of %d tasks do not run: %w", waiting, len(s.tasks), err)
		}
	}
}

// failover ends the leader's process and notes when all is as it was.
func (s *survivor) failover(ctx context.Context, sig syscall.Signal, samples *failovers) error {
	leader, err := s.nodes.at(s.framework.master())
	if err != nil {
		return err
	}
	old := s.framework
	at := time.Now()
	ended, err := s.nodes.signal(leader, sig)
	if err != nil {
		return err
	}
	cut, err := old.over(ctx)
	if err != nil {
		return fmt.Errorf("node %d got signal %v, and still leads: %w", leader, sig, err)
	}
	old.abandon()
	if err := s.subscribe(ctx); err != nil {
		return err
	}
	subscribed := s.framework.subscribed
	var offered, agents time.Time
	err = s.steadily(ctx, func() error {
		offered, agents, err = s.recovered(ctx)
		return err
	})
	if err != nil {
		return err
	}
	samples.subscribed = append(samples.subscribed, milliseconds(subscribed.Sub(at)))
	samples.offered = append(samples.offered, milliseconds(offered.Sub(at)))
	samples.agents = append(samples.agents, milliseconds(agents.Sub(at)))
	samples.leaderless = append(samples.leaderless, milliseconds(subscribed.Sub(cut)))
	if err := ended(ctx); err != nil {
		return err
	}
	if err := s.nodes.start(ctx); err != nil {
		return err
	}
	return s.steadily(ctx, func() error { return s.reconcile(ctx) })
}

// recovered says when the first offer came from a new leader, and when all agents were back but that of the
// node that has ended.
func (s *survivor) recovered(ctx context.Context) (offered, agents time.Time, err error) {
	back := make(chan error, 1)
	go func() {
		err := s.framework.awaitAgents(ctx, s.nodes.count-1)
		agents = time.Now()
		back <- err
	}()
	offered, err = s.firstOffer(ctx)
	return offered, agents, errors.Join(err, <-back)
}

// firstOffer declines it, and so all that follow: nothing more is to be launched.
func (s *survivor) firstOffer(ctx context.Context) (time.Time, error) {
	for {
		ev, err := s.next(ctx)
		if err != nil {
			return time.Time{}, fmt.Errorf("wait for an offer: %w", err)
		}
		if len(ev.Offers.Offers) == 0 {
			continue
		}
		for _, o := range ev.Offers.Offers {
			if err := s.framework.decline(o.ID); err != nil {
				return time.Time{}, err
			}
		}
		return ev.at, nil
	}
}

// reconcile has the leader tell the state of each task when all agents are back.
func (s *survivor) reconcile(ctx context.Context) error {
	if err := s.framework.awaitAgents(ctx, s.nodes.count); err != nil {
		return err
	}
	var asked []reconcileTask
	for _, name := range s.names() {
		if !terminal(s.tasks[name]) {
			s.tasks[name] = staging // until it is heard of
			asked = append(asked, reconcileTask{TaskID: id{name}, AgentID: s.agents[name]})
		}
	}
	if err := s.framework.call(&call{Type: "RECONCILE", Reconcile: &reconcileCall{Tasks: asked}}); err != nil {
		return err
	}
	return s.settle(ctx)
}

func (s *survivor) names() []string {
	names := make([]string, 0, len(s.tasks))
	for name := range s.tasks {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// lost counts the tasks that do not run any more: nobody has ended them.
func (s *survivor) lost() int {
	lost := 0
	for _, state := range s.tasks {
		if state != running {
			lost++
		}
	}
	return lost
}

func (b *bench) addFailovers(s *survivor) {
	add := func(name string, samples []float64, goal *goal, note string) {
		b.report.add(figure{Name: name + ", median", Value: median(samples), Unit: "ms", Goal: goal, Samples: len(samples), Note: note + "rounds: " + list(samples)})
		b.report.add(figure{Name: name + ", worst", Value: slices.Max(samples), Unit: "ms", Samples: len(samples)})
	}
	ms := func(d time.Duration) *goal { return atMost("value", milliseconds(d)) }
	add("leader killed with -9 to SUBSCRIBED at the next", s.killed.subscribed, ms(2*time.Second), fmt.Sprintf("%d nodes; ", s.nodes.count))
	add("leader killed with -9 to all other agents back", s.killed.agents, ms(3*time.Second), "")
	add("leader killed with -9 to the first offer", s.killed.offered, ms(5*time.Second), "")
	add("SIGTERM of the leader, time without one", s.termed.leaderless, ms(500*time.Millisecond), fmt.Sprintf("from the end of the framework's stream to SUBSCRIBED at the next (from the signal: %s ms); ", number(median(s.termed.subscribed))))
	rounds := len(s.killed.subscribed) + len(s.termed.subscribed)
	b.report.add(figure{
		Name: "tasks lost", Value: float64(s.lost()), Goal: atMost("value", 0), Samples: len(s.tasks) * rounds,
		Note: fmt.Sprintf("%d tasks, %d on each node, in each of %d failovers; leader changed %d times by itself", len(s.tasks), tasksPerNode, rounds, s.unplanned),
	})
}
