package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newStateCommand(c *common) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "state [AGENT]",
		Short:   "Print the state of the master or of an agent as JSON",
		Long:    "Print /state of the leading master, or of the agent whose id or host name begins with AGENT, as JSON.",
		Example: "  clusterd state | jq .slaves[].hostname\n  clusterd state S0",
		GroupID: "cluster",
		Args:    argsBetween(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.dial(cmd.Context())
			if err != nil {
				return err
			}
			addr := cl.leader
			if len(args) == 1 {
				if addr, err = cl.agentAddress(cmd, args[0]); err != nil {
					return err
				}
			}
			var state json.RawMessage
			if err := cl.getJSON(cmd.Context(), addr, "/state", nil, &state); err != nil {
				return err
			}
			return writeJSON(cmd.OutOrStdout(), state)
		},
	}
	c.addTo(cmd)
	return cmd
}

// agentAddress finds an agent by the beginning of its id, of the id's last part (S0) or of its host name.
func (cl *client) agentAddress(cmd *cobra.Command, name string) (string, error) {
	var st clusterState
	if err := cl.getJSON(cmd.Context(), cl.leader, "/master/slaves", nil, &st); err != nil {
		return "", err
	}
	var found []agentEntry
	for _, a := range st.Agents {
		short := a.ID[strings.LastIndexByte(a.ID, '-')+1:]
		if a.ID == name || short == name || a.Hostname == name {
			return a.address(), nil
		}
		if strings.HasPrefix(a.ID, name) || strings.HasPrefix(short, name) || strings.HasPrefix(a.Hostname, name) {
			found = append(found, a)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("agent %q is not known", name)
	case 1:
		return found[0].address(), nil
	}
	return "", fmt.Errorf("agent %q is not unique: %s and %s begin with it", name, found[0].ID, found[1].ID)
}
