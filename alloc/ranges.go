package alloc

import (
	"math"
	"slices"
)

// Range is a closed interval of unsigned integers (RES-7).
type Range struct{ Begin, End uint64 }

// coalesce sorts ranges and joins those which overlap or touch. It changes and
// returns its argument.
func coalesce(ranges []Range) []Range {
	slices.SortFunc(ranges, func(a, b Range) int {
		switch {
		case a.Begin < b.Begin:
			return -1
		case a.Begin > b.Begin:
			return 1
		}
		return 0
	})
	out := ranges[:0]
	for _, r := range ranges {
		if n := len(out); n > 0 && touches(out[n-1], r) {
			out[n-1].End = max(out[n-1].End, r.End)
			continue
		}
		out = append(out, r)
	}
	return out
}

// touches reports whether b, which does not begin before a, overlaps a or
// follows it without a gap.
func touches(a, b Range) bool {
	return a.End == math.MaxUint64 || b.Begin <= a.End+1
}

// overlapping reports whether two of the ranges have a number in common.
func overlapping(ranges []Range) bool {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b Range) int {
		switch {
		case a.Begin < b.Begin:
			return -1
		case a.Begin > b.Begin:
			return 1
		}
		return 0
	})
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Begin <= sorted[i-1].End {
			return true
		}
	}
	return false
}

// subRanges returns what is in a and not in b; both are coalesced (RES-8).
func subRanges(a, b []Range) []Range {
	var out []Range
	j := 0
	for _, r := range a {
		for j < len(b) && b[j].End < r.Begin {
			j++
		}
		rest, gone := r, false
		for k := j; k < len(b) && b[k].Begin <= rest.End; k++ {
			if b[k].Begin > rest.Begin {
				out = append(out, Range{rest.Begin, b[k].Begin - 1})
			}
			if b[k].End >= rest.End {
				gone = true
				break
			}
			rest.Begin = b[k].End + 1
		}
		if !gone {
			out = append(out, rest)
		}
	}
	return out
}

// containsRanges reports whether each range of b lies within one of a; both are
// coalesced.
func containsRanges(a, b []Range) bool {
	i := 0
	for _, r := range b {
		for i < len(a) && a[i].End < r.Begin {
			i++
		}
		if i == len(a) || a[i].Begin > r.Begin || a[i].End < r.End {
			return false
		}
	}
	return true
}

// countRanges returns how many integers the ranges hold, at most MaxInt64.
func countRanges(ranges []Range) int64 {
	var n uint64
	for _, r := range ranges {
		size := r.End - r.Begin
		if size >= math.MaxInt64 || n+size+1 > math.MaxInt64 {
			return math.MaxInt64
		}
		n += size + 1
	}
	return int64(n)
}

// subItems returns the items of a which are not in b; both are sorted.
func subItems(a, b []string) []string {
	var out []string
	for _, item := range a {
		if _, found := slices.BinarySearch(b, item); !found {
			out = append(out, item)
		}
	}
	return out
}

// containsItems reports whether each item of b is in a; both are sorted.
func containsItems(a, b []string) bool {
	for _, item := range b {
		if _, found := slices.BinarySearch(a, item); !found {
			return false
		}
	}
	return true
}
