package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	callTimeout   = 30 * time.Second
	eventTimeout  = 2 * time.Minute // without one that brings a figure further
	maxEventBytes = 64 << 20
	ackers        = 4 // acknowledgements on their way at the same time
	maxTasks      = 5000
)

// event is what the scheduler API sent, and when the last byte of it was here.
type event struct {
	at time.Time
	message
}

// framework is one subscription. Updates are acknowledged as they come.
type framework struct {
	http       *http.Client
	url        *url.URL // of the leading master's scheduler API
	stream     string
	id         *id
	subscribed time.Time // when the master had accepted
	body       io.ReadCloser
	events     chan event
	acks       chan taskStatus
	done       sync.WaitGroup
	ctx        context.Context
	fail       context.CancelCauseFunc
	cut        time.Time // when the stream ended; to be read when ctx is over
}

// subscribe registers a framework in a role. It ends with ctx or close.
func subscribe(ctx context.Context, master, role string) (*framework, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: ackers + 2, ResponseHeaderTimeout: callTimeout}}
	return subscribeAs(ctx, client, master, frameworkInfo{
		User: "root", Name: "measure-" + role, Roles: []string{role}, Capabilities: []capability{{Type: "MULTI_ROLE"}},
	})
}

// subscribeAs registers a framework, or one again that has an id already. A master that does not lead may
// name the one that does.
func subscribeAs(ctx context.Context, client *http.Client, master string, info frameworkInfo) (*framework, error) {
	f := &framework{
		http: client, url: &url.URL{Scheme: "http", Host: master, Path: "/api/v1/scheduler"}, id: info.ID,
		events: make(chan event, 2*maxTasks),
		acks:   make(chan taskStatus, 4*maxTasks),
	}
	f.ctx, f.fail = context.WithCancelCause(ctx)
	resp, err := f.post(f.ctx, &call{Type: "SUBSCRIBE", FrameworkID: info.ID, Subscribe: &subscribeCall{FrameworkInfo: info}}, http.StatusOK)
	if err != nil {
		f.fail(nil)
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	f.url = resp.Request.URL
	f.stream, f.body = resp.Header.Get("Mesos-Stream-Id"), resp.Body
	f.done.Go(f.read)
	for range ackers {
		f.done.Go(f.acknowledge)
	}
	ev, err := f.next(ctx)
	if err == nil && ev.Type != "SUBSCRIBED" {
		err = fmt.Errorf("first event is %s, not SUBSCRIBED", ev.Type)
	}
	if err != nil {
		f.abandon()
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	f.id, f.subscribed = &ev.Subscribed.FrameworkID, ev.at
	return f, nil
}

// read turns the stream into events.
func (f *framework) read() {
	stream := bufio.NewReader(f.body)
	for {
		record, err := readRecord(stream)
		ev := event{at: time.Now()}
		if err == nil {
			err = json.Unmarshal(record, &ev.message)
		}
		if err != nil {
			f.cut = ev.at
			f.fail(fmt.Errorf("event stream: %w", err))
			return
		}
		switch ev.Type {
		case "HEARTBEAT":
			continue
		case "ERROR":
			f.fail(fmt.Errorf("the master says: %s", ev.Error.Message))
			return
		case "UPDATE":
			if s := ev.Update.Status; len(s.UUID) > 0 {
				select {
				case f.acks <- s:
				case <-f.ctx.Done():
					return
				}
			}
		}
		select {
		case f.events <- ev:
		case <-f.ctx.Done():
			return
		}
	}
}

func (f *framework) acknowledge() {
	for {
		select {
		case s := <-f.acks:
			err := f.call(&call{Type: "ACKNOWLEDGE", Acknowledge: &acknowledgeCall{AgentID: s.AgentID, TaskID: s.TaskID, UUID: s.UUID}})
			if err != nil {
				f.fail(fmt.Errorf("acknowledge: %w", err))
				return
			}
		case <-f.ctx.Done():
			return
		}
	}
}

// next waits for the next event.
func (f *framework) next(ctx context.Context) (event, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, eventTimeout, fmt.Errorf("no event for %v", eventTimeout))
	defer cancel()
	select {
	case ev := <-f.events:
		return ev, nil
	case <-f.ctx.Done():
		return event{}, context.Cause(f.ctx)
	case <-ctx.Done():
		return event{}, context.Cause(ctx)
	}
}

// call sends a call that is answered with 202.
func (f *framework) call(c *call) error { return f.callWith(f.ctx, c) }

func (f *framework) callWith(ctx context.Context, c *call) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c.FrameworkID = f.id
	resp, err := f.post(ctx, c, http.StatusAccepted)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (f *framework) post(ctx context.Context, c *call, want int) (*http.Response, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if f.stream != "" {
		req.Header.Set("Mesos-Stream-Id", f.stream)
	}
	resp, err := f.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != want {
		defer resp.Body.Close()
		text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return nil, errors.Join(fmt.Errorf("%s is answered with %d: %s", c.Type, resp.StatusCode, strings.TrimSpace(string(text))), err)
	}
	return resp, nil
}

// close ends the framework and with it its tasks.
func (f *framework) close() error {
	var err error
	if f.id != nil && f.ctx.Err() == nil {
		// The stream may end before the answer is here.
		err = f.callWith(context.WithoutCancel(f.ctx), &call{Type: "TEARDOWN"})
	}
	f.abandon()
	return err
}

// abandon ends the stream and nothing else: the framework and its tasks stay for its failover timeout.
func (f *framework) abandon() {
	f.fail(errors.New("closed"))
	_ = f.body.Close() // it may be broken, which is why it is left
	f.done.Wait()
	f.http.CloseIdleConnections()
}

// master is the HOST:PORT of the master that has accepted the subscription.
func (f *framework) master() string { return f.url.Host }

// over waits for the end of the stream and says when that was.
func (f *framework) over(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, fmt.Errorf("the stream has not ended after %v", callTimeout))
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		f.done.Wait() // the reader is one of them
		close(stopped)
	}()
	select {
	case <-stopped:
		return f.cut, nil
	case <-ctx.Done():
		return time.Time{}, context.Cause(ctx)
	}
}

