package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"clusterd/node/trust"
)

// spareFiles is how many of its files a process needs for other things than agents.
const spareFiles = 256

// herd is all agents, in this process or in others.
type herd interface {
	// picture is where they stand.
	picture() picture
	// failure yields an error if they cannot go on.
	failure() <-chan error
	// end takes them away, after a farewell if leave is set. What is left over when ctx ends is gone
	// without one.
	end(ctx context.Context, leave bool) error
}

// processCount is how many processes the settings ask for, or the connections need.
func processCount(s *settings) (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("limit of open files: %w", err)
	}
	if limit.Cur <= 2*spareFiles {
		return 0, fmt.Errorf("a process may open %d files, which is too few: set more with ulimit -n", limit.Cur)
	}
	each := int(min(limit.Cur-spareFiles, maxNumber))
	need := (s.agents + each - 1) / each
	if s.processes > 0 && s.processes < need {
		return 0, fmt.Errorf("-processes: %d agents need %d processes, as each may open %d files", s.agents, need, limit.Cur)
	}
	return min(max(s.processes, need), s.agents), nil
}

// recruit starts the agents of one part out of several.
func recruit(s *settings, c *cluster, part, parts int) (herd, error) {
	first, end := s.first+s.agents*part/parts, s.first+s.agents*(part+1)/parts
	profiles, err := s.profiles(first, end)
	if err != nil {
		return nil, err
	}
	cfg := crewConfig{
		script: &s.script, first: first, profiles: profiles, peers: c.Peers, version: c.Version,
		loops: loopCount(), dials: max(1, s.dials/parts), joins: max(1, s.joins/parts), seed: s.seed,
	}
	if s.state != "" {
		if cfg.archive, cfg.ids, err = openArchive(s.state, part, first, end); err != nil {
			return nil, err
		}
	}
	if c.Token != "" {
		if cfg.token, err = trust.ParseToken(c.Token); err != nil {
			return nil, errors.Join(fmt.Errorf("-token: %w", err), cfg.archive.close())
		}
	} else if len(cfg.ids) < end-first {
		return nil, errors.Join(errors.New("-token: a token is needed to join: run 'clusterd token --role agent' on a node of the cluster"), cfg.archive.close())
	}
	return newCrew(cfg), nil
}

func (c *crew) failure() <-chan error { return c.failed }

func (c *crew) end(ctx context.Context, leave bool) error {
	if leave {
		c.leave(ctx)
	}
	return c.close()
}

// children are processes that share the agents. Each gets what is known of the cluster on its standard
// input, and ends in order when that is closed; each writes its picture to its standard output, now and
// then.
type children struct {
	all    []*child
	failed chan error
	wg     sync.WaitGroup
}

type child struct {
	cmd   *exec.Cmd
	input io.WriteCloser

	mu      sync.Mutex
	picture picture
}

// farewell, on the standard input, has the agents unregister at the end.
const farewell = "leave\n"

// startChildren starts this program again, once for each part.
func startChildren(args []string, c *cluster, parts int, log io.Writer) (*children, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := &children{failed: make(chan error, 1)}
	for part := range parts {
		one, err := h.start(self, append(args[:len(args):len(args)], "-processes", strconv.Itoa(parts), "-part", strconv.Itoa(part)), c, log)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start process %d: %w", part, err), h.end(context.Background(), false))
		}
		h.all = append(h.all, one)
	}
	return h, nil
}

func (h *children) start(self string, args []string, c *cluster, log io.Writer) (*child, error) {
	one := &child{cmd: exec.Command(self, args...)}
	one.cmd.Stderr = log
	var err error
	if one.input, err = one.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := one.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := one.cmd.Start(); err != nil {
		return nil, err
	}
	h.wg.Go(func() {
		err := one.follow(output)
		if waited := one.cmd.Wait(); waited != nil {
			err = waited // it has said why itself
		}
		if err != nil {
			select {
			case h.failed <- fmt.Errorf("process %d: %w", one.cmd.Process.Pid, err):
			default:
			}
		}
	})
	return one, json.NewEncoder(one.input).Encode(c)
}

// follow reads the pictures of a child to their end.
func (o *child) follow(output io.Reader) error {
	pictures := json.NewDecoder(output)
	for {
		var p picture
		switch err := pictures.Decode(&p); {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("picture: %w", err)
		}
		o.mu.Lock()
		o.picture = p
		o.mu.Unlock()
	}
}

func (h *children) picture() picture {
	var sum picture
	for _, o := range h.all {
		o.mu.Lock()
		sum = sum.plus(o.picture)
		o.mu.Unlock()
	}
	return sum
}

func (h *children) failure() <-chan error { return h.failed }

func (h *children) end(ctx context.Context, leave bool) error {
	var errs []error
	for _, o := range h.all {
		if leave {
			_, err := io.WriteString(o.input, farewell)
			errs = append(errs, err)
		}
		errs = append(errs, o.input.Close())
	}
	h.wg.Wait()
	select {
	case err := <-h.failed:
		errs = append(errs, err)
	default:
	}
	return errors.Join(errs...)
}

// runPart is the whole life of a child.
func runPart(s *settings, in io.Reader, out io.Writer) error {
	input := bufio.NewReader(in)
	line, err := input.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read about the cluster: %w", err)
	}
	c := new(cluster)
	if err := json.Unmarshal(line, c); err != nil {
		return fmt.Errorf("read about the cluster: %w", err)
	}
	crew, err := recruit(s, c, s.part, s.processes)
	if err != nil {
		return err
	}
	last := make(chan string, 1)
	go func() {
		order, _ := io.ReadAll(input) // however it ends, the parent is gone
		last <- string(order)
	}()
	tick := time.NewTicker(pictureEvery)
	defer tick.Stop()
	pictures := json.NewEncoder(out)
	for {
		select {
		case <-tick.C:
			if err := pictures.Encode(crew.picture()); err != nil {
				return errors.Join(err, crew.end(context.Background(), false))
			}
		case err := <-crew.failure():
			return errors.Join(err, crew.end(context.Background(), false))
		case order := <-last:
			ctx, cancel := context.WithTimeout(context.Background(), farewellTime)
			defer cancel()
			err := pictures.Encode(crew.picture())
			return errors.Join(err, crew.end(ctx, order == farewell))
		}
	}
}

const (
	// pictureEvery is the time between two pictures of the agents.
	pictureEvery = 100 * time.Millisecond
	// farewellTime is how long agents may take to unregister.
	farewellTime = 30 * time.Second
)
