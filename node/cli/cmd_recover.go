package cli

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"clusterd/node"
)

func newRecoverCommand() *cobra.Command {
	a := &admin{}
	var yes bool
	cmd := &cobra.Command{
		Use:   "recover --data-dir DIR",
		Short: "Make a cluster of one master after a lost quorum",
		Long: `Make the surviving master in DIR the only one of its cluster, when the other masters are lost for good and a quorum will
not come back. The node must not run. All that is in its log is kept; what the lost masters had confirmed without it
may be missing. The lost masters must never start again with their old data directories: wipe them and join them anew.
Of several survivors choose the one with the highest index (clusterd status -o json on each, before they stop).
Agents and standbys find the recovered master by themselves.`,
		Example: "  clusterd recover --data-dir /var/lib/clusterd",
		GroupID: "node",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("data-dir") {
				return usageError{errors.New("--data-dir is missing: name the data directory of the surviving master")}
			}
			if err := confirmRecover(cmd, a.dataDir, yes); err != nil {
				return err
			}
			r, err := node.Recover(a.dataDir, warnings(cmd))
			if err != nil {
				return err
			}
			lost := "no other masters were known"
			if len(r.Lost) > 0 {
				lost = "wipe before they start again: " + strings.Join(r.Lost, ", ")
			}
			return a.printAnswer(cmd, r, "cluster %s has one master now, at index %d, state hash %s\nGiven up; %s\nStart it with: clusterd start --data-dir %s",
				r.ClusterID, r.Index, r.StateHash, lost, a.dataDir)
		},
	}
	a.addSocket(cmd)
	cmd.Flags().Lookup("data-dir").Usage = "data `DIRECTORY` of the surviving master (must be given)"
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

const recoverWarning = `WARNING: %s becomes the only master of its cluster.
  - Do this only if so many masters are lost for good that a quorum will not come back.
  - Changes that the lost masters confirmed and this one does not have are lost.
  - If another master starts again with its old data, there are two clusters that do not know of each other:
    wipe the data directories of the lost masters, and join them anew.
`

// confirmRecover says what will happen and returns nil if that is wanted.
func confirmRecover(cmd *cobra.Command, dir string, yes bool) error {
	fmt.Fprintf(cmd.ErrOrStderr(), recoverWarning, dir)
	if yes {
		return nil
	}
	fmt.Fprint(cmd.ErrOrStderr(), "Type yes to go on: ")
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if strings.TrimSpace(answer) == "yes" {
		return nil
	}
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr())
	}
	return errors.New("nothing was changed: confirm with yes, or give --yes")
}
