package master

import "iter"

// ordered is a map that is walked in the order of insertion, so that no result depends on the order
// of a Go map. The zero value is empty. Entries may be deleted during a walk; entries added during a
// walk are not visited by it.
type ordered[K comparable, V any] struct {
	index   map[K]*orderedEntry[K, V]
	entries []*orderedEntry[K, V]
	dead    int
}

type orderedEntry[K comparable, V any] struct {
	key   K
	value V
	dead  bool
}

func (o *ordered[K, V]) len() int { return len(o.index) }

func (o *ordered[K, V]) get(k K) (V, bool) {
	if e, ok := o.index[k]; ok {
		return e.value, true
	}
	var zero V
	return zero, false
}

func (o *ordered[K, V]) has(k K) bool {
	_, ok := o.index[k]
	return ok
}

// put replaces the value of k in its place, or appends it.
func (o *ordered[K, V]) put(k K, v V) {
	if e, ok := o.index[k]; ok {
		e.value = v
		return
	}
	if o.index == nil {
		o.index = make(map[K]*orderedEntry[K, V])
	}
	e := &orderedEntry[K, V]{key: k, value: v}
	o.index[k] = e
	o.entries = append(o.entries, e)
}

func (o *ordered[K, V]) delete(k K) bool {
	e, ok := o.index[k]
	if !ok {
		return false
	}
	delete(o.index, k)
	e.dead = true
	o.dead++
	if o.dead > 32 && o.dead > len(o.entries)/2 {
		// A fresh slice: walks under way keep the old one and see the dead marks.
		live := make([]*orderedEntry[K, V], 0, len(o.index))
		for _, e := range o.entries {
			if !e.dead {
				live = append(live, e)
			}
		}
		o.entries, o.dead = live, 0
	} else if len(o.index) == 0 {
		o.entries, o.dead = nil, 0
	}
	return true
}

// first is the oldest entry.
func (o *ordered[K, V]) first() (K, V, bool) {
	for _, e := range o.entries {
		if !e.dead {
			return e.key, e.value, true
		}
	}
	var k K
	var v V
	return k, v, false
}

// values walks the values from the oldest to the newest.
func (o *ordered[K, V]) values() iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, e := range o.entries {
			if !e.dead && !yield(e.value) {
				return
			}
		}
	}
}
