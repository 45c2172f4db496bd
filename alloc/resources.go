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

// add merges e into *entries, which the caller owns.
func add(entries *[]Entry, e *Entry) {
	if e.empty() {
		return
	}
	if !e.whole() || e.shared() {
		for i := range *entries {
			if old := &(*entries)[i]; matches(old, e) {
				old.merge(e)
				return
			}
		}
	}
	*entries = append(*entries, *e)
}

// Add returns the sum of both: scalars add, ranges and sets unite, copies of
// shared entries count up (RES-8, RES-9, RES-13, RES-17).
func (r Resources) Add(s Resources) Resources {
	switch {
	case s.Empty():
		return r
	case r.Empty():
		return s
	}
	out := make([]Entry, len(r.entries), len(r.entries)+len(s.entries))
	copy(out, r.entries)
	for i := range s.entries {
		add(&out, &s.entries[i])
	}
	return Resources{out}
}

// Sub returns r without s. What s holds beyond r is ignored, an entry that
// reaches zero goes (RES-20).
func (r Resources) Sub(s Resources) Resources {
	if r.Empty() || s.Empty() {
		return r
	}
	out := slices.Clone(r.entries)
	for i := range s.entries {
		for j := range out {
			if !matches(&out[j], &s.entries[i]) {
				continue
			}
			out[j].take(&s.entries[i])
			if out[j].empty() {
				out = slices.Delete(out, j, j+1)
			}
			break
		}
	}
	return Resources{out}
}

// Contains reports whether each entry of s is contained in one entry of r
// (RES-18). It does not allocate.
func (r Resources) Contains(s Resources) bool {
	if r.same(s) {
		return true
	}
	for i := range s.entries {
		if !r.holds(s.entries, i) {
			return false
		}
	}
	return true
}

// holds reports whether entry i of wanted is contained in r. Entries that are
// handled as one piece are used up by equal ones before i.
func (r Resources) holds(wanted []Entry, i int) bool {
	e := &wanted[i]
	if !e.whole() || e.shared() {
		for j := range r.entries {
			if r.entries[j].holds(e) {
				return true
			}
		}
		return false
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
	out := make([]Entry, 0, len(r.entries))
	for _, e := range r.entries {
		e.role = role
		add(&out, &e)
	}
	return Resources{out}
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
