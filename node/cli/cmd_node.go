package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"clusterd/node/api"
)

func newNodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "node",
		Short:   "Change a node of the cluster",
		Long:    "Change a node of the cluster. NODE is its name, its id, or the beginning of its id if no other begins so.",
		Example: "  clusterd node drain m2\n  clusterd node activate m2\n  clusterd node remove 7f3a",
		GroupID: "admin",
		Args:    noVerb,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newPlaceCommand(api.NodePromote, "Prefer a node as a master",
			`Prefer a node as a master: the cluster gives it a vote before others, as soon as one of the masters that
it keeps (clusterd masters) is missing or less wanted. clusterd nodes shows the progress.`,
			"is preferred as a master from now on"),
		newPlaceCommand(api.NodeDemote, "Keep a node from being a master",
			`Keep a node from being a master until it is promoted. If it leads, another master takes over first; if it
has a vote, another node gets one where there is one. clusterd nodes shows the progress.`,
			"is no master from now on"),
		newRemoveCommand(), newDrainCommand(), newActivateCommand(),
	)
	return cmd
}

// noVerb refuses what is not one of the subcommands.
func noVerb(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError{fmt.Errorf("unknown command %q: promote, demote, remove, drain and activate are known", args[0])}
}

// newPlaceCommand is for the verbs that need no more than the node.
func newPlaceCommand(verb, title, long, done string) *cobra.Command {
	a := &admin{}
	cmd := &cobra.Command{
		Use:     verb + " NODE",
		Short:   title,
		Long:    long,
		Example: "  clusterd node " + verb + " m2\n  clusterd node " + verb + " 7f3a -o json",
		Args:    argsBetween(1, 1, "NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := a.socket()
			if err != nil {
				return err
			}
			id, err := changeNode(cmd, cl, args[0], verb, nil)
			if err != nil {
				return err
			}
			return a.printAnswer(cmd, id, "%s (%s) %s", args[0], id.ID, done)
		},
	}
	a.addSocket(cmd)
	cmd.ValidArgsFunction = a.completeNode
	return cmd
}

func newActivateCommand() *cobra.Command {
	return newPlaceCommand(api.NodeActivate, "Give a drained node tasks again",
		"Give a node tasks again that was drained. A drain that is under way cannot be stopped: wait until the node is drained.",
		"gets tasks again")
}

// nodeID is the answer to a change of a node.
type nodeID struct {
	ID string `json:"id"`
}

// leaderPatience is how long a change is tried again while there is no leader: one may just be elected, also
// because the change itself makes the leader give its office to another.
const leaderPatience = 10 * time.Second

// changeNode carries out a verb. It may be carried out twice: all of them do no harm then.
func changeNode(cmd *cobra.Command, cl *clusterClient, node, verb string, body any) (nodeID, error) {
	path := "/cluster/nodes/" + url.PathEscape(node) + "/" + verb
	ctx, cancel := context.WithTimeout(cmd.Context(), changeTime)
	defer cancel()
	began, tried := time.Now(), false
	var id nodeID
	var last error
	err := watch(ctx, func() (bool, error) {
		last = cl.call(ctx, http.MethodPost, path, body, &id)
		switch {
		case hasStatus(last, http.StatusServiceUnavailable) && time.Since(began) < leaderPatience:
			if !tried {
				note(cmd, "%v; trying again", last)
			}
			tried = true
			return false, nil
		case tried && verb == api.NodeRemove && hasStatus(last, http.StatusNotFound):
			id.ID, last = node, nil // the new leader has gone on with it
		}
		return true, nil
	})
	if last != nil {
		err = last // it says more
	}
	return id, err
}

// findNode looks a node up in the cluster's status.
func findNode(ctx context.Context, cl *clusterClient, name string) (api.ClusterNode, *api.ClusterStatus, error) {
	s, err := clusterStatus(ctx, cl)
	if err != nil {
		return api.ClusterNode{}, nil, err
	}
	n, err := api.FindNode(s.Nodes, name)
	return n, s, err
}

