package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"clusterd/node/agent"
	"clusterd/node/api"
)

const (
	// leaveTime is how long the removal of a node that leaves may take after its tasks have ended.
	leaveTime  = time.Minute
	leavePause = 250 * time.Millisecond
)

// Leave implements api.Cluster: this node leaves for good. First its tasks end, then the cluster takes it
// from its list, then it forgets who it was and ends.
func (o clusterOffice) Leave(ctx context.Context, r api.LeaveRequest) error {
	n := o.n
	status, err := n.askStatus(ctx)
	if err != nil {
		return err
	}
	if len(status.Nodes) == 1 {
		return &api.ConflictError{Text: "this node is the only one of the cluster: stop it, and remove " + n.config.DataDir + " to give the cluster up"}
	}
	if !n.leaving.CompareAndSwap(false, true) {
		return &api.ConflictError{Text: "this node is leaving already"}
	}
	if err := o.leave(ctx, r); err != nil {
		n.leaving.Store(false)
		return err
	}
	n.log.Info("this node has left the cluster")
	n.fail(nil)
	return nil
}

func (o clusterOffice) leave(ctx context.Context, r api.LeaveRequest) error {
	n := o.n
	if r.Drain && n.agent != nil {
		if err := n.drainSelf(ctx, r); err != nil {
			return err
		}
	}
	if err := n.endTasks(ctx); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	for {
		err := n.changeSelf(within, api.NodeRemove, nil)
		var gone *api.UnknownNodeError
		var wait *api.NoLeaderError
		switch {
		case err == nil, errors.As(err, &gone): // gone: an earlier try was more of a success than it seemed
			return n.forget()
		case !errors.As(err, &wait):
			return err
		}
		n.log.Debug("not removed yet", slog.Any("error", err))
		select {
		case <-within.Done():
			return err
		case <-time.After(leavePause):
		}
	}
}

// endTasks makes the agent take its leave of the master and waits for the end of its executors.
func (n *Node) endTasks(ctx context.Context) error {
	if n.agent == nil {
		return nil
	}
	n.agent.box.post(agent.Leave{})
	select {
	case why := <-n.agent.ended:
		n.agent.shutdown(why) // Close looks for it too
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(n.config.ExecutorShutdownGracePeriod + 10*time.Second):
		n.log.Warn("executors did not end in time")
	}
	return nil
}

// dismissed ends a node that the cluster has removed. Its tasks count as gone: nobody else would end them.
func (n *Node) dismissed(reason string) {
	if !n.leaving.CompareAndSwap(false, true) {
		return // that is what it wants
	}
	n.log.Error("the cluster does not take this node any more: its tasks end", slog.String("reason", reason))
	if err := n.endTasks(n.ctx); err != nil {
		n.log.Warn("tasks not ended", slog.Any("error", err))
	}
	n.fail(fmt.Errorf("the cluster does not take this node: %s", reason))
}

// drainSelf ends the tasks of this node within their grace periods and waits for the end.
func (n *Node) drainSelf(ctx context.Context, r api.LeaveRequest) error {
	body, err := json.Marshal(api.DrainRequest{MaxGraceSeconds: r.MaxGraceSeconds})
	if err != nil {
		return err
	}
	if err := n.changeSelf(ctx, api.NodeDrain, body); err != nil {
		return err
	}
	for {
		status, err := n.askStatus(ctx)
		if err == nil {
			node, err := api.FindNode(status.Nodes, n.identity().NodeID)
			if err != nil {
				return err
			}
			if node.AgentState == api.AgentDrained {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(leavePause):
		}
	}
}

// askStatus is the leader's picture of the cluster.
func (n *Node) askStatus(ctx context.Context) (*api.ClusterStatus, error) {
	if n.acting() != nil {
		return clusterOffice{n}.Status(ctx)
	}
	status := &api.ClusterStatus{}
	return status, n.askLeader(ctx, http.MethodGet, "/cluster/status", nil, status)
}

// changeSelf has the leader carry out a verb for this node.
func (n *Node) changeSelf(ctx context.Context, verb string, body []byte) error {
	id := n.identity().NodeID
	if n.acting() != nil {
		var r api.DrainRequest
		if body != nil {
			if err := json.Unmarshal(body, &r); err != nil {
				return err
			}
		}
		return clusterOffice{n}.ChangeNode(ctx, id, verb, r)
	}
	return n.askLeader(ctx, http.MethodPost, "/cluster/nodes/"+id+"/"+verb, body, nil)
}

// askLeader sends a request to the cluster's API of the leading master; into gets its answer.
func (n *Node) askLeader(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "https://leader"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := forward{n}.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("%w (%w)", n.noLeader(), err)
	}
	defer resp.Body.Close() // all is read
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("%w (%w)", n.noLeader(), err)
	}
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		return fmt.Errorf("%w (%s)", n.noLeader(), strings.TrimSpace(string(text)))
	case resp.StatusCode == http.StatusNotFound:
		return &api.UnknownNodeError{Node: n.identity().NodeID}
	case resp.StatusCode == http.StatusConflict:
		return &api.ConflictError{Text: strings.TrimSpace(string(text))}
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("the leading master answered %s: %s", resp.Status, strings.TrimSpace(string(text)))
	case into == nil:
		return nil
	}
	return json.Unmarshal(text, into)
}

// maxAnswerBytes bounds what is read of the leader's answers: the status of a very large cluster.
const maxAnswerBytes = 256 << 20

// forget drops who this node was, so that its directory can join a cluster again. What its tasks have
// left, and the files of its raft member, stay until something takes their place.
func (n *Node) forget() error {
	dir := n.config.DataDir
	return errors.Join(
		os.Remove(filepath.Join(dir, identityName)),
		os.RemoveAll(filepath.Join(dir, tlsName)),
		ignoreMissing(os.Remove(filepath.Join(dir, "agent", "meta", "slaves", "latest"))),
		syncDir(dir),
	)
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
