package master

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// modelList does what ordered does, slowly.
type modelList struct {
	keys   []int
	values map[int]int
}

func (m *modelList) put(k, v int) {
	if _, ok := m.values[k]; !ok {
		m.keys = append(m.keys, k)
	}
	m.values[k] = v
}

func (m *modelList) delete(k int) {
	delete(m.values, k)
	m.keys = slices.DeleteFunc(m.keys, func(x int) bool { return x == k })
}

func (m *modelList) list() []int {
	list := []int{}
	for _, k := range m.keys {
		list = append(list, m.values[k])
	}
	return list
}

// Random puts and deletes, also during walks, with pictures taken on the way that never change.
func TestOrdered(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		o, m := ordered[int, int]{}, modelList{values: make(map[int]int)}
		span := 20 << (seed % 7) // of keys: from a part of a page to many
		type photo struct {
			pages []*page[int]
			want  []int
		}
		var photos []photo
		change := func() {
			k, v := r.IntN(span), r.Int()
			// Phases of growth and of decline.
			if r.IntN(10) < 3+3*int(seed%2) {
				o.delete(k)
				m.delete(k)
				return
			}
			o.put(k, v)
			m.put(k, v)
		}
		for step := range 20 * span {
			change()
			if o.len() != len(m.keys) {
				t.Fatalf("seed %d: %d entries, want %d", seed, o.len(), len(m.keys))
			}
			if step%(span/4) != 0 {
				continue
			}
			if got := slices.Collect(o.values()); !slices.Equal(got, m.list()) {
				t.Fatalf("seed %d: %v, want %v", seed, got, m.list())
			}
			if _, v, ok := o.first(); ok != (len(m.keys) > 0) || ok && v != m.values[m.keys[0]] {
				t.Fatalf("seed %d: first is %d, %t", seed, v, ok)
			}
			photos = append(photos, photo{pictures(&o, itself[int]), m.list()})
			checkWalk(t, r, m.keys)
		}
		for i, p := range photos {
			if got := appendPages([]int{}, p.pages); !slices.Equal(got, p.want) {
				t.Fatalf("seed %d: picture %d shows %v, it was %v", seed, i, got, p.want)
			}
		}
		if live := 0; o.len() > 0 {
			for _, p := range o.pages {
				if p.live == 0 || len(p.entries) > pageEntries || len(p.entries)-p.live > max(32, p.live) {
					t.Fatalf("seed %d: a page has %d entries, %d alive", seed, len(p.entries), p.live)
				}
				live += p.live
			}
			if live != o.len() {
				t.Fatalf("seed %d: %d alive on pages, want %d", seed, live, o.len())
			}
		}
	}
}

// checkWalk changes the list while it is walked: what is deleted before its turn is left out, what is
// added is not visited, everything else comes once and in order.
func checkWalk(t *testing.T, r *rand.Rand, of []int) {
	t.Helper()
	keys := ordered[int, int]{} // the same keys as values, so that they can be told apart
	before := slices.Clone(of)
	for _, k := range before {
		keys.put(k, k)
	}
	gone, at := make(map[int]bool), -1
	for k := range keys.values() {
		i := slices.Index(before, k)
		if i <= at || gone[k] {
			t.Fatalf("visited %d, at %d (-1: added meanwhile) after %d, deleted: %t", k, i, at, gone[k])
		}
		for _, skipped := range before[at+1 : i] {
			if !gone[skipped] {
				t.Fatalf("%d was not visited", skipped)
			}
		}
		at = i
		for range r.IntN(4) {
			victim := before[r.IntN(len(before))]
			if keys.delete(victim) {
				gone[victim] = true
			}
			keys.put(1_000_000+r.IntN(1000), 1_000_000)
		}
	}
}

// A picture is taken anew of those pages only in which something has changed.
func TestPicturesAreKept(t *testing.T) {
	var o ordered[int, int]
	for i := range 3 * pageEntries {
		o.put(i, i)
	}
	shown := 0
	take := func() []*page[int] {
		shown = 0
		return pictures(&o, func(v int) int { shown++; return v })
	}
	if pages := take(); len(pages) != 3 || shown != 3*pageEntries {
		t.Fatalf("%d pages, %d shown", len(pages), shown)
	}
	for name, change := range map[string]func(){
		"touch": func() { o.touch(pageEntries) }, "put": func() { o.put(pageEntries+1, 0) },
	} {
		change()
		if pages := take(); len(pages) != 3 || shown != pageEntries {
			t.Errorf("%s: %d shown", name, shown)
		}
	}
	o.delete(5)
	if take(); shown != pageEntries-1 {
		t.Errorf("delete: %d shown", shown)
	}
	if take(); shown != 0 {
		t.Errorf("no change: %d shown", shown)
	}
}
