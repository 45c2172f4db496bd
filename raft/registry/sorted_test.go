package registry

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// The sorted map against a map of the language, with every older version kept and compared at the
// end: none of them may change.
func TestSortedAgainstModel(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		var m sorted[int]
		model := map[string]int{}
		type version struct {
			m     sorted[int]
			model map[string]int
		}
		var versions []version
		ids := 20 << (seed % 4 * 3) // from a part of a chunk to many
		for step := range 6000 {
			id := fmt.Sprintf("%06d", r.IntN(ids))
			grow := step/2000%2 == 0
			if r.IntN(10) < 3 == grow {
				m = m.without(id)
				delete(model, id)
			} else {
				m = m.with(id, step)
				model[id] = step
			}
			if step%500 == 0 {
				versions = append(versions, version{m, maps.Clone(model)})
			}
		}
		for id := range ids { // down to nothing
			m = m.without(fmt.Sprintf("%06d", id))
		}
		versions = append(versions, version{m, map[string]int{}})
		for i, v := range versions {
			checkSorted(t, fmt.Sprintf("seed %d version %d", seed, i), v.m, v.model)
		}
	}
}

func checkSorted(t *testing.T, what string, m sorted[int], model map[string]int) {
	t.Helper()
	if m.n != len(model) {
		t.Fatalf("%s: %d entries, want %d", what, m.n, len(model))
	}
	ids := slices.Sorted(maps.Keys(model))
	i := 0
	for id, value := range m.all() {
		if id != ids[i] || value != model[id] {
			t.Fatalf("%s: entry %d is %s = %d, want %s = %d", what, i, id, value, ids[i], model[ids[i]])
		}
		i++
	}
	for _, id := range append(ids, "", "5", "9999999") {
		want, ok := model[id]
		if got, has := m.get(id); got != want || has != ok || m.has(id) != ok {
			t.Fatalf("%s: %q is %d, %v; want %d, %v", what, id, got, has, want, ok)
		}
	}
	for _, c := range m.chunks {
		if len(c) == 0 || len(c) > chunkEntries {
			t.Fatalf("%s: chunk of %d entries", what, len(c))
		}
	}
	if limit := 8 + 4*m.n/chunkEntries; len(m.chunks) > limit {
		t.Errorf("%s: %d entries in %d chunks", what, m.n, len(m.chunks))
	}
}

// Ids that ascend, as a master numbers them, fill the chunks.
func TestSortedAscending(t *testing.T) {
	var m sorted[int]
	for i := range 10 * chunkEntries {
		m = m.with(fmt.Sprintf("%06d", i), i)
	}
	if len(m.chunks) != 10 {
		t.Errorf("%d chunks, want 10", len(m.chunks))
	}
	seen := 0
	for range m.all() {
		if seen++; seen == 5 {
			break // the iterator stops when told
		}
	}
}

func TestBuilder(t *testing.T) {
	var b builder[int]
	var want sorted[int]
	for i := range 1000 {
		id := fmt.Sprintf("%06d", i)
		if !b.add(id, i) {
			t.Fatalf("%s refused", id)
		}
		if b.add(id, i) || b.add("000", i) {
			t.Fatal("an id out of order was taken")
		}
		want = want.with(id, i)
	}
	if !slices.EqualFunc(b.m.chunks, want.chunks, slices.Equal[[]entry[int]]) || b.m.n != want.n {
		t.Error("the built map differs")
	}
}
