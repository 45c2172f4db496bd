package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// clusterScript keeps the nodes. It is found from the repository's root, where scripts/bench runs.
	clusterScript = "scripts/cluster"
	nodesTimeout  = 2 * time.Minute  // for all nodes to be connected
	endTimeout    = 30 * time.Second // for a node that was told to end
)

// nodes is a cluster of real nodes in network namespaces, each with an address of its own. They are
// numbered from 1.
type nodes struct {
	binary, dir string
	count       int
	net         string // the first three numbers of their addresses
	log         io.Writer
}

// startNodes begins a cluster of count nodes and returns when all of them are connected.
func startNodes(ctx context.Context, binary string, count int, log io.Writer) (*nodes, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "clusterd-measure-")
	if err != nil {
		return nil, err
	}
	n := &nodes{binary: binary, dir: dir, count: count, log: log}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(err, n.stop())
	}
	text, err := os.ReadFile(filepath.Join(dir, "cluster"))
	if err == nil {
		n.net, err = parseNet(text)
	}
	if err != nil {
		return nil, errors.Join(err, n.stop())
	}
	return n, nil
}

// parseNet reads the script's note of the network that it has chosen.
func parseNet(text []byte) (string, error) {
	for line := range strings.Lines(string(text)) {
		if net, ok := strings.CutPrefix(strings.TrimSpace(line), "net="); ok && strings.Count(net, ".") == 2 {
			return net, nil
		}
	}
	return "", fmt.Errorf("no network in the notes of %s: %q", clusterScript, text)
}

// start makes sure that all nodes run and are connected: those that have ended start again.
func (n *nodes) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, nodesTimeout, fmt.Errorf("nodes not connected after %v", nodesTimeout))
	defer cancel()
	return n.script(ctx, strconv.Itoa(n.count))
}

// stop ends all nodes and their tasks and removes what they have left, even after an interrupt.
func (n *nodes) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return errors.Join(n.script(ctx, "stop"), os.RemoveAll(n.dir))
}

// script runs the cluster's script. What it prints is only of interest when it fails.
func (n *nodes) script(ctx context.Context, arg string) error {
	cmd := exec.CommandContext(ctx, clusterScript, arg)
	cmd.Env = append(os.Environ(), "CLUSTER_DIR="+n.dir, "CLUSTER_BINARY="+n.binary)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", clusterScript, arg, err, strings.TrimSpace(out.String()))
	}
	return nil
}

// masters are the addresses of all nodes' master APIs.
func (n *nodes) masters() []string {
	all := make([]string, 0, n.count)
	for i := range n.count {
		all = append(all, fmt.Sprintf("%s.%d:5050", n.net, 11+i))
	}
	return all
}

// at is the number of the node with this address of the master API.
func (n *nodes) at(master string) (int, error) {
	for i, m := range n.masters() {
		if m == master {
			return i + 1, nil
		}
	}
	return 0, fmt.Errorf("%s is none of the nodes %s", master, strings.Join(n.masters(), ", "))
}

// process is that of a node, as the script has noted it.
func (n *nodes) process(node int) (process, error) {
	path := filepath.Join(n.dir, "nodes", strconv.Itoa(node))
	text, err := os.ReadFile(path)
	if err != nil {
		return process{}, err
	}
	pid, born, err := parseBirth(text)
	if err != nil {
		return process{}, fmt.Errorf("%s: %w", path, err)
	}
	p, err := readProcess(pid)
	if err != nil {
		return process{}, fmt.Errorf("node %d does not run: %w", node, err)
	}
	if p.start != born {
		return process{}, fmt.Errorf("node %d does not run: process %d is another one", node, pid)
	}
	return p, nil
}

// parseBirth reads "PID TICKS": a process, and when it began.
func parseBirth(text []byte) (pid int, born uint64, err error) {
	_, err = fmt.Sscanf(string(text), "%d %d", &pid, &born)
	return pid, born, err
}

// signal sends a node a signal. It returns what waits for the end of the node.
func (n *nodes) signal(node int, sig syscall.Signal) (ended func(context.Context) error, err error) {
	p, err := n.process(node)
	if err != nil {
		return nil, err
	}
	if err := syscall.Kill(p.pid, sig); err != nil {
		return nil, fmt.Errorf("end node %d: %w", node, err)
	}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeoutCause(ctx, endTimeout, fmt.Errorf("node %d did not end within %v", node, endTimeout))
		defer cancel()
		return poll(ctx, func() (bool, error) {
			now, err := readProcess(p.pid)
			return err != nil || now.start != p.start, nil
		})
	}, nil
}

// pollInterval is the time between two looks, and so the error of what is found by looking.
const pollInterval = 10 * time.Millisecond

// poll asks until the answer is yes, or an error.
func poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
