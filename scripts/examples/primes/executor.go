package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// executor runs tasks one beside the other and keeps what the agent has not taken over yet, so that
// a restart of the agent loses nothing.
type executor struct {
	client        *client
	framework, me id

	mu      sync.Mutex
	tasks   map[string]taskInfo   // launched, no update of theirs is acknowledged yet
	updates map[string]taskStatus // by UUID: not acknowledged yet
	order   []string
	online  bool
	cancel  map[string]context.CancelFunc
}

var errShutdown = errors.New("told to shut down")

func runExecutor(ctx context.Context) error {
	e := &executor{
		client:    newClient("http://" + os.Getenv("MESOS_AGENT_ENDPOINT") + "/api/v1/executor"),
		framework: id{os.Getenv("MESOS_FRAMEWORK_ID")}, me: id{os.Getenv("MESOS_EXECUTOR_ID")},
		tasks: make(map[string]taskInfo), updates: make(map[string]taskStatus), cancel: make(map[string]context.CancelFunc),
	}
	if e.framework.Value == "" || e.me.Value == "" {
		return errors.New("MESOS_FRAMEWORK_ID and MESOS_EXECUTOR_ID are not set: this mode is for agents to start")
	}
	giveUp := 15 * time.Minute
	lost := time.Now()
	for {
		err := e.client.subscribe(ctx, e.subscription(), func(record []byte) error {
			lost = time.Now()
			return e.event(ctx, record)
		})
		e.setOnline(false)
		switch {
		case errors.Is(err, errShutdown), ctx.Err() != nil:
			return nil
		case os.Getenv("MESOS_CHECKPOINT") != "1":
			return fmt.Errorf("agent is lost: %w", err)
		case time.Since(lost) > giveUp:
			return fmt.Errorf("agent did not come back within %s: %w", giveUp, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func (e *executor) header(kind string) map[string]any {
	return map[string]any{"type": kind, "framework_id": e.framework, "executor_id": e.me}
}

func (e *executor) subscription() map[string]any {
	e.mu.Lock()
	defer e.mu.Unlock()
	tasks := []taskInfo{}
	for _, t := range e.tasks {
		tasks = append(tasks, t)
	}
	updates := []any{}
	for _, u := range e.order {
		updates = append(updates, map[string]any{"status": e.updates[u]})
	}
	call := e.header("SUBSCRIBE")
	call["subscribe"] = map[string]any{"unacknowledged_tasks": tasks, "unacknowledged_updates": updates}
	return call
}

func (e *executor) setOnline(on bool) {
	e.mu.Lock()
	e.online = on
	e.mu.Unlock()
}

func (e *executor) event(ctx context.Context, record []byte) error {
	var ev struct {
		Type   string
		Launch struct{ Task taskInfo }
		Kill   struct {
			TaskID id `json:"task_id"`
		}
		Acknowledged struct {
			TaskID id     `json:"task_id"`
			UUID   []byte `json:"uuid"`
		}
		Error struct{ Message string }
	}
	if err := json.Unmarshal(record, &ev); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	switch ev.Type {
	case "SUBSCRIBED":
		e.setOnline(true)
	case "LAUNCH":
		e.launch(ctx, ev.Launch.Task)
	case "KILL":
		e.mu.Lock()
		if cancel := e.cancel[ev.Kill.TaskID.Value]; cancel != nil {
			cancel()
		}
		e.mu.Unlock()
	case "ACKNOWLEDGED":
		e.acknowledged(ev.Acknowledged.TaskID.Value, ev.Acknowledged.UUID)
	case "SHUTDOWN":
		return errShutdown
	case "ERROR":
		return errors.New(ev.Error.Message)
	}
	return nil
}

func (e *executor) launch(ctx context.Context, t taskInfo) {
	ctx, cancel := context.WithCancel(ctx)
	e.mu.Lock()
	e.tasks[t.TaskID.Value] = t
	e.cancel[t.TaskID.Value] = cancel
	e.mu.Unlock()
	e.update(ctx, taskStatus{TaskID: t.TaskID, State: "TASK_RUNNING"})
	go func() {
		defer cancel()
		status := taskStatus{TaskID: t.TaskID, State: "TASK_FINISHED"}
		var w work
		if err := json.Unmarshal(t.Data, &w); err != nil {
			status.State, status.Message = "TASK_FAILED", err.Error()
		} else {
			began := time.Now()
			status.Data, _ = json.Marshal(result{countPrimes(w.From, w.To)}) // a number: no error
			select {
			case <-ctx.Done():
				status.State, status.Data = "TASK_KILLED", nil
			case <-time.After(time.Duration(w.AtLeast) - time.Since(began)):
			}
		}
		e.update(context.WithoutCancel(ctx), status)
	}()
}

// update records a status and sends it. When the agent is away it goes with the next subscription.
func (e *executor) update(ctx context.Context, st taskStatus) {
	st.UUID = make([]byte, 16)
	_, _ = rand.Read(st.UUID) // never fails
	st.UUID[6], st.UUID[8] = st.UUID[6]&0x0f|0x40, st.UUID[8]&0x3f|0x80
	st.Source, st.ExecutorID = "SOURCE_EXECUTOR", &e.me
	st.Timestamp = float64(time.Now().UnixMicro()) / 1e6
	e.mu.Lock()
	e.updates[string(st.UUID)] = st
	e.order = append(e.order, string(st.UUID))
	online := e.online
	e.mu.Unlock()
	if !online {
		return
	}
	call := e.header("UPDATE")
	call["update"] = map[string]any{"status": st}
	if err := e.client.call(ctx, call); err != nil {
		fmt.Fprintf(os.Stderr, "update of %s: %v (sent again after the next subscription)\n", st.TaskID.Value, err)
	}
}

func (e *executor) acknowledged(task string, uuid []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.tasks, task)
	delete(e.updates, string(uuid))
	for i, u := range e.order {
		if u == string(uuid) {
			e.order = append(e.order[:i:i], e.order[i+1:]...)
			break
		}
	}
}
