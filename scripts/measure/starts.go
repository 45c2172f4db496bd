package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The programs that tasks and the reference's containers run, without a shell around them.
var (
	sleepArgv = []string{"/bin/sleep", "1000"}
	trueArgv  = []string{"/bin/true"}
)

// batch is a number of tasks launched with one ACCEPT.
type batch struct {
	tasks    []taskInfo
	accepted time.Time // before the ACCEPT is sent
	starting time.Time // last TASK_STARTING is here
	running  time.Time // last TASK_RUNNING
	finished time.Time // last TASK_FINISHED
}

// runBatch launches n tasks on one offer and waits until each has reached the state wanted.
func runBatch(ctx context.Context, f *framework, prefix string, n int, wanted string, argv []string) (*batch, error) {
	o, err := f.only(ctx, float64(n)*taskCPUs)
	if err != nil {
		return nil, err
	}
	return acceptBatch(ctx, f, o, prefix, n, wanted, argv)
}

// acceptBatch starts the clock.
func acceptBatch(ctx context.Context, f *framework, o *offer, prefix string, n int, wanted string, argv []string) (*batch, error) {
	b := &batch{tasks: tasks(o, prefix, n, taskCPUs, argv...), accepted: time.Now()}
	if err := f.accept(o, b.tasks); err != nil {
		return nil, err
	}
	return b, b.await(ctx, f, wanted)
}

// await follows the updates until all tasks are in the state wanted. Any other end is an error.
func (b *batch) await(ctx context.Context, f *framework, wanted string) error {
	reached := make(map[string]map[string]bool)
	for len(reached[wanted]) < len(b.tasks) {
		ev, err := f.next(ctx)
		if err != nil {
			return fmt.Errorf("%d of %d tasks are %s: %w", len(reached[wanted]), len(b.tasks), wanted, err)
		}
		if ev.Type != "UPDATE" {
			continue
		}
		s := ev.Update.Status
		switch s.State {
		case starting:
			b.starting = ev.at
		case running:
			b.running = ev.at
		case finished:
			b.finished = ev.at
		}
		if terminal(s.State) && s.State != wanted {
			return fmt.Errorf("task %s is %s: %s: %s", s.TaskID.Value, s.State, s.Reason, s.Message)
		}
		if reached[s.State] == nil {
			reached[s.State] = make(map[string]bool)
		}
		reached[s.State][s.TaskID.Value] = true
	}
	return nil
}

// end kills the tasks and waits until nothing is left of them.
func (b *batch) end(ctx context.Context, f *framework, d *daemon) error {
	for _, t := range b.tasks {
		if err := f.kill(t); err != nil {
			return err
		}
	}
	if err := b.await(ctx, f, killed); err != nil {
		return fmt.Errorf("end tasks: %w", err)
	}
	return d.quiet(ctx)
}

