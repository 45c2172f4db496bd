// Command primes counts the primes up to N on a clusterd (or Mesos) cluster. It is a complete
// framework in a few hundred lines that uses nothing but the public v1 HTTP API: a scheduler, and an
// executor that it brings with it (the same binary, downloaded by the agents' fetcher).
//
//	go run ./scripts/examples/primes -n 100000000
//
// The range is cut into tasks; each task's result comes back in the data of its last status update.
// Tasks that fail or get lost are run again. The scheduler survives the loss of the master, the
// executor that of the agent.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"os/user"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "executor" {
		if err := runExecutor(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "primes executor:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.master, "master", envOr("CLUSTERD_MASTER", "127.0.0.1:5050"), "`HOST:PORT` of a master")
	flag.Uint64Var(&o.n, "n", 100_000_000, "count the primes up to `N`")
	flag.IntVar(&o.tasks, "tasks", 40, "`NUMBER` of tasks to cut the work into")
	flag.StringVar(&o.role, "role", "*", "`ROLE` to register with")
	flag.StringVar(&o.serve, "serve", "127.0.0.1:0", "`ADDRESS` at which agents download the executor")
	flag.DurationVar(&o.slow, "slow", 0, "make every task last at least this long (for trying out failures)")
	flag.Parse()
	if err := o.check(); err != nil {
		fmt.Fprintln(os.Stderr, "primes:", err)
		os.Exit(2)
	}
	s := newScheduler(o, os.Stderr)
	began := time.Now()
	count, err := s.run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "primes:", err)
		os.Exit(1)
	}
	fmt.Printf("%d primes up to %d (%s, %d tasks, %d run again)\n", count, o.n, time.Since(began).Round(time.Millisecond), o.tasks, s.again)
	if want, ok := known[o.n]; ok {
		if count != want {
			fmt.Fprintf(os.Stderr, "primes: wrong: the count of primes up to %d is %d\n", o.n, want)
			os.Exit(1)
		}
		fmt.Println("correct: that is the known value")
	}
}

type options struct {
	master string
	n      uint64
	tasks  int
	role   string
	serve  string
	slow   time.Duration
}

func (o *options) check() error {
	switch {
	case o.n < 1 || o.n > 1_000_000_000_000:
		return fmt.Errorf("-n: %d is not between 1 and 10^12", o.n)
	case o.tasks < 1 || o.tasks > 100_000:
		return fmt.Errorf("-tasks: %d is not between 1 and 100000", o.tasks)
	case o.slow < 0:
		return errors.New("-slow: must not be negative")
	}
	return nil
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func loginName() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}
