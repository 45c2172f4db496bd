package alloc

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	v1 "clusterd/node/mesos/v1"
)

// slowResources is the obvious implementation of a collection: for each
// identity a number, a set of elements, or a multiset of indivisible pieces.
type slowResources struct {
	scalars map[string]int64
	members map[string]map[string]bool // ranges as single integers, sets as items
	pieces  map[string]int
}

func newSlow() slowResources {
	return slowResources{map[string]int64{}, map[string]map[string]bool{}, map[string]int{}}
}

// piece is one object as the generator makes it: identity by its description.
type piece struct {
	identity string
	whole    bool
	milli    int64
	members  []string
	message  *v1.Resource
}

func (s slowResources) add(p piece) {
	switch {
	case p.whole:
		s.pieces[fmt.Sprint(p.identity, p.milli)]++
	case p.members != nil:
		if s.members[p.identity] == nil {
			s.members[p.identity] = map[string]bool{}
		}
		for _, m := range p.members {
			s.members[p.identity][m] = true
		}
	default:
		s.scalars[p.identity] += p.milli
	}
}

func (s slowResources) sub(o slowResources) {
	for id, milli := range o.scalars {
		if s.scalars[id] -= milli; s.scalars[id] <= 0 {
			delete(s.scalars, id)
		}
	}
	for id, members := range o.members {
		for m := range members {
			delete(s.members[id], m)
		}
	}
	for id, n := range o.pieces {
		if s.pieces[id] -= n; s.pieces[id] <= 0 {
			delete(s.pieces, id)
		}
	}
}

func (s slowResources) contains(o slowResources) bool {
	for id, milli := range o.scalars {
		if s.scalars[id] < milli {
			return false
		}
	}
	for id, members := range o.members {
		for m := range members {
			if !s.members[id][m] {
				return false
			}
		}
	}
	for id, n := range o.pieces {
		if s.pieces[id] < n {
			return false
		}
	}
	return true
}

