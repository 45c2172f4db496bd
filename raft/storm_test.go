package raft

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// storm is a group of members in one goroutine, driven from one seed: messages are lost, repeated,
// delayed and reordered, links cut, power lost, members added, promoted, demoted and removed, leadership
// handed over, while clients write and read. After every event it is checked that at most one member may
// act as the leader, and that nobody applies anything but the one log.
type storm struct {
	t      *testing.T
	seed   uint64
	rng    *rand.Rand
	now    time.Duration // of the world; each house has a clock of its own
	events events
	serial uint64 // of events, so that those of one moment have an order
	houses map[uint64]*house
	nextID uint64
	cut    map[[2]uint64]bool // from, to
	calm   bool               // no more faults

	log     map[uint64]string // what was applied, by index
	acks    map[string]uint64 // acknowledged proposals
	highest uint64            // index of the newest acknowledged
	serials int               // of proposals
	stats   map[string]int
}

// house is one member and its disk.
type house struct {
	id      uint64
	disk    *forgetful
	member  *Member // nil while it is down
	machine *recorder
	rate    float64 // of its clock
	life    uint64  // counts its starts: events of an earlier life have no effect
	gone    bool    // removed by somebody and not started again
	joins   bool
}

type event struct {
	at     time.Duration
	serial uint64
	do     func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].serial < e[j].serial
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// recorder is a state machine that keeps the newest entries and a sum of all.
type recorder struct {
	storm *storm
	index uint64
	sum   uint64
}

func (r *recorder) Apply(index uint64, data []byte) (any, error) {
	if index <= r.index {
		return nil, fmt.Errorf("index %d is applied after %d", index, r.index)
	}
	r.index = index
	h := fnv.New64a()
	if err := binary.Write(h, binary.BigEndian, []uint64{r.sum, index}); err != nil {
		return nil, err
	}
	if _, err := h.Write(data); err != nil {
		return nil, err
	}
	r.sum = h.Sum64()
	if old, ok := r.storm.log[index]; ok && old != string(data) {
		return nil, fmt.Errorf("index %d is both %q and %q", index, old, data)
	}
	r.storm.log[index] = string(data)
	return string(data), nil
}

func (r *recorder) Snapshot() (func(io.Writer) error, error) {
	state := []uint64{r.index, r.sum}
	return func(w io.Writer) error { return binary.Write(w, binary.BigEndian, state) }, nil
}

func (r *recorder) Restore(in io.Reader) error {
	state := make([]uint64, 2)
	if err := binary.Read(in, binary.BigEndian, state); err != nil {
		return err
	}
	r.index, r.sum = state[0], state[1]
	return nil
}

func (r *recorder) Hash() func() string {
	sum := r.sum
	return func() string { return fmt.Sprintf("%016x", sum) }
}

func newStorm(t *testing.T, seed uint64, voters int) *storm {
	cryptotest.SetGlobalRandom(t, seed) // of which the protocol library draws its time-outs
	w := &storm{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), houses: map[uint64]*house{}, cut: map[[2]uint64]bool{},
		log: map[uint64]string{}, acks: map[string]uint64{}, stats: map[string]int{},
	}
	var ids []uint64
	for id := uint64(1); id <= uint64(voters); id++ {
		ids = append(ids, id)
	}
	for _, id := range ids {
		w.build(id, ids...)
	}
	return w
}

// build makes a new member with an empty disk, or that of a first voter.
func (w *storm) build(id uint64, voters ...uint64) {
	disk, err := newForgetful(voters...)
	if err != nil {
		w.t.Fatal(err)
	}
	h := &house{id: id, disk: disk, rate: 0.96 + 0.08*w.rng.Float64(), joins: len(voters) == 0}
	w.houses[id] = h
	w.nextID = max(w.nextID, id+1)
	w.start(h)
}

// clock is what a house's own clock shows. They are far from each other, and run at other speeds.
func (w *storm) clock(h *house) time.Time {
	return time.Unix(int64(h.id)*1000000, 0).Add(time.Duration(float64(w.now) * h.rate))
}

func (w *storm) after(d time.Duration, do func()) {
	w.serial++
	heap.Push(&w.events, event{w.now + d, w.serial, do})
}

// within draws a duration up to d.
func (w *storm) within(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }

func (w *storm) chance(p float64) bool { return !w.calm && w.rng.Float64() < p }

const stormTick = 100 * time.Millisecond

