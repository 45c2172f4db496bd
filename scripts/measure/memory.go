package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

const (
	megabyte = 1 << 20
	// settleTime is what shims get to give back what their start needed.
	settleTime = 4 * time.Second
)

// measureMemory looks at the file, at an idle daemon and at what each task costs beside itself.
func measureMemory(ctx context.Context, b *bench) error {
	file, err := os.Stat(b.binary)
	if err != nil {
		return err
	}
	b.report.add(figure{Name: "size of the binary", Value: float64(file.Size()) / megabyte, Unit: "MB", Goal: atMost("value", 45), Samples: 1})
	if _, err := readProcess(os.Getpid()); err != nil {
		b.say("memory: only the size of the binary: %v", err)
		return nil
	}
	return b.withFramework(ctx, func(d *daemon, f *framework) error {
		// The framework is subscribed and idle: nothing but heartbeats.
		if err := wait(ctx, d, b.idle); err != nil {
			return err
		}
		idle, err := residentBytes(d.pid())
		if err != nil {
			return fmt.Errorf("idle daemon: %w", err)
		}
		b.report.add(figure{
			Name: "resident memory of an idle clusterd dev", Value: float64(idle) / megabyte, Unit: "MB", Goal: atMost("value", 60), Samples: 1,
			Note: fmt.Sprintf("master, agent, raft and dashboard, %v after its start, one framework subscribed", b.idle),
		})
		sleepers, err := runBatch(ctx, f, "memory", b.memoryTasks, running, sleepArgv)
		if err != nil {
			return err
		}
		if err := wait(ctx, d, settleTime); err != nil {
			return err
		}
		shims, inits, err := shimMemory(d, b.memoryTasks)
		if err != nil {
			return err
		}
		n := float64(b.memoryTasks)
		b.report.add(figure{
			Name: "memory beside each task (PSS)", Value: float64(shims+inits) / n / megabyte, Unit: "MB", Goal: atMost("value", 6), Samples: b.memoryTasks,
			Note: fmt.Sprintf("shim with the command executor %s MB, process 1 of the container %s MB; %d tasks, %v after their start",
				number(float64(shims)/n/megabyte), number(float64(inits)/n/megabyte), b.memoryTasks, settleTime),
		})
		b.say("memory: %s MB beside each task", number(float64(shims+inits)/n/megabyte))
		return sleepers.end(ctx, f, d)
	})
}

// wait lets time pass.
func wait(ctx context.Context, d *daemon, t time.Duration) error {
	select {
	case <-time.After(t):
		return nil
	case <-d.ended:
		return fmt.Errorf("clusterd dev ended: %w", d.result())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// shimMemory adds up the memory of all shims and of the first processes in their containers.
func shimMemory(d *daemon, want int) (shims, inits int64, err error) {
	found, err := shimsOf(d.pid())
	if err != nil {
		return 0, 0, err
	}
	if len(found) != want {
		return 0, 0, fmt.Errorf("%d shims for %d tasks", len(found), want)
	}
	pids := make([]int, 0, len(found))
	for _, s := range found {
		pids = append(pids, s.pid)
		bytes, err := proportionalBytes(s.pid)
		if err != nil {
			return 0, 0, fmt.Errorf("memory of shim %d: %w", s.pid, err)
		}
		shims += bytes
	}
	children, err := childrenOf(append(pids, d.pid())...)
	if err != nil {
		return 0, 0, err
	}
	for _, c := range children {
		if c.name != initName {
			continue // a shim, or a task that is a plain process
		}
		bytes, err := proportionalBytes(c.pid)
		if err != nil {
			return 0, 0, fmt.Errorf("memory of container init %d: %w", c.pid, err)
		}
		inits += bytes
	}
	return shims, inits, nil
}
