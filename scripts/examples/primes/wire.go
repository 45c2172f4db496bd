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
	"strconv"
	"strings"
)

// The few fields of the v1 API that this framework uses, in its JSON form.
type (
	id struct {
		Value string `json:"value"`
	}
	scalar struct {
		Value float64 `json:"value"`
	}
	resource struct {
		Name   string  `json:"name"`
		Type   string  `json:"type"`
		Scalar *scalar `json:"scalar,omitempty"`
	}
	capability struct {
		Type string `json:"type"`
	}
	frameworkInfo struct {
		ID              *id          `json:"id,omitempty"`
		User            string       `json:"user"`
		Name            string       `json:"name"`
		Roles           []string     `json:"roles"`
		Capabilities    []capability `json:"capabilities"`
		FailoverTimeout float64      `json:"failover_timeout"`
		Checkpoint      bool         `json:"checkpoint"`
	}
	uri struct {
		Value      string `json:"value"`
		Executable bool   `json:"executable"`
		OutputFile string `json:"output_file,omitempty"`
	}
	command struct {
		Value     string   `json:"value"`
		Shell     bool     `json:"shell"`
		Arguments []string `json:"arguments,omitempty"`
		URIs      []uri    `json:"uris,omitempty"`
	}
	executorInfo struct {
		Type        string     `json:"type"`
		ExecutorID  id         `json:"executor_id"`
		FrameworkID id         `json:"framework_id"`
		Name        string     `json:"name"`
		Command     command    `json:"command"`
		Resources   []resource `json:"resources"`
	}
	taskInfo struct {
		Name      string        `json:"name"`
		TaskID    id            `json:"task_id"`
		AgentID   id            `json:"agent_id"`
		Resources []resource    `json:"resources,omitempty"`
		Executor  *executorInfo `json:"executor,omitempty"`
		Data      []byte        `json:"data,omitempty"`
	}
	taskStatus struct {
		TaskID     id      `json:"task_id"`
		AgentID    *id     `json:"agent_id,omitempty"`
		ExecutorID *id     `json:"executor_id,omitempty"`
		State      string  `json:"state"`
		Source     string  `json:"source,omitempty"`
		Reason     string  `json:"reason,omitempty"`
		Message    string  `json:"message,omitempty"`
		Data       []byte  `json:"data,omitempty"`
		UUID       []byte  `json:"uuid,omitempty"`
		Timestamp  float64 `json:"timestamp,omitempty"`
	}
	offer struct {
		ID        id         `json:"id"`
		AgentID   id         `json:"agent_id"`
		Hostname  string     `json:"hostname"`
		Resources []resource `json:"resources"`
	}
)

// work is what a task is told in its data, result what its last update brings back.
type (
	work struct {
		From, To uint64
		AtLeast  int64 // nanoseconds
	}
	result struct{ Primes uint64 }
)

// httpError is an answer other than the one expected.
type httpError struct {
	status int
	body   string
}

func (e *httpError) Error() string { return fmt.Sprintf("answer %d: %s", e.status, e.body) }

// client speaks to one endpoint of the v1 API.
type client struct {
	http     *http.Client
	url      string
	streamID string
}

func newClient(url string) *client {
	return &client{
		// A redirect to the leading master is taken by hand, as the call must stay a POST with its body.
		http: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		url:  url,
	}
}

func (c *client) post(ctx context.Context, call any) (*http.Response, error) {
	body, err := json.Marshal(call)
	if err != nil {
		return nil, err
	}
	for redirects := 0; ; redirects++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json")
		if c.streamID != "" {
			req.Header.Set("Mesos-Stream-Id", c.streamID)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			return nil, err
		}
		switch {
		case resp.StatusCode == http.StatusTemporaryRedirect && redirects < 3:
			to, err := req.URL.Parse(resp.Header.Get("Location"))
			resp.Body.Close()
			if err != nil {
				return nil, fmt.Errorf("redirect: %w", err)
			}
			c.url = (&url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}).String()
		case resp.StatusCode/100 != 2:
			text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
			resp.Body.Close()
			return nil, &httpError{resp.StatusCode, strings.TrimSpace(string(text))}
		default:
			return resp, nil
		}
	}
}

// call sends a call that is answered without content.
func (c *client) call(ctx context.Context, call any) error {
	resp, err := c.post(ctx, call)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// subscribe opens the event stream and hands each event to each until the stream ends.
func (c *client) subscribe(ctx context.Context, call any, each func([]byte) error) error {
	c.streamID = ""
	resp, err := c.post(ctx, call)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	c.streamID = resp.Header.Get("Mesos-Stream-Id")
	r := bufio.NewReader(resp.Body)
	for {
		record, err := readRecord(r)
		if err != nil {
			return err
		}
		if err := each(record); err != nil {
			return err
		}
	}
}

// readRecord reads one RecordIO record: its length in decimal, a newline, the bytes.
func readRecord(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(line, "\n"), 10, 31)
	if err != nil {
		return nil, fmt.Errorf("record length: %w", err)
	}
	record := make([]byte, n)
	_, err = io.ReadFull(r, record)
	return record, err
}