func (w *storm) start(h *house) {
	h.life++
	h.machine = &recorder{storm: w}
	life := h.life
	h.disk.fail = func() (error, bool) {
		if w.chance(0.0005) {
			return errPowerLost, w.rng.IntN(2) == 0
		}
		return nil, false
	}
	member, err := NewMember(MemberConfig{
		ID: h.id, TickInterval: stormTick, Storage: h.disk, Machine: h.machine, Nonce: w.rng.Uint64(),
		Send: func(messages []*raftpb.Message) { w.post(h, messages) },
		Aside: func(work func() error, done func(error)) {
			w.after(w.within(50*time.Millisecond), func() {
				if h.life != life {
					return
				}
				err := work()
				w.after(w.within(50*time.Millisecond), func() {
					if h.life == life {
						done(err)
						w.settle(h)
					}
				})
			})
		},
		SnapshotEntries: 25, KeepEntries: 8,
	})
	if err != nil {
		if errors.Is(err, errPowerLost) {
			w.crash(h)
			return
		}
		w.fatal("start of %d: %v", h.id, err)
	}
	h.member = member
	w.after(w.within(stormTick), func() { w.tick(h, life, 0) })
	w.settle(h)
}

// tick is the ticker of a house: it may be late, and then the next comes in time.
func (w *storm) tick(h *house, life uint64, late time.Duration) {
	if h.life != life || h.member == nil {
		return
	}
	h.member.Tick(w.clock(h))
	w.settle(h)
	next := time.Duration(float64(stormTick)/h.rate) - late
	late = 0
	if w.chance(0.1) {
		late = w.within(stormTick * 9 / 10)
	}
	w.after(next+late, func() { w.tick(h, life, late) })
}

// settle lets a member work, and checks the world.
func (w *storm) settle(h *house) {
	if h.member == nil {
		return
	}
	if err := h.member.Settle(w.clock(h)); err != nil {
		if errors.Is(err, errPowerLost) {
			w.crash(h)
			return
		}
		w.fatal("member %d: %v", h.id, err)
	}
	var acting []uint64
	for id, other := range w.houses {
		if other.member != nil && other.member.Leadership(w.clock(other)).Leader {
			acting = append(acting, id)
		}
	}
	if len(acting) > 1 {
		w.fatal("%v act as leaders", acting)
	}
}

func (w *storm) fatal(format string, args ...any) {
	w.t.Helper()
	for _, id := range slices.Sorted(maps.Keys(w.houses)) {
		if h := w.houses[id]; h.member != nil {
			s := h.member.Status(w.clock(h))
			w.t.Logf("%d: term %d, leader %d, leading %v, handing over %v, commit %d, log %d to %d, snapshot %d, voters %v, learners %v, removed %v",
				id, s.Term, s.Leader, s.Leading, s.HandingOver, s.Commit, s.First, s.Last, s.Snapshot, s.Voters, s.Learners, s.Removed)
		}
	}
	w.t.Fatalf("seed %d at %v: %s", w.seed, w.now, fmt.Sprintf(format, args...))
}

// crash is a power loss; the house is started again after a while.
func (w *storm) crash(h *house) { w.restart(h, w.within(3*time.Second)) }

// restart is a power loss for some time.
func (w *storm) restart(h *house, down time.Duration) {
	w.stats["power losses"]++
	if h.member != nil {
		m := h.member
		h.member = nil
		m.Stop(errPowerLost)
	}
	h.life++
	h.disk.lose()
	w.after(down, func() {
		if h.member == nil && !h.gone {
			w.start(h)
		}
	})
}

// post carries messages.
func (w *storm) post(from *house, messages []*raftpb.Message) {
	life := from.life
	for _, m := range messages {
		m := proto.Clone(m).(*raftpb.Message)
		copies := 1
		if w.chance(0.02) {
			copies = 2
		}
		for range copies {
			delay := 1*time.Millisecond + w.within(15*time.Millisecond)
			called := m.GetType() == raftpb.MsgTimeoutNow || len(m.GetContext()) == len(transferContext)
			if w.chance(0.03) || called && w.chance(0.3) {
				delay = w.within(4 * time.Second)
			}
			w.after(delay, func() { w.deliver(from, life, m) })
		}
	}
}

func (w *storm) deliver(from *house, life uint64, m *raftpb.Message) {
	to, ok := w.houses[m.GetTo()]
	lost := !ok || to.member == nil || w.cut[[2]uint64{from.id, to.id}] || w.chance(0.02)
	if m.GetType() == raftpb.MsgSnap {
		if !lost {
			meta := m.GetSnapshot().GetMetadata()
			body, ok := from.disk.current.files[[2]uint64{meta.GetIndex(), meta.GetTerm()}]
			lost = !ok || to.disk.receive(meta.GetIndex(), meta.GetTerm(), body) != nil
		}
		if from.member != nil && from.life == life {
			from.member.ReportSnapshot(m.GetTo(), !lost)
			w.settle(from)
		}
		if !lost {
			w.stats["snapshots"]++
		}
	}
	if lost {
		return
	}
	// What is refused changes nothing.
	_ = to.member.Step(proto.Clone(m).(*raftpb.Message), w.clock(to))
	w.settle(to)
}

