// Command measure prints how fast and how big clusterd is on this machine, beside what libcontainer
// alone does in the same run. It measures from outside: a real clusterd dev, driven through the v1
// scheduler API, with real containers; and how long a cluster of three real nodes is without a leading
// master when it loses one.
//
//	scripts/bench                       # all figures
//	scripts/bench starts latency        # some of them
//	scripts/bench -o json memory
//
// Other work on the machine changes every figure. So clusterd and the reference take turns, medians
// are compared, the load of the machine is printed, and cpu time is measured beside elapsed time.
//
// For the reference the program re-executes itself as the init of containers. What its packages
// initialize counts against the reference, so they are few.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// settings are the command line.
type settings struct {
	binary      string
	tasks       int // in each round of starts
	rounds      int
	atOnce      int // starts of the reference at the same time
	samples     int // of latency
	memoryTasks int
	failovers   int // leaders ended with -9
	handovers   int // and with SIGTERM
	idle        time.Duration
	timeout     time.Duration
	quick       bool
	output      string
	figures     []string
	named       bool // the figures are those that were asked for, not simply all
}

// The figures in the order in which they are measured. Memory is first: nothing has grown yet.
var measurements = []struct {
	name    string
	measure func(context.Context, *bench) error
}{
	{"memory", measureMemory},
	{"starts", measureStarts},
	{"latency", measureLatency},
	{"shares", measureShares},
	{"failover", measureFailover},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	var usage usageError
	switch {
	case err == nil, errors.Is(err, pflag.ErrHelp):
		return
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(2)
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "measure: interrupted:", err)
		os.Exit(130)
	}
	fmt.Fprintln(os.Stderr, "measure:", err)
	os.Exit(1)
}

type usageError struct{ error }

func parse(args []string, usage io.Writer) (*settings, error) {
	s := &settings{}
	fs := pflag.NewFlagSet("measure", pflag.ContinueOnError)
	fs.SetOutput(usage)
	fs.StringVar(&s.binary, "binary", "./clusterd", "the clusterd to measure")
	fs.IntVarP(&s.tasks, "tasks", "n", 300, "starts: containers in each round")
	fs.IntVar(&s.rounds, "rounds", 3, "starts: rounds, the median counts")
	fs.IntVar(&s.atOnce, "at-once", 4, "starts: containers that the reference starts at the same time")
	fs.IntVar(&s.samples, "samples", 100, "latency: tasks started one after the other")
	fs.IntVar(&s.memoryTasks, "memory-tasks", 20, "memory: tasks whose shims are measured")
	fs.IntVar(&s.failovers, "failovers", 30, "failover: leading masters killed with -9")
	fs.IntVar(&s.handovers, "handovers", 10, "failover: leading masters ended with SIGTERM")
	fs.DurationVar(&s.idle, "idle", 10*time.Second, "memory: time before an idle clusterd is measured")
	fs.DurationVar(&s.timeout, "timeout", 15*time.Minute, "end with an error after this time")
	fs.BoolVar(&s.quick, "quick", false, "few samples: shows that it works, not how fast; containers are real all the same")
	fs.StringVarP(&s.output, "output", "o", "table", "table or json")
	fs.Usage = func() {
		fmt.Fprintf(usage, "usage: scripts/bench [flags] [%s]\n\n%s", strings.Join(names(), "] ["), fs.FlagUsages())
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil, err
		}
		return nil, usageError{err}
	}
	s.figures, s.named = fs.Args(), fs.NArg() > 0
	if !s.named {
		s.figures = names()
	}
	if s.quick {
		for name, n := range map[string]string{"tasks": "40", "rounds": "1", "samples": "10", "memory-tasks": "5", "idle": "3s", "failovers": "3", "handovers": "2"} {
			if !fs.Changed(name) {
				if err := fs.Set(name, n); err != nil {
					return nil, err
				}
			}
		}
	}
	return s, s.validate()
}

func (s *settings) validate() error {
	for _, f := range s.figures {
		if !slices.Contains(names(), f) {
			return usageError{fmt.Errorf("figure %q is not one of %s", f, strings.Join(names(), ", "))}
		}
	}
	for flag, n := range map[string]int{"tasks": s.tasks, "rounds": s.rounds, "at-once": s.atOnce, "samples": s.samples, "memory-tasks": s.memoryTasks,
		"failovers": s.failovers, "handovers": s.handovers} {
		if n < 1 {
			return usageError{fmt.Errorf("--%s: %d is less than 1", flag, n)}
		}
	}
	if s.tasks > maxTasks || s.memoryTasks > maxTasks {
		return usageError{fmt.Errorf("--tasks and --memory-tasks: more than %d", maxTasks)}
	}
	if s.idle < 0 || s.timeout <= 0 {
		return usageError{errors.New("--idle and --timeout: want a positive time")}
	}
	if s.output != "table" && s.output != "json" {
		return usageError{fmt.Errorf("--output: %q is not one of table, json", s.output)}
	}
	return nil
}

func names() []string {
	all := make([]string, 0, len(measurements))
	for _, m := range measurements {
		all = append(all, m.name)
	}
	return all
}

// bench is one run: what is measured with, and what was found.
type bench struct {
	*settings
	progress    io.Writer
	reference   *reference // nil: there is none
	noReference string     // why not
	report      report
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.progress, format+"\n", args...) }

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	s, err := parse(args, progress)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("not done after %v (--timeout)", s.timeout))
	defer cancel()
	if _, err := os.Stat(s.binary); err != nil {
		return fmt.Errorf("clusterd to measure: %w", err)
	}
	b := &bench{settings: s, progress: progress}
	b.report = report{Date: time.Now().UTC().Truncate(time.Second), Machine: thisMachine(), LoadBefore: loadAverage()}
	if b.report.Version, err = version(ctx, s.binary); err != nil {
		return err
	}
	if err := b.measure(ctx); err != nil {
		return err
	}
	b.report.LoadAfter = loadAverage()
	if s.output == "json" {
		return b.report.writeJSON(out)
	}
	return b.report.writeTable(out)
}

// measure takes the figures that were asked for.
func (b *bench) measure(ctx context.Context) (err error) {
	var missing *noReferenceError
	b.reference, err = newReference(b.atOnce)
	switch {
	case errors.As(err, &missing):
		b.reference, b.noReference = nil, err.Error()
	case err != nil:
		return fmt.Errorf("reference: %w", err)
	default:
		defer func() { err = errors.Join(err, b.reference.close()) }()
	}
	for _, m := range measurements {
		if !slices.Contains(b.figures, m.name) {
			continue
		}
		if err := m.measure(ctx, b); err != nil {
			if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
				err = fmt.Errorf("%w: %w", cause, err)
			}
			return fmt.Errorf("measure %s: %w", m.name, err)
		}
	}
	return nil
}

// against says what the reference is, or why there is none.
func (b *bench) against(what string) string {
	if b.reference == nil {
		return "none: " + b.noReference
	}
	return what
}
