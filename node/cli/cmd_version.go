package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"clusterd/node"
)

func newVersionCommand() *cobra.Command {
	c := &common{}
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: "  clusterd version\n  clusterd version -o json",
		GroupID: "cluster",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := c.json()
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), map[string]string{
					"clusterd": node.Version, "mesos_api": node.MesosVersion, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
				})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "clusterd %s (Mesos API %s, %s, %s/%s)\n", node.Version, node.MesosVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
	c.addOutput(cmd)
	return cmd
}
