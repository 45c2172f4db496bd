package cli

import (
	"context"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"clusterd/node/api"
)

// completeTime is how long a completion may take: whoever pressed the key waits for it.
const completeTime = time.Second

// completeNode offers the nodes of the cluster for the argument NODE. The node of --data-dir is asked, and
// beside it those of CLUSTERD_MASTER for one who may not open its socket, because sudo is only going to be
// typed. Nothing is offered if none answers in time.
func (a *admin) completeNode(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
	defer cancel()
	var answers []chan []api.ClusterNode
	for _, cl := range a.completionReaders() {
		answer := make(chan []api.ClusterNode, 1)
		answers = append(answers, answer)
		go func() { // ends with ctx at the latest
			var all api.ClusterNodes
			if err := cl.call(ctx, http.MethodGet, "/cluster/nodes", nil, &all); err != nil {
				cobra.CompDebugln(err.Error(), false) // to the file that BASH_COMP_DEBUG_FILE names
			}
			answer <- all.Nodes
		}()
	}
	for _, answer := range answers {
		if nodes := <-answer; len(nodes) > 0 {
			return nodeCompletions(nodes, begun), cobra.ShellCompDirectiveNoFileComp
		}
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completionReaders are the nodes to ask, the best first.
func (a *admin) completionReaders() []*clusterClient {
	var all []*clusterClient
	if cl, err := a.socket(); err == nil {
		all = append(all, cl)
	}
	masters := []string{"127.0.0.1:5050"}
	if env := os.Getenv("CLUSTERD_MASTER"); env != "" {
		masters = strings.Split(env, ",")
	}
	cl := newClient()
	for _, m := range masters {
		if addr, err := masterAddress(m); err == nil {
			all = append(all, over(cl, addr))
		}
	}
	return all
}

// nodeCompletions are the names that begin so, and the ids of nodes whose name does not tell which one is
// meant, or when an id is begun.
func nodeCompletions(nodes []api.ClusterNode, begun string) []cobra.Completion {
	named := make(map[string]int)
	for _, n := range nodes {
		named[n.Name]++
	}
	var all []cobra.Completion
	for _, n := range nodes {
		about := n.PeerAddress + " " + n.RaftState
		if n.RaftState == api.RaftNone {
			about = n.PeerAddress
		}
		clear := named[n.Name] == 1 && n.Name != "" && printable(n.Name) == n.Name
		if clear && strings.HasPrefix(n.Name, begun) {
			all = append(all, cobra.CompletionWithDesc(n.Name, printable(about)))
		}
		if strings.HasPrefix(n.ID, begun) && (begun != "" || !clear) {
			all = append(all, cobra.CompletionWithDesc(n.ID, printable(n.Name+" "+about)))
		}
	}
	return all
}
