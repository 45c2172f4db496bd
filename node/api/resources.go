package api

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// sum adds up scalars in thousandths, as Mesos does; a single one is shown as it was given.
type sum struct {
	count  int
	single float64
	milli  int64
}

func (s *sum) add(v float64) {
	s.count++
	s.single = v
	s.milli += int64(math.Round(v * 1000))
}

func (s *sum) value() float64 {
	if s.count == 1 {
		return s.single
	}
	return float64(s.milli) / 1000
}

// standard names the resources that are always shown, in the order of the original (OPR-106).
var standard = [...]string{"disk", "mem", "gpus", "cpus"}

// totals is a list of resources in the older JSON form: one value for each name.
type totals struct {
	standard [len(standard)]sum
	scalars  []namedScalar // the others
	ranges   []namedRanges
	sets     []namedSet
}

type namedScalar struct {
	name string
	sum  sum
}

type namedRanges struct {
	name   string
	ranges []*v1.Value_Range
}

type namedSet struct {
	name  string
	items []string
}

// add adds one entry. Revocable parts have a name of their own.
func (t *totals) add(r *v1.Resource) {
	name := r.GetName()
	if r.GetRevocable() != nil {
		name += "_revocable"
	}
	switch r.GetType() {
	case v1.Value_SCALAR:
		t.scalar(name).add(r.GetScalar().GetValue())
	case v1.Value_RANGES:
		i := slices.IndexFunc(t.ranges, func(n namedRanges) bool { return n.name == name })
		if i < 0 {
			i = len(t.ranges)
			t.ranges = append(t.ranges, namedRanges{name: name})
		}
		t.ranges[i].ranges = append(t.ranges[i].ranges, r.GetRanges().GetRange()...)
	case v1.Value_SET:
		i := slices.IndexFunc(t.sets, func(n namedSet) bool { return n.name == name })
		if i < 0 {
			i = len(t.sets)
			t.sets = append(t.sets, namedSet{name: name})
		}
		t.sets[i].items = append(t.sets[i].items, r.GetSet().GetItem()...)
	}
}

func (t *totals) scalar(name string) *sum {
	for i := range standard {
		if standard[i] == name {
			return &t.standard[i]
		}
	}
	for i := range t.scalars {
		if t.scalars[i].name == name {
			return &t.scalars[i].sum
		}
	}
	t.scalars = append(t.scalars, namedScalar{name: name})
	return &t.scalars[len(t.scalars)-1].sum
}

// resources writes a member with the sum of lists (OPR-106).
func (d *document) resources(k string, lists ...[]*v1.Resource) {
	var t totals
	for _, list := range lists {
		for _, r := range list {
			t.add(r)
		}
	}
	d.key(k)
	d.totals(&t)
}

func (d *document) totals(t *totals) {
	d.buf = append(d.buf, '{')
	for i := range standard {
		d.number(standard[i], t.standard[i].value())
	}
	slices.SortFunc(t.scalars, func(a, b namedScalar) int { return cmp.Compare(a.name, b.name) })
	for _, s := range t.scalars {
		d.name(s.name)
		d.buf = appendDouble(d.buf, s.sum.value())
	}
	slices.SortFunc(t.ranges, func(a, b namedRanges) int { return cmp.Compare(a.name, b.name) })
	for _, n := range t.ranges {
		d.name(n.name)
		d.buf = appendRanges(d.buf, n.ranges)
	}
	slices.SortFunc(t.sets, func(a, b namedSet) int { return cmp.Compare(a.name, b.name) })
	for _, n := range t.sets {
		d.name(n.name)
		d.buf = appendSet(d.buf, n.items)
	}
	d.endObject()
}

// appendRanges writes ranges in their text form, sorted and joined: "[31000-31099, 32000-32000]".
func appendRanges(dst []byte, ranges []*v1.Value_Range) []byte {
	type span struct{ begin, end uint64 }
	spans := make([]span, 0, len(ranges))
	for _, r := range ranges {
		spans = append(spans, span{r.GetBegin(), r.GetEnd()})
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.begin, b.begin) })
	joined := spans[:0]
	for _, s := range spans {
		if last := len(joined) - 1; last >= 0 && s.begin <= joined[last].end+1 {
			joined[last].end = max(joined[last].end, s.end)
			continue
		}
		joined = append(joined, s)
	}
	dst = append(dst, '"', '[')
	for i, s := range joined {
		if i > 0 {
			dst = append(dst, ',', ' ')
		}
		dst = strconv.AppendUint(dst, s.begin, 10)
		dst = append(dst, '-')
		dst = strconv.AppendUint(dst, s.end, 10)
	}
	return append(dst, ']', '"')
}

// appendSet writes a set in its text form: "{a, b}".
func appendSet(dst []byte, items []string) []byte {
	items = slices.Compact(slices.Sorted(slices.Values(items)))
	text := []byte{'{'}
	for i, item := range items {
		if i > 0 {
			text = append(text, ',', ' ')
		}
		text = append(text, item...)
	}
	return appendString(dst, append(text, '}'))
}

