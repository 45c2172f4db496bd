package cli

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"

	"clusterd/node/api"
)

func newLeaveCommand() *cobra.Command {
	a, d := &admin{}, &drainFlags{}
	var drain bool
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Leave the cluster with this machine's node, for good",
		Long: `Make the node of this machine leave the cluster for good, and end its process. If it leads, another master takes
over first; if it has a vote, another node gets one where there is one. With --drain its tasks end in order first,
without it they are killed. The data directory can be removed afterwards: the node can join again only as a new
one. To stop a node for a while, stop its process instead.`,
		Example: "  clusterd leave --drain\n  clusterd leave --drain --max-grace-period 1m --data-dir /srv/clusterd",
		GroupID: "node",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			grace, err := d.seconds(cmd)
			if err != nil {
				return err
			}
			cl, err := a.socket()
			if err != nil {
				return err
			}
			s, err := clusterStatus(cmd.Context(), cl)
			if err != nil {
				return err
			}
			n, err := api.FindNode(s.Nodes, s.NodeID)
			if err != nil {
				return err
			}
			note(cmd, "%s leaves cluster %s for good%s", n.Name, s.ClusterID, leaveFate(n, drain))
			ctx, stop := context.WithCancel(cmd.Context())
			progress := make(chan struct{})
			go func() {
				defer close(progress)
				if drain {
					followLeave(ctx, cmd, cl, n.ID)
				}
			}()
			var id nodeID
			// No limit of time: the tasks' grace periods are theirs.
			err = cl.call(cmd.Context(), http.MethodPost, "/cluster/leave", api.LeaveRequest{Drain: drain, MaxGraceSeconds: grace}, &id)
			stop()
			<-progress
			if err != nil {
				return err
			}
			return a.printAnswer(cmd, id, "%s (%s) has left the cluster; %s can be removed", n.Name, n.ID, a.dataDir)
		},
	}
	a.addSocket(cmd)
	d.addTo(cmd)
	cmd.Flags().BoolVar(&drain, "drain", false, "end the tasks in order first")
	return cmd
}

func leaveFate(n api.ClusterNode, drain bool) string {
	switch {
	case n.Tasks == 0:
		return ""
	case drain:
		return ", when its tasks have ended"
	}
	return "; its tasks are killed"
}

// followLeave says how many tasks are left until ctx ends. What cannot be seen is not said: the answer
// to the leave itself tells whether it went well.
func followLeave(ctx context.Context, cmd *cobra.Command, cl *clusterClient, id string) {
	p := &drainProgress{cmd: cmd}
	_ = watch(ctx, func() (bool, error) {
		n, _, err := findNode(ctx, cl, id)
		if err == nil && n.AgentState == api.AgentDraining {
			p.show(n)
		}
		return false, nil
	})
}
