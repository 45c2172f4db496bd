package cluster

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	v1 "clusterd/node/mesos/v1"
	"clusterd/raft/registry"
)

// world is a simulated cluster: a true registry, and of raft what a planner gets to see. Its clock moves
// by the planner's own wishes, so that a wish that comes too late shows.
type world struct {
	t       testing.TB
	r       *rand.Rand
	now     time.Time
	state   *registry.State
	nodes   map[string]*machine
	members map[uint64]*raftMember // raft's configuration
	used    map[uint64]bool        // raft ids that have been in it
	leader  string                 // node id, empty while there is none
	since   time.Time
	planner *Planner
	flaky   bool // steps may fail
	late    []func()
	log     []string
	joined  int
	calm    bool // the number of voters may be even for one step only
}

// machine is a node as it is, whatever the leader knows.
type machine struct {
	alive   bool
	heard   time.Time
	stuck   bool // never catches up
	lost    uint64
	address string
}

// raftMember is a member of raft's configuration.
type raftMember struct {
	voter bool
	ready time.Time // caught up from then on, if alive
}

const replaceAfter = 5 * time.Minute

var errLost = errors.New("outcome unknown")

func newWorld(t testing.TB, seed uint64, masters int) *world {
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1_700_000_000, 0), state: registry.New(),
		nodes: make(map[string]*machine), members: make(map[uint64]*raftMember), used: make(map[uint64]bool),
	}
	first := w.node(registry.Node_AUTO)
	first.RaftId = proto.Uint64(1)
	w.must(&registry.Op{Op: &registry.Op_FormCluster{FormCluster: &registry.FormCluster{
		ClusterId: proto.String("c"), Time: proto.Int64(w.now.UnixNano()), Node: first,
		Authority: &registry.Authority{Certificate: []byte("c"), Key: []byte("k")}, Settings: &registry.Settings{Masters: proto.Uint32(uint32(masters))},
	}}})
	w.members[1], w.used[1] = &raftMember{voter: true}, true
	w.elect()
	return w
}

// fail ends the test with what has happened.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.log[max(0, len(w.log)-60):], "\n"))
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, w.now.Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (w *world) apply(op *registry.Op) registry.Result {
	result, err := w.state.Apply(w.state.Index()+1, op)
	if err != nil {
		w.fail("apply %v: %v", op, err)
	}
	return result
}

func (w *world) must(op *registry.Op) registry.Result {
	w.t.Helper()
	result := w.apply(op)
	if result.Refused != "" {
		w.fail("%v: refused: %s", op, result.Refused)
	}
	return result
}

// node makes the record of a new machine in a random place.
func (w *world) node(role registry.Node_Role) *registry.Node {
	w.joined++
	id := fmt.Sprintf("n%02d", w.joined)
	key := sha256.Sum256([]byte(id))
	address := fmt.Sprintf("10.0.0.%d", w.joined)
	n := &registry.Node{
		Id: &id, Name: proto.String(id), Role: role.Enum(), PeerAddress: proto.String(address + ":5055"), MasterAddress: proto.String(address + ":5050"),
		Version: proto.String("0.1.0"), MayBeMaster: proto.Bool(true), KeyHash: key[:],
	}
	if w.r.IntN(4) > 0 {
		n.Domain = domain(fmt.Sprint("region", w.r.IntN(2)), fmt.Sprint("zone", w.r.IntN(2)))
		n.Attributes = []*v1.Attribute{text("rack", fmt.Sprint("rack", w.r.IntN(3)))}
	}
	w.nodes[id] = &machine{alive: true, address: address}
	return n
}

func domain(region, zone string) *v1.DomainInfo {
	return &v1.DomainInfo{FaultDomain: &v1.DomainInfo_FaultDomain{
		Region: &v1.DomainInfo_FaultDomain_RegionInfo{Name: &region}, Zone: &v1.DomainInfo_FaultDomain_ZoneInfo{Name: &zone},
	}}
}

func text(name, value string) *v1.Attribute {
	return &v1.Attribute{Name: &name, Type: v1.Value_TEXT.Enum(), Text: &v1.Value_Text{Value: &value}}
}

