package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// quantities are amounts by resource name; ranges and sets count their members (OPR-116).
type quantities map[string]*sum

func (q quantities) add(r *v1.Resource) {
	s := q[r.GetName()]
	if s == nil {
		s = new(sum)
		q[r.GetName()] = s
	}
	switch r.GetType() {
	case v1.Value_SCALAR:
		s.add(r.GetScalar().GetValue())
	case v1.Value_RANGES:
		for _, span := range r.GetRanges().GetRange() {
			s.add(float64(span.GetEnd() - span.GetBegin() + 1))
		}
	case v1.Value_SET:
		s.add(float64(len(r.GetSet().GetItem())))
	}
}

// roleUse is what a role and the roles below it hold.
type roleUse struct {
	allocated, offered, reserved, consumed quantities
	total                                  quantities // allocated and offered
	frameworks                             []*v1.FrameworkID
}

// roleUses sums up a view by role. Listed are the static roles if there are any, else all roles with
// frameworks, resources or a weight, and those above them (OPR-44, OPR-116).
func roleUses(view *MasterView) map[string]*roleUse {
	uses := make(map[string]*roleUse)
	use := func(role string) *roleUse {
		u := uses[role]
		if u == nil {
			u = &roleUse{
				allocated: make(quantities), offered: make(quantities), reserved: make(quantities),
				consumed: make(quantities), total: make(quantities),
			}
			uses[role] = u
		}
		return u
	}
	for role := range view.Weights {
		eachAbove(role, func(r string) { use(r) })
	}
	for _, f := range view.State.GetGetFrameworks().GetFrameworks() {
		for _, role := range mesos.Roles(f.GetFrameworkInfo()) {
			eachAbove(role, func(r string) { use(r) })
			use(role).frameworks = append(use(role).frameworks, f.GetFrameworkInfo().GetId())
		}
		for _, r := range f.GetAllocatedResources() {
			eachAbove(r.GetAllocationInfo().GetRole(), func(role string) {
				u := use(role)
				u.allocated.add(r)
				u.total.add(r)
				if reservedRole(r) == "" { // A reserved part is consumed by its reservation, below.
					u.consumed.add(r)
				}
			})
		}
		for _, r := range f.GetOfferedResources() {
			eachAbove(r.GetAllocationInfo().GetRole(), func(role string) {
				use(role).offered.add(r)
				use(role).total.add(r)
			})
		}
	}
	for _, a := range view.State.GetGetAgents().GetAgents() {
		for _, r := range a.GetTotalResources() {
			if reserved := reservedRole(r); reserved != "" {
				eachAbove(reserved, func(role string) {
					use(role).reserved.add(r)
					use(role).consumed.add(r)
				})
			}
		}
	}
	if view.Roles != nil {
		for _, role := range view.Roles {
			use(role)
		}
		maps.DeleteFunc(uses, func(role string, _ *roleUse) bool { return !slices.Contains(view.Roles, role) })
	}
	return uses
}

// eachAbove calls visit for a role and every role above it; "" is none.
func eachAbove(role string, visit func(string)) {
	for role != "" {
		visit(role)
		role = role[:max(strings.LastIndexByte(role, '/'), 0)]
	}
}

func (view *MasterView) weight(role string) float64 {
	if w, ok := view.Weights[role]; ok {
		return w
	}
	return 1
}

// roles serves the use of every role (OPR-116).
func (m *master) roles(w http.ResponseWriter, r *http.Request, view *MasterView) {
	uses := roleUses(view)
	serveJSON(w, r, func(d *document) {
		d.openObject()
		d.array("roles")
		for _, role := range slices.Sorted(maps.Keys(uses)) {
			d.role(role, uses[role], view.weight(role))
			if !d.spill() {
				return
			}
		}
		d.endArray()
		d.endObject()
	})
}

func (d *document) role(role string, use *roleUse, weight float64) {
	d.openObject()
	d.text("name", role)
	d.number("weight", weight)
	d.object("quota")
	d.text("role", role)
	d.quantities("guarantee", nil)
	d.quantities("limit", nil)
	d.quantities("consumed", use.consumed)
	d.endObject()
	d.quantities("resources", use.total)
	d.quantities("allocated", use.allocated)
	d.quantities("offered", use.offered)
	d.quantities("reserved", use.reserved)
	d.array("frameworks")
	for _, id := range use.frameworks {
		d.textElement(id.GetValue())
	}
	d.endArray()
	d.endObject()
}

func (d *document) quantities(k string, q quantities) {
	d.object(k)
	for _, name := range slices.Sorted(maps.Keys(q)) {
		d.name(name)
		d.buf = appendDouble(d.buf, q[name].value())
	}
	d.endObject()
}

// protoRoles is the same for the call GET_ROLES, which shows the four standard scalars only (OPR-44).
func protoRoles(view *MasterView) []*v1.Role {
	uses := roleUses(view)
	list := make([]*v1.Role, 0, len(uses))
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		role := &v1.Role{Name: proto.String(name), Weight: proto.Float64(view.weight(name)), Frameworks: uses[name].frameworks}
		for _, resource := range [...]string{"cpus", "disk", "gpus", "mem"} {
			if s := uses[name].total[resource]; s != nil {
				role.Resources = append(role.Resources, &v1.Resource{
					Name: proto.String(resource), Type: v1.Value_SCALAR.Enum(),
					Scalar: &v1.Value_Scalar{Value: proto.Float64(s.value())},
				})
			}
		}
		list = append(list, role)
	}
	return list
}
