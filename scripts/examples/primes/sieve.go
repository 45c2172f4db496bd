package main

import "math"

// known holds the number of primes up to powers of ten.
var known = map[uint64]uint64{
	10: 4, 100: 25, 1000: 168, 10_000: 1229, 100_000: 9592, 1_000_000: 78_498, 10_000_000: 664_579,
	100_000_000: 5_761_455, 1_000_000_000: 50_847_534, 10_000_000_000: 455_052_511,
}

// countPrimes counts the primes p with from <= p < to by a sieve over windows that fit a cache.
func countPrimes(from, to uint64) uint64 {
	from = max(from, 2)
	if from >= to {
		return 0
	}
	base := primesUpTo(uint64(math.Sqrt(float64(to))) + 1)
	const window = 1 << 17
	composite := make([]bool, window)
	var count uint64
	for low := from; low < to; low += window {
		high := min(low+window, to)
		clear(composite)
		for _, p := range base {
			if p*p >= high {
				break
			}
			first := max(p*p, (low+p-1)/p*p)
			for m := first; m < high; m += p {
				composite[m-low] = true
			}
		}
		for _, c := range composite[:high-low] {
			if !c {
				count++
			}
		}
	}
	return count
}

func primesUpTo(n uint64) []uint64 {
	composite := make([]bool, n+1)
	var out []uint64
	for i := uint64(2); i <= n; i++ {
		if composite[i] {
			continue
		}
		out = append(out, i)
		for m := i * i; m <= n; m += i {
			composite[m] = true
		}
	}
	return out
}