// awaitAgents waits until the leading master has so many registered agents.
func (f *framework) awaitAgents(ctx context.Context, count int) error {
	var here, recovering int
	ctx, cancel := context.WithTimeoutCause(ctx, agentsTime, fmt.Errorf("not all agents are back after %v", agentsTime))
	defer cancel()
	err := poll(ctx, func() (bool, error) {
		var err error
		here, recovering, err = f.agents(ctx)
		if f.ctx.Err() != nil {
			return false, errors.Join(context.Cause(f.ctx), err)
		}
		return here >= count, err
	})
	if err != nil {
		return fmt.Errorf("%d of %d agents are registered, %d recovering: %w", here, count, recovering, err)
	}
	return nil
}

// agents counts those that are registered with the leading master, and those that it still expects.
func (f *framework) agents(ctx context.Context) (here, recovering int, err error) {
	at := *f.url
	at.Path = "/api/v1"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), strings.NewReader(`{"type":"GET_AGENTS"}`))
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := f.http.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close() // all is read
	if resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("GET_AGENTS is answered with %s", resp.Status)
	}
	var answer struct {
		GetAgents struct {
			Agents []struct {
				Active bool `json:"active"`
			} `json:"agents"`
			Recovered []struct{} `json:"recovered_agents"`
		} `json:"get_agents"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxEventBytes)).Decode(&answer); err != nil {
		return 0, 0, fmt.Errorf("answer to GET_AGENTS: %w", err)
	}
	for _, a := range answer.GetAgents.Agents {
		if a.Active {
			here++
		}
	}
	return here, len(answer.GetAgents.Recovered), nil
}

// offer waits for one with at least so many cpus. Others are declined for good.
func (f *framework) offer(ctx context.Context, cpus float64) (*offer, error) {
	for {
		ev, err := f.next(ctx)
		if err != nil {
			return nil, fmt.Errorf("wait for an offer of %g cpus: %w", cpus, err)
		}
		var found *offer
		var small []id
		for _, o := range ev.Offers.Offers {
			if found == nil && o.cpus() >= cpus {
				found = &o
			} else {
				small = append(small, o.ID)
			}
		}
		if len(small) > 0 {
			if err := f.decline(small...); err != nil {
				return nil, err
			}
		}
		if found != nil {
			return found, nil
		}
	}
}

// only gets one offer with at least so many cpus, and no other until it is called again: none comes
// while a clock runs.
func (f *framework) only(ctx context.Context, cpus float64) (*offer, error) {
	if err := f.call(&call{Type: "REVIVE"}); err != nil {
		return nil, err
	}
	o, err := f.offer(ctx, cpus)
	if err != nil {
		return nil, err
	}
	return o, f.call(&call{Type: "SUPPRESS"})
}

func (o *offer) cpus() float64 {
	var sum float64
	for _, r := range o.Resources {
		if r.Name == "cpus" && r.Scalar != nil {
			sum += r.Scalar.Value
		}
	}
	return sum
}

func (f *framework) decline(ids ...id) error {
	return f.call(&call{Type: "DECLINE", Decline: &declineCall{OfferIDs: ids, Filters: filters{RefuseSeconds: 3600}}})
}

// accept launches tasks; what is left of the offer may be offered again at once.
func (f *framework) accept(o *offer, tasks []taskInfo) error {
	return f.call(&call{Type: "ACCEPT", Accept: &acceptCall{
		OfferIDs: []id{o.ID}, Operations: []operation{{Type: "LAUNCH", Launch: launchOperation{TaskInfos: tasks}}},
	}})
}

func (f *framework) kill(t taskInfo) error {
	return f.call(&call{Type: "KILL", Kill: &killCall{TaskID: t.TaskID, AgentID: t.AgentID}})
}

// What each task of a figure gets; the reference's containers have the same limits.
const (
	taskMilliCPUs = 100
	taskCPUs      = taskMilliCPUs / 1000.0
	taskMemMB     = 32
)

// tasks describes n tasks that run argv, without a shell, on the offer's agent.
func tasks(o *offer, prefix string, n int, cpus float64, argv ...string) []taskInfo {
	amount := func(name string, value float64) resource {
		return resource{Name: name, Type: "SCALAR", Scalar: &scalar{value}, AllocationInfo: &o.AllocationInfo}
	}
	all := make([]taskInfo, 0, n)
	for i := range n {
		name := fmt.Sprintf("%s-%d", prefix, i)
		all = append(all, taskInfo{
			Name: name, TaskID: id{name}, AgentID: o.AgentID,
			Resources: []resource{amount("cpus", cpus), amount("mem", taskMemMB)},
			Command:   command{Value: argv[0], Arguments: argv},
		})
	}
	return all
}
