package alloc

import (
	"fmt"
	"math"
	"slices"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// maxMilli bounds the amount of one entry, so that sums over a cluster fit into
// 64 bits: 2^40 units, an exbibyte when the unit is MiB.
const maxMilli = 1 << 40 * 1000

// FromProto validates resource objects and converts them. It accepts the pre-
// and post-refinement form of reservations and the mixture of both that
// endpoints print (RES-83..85). Objects of amount 0 are dropped (RES-5).
// The error is an *InvalidError.
func FromProto(list []*v1.Resource) (Resources, error) {
	m := merger{entries: make([]Entry, 0, len(list))}
	for _, r := range list {
		e, err := entryFromProto(r)
		if err != nil {
			return Resources{}, &InvalidError{FormatProto(r), err}
		}
		m.add(&e)
	}
	for i := range m.entries {
		if m.entries[i].milli > maxMilli {
			return Resources{}, &InvalidError{m.entries[i].String(), tooLarge}
		}
	}
	return m.resources(), nil
}

// reason says why a resource is invalid, in the words of the API.
type reason string

func (r reason) Error() string { return string(r) }

// InvalidError is the refusal of a resource object.
type InvalidError struct {
	Resource string // as FormatProto prints it
	Reason   error
}

// Error returns "Resource '<r>' is invalid: <why>" (SCH-173).
func (e *InvalidError) Error() string {
	return "Resource '" + e.Resource + "' is invalid: " + e.Reason.Error()
}

// Unwrap returns the reason.
func (e *InvalidError) Unwrap() error { return e.Reason }

const tooLarge = reason("Invalid scalar resource: value > 1099511627776")

func entryFromProto(r *v1.Resource) (Entry, error) {
	if r.GetName() == "" {
		return Entry{}, reason("Empty resource name")
	}
	e := Entry{name: r.GetName(), kind: r.GetType(), role: r.GetAllocationInfo().GetRole()}
	var err error
	switch {
	case r.Type == nil:
		err = reason("Invalid resource type")
	case e.kind == v1.Value_SCALAR:
		e.milli, err = scalarFromProto(r)
	case e.kind == v1.Value_RANGES:
		e.ranges, err = rangesFromProto(r)
	case e.kind == v1.Value_SET:
		e.items, err = itemsFromProto(r)
	default:
		err = reason("Unsupported resource type")
	}
	if err != nil {
		return Entry{}, err
	}
	if err := validateDisk(r); err != nil {
		return Entry{}, err
	}
	reservations, err := reservationsFromProto(r)
	if err != nil {
		return Entry{}, err
	}
	if r.GetRevocable() != nil && len(reservations) > 0 {
		return Entry{}, reason("Invalid reservation: revocable resources cannot be reserved")
	}
	m := meta{
		reservations: reservations,
		provider:     r.GetProviderId().GetValue(),
		revocable:    r.GetRevocable() != nil,
		shared:       r.GetShared() != nil,
	}
	if r.GetDisk() != nil {
		m.disk = proto.Clone(r.GetDisk()).(*v1.Resource_DiskInfo)
	}
	e.meta = newMeta(m)
	if e.shared() {
		e.copies = 1
	}
	return e, nil
}

// milliOf rounds an amount to thousandths, half away from zero (RES-3).
func milliOf(value float64) float64 { return math.Round(value * 1000) }

func scalarFromProto(r *v1.Resource) (int64, error) {
	if r.Scalar == nil || r.Ranges != nil || r.Set != nil {
		return 0, reason("Invalid scalar resource")
	}
	value := r.GetScalar().GetValue()
	milli := milliOf(value)
	switch {
	case math.IsNaN(value):
		return 0, reason("Invalid scalar resource: value is not a number")
	case value != 0 && milli <= 0:
		return 0, reason("Invalid scalar resource: value <= 0")
	case milli > maxMilli:
		return 0, tooLarge
	}
	return int64(milli), nil
}

func rangesFromProto(r *v1.Resource) ([]Range, error) {
	if r.Scalar != nil || r.Ranges == nil || r.Set != nil {
		return nil, reason("Invalid ranges resource")
	}
	ranges := make([]Range, 0, len(r.GetRanges().GetRange()))
	for _, x := range r.GetRanges().GetRange() {
		if x.GetBegin() > x.GetEnd() {
			return nil, reason("Invalid ranges resource: begin > end")
		}
		ranges = append(ranges, Range{x.GetBegin(), x.GetEnd()})
	}
	if overlapping(ranges) {
		return nil, reason("Invalid ranges resource: overlapping ranges")
	}
	return coalesce(ranges), nil
}

func itemsFromProto(r *v1.Resource) ([]string, error) {
	if r.Scalar != nil || r.Ranges != nil || r.Set == nil {
		return nil, reason("Invalid set resource")
	}
	items := slices.Clone(r.GetSet().GetItem())
	slices.Sort(items)
	if len(slices.Compact(slices.Clone(items))) != len(items) {
		return nil, reason("Invalid set resource: duplicated elements")
	}
	return items, nil
}

// validateDisk checks disk info and sharing (RES-12, RES-123, RES-131).
func validateDisk(r *v1.Resource) error {
	if r.GetShared() != nil && r.GetDisk().GetPersistence() == nil {
		return reason("Only persistent volumes can be shared")
	}
	if r.GetDisk() == nil {
		return nil
	}
	if r.GetName() != "disk" {
		return reason(fmt.Sprintf("DiskInfo should not be set for %s resource", r.GetName()))
	}
	source := r.GetDisk().GetSource()
	if source == nil {
		return nil
	}
	switch kind := source.GetType(); kind {
	case v1.Resource_DiskInfo_Source_PATH:
		if source.Mount != nil {
			return reason("Mount should not be set for PATH disk source")
		}
	case v1.Resource_DiskInfo_Source_MOUNT:
		if source.Path != nil {
			return reason("Path should not be set for MOUNT disk source")
		}
	case v1.Resource_DiskInfo_Source_BLOCK, v1.Resource_DiskInfo_Source_RAW:
		if source.Mount != nil {
			return reason(fmt.Sprintf("Mount should not be set for %s disk source", kind))
		}
		if source.Path != nil {
			return reason(fmt.Sprintf("Path should not be set for %s disk source", kind))
		}
	default:
		return reason("Unsupported 'DiskInfo.Source.Type'")
	}
	return nil
}

// reservationsFromProto returns the canonical stack of r. The messages are
// copies.
func reservationsFromProto(r *v1.Resource) ([]*v1.Resource_ReservationInfo, error) {
	if len(r.GetReservations()) == 0 {
		return preRefinement(r)
	}
	if err := validateStack(r.GetReservations()); err != nil {
		return nil, err
	}
	if err := validateMixture(r); err != nil {
		return nil, err
	}
	stack := make([]*v1.Resource_ReservationInfo, len(r.GetReservations()))
	for i, info := range r.GetReservations() {
		stack[i] = proto.Clone(info).(*v1.Resource_ReservationInfo)
	}
	return stack, nil
}

// preRefinement converts the deprecated fields role and reservation (RES-83).
func preRefinement(r *v1.Resource) ([]*v1.Resource_ReservationInfo, error) {
	role, info := r.GetRole(), r.GetReservation()
	if role == "*" {
		if info != nil {
			return nil, reason(`Invalid reservation: role "*" cannot be reserved`)
		}
		return nil, nil
	}
	if err := mesos.ValidateRole(role); err != nil {
		return nil, err
	}
	if info == nil {
		return []*v1.Resource_ReservationInfo{{Type: v1.Resource_ReservationInfo_STATIC.Enum(), Role: &role}}, nil
	}
	if info.Type != nil || info.Role != nil {
		return nil, reason("Invalid resource format: 'Resource.reservation' must set neither 'type' nor 'role'")
	}
	dynamic := proto.Clone(info).(*v1.Resource_ReservationInfo)
	dynamic.Type, dynamic.Role = v1.Resource_ReservationInfo_DYNAMIC.Enum(), &role
	return []*v1.Resource_ReservationInfo{dynamic}, nil
}

// validateStack checks a canonical reservation stack (RES-82, RES-86).
func validateStack(stack []*v1.Resource_ReservationInfo) error {
	for i, info := range stack {
		if t := info.GetType(); t != v1.Resource_ReservationInfo_STATIC && t != v1.Resource_ReservationInfo_DYNAMIC {
			return reason("Invalid reservation: 'type' must be STATIC or DYNAMIC")
		}
		if info.Role == nil {
			return reason("Invalid reservation: 'role' is not set")
		}
		if err := mesos.ValidateRole(info.GetRole()); err != nil {
			return err
		}
		if info.GetRole() == "*" {
			return reason(`Invalid reservation: role "*" cannot be reserved`)
		}
		if i == 0 {
			continue
		}
		if info.GetType() == v1.Resource_ReservationInfo_STATIC {
			return reason("Invalid refined reservation: a refined reservation cannot be STATIC")
		}
		if before := stack[i-1].GetRole(); !subrole(info.GetRole(), before) {
			return reason(fmt.Sprintf("Invalid refined reservation: role '%s' is not a refinement of '%s'", info.GetRole(), before))
		}
	}
	return nil
}

// validateMixture checks that the deprecated fields, where they accompany
// 'reservations', say the same (RES-85).
func validateMixture(r *v1.Resource) error {
	if r.Role == nil && r.Reservation == nil {
		return nil
	}
	const invalid = "Invalid resource format: "
	if len(r.GetReservations()) > 1 {
		return reason(invalid + "'Resource.role' and 'Resource.reservation' must not be set with refined 'Resource.reservations'")
	}
	info := r.GetReservations()[0]
	if r.Role != nil && r.GetRole() != info.GetRole() {
		return reason(fmt.Sprintf(invalid+"'Resource.role' '%s' does not match the role '%s' in 'Resource.reservations'", r.GetRole(), info.GetRole()))
	}
	if info.GetType() == v1.Resource_ReservationInfo_STATIC {
		if r.Reservation != nil {
			return reason(invalid + "'Resource.reservation' must not be set for a STATIC reservation")
		}
		return nil
	}
	if (r.Role == nil) != (r.Reservation == nil) {
		return reason(invalid + "'Resource.role' and 'Resource.reservation' must both be set or both be unset for a DYNAMIC reservation")
	}
	var given, canonical keyWriter
	given.text(r.GetReservation().GetPrincipal())
	given.labels(r.GetReservation().GetLabels())
	canonical.text(info.GetPrincipal())
	canonical.labels(info.GetLabels())
	if (r.GetReservation().Principal == nil) != (info.Principal == nil) || given.String() != canonical.String() {
		return reason(invalid + "'Resource.reservation' does not match 'Resource.reservations'")
	}
	return nil
}

// Proto converts to the canonical, post-refinement form (RES-82), in order.
// The messages are fresh. A shared entry is written once for each copy.
func (r Resources) Proto() []*v1.Resource {
	return r.protos(func(e *Entry) *v1.Resource { return e.proto() })
}

// ProtoPre converts to the pre-refinement form for frameworks without
// RESERVATION_REFINEMENT (RES-83, RES-87). Refined entries, which have no such
// form, are left out.
func (r Resources) ProtoPre() []*v1.Resource {
	return r.protos(func(e *Entry) *v1.Resource {
		p := e.proto()
		if len(p.Reservations) > 1 {
			return nil
		}
		deprecate(p)
		p.Reservations = nil
		return p
	})
}

// ProtoEndpoint converts to the form of state endpoints: canonical, and with
// the deprecated fields where these can express it (RES-84).
func (r Resources) ProtoEndpoint() []*v1.Resource {
	return r.protos(func(e *Entry) *v1.Resource {
		p := e.proto()
		deprecate(p)
		return p
	})
}

func (r Resources) protos(convert func(*Entry) *v1.Resource) []*v1.Resource {
	out := make([]*v1.Resource, 0, len(r.entries))
	for i := range r.entries {
		for range max(1, r.entries[i].copies) {
			if p := convert(&r.entries[i]); p != nil {
				out = append(out, p)
			}
		}
	}
	return out
}

// deprecate sets role and reservation from a stack of at most one entry.
func deprecate(p *v1.Resource) {
	switch len(p.Reservations) {
	case 0:
		p.Role = proto.String("*")
	case 1:
		info := p.Reservations[0]
		p.Role = proto.String(info.GetRole())
		if info.GetType() == v1.Resource_ReservationInfo_DYNAMIC {
			p.Reservation = proto.Clone(info).(*v1.Resource_ReservationInfo)
			p.Reservation.Type, p.Reservation.Role = nil, nil
		}
	}
}

func (e *Entry) proto() *v1.Resource {
	p := &v1.Resource{Name: proto.String(e.name), Type: e.kind.Enum()}
	switch e.kind {
	case v1.Value_SCALAR:
		p.Scalar = &v1.Value_Scalar{Value: proto.Float64(float64(e.milli) / 1000)}
	case v1.Value_RANGES:
		p.Ranges = &v1.Value_Ranges{Range: make([]*v1.Value_Range, len(e.ranges))}
		for i, x := range e.ranges {
			p.Ranges.Range[i] = &v1.Value_Range{Begin: proto.Uint64(x.Begin), End: proto.Uint64(x.End)}
		}
	default:
		p.Set = &v1.Value_Set{Item: slices.Clone(e.items)}
	}
	if e.role != "" {
		p.AllocationInfo = &v1.Resource_AllocationInfo{Role: proto.String(e.role)}
	}
	if e.meta == nil {
		return p
	}
	for _, info := range e.meta.reservations {
		p.Reservations = append(p.Reservations, proto.Clone(info).(*v1.Resource_ReservationInfo))
	}
	if e.meta.disk != nil {
		p.Disk = proto.Clone(e.meta.disk).(*v1.Resource_DiskInfo)
	}
	if e.meta.provider != "" {
		p.ProviderId = &v1.ResourceProviderID{Value: proto.String(e.meta.provider)}
	}
	if e.meta.revocable {
		p.Revocable = &v1.Resource_RevocableInfo{}
	}
	if e.meta.shared {
		p.Shared = &v1.Resource_SharedInfo{}
	}
	return p
}
