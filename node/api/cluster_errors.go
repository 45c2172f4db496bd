package api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// NoLeaderError: nothing can be changed while there is no leading master (503, CLU-35).
type NoLeaderError struct {
	// Missing names the masters that are not reached, each as NAME (HOST:PORT); none if an election is
	// simply under way.
	Missing []string
	// Detail says why this node, which is no master, knows none.
	Detail string
	// Cause is why a leader that is known does not answer; nil if none is known.
	Cause error
	// RetryAfter is rounded up to seconds; at least one is said.
	RetryAfter time.Duration
}

func (e *NoLeaderError) Unwrap() error { return e.Cause }

func (e *NoLeaderError) Error() string {
	if e.Cause != nil {
		return "the leading master does not answer: " + e.Cause.Error()
	}
	switch {
	case len(e.Missing) == 0 && e.Detail != "":
		return "this node has no contact with a leading master: " + strings.ReplaceAll(e.Detail, "\n", "; ")
	case len(e.Missing) == 0:
		return "there is no leading master just now: try again in a moment"
	}
	return "there is no leading master, because a quorum of masters is missing; not reached: " + strings.Join(e.Missing, ", ")
}

// UnknownNodeError: no node has this id or name, nor an id that begins with it (404).
type UnknownNodeError struct{ Node string }

func (e *UnknownNodeError) Error() string {
	return fmt.Sprintf("node %q is not known (clusterd nodes lists all)", e.Node)
}

// AmbiguousNodeError: several nodes have this name, or ids that begin with it (400).
type AmbiguousNodeError struct {
	Node       string
	Candidates []string // each as ID (NAME)
}

func (e *AmbiguousNodeError) Error() string {
	return fmt.Sprintf("node %q is not unique: %s", e.Node, strings.Join(e.Candidates, ", "))
}

// ConflictError: the present state of the cluster does not allow it (409).
type ConflictError struct{ Text string }

func (e *ConflictError) Error() string { return e.Text }

// InputError: the request itself is wrong (400).
type InputError struct{ Text string }

func (e *InputError) Error() string { return e.Text }

// forbiddenError: the caller may not do it here (403).
type forbiddenError struct{ text string }

func (e *forbiddenError) Error() string { return e.text }

// refuse answers with err if it is one of this file, and reports whether it was.
func refuse(w http.ResponseWriter, err error) bool {
	status := 0
	if e, ok := errors.AsType[*NoLeaderError](err); ok {
		status = http.StatusServiceUnavailable
		seconds := max(1, int((e.RetryAfter+time.Second-1)/time.Second))
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	} else if _, ok := errors.AsType[*UnknownNodeError](err); ok {
		status = http.StatusNotFound
	} else if _, ok := errors.AsType[*AmbiguousNodeError](err); ok {
		status = http.StatusBadRequest
	} else if _, ok := errors.AsType[*ConflictError](err); ok {
		status = http.StatusConflict
	} else if _, ok := errors.AsType[*InputError](err); ok {
		status = http.StatusBadRequest
	} else if _, ok := errors.AsType[*forbiddenError](err); ok {
		status = http.StatusForbidden
	} else {
		return false
	}
	Answer{Status: status, Body: err.Error()}.respond(w)
	return true
}

// FindNode returns the node that name means: the one with this id or this name, or else the only one
// whose id begins with it. It fails with *UnknownNodeError or *AmbiguousNodeError.
func FindNode(nodes []ClusterNode, name string) (ClusterNode, error) {
	var named, begun []ClusterNode
	for _, n := range nodes {
		switch {
		case n.ID == name:
			return n, nil
		case n.Name == name:
			named = append(named, n)
		case name != "" && strings.HasPrefix(n.ID, name):
			begun = append(begun, n)
		}
	}
	found := named
	if len(found) == 0 {
		found = begun
	}
	switch len(found) {
	case 0:
		return ClusterNode{}, &UnknownNodeError{name}
	case 1:
		return found[0], nil
	}
	candidates := make([]string, len(found))
	for i, n := range found {
		candidates[i] = n.ID + " (" + n.Name + ")"
	}
	return ClusterNode{}, &AmbiguousNodeError{name, candidates}
}
