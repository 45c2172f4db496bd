package main

import (
	"testing"
	"time"
)

// Each contestant comes up, takes proposals and goes away again.
func TestContestants(t *testing.T) {
	s := settings{clients: 4, bytes: 100, keys: 10, warmUp: 10 * time.Millisecond, time: 200 * time.Millisecond, dir: t.TempDir()}
	for _, c := range contestants {
		t.Run(c.name, func(t *testing.T) {
			f, err := measure(t.Context(), s, c)
			if err != nil {
				t.Fatal(err)
			}
			if f.perSecond <= 0 || f.p50 <= 0 || f.p99 < f.p50 {
				t.Errorf("figure %+v", f)
			}
		})
	}
}

func TestMedian(t *testing.T) {
	for want, rates := range map[float64][]float64{2: {3, 1, 2}, 2.5: {4, 1, 2, 3}} {
		var all []figure
		for _, r := range rates {
			all = append(all, figure{perSecond: r})
		}
		if got := median(all); got != want {
			t.Errorf("median of %v is %v, want %v", rates, got, want)
		}
	}
}
