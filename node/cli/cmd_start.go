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
		Long: `Run the node whose state is in --data-dir; on an empty directory form a new cluster of one. SIGTERM and
Ctrl-C stop it and leave tasks of checkpointing frameworks running: the next start finds them. SIGUSR1
makes the agent leave the cluster: it ends its tasks first.`,
		Example: "  clusterd start\n  clusterd start --data-dir /srv/clusterd --attributes 'rack:r1' --resources 'cpus:8;mem:16384'",
		GroupID: "node",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runNode(cmd, &cfg, func(out io.Writer, n *node.Node) {
				masterAPI, agentAPI := n.Addresses()
				fmt.Fprintf(out, "clusterd %s: dashboard http://%s, agent http://%s, data %s\n", node.Version, masterAPI, agentAPI, n.DataDir())
				writeMissing(out, n.Isolation())
			})
		},
	}
	cfg.AddFlags(cmd.Flags())
	return cmd
}

// runNode starts a node and runs it until a signal comes or it cannot go on.
func runNode(cmd *cobra.Command, cfg *node.Config, ready func(io.Writer, *node.Node)) error {
	sources, err := node.ApplySources(cmd.Flags(), os.Environ())
	if err != nil {
		return usageError{err}
	}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
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
	n, err := node.Start(*cfg, node.FlagValues(cmd.Flags()), log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Second)
	go func() { // ends with ctx
		select {
		case <-signals:
			signals <- os.Interrupt
			cancel()
		case <-ctx.Done():
		}
	}()
	err = n.WaitReady(ctx)
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
