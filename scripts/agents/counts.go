package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// count names one of the numbers that are kept of a run.
type count int

// Checklist, new count: a constant here, its name in countNames, and where it changes. One that goes up
// and down stands above firstTotal, one that only grows below.
const (
	joined     count = iota // agents that have an identity
	linked                  // agents that hold a stream to the leading master
	registered              // agents that it has registered
	expelled                // agents that the cluster does not want any more
	tasks                   // tasks that are not complete: live, or with an update to acknowledge
	running                 // tasks in TASK_RUNNING

	firstTotal
)

const (
	joins count = firstTotal + iota
	joinFailures
	dials
	dialFailures
	redirects
	disconnects // scripted ends of a stream
	losses      // other ends of a stream
	reboots
	dismissals // agents told to end by the master
	registrations
	renewals // of certificates
	renewalFailures
	launches
	refusals // tasks not taken
	kills
	drains
	finishedTasks
	failedTasks
	killedTasks
	forgottenTasks // ended without an update: their framework or agent ended
	updates
	resent
	acknowledged
	strayAcknowledgements
	undelivered // messages to executors, which there are none to take

	countsKept
)

var countNames = [countsKept]string{
	joined: "joined", linked: "linked", registered: "registered", expelled: "expelled", tasks: "tasks", running: "running",
	joins: "joins", joinFailures: "join_failures", dials: "dials", dialFailures: "dial_failures", redirects: "redirects",
	disconnects: "disconnects", losses: "losses", reboots: "reboots", dismissals: "dismissals", registrations: "registrations",
	renewals: "renewals", renewalFailures: "renewal_failures", launches: "launches", refusals: "refusals", kills: "kills", drains: "drains",
	finishedTasks: "finished_tasks", failedTasks: "failed_tasks", killedTasks: "killed_tasks", forgottenTasks: "forgotten_tasks",
	updates: "updates", resent: "resent_updates", acknowledged: "acknowledged_updates",
	strayAcknowledgements: "stray_acknowledgements", undelivered: "undelivered_messages",
}

// counts are the numbers of a core, a process or a whole run.
type counts [countsKept]int64

// plus is the sum of both.
func (c counts) plus(o counts) counts {
	for i := range c {
		c[i] += o[i]
	}
	return c
}

// MarshalJSON writes the counts by name.
func (c counts) MarshalJSON() ([]byte, error) {
	byName := make(map[string]int64, countsKept)
	for i, name := range countNames {
		byName[name] = c[i]
	}
	return json.Marshal(byName)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *counts) UnmarshalJSON(data []byte) error {
	var byName map[string]int64
	if err := json.Unmarshal(data, &byName); err != nil {
		return err
	}
	*c = counts{}
	for name, n := range byName {
		i := slices.Index(countNames[:], name)
		if i < 0 {
			return fmt.Errorf("count %q is unknown", name)
		}
		c[i] = n
	}
	return nil
}

// Bounds of the times that a spread tells apart: each step is 10 % longer than the one before.
const (
	spreadLeast = time.Millisecond
	spreadStep  = 1.1
	spreadSteps = 160 // up to more than an hour
)

// spread is how many of some lengths of time are how long, to a precision of 10 %.
type spread struct {
	Steps [spreadSteps]int64 `json:"steps"`
	Most  time.Duration      `json:"most"`
}

func (s *spread) add(d time.Duration) {
	step := 0
	if d > spreadLeast {
		step = min(spreadSteps-1, int(math.Ceil(math.Log(float64(d)/float64(spreadLeast))/math.Log(spreadStep))))
	}
	s.Steps[step]++
	s.Most = max(s.Most, d)
}

func (s spread) plus(o spread) spread {
	for i := range s.Steps {
		s.Steps[i] += o.Steps[i]
	}
	s.Most = max(s.Most, o.Most)
	return s
}

// size is how many lengths there are.
func (s *spread) size() int64 {
	var n int64
	for _, k := range s.Steps {
		n += k
	}
	return n
}

// percentile is the length that p percent are not above; 0 if there is none.
func (s *spread) percentile(p float64) time.Duration {
	want := int64(math.Ceil(p / 100 * float64(s.size())))
	var seen int64
	for i, k := range s.Steps {
		if seen += k; k > 0 && seen >= want {
			return min(s.Most, time.Duration(float64(spreadLeast)*math.Pow(spreadStep, float64(i))))
		}
	}
	return 0
}

// office is what the agents have seen of one time of office of a leading master.
type office struct {
	Term   uint64 `json:"term"`
	Agents int64  `json:"agents"` // that have registered in it
	// Lost is when the first of them lost the leading master before, zero in the first office.
	Lost  time.Time `json:"lost,omitzero"`
	First time.Time `json:"first"` // registration
	Last  time.Time `json:"last"`  // of the newest agent that had not registered in it before
	// Waits are the times from the loss that an agent noticed to its registration.
	Waits spread `json:"waits"`
}

// mergeOffices is one list of what several have seen, by term.
func mergeOffices(lists ...[]office) []office {
	var all []office
	for _, list := range lists {
		for _, o := range list {
			at := slices.IndexFunc(all, func(x office) bool { return x.Term == o.Term })
			if at < 0 {
				all = append(all, o)
				continue
			}
			x := &all[at]
			x.Agents += o.Agents
			x.Lost, x.First = earlier(x.Lost, o.Lost), earlier(x.First, o.First)
			if o.Last.After(x.Last) {
				x.Last = o.Last
			}
			x.Waits = x.Waits.plus(o.Waits)
		}
	}
	slices.SortFunc(all, func(a, b office) int {
		if a.Term < b.Term {
			return -1
		}
		return 1
	})
	return all
}

// earlier is the first of two instants, of which a zero one does not count.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
