package main

import (
	"context"
	"fmt"
	"time"
)

// rest comes before each sample of either side. Without it a start profits from the one before:
// the first process that moves to another cgroup waits for the kernel's RCU grace period, those that
// follow at once do not.
const rest = 100 * time.Millisecond

// measureLatency starts tasks one after the other on an idle daemon: from before the ACCEPT is sent
// until TASK_RUNNING is here. The reference takes turns with it; everything is ended before the next
// sample.
func measureLatency(ctx context.Context, b *bench) error {
	var ours, toStarting, theirs []float64
	err := b.withFramework(ctx, func(d *daemon, f *framework) error {
		for i := range b.samples {
			if b.reference != nil {
				if err := wait(ctx, d, rest); err != nil {
					return err
				}
				took, err := b.reference.start(ctx, 1)
				if err != nil {
					return fmt.Errorf("reference: %w", err)
				}
				theirs = append(theirs, milliseconds(took))
			}
			one, err := runSingle(ctx, f, d, i)
			if err != nil {
				return err
			}
			ours = append(ours, milliseconds(one.running.Sub(one.accepted)))
			toStarting = append(toStarting, milliseconds(one.starting.Sub(one.accepted)))
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.addLatency(ours, toStarting, theirs)
	b.say("latency: p50 %s ms", number(percentile(ours, 50)))
	return nil
}

// runSingle starts one task after a rest, and ends it.
func runSingle(ctx context.Context, f *framework, d *daemon, i int) (*batch, error) {
	o, err := f.only(ctx, taskCPUs)
	if err != nil {
		return nil, err
	}
	if err := wait(ctx, d, rest); err != nil {
		return nil, err
	}
	one, err := acceptBatch(ctx, f, o, fmt.Sprintf("one-%d", i), 1, running, sleepArgv)
	if err != nil {
		return nil, err
	}
	return one, one.end(ctx, f, d)
}

func (b *bench) addLatency(ours, toStarting, theirs []float64) {
	p := func(samples []float64, rank float64) *float64 {
		if len(samples) == 0 {
			return nil
		}
		v := percentile(samples, rank)
		return &v
	}
	b.report.add(figure{
		Name: "ACCEPT to TASK_RUNNING of one task, p50", Value: percentile(ours, 50), Unit: "ms",
		Reference: p(theirs, 50), Against: b.against("start with libcontainer alone, p50"), Goal: atMost("ratio", 2.5), Samples: len(ours),
		Note: fmt.Sprintf("to TASK_STARTING p50 %s ms", number(percentile(toStarting, 50))),
	})
	b.report.add(figure{
		Name: "ACCEPT to TASK_RUNNING of one task, p99", Value: percentile(ours, 99), Unit: "ms",
		Reference: p(theirs, 99), Against: b.against("start with libcontainer alone, p99"), Samples: len(ours),
	})
}