func (w *world) join(change func(*registry.Node)) string {
	n := w.node(registry.Node_AUTO)
	if change != nil {
		change(n)
	}
	w.must(&registry.Op{Op: &registry.Op_AdmitNode{AdmitNode: &registry.AdmitNode{Node: n, Time: proto.Int64(w.now.UnixNano())}}})
	w.note("%s joins", n.GetId())
	return n.GetId()
}

func (w *world) place(id string, where registry.Node_Placement) {
	w.note("%s is %v", id, where)
	w.apply(&registry.Op{Op: &registry.Op_SetPlacement{SetPlacement: &registry.SetPlacement{NodeId: &id, Placement: where.Enum()}}})
}

func (w *world) masters(n int) {
	w.note("%d masters", n)
	w.must(&registry.Op{Op: &registry.Op_SetSettings{SetSettings: &registry.SetSettings{Settings: &registry.Settings{Masters: proto.Uint32(uint32(n))}}}})
}

func (w *world) wanted() int {
	c, _ := w.state.Cluster()
	return int(c.GetSettings().GetMasters())
}

// memberOf is the raft member of a node, if it is in the configuration.
func (w *world) memberOf(id string) (*raftMember, uint64) {
	n, _ := w.state.Node(id)
	return w.members[n.GetRaftId()], n.GetRaftId()
}

// lives says whether a raft member takes part.
func (w *world) lives(raftID uint64) bool {
	n, ok := w.state.NodeByRaftID(raftID)
	return ok && w.nodes[n.GetId()].alive && w.nodes[n.GetId()].lost != raftID
}

func (w *world) caughtUp(raftID uint64) bool {
	m := w.members[raftID]
	n, ok := w.state.NodeByRaftID(raftID)
	return ok && w.lives(raftID) && (m.voter || !w.now.Before(m.ready) && !w.nodes[n.GetId()].stuck)
}

// votes counts the voters, and those that are alive.
func (w *world) votes() (voters, alive int) {
	for id, m := range w.members {
		if m.voter {
			voters++
			if w.lives(id) {
				alive++
			}
		}
	}
	return voters, alive
}

func (w *world) hasQuorum() bool {
	voters, alive := w.votes()
	return alive >= quorum(voters)
}

// elect makes one of the voters that are alive the leader, if there is a quorum of them.
func (w *world) elect() {
	w.leader, w.planner = "", nil
	if !w.hasQuorum() {
		return
	}
	var able []string
	for _, id := range slices.Sorted(maps.Keys(w.members)) {
		if w.members[id].voter && w.lives(id) {
			n, _ := w.state.NodeByRaftID(id)
			able = append(able, n.GetId())
		}
	}
	w.lead(able[w.r.IntN(len(able))])
}

func (w *world) lead(id string) {
	w.leader, w.planner, w.since = id, &Planner{}, w.now
	for _, m := range w.nodes {
		m.heard = time.Time{}
	}
	w.note("%s leads", id)
}

// settle makes true what follows from the machines' states: the leader lives and has a quorum.
func (w *world) settle() {
	if w.leader != "" {
		if m, raftID := w.memberOf(w.leader); m == nil || !m.voter || !w.lives(raftID) || !w.hasQuorum() {
			w.note("%s leads no more", w.leader)
			w.leader = ""
		}
	}
	if w.leader == "" {
		w.elect()
	}
}

func (w *world) picture() Picture {
	p := Picture{Masters: w.wanted(), ReplaceAfter: replaceAfter, Since: w.since, Requires: w.state.Requires()}
	for _, n := range w.state.Nodes() {
		m := w.nodes[n.GetId()]
		member, raftID := w.memberOf(n.GetId())
		seen := Member{Node: n, Alive: m.alive, Leader: n.GetId() == w.leader, Lost: m.alive && m.lost != 0 && m.lost == raftID}
		if member != nil {
			seen.Voter, seen.Learner = member.voter, !member.voter
			seen.Alive = w.lives(raftID)
			seen.CaughtUp = w.caughtUp(raftID)
		}
		if seen.Alive {
			m.heard = w.now
		}
		seen.LastHeard = m.heard
		p.Nodes = append(p.Nodes, seen)
	}
	for _, id := range slices.Sorted(maps.Keys(w.members)) {
		if _, ok := w.state.NodeByRaftID(id); !ok {
			p.Strays = append(p.Strays, Stray{RaftID: id, Voter: w.members[id].voter})
		}
	}
	return p
}

