package alloc

import (
	"math"
	"strconv"
	"strings"

	v1 "clusterd/node/mesos/v1"
)

// String returns the form of logs and error messages (RES-21, SCH-174), for
// example "cpus(allocated: *):0.1; ports(allocated: *):[1-2]"; "{}" when empty.
func (r Resources) String() string {
	if r.Empty() {
		return "{}"
	}
	var b strings.Builder
	for i := range r.entries {
		if i > 0 {
			b.WriteString("; ")
		}
		r.entries[i].format(&b)
	}
	return b.String()
}

// String returns the form of one object, as Resources.String.
func (e Entry) String() string {
	var b strings.Builder
	e.format(&b)
	return b.String()
}

func (e *Entry) format(b *strings.Builder) {
	b.WriteString(e.name)
	m := e.meta
	if m == nil {
		m = &meta{}
	}
	formatIdentity(b, e.role, m.reservations, m.disk, m.revocable, m.shared)
	b.WriteByte(':')
	switch e.kind {
	case v1.Value_SCALAR:
		b.WriteString(formatMilli(e.milli))
	case v1.Value_RANGES:
		formatRanges(b, e.ranges)
	default:
		formatItems(b, e.items)
	}
	if e.copies > 1 {
		b.WriteString("<" + strconv.Itoa(int(e.copies)) + ">")
	}
}

// FormatProto returns the form of one object that need not be valid, in the
// form in which it was given.
func FormatProto(r *v1.Resource) string {
	var b strings.Builder
	b.WriteString(r.GetName())
	stack := r.GetReservations()
	if len(stack) == 0 && r.GetRole() != "*" {
		info := &v1.Resource_ReservationInfo{Type: v1.Resource_ReservationInfo_STATIC.Enum(), Role: r.Role}
		if given := r.GetReservation(); given != nil {
			info.Type = v1.Resource_ReservationInfo_DYNAMIC.Enum()
			info.Principal, info.Labels = given.Principal, given.Labels
		}
		stack = []*v1.Resource_ReservationInfo{info}
	}
	formatIdentity(&b, r.GetAllocationInfo().GetRole(), stack, r.GetDisk(), r.GetRevocable() != nil, r.GetShared() != nil)
	b.WriteByte(':')
	switch r.GetType() {
	case v1.Value_SCALAR:
		b.WriteString(formatScalar(r.GetScalar().GetValue()))
	case v1.Value_RANGES:
		ranges := make([]Range, 0, len(r.GetRanges().GetRange()))
		for _, x := range r.GetRanges().GetRange() {
			ranges = append(ranges, Range{x.GetBegin(), x.GetEnd()})
		}
		formatRanges(&b, ranges)
	case v1.Value_SET:
		formatItems(&b, r.GetSet().GetItem())
	}
	return b.String()
}

func formatIdentity(b *strings.Builder, role string, stack []*v1.Resource_ReservationInfo, disk *v1.Resource_DiskInfo, revocable, shared bool) {
	if role != "" {
		b.WriteString("(allocated: " + role + ")")
	}
	if len(stack) > 0 {
		b.WriteString("(reservations: [")
		for i, info := range stack {
			if i > 0 {
				b.WriteByte(',')
			}
			formatReservation(b, info)
		}
		b.WriteString("])")
	}
	if disk != nil {
		formatDisk(b, disk)
	}
	if revocable {
		b.WriteString("{REV}")
	}
	if shared {
		b.WriteString("<SHARED>")
	}
}

func formatReservation(b *strings.Builder, info *v1.Resource_ReservationInfo) {
	b.WriteString("(" + info.GetType().String() + "," + info.GetRole())
	if info.Principal != nil {
		b.WriteString("," + info.GetPrincipal())
	}
	if info.Labels != nil {
		b.WriteString(",{")
		for i, label := range info.GetLabels().GetLabels() {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(label.GetKey())
			if label.Value != nil {
				b.WriteString(": " + label.GetValue())
			}
		}
		b.WriteByte('}')
	}
	b.WriteByte(')')
}

func formatDisk(b *strings.Builder, disk *v1.Resource_DiskInfo) {
	b.WriteByte('[')
	if source := disk.GetSource(); source != nil {
		b.WriteString(source.GetType().String())
		switch {
		case source.GetPath().GetRoot() != "":
			b.WriteString(":" + source.GetPath().GetRoot())
		case source.GetMount().GetRoot() != "":
			b.WriteString(":" + source.GetMount().GetRoot())
		}
		if source.Id != nil || source.Profile != nil {
			b.WriteString("(" + source.GetVendor() + "," + source.GetId() + "," + source.GetProfile() + ")")
		}
		if disk.GetPersistence() != nil {
			b.WriteByte(',')
		}
	}
	if p := disk.GetPersistence(); p != nil {
		b.WriteString(p.GetId())
	}
	if v := disk.GetVolume(); v != nil {
		b.WriteString(":" + v.GetContainerPath())
	}
	b.WriteByte(']')
}

func formatRanges(b *strings.Builder, ranges []Range) {
	b.WriteByte('[')
	for i, r := range ranges {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.FormatUint(r.Begin, 10))
		b.WriteByte('-')
		b.WriteString(strconv.FormatUint(r.End, 10))
	}
	b.WriteByte(']')
}

func formatItems(b *strings.Builder, items []string) {
	b.WriteByte('{')
	b.WriteString(strings.Join(items, ", "))
	b.WriteByte('}')
}

// formatScalar prints an amount that may be out of bounds.
func formatScalar(value float64) string {
	milli := milliOf(value)
	if math.IsNaN(milli) || math.Abs(milli) > maxMilli {
		return strconv.FormatFloat(value, 'g', -1, 64)
	}
	return formatMilli(int64(milli))
}

// formatMilli prints thousandths in the shortest form: 1.902, 4, 0.1 (RES-4).
func formatMilli(milli int64) string {
	sign := ""
	n := uint64(milli)
	if milli < 0 {
		sign, n = "-", -n
	}
	text := sign + strconv.FormatUint(n/1000, 10)
	if n%1000 == 0 {
		return text
	}
	fraction := strconv.FormatUint(1000+n%1000, 10)[1:]
	return text + "." + strings.TrimRight(fraction, "0")
}
