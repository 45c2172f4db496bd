package cli

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"clusterd/node"
)

func newRestoreCommand() *cobra.Command {
	a := &admin{}
	cmd := &cobra.Command{
		Use:   "restore FILE --data-dir DIR",
		Short: "Make a new cluster from a backup",
		Long: `Make the data directory of the first node of a new cluster from a backup. DIR must not belong to a cluster yet. The new
cluster has its own id, certificates and tokens: nodes of the old one are not let in; wipe their data directories and
join them anew. Agents and frameworks of the backup are expected back as after a failover. Start the node with clusterd
start --data-dir DIR.`,
		Example: "  clusterd restore /srv/backup/clusterd-2026-11-20 --data-dir /var/lib/clusterd",
		GroupID: "node",
		Args:    argsBetween(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("data-dir") {
				return usageError{fmt.Errorf("--data-dir is missing: name the directory to make")}
			}
			note(cmd, "%s becomes the first node of a new cluster; nodes of the old cluster are not let in", a.dataDir)
			r, err := node.Restore(node.RestoreConfig{File: args[0], DataDir: a.dataDir}, warnings(cmd))
			if err != nil {
				return err
			}
			return a.printAnswer(cmd, r, "restored %d agents and %d frameworks of cluster %s, index %d of %s, state hash %s\nStart it with: clusterd start --data-dir %s",
				r.Agents, r.Frameworks, r.ClusterID, r.Index, r.Time.Local().Format("2006-01-02 15:04:05 MST"), r.StateHash, a.dataDir)
		},
	}
	a.addSocket(cmd)
	cmd.Flags().Lookup("data-dir").Usage = "data `DIRECTORY` to make (must be given)"
	return cmd
}

// warnings is the log of commands that work on files by themselves.
func warnings(cmd *cobra.Command) *slog.Logger {
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}
