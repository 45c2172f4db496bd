package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"slices"
	"time"
)

// ClusterOptions are what NewCluster speaks for. Cluster, Forward and Logger are needed.
type ClusterOptions struct {
	Cluster Cluster
	Forward Forward
	// NodeID is this node.
	NodeID string
	// Admin says that callers may do everything: the socket in the data directory, and connections of
	// nodes that may be masters. All others may only read.
	Admin bool
	// Self names the node that the caller is, if it may change that one and nothing else: a node that
	// may never be a master. Nil, or "" of it, is for nobody. It is not asked if Admin is set.
	Self   func(*http.Request) string
	Logger *slog.Logger
}

// Forward reaches the leading master.
type Forward interface {
	// Leads reports whether this node is the leading master and answers itself.
	Leads() bool
	// RoundTrip sends a request to the cluster API of the leading master, over a connection on which both
	// sides have shown their certificates. Scheme and host of the request's URL are for it to set. The
	// error is a *NoLeaderError while no leader is known.
	http.RoundTripper
}

const (
	// statusTime is how long a node waits for the leader's picture before it answers with its own.
	statusTime = 2 * time.Second
	// forwardedHeader marks a request that has been forwarded: it is not forwarded again.
	forwardedHeader = "Clusterd-Forwarded"
	// BackupHeader carries the BackupInfo of a backup as JSON.
	BackupHeader = "Clusterd-Backup"
	// ChecksumTrailer carries SHA-256 of a backup's bytes in hexadecimal digits. A body that ends without
	// it is not whole.
	ChecksumTrailer = "Clusterd-Checksum"
)

// NewCluster returns the API of the cluster itself, all of it below /cluster. The same handler with
// other options stands behind the public port, the port between nodes and the socket of the data
// directory.
func NewCluster(options ClusterOptions) http.Handler {
	c := &cluster{ClusterOptions: options}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cluster/status", c.serveStatus)
	mux.HandleFunc("GET /cluster/nodes", c.serveNodes)
	mux.HandleFunc("GET /cluster/backup", c.admin("clusterd backup FILE", c.leading(c.serveBackup)))
	mux.HandleFunc("POST /cluster/token", c.admin("clusterd token", c.leading(c.serveToken)))
	mux.HandleFunc("POST /cluster/authority/rotate", c.admin("clusterd authority rotate", c.leading(c.serveRotate)))
	mux.HandleFunc("POST /cluster/settings", c.admin("clusterd masters N", c.leading(c.serveSettings)))
	mux.HandleFunc("POST /cluster/leave", c.admin("clusterd leave", c.serveLeave))
	for _, verb := range NodeVerbs {
		mux.HandleFunc("POST /cluster/nodes/{id}/"+verb, c.change(verb))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w = newTimedWriter(w)
		limitBody(w, r)
		mux.ServeHTTP(w, r)
	})
}

type cluster struct{ ClusterOptions }

// admin lets only administrators pass. command is how to do the same from the command line.
func (c *cluster) admin(command string, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !c.Admin {
			refuse(w, c.forbidden(r, command))
			return
		}
		serve(w, r)
	}
}

func (c *cluster) self(r *http.Request) string {
	if c.Self == nil {
		return ""
	}
	return c.Self(r)
}

func (c *cluster) forbidden(r *http.Request, command string) error {
	if c.self(r) != "" {
		return &forbiddenError{"a node that joined as an agent may only change itself: run `" + command + "` on a node that may be a master"}
	}
	return &forbiddenError{"the cluster is not changed through this port: run `" + command + "` as root on any of its nodes"}
}

// leading serves on the leading master and passes everything else on to it. What a node asks for itself
// is not passed on: the leader would take it for the wish of this node, which may do more.
func (c *cluster) leading(serve http.HandlerFunc) http.HandlerFunc {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "https", "leader"
			r.Out.Header.Set(forwardedHeader, c.NodeID)
		},
		Transport:     c.Forward,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			c.fail(w, r, unreached(err))
		},
	}
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case c.Forward.Leads():
			serve(w, r)
		case r.Header.Get(forwardedHeader) != "" || !c.Admin:
			c.fail(w, r, &NoLeaderError{})
		default:
			proxy.ServeHTTP(w, r)
		}
	}
}

// unreached is the error of a request that did not get to the leader.
func unreached(err error) error {
	if _, ok := errors.AsType[*NoLeaderError](err); ok {
		return err
	}
	return &NoLeaderError{Cause: err}
}

