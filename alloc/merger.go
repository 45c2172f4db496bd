package alloc

import (
	"slices"

	v1 "clusterd/node/mesos/v1"
)

// merger builds a Resources value by adding entries, in time that is about
// linear: lists come from outside and may be long.
type merger struct {
	entries []Entry
	cursor  int              // where the next match is likely
	index   map[identity]int // of entries that are not whole; nil while there are few
	late    []lateEntry      // ranges and sets still to be merged
}

// identity is what makes entries one that are not whole.
type identity struct {
	name, role, key string
	kind            v1.Value_Type
}

func (e *Entry) identity() identity {
	id := identity{name: e.name, role: e.role, kind: e.kind}
	if e.meta != nil {
		id.key = e.meta.key
	}
	return id
}

// lateEntry is an entry to be merged into the one at the index.
type lateEntry struct {
	index int
	entry *Entry
}

// indexed is the number of entries from which on looking through them costs more
// than an index.
const indexed = 32

// add merges e. It keeps a reference to ranges and sets until resources is called.
func (m *merger) add(e *Entry) {
	if e.empty() {
		return
	}
	i := -1
	if !e.whole() || e.shared() {
		i = m.find(e)
	}
	if i < 0 {
		m.entries = append(m.entries, *e)
		if m.index != nil && !e.whole() {
			m.index[e.identity()] = len(m.entries) - 1
		}
		return
	}
	m.cursor = i + 1
	switch old := &m.entries[i]; {
	case e.shared():
		old.copies += e.copies
	case e.kind == v1.Value_SCALAR:
		old.milli = addMilli(old.milli, e.milli)
	default:
		later := *e
		m.late = append(m.late, lateEntry{i, &later})
	}
}

// find returns the index of the entry into which e merges, -1 if there is none.
func (m *merger) find(e *Entry) int {
	if m.cursor < len(m.entries) && matches(&m.entries[m.cursor], e) {
		return m.cursor
	}
	if len(m.entries) < indexed || e.whole() {
		return seek(m.entries, m.cursor, e, matches)
	}
	if m.index == nil {
		m.index = make(map[identity]int, len(m.entries))
		for i := range m.entries {
			if !m.entries[i].whole() {
				m.index[m.entries[i].identity()] = i
			}
		}
	}
	if i, found := m.index[e.identity()]; found {
		return i
	}
	return -1
}

// resources returns the sum.
func (m *merger) resources() Resources {
	slices.SortStableFunc(m.late, func(a, b lateEntry) int { return a.index - b.index })
	for i := 0; i < len(m.late); {
		e := &m.entries[m.late[i].index]
		ranges, items := slices.Clone(e.ranges), slices.Clone(e.items)
		j := i
		for ; j < len(m.late) && m.late[j].index == m.late[i].index; j++ {
			ranges = append(ranges, m.late[j].entry.ranges...)
			items = append(items, m.late[j].entry.items...)
		}
		slices.Sort(items)
		e.ranges, e.items = coalesce(ranges), slices.Compact(items)
		i = j
	}
	return Resources{m.entries}
}
