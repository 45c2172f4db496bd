package master

import (
	"math"
	"time"

	"clusterd/alloc"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"

	"google.golang.org/protobuf/proto"
)

// offer is resources of one agent set aside for one role of one framework until it answers
// (SCH-121, SCH-124).
type offer struct {
	id        mesos.OfferID
	framework *framework
	agent     *agent
	role      string
	resources alloc.Resources // allocated to role
	proto     *v1.Offer       // as sent
	timer     *timer
}

// maxOffersBytes bounds the offers of one event, measured in protobuf. JSON is up to seven times as
// long, which stays under the 4 MiB that clients take (SCH-42).
const maxOffersBytes = 512 << 10

// allocate makes offers if the allocator wants a cycle, by the clock or because of what has happened
// in this step (SCH-125). The allocator spaces the cycles that events cause.
func (m *Master) allocate() {
	if at, ok := m.alloc.Deadline(); !ok || at.After(m.now) {
		return
	}
	var order []*framework
	batches := make(map[*framework][]*v1.Offer)
	for _, allocation := range m.alloc.Allocate(m.now) {
		if m.excluded(allocation) {
			continue
		}
		o := m.newOffer(allocation)
		if _, ok := batches[o.framework]; !ok {
			order = append(order, o.framework)
		}
		batches[o.framework] = append(batches[o.framework], o.proto)
	}
	for _, f := range order {
		m.sendOffers(f, batches[f])
	}
}

// excluded gives an allocation back that the constraints of the framework do not admit.
func (m *Master) excluded(x alloc.Allocation) bool {
	f, _ := m.frameworks.get(x.Framework)
	a, _ := m.agents.get(x.Agent)
	if f == nil || a == nil || f.constraints.admits(x.Role, a.info) {
		return false
	}
	m.alloc.Recover(m.now, f.id, a.id, x.Resources, constraintRefusal)
	m.alloc.Trigger(a.id)
	return true
}

// newOffer turns an allocation into an offer.
func (m *Master) newOffer(allocation alloc.Allocation) *offer {
	f, knownFramework := m.frameworks.get(allocation.Framework)
	a, knownAgent := m.agents.get(allocation.Agent)
	if !knownFramework || !knownAgent || !f.active || !a.active {
		panic("master: allocation for an absent framework or agent: " + string(allocation.Framework) + " on " + string(allocation.Agent))
	}
	o := &offer{
		id:        mesos.OfferID(m.id("-O%d", &m.nextOffer)),
		framework: f,
		agent:     a,
		role:      allocation.Role,
		resources: allocation.Resources,
	}
	o.proto = &v1.Offer{
		Id:          o.id.Proto(),
		FrameworkId: f.id.Proto(),
		AgentId:     a.id.Proto(),
		Hostname:    a.info.Hostname,
		Url:         a.url,
		Domain:      a.info.GetDomain(),
		Resources:   f.resourcesForm(o.resources),
		Attributes:  a.info.GetAttributes(),
	}
	for e := range a.executors.values() {
		if e.framework == f {
			o.proto.ExecutorIds = append(o.proto.ExecutorIds, e.id.Proto())
		}
	}
	if f.multiRole {
		o.proto.AllocationInfo = &v1.Resource_AllocationInfo{Role: &o.role}
	}
	if m.cfg.OfferTimeout > 0 {
		o.timer = m.timers.set(m.now.Add(m.cfg.OfferTimeout), func() {
			m.withdraw(o, true, 0) // SCH-127
		})
	}
	m.offers.put(o.id, o)
	f.offers.put(o.id, o)
	a.offers.put(o.id, o)
	f.offered.add(a, o.resources)
	a.offered = a.offered.Add(o.resources)
	m.changed(f, a)
	return o
}

// resourcesForm is r as the framework understands it: without allocation_info unless it is MULTI_ROLE
// (SCH-115), in the older form of reservations unless it is RESERVATION_REFINEMENT (SCH-116).
func (f *framework) resourcesForm(r alloc.Resources) []*v1.Resource {
	var list []*v1.Resource
	if f.refinement {
		list = r.Proto()
	} else {
		list = r.ProtoPre()
	}
	if !f.multiRole {
		for _, p := range list {
			p.AllocationInfo = nil
		}
	}
	return list
}

// sendOffers sends one event, or several if one would be too long (SCH-42).
func (m *Master) sendOffers(f *framework, offers []*v1.Offer) {
	f.counters.offersSent += uint64(len(offers))
	from, size := 0, 0
	flush := func(to int) {
		m.send(f, &v1scheduler.Event{
			Type:   v1scheduler.Event_OFFERS.Enum(),
			Offers: &v1scheduler.Event_Offers{Offers: offers[from:to:to]},
		})
		from, size = to, 0
	}
	for i, o := range offers {
		n := proto.Size(o)
		if i > from && size+n > maxOffersBytes {
			flush(i)
		}
		size += n
	}
	flush(len(offers))
}

// take removes an offer without giving its resources back.
func (m *Master) take(o *offer) {
	m.timers.stop(o.timer)
	m.offers.delete(o.id)
	o.framework.offers.delete(o.id)
	o.agent.offers.delete(o.id)
	o.framework.offered.sub(o.agent, o.resources)
	o.agent.offered = o.agent.offered.Sub(o.resources)
	m.changed(o.framework, o.agent)
}

// withdraw removes an offer and gives its resources back, with a filter of the length refuse. The
// framework is told if rescind is set (SCH-128, SCH-129).
func (m *Master) withdraw(o *offer, rescind bool, refuse time.Duration) {
	m.take(o)
	m.alloc.Recover(m.now, o.framework.id, o.agent.id, o.resources, refuse)
	if rescind && m.send(o.framework, &v1scheduler.Event{
		Type:    v1scheduler.Event_RESCIND.Enum(),
		Rescind: &v1scheduler.Event_Rescind{OfferId: o.id.Proto()},
	}) {
		o.framework.counters.offersRescinded++
	}
}

// rescindForeignRoles takes back the offers for roles that f has left (SCH-107).
func (m *Master) rescindForeignRoles(f *framework) {
	for o := range f.offers.values() {
		if !f.hasRoles([]string{o.role}) {
			m.withdraw(o, true, 0)
		}
	}
}

// decline is the DECLINE call. Ids that are unknown, or of offers to others, are ignored (SCH-197,
// SCH-198).
func (m *Master) decline(f *framework, d *v1scheduler.Call_Decline) {
	refuse := refuseDuration(d.GetFilters())
	for _, id := range d.GetOfferIds() {
		if o, ok := f.offers.get(mesos.OfferID(id.GetValue())); ok {
			f.counters.offersDeclined++
			m.withdraw(o, false, refuse)
		}
	}
}

// maxRefusal is the longest filter, 365 days.
const maxRefusal = 365 * 24 * time.Hour

// refuseDuration is the length of a filter (SCH-132). Zero is no filter.
func refuseDuration(filters *v1.Filters) time.Duration {
	const usual = 5 * time.Second
	s := filters.GetRefuseSeconds()
	switch {
	case filters == nil || math.IsNaN(s) || s < 0 || math.IsInf(s, 0) || s*1e9 >= math.MaxInt64:
		return usual
	case s > maxRefusal.Seconds():
		return maxRefusal
	}
	return secondsToDuration(s)
}

// secondsToDuration converts seconds that are known to fit.
func secondsToDuration(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }

// milli is a scalar in thousandths, rounded as Mesos does.
func milli(v float64) int64 { return int64(math.Round(v * 1000)) }