// fail answers with err.
func (c *cluster) fail(w http.ResponseWriter, r *http.Request, err error) {
	if !refuse(w, err) {
		failed(r, c.Logger, err).respond(w)
	}
}

func (c *cluster) serveStatus(w http.ResponseWriter, r *http.Request) {
	if s, err := c.status(r); err != nil {
		c.fail(w, r, err)
	} else {
		c.answer(w, r, s)
	}
}

func (c *cluster) serveNodes(w http.ResponseWriter, r *http.Request) {
	if s, err := c.status(r); err != nil {
		c.fail(w, r, err)
	} else {
		c.answer(w, r, ClusterNodes{ClusterID: s.ClusterID, Time: s.Time, Stale: s.Stale, Nodes: s.Nodes})
	}
}

// status is the leader's picture if it can be had, or else this node's own, marked as stale.
func (c *cluster) status(r *http.Request) (*ClusterStatus, error) {
	if c.Forward.Leads() {
		return c.own(r.Context(), false)
	}
	if r.Header.Get(forwardedHeader) != "" {
		return nil, &NoLeaderError{}
	}
	s, err := c.leaderStatus(r.Context())
	if err != nil {
		c.Logger.Debug("status of the leader not available", "err", err)
		return c.own(r.Context(), true)
	}
	s.NodeID = c.NodeID
	return s, nil
}

func (c *cluster) own(ctx context.Context, stale bool) (*ClusterStatus, error) {
	s, err := c.Cluster.Status(ctx)
	if err != nil {
		return nil, err
	}
	s.NodeID = c.NodeID
	s.Stale = s.Stale || stale
	if s.Nodes == nil {
		s.Nodes = []ClusterNode{}
	}
	if s.Problems == nil {
		s.Problems = []ClusterProblem{}
	}
	return s, nil
}

func (c *cluster) leaderStatus(ctx context.Context) (*ClusterStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://leader/cluster/status", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(forwardedHeader, c.NodeID)
	resp, err := c.Forward.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the leader answered %s", resp.Status)
	}
	s := new(ClusterStatus)
	if err := json.NewDecoder(resp.Body).Decode(s); err != nil {
		return nil, fmt.Errorf("answer of the leader: %w", err)
	}
	return s, nil
}

// change carries out a verb for the node that the path names.
func (c *cluster) change(verb string) http.HandlerFunc {
	serve := c.leading(func(w http.ResponseWriter, r *http.Request) {
		id, err := c.changeNode(w, r, verb)
		if err != nil {
			c.fail(w, r, err)
			return
		}
		c.answer(w, r, map[string]string{"id": id})
	})
	return func(w http.ResponseWriter, r *http.Request) {
		if !c.Admin && c.self(r) == "" {
			refuse(w, c.forbidden(r, "clusterd node "+verb+" "+r.PathValue("id")))
			return
		}
		serve(w, r)
	}
}

func (c *cluster) changeNode(w http.ResponseWriter, r *http.Request, verb string) (id string, err error) {
	var body DrainRequest
	if verb == NodeDrain {
		if err := decodeRequest(w, r, &body); err != nil {
			return "", err
		}
		if err := checkGrace(body.MaxGraceSeconds); err != nil {
			return "", err
		}
	} else if err := decodeRequest(w, r, &struct{}{}); err != nil {
		return "", err
	}
	s, err := c.Cluster.Status(r.Context())
	if err != nil {
		return "", err
	}
	node, err := FindNode(s.Nodes, r.PathValue("id"))
	if err != nil {
		return "", err
	}
	if !c.Admin && node.ID != c.self(r) {
		return "", c.forbidden(r, "clusterd node "+verb+" "+node.ID)
	}
	if err := c.Cluster.ChangeNode(r.Context(), node.ID, verb, body); err != nil {
		return "", err
	}
	c.Logger.Info("node changed by an operator", "verb", verb, "node_id", node.ID, "remote", r.RemoteAddr)
	return node.ID, nil
}

