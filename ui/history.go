package ui

import (
	"encoding/json"
	"time"
)

const (
	sampleEvery = 15 * time.Second
	sampleCount = 240 // one hour
)

// history keeps the number of tasks by state over the last hour.
type history struct {
	samples []sample // oldest first, at most sampleCount
	last    map[string]int64
}

// sample is one point of the chart: how many tasks were in each live state,
// and how many have ended in each terminal one since the sample before.
type sample struct {
	At     int64            `json:"at"` // milliseconds
	Counts map[string]int64 `json:"counts"`
}

// add records the counts of State.TaskCounts. A terminal count that went down
// means that another master counts now, from zero.
func (h *history) add(at time.Time, counts map[string]int64) {
	s := sample{At: at.UnixMilli(), Counts: map[string]int64{}}
	for state, n := range counts {
		if terminal(state) {
			switch was := h.last[state]; {
			case h.last == nil:
				continue // how many ended before the first sample is not known
			case n >= was:
				n -= was
			}
		}
		if n != 0 {
			s.Counts[state] = n
		}
	}
	h.last = counts
	if len(h.samples) == sampleCount {
		h.samples = append(h.samples[:0:0], h.samples[1:]...)
	}
	h.samples = append(h.samples, s)
}

// encode returns the samples as JSON.
func (h *history) encode() json.RawMessage { return encode(h.samples) }
