package main

import (
	"context"
	"fmt"

	v1 "clusterd/node/mesos/v1"
)

// turns is how many samples clusterd and the reference take before the other's turn.
const turns = 10

// measureLatency starts tasks one after the other on an idle daemon: from before the ACCEPT is sent
// until TASK_RUNNING is here. Each task is ended before the next one starts.
func measureLatency(ctx context.Context, b *bench) error {
	var ours, starting, theirs []float64
	err := b.withFramework(ctx, func(d *daemon, f *framework) error {
		for i := range b.samples {
			if i%turns == 0 && b.reference != nil {
				for range min(turns, b.samples-i) {
					took, err := b.reference.start(ctx, 1)
					if err != nil {
						return fmt.Errorf("reference: %w", err)
					}
					theirs = append(theirs, milliseconds(took))
				}
			}
			one, err := runBatch(ctx, f, fmt.Sprintf("one-%d", i), 1, v1.TaskState_TASK_RUNNING, sleepArgv)
			if err != nil {
				return err
			}
			ours = append(ours, milliseconds(one.running.Sub(one.accepted)))
			starting = append(starting, milliseconds(one.starting.Sub(one.accepted)))
			if err := one.end(ctx, f, d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.addLatency(ours, starting, theirs)
	b.say("latency: p50 %s ms", number(percentile(ours, 50)))
	return nil
}

func (b *bench) addLatency(ours, starting, theirs []float64) {
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
		Note: fmt.Sprintf("to TASK_STARTING p50 %s ms", number(percentile(starting, 50))),
	})
	b.report.add(figure{
		Name: "ACCEPT to TASK_RUNNING of one task, p99", Value: percentile(ours, 99), Unit: "ms",
		Reference: p(theirs, 99), Against: b.against("start with libcontainer alone, p99"), Samples: len(ours),
	})
}
