package alloc

import (
	"math"
	"slices"
	"strings"

	v1 "clusterd/node/mesos/v1"
)

// Entry is one resource object of a Resources value: a quantity and its
// identity. The identity is name, type, allocation role, reservation stack,
// disk, revocable, shared and provider (RES-13). Entries are never changed.
type Entry struct {
	name   string
	role   string // allocation role, empty when not allocated
	meta   *meta  // nil for a plain entry: unreserved, regular, no disk info
	kind   v1.Value_Type
	copies int32 // of a shared entry, else 0
	milli  int64
	ranges []Range  // coalesced
	items  []string // sorted, unique
}

// meta is the part of an identity that few entries have. It is shared between
// entries and never changed.
type meta struct {
	key          string // equal keys are equal identities
	reservations []*v1.Resource_ReservationInfo
	disk         *v1.Resource_DiskInfo
	provider     string
	revocable    bool
	shared       bool
	whole        bool // never merged or split: MOUNT, BLOCK, RAW with id, persistent (RES-14)
}

// Name returns the name of the resource.
func (e Entry) Name() string { return e.name }

// Type returns SCALAR, RANGES or SET.
func (e Entry) Type() v1.Value_Type { return e.kind }

// Role returns the role to which the entry is allocated, "" for none.
func (e Entry) Role() string { return e.role }

// Milli returns the quantity in thousandths: of the amount of a scalar, of the
// number of integers in ranges, of the number of items in a set (RES-10).
func (e Entry) Milli() int64 {
	switch e.kind {
	case v1.Value_SCALAR:
		return e.milli
	case v1.Value_RANGES:
		return scale(countRanges(e.ranges))
	default:
		return scale(int64(len(e.items)))
	}
}

// Ranges returns a copy of the coalesced intervals of a RANGES entry.
func (e Entry) Ranges() []Range { return slices.Clone(e.ranges) }

// Items returns a copy of the sorted items of a SET entry.
func (e Entry) Items() []string { return slices.Clone(e.items) }

// ReservationRole returns the role of the current (last) reservation, "" when
// the entry is unreserved (RES-82).
func (e Entry) ReservationRole() string {
	if e.meta == nil || len(e.meta.reservations) == 0 {
		return ""
	}
	return e.meta.reservations[len(e.meta.reservations)-1].GetRole()
}

// Reservations returns the reservation stack. The messages must not be changed.
func (e Entry) Reservations() []*v1.Resource_ReservationInfo {
	if e.meta == nil {
		return nil
	}
	return slices.Clone(e.meta.reservations)
}

// Disk returns the disk info, nil for none. The message must not be changed.
func (e Entry) Disk() *v1.Resource_DiskInfo {
	if e.meta == nil {
		return nil
	}
	return e.meta.disk
}

// Provider returns the id of the resource provider, "" for the agent itself.
func (e Entry) Provider() string {
	if e.meta == nil {
		return ""
	}
	return e.meta.provider
}

// Revocable reports whether the entry may be taken back (RES-134).
func (e Entry) Revocable() bool { return e.meta != nil && e.meta.revocable }

// Shared reports whether the entry is a shared persistent volume (RES-17).
func (e Entry) Shared() bool { return e.meta != nil && e.meta.shared }

// Copies returns the copy count of a shared entry, 0 for any other.
func (e Entry) Copies() int { return int(e.copies) }

// PersistentVolume reports whether the entry is a persistent volume.
func (e Entry) PersistentVolume() bool {
	return e.meta != nil && e.meta.disk.GetPersistence() != nil
}

// scale converts a count into thousandths, at most MaxInt64.
func scale(n int64) int64 {
	if n > math.MaxInt64/1000 {
		return math.MaxInt64
	}
	return n * 1000
}

