package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newAuthorityCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "authority",
		Short:   "Change the cluster's certificate authority",
		Long:    "Change the certificate authority that the cluster made for itself, and whose certificates its nodes show each other.",
		Example: "  clusterd authority rotate",
		GroupID: "admin",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usageError{fmt.Errorf("unknown command %q: rotate is known", args[0])}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	a := &admin{}
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Begin a new certificate authority",
		Long: `Begin a new certificate authority, for example after its key may have been seen. Every node gets a new
certificate by itself; the old authority is trusted until all have one. Join tokens given out before are
worthless then: they name the old authority. clusterd status shows the progress.`,
		Example: "  clusterd authority rotate",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := a.socket()
			if err != nil {
				return err
			}
			var answer struct{}
			if err := cl.change(cmd.Context(), "/cluster/authority/rotate", struct{}{}, &answer); err != nil {
				return err
			}
			return a.printAnswer(cmd, answer, "a new certificate authority issues from now on; the nodes change over by themselves")
		},
	}
	a.addSocket(rotate)
	cmd.AddCommand(rotate)
	return cmd
}
