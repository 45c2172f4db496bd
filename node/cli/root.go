package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"clusterd/node"
)

// usageError is a mistake in how the command was called: exit status 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitError ends the program with a task's own exit status and no further text.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// Main runs the command line and returns the exit status of the process.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	return execute(newRoot(), args, in, out, errOut)
}

func execute(root *cobra.Command, args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	var exit exitError
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &usage):
		fmt.Fprintf(errOut, "clusterd: %v\nSee '%s --help'.\n", err, commandPath(root, args))
		return 2
	}
	fmt.Fprintln(errOut, "clusterd:", err)
	return 1
}

// commandPath names the command that args lead to, as far as they do.
func commandPath(root *cobra.Command, args []string) string {
	if cmd, _, err := root.Find(args); err == nil {
		return cmd.CommandPath()
	}
	return root.CommandPath()
}

// common are the flags of every client command.
type common struct {
	masters []string
	output  string
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "clusterd",
		Short: "A cluster manager in one binary that speaks the Mesos API",
		Long: `clusterd runs tasks of many frameworks on many machines and shares the machines fairly between them.

  clusterd dev                    a whole cluster on this machine, gone at the end
  clusterd start                  the first machine of a lasting cluster
  clusterd join PEER              every further machine
  clusterd run -- echo hello      run a command somewhere in the cluster`,
		Example: `  clusterd dev
  clusterd run --cpus 0.5 --mem 64 --name hello -- sh -c 'echo hi'
  clusterd ps`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetGlobalNormalizationFunc(node.NormalizeFlag)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		var refused *node.RefusedError
		if errors.As(err, &refused) {
			err = refused
		}
		return usageError{err}
	})
	root.AddGroup(&cobra.Group{ID: "node", Title: "Run a node:"}, &cobra.Group{ID: "task", Title: "Run and watch tasks:"},
		&cobra.Group{ID: "cluster", Title: "Look at the cluster:"}, &cobra.Group{ID: "admin", Title: "Change the cluster (on one of its nodes, as root):"})
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	c := &common{}
	root.AddCommand(
		newDevCommand(), newStartCommand(), newJoinCommand(), newLeaveCommand(), newRestoreCommand(), newRecoverCommand(), newConfigCommand(), newInstallServiceCommand(thisMachine()),
		newRunCommand(c), newPsCommand(c), newKillCommand(c),
		newCatCommand(c), newHeadCommand(c), newTailCommand(c), newLsCommand(c),
		newStatusCommand(), newNodesCommand(), newStateCommand(c), newResolveCommand(c), newVersionCommand(),
		newNodeCommand(), newTokenCommand(), newMastersCommand(), newAuthorityCommand(), newBackupCommand(),
	)
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.GroupID = "cluster"
			cmd.Example = "  clusterd completion bash > /etc/bash_completion.d/clusterd\n  source <(clusterd completion zsh)"
			for _, shell := range cmd.Commands() {
				shell.Example = "  source <(clusterd completion " + shell.Name() + ")"
			}
		}
	}
	return root
}

// addTo declares the client flags on cmd.
func (c *common) addTo(cmd *cobra.Command) {
	masters := []string{"127.0.0.1:5050"}
	if env := os.Getenv("CLUSTERD_MASTER"); env != "" {
		masters = strings.Split(env, ",")
	}
	cmd.Flags().StringSliceVar(&c.masters, "master", masters, "`HOST[:PORT]` of any master, or several (environment: CLUSTERD_MASTER)")
}

func (c *common) addOutput(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&c.output, "output", "o", "table", "`FORMAT` of the answer: table or json")
}

func (c *common) json() (bool, error) {
	switch c.output {
	case "json":
		return true, nil
	case "table":
		return false, nil
	}
	return false, usageError{fmt.Errorf("--output: %q is not one of table, json", c.output)}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasParent() {
		return usageError{fmt.Errorf("unknown command %q", args[0])}
	}
	return usageError{fmt.Errorf("unexpected argument %q", args[0])}
}

// argsBetween wants low to high arguments; what says which, for the error.
func argsBetween(low, high int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < low {
			return usageError{fmt.Errorf("%s is missing", what)}
		}
		if len(args) > high {
			return usageError{fmt.Errorf("unexpected argument %q", args[high])}
		}
		return nil
	}
}
