package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"clusterd/node"
)

func newStartCommand() *cobra.Command {
	cfg := node.DefaultConfig()
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Run this machine's node",
		Long: `Run the node whose state is in --data-dir; on an empty directory form a new cluster of one, and print how
other machines join it. SIGTERM and Ctrl-C stop it and leave tasks of checkpointing frameworks running: the next
start finds them. SIGUSR1 makes the agent leave the cluster: it ends its tasks first.`,
		Example: "  clusterd start\n  clusterd start --config /etc/clusterd.yaml\n  clusterd start --data-dir /srv/clusterd --attributes 'rack:r1' --resources 'cpus:8;mem:16384'",
		GroupID: "node",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runNode(cmd, &cfg, nil, welcomeStart)
		},
	}
	cfg.AddFlags(cmd.Flags())
	cfg.AddClusterFlags(cmd.Flags())
	return cmd
}

// welcomeStart says where everything is, and how other machines join (CLU-2). The token is told only by
// the node that has just formed the cluster: what later starts print may end in a log that many read.
func welcomeStart(out io.Writer, n *node.Node) {
	masterAPI, agentAPI := n.Addresses()
	if agentAPI == "" {
		agentAPI = "none"
	} else {
		agentAPI = "http://" + agentAPI
	}
	fmt.Fprintf(out, "clusterd %s: dashboard http://%s, agent %s, data %s\n", node.Version, masterAPI, agentAPI, n.DataDir())
	writeMissing(out, n.Isolation())
	if !n.Founded() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	line, err := n.JoinCommand(ctx)
	if err != nil {
		fmt.Fprintf(out, "other machines join with the line that `clusterd token` prints on this node (%v)\n", err)
		return
	}
	fmt.Fprintf(out, "\nA new cluster is formed. On every other machine run:\n\n  %s\n\n", line)
}

// runNode starts a node and runs it until a signal comes or it cannot go on. check looks at the settings
// when all are known; it may be nil.
func runNode(cmd *cobra.Command, cfg *node.Config, check func() error, ready func(io.Writer, *node.Node)) error {
	sources, err := node.ApplySources(cmd.Flags(), os.Environ())
	if err != nil {
		return usageError{err}
	}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	if check != nil {
		if err := check(); err != nil {
			return err
		}
	}
	level, err := node.ParseLevel(cfg.LogLevel)
	if err != nil {
		return usageError{err}
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	for _, w := range sources.Warnings {
		log.Warn(w)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	leave := make(chan os.Signal, 1)
	signal.Notify(leave, syscall.SIGUSR1)
	// The terminal's end must not take the node's output with it: EPIPE is an error, not a death.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(cmd.Context())
	go func() { // ends with ctx
		select {
		case <-signals:
			signals <- os.Interrupt
			cancel()
		case <-ctx.Done():
		}
	}()
	n, err := node.Start(ctx, *cfg, node.FlagValues(cmd.Flags()), log)
	if err != nil {
		cancel()
		return err
	}
	within, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	err = n.WaitReady(within)
	stopped := ctx.Err() != nil && errors.Is(err, context.Canceled)
	cancel()
	switch {
	case stopped:
	case errors.Is(err, context.DeadlineExceeded):
		log.Warn("the agent is not registered yet")
		ready(cmd.OutOrStdout(), n)
	case err != nil:
		return errors.Join(err, n.Close())
	default:
		ready(cmd.OutOrStdout(), n)
	}
	for {
		select {
		case <-leave:
			n.Leave()
			continue
		case <-signals:
			go func() { // a second signal: do not wait for tasks
				<-signals
				os.Exit(130)
			}()
			return n.Close()
		case <-cmd.Context().Done():
			return n.Close()
		case err := <-n.Failed():
			return errors.Join(err, n.Close())
		}
	}
}
