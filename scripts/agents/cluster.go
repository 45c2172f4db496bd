package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"time"
)

// socketName lies in the data directory of every node.
const socketName = "clusterd.sock"

const (
	lookTime      = 30 * time.Second // for the cluster to have a leader
	lookPause     = 500 * time.Millisecond
	maxStatusSize = 256 << 20
)

// cluster is what is known of the cluster before the first agent joins.
type cluster struct {
	Version string   `json:"version"`
	Peers   []string `json:"peers"`   // HOST:PORT of the masters for nodes
	Masters []string `json:"masters"` // HOST:PORT of their public API, the leader first
	Token   string   `json:"token"`
}

// inquiry is how the cluster is asked: through the socket of a node on this machine, or the public API of
// any node.
type inquiry struct {
	client *http.Client
	base   string
	admin  bool
}

func throughSocket(dir string) *inquiry {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, socketName))
	}
	return &inquiry{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, "http://clusterd", true}
}

func throughMaster(addr string) *inquiry {
	return &inquiry{&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, "http://" + addr, false}
}

// look finds out about the cluster. It waits a while for one that has no leader at this moment.
func (q *inquiry) look(ctx context.Context) (*cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	for {
		c, err := q.status(ctx)
		if err == nil {
			return c, nil
		}
		pause(ctx, lookPause)
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

func (q *inquiry) status(ctx context.Context) (*cluster, error) {
	var status struct {
		Version string `json:"version"`
		Leader  *struct {
			NodeID string `json:"node_id"`
		} `json:"leader"`
		Nodes []struct {
			ID            string `json:"id"`
			PeerAddress   string `json:"peer_address"`
			MasterAddress string `json:"master_address"`
			RaftState     string `json:"raft_state"`
		} `json:"nodes"`
	}
	if err := q.ask(ctx, http.MethodGet, "/cluster/status", nil, &status); err != nil {
		return nil, err
	}
	if status.Leader == nil {
		return nil, errors.New("the cluster has no leading master at this moment")
	}
	c := &cluster{Version: status.Version}
	for _, n := range status.Nodes {
		switch {
		case n.ID == status.Leader.NodeID:
			c.Peers, c.Masters = slices.Insert(c.Peers, 0, n.PeerAddress), slices.Insert(c.Masters, 0, n.MasterAddress)
		case n.RaftState == "voter":
			c.Peers, c.Masters = append(c.Peers, n.PeerAddress), append(c.Masters, n.MasterAddress)
		}
	}
	if len(c.Peers) == 0 {
		return nil, errors.New("the cluster names no master")
	}
	return c, nil
}

// token is the join token for agents.
func (q *inquiry) token(ctx context.Context) (string, error) {
	var answer struct {
		Token string `json:"token"`
	}
	if err := q.ask(ctx, http.MethodPost, "/cluster/token", map[string]string{"role": "agent"}, &answer); err != nil {
		return "", fmt.Errorf("join token: %w", err)
	}
	return answer.Token, nil
}

func (q *inquiry) ask(ctx context.Context, method, path string, question, answer any) error {
	var body io.Reader
	if question != nil {
		text, err := json.Marshal(question)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, q.base+path, body)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := q.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // all was read, or an error says more
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %w", method, path, answerError(resp))
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStatusSize)).Decode(answer); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}
