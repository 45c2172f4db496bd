package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"clusterd/node/api"
	"clusterd/node/mesos"
	"clusterd/ui"
)

// serve opens the public APIs and the dashboard. Errors of the sockets end the node.
func (n *Node) serve() {
	n.hub = ui.New(ui.Options{Source: n.source, Logger: n.log})
	build := buildInfo()
	master := api.NewMaster(api.MasterOptions{
		Leader: n, State: masterState{n}, Scheduler: office{n}, Operator: office{n}, Files: n.masterFiles,
		Metrics: n.masterMetrics, Flags: n.flagValues, Build: build, Other: n.hub.Handler(), Logger: n.log,
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

// Leader implements api.Leader.
func (n *Node) Leader() (hostport string, self, recovered bool) {
	if n.leading.Load() == nil {
		return "", false, false
	}
	return n.host.master(), true, true
}

// office is the leading master of this node as the HTTP API sees it, whoever leads now.
type office struct{ n *Node }

var errNoOffice = fmt.Errorf("%w: this node does not lead", api.ErrNotReady)

func (o office) leader() (*leader, error) {
	if l := o.n.leading.Load(); l != nil {
		return l.shell, nil
	}
	return nil, errNoOffice
}

// Call implements api.Scheduler.
func (o office) Call(ctx context.Context, r api.SchedulerRequest) (api.Answer, error) {
	l, err := o.leader()
	if err != nil {
		return api.Answer{}, err
	}
	return l.Call(ctx, r)
}

// Subscribe implements api.Scheduler.
func (o office) Subscribe(ctx context.Context, r api.SchedulerRequest) (api.Answer, api.EventStream, error) {
	l, err := o.leader()
	if err != nil {
		return api.Answer{}, nil, err
	}
	return l.Subscribe(ctx, r)
}

// Teardown implements api.Operator.
func (o office) Teardown(ctx context.Context, _ string, id mesos.FrameworkID) (api.Answer, error) {
	l, err := o.leader()
	if err != nil {
		return api.Answer{}, err
	}
	return l.teardown(ctx, id)
}

// Kill implements api.Operator.
func (o office) Kill(ctx context.Context, _ string, framework mesos.FrameworkID, task mesos.TaskID, grace time.Duration) (api.Answer, error) {
	l, err := o.leader()
	if err != nil {
		return api.Answer{}, err
	}
	return l.kill(ctx, framework, task, grace)
}

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
