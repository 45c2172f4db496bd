package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	"clusterd/node/mesos/v1scheduler"
)

const (
	// silence is how long a master may send no event: five heartbeats.
	silence        = 75 * time.Second
	subscribeTime  = 30 * time.Second
	maxEventBytes  = 64 << 20
	schedulerPath  = "/api/v1/scheduler"
	streamIDHeader = "Mesos-Stream-Id"
)

// session keeps one framework subscribed at the leading master, through the public v1 API, whoever that
// is.
type session struct {
	masters []string // HOST:PORT
	media   mesos.MediaType
	client  *http.Client
	fault   func(kind string, err error)

	mu         sync.Mutex
	core       *scheduler
	subscribed bool
	ending     bool   // torn down, or about to be
	master     string // that answered last
	stream     string // id of the open stream
}

func newSession(core *scheduler, masters []string, media mesos.MediaType, fault func(string, error)) *session {
	client := &http.Client{
		Transport:     &http.Transport{ResponseHeaderTimeout: subscribeTime, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &session{masters: masters, media: media, client: client, fault: fault, core: core}
}

// run keeps the framework subscribed until ctx ends.
func (s *session) run(ctx context.Context) {
	defer s.client.CloseIdleConnections()
	wait := time.Duration(0)
	for next := 0; ctx.Err() == nil; next++ {
		at := s.masters[next%len(s.masters)]
		began := time.Now()
		err := s.follow(ctx, at)
		if ctx.Err() != nil || s.over() {
			return
		}
		s.fault("framework", err)
		if time.Since(began) > steady {
			wait = 0
		}
		wait = min(wait*3/2+firstRetry, lastRetry)
		pause(ctx, wait/2+rand.N(wait/2))
	}
}

// over says that the framework has ended, or is about to.
func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ending
}

// follow subscribes at a master, or where it says that the leader is.
func (s *session) follow(ctx context.Context, at string) error {
	for range maxHops {
		to, err := s.subscribe(ctx, at)
		if to == "" {
			return err
		}
		at = to
	}
	return fmt.Errorf("subscribe: more than %d redirections", maxHops)
}

// subscribe holds one subscription to its end. A master that does not lead names another.
func (s *session) subscribe(ctx context.Context, master string) (leader string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.mu.Lock()
	call := s.core.subscribe()
	s.mu.Unlock()
	resp, err := s.post(ctx, master, call, "")
	if err != nil {
		return "", fmt.Errorf("subscribe at %s: %w", master, err)
	}
	defer resp.Body.Close() // the stream has ended, or an error says more
	if resp.StatusCode == http.StatusTemporaryRedirect {
		to, err := url.Parse(resp.Header.Get("Location"))
		if err != nil || to.Host == "" || to.Host == master {
			return "", fmt.Errorf("subscribe at %s: it names no leader", master)
		}
		return to.Host, nil
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("subscribe at %s: %w", master, answerError(resp))
	}
	stream := resp.Header.Get(streamIDHeader)
	calls, err := dialCaller(ctx, master, s.media.String(), stream)
	if err != nil {
		return "", fmt.Errorf("calls to %s: %w", master, err)
	}
	defer calls.close()
	stop := context.AfterFunc(ctx, func() { _ = resp.Body.Close() })
	defer stop()
	go func() {
		if err := calls.reason(); err != nil {
			cancel(err)
		}
	}()
	s.open(master, stream)
	defer s.open(master, "")
	err = s.read(resp.Body, calls, time.AfterFunc(silence, func() { cancel(fmt.Errorf("master %s is silent", master)) }))
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return "", err
}

func (s *session) open(master, stream string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.master, s.stream = master, stream
	if stream == "" {
		s.subscribed = false
	}
}

func answerError(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	return errors.Join(&callError{resp.StatusCode, strings.TrimSpace(string(text))}, err)
}

// read hands the events of a stream to the core, and what that wants to the caller.
func (s *session) read(body io.Reader, calls *caller, silent *time.Timer) error {
	defer silent.Stop()
	records := mesos.NewRecordReader(body, maxEventBytes)
	for {
		record, err := records.Next()
		if err != nil {
			return fmt.Errorf("event stream: %w", err)
		}
		silent.Reset(silence)
		ev := new(v1scheduler.Event)
		if err := s.media.Unmarshal(record, ev); err != nil {
			return fmt.Errorf("event stream: %w", err)
		}
		switch ev.GetType() {
		case v1scheduler.Event_ERROR:
			return fmt.Errorf("the master says: %s", ev.GetError().GetMessage())
		case v1scheduler.Event_SUBSCRIBED:
			s.mu.Lock()
			s.subscribed = true
			s.mu.Unlock()
		}
		if err := s.step(ev, calls); err != nil {
			return err
		}
	}
}

func (s *session) step(ev *v1scheduler.Event, calls *caller) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, call := range s.core.Step(time.Now(), ev, calls.answered.Load()) {
		body, err := s.media.Marshal(call)
		if err != nil {
			return err
		}
		calls.post(body)
	}
	return nil
}

func (s *session) post(ctx context.Context, master string, call proto.Message, stream string) (*http.Response, error) {
	body, err := s.media.Marshal(call)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+master+schedulerPath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", s.media.String())
	req.Header.Set("Accept", s.media.String())
	if stream != "" {
		req.Header.Set(streamIDHeader, stream)
	}
	return s.client.Do(req)
}

// teardown ends the framework and its tasks. It is called before the context of run ends.
func (s *session) teardown(ctx context.Context) error {
	s.mu.Lock()
	master, stream, call := s.master, s.stream, s.core.call(v1scheduler.Call_TEARDOWN)
	name := s.core.Name
	s.ending = true
	s.mu.Unlock()
	if stream == "" {
		return fmt.Errorf("framework %s is not subscribed: it cannot be torn down", name)
	}
	resp, err := s.post(ctx, master, call, stream)
	if err != nil {
		return fmt.Errorf("tear framework %s down: %w", name, err)
	}
	defer resp.Body.Close() // it is empty
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("tear framework %s down: %w", name, answerError(resp))
	}
	return nil
}

// figures are those of the framework now.
func (s *session) figures() figures {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.core.figures
	if s.subscribed {
		f.Frameworks = 1
	}
	return f
}