// String lists everything in order, without empty parts.
func (s slowResources) String() string {
	var lines []string
	for id, milli := range s.scalars {
		if milli > 0 {
			lines = append(lines, fmt.Sprint(id, " ", milli))
		}
	}
	for id, members := range s.members {
		for m := range members {
			lines = append(lines, id+" "+m)
		}
	}
	for id, n := range s.pieces {
		lines = append(lines, fmt.Sprint(id, " x", n))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// slowOf reads back what a Resources value holds through its public face.
func slowOf(r Resources) slowResources {
	s := newSlow()
	for _, m := range r.Proto() {
		s.add(pieceOf(m))
	}
	return s
}

// pieceOf derives identity and elements from a message in canonical form.
func pieceOf(m *v1.Resource) piece {
	p := piece{message: m}
	disk := m.GetDisk()
	p.identity = fmt.Sprint(m.GetName(), m.GetType(), "|", m.GetAllocationInfo().GetRole(), "|", m.Revocable != nil, m.Shared != nil,
		"|", m.GetProviderId().GetValue(), "|", disk != nil, disk.GetPersistence().GetId(), disk.GetSource().GetType(), disk.GetSource() != nil,
		disk.GetSource().GetMount().GetRoot(), disk.GetSource().GetPath().GetRoot())
	for _, info := range m.GetReservations() {
		p.identity += fmt.Sprint("|", info.GetType(), info.GetRole(), ",", info.GetPrincipal(), ",", info.Principal != nil)
		var labels []string
		for _, l := range info.GetLabels().GetLabels() {
			labels = append(labels, l.GetKey()+"="+l.GetValue())
		}
		slices.Sort(labels)
		p.identity += fmt.Sprint(labels)
	}
	p.whole = disk.GetPersistence() != nil || disk.GetSource().GetMount() != nil
	switch m.GetType() {
	case v1.Value_SCALAR:
		p.milli = int64(m.GetScalar().GetValue()*1000 + 0.5)
	case v1.Value_RANGES:
		p.members = []string{}
		for _, r := range m.GetRanges().GetRange() {
			for x := r.GetBegin(); x <= r.GetEnd(); x++ {
				p.members = append(p.members, fmt.Sprint(x))
			}
		}
	default:
		p.members = append([]string{}, m.GetSet().GetItem()...)
	}
	return p
}

// randomMessages makes a few objects over a small world, so that they meet.
func randomMessages(t testing.TB, r *rand.Rand) []*v1.Resource {
	identities := []string{
		``, ``, ``,
		`,"allocation_info":{"role":"eng"}`,
		`,"reservations":[{"type":"STATIC","role":"eng"}]`,
		`,"reservations":[{"type":"DYNAMIC","role":"eng"}]`,
		`,"reservations":[{"type":"DYNAMIC","role":"eng","principal":"p"}]`,
		`,"reservations":[{"type":"DYNAMIC","role":"eng","labels":{"labels":[{"key":"a","value":"1"},{"key":"b"}]}}]`,
		`,"reservations":[{"type":"DYNAMIC","role":"eng","labels":{"labels":[{"key":"b"},{"key":"a","value":"1"}]}}]`,
		`,"reservations":[{"type":"STATIC","role":"eng"},{"type":"DYNAMIC","role":"eng/ui"}]`,
		`,"revocable":{}`,
		`,"provider_id":{"value":"p1"}`,
	}
	disks := []string{
		`,"disk":{"source":{"type":"PATH","path":{"root":"/a"}}}`,
		`,"disk":{"source":{"type":"MOUNT","mount":{"root":"/m"}}}`,
		`,"reservations":[{"type":"STATIC","role":"eng"}],"disk":{"persistence":{"id":"v"},"volume":{"container_path":"c","mode":"RW"}}`,
		`,"reservations":[{"type":"STATIC","role":"eng"}],"disk":{"persistence":{"id":"v","principal":"p"},"volume":{"container_path":"d","mode":"RO"}}`,
		`,"reservations":[{"type":"STATIC","role":"eng"}],"shared":{},"disk":{"persistence":{"id":"s"},"volume":{"container_path":"c","mode":"RW"}}`,
	}
	var list []string
	for range r.IntN(5) {
		identity := identities[r.IntN(len(identities))]
		switch r.IntN(5) {
		case 0:
			list = append(list, fmt.Sprintf(`{"name":"disk","type":"SCALAR","scalar":{"value":%d}%s}`, 1+r.IntN(2), disks[r.IntN(len(disks))]))
		case 1:
			begin := r.IntN(12)
			second := ""
			if end := begin + 4 + r.IntN(3); r.IntN(2) == 0 {
				second = fmt.Sprintf(`,{"begin":%d,"end":%d}`, end, end+r.IntN(4))
			}
			list = append(list, fmt.Sprintf(`{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":%d,"end":%d}%s]}%s}`, begin, begin+r.IntN(4), second, identity))
		case 2:
			items := []string{`"a"`, `"b"`, `"c"`, `"d"`}
			r.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
			list = append(list, fmt.Sprintf(`{"name":"zones","type":"SET","set":{"item":[%s]}%s}`, strings.Join(items[:r.IntN(4)], ","), identity))
		default:
			name := []string{"cpus", "mem"}[r.IntN(2)]
			list = append(list, fmt.Sprintf(`{"name":%q,"type":"SCALAR","scalar":{"value":%.3f}%s}`, name, float64(r.IntN(5000))/1000, identity))
		}
	}
	return messages(t, "["+strings.Join(list, ",")+"]")
}

// RES-3, RES-8, RES-9, RES-13..20: arithmetic agrees with the obvious
// implementation, and arguments are never changed.
func TestArithmeticAgainstReference(t *testing.T) {
	for seed := range uint64(4000) {
		r := rand.New(rand.NewPCG(seed, 1))
		left, right := randomMessages(t, r), randomMessages(t, r)
		a, errA := FromProto(left)
		b, errB := FromProto(right)
		if errA != nil || errB != nil {
			t.Fatalf("seed %d: %v %v", seed, errA, errB)
		}
		slowA, slowB := newSlow(), newSlow()
		for _, m := range left {
			slowA.add(pieceOf(m))
		}
		for _, m := range right {
			slowB.add(pieceOf(m))
		}
		fail := func(what string, got, want any) {
			t.Helper()
			t.Fatalf("seed %d: %s of\n%s\n%s\ngot  %v\nwant %v", seed, what, a, b, got, want)
		}
		if got, want := slowOf(a).String(), slowA.String(); got != want {
			fail("FromProto", got, want)
		}
		if got, want := a.Contains(b), slowA.contains(slowB); got != want {
			fail("Contains", got, want)
		}
		if got, want := a.Equal(b), slowA.String() == slowB.String(); got != want {
			fail("Equal", got, want)
		}
		before, textA, textB := a, a.String(), b.String()
		sum, difference := a.Add(b), a.Sub(b)
		if a.String() != textA || b.String() != textB || !before.Equal(a) {
			fail("Add and Sub changed an operand", a, textA)
		}
		slowSum := slowOf(a)
		for _, m := range b.Proto() {
			slowSum.add(pieceOf(m))
		}
		if got, want := slowOf(sum).String(), slowSum.String(); got != want {
			fail("Add", got, want)
		}
		if !sum.Contains(a) || !sum.Contains(b) || !b.Add(a).Equal(sum) {
			fail("Add", sum, "the union, in either order")
		}
		slowA.sub(slowB)
		if got, want := slowOf(difference).String(), slowA.String(); got != want {
			fail("Sub", got, want)
		}
		if a.Contains(b) && !difference.Add(b).Equal(a) && len(slowB.members) == 0 {
			fail("Sub and Add", difference.Add(b), a)
		}
		again, err := FromProto(a.Proto())
		if err != nil || !again.Equal(a) {
			fail("Proto and back", again, err)
		}
		if once := a.Allocate("x"); !once.Unallocate().Equal(a.Unallocate()) || (!a.Empty() && once.AllocationRoles()[0] != "x") {
			fail("Allocate", once, a)
		}
	}
}
