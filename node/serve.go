package node

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"clusterd/node/api"
	"clusterd/ui"
)

// serve opens the public APIs and the dashboard. Errors of the sockets end the node.
func (n *Node) serve() {
	n.hub = ui.New(ui.Options{Source: n.source, Logger: n.log})
	build := buildInfo()
	master := api.NewMaster(api.MasterOptions{
		Leader: n, State: masterState{n}, Scheduler: office{n}, Operator: office{n}, Files: n.masterFiles,
		Metrics: n.masterMetrics, Flags: n.flagValues, Build: build, Dashboard: n.hub.Handler(), Logger: n.log,
	})
	agent := api.NewAgent(api.AgentOptions{
		State: agentState{n}, Executors: n.agent, Containers: containerUsage{n}, Files: n.agentFiles,
		Metrics: n.agentMetrics, Flags: n.flagValues, Build: build, Logger: n.log,
	})
	for _, s := range []struct {
		h http.Handler
		l net.Listener
	}{{master, n.listeners.master}, {agent, n.listeners.agent}} {
		gate := api.NewGate(s.h, n.log)
		n.gates = append(n.gates, gate)
		n.wg.Go(func() {
			if err := gate.Serve(s.l); err != nil && n.ctx.Err() == nil {
				n.fail(err)
			}
		})
	}
	n.wg.Go(n.refusePeers)
}

// refusePeers holds the port for traffic between nodes: a node of this version has no peers, so that
// whoever calls is turned away at once instead of being left waiting.
func (n *Node) refusePeers() {
	for {
		conn, err := n.listeners.peer.Accept()
		if err != nil {
			if n.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				n.fail(fmt.Errorf("--peer-listen: %w", err))
			}
			return
		}
		n.log.Warn("connection refused: this node has no peers", "remote", conn.RemoteAddr().String())
		_ = conn.Close()
	}
}

func (n *Node) flagValues() map[string]string { return n.flags }

// buildInfo describes this binary from what the Go linker wrote into it.
func buildInfo() api.Build {
	b := api.Build{Version: Version}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.GitSHA = s.Value
			case "vcs.time":
				if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
					b.Time = t
				}
			}
		}
	}
	if b.Time.IsZero() {
		if self, err := os.Executable(); err == nil {
			if st, err := os.Stat(self); err == nil {
				b.Time = st.ModTime()
			}
		}
	}
	return b
}