// leading returns the house that may act.
func (w *storm) leading() *house {
	for _, id := range slices.Sorted(maps.Keys(w.houses)) {
		if h := w.houses[id]; h.member != nil && h.member.Leadership(w.clock(h)).Leader {
			return h
		}
	}
	return nil
}

// some returns one of the houses that run.
func (w *storm) some() *house {
	var up []*house
	for _, id := range slices.Sorted(maps.Keys(w.houses)) {
		if h := w.houses[id]; h.member != nil {
			up = append(up, h)
		}
	}
	if len(up) == 0 {
		return nil
	}
	return up[w.rng.IntN(len(up))]
}

// write is a client's proposal.
func (w *storm) write() {
	h := w.leading()
	if w.rng.IntN(10) == 0 {
		h = w.some()
	}
	if h == nil {
		return
	}
	var batch []Proposal
	for range 1 + w.rng.IntN(4) {
		w.serials++
		data := fmt.Sprint("write-", w.serials)
		batch = append(batch, Proposal{Data: []byte(data), Ended: func(index uint64, result any, err error) {
			if err != nil {
				return
			}
			if result != data {
				w.fatal("%s was answered with %v", data, result)
			}
			w.acks[data] = index
			w.highest = max(w.highest, index)
		}})
	}
	h.member.Submit(batch...)
	w.settle(h)
}

// read is a client's read: what was acknowledged before must be there.
func (w *storm) read() {
	h := w.some()
	if h == nil {
		return
	}
	want, machine := w.highest, h.machine
	h.member.ReadIndex(func(index uint64, err error) {
		if err != nil {
			return
		}
		w.stats["reads"]++
		if index < want || h.member.Status(w.clock(h)).Applied < want {
			w.fatal("read at %d gives index %d, state at %d; %d was acknowledged before", h.id, index, machine.index, want)
		}
	})
	w.settle(h)
}

// change changes the members, or hands over.
func (w *storm) change() {
	h := w.leading()
	if h == nil {
		return
	}
	s := h.member.Status(w.clock(h))
	pick := func(ids []uint64) uint64 {
		if len(ids) == 0 {
			return 0
		}
		return ids[w.rng.IntN(len(ids))]
	}
	var wish MemberChange
	switch w.rng.IntN(6) {
	case 0:
		if len(s.Voters)+len(s.Learners) >= 7 {
			return
		}
		wish = MemberChange{AddLearner, w.nextID}
		w.build(w.nextID)
	case 1, 2:
		if len(s.Voters) >= 5 {
			return
		}
		wish = MemberChange{Promote, pick(s.Learners)}
	case 3:
		wish = MemberChange{Demote, pick(s.Voters)}
	case 4:
		wish = MemberChange{Remove, pick(append(s.Learners, s.Voters...))}
	case 5:
		to := uint64(0)
		if w.rng.IntN(2) == 0 {
			to = pick(s.Voters)
		}
		h.member.Transfer(to, func(err error) { w.stats[fmt.Sprintf("transfer done %v", err == nil)]++ })
		w.settle(h)
		return
	}
	if len(s.Voters) <= 2 && (wish.Kind == Demote || wish.Kind == Remove && slices.Contains(s.Voters, wish.ID)) && w.rng.IntN(4) > 0 {
		return
	}
	h.member.Change(wish, func(err error) {
		if err != nil {
			w.stats["change refused"]++
			return
		}
		w.stats[wish.Kind.String()]++
		if wish.Kind == Remove {
			// It may run on for a while, or for ever, or be started again.
			if gone, ok := w.houses[wish.ID]; ok && w.rng.IntN(3) > 0 {
				w.after(w.within(5*time.Second), func() { w.demolish(gone) })
			}
		}
	})
	w.settle(h)
}

// demolish ends a house for good.
func (w *storm) demolish(h *house) {
	h.gone = true
	h.life++
	if h.member != nil {
		h.member.Stop(ErrClosed)
		h.member = nil
	}
	delete(w.houses, h.id)
}

