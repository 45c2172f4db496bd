package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newResolveCommand(c *common) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "resolve [MASTER]",
		Short:   "Print the address of the leading master",
		Long:    "Ask a master (MASTER, or one of --master) which one leads, and print its HOST:PORT.",
		Example: "  clusterd resolve\n  clusterd resolve 10.0.0.7:5050",
		GroupID: "cluster",
		Args:    argsBetween(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				c.masters = args
			}
			cl, err := c.dial(cmd.Context())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), cl.leader)
			return err
		},
	}
	c.addTo(cmd)
	return cmd
}
