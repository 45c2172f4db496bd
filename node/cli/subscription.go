package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"

	"google.golang.org/protobuf/proto"
)

const maxEventBytes = 64 << 20

// subscription is one SUBSCRIBE stream of the scheduler API and the calls that belong to it.
type subscription struct {
	cl       *client
	streamID string
	body     io.ReadCloser
	records  *mesos.RecordReader
}

func (cl *client) subscribe(ctx context.Context, info *v1.FrameworkInfo) (*subscription, error) {
	call := &v1scheduler.Call{
		Type: v1scheduler.Call_SUBSCRIBE.Enum(), FrameworkId: info.Id,
		Subscribe: &v1scheduler.Call_Subscribe{FrameworkInfo: info},
	}
	s := &subscription{cl: cl}
	resp, err := s.post(ctx, call)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, answerError("master "+cl.leader, resp)
	}
	s.streamID = resp.Header.Get("Mesos-Stream-Id")
	s.body, s.records = resp.Body, mesos.NewRecordReader(resp.Body, maxEventBytes)
	return s, nil
}

func (s *subscription) post(ctx context.Context, call *v1scheduler.Call) (*http.Response, error) {
	body, err := mesos.Protobuf.Marshal(call)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.cl.leader+"/api/v1/scheduler", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", mesos.Protobuf.String())
	req.Header.Set("Accept", mesos.Protobuf.String())
	if s.streamID != "" {
		req.Header.Set("Mesos-Stream-Id", s.streamID)
	}
	resp, err := s.cl.http.Do(req)
	if err != nil {
		return nil, unreachable("master", s.cl.leader, err)
	}
	return resp, nil
}

// next waits for the next event.
func (s *subscription) next() (*v1scheduler.Event, error) {
	record, err := s.records.Next()
	if err != nil {
		return nil, err
	}
	ev := &v1scheduler.Event{}
	if err := mesos.Protobuf.Unmarshal(record, ev); err != nil {
		return nil, fmt.Errorf("event from master %s: %w", s.cl.leader, err)
	}
	return ev, nil
}

// call sends one call; the answer must be 202.
func (s *subscription) call(ctx context.Context, framework *v1.FrameworkID, call *v1scheduler.Call) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	call = proto.CloneOf(call)
	call.FrameworkId = framework
	resp, err := s.post(ctx, call)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return answerError("master "+s.cl.leader, resp)
	}
	return nil
}

func (s *subscription) close() { _ = s.body.Close() }

func terminal(state string) bool {
	v, ok := v1.TaskState_value[state]
	return ok && mesos.Terminal(v1.TaskState(v))
}

func seconds(d time.Duration) *v1.DurationInfo {
	return &v1.DurationInfo{Nanoseconds: proto.Int64(int64(d))}
}
