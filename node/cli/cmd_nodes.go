package cli

import (
	"math"
	"time"

	"github.com/spf13/cobra"

	"clusterd/node/api"
)

func newNodesCommand() *cobra.Command {
	a := &admin{}
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "List the nodes of the cluster",
		Long: `List the nodes of the cluster, as the leading master sees them. RAFT is leader, voter, learner (catching up,
no vote yet), standby (may become a master) or - (never a master); AGENT is active, unreachable, draining,
drained, deactivated, recovering or - (runs no tasks).`,
		Example: "  clusterd nodes\n  clusterd nodes --master m1,m2,m3 -o json\n  clusterd nodes --data-dir /var/lib/clusterd",
		GroupID: "cluster",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			nodes, err := readCluster(cmd, a, "/cluster/nodes", func(n *api.ClusterNodes) bool { return n.Stale })
			if err != nil {
				return err
			}
			if asJSON, err := a.json(); err != nil || asJSON {
				return writeJSON(cmd.OutOrStdout(), nodes)
			}
			if nodes.Stale {
				note(cmd, "the leading master is not reached: this is what the node knows by itself")
			}
			t := newTable(cmd.OutOrStdout(), "NAME", "ID", "ADDRESS", "ROLE", "RAFT", "AGENT", "TASKS", "VERSION", "UPTIME", "LAST CONTACT")
			for _, n := range nodes.Nodes {
				t.row(n.Name, n.ID, n.PeerAddress, n.Role, n.RaftState, n.AgentState, tasksOf(n), n.Version, uptime(n), ago(nodes.Time, n.LastContact))
			}
			return t.flush()
		},
	}
	a.addTo(cmd)
	a.addSocket(cmd)
	return cmd
}

func tasksOf(n api.ClusterNode) string {
	if n.AgentState == api.AgentNone {
		return ""
	}
	return number(float64(n.Tasks))
}

func uptime(n api.ClusterNode) string {
	if !n.Connected || n.UptimeSeconds <= 0 || n.UptimeSeconds > math.MaxInt32 {
		return ""
	}
	return short(time.Duration(n.UptimeSeconds * float64(time.Second)))
}
