package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
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
	*v1scheduler.Event
}

// framework is one subscription. Updates are acknowledged as they come.
type framework struct {
	http   *http.Client
	url    string
	stream string
	id     *v1.FrameworkID
	body   io.ReadCloser
	events chan event
	acks   chan *v1.TaskStatus
	done   sync.WaitGroup
	ctx    context.Context
	fail   context.CancelCauseFunc
}

// subscribe registers a framework in a role. It ends with ctx or close.
func subscribe(ctx context.Context, master, role string) (*framework, error) {
	f := &framework{
		http:   &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: ackers + 2, ResponseHeaderTimeout: callTimeout}},
		url:    "http://" + master + "/api/v1/scheduler",
		events: make(chan event, 2*maxTasks),
		acks:   make(chan *v1.TaskStatus, 4*maxTasks),
	}
	f.ctx, f.fail = context.WithCancelCause(ctx)
	resp, err := f.post(f.ctx, &v1scheduler.Call{
		Type: v1scheduler.Call_SUBSCRIBE.Enum(),
		Subscribe: &v1scheduler.Call_Subscribe{FrameworkInfo: &v1.FrameworkInfo{
			User: proto.String("root"), Name: proto.String("measure-" + role), Roles: []string{role},
			Capabilities: []*v1.FrameworkInfo_Capability{{Type: v1.FrameworkInfo_Capability_MULTI_ROLE.Enum()}},
		}},
	}, http.StatusOK)
	if err != nil {
		f.fail(nil)
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	f.stream, f.body = resp.Header.Get("Mesos-Stream-Id"), resp.Body
	f.done.Go(f.read)
	for range ackers {
		f.done.Go(f.acknowledge)
	}
	ev, err := f.next(ctx)
	if err == nil && ev.GetType() != v1scheduler.Event_SUBSCRIBED {
		err = fmt.Errorf("first event is %v, not SUBSCRIBED", ev.GetType())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe: %w", err), f.close())
	}
	f.id = ev.GetSubscribed().GetFrameworkId()
	return f, nil
}

// read turns the stream into events.
func (f *framework) read() {
	records := mesos.NewRecordReader(f.body, maxEventBytes)
	for {
		record, err := records.Next()
		at := time.Now()
		ev := &v1scheduler.Event{}
		if err == nil {
			err = mesos.Protobuf.Unmarshal(record, ev)
		}
		if err != nil {
			f.fail(fmt.Errorf("event stream: %w", err))
			return
		}
		switch ev.GetType() {
		case v1scheduler.Event_HEARTBEAT:
			continue
		case v1scheduler.Event_ERROR:
			f.fail(fmt.Errorf("the master says: %s", ev.GetError().GetMessage()))
			return
		case v1scheduler.Event_UPDATE:
			if s := ev.GetUpdate().GetStatus(); len(s.GetUuid()) > 0 {
				select {
				case f.acks <- s:
				case <-f.ctx.Done():
					return
				}
			}
		}
		select {
		case f.events <- event{at, ev}:
		case <-f.ctx.Done():
			return
		}
	}
}

