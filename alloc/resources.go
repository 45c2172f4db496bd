package alloc

import (
	"slices"
	"strings"

	v1 "clusterd/node/mesos/v1"
)

// Resources is an immutable collection of resource objects. The zero value is
// empty. Entries of one identity are merged as they are added, zero entries are
// never stored, and the order is that of first appearance (golden 10, 22).
// Arithmetic is exact, in thousandths (RES-3).
type Resources struct{ entries []Entry }

// Empty reports whether there is nothing.
func (r Resources) Empty() bool { return len(r.entries) == 0 }

// Len returns the number of entries.
func (r Resources) Len() int { return len(r.entries) }

// Entries returns a copy of the entries in order.
func (r Resources) Entries() []Entry { return slices.Clone(r.entries) }

// Add returns the sum of both: scalars add, ranges and sets unite, copies of
// shared entries count up (RES-8, RES-9, RES-13, RES-17).
func (r Resources) Add(s Resources) Resources {
	switch {
	case s.Empty():
		return r
	case r.Empty():
		return s
	}
	m := merger{entries: make([]Entry, len(r.entries), len(r.entries)+len(s.entries))}
	copy(m.entries, r.entries)
	for i := range s.entries {
		m.add(&s.entries[i])
	}
	return m.resources()
}

// Sub returns r without s. What s holds beyond r is ignored, an entry that
// reaches zero goes (RES-20).
func (r Resources) Sub(s Resources) Resources {
	if r.Empty() || s.Empty() {
		return r
	}
	out := slices.Clone(r.entries)
	cursor := 0
	for i := range s.entries {
		if j := seek(out, cursor, &s.entries[i], matches); j >= 0 {
			out[j].take(&s.entries[i])
			cursor = j + 1
		}
	}
	return Resources{slices.DeleteFunc(out, func(e Entry) bool { return e.empty() })}
}

// Contains reports whether each entry of s is contained in one entry of r
// (RES-18). It does not allocate.
func (r Resources) Contains(s Resources) bool {
	if r.same(s) {
		return true
	}
	// Entries that are handled as one piece are used up one by one. As long as
	// each is found behind the one before, that is no question.
	cursor, wholeCursor, ascending := 0, 0, true
	for i := range s.entries {
		e := &s.entries[i]
		if !e.whole() || e.shared() {
			j := seek(r.entries, cursor, e, (*Entry).holds)
			if j < 0 {
				return false
			}
			cursor = j + 1
			continue
		}
		j := seek(r.entries, wholeCursor, e, (*Entry).holds)
		if j < 0 {
			return false
		}
		ascending = ascending && j >= wholeCursor
		if !ascending && !r.holds(s.entries, i) {
			return false
		}
		wholeCursor = j + 1
	}
	return true
}

// seek returns the index of the first entry that accept takes together with e,
// looking from start on and then from the beginning, -1 if there is none. Equal
// order of both sides makes it cheap.
func seek(entries []Entry, start int, e *Entry, accept func(a, b *Entry) bool) int {
	for i := start; i < len(entries); i++ {
		if accept(&entries[i], e) {
			return i
		}
	}
	for i := range min(start, len(entries)) {
		if accept(&entries[i], e) {
			return i
		}
	}
	return -1
}

// holds reports whether entry i of wanted is contained in r. Entries that are
// handled as one piece are used up by equal ones before i.
func (r Resources) holds(wanted []Entry, i int) bool {
	e := &wanted[i]
	if !e.whole() || e.shared() {
		return seek(r.entries, 0, e, (*Entry).holds) >= 0
	}
	need := 0
	for j := range wanted[:i+1] {
		if matches(&wanted[j], e) {
			need++
		}
	}
	for j := range r.entries {
		if matches(&r.entries[j], e) {
			need--
		}
	}
	return need <= 0
}

// same reports whether both are one value in memory, and so equal.
func (r Resources) same(s Resources) bool {
	return len(r.entries) == len(s.entries) && (len(r.entries) == 0 || &r.entries[0] == &s.entries[0])
}

