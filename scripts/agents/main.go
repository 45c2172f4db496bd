// Command agents simulates the agents of a cluster, thousands in one process and without containers:
// scripts/fleet builds and runs it. Each agent is a node of its own, with key, certificate and id; it
// joins with a token, holds one TLS stream to the leading master, finds the next one, registers with all
// that it runs, and speaks the protocol of package wire as clusterd does. Only the lives of its tasks are
// made up: by a script of spans and shares that the flags give. With -tasks-per-agent, frameworks that
// use nothing but the public v1 API fill the agents with tasks and keep them so.
//
// The agents and the frameworks are cores (fleet.go, agent.go, task.go; scheduler.go): functions of their
// events, stepped by a loop. Around them, crew.go, link.go and join.go are the agents' network, session.go
// and calls.go that of the frameworks; children.go shares the agents among processes. A goroutine for each
// stream is all that an idle agent costs beside its state.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

func main() {
	// Many small things live long here: collecting them more often than usual costs less than the
	// memory would.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	err := begin(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "fleet:", err)
	os.Exit(1)
}

func begin(args []string, in io.Reader, out, progress io.Writer) error {
	s, err := parse(args, out)
	if err != nil {
		return err
	}
	if s.part >= 0 {
		signal.Ignore(os.Interrupt, syscall.SIGTERM) // the parent ends it
		return runPart(s, in, out)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	return run(ctx, s, args, out, progress)
}

// loopCount is how many loops step the agents of a process.
func loopCount() int { return runtime.GOMAXPROCS(0) }
