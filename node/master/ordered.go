package master

import (
	"iter"
	"slices"
)

// ordered is a map that is walked in the order of insertion, so that no result depends on the order
// of a Go map. The zero value is empty. Entries may be deleted during a walk; entries added during a
// walk are not visited by it.
//
// It is kept in pages, of each of which a picture is kept as long as nothing in it changes: see touch
// and pictures.
type ordered[K comparable, V any] struct {
	index map[K]*orderedEntry[K, V]
	pages []*orderedPage[K, V] // none is without live entries; replaced when a page goes
	// open says that the last page takes new entries. Others never do: a walk may be past them.
	open bool
}

type orderedEntry[K comparable, V any] struct {
	key   K
	value V
	page  *orderedPage[K, V]
	dead  bool
}

type orderedPage[K comparable, V any] struct {
	entries []*orderedEntry[K, V] // appended to, or replaced
	live    int
	picture any // a *page of the live values, nil when one of them changed since
}

// pageEntries is how many entries a page takes.
const pageEntries = 256

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
		e.value, e.page.picture = v, nil
		return
	}
	if o.index == nil {
		o.index = make(map[K]*orderedEntry[K, V])
	}
	if n := len(o.pages); !o.open || len(o.pages[n-1].entries) >= pageEntries {
		o.pages, o.open = append(o.pages, &orderedPage[K, V]{}), true
	}
	p := o.pages[len(o.pages)-1]
	e := &orderedEntry[K, V]{key: k, value: v, page: p}
	o.index[k] = e
	p.entries = append(p.entries, e)
	p.live++
	p.picture = nil
}

// touch says that what the value of k shows has changed.
func (o *ordered[K, V]) touch(k K) {
	if e, ok := o.index[k]; ok {
		e.page.picture = nil
	}
}

func (o *ordered[K, V]) delete(k K) bool {
	e, ok := o.index[k]
	if !ok {
		return false
	}
	delete(o.index, k)
	e.dead = true
	p := e.page
	p.live--
	p.picture = nil
	switch dead := len(p.entries) - p.live; {
	case p.live == 0:
		o.drop(slices.Index(o.pages, p))
	case dead > 32 && dead > p.live:
		o.shrink(p)
	}
	return true
}

// drop removes the page at i. Walks under way keep the list of pages that they began with.
func (o *ordered[K, V]) drop(i int) {
	if i == len(o.pages)-1 {
		o.open = false
	}
	o.pages = slices.Concat(o.pages[:i], o.pages[i+1:])
}

// shrink replaces a page by one without dead entries, joined with the page before it if they are few.
// Walks under way go on with the old ones.
func (o *ordered[K, V]) shrink(p *orderedPage[K, V]) {
	from := slices.Index(o.pages, p)
	to := from + 1
	if from > 0 && o.pages[from-1].live+p.live <= pageEntries/2 {
		from--
	}
	fresh := &orderedPage[K, V]{}
	for _, old := range o.pages[from:to] {
		for _, e := range old.entries {
			if !e.dead {
				e.page = fresh
				fresh.entries = append(fresh.entries, e)
			}
		}
	}
	fresh.live = len(fresh.entries)
	o.pages = slices.Concat(o.pages[:from], []*orderedPage[K, V]{fresh}, o.pages[to:])
}

// first is the oldest entry.
func (o *ordered[K, V]) first() (K, V, bool) {
	for _, p := range o.pages {
		for _, e := range p.entries {
			if !e.dead {
				return e.key, e.value, true
			}
		}
	}
	var k K
	var v V
	return k, v, false
}

// values walks the values from the oldest to the newest.
func (o *ordered[K, V]) values() iter.Seq[V] {
	return func(yield func(V) bool) {
		pages := o.pages
		if len(pages) == 0 {
			return
		}
		last := pages[len(pages)-1].entries // without what is added from now on
		for i, p := range pages {
			entries := p.entries
			if i == len(pages)-1 {
				entries = last
			}
			for _, e := range entries {
				if !e.dead && !yield(e.value) {
					return
				}
			}
		}
	}
}

// page is the picture of some neighbours in an ordered list; items are never changed.
type page[P any] struct {
	items []P
	// note belongs to the Viewer: what it made of the items.
	note any
}

// pictures shows all values in their order. Pages in which nothing has changed are those of the call
// before.
func pictures[K comparable, V, P any](o *ordered[K, V], show func(V) P) []*page[P] {
	list := make([]*page[P], 0, len(o.pages))
	for _, p := range o.pages {
		shown, ok := p.picture.(*page[P])
		if !ok {
			shown = &page[P]{items: make([]P, 0, p.live)}
			for _, e := range p.entries {
				if !e.dead {
					shown.items = append(shown.items, show(e.value))
				}
			}
			p.picture = shown
		}
		list = append(list, shown)
	}
	return list
}

// itself shows values that never change.
func itself[V any](v V) V { return v }
