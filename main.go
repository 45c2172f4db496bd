// Command clusterd is a cluster manager in one binary: leading master, agent, the shim of each
// container and the command line. See README.md.
package main

import (
	"context"
	"os"

	"clusterd/isolate"
	"clusterd/node/cli"
	"clusterd/node/executor"
)

func main() {
	isolate.SetSupervisor(supervise)
	isolate.MaybeInit() // a re-executed shim or container init hands over at once
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// supervise runs the built-in executor in the shim of a command task.
func supervise(ctx context.Context, env []string, start func(isolate.Command) (*isolate.Process, error), stderr *os.File) int {
	return executor.Run(ctx, env, launcher(start), stderr)
}

// launcher makes the shim's container the place where the executor starts its task.
type launcher func(isolate.Command) (*isolate.Process, error)

func (l launcher) Start(c executor.Command) (executor.Process, error) {
	p, err := l(isolate.Command(c))
	if err != nil {
		return nil, err
	}
	return process{p}, nil
}

type process struct{ *isolate.Process }

func (p process) Wait() executor.Exit { return executor.Exit(p.Process.Wait()) }
