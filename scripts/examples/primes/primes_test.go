package main

import "testing"

func TestCountPrimes(t *testing.T) {
	for n, want := range known {
		if n > 10_000_000 {
			continue
		}
		if got := countPrimes(0, n+1); got != want {
			t.Errorf("countPrimes(0, %d) = %d, want %d", n+1, got, want)
		}
	}
}

// The pieces of a job cover its range without gap or overlap, also when it does not divide evenly.
func TestPieces(t *testing.T) {
	for _, o := range []options{{n: 1, tasks: 1}, {n: 10, tasks: 3}, {n: 1_000_003, tasks: 40}, {n: 5, tasks: 40}} {
		s := newScheduler(o, nil)
		var next, sum uint64
		for _, p := range s.pieces {
			if p.from != next {
				t.Fatalf("n=%d tasks=%d: piece starts at %d, want %d", o.n, o.tasks, p.from, next)
			}
			next = p.to
			sum += countPrimes(p.from, p.to)
		}
		if next != o.n+1 {
			t.Errorf("n=%d tasks=%d: pieces end at %d", o.n, o.tasks, next)
		}
		if want := countPrimes(0, o.n+1); sum != want {
			t.Errorf("n=%d tasks=%d: sum %d, want %d", o.n, o.tasks, sum, want)
		}
	}
}