func clusterStatus(ctx context.Context, cl *clusterClient) (*api.ClusterStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	s := new(api.ClusterStatus)
	if err := cl.call(ctx, http.MethodGet, "/cluster/status", nil, s); err != nil {
		return nil, err
	}
	return s, nil
}

func newRemoveCommand() *cobra.Command {
	a := &admin{}
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Take a node out of the cluster for good",
		Long: `Take a node out of the cluster for good. Its certificate is refused from then on, and it can come back only
with an empty data directory and a token, as a new node. If it leads, another master takes over first; if it
has a vote, another node gets one where there is one. Tasks that it runs are lost to their frameworks: drain it
first to end them in order. A node that still runs leaves by itself with clusterd leave.`,
		Example: "  clusterd node drain m2 && clusterd node remove m2",
		Args:    argsBetween(1, 1, "NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := a.socket()
			if err != nil {
				return err
			}
			n, _, err := findNode(cmd.Context(), cl, args[0])
			if err != nil {
				return err
			}
			note(cmd, "%s (%s, %s) is refused from now on and can only join again as a new node%s", n.Name, n.ID, n.PeerAddress, fate(n))
			id, err := changeNode(cmd, cl, n.ID, api.NodeRemove, nil)
			if err != nil {
				return err
			}
			return a.printAnswer(cmd, id, "%s (%s) is removed", n.Name, n.ID)
		},
	}
	a.addSocket(cmd)
	cmd.ValidArgsFunction = a.completeNode
	return cmd
}

// fate says what a removal does to the tasks of a node.
func fate(n api.ClusterNode) string {
	switch n.Tasks {
	case 0:
		return ""
	case 1:
		return "; its task is lost"
	}
	return fmt.Sprintf("; its %d tasks are lost", n.Tasks)
}

// drainFlags are those of drain and leave.
type drainFlags struct{ grace time.Duration }

func (d *drainFlags) addTo(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&d.grace, "max-grace-period", 0, "longest time between SIGTERM and SIGKILL of a task (default: the task's own)")
	cmd.Flags().Lookup("max-grace-period").DefValue = ""
}

// seconds is the value as the API has it; nil if the flag is not given.
func (d *drainFlags) seconds(cmd *cobra.Command) (*int64, error) {
	if !cmd.Flags().Changed("max-grace-period") {
		return nil, nil
	}
	if d.grace < 0 || d.grace%time.Second != 0 {
		return nil, usageError{fmt.Errorf("--max-grace-period: %s is not a whole number of seconds from 0 up", d.grace)}
	}
	return new(int64(d.grace / time.Second)), nil
}

func newDrainCommand() *cobra.Command {
	a, d := &admin{}, &drainFlags{}
	var markGone, noWait bool
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "End the tasks of a node and give it no new ones",
		Long: `End the tasks of a node, each with its own grace period, and give it no new ones: for maintenance. Frameworks are told
and may start their tasks elsewhere. The command waits until the last task has ended; if it is interrupted, the
drain goes on. When the node is drained, clusterd node activate gives it tasks again.`,
		Example: "  clusterd node drain m2\n  clusterd node drain m2 --max-grace-period 30s --no-wait",
		Args:    argsBetween(1, 1, "NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			grace, err := d.seconds(cmd)
			if err != nil {
				return err
			}
			cl, err := a.socket()
			if err != nil {
				return err
			}
			id, err := changeNode(cmd, cl, args[0], api.NodeDrain, api.DrainRequest{MaxGraceSeconds: grace, MarkGone: markGone})
			if err != nil {
				return err
			}
			if noWait {
				return a.printAnswer(cmd, id, "%s (%s) is draining", args[0], id.ID)
			}
			n, err := waitDrained(cmd, cl, id.ID, markGone)
			if err != nil {
				return err
			}
			return a.printAnswer(cmd, id, "%s (%s) is drained", n, id.ID)
		},
	}
	a.addSocket(cmd)
	cmd.ValidArgsFunction = a.completeNode
	d.addTo(cmd)
	cmd.Flags().BoolVar(&markGone, "mark-gone", false, "mark the agent as gone when it is drained: it cannot be activated again")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until the last task has ended")
	return cmd
}