func (f *framework) acknowledge() {
	for {
		select {
		case s := <-f.acks:
			err := f.call(&v1scheduler.Call{
				Type:        v1scheduler.Call_ACKNOWLEDGE.Enum(),
				Acknowledge: &v1scheduler.Call_Acknowledge{AgentId: s.GetAgentId(), TaskId: s.GetTaskId(), Uuid: s.GetUuid()},
			})
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
func (f *framework) call(call *v1scheduler.Call) error { return f.callWith(f.ctx, call) }

func (f *framework) callWith(ctx context.Context, call *v1scheduler.Call) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	call.FrameworkId = f.id
	resp, err := f.post(ctx, call, http.StatusAccepted)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (f *framework) post(ctx context.Context, call *v1scheduler.Call, want int) (*http.Response, error) {
	body, err := mesos.Protobuf.Marshal(call)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", mesos.Protobuf.String())
	req.Header.Set("Accept", mesos.Protobuf.String())
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
		return nil, errors.Join(fmt.Errorf("%v is answered with %d: %s", call.GetType(), resp.StatusCode, strings.TrimSpace(string(text))), err)
	}
	return resp, nil
}

// close ends the framework and with it its tasks.
func (f *framework) close() error {
	var err error
	if f.id != nil && f.ctx.Err() == nil {
		// The stream may end before the answer is here.
		err = f.callWith(context.WithoutCancel(f.ctx), &v1scheduler.Call{Type: v1scheduler.Call_TEARDOWN.Enum()})
	}
	f.fail(errors.New("closed"))
	err = errors.Join(err, f.body.Close())
	f.done.Wait()
	f.http.CloseIdleConnections()
	return err
}

// offer waits for one with at least so many cpus. Others are declined for good.
func (f *framework) offer(ctx context.Context, cpus float64) (*v1.Offer, error) {
	for {
		ev, err := f.next(ctx)
		if err != nil {
			return nil, fmt.Errorf("wait for an offer of %g cpus: %w", cpus, err)
		}
		var found *v1.Offer
		var small []*v1.OfferID
		for _, o := range ev.GetOffers().GetOffers() {
			if found == nil && offeredCPUs(o) >= cpus {
				found = o
			} else {
				small = append(small, o.GetId())
			}
		}
		if len(small) > 0 {
			if err := f.decline(small); err != nil {
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
func (f *framework) only(ctx context.Context, cpus float64) (*v1.Offer, error) {
	if err := f.call(&v1scheduler.Call{Type: v1scheduler.Call_REVIVE.Enum()}); err != nil {
		return nil, err
	}
	o, err := f.offer(ctx, cpus)
	if err != nil {
		return nil, err
	}
	return o, f.call(&v1scheduler.Call{Type: v1scheduler.Call_SUPPRESS.Enum()})
}

func offeredCPUs(o *v1.Offer) float64 {
	var sum float64
	for _, r := range o.GetResources() {
		if r.GetName() == "cpus" {
			sum += r.GetScalar().GetValue()
		}
	}
	return sum
}

func (f *framework) decline(ids []*v1.OfferID) error {
	return f.call(&v1scheduler.Call{
		Type:    v1scheduler.Call_DECLINE.Enum(),
		Decline: &v1scheduler.Call_Decline{OfferIds: ids, Filters: &v1.Filters{RefuseSeconds: proto.Float64(3600)}},
	})
}

// accept launches tasks; what is left of the offer may be offered again at once.
func (f *framework) accept(o *v1.Offer, tasks []*v1.TaskInfo) error {
	return f.call(&v1scheduler.Call{
		Type: v1scheduler.Call_ACCEPT.Enum(),
		Accept: &v1scheduler.Call_Accept{
			OfferIds: []*v1.OfferID{o.GetId()}, Filters: &v1.Filters{RefuseSeconds: proto.Float64(0)},
			Operations: []*v1.Offer_Operation{{
				Type: v1.Offer_Operation_LAUNCH.Enum(), Launch: &v1.Offer_Operation_Launch{TaskInfos: tasks},
			}},
		},
	})
}

func (f *framework) kill(task *v1.TaskInfo) error {
	return f.call(&v1scheduler.Call{
		Type: v1scheduler.Call_KILL.Enum(),
		Kill: &v1scheduler.Call_Kill{TaskId: task.GetTaskId(), AgentId: task.GetAgentId()},
	})
}

// What each task of a figure gets; the reference's containers have the same limits.
const (
	taskMilliCPUs = 100
	taskCPUs      = taskMilliCPUs / 1000.0
	taskMemMB     = 32
)

// tasks describes n tasks that run argv, without a shell, on the offer's agent.
func tasks(o *v1.Offer, prefix string, n int, cpus float64, argv ...string) []*v1.TaskInfo {
	role := o.GetAllocationInfo().GetRole()
	scalar := func(name string, value float64) *v1.Resource {
		return &v1.Resource{
			Name: proto.String(name), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: proto.Float64(value)},
			AllocationInfo: &v1.Resource_AllocationInfo{Role: proto.String(role)},
		}
	}
	all := make([]*v1.TaskInfo, 0, n)
	for i := range n {
		id := fmt.Sprintf("%s-%d", prefix, i)
		all = append(all, &v1.TaskInfo{
			Name: proto.String(id), TaskId: mesos.TaskID(id).Proto(), AgentId: o.GetAgentId(),
			Resources: []*v1.Resource{scalar("cpus", cpus), scalar("mem", taskMemMB)},
			Command:   &v1.CommandInfo{Shell: proto.Bool(false), Value: proto.String(argv[0]), Arguments: argv},
		})
	}
	return all
}
