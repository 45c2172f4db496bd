package cli

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"clusterd/node/api"
)

func newMastersCommand() *cobra.Command {
	a := &admin{}
	cmd := &cobra.Command{
		Use:   "masters N",
		Short: "Set how many masters the cluster keeps",
		Long: `Set how many masters the cluster keeps by itself: 1, 3, 5 or 7. Of 3 one may fail, of 5 two, of 7 three, and the
others go on. The cluster changes them one by one; clusterd nodes shows the progress.`,
		Example: "  clusterd masters 5",
		GroupID: "admin",
		Args:    argsBetween(1, 1, "N"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[0])
			if err != nil || !slices.Contains(api.MastersAllowed, n) {
				return usageError{fmt.Errorf("%q is not one of 1, 3, 5, 7", args[0])}
			}
			cl, err := a.socket()
			if err != nil {
				return err
			}
			var answer api.SettingsRequest
			if err := cl.change(cmd.Context(), "/cluster/settings", api.SettingsRequest{Masters: &n}, &answer); err != nil {
				return err
			}
			text := "the cluster keeps %d masters"
			if n == 1 {
				text = "the cluster keeps %d master"
			}
			return a.printAnswer(cmd, answer, text, n)
		},
	}
	a.addSocket(cmd)
	return cmd
}
