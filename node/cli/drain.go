package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"clusterd/node/api"
)

const (
	// The status is looked at often at first, because most drains are short.
	firstLook = 20 * time.Millisecond
	lastLook  = time.Second
	// blindTime is how long the status may be out of reach while a drain is watched: a new leader may be
	// elected meanwhile.
	blindTime = time.Minute
	// startTime is how long a drain may take to show in the status.
	startTime = 10 * time.Second
)

// watch calls look, less and less often, until it says that all is done or fails for blindTime.
func watch(ctx context.Context, look func() (done bool, err error)) error {
	seen := time.Now()
	for every := firstLook; ; every = min(2*every, lastLook) {
		done, err := look()
		switch {
		case done:
			return nil
		case err == nil:
			seen = time.Now()
		case time.Since(seen) > blindTime:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
}

// waitDrained follows a drain and returns the node's name. An agent marked as gone leaves the picture at the
// end.
func waitDrained(cmd *cobra.Command, cl *clusterClient, id string, markGone bool) (name string, err error) {
	name = id
	p := &drainProgress{cmd: cmd}
	began, draining := time.Now(), false
	var gaveUp error
	err = watch(cmd.Context(), func() (bool, error) {
		n, s, err := findNode(cmd.Context(), cl, id)
		if err != nil {
			return false, err
		}
		name = n.Name
		if s.Stale {
			return false, nil // a node that does not reach the leader does not know
		}
		switch n.AgentState {
		case api.AgentDrained:
			return true, nil
		case api.AgentDraining:
			draining = true
		case api.AgentUnreachable, api.AgentRecovering:
			if draining && markGone && n.Tasks == 0 {
				return true, nil
			}
		default:
			if draining && markGone {
				return true, nil
			}
			if draining || time.Since(began) > startTime {
				gaveUp = fmt.Errorf("node %s is not draining but %s: someone else has changed it", n.Name, n.AgentState)
				return true, nil
			}
			return false, nil // not yet
		}
		p.show(n)
		return false, nil
	})
	if err != nil {
		return "", fmt.Errorf("the drain goes on, but it is not known how far it is: %w", err)
	}
	return name, gaveUp
}

// drainProgress says how many tasks are left, each number once.
type drainProgress struct {
	cmd  *cobra.Command
	said string
}

func (p *drainProgress) show(n api.ClusterNode) {
	text := fmt.Sprintf("%s: %d tasks left", n.Name, n.Tasks)
	switch n.Tasks {
	case 0:
		text = n.Name + ": its tasks have ended, and their frameworks are to confirm it"
	case 1:
		text = n.Name + ": 1 task left"
	}
	if n.AgentState == api.AgentUnreachable || n.AgentState == api.AgentRecovering {
		text += " (the agent is " + n.AgentState + ": it goes on when it is back)"
	}
	if text != p.said {
		note(p.cmd, "%s", text)
		p.said = text
	}
}
