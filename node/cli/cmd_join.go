package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"clusterd/node"
)

func newJoinCommand() *cobra.Command {
	cfg := node.DefaultConfig()
	cmd := &cobra.Command{
		Use:   "join PEER...",
		Short: "Join a cluster with this machine and run its node",
		Long: `Join a cluster and run this machine's node. PEER is any node of the cluster: HOST, HOST:PORT or [IPV6]:PORT, port 5055
if none is given; with several, the next is tried when one does not answer. clusterd token, on a node of the cluster,
prints the line to run here. Once the node has joined, neither PEER nor the token is needed any more: the same command,
or clusterd start, runs it again.

The token can be read by others on this machine while it stands on the command line; in CLUSTERD_TOKEN or in a file that
--token-file names it cannot.`,
		Example: "  clusterd join 10.0.0.1 --token clusterd-1-...\n  clusterd join m1:5055 m2:5055 --token-file /run/secrets/clusterd-token --role agent --attributes 'rack:r1'",
		GroupID: "node",
		Args:    argsBetween(0, 100, "PEER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, peer := range args {
				if err := cmd.Flags().Set("join", peer); err != nil {
					return usageError{err}
				}
			}
			return runNode(cmd, &cfg, func() error {
				if len(cfg.Join) == 0 {
					return usageError{errors.New("PEER is missing: name a node of the cluster")}
				}
				return nil
			}, welcomeStart)
		},
	}
	cfg.AddFlags(cmd.Flags())
	cfg.AddClusterFlags(cmd.Flags())
	return cmd
}