// disturb cuts links for a while, or turns off the power of a house.
func (w *storm) disturb() {
	ids := slices.Sorted(maps.Keys(w.houses))
	switch w.rng.IntN(6) {
	case 0: // one house from all others
		id := ids[w.rng.IntN(len(ids))]
		in, out := w.rng.IntN(3) > 0, w.rng.IntN(3) > 0
		for _, other := range ids {
			w.cut[[2]uint64{id, other}], w.cut[[2]uint64{other, id}] = out, in
		}
	case 1: // two halves
		side := map[uint64]bool{}
		for _, id := range ids {
			side[id] = w.rng.IntN(2) == 0
		}
		for _, a := range ids {
			for _, b := range ids {
				w.cut[[2]uint64{a, b}] = side[a] != side[b]
			}
		}
	case 2: // some links, one way
		for _, a := range ids {
			for _, b := range ids {
				w.cut[[2]uint64{a, b}] = w.rng.IntN(4) == 0
			}
		}
	case 3:
		if h := w.some(); h != nil {
			w.crash(h)
		}
		return
	case 4:
		if h := w.leading(); h != nil {
			w.crash(h)
		}
		return
	case 5: // the leader from one other, which wants to be elected, by those that are started again
		h := w.leading()
		if h == nil {
			return
		}
		other := ids[w.rng.IntN(len(ids))]
		w.cut[[2]uint64{h.id, other}], w.cut[[2]uint64{other, h.id}] = true, true
		for range 10 {
			w.after(w.within(5*time.Second), func() {
				if next := w.some(); next != nil && next != h && next.id != other {
					w.restart(next, w.within(50*time.Millisecond))
				}
			})
		}
	}
	w.after(w.within(6*time.Second), func() { clear(w.cut) })
}

// run lets time pass.
func (w *storm) run(d time.Duration) {
	for end := w.now + d; len(w.events) > 0 && w.events[0].at <= end; {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
}

// repeat has something happen again and again while there are faults.
func (w *storm) repeat(mean time.Duration, do func()) {
	w.after(w.within(2*mean), func() {
		if !w.calm {
			do()
			w.repeat(mean, do)
		}
	})
}

// finish ends the faults, waits until all is well, and checks what must hold then.
func (w *storm) finish() {
	w.calm = true
	clear(w.cut)
	w.run(20 * time.Second)
	h := w.leading()
	if h == nil {
		w.fatal("nobody leads")
	}
	s := h.member.Status(w.clock(h))
	done := false
	h.member.Submit(Proposal{Data: []byte("last"), Ended: func(_ uint64, _ any, err error) {
		if err != nil {
			w.fatal("last proposal: %v", err)
		}
		done = true
	}})
	w.settle(h)
	w.run(5 * time.Second)
	if !done {
		w.fatal("the last proposal was not applied")
	}
	for _, id := range append(slices.Clone(s.Voters), s.Learners...) {
		other := w.houses[id]
		if other == nil || other.member == nil {
			w.fatal("member %d does not run", id)
		}
		if other.machine.index != h.machine.index || other.machine.sum != h.machine.sum {
			w.fatal("member %d stands at %d with %x, the leader at %d with %x", id, other.machine.index, other.machine.sum, h.machine.index, h.machine.sum)
		}
	}
	for data, index := range w.acks {
		if w.log[index] != data {
			w.fatal("%s was acknowledged at %d, where %q is", data, index, w.log[index])
		}
	}
	w.stats["acknowledged"] += len(w.acks)
}

var (
	stormSeeds = flag.Int("raft.seeds", 20, "how many seeds TestStorm runs")
	stormFirst = flag.Uint64("raft.seed", 1, "the first of them")
)

// Nothing acknowledged is lost, nobody applies another log, reads are fresh, and at most one member acts
// as the leader at a time, under all faults together: a network that loses, repeats, delays and cuts, power
// losses, clocks of different speed, changes of members, hand-overs, removed members that run on.
// CLU-31 CLU-32 CLU-33 CLU-37
func TestStorm(t *testing.T) {
	total := map[string]int{}
	if testing.Short() {
		*stormSeeds = min(*stormSeeds, 5)
	}
	for seed := *stormFirst; seed < *stormFirst+uint64(*stormSeeds); seed++ {
		w := newStorm(t, seed, 1+int(seed%5))
		w.repeat(40*time.Millisecond, w.write)
		w.repeat(200*time.Millisecond, w.read)
		w.repeat(700*time.Millisecond, w.change)
		w.repeat(5*time.Second, w.disturb)
		w.run(60 * time.Second)
		w.finish()
		for k, n := range w.stats {
			total[k] += n
		}
	}
	t.Log(total)
	for _, what := range []string{"acknowledged", "reads", "power losses", "snapshots", "add learner", "promote", "demote", "remove", "transfer done true"} {
		if total[what] == 0 {
			t.Errorf("nothing of this happened: %s", what)
		}
	}
}
