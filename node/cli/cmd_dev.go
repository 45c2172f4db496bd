package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"clusterd/isolate"
	"clusterd/node"
)

func newDevCommand() *cobra.Command {
	cfg := node.DefaultConfig()
	cfg.Listen, cfg.AgentListen, cfg.PeerListen = "127.0.0.1:5050", "127.0.0.1:5051", "127.0.0.1:5055"
	cfg.DataDir = ""
	cfg.StopTasks, cfg.Masters = true, 1
	cfg.LogLevel = "warn"
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole cluster on this machine",
		Long: `Run a master and an agent in this process, for trying out and for developing frameworks. All state lives
in a fresh directory that is removed at the end, unless --data-dir names one to keep. Ctrl-C stops
everything, tasks included.`,
		Example: "  clusterd dev\n  clusterd dev --resources 'cpus:2;mem:1024' --data-dir ./cluster",
		GroupID: "node",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			began := time.Now()
			if cfg.DataDir == "" {
				dir, err := os.MkdirTemp("", "clusterd-dev-")
				if err != nil {
					return fmt.Errorf("directory for the cluster's state (--data-dir names another): %w", err)
				}
				// Tasks of other users have to reach their sandboxes below it.
				if err := os.Chmod(dir, 0o755); err != nil {
					return err
				}
				cfg.DataDir, cfg.Ephemeral = dir, true
			}
			return runNode(cmd, &cfg, nil, func(out io.Writer, n *node.Node) { welcomeDev(out, n, time.Since(began)) })
		},
	}
	cfg.AddFlags(cmd.Flags())
	cmd.Flags().Lookup("data-dir").Usage = "directory for all state, kept at the end (default: a fresh one, removed at the end)"
	return cmd
}

// welcomeDev says where everything is and what to try next.
func welcomeDev(out io.Writer, n *node.Node, took time.Duration) {
	masterAPI, agentAPI := n.Addresses()
	flag := ""
	if masterAPI != "127.0.0.1:5050" {
		flag = " --master " + masterAPI
	}
	fmt.Fprintf(out, "clusterd %s is ready after %s\n\n", node.Version, took.Round(time.Millisecond))
	fmt.Fprintf(out, "  dashboard   http://%s\n  agent       http://%s\n  data        %s\n", masterAPI, agentAPI, n.DataDir())
	i := n.Isolation()
	if i.Containers {
		fmt.Fprintf(out, "  isolation   containers, cgroups %s\n", i.Cgroups)
	} else {
		fmt.Fprintf(out, "  isolation   none: tasks run as plain processes\n")
	}
	writeMissing(out, i)
	fmt.Fprintf(out, `
Try in another terminal:
  clusterd run%[1]s --cpus 0.5 --mem 64 --name hello -- sh -c 'echo hi'
  clusterd ps%[1]s -a
  clusterd cat%[1]s hello

Ctrl-C stops everything, tasks included.
`, flag)
}

func writeMissing(out io.Writer, i isolate.Isolation) {
	for _, m := range i.Missing {
		fmt.Fprintf(out, "  missing     %s: %s\n", m.What, m.Why)
	}
}
