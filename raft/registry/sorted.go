package registry

import (
	"iter"
	"slices"
	"strings"
)

// chunkEntries is the largest number of entries in a chunk of a sorted map. A change copies one
// chunk and the list of chunks: about 6 KB at 10,000 entries.
const chunkEntries = 128

// sorted is an immutable map from ids to values in the order of the ids. Changes return a new map
// that shares all chunks but one with the old; copying the struct is a full copy of the map.
type sorted[V any] struct {
	chunks [][]entry[V] // none is empty; ids ascend
	n      int
}

type entry[V any] struct {
	id    string
	value V
}

// find returns the chunk where id is or belongs, the place in it, and whether it is there.
func (m sorted[V]) find(id string) (chunk, at int, ok bool) {
	chunk, ok = slices.BinarySearchFunc(m.chunks, id, func(c []entry[V], id string) int {
		return strings.Compare(c[0].id, id)
	})
	if ok {
		return chunk, 0, true
	}
	if chunk == 0 {
		return 0, 0, false
	}
	chunk--
	at, ok = slices.BinarySearchFunc(m.chunks[chunk], id, func(e entry[V], id string) int {
		return strings.Compare(e.id, id)
	})
	return chunk, at, ok
}

func (m sorted[V]) get(id string) (V, bool) {
	chunk, at, ok := m.find(id)
	if !ok {
		var none V
		return none, false
	}
	return m.chunks[chunk][at].value, true
}

func (m sorted[V]) has(id string) bool {
	_, _, ok := m.find(id)
	return ok
}

// with returns the map with id set to value.
func (m sorted[V]) with(id string, value V) sorted[V] {
	e := entry[V]{id, value}
	if m.n == 0 {
		return sorted[V]{chunks: [][]entry[V]{{e}}, n: 1}
	}
	chunk, at, ok := m.find(id)
	old := m.chunks[chunk]
	if ok {
		c := slices.Clone(old)
		c[at] = e
		return m.replaced(chunk, m.n, c)
	}
	c := make([]entry[V], 0, len(old)+1)
	c = append(append(append(c, old[:at]...), e), old[at:]...)
	if len(c) <= chunkEntries {
		return m.replaced(chunk, m.n+1, c)
	}
	// Ids mostly ascend (a master numbers its frameworks and agents): leave the left part full then.
	cut := len(c) / 2
	if chunk == len(m.chunks)-1 && at == len(old) {
		cut = len(old)
	}
	return m.replaced(chunk, m.n+1, c[:cut:cut], c[cut:])
}

// without returns the map without id.
func (m sorted[V]) without(id string) sorted[V] {
	chunk, at, ok := m.find(id)
	if !ok {
		return m
	}
	old := m.chunks[chunk]
	if len(old) == 1 {
		return m.replaced(chunk, m.n-1)
	}
	c := make([]entry[V], 0, len(old)-1)
	c = append(append(c, old[:at]...), old[at+1:]...)
	if chunk > 0 && len(c)+len(m.chunks[chunk-1]) <= chunkEntries/2 {
		joined := slices.Concat(m.chunks[chunk-1], c)
		chunks := make([][]entry[V], 0, len(m.chunks)-1)
		chunks = append(append(append(chunks, m.chunks[:chunk-1]...), joined), m.chunks[chunk+1:]...)
		return sorted[V]{chunks: chunks, n: m.n - 1}
	}
	return m.replaced(chunk, m.n-1, c)
}

// replaced returns the map of n entries with one chunk replaced by others.
func (m sorted[V]) replaced(chunk, n int, by ...[]entry[V]) sorted[V] {
	chunks := make([][]entry[V], 0, len(m.chunks)+len(by)-1)
	chunks = append(append(append(chunks, m.chunks[:chunk]...), by...), m.chunks[chunk+1:]...)
	return sorted[V]{chunks: chunks, n: n}
}

// all yields the entries in the order of their ids.
func (m sorted[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, c := range m.chunks {
			for _, e := range c {
				if !yield(e.id, e.value) {
					return
				}
			}
		}
	}
}

// values returns the values in the order of their ids, in a slice of the caller's own.
func (m sorted[V]) values() []V {
	vs := make([]V, 0, m.n)
	for _, v := range m.all() {
		vs = append(vs, v)
	}
	return vs
}

// builder makes a sorted map from entries that come in ascending order, without copying a chunk
// for each.
type builder[V any] struct {
	m    sorted[V]
	last string
}

// add appends an entry. It reports whether id is beyond all ids before it.
func (b *builder[V]) add(id string, value V) bool {
	if b.m.n > 0 && id <= b.last {
		return false
	}
	b.last = id
	if i := len(b.m.chunks) - 1; i >= 0 && len(b.m.chunks[i]) < chunkEntries {
		b.m.chunks[i] = append(b.m.chunks[i], entry[V]{id, value})
	} else {
		b.m.chunks = append(b.m.chunks, []entry[V]{{id, value}})
	}
	b.m.n++
	return true
}
