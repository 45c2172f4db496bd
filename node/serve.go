package node

import (
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"clusterd/node/api"
	"clusterd/ui"
)

// serve opens the APIs and the dashboard: the public ones, the one for other nodes, and that of the
// socket in the data directory. Errors of the sockets end the node.
func (n *Node) serve() error {
	n.hub = ui.New(ui.Options{Source: n.source, Logger: n.log})
	build := buildInfo()
	forward := forward{n}
	own := clusterOffice{n}
	public := api.ClusterOptions{Cluster: own, Forward: forward, NodeID: n.identity().NodeID, Logger: n.log}
	admin, between := public, public
	admin.Admin = true
	dashboard := n.atLeader(n.hub.Handler())
	master := api.NewMaster(api.MasterOptions{
		Leader: n, Missing: func() []string { return n.noLeader().Missing }, State: masterState{n}, Scheduler: office{n}, Operator: office{n}, Files: n.masterFiles, Cluster: api.NewCluster(public),
		Metrics: n.masterMetrics, Flags: n.flagValues, Build: build, Dashboard: dashboard, Logger: n.log,
	})
	n.serveOn(master, n.listeners.master)
	var agent http.Handler = http.NotFoundHandler()
	if n.agent != nil {
		agent = api.NewAgent(api.AgentOptions{
			State: agentState{n}, Executors: n.agent, Containers: containerUsage{n}, Files: n.agentFiles,
			Metrics: n.agentMetrics, Flags: n.flagValues, Build: build, Logger: n.log,
		})
		n.serveOn(agent, n.listeners.agent)
	}
	between.Self = callingAgent
	n.serveOn(peerAPI(api.NewCluster(admin), api.NewCluster(between), agent, master), n.peers.web)
	socket, err := listenSocket(n.config.DataDir, n.log)
	if err != nil {
		return err
	}
	n.serveOn(api.NewCluster(admin), socket)
	return nil
}

func (n *Node) serveOn(h http.Handler, l net.Listener) {
	gate := api.NewGate(h, n.log)
	gate.ConnContext(withCaller)
	n.gates = append(n.gates, gate)
	n.wg.Go(func() {
		if err := gate.Serve(l); err != nil && n.ctx.Err() == nil {
			n.fail(err)
		}
	})
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