// reservedRole is the role that a resource is reserved for, "" if for none. Both the form with a stack
// of reservations and the older one with a role are understood.
func reservedRole(r *v1.Resource) string {
	if n := len(r.GetReservations()); n > 0 {
		return r.GetReservations()[n-1].GetRole()
	}
	if r.Role != nil && r.GetRole() != "*" {
		return r.GetRole()
	}
	return ""
}

// reservations splits resources by the role that they are reserved for; unreserved ones are under "".
func reservations(resources []*v1.Resource) map[string][]*v1.Resource {
	byRole := make(map[string][]*v1.Resource)
	for _, r := range resources {
		role := reservedRole(r)
		byRole[role] = append(byRole[role], r)
	}
	return byRole
}

func reservedRoles(byRole map[string][]*v1.Resource) []string {
	roles := slices.Sorted(maps.Keys(byRole))
	return slices.DeleteFunc(roles, func(role string) bool { return role == "" })
}

// reserved writes a member with the sums for each role.
func (d *document) reserved(k string, byRole map[string][]*v1.Resource) {
	d.object(k)
	for _, role := range reservedRoles(byRole) {
		var t totals
		for _, r := range byRole[role] {
			t.add(r)
		}
		d.name(role)
		d.totals(&t)
	}
	d.endObject()
}

// reservedFull writes a member with every entry for each role (OPR-112).
func (d *document) reservedFull(k string, byRole map[string][]*v1.Resource) {
	d.object(k)
	for _, role := range reservedRoles(byRole) {
		d.name(role)
		d.fullElements(byRole[role])
	}
	d.endObject()
}

// full writes a member with every entry.
func (d *document) full(k string, resources []*v1.Resource) {
	d.key(k)
	d.fullElements(resources)
}

func (d *document) fullElements(resources []*v1.Resource) {
	d.buf = append(d.buf, '[')
	for _, r := range resources {
		d.element(bothForms(r))
	}
	d.endArray()
}

// bothForms returns r with its reservation in both forms, as operators see it: role and reservation for
// older tools beside the stack of reservations (OPR-39, OPR-112). r itself is not changed. A refined
// reservation has no older form.
func bothForms(r *v1.Resource) *v1.Resource {
	both := &v1.Resource{
		ProviderId: r.ProviderId, Name: r.Name, Type: r.Type, Scalar: r.Scalar, Ranges: r.Ranges, Set: r.Set,
		Role: r.Role, AllocationInfo: r.AllocationInfo, Reservation: r.Reservation, Reservations: r.Reservations,
		Disk: r.Disk, Revocable: r.Revocable, Shared: r.Shared,
	}
	switch stack := r.GetReservations(); {
	case len(stack) == 1:
		both.Role = proto.String(stack[0].GetRole())
		if stack[0].GetType() == v1.Resource_ReservationInfo_DYNAMIC {
			both.Reservation = &v1.Resource_ReservationInfo{Principal: stack[0].Principal, Labels: stack[0].Labels}
		}
	case len(stack) > 1:
		both.Role, both.Reservation = nil, nil
	case reservedRole(r) == "":
		both.Role = proto.String("*")
	default: // Only the older form is there.
		kind := v1.Resource_ReservationInfo_STATIC
		reservation := &v1.Resource_ReservationInfo{Role: r.Role}
		if r.Reservation != nil {
			kind = v1.Resource_ReservationInfo_DYNAMIC
			reservation.Principal, reservation.Labels = r.Reservation.Principal, r.Reservation.Labels
		}
		reservation.Type = &kind
		both.Reservations = []*v1.Resource_ReservationInfo{reservation}
	}
	return both
}

func allBothForms(resources []*v1.Resource) []*v1.Resource {
	list := make([]*v1.Resource, 0, len(resources))
	for _, r := range resources {
		list = append(list, bothForms(r))
	}
	return list
}

// attributes writes a member with numbers and texts (OPR-105). Of an attribute given twice the last one
// counts.
func (d *document) attributes(attributes []*v1.Attribute) {
	d.object("attributes")
	for i, a := range attributes {
		if slices.ContainsFunc(attributes[i+1:], func(b *v1.Attribute) bool { return a.GetName() == b.GetName() }) {
			continue
		}
		d.name(a.GetName())
		switch a.GetType() {
		case v1.Value_SCALAR:
			d.buf = appendDouble(d.buf, a.GetScalar().GetValue())
		case v1.Value_RANGES:
			d.buf = appendRanges(d.buf, a.GetRanges().GetRange())
		case v1.Value_SET:
			d.buf = appendSet(d.buf, a.GetSet().GetItem())
		default:
			d.buf = appendString(d.buf, a.GetText().GetValue())
		}
	}
	d.endObject()
}

// seconds turns a point in time of the wire into seconds since 1970.
func seconds(t *v1.TimeInfo) float64 { return wholeAndRest(t.GetNanoseconds()) }

func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return wholeAndRest(t.UnixNano())
}

// wholeAndRest divides nanoseconds in two steps: the number of nanoseconds since 1970 has more digits
// than a double.
func wholeAndRest(ns int64) float64 {
	return float64(ns/int64(time.Second)) + float64(ns%int64(time.Second))/float64(time.Second)
}