func (c *cluster) serveToken(w http.ResponseWriter, r *http.Request) {
	var body TokenRequest
	err := decodeRequest(w, r, &body)
	if err == nil {
		if body.Role == "" {
			body.Role = TokenAny
		}
		err = checkToken(body)
	}
	var token *TokenAnswer
	if err == nil {
		token, err = c.Cluster.Token(r.Context(), body)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	if body.Rotate {
		c.Logger.Info("join tokens rotated by an operator", "role", body.Role, "remote", r.RemoteAddr)
	}
	c.answer(w, r, token)
}

func checkToken(t TokenRequest) error {
	switch {
	case t.Role != TokenAny && t.Role != TokenAgent:
		return &InputError{fmt.Sprintf("role: %q is not one of any, agent", t.Role)}
	case t.Rotate && t.TTLSeconds != 0:
		return &InputError{"rotate: gives the token without an end; ask for one with ttl_seconds after it"}
	case t.TTLSeconds != 0 && (t.TTLSeconds < int64(MinTokenTTL/time.Second) || t.TTLSeconds > int64(MaxTokenTTL/time.Second)):
		return &InputError{fmt.Sprintf("ttl_seconds: %d is not between %d and %d (0: without an end)", t.TTLSeconds, MinTokenTTL/time.Second, MaxTokenTTL/time.Second)}
	}
	return nil
}

// maxGraceSeconds is a bound far beyond sense; more would not fit a duration.
const maxGraceSeconds = 366 * 24 * 60 * 60

func checkGrace(seconds *int64) error {
	if seconds != nil && (*seconds < 0 || *seconds > maxGraceSeconds) {
		return &InputError{fmt.Sprintf("max_grace_seconds: %d is not between 0 and %d", *seconds, maxGraceSeconds)}
	}
	return nil
}

func (c *cluster) serveRotate(w http.ResponseWriter, r *http.Request) {
	err := decodeRequest(w, r, &struct{}{})
	if err == nil {
		err = c.Cluster.RotateAuthority(r.Context())
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.Logger.Info("certificate authority rotated by an operator", "remote", r.RemoteAddr)
	c.answer(w, r, struct{}{})
}

func (c *cluster) serveSettings(w http.ResponseWriter, r *http.Request) {
	var body SettingsRequest
	err := decodeRequest(w, r, &body)
	if err == nil {
		err = c.changeSettings(r.Context(), body)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.Logger.Info("settings changed by an operator", "masters", *body.Masters, "remote", r.RemoteAddr)
	c.answer(w, r, body)
}

// MastersAllowed are the numbers of voters that a cluster may keep (CLU-5).
var MastersAllowed = []int{1, 3, 5, 7}

func (c *cluster) changeSettings(ctx context.Context, s SettingsRequest) error {
	if s.Masters == nil {
		return &InputError{"masters: is missing"}
	}
	if !slices.Contains(MastersAllowed, *s.Masters) {
		return &InputError{fmt.Sprintf("masters: %d is not one of 1, 3, 5, 7", *s.Masters)}
	}
	return c.Cluster.SetMasters(ctx, *s.Masters)
}

// serveLeave is for the node that is asked, whoever leads.
func (c *cluster) serveLeave(w http.ResponseWriter, r *http.Request) {
	var body LeaveRequest
	err := decodeRequest(w, r, &body)
	if err == nil {
		err = checkGrace(body.MaxGraceSeconds)
	}
	if err == nil {
		c.Logger.Info("leaving the cluster on request of an operator", "drain", body.Drain, "remote", r.RemoteAddr)
		err = c.Cluster.Leave(r.Context(), body)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.answer(w, r, map[string]string{"id": c.NodeID})
}

// serveBackup streams the backup. A failure on the way cuts the connection, so that nobody takes a part
// for the whole.
func (c *cluster) serveBackup(w http.ResponseWriter, r *http.Request) {
	info, write, err := c.Cluster.Backup(r.Context())
	if err != nil {
		c.fail(w, r, err)
		return
	}
	about, err := json.Marshal(info)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set(BackupHeader, string(about))
	h.Set("Trailer", ChecksumTrailer)
	w.WriteHeader(http.StatusOK)
	sum := sha256.New()
	if err := write(io.MultiWriter(w, sum)); err != nil {
		c.Logger.Error("backup broken off", "index", info.Index, "remote", r.RemoteAddr, "err", err)
		panic(http.ErrAbortHandler)
	}
	h.Set(ChecksumTrailer, hex.EncodeToString(sum.Sum(nil)))
	c.Logger.Info("backup written", "index", info.Index, "remote", r.RemoteAddr)
}

// answer writes v as JSON.
func (c *cluster) answer(w http.ResponseWriter, r *http.Request, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		c.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store") // a token is a secret, a status is old at once
	// An error means that the client is gone.
	_, _ = w.Write(append(body, '\n'))
}