// withFramework runs measure with a fresh daemon and one framework on it.
func (b *bench) withFramework(ctx context.Context, measure func(*daemon, *framework) error) (err error) {
	d, err := startDaemon(ctx, b.binary, b.progress, "--resources", "cpus:1000;mem:1000000;disk:1000000")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	f, err := subscribe(ctx, d.master, "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	return measure(d, f)
}

// startRounds are the samples of measureStarts, one element for each round.
type startRounds struct {
	starts, ends, cpu, daemonCPU []float64
	refStarts, refEnds, refCPU   []float64
	running                      []float64
	isolation                    string
}

// measureStarts lets clusterd and the reference take turns at two jobs: start n containers that stay
// (sleep), and run n that end at once (true).
func measureStarts(ctx context.Context, b *bench) error {
	rounds := &startRounds{}
	err := b.withFramework(ctx, func(d *daemon, f *framework) error {
		rounds.isolation = d.isolation
		if _, err := runBatch(ctx, f, "warm", 1, finished, trueArgv); err != nil {
			return err
		}
		for i := range b.rounds {
			if err := b.startRound(ctx, i, d, f, rounds); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.addStarts(rounds)
	return nil
}

func (b *bench) startRound(ctx context.Context, i int, d *daemon, f *framework, r *startRounds) error {
	if b.reference != nil {
		took, err := b.reference.start(ctx, b.tasks)
		if err != nil {
			return fmt.Errorf("reference: %w", err)
		}
		r.refStarts = append(r.refStarts, perSecond(b.tasks, took))
	}
	sleepers, err := runBatch(ctx, f, fmt.Sprintf("sleep-%d", i), b.tasks, running, sleepArgv)
	if err != nil {
		return err
	}
	r.starts = append(r.starts, perSecond(b.tasks, sleepers.running.Sub(sleepers.accepted)))
	if err := sleepers.end(ctx, f, d); err != nil {
		return err
	}
	if b.reference != nil {
		took, cpu, err := b.reference.run(ctx, b.tasks)
		if err != nil {
			return fmt.Errorf("reference: %w", err)
		}
		r.refEnds = append(r.refEnds, perSecond(b.tasks, took))
		r.refCPU = append(r.refCPU, milliseconds(cpu)/float64(b.tasks))
	}
	before, err := readProcess(d.pid())
	if err != nil {
		return err
	}
	ended, err := runBatch(ctx, f, fmt.Sprintf("true-%d", i), b.tasks, finished, trueArgv)
	if err != nil {
		return err
	}
	if err := d.quiet(ctx); err != nil {
		return err
	}
	after, err := readProcess(d.pid())
	if err != nil {
		return err
	}
	r.running = append(r.running, perSecond(b.tasks, ended.running.Sub(ended.accepted)))
	r.ends = append(r.ends, perSecond(b.tasks, ended.finished.Sub(ended.accepted)))
	r.cpu = append(r.cpu, milliseconds(after.own-before.own+after.reaped-before.reaped)/float64(b.tasks))
	r.daemonCPU = append(r.daemonCPU, milliseconds(after.own-before.own)/float64(b.tasks))
	b.say("starts, round %d of %d: %s/s started, %s/s run to their end", i+1, b.rounds, number(r.starts[i]), number(r.ends[i]))
	return nil
}

// medianOf is the median of a reference's rounds, nil without any.
func medianOf(rounds []float64) *float64 {
	if len(rounds) == 0 {
		return nil
	}
	m := median(rounds)
	return &m
}

func roundsText(ours, theirs []float64) string {
	if len(theirs) == 0 {
		return "rounds: " + list(ours)
	}
	return fmt.Sprintf("rounds: %s, reference %s", list(ours), list(theirs))
}

func (b *bench) addStarts(r *startRounds) {
	alone := b.against(fmt.Sprintf("libcontainer alone, %d at a time", b.atOnce))
	samples := b.tasks * b.rounds
	b.report.add(figure{
		Name: "starts of sleep, first ACCEPT to last TASK_RUNNING", Value: median(r.starts), Unit: "/s",
		Reference: medianOf(r.refStarts), Against: alone + ", containers stay", Goal: atLeast("ratio", 0.7), Samples: samples,
		Note: fmt.Sprintf("%s; %d at once; isolation: %s", roundsText(r.starts, r.refStarts), b.tasks, r.isolation),
	})
	b.report.add(figure{
		Name: "runs of true, first ACCEPT to last TASK_FINISHED", Value: median(r.ends), Unit: "/s",
		Reference: medianOf(r.refEnds), Against: alone + ", to the end of all", Goal: atLeast("ratio", 0.7), Samples: samples,
		Note: fmt.Sprintf("%s; to last TASK_RUNNING %s/s", roundsText(r.ends, r.refEnds), number(median(r.running))),
	})
	b.report.add(figure{
		Name: "cpu time of a run of true", Value: median(r.cpu), Unit: "ms",
		Reference: medianOf(r.refCPU), Against: alone, Samples: samples,
		Note: fmt.Sprintf("%s; the daemon's own part %s ms", roundsText(r.cpu, r.refCPU), number(median(r.daemonCPU))),
	})
}
