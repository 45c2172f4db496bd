package isolate

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// noProcess is the root of no tree: only a group is meant.
const noProcess = -1

// descendants returns the living processes below root (without it) and those
// of process group or session group (0: none), parents before children.
func descendants(table []process, root, group int) []process {
	children := make(map[int][]process, len(table))
	for _, p := range table {
		children[p.ppid] = append(children[p.ppid], p)
	}
	var out []process
	seen := map[int]bool{root: true}
	queue := []int{root}
	if group != 0 {
		for _, p := range table {
			if (p.pgid == group || p.sid == group) && !seen[p.pid] {
				seen[p.pid] = true
				queue = append(queue, p.pid)
				if !p.zombie {
					out = append(out, p)
				}
			}
		}
	}
	for len(queue) > 0 {
		pid := queue[0]
		queue = queue[1:]
		for _, c := range children[pid] {
			if seen[c.pid] {
				continue
			}
			seen[c.pid] = true
			queue = append(queue, c.pid)
			if !c.zombie {
				out = append(out, c)
			}
		}
	}
	return out
}

// signalTree sends sig once to each process below root and in group, as far as
// one reading of the process table sees them: children that a process starts
// while it handles the signal (a trap's clean-up command) are left alone.
// Processes in except are left out.
func signalTree(root, group int, sig syscall.Signal, except ...int) error {
	table, err := processTable()
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range descendants(table, root, group) {
		if slices.Contains(except, p.pid) {
			continue
		}
		if err := syscall.Kill(p.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("signal %d to process %d: %w", sig, p.pid, err))
		}
	}
	return errors.Join(errs...)
}

// emptyReadings is how often in a row the process table must show nothing: a
// reading takes a while, and a child whose parent ends meanwhile is for that
// one reading nobody's.
const emptyReadings = 3

// killTree stops and kills everything below root and in group until nothing is
// left, so that a fork bomb cannot outrun it, or until the deadline.
func killTree(root, group int, deadline time.Time) error {
	pause := time.Millisecond
	for empty := 0; ; {
		table, err := processTable()
		if err != nil {
			return err
		}
		left := descendants(table, root, group)
		if len(left) == 0 {
			if empty++; empty == emptyReadings {
				return nil
			}
			continue
		}
		empty = 0
		if time.Now().After(deadline) {
			return fmt.Errorf("kill process tree: %d processes are left, first is %d", len(left), left[0].pid)
		}
		for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
			for _, p := range left {
				if err := syscall.Kill(p.pid, sig); errors.Is(err, syscall.EPERM) {
					return fmt.Errorf("kill process %d: %w", p.pid, err)
				}
			}
		}
		time.Sleep(pause)
		pause = min(2*pause, 50*time.Millisecond)
	}
}
