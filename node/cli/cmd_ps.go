package cli

import (
	"time"

	"github.com/spf13/cobra"
)

func newPsCommand(c *common) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "ps",
		Short:   "List tasks",
		Long:    "List the tasks of all frameworks that are not yet ended; with -a also the ended ones that the master remembers.",
		Example: "  clusterd ps\n  clusterd ps -a -o json",
		GroupID: "task",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := c.json()
			if err != nil {
				return err
			}
			cl, err := c.dial(cmd.Context())
			if err != nil {
				return err
			}
			tasks, err := cl.tasks(cmd.Context(), all)
			if err != nil {
				return err
			}
			if asJSON {
				if tasks == nil {
					tasks = []taskEntry{}
				}
				return writeJSON(cmd.OutOrStdout(), tasks)
			}
			t := newTable(cmd.OutOrStdout(), "TASK", "STATE", "FRAMEWORK", "USER", "AGENT", "CPUS", "MEM", "SINCE")
			now := time.Now()
			for _, e := range tasks {
				t.row(e.ID, e.State, e.frameworkName, e.user, e.hostname, number(e.scalar("cpus")), number(e.scalar("mem")), ago(now, e.changed()))
			}
			return t.flush()
		},
	}
	c.addTo(cmd)
	c.addOutput(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "list ended tasks too")
	return cmd
}