// step asks the planner and does as it says. It returns false when there is nothing to do, and the
// instant at which there may be.
func (w *world) step() (bool, time.Time) {
	w.settle()
	if w.leader == "" {
		return false, time.Time{}
	}
	pic := w.picture()
	step, next := w.planner.Plan(w.now, pic)
	if step.Kind == None {
		w.checkNext(pic, next)
		if voters, _ := w.votes(); w.calm && voters%2 == 0 {
			w.fail("%d voters, and nothing to do", voters)
		}
		return false, next
	}
	w.note("%v %s %d: %s", step.Kind, step.NodeID, step.RaftID, step.Why)
	if step.Why == "" || strings.HasSuffix(step.Why, ": ") {
		w.fail("step %+v without a reason", step)
	}
	w.checkStep(step)
	planner := w.planner
	raftID, err := w.take(step)
	w.now = w.now.Add(time.Duration(w.r.IntN(1000)) * time.Millisecond)
	if w.planner == planner && w.planner != nil {
		w.planner.Done(w.now, step, raftID, err)
	}
	return true, time.Time{}
}

// checkNext looks at instants before the next one: nothing may be to be done then.
func (w *world) checkNext(pic Picture, next time.Time) {
	end := next
	if next.IsZero() {
		end = w.now.Add(time.Hour)
	} else if !next.After(w.now) {
		w.fail("asked to be asked again at once")
	}
	at := w.now.Add(time.Duration(w.r.Int64N(int64(end.Sub(w.now)))))
	if step, _ := w.planner.clone().Plan(at, pic); step.Kind != None {
		w.fail("after %v of %v: %+v", at.Sub(w.now), end.Sub(w.now), step)
	}
}

func (p *Planner) clone() *Planner {
	c := *p
	c.behind, c.alive, c.failed = maps.Clone(p.behind), maps.Clone(p.alive), maps.Clone(p.failed)
	return &c
}

// checkStep holds a step against the rules that know nothing of the planner's reasons.
func (w *world) checkStep(s Step) {
	n, known := w.state.Node(s.NodeID)
	m := w.members[s.RaftID]
	if s.Kind != Assign && known && n.GetRaftId() != s.RaftID || !known && s.Kind != Remove {
		w.fail("step %+v about node %v", s, n)
	}
	voters, alive := w.votes()
	if aboutVoters := s.Kind == Promote || s.Kind == Demote || s.Kind == Transfer || s.Kind == Remove && m.voter; w.calm && voters%2 == 0 && !aboutVoters {
		w.fail("%d voters, and the next step is %+v", voters, s)
	}
	switch s.Kind {
	case Assign:
		if n.GetRaftId() != 0 || !n.MayLead() || n.GetPlacement() == registry.Node_BARRED || !w.nodes[s.NodeID].alive || n.GetVersion() != "0.1.0" {
			w.fail("raft id for %v", n)
		}
	case AddLearner:
		if m != nil || w.used[s.RaftID] {
			w.fail("raft id %d was used before", s.RaftID)
		}
	case Promote:
		if m == nil || m.voter || !w.caughtUp(s.RaftID) {
			w.fail("promoted %+v", m)
		}
		if alive+1 < quorum(voters+1) || voters > w.wanted() {
			w.fail("promoted with %d of %d voters alive", alive, voters)
		}
	case Demote, Remove:
		if m == nil || s.NodeID == w.leader || s.Kind == Demote && !m.voter {
			w.fail("removed %+v", m)
		}
		if m.voter {
			if w.lives(s.RaftID) {
				alive--
			}
			if voters == 1 || alive < quorum(voters-1) {
				w.fail("%d of %d voters would be left", alive, voters-1)
			}
			w.checkCause(s, n, voters)
		}
	case Release:
		if m != nil {
			w.fail("released a raft member")
		}
	case Transfer:
		if m == nil || !m.voter || !w.caughtUp(s.RaftID) || s.NodeID == w.leader {
			w.fail("leadership for %+v", m)
		}
	}
}