// addMilli adds two quantities that are not negative, at most MaxInt64.
func addMilli(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func sameMeta(a, b *meta) bool {
	return a == b || (a != nil && b != nil && a.key == b.key)
}

// sameIdentity reports whether both entries are the same kind of thing.
func sameIdentity(a, b *Entry) bool {
	return a.kind == b.kind && a.name == b.name && a.role == b.role && sameMeta(a.meta, b.meta)
}

func sameValue(a, b *Entry) bool {
	return a.milli == b.milli && slices.Equal(a.ranges, b.ranges) && slices.Equal(a.items, b.items)
}

// whole reports whether the entry may only be handled as one piece.
func (e *Entry) whole() bool { return e.meta != nil && e.meta.whole }

// shared is Shared without the copy of the receiver.
func (e *Entry) shared() bool { return e.meta != nil && e.meta.shared }

func (e *Entry) empty() bool {
	if e.shared() && e.copies <= 0 {
		return true
	}
	return e.milli <= 0 && len(e.ranges) == 0 && len(e.items) == 0
}

// matches reports whether an operation with b touches a at all: same identity
// and, where only the whole can be handled, the same value (RES-16).
func matches(a, b *Entry) bool {
	if !sameIdentity(a, b) {
		return false
	}
	return !a.whole() || sameValue(a, b)
}

// take subtracts b from a matching e.
func (e *Entry) take(b *Entry) {
	switch {
	case e.shared():
		e.copies -= b.copies
	case e.whole():
		e.milli, e.ranges, e.items = 0, nil, nil
	case e.kind == v1.Value_SCALAR:
		e.milli -= b.milli
	case e.kind == v1.Value_RANGES:
		e.ranges = subRanges(e.ranges, b.ranges)
	default:
		e.items = subItems(e.items, b.items)
	}
}

// holds reports whether b is contained in e alone.
func (e *Entry) holds(b *Entry) bool {
	if !matches(e, b) {
		return false
	}
	switch {
	case e.shared():
		return e.copies >= b.copies
	case e.whole():
		return true
	case e.kind == v1.Value_SCALAR:
		return e.milli >= b.milli
	case e.kind == v1.Value_RANGES:
		return containsRanges(e.ranges, b.ranges)
	default:
		return containsItems(e.items, b.items)
	}
}

// newMeta returns the meta of the parts, nil when all are absent. It keeps the
// messages: the caller hands over ones that nobody changes.
func newMeta(m meta) *meta {
	if len(m.reservations) == 0 && m.disk == nil && m.provider == "" && !m.revocable && !m.shared {
		return nil
	}
	var k keyWriter
	k.flag(m.revocable)
	k.flag(m.shared)
	k.text(m.provider)
	k.number(len(m.reservations))
	for _, r := range m.reservations {
		k.number(int(r.GetType()))
		k.text(r.GetRole())
		k.flag(r.Principal != nil)
		k.text(r.GetPrincipal())
		k.labels(r.GetLabels())
	}
	k.disk(m.disk)
	m.key = k.String()
	source := m.disk.GetSource()
	switch {
	case m.disk.GetPersistence() != nil:
		m.whole = true
	case source == nil:
	case source.GetType() == v1.Resource_DiskInfo_Source_MOUNT, source.GetType() == v1.Resource_DiskInfo_Source_BLOCK:
		m.whole = true
	case source.GetType() == v1.Resource_DiskInfo_Source_RAW:
		m.whole = source.Id != nil
	}
	return &m
}

// keyWriter builds identity keys: every part is length-prefixed, so different
// identities cannot write the same key.
type keyWriter struct{ strings.Builder }

func (k *keyWriter) number(n int) {
	var digits [20]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			break
		}
	}
	k.Write(digits[i:])
	k.WriteByte(' ')
}

func (k *keyWriter) text(s string) {
	k.number(len(s))
	k.WriteString(s)
}

func (k *keyWriter) flag(set bool) {
	if set {
		k.WriteByte('+')
	} else {
		k.WriteByte('-')
	}
}

// labels writes labels in an order of their own: the order in which they were
// given is not part of an identity.
func (k *keyWriter) labels(labels *v1.Labels) {
	k.flag(labels != nil)
	list := slices.Clone(labels.GetLabels())
	slices.SortFunc(list, func(a, b *v1.Label) int {
		if c := strings.Compare(a.GetKey(), b.GetKey()); c != 0 {
			return c
		}
		return strings.Compare(a.GetValue(), b.GetValue())
	})
	k.number(len(list))
	for _, l := range list {
		k.text(l.GetKey())
		k.flag(l.Value != nil)
		k.text(l.GetValue())
	}
}

// disk writes what tells disks apart: the source and the persistence id, not
// the mount point, mode or principal of a volume (RES-15).
func (k *keyWriter) disk(disk *v1.Resource_DiskInfo) {
	k.flag(disk != nil)
	if p := disk.GetPersistence(); p != nil {
		k.flag(true)
		k.text(p.GetId())
	} else {
		k.flag(false)
	}
	source := disk.GetSource()
	k.flag(source != nil)
	if source == nil {
		return
	}
	k.number(int(source.GetType()))
	k.flag(source.GetPath() != nil)
	k.text(source.GetPath().GetRoot())
	k.flag(source.GetMount() != nil)
	k.text(source.GetMount().GetRoot())
	k.text(source.GetVendor())
	k.flag(source.Id != nil)
	k.text(source.GetId())
	k.labels(source.GetMetadata())
	k.text(source.GetProfile())
}