// Equal reports whether both hold the same, in any order.
func (r Resources) Equal(s Resources) bool { return r.Contains(s) && s.Contains(r) }

// Allocate returns r with the allocation role of every entry set to role.
func (r Resources) Allocate(role string) Resources {
	if r.Empty() || r.uniform(role) {
		return r
	}
	if r.uniform(r.entries[0].role) { // nothing can merge that did not before
		out := slices.Clone(r.entries)
		for i := range out {
			out[i].role = role
		}
		return Resources{out}
	}
	m := merger{entries: make([]Entry, 0, len(r.entries))}
	for _, e := range r.entries {
		e.role = role
		m.add(&e)
	}
	return m.resources()
}

// Unallocate returns r without allocation roles.
func (r Resources) Unallocate() Resources { return r.Allocate("") }

// uniform reports whether all entries have this allocation role.
func (r Resources) uniform(role string) bool {
	for i := range r.entries {
		if r.entries[i].role != role {
			return false
		}
	}
	return true
}

// AllocationRole returns the role to which r is allocated. It is false when r
// is empty, not allocated, or allocated to several roles.
func (r Resources) AllocationRole() (string, bool) {
	if r.Empty() || r.entries[0].role == "" {
		return "", false
	}
	role := r.entries[0].role
	return role, r.uniform(role)
}

// AllocationRoles returns the distinct allocation roles in order of first
// appearance, "" standing for entries that are not allocated.
func (r Resources) AllocationRoles() []string {
	var roles []string
	for i := range r.entries {
		if !slices.Contains(roles, r.entries[i].role) {
			roles = append(roles, r.entries[i].role)
		}
	}
	return roles
}

// Scalar returns the amount of all SCALAR entries of the name, in thousandths.
func (r Resources) Scalar(name string) int64 {
	var sum int64
	for i := range r.entries {
		if e := &r.entries[i]; e.kind == v1.Value_SCALAR && e.name == name {
			sum = addMilli(sum, e.milli)
		}
	}
	return sum
}

// Filter returns the entries for which keep is true.
func (r Resources) Filter(keep func(Entry) bool) Resources {
	var out []Entry
	for _, e := range r.entries {
		if keep(e) {
			out = append(out, e)
		}
	}
	return Resources{out}
}

// Named returns the entries of one name.
func (r Resources) Named(name string) Resources {
	return r.Filter(func(e Entry) bool { return e.name == name })
}

// Reserved returns the entries whose current reservation is for role; with an
// empty role all reserved ones.
func (r Resources) Reserved(role string) Resources {
	return r.Filter(func(e Entry) bool {
		reserved := e.ReservationRole()
		return reserved != "" && (role == "" || reserved == role)
	})
}

// Unreserved returns the entries without reservation.
func (r Resources) Unreserved() Resources {
	return r.Filter(func(e Entry) bool { return e.ReservationRole() == "" })
}

// Revocable returns the revocable entries.
func (r Resources) Revocable() Resources { return r.Filter(Entry.Revocable) }

// NonRevocable returns the regular entries.
func (r Resources) NonRevocable() Resources {
	return r.Filter(func(e Entry) bool { return !e.Revocable() })
}

// AllocatableTo returns what the role may be offered: unreserved entries and
// those reserved to it or to one of its ancestors (RES-194).
func (r Resources) AllocatableTo(role string) Resources {
	return r.Filter(func(e Entry) bool { return allocatableTo(e.ReservationRole(), role) })
}

func allocatableTo(reservation, role string) bool {
	return reservation == "" || reservation == role || subrole(role, reservation)
}

// subrole reports whether role is strictly below ancestor (RES-61).
func subrole(role, ancestor string) bool {
	return len(role) > len(ancestor) && role[len(ancestor)] == '/' && strings.HasPrefix(role, ancestor)
}

// Quantities returns the amounts by name over all entries, in thousandths;
// ranges and sets count their elements (RES-10).
func (r Resources) Quantities() Quantities {
	q := make(Quantities, len(r.entries))
	for i := range r.entries {
		q[r.entries[i].name] = addMilli(q[r.entries[i].name], r.entries[i].Milli())
	}
	return q
}