// checkCause looks for a reason to take a vote from a node. CLU-5
func (w *world) checkCause(s Step, n *registry.Node, voters int) {
	if n == nil || voters > w.wanted() || !n.MayLead() || n.GetPlacement() == registry.Node_BARRED {
		return
	}
	m := w.nodes[s.NodeID]
	if voters%2 == 0 || m.lost == s.RaftID || !m.alive && w.superseded(s.NodeID) {
		return
	}
	if heard := slices.MaxFunc([]time.Time{m.heard, w.since}, time.Time.Compare); m.alive || w.now.Sub(heard) < replaceAfter {
		w.fail("%s was heard of %v ago and is to be no voter any more", s.NodeID, w.now.Sub(heard))
	}
}

// take carries a step out, or not, or without the leader learning of it.
func (w *world) take(s Step) (uint64, error) {
	does := func() uint64 { return w.carry(s) }
	if !w.flaky {
		return does(), nil
	}
	switch w.r.IntN(12) {
	case 0: // it fails
		return 0, errLost
	case 1: // it comes to be, but nobody knows
		does()
		return 0, errLost
	case 2: // it comes to be later
		if s.Kind == AddLearner || s.Kind == Promote || s.Kind == Remove || s.Kind == Demote {
			w.late = append(w.late, func() { w.change(s) })
		}
		return 0, errLost
	case 3: // the leader dies in the midst of it
		if w.r.IntN(2) == 0 {
			does()
		}
		w.kill(w.leader)
		return 0, errLost
	case 4: // another takes over
		does()
		w.elect()
		return 0, errLost
	}
	return does(), nil
}

// carry does what a step says and returns the raft id of Assign.
func (w *world) carry(s Step) uint64 {
	switch s.Kind {
	case Assign:
		return w.must(&registry.Op{Op: &registry.Op_AssignRaftId{AssignRaftId: &registry.AssignRaftID{NodeId: &s.NodeID}}}).RaftID
	case Release:
		w.must(&registry.Op{Op: &registry.Op_ReleaseRaftId{ReleaseRaftId: &registry.ReleaseRaftID{NodeId: &s.NodeID}}})
	case Transfer:
		w.lead(s.NodeID)
	default:
		w.change(s)
	}
	return 0
}

// change is a change of raft's configuration that is committed now. As in raft, one that does not fit
// any more changes nothing.
func (w *world) change(s Step) {
	m := w.members[s.RaftID]
	switch {
	case s.Kind == AddLearner && m == nil:
		w.members[s.RaftID], w.used[s.RaftID] = &raftMember{ready: w.now.Add(time.Duration(w.r.IntN(20000)) * time.Millisecond)}, true
	case s.Kind == Promote && m != nil:
		m.voter = true
	case s.Kind == Demote && m != nil:
		m.voter = false
	case s.Kind == Remove:
		delete(w.members, s.RaftID)
	}
	w.checkLeft()
}

// checkLeft is the last resort: raft never has no voter.
func (w *world) checkLeft() {
	if voters, _ := w.votes(); voters == 0 {
		w.fail("no voter is left")
	}
}

func (w *world) kill(id string) {
	w.note("%s dies", id)
	w.nodes[id].alive = false
	w.settle()
}

// run lets time pass for so long, step by step.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for steps := 0; w.now.Before(end); steps++ {
		if steps > 20000 {
			w.fail("no end of steps within %v", d)
		}
		for _, f := range w.late {
			f()
		}
		w.late = nil
		acted, next := w.step()
		if acted {
			continue
		}
		// What the leader sees changes by itself when a learner has caught up.
		for _, id := range slices.Sorted(maps.Keys(w.members)) {
			if at := w.members[id].ready; at.After(w.now) && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
		if next.IsZero() || next.After(end) {
			next = end
		}
		w.now = next
	}
}
