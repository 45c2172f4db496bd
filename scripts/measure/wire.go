package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The few fields of the v1 scheduler API that are used here, in its JSON form. The generated protobuf
// types would do as well, but what this program initializes at its start, the reference's containers
// initialize too.
type (
	id struct {
		Value string `json:"value"`
	}
	scalar struct {
		Value float64 `json:"value"`
	}
	allocationInfo struct {
		Role string `json:"role"`
	}
	resource struct {
		Name           string          `json:"name"`
		Type           string          `json:"type"`
		Scalar         *scalar         `json:"scalar,omitempty"`
		AllocationInfo *allocationInfo `json:"allocation_info,omitempty"`
	}
	command struct {
		Shell     bool     `json:"shell"`
		Value     string   `json:"value"`
		Arguments []string `json:"arguments"`
	}
	taskInfo struct {
		Name      string     `json:"name"`
		TaskID    id         `json:"task_id"`
		AgentID   id         `json:"agent_id"`
		Resources []resource `json:"resources"`
		Command   command    `json:"command"`
	}
	taskStatus struct {
		TaskID  id     `json:"task_id"`
		AgentID id     `json:"agent_id"`
		State   string `json:"state"`
		Reason  string `json:"reason"`
		Message string `json:"message"`
		UUID    []byte `json:"uuid"`
	}
	offer struct {
		ID             id             `json:"id"`
		AgentID        id             `json:"agent_id"`
		Resources      []resource     `json:"resources"`
		AllocationInfo allocationInfo `json:"allocation_info"`
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
		Checkpoint      bool         `json:"checkpoint,omitempty"`
		FailoverTimeout float64      `json:"failover_timeout,omitempty"` // seconds
	}
	filters struct {
		RefuseSeconds float64 `json:"refuse_seconds"`
	}
	launchOperation struct {
		TaskInfos []taskInfo `json:"task_infos"`
	}
	operation struct {
		Type   string          `json:"type"`
		Launch launchOperation `json:"launch"`
	}
)

type (
	subscribeCall struct {
		FrameworkInfo frameworkInfo `json:"framework_info"`
	}
	acceptCall struct {
		OfferIDs   []id        `json:"offer_ids"`
		Operations []operation `json:"operations"`
		Filters    filters     `json:"filters"`
	}
	declineCall struct {
		OfferIDs []id    `json:"offer_ids"`
		Filters  filters `json:"filters"`
	}
	killCall struct {
		TaskID  id `json:"task_id"`
		AgentID id `json:"agent_id"`
	}
	acknowledgeCall struct {
		AgentID id     `json:"agent_id"`
		TaskID  id     `json:"task_id"`
		UUID    []byte `json:"uuid"`
	}
	reconcileTask struct {
		TaskID  id `json:"task_id"`
		AgentID id `json:"agent_id"`
	}
	reconcileCall struct {
		Tasks []reconcileTask `json:"tasks"`
	}
	call struct {
		Type        string           `json:"type"`
		FrameworkID *id              `json:"framework_id,omitempty"`
		Subscribe   *subscribeCall   `json:"subscribe,omitempty"`
		Accept      *acceptCall      `json:"accept,omitempty"`
		Decline     *declineCall     `json:"decline,omitempty"`
		Kill        *killCall        `json:"kill,omitempty"`
		Acknowledge *acknowledgeCall `json:"acknowledge,omitempty"`
		Reconcile   *reconcileCall   `json:"reconcile,omitempty"`
	}
	message struct {
		Type       string `json:"type"`
		Subscribed struct {
			FrameworkID id `json:"framework_id"`
		} `json:"subscribed"`
		Offers struct {
			Offers []offer `json:"offers"`
		} `json:"offers"`
		Update struct {
			Status taskStatus `json:"status"`
		} `json:"update"`
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
)

// States of tasks.
const (
	staging  = "TASK_STAGING"
	starting = "TASK_STARTING"
	running  = "TASK_RUNNING"
	killing  = "TASK_KILLING"
	finished = "TASK_FINISHED"
	killed   = "TASK_KILLED"
)

// terminal says that a task will not change its state any more.
func terminal(state string) bool {
	switch state {
	case staging, starting, running, killing:
		return false
	}
	return true
}

// readRecord reads one RecordIO record: its length in decimal, a newline, the bytes.
func readRecord(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		if errors.Is(err, io.EOF) && line != "" {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(line, "\n"), 10, 63)
	if err != nil {
		return nil, fmt.Errorf("record length: %w", err)
	}
	if n > maxEventBytes {
		return nil, fmt.Errorf("record of %d bytes is longer than %d", n, maxEventBytes)
	}
	record := make([]byte, n)
	if _, err := io.ReadFull(r, record); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return record, nil
}
