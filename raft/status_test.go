package raft

import (
	"testing"
	"time"
)

// CLU-39
func TestLatencies(t *testing.T) {
	tests := []struct {
		name string
		from int // durations from here to there, in nanoseconds
		to   int
		want Latency
	}{
		{"none", 1, 0, Latency{}},
		{"one", 7, 7, Latency{Count: 1, Sum: 7, Min: 7, Max: 7, P50: 7, P90: 7, P95: 7, P99: 7, P999: 7, P9999: 7}},
		{"hundred", 1, 100, Latency{Count: 100, Sum: 5050, Min: 1, Max: 100, P50: 50, P90: 90, P95: 95, P99: 99, P999: 100, P9999: 100}},
		{"only the newest", 1, 2024, Latency{
			Count: 2024, Sum: 2024 * 2025 / 2, Min: 1001, Max: 2024,
			P50: 1512, P90: 1922, P95: 1973, P99: 2014, P999: 2023, P9999: 2024,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var l latencies
			for d := test.from; d <= test.to; d++ {
				l.add(time.Duration(d))
			}
			if got := l.latency(); got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}
