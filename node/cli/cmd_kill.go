package cli

import (
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"clusterd/node/mesos"
)

func newKillCommand(c *common) *cobra.Command {
	grace := time.Duration(-1)
	cmd := &cobra.Command{
		Use:   "kill TASK...",
		Short: "Kill tasks",
		Long: `Kill tasks of any framework: SIGTERM, then SIGKILL after the grace period. The framework is told by a
status update and may start the task again.`,
		Example: "  clusterd kill hello\n  clusterd kill --grace 30s db-7",
		GroupID: "task",
		Args:    argsBetween(1, 1000, "TASK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.dial(cmd.Context())
			if err != nil {
				return err
			}
			for _, name := range args {
				t, err := cl.task(cmd.Context(), name)
				if err != nil {
					return err
				}
				if t.done {
					return fmt.Errorf("task %s has ended already: %s", t.ID, t.State)
				}
				form := url.Values{"frameworkId": {t.Framework}, "taskId": {t.ID}}
				if grace >= 0 {
					form.Set("gracePeriod", mesos.FormatDuration(grace))
				}
				if err := cl.postForm(cmd.Context(), "/master/kill", form); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), t.ID)
			}
			return nil
		},
	}
	c.addTo(cmd)
	cmd.Flags().DurationVar(&grace, "grace", -1, "time between SIGTERM and SIGKILL (default: the task's own)")
	cmd.Flags().Lookup("grace").DefValue = ""
	return cmd
}
