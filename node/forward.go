package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"clusterd/node/api"
	"clusterd/node/trust"
)

// Paths of the API for other nodes. Everything else there is the public master API.
const (
	agentPrefix   = "/agent"
	clusterPrefix = "/cluster/"
)

// peerAPI is what other nodes reach by HTTP on the port between nodes. Of the cluster's own API a node
// that may be a master has all, any other only what concerns itself.
func peerAPI(admin, own, agent, master http.Handler) http.Handler {
	agent = http.StripPrefix(agentPrefix, agent)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, clusterPrefix) && callerRole(r) == trust.RoleMaster:
			admin.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, clusterPrefix):
			own.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, agentPrefix+"/"):
			if callerRole(r) != trust.RoleMaster {
				http.Error(w, "only masters may read this", http.StatusForbidden)
				return
			}
			agent.ServeHTTP(w, r)
		default:
			master.ServeHTTP(w, r)
		}
	})
}

// caller is the node behind a request on the port between nodes.
func caller(r *http.Request) (trust.Identity, bool) {
	from, ok := r.Context().Value(callerKey{}).(trust.Identity)
	return from, ok
}

func callerRole(r *http.Request) trust.Role {
	from, _ := caller(r)
	return from.Role
}

// callingAgent names the caller if it is a node that may never be a master.
func callingAgent(r *http.Request) string {
	if from, ok := caller(r); ok && from.Role == trust.RoleAgent {
		return from.NodeID
	}
	return ""
}

type callerKey struct{}

// withCaller puts the node behind a connection into the context of its requests.
func withCaller(ctx context.Context, c net.Conn) context.Context {
	if p, ok := c.(*peerConn); ok {
		return context.WithValue(ctx, callerKey{}, p.from)
	}
	return ctx
}

// transport speaks HTTP with one node, over mutual TLS.
func (n *Node) transport(to whereabouts) *http.Transport {
	return &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return n.dialNode(ctx, to.nodeID, to.addresses.GetPeer(), trust.ProtocolHTTP)
		},
		DisableKeepAlives:  true,
		DisableCompression: true,
		// A connection that takes HTTP/1.1 only: websockets go over it too.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
}

// atLeader serves on the leading master what h answers and sends everything else there, so that one
// name or load balancer over all nodes is enough (CLU-51). Without a leader the node answers itself.
func (n *Node) atLeader(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, between := caller(r)
		to, ok := n.knownLeader()
		if n.acting() != nil || between || !ok || to.nodeID == n.identity().NodeID {
			h.ServeHTTP(w, r)
			return
		}
		proxy := &httputil.ReverseProxy{
			Rewrite: func(p *httputil.ProxyRequest) {
				p.Out.URL.Scheme, p.Out.URL.Host = "https", "leader"
				p.Out.Host = p.In.Host // by which the dashboard tells its own pages from others
				p.SetXForwarded()
			},
			Transport:     n.transport(to),
			FlushInterval: -1,
			ErrorLog:      slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
				n.log.Debug("leading master not reached", slog.String("path", r.URL.Path), slog.Any("error", err))
				w.Header().Set("Retry-After", "1")
				http.Error(w, "the leading master is not reachable at this moment", http.StatusServiceUnavailable)
			},
		}
		proxy.ServeHTTP(w, r)
	})
}

// forward implements api.Forward.
type forward struct{ n *Node }

// Leads implements api.Forward.
func (f forward) Leads() bool { return f.n.acting() != nil }

// RoundTrip implements api.Forward.
func (f forward) RoundTrip(r *http.Request) (*http.Response, error) {
	to, ok := f.n.knownLeader()
	if !ok || to.nodeID == f.n.identity().NodeID {
		return nil, f.n.noLeader()
	}
	return f.n.transport(to).RoundTrip(r)
}

// fromAgent asks the agent of another node for something by HTTP.
func (n *Node) fromAgent(ctx context.Context, to whereabouts, path, query string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://agent"+agentPrefix+path+"?"+query, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	resp, err := n.transport(to).RoundTrip(req)
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &cancelBody{resp.Body, cancel}
	return resp, nil
}

// cancelBody ends the request's context with its body.
type cancelBody struct {
	body interface {
		Read([]byte) (int, error)
		Close() error
	}
	cancel context.CancelFunc
}

func (b *cancelBody) Read(p []byte) (int, error) { return b.body.Read(p) }

func (b *cancelBody) Close() error {
	defer b.cancel()
	return b.body.Close()
}

// noLeader says why nothing can be changed now: which masters are missing (CLU-35).
func (n *Node) noLeader() *api.NoLeaderError {
	e := &api.NoLeaderError{}
	m := n.member.Load()
	if m == nil {
		e.Detail, _ = n.lost.Load().(string)
		return e
	}
	now := time.Now()
	state := m.machine.View()
	for _, voter := range m.peer.Status().Voters {
		if voter == m.id {
			continue
		}
		if m.hears(voter, now) {
			continue
		}
		if node, ok := state.NodeByRaftID(voter); ok {
			e.Missing = append(e.Missing, fmt.Sprintf("%s (%s)", node.GetName(), node.GetPeerAddress()))
		}
	}
	return e
}

// contactTime is how long ago the newest message of a raft member in contact may be.
const contactTime = 5 * time.Second

// hears says whether another raft member is in contact with this one.
func (m *member) hears(id uint64, now time.Time) bool {
	last, err := m.network.Contact(id)
	return err == nil && now.Sub(last) < contactTime
}
