package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/raft/registry"
)

var noon = time.Unix(1_700_000_000, 0)

// sketch makes a picture of a line of words. A node is its name, a colon and what it is, joined by
// commas; other words are about the whole:
//
//	masters=3 since=1h changing requires=0.2.0 stray-voter stray-learner
//	a:leader b:voter c:voter,dead=6m d:learner e:learner,behind f:loose g h:barred
//
// Nodes that are in raft or loose have the raft ids 1, 2, ... in their order.
func sketch(t *testing.T, now time.Time, line string) Picture {
	t.Helper()
	p := Picture{Masters: 3, ReplaceAfter: replaceAfter, Since: now.Add(-time.Hour)}
	raftID := uint64(0)
	for i, word := range strings.Fields(line) {
		name, is, node := strings.Cut(word, ":")
		key, value, _ := strings.Cut(word, "=")
		switch {
		case node || !strings.Contains(word, "=") && len(word) == 1:
			m := sketchMember(t, now, name, is, &raftID)
			m.Node.Admitted = proto.Int64(int64(i))
			p.Nodes = append(p.Nodes, m)
		case key == "masters":
			if _, err := fmt.Sscan(value, &p.Masters); err != nil {
				t.Fatal(err)
			}
		case key == "since":
			p.Since = now.Add(-duration(t, value))
		case key == "changing":
			p.Changing = true
		case key == "requires":
			p.Requires = value
		case key == "stray-voter", key == "stray-learner":
			p.Strays = append(p.Strays, Stray{RaftID: 100, Voter: key == "stray-voter"})
		default:
			t.Fatalf("word %q", word)
		}
	}
	return p
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func sketchMember(t *testing.T, now time.Time, name, is string, raftID *uint64) Member {
	t.Helper()
	n := &registry.Node{
		Id: &name, Name: &name, Role: registry.Node_AUTO.Enum(), PeerAddress: proto.String("host-" + name + ":5055"),
		Version: proto.String("0.1.0"), MayBeMaster: proto.Bool(true),
	}
	m := Member{Node: n, Alive: true, LastHeard: now, CaughtUp: true}
	for _, attribute := range strings.Split(is, ",") {
		key, value, _ := strings.Cut(attribute, "=")
		switch key {
		case "leader", "voter", "learner", "loose":
			*raftID++
			n.RaftId = proto.Uint64(*raftID)
			m.Leader, m.Voter, m.Learner = key == "leader", key == "leader" || key == "voter", key == "learner"
		case "dead":
			m.Alive, m.CaughtUp, m.LastHeard = false, false, now.Add(-duration(t, value))
		case "unheard":
			m.Alive, m.CaughtUp, m.LastHeard = false, false, time.Time{}
		case "behind":
			m.CaughtUp = false
		case "lost":
			m.Lost = true
		case "barred":
			n.Placement = registry.Node_BARRED.Enum()
		case "preferred":
			n.Placement = registry.Node_PREFERRED.Enum()
		case "agent":
			n.Role = registry.Node_AGENT.Enum()
		case "master":
			n.Role = registry.Node_MASTER.Enum()
		case "both":
			n.Role = registry.Node_BOTH.Enum()
		case "untrusted":
			n.MayBeMaster = nil
		case "version":
			n.Version = &value
		case "at":
			n.PeerAddress = proto.String(value + ":5055")
		case "rack":
			n.Attributes = append(n.Attributes, text("os", "linux"), text("rack", value))
		case "in":
			region, zone, _ := strings.Cut(value, "/")
			n.Domain = domain(region, zone)
		case "":
		default:
			t.Fatalf("%s is %q", name, attribute)
		}
	}
	return m
}

// Each decision for itself: what is seen, and the step, or how long until the next look.
func TestDecisions(t *testing.T) {
	for _, test := range []struct{ name, seen, want string }{
		{"alone", "a:leader", "none"},
		{"nothing to do", "a:leader b:voter c:voter d e", "none 5m"},
		{"two nodes: a warm copy", "a:leader b", "assign b"},
		{"one is wanted", "masters=1 a:leader b c", "none 5m"},
		{"two nodes: it stays one", "a:leader b:learner", "none"},
		{"three nodes: both first", "a:leader b:learner c", "assign c"},
		{"three nodes: one is not ready", "a:leader b:learner c:learner,behind", "none 2m"},
		{"three nodes: both ready", "a:leader b:learner c:learner", "promote b"},
		{"then the other", "a:leader b:voter c:learner", "promote c"},
		{"four of five stay three", "masters=5 a:leader b:voter c:voter d:learner", "none"},
		{"five of five", "masters=5 a:leader b:voter c:voter d:learner e:learner", "promote d"},
		{"seven", "masters=7 a:leader b:voter c:voter d:voter e:voter f:learner g:learner", "promote f"},
		{"an even wish is rounded down", "masters=4 a:leader b:voter c:voter d", "none 5m"},
		{"no wish is one", "masters=0 a:leader b", "none 5m"},

		{"a change is under way", "changing a:leader b:learner c:learner", "none"},
		{"no leader to be seen", "a:voter b:voter c:voter d", "none"},
		{"leader without a vote", "a:leader,barred b:voter c:voter", "transfer b"},
		{"no quorum", "a:leader b:voter,dead=1h c:voter,dead=1h d", "none"},
		{"no quorum of two", "a:leader b:voter,dead=1h d", "none"},

		{"a voter rests", "a:leader b:voter c:voter,dead=4m59s d", "none 1s"},
		{"a voter is gone", "a:leader b:voter c:voter,dead=5m d", "assign d"},
		{"a voter is gone, a copy is ready", "a:leader b:voter c:voter,dead=5m d:learner", "promote d"},
		{"and then removed", "a:leader b:voter c:voter,dead=5m d:voter", "remove c"},
		{"a voter is gone, none is there", "a:leader b:voter c:voter,dead=5h", "none"},
		{"two are gone, none is there", "masters=5 a:leader b:voter c:voter d:voter,dead=6m e:voter,dead=7m", "remove e"},
		{"and the other", "masters=5 a:leader b:voter c:voter d:voter,dead=6m", "remove d"},
		{"two are gone, one may come", "masters=5 a:leader b:voter c:voter d:voter,dead=6m e:voter,dead=7m f:learner,behind", "none 2m"},
		{"silence from before the election", "since=4m a:leader b:voter c:voter,dead=20m d", "none 1m"},
		{"never heard of since the election", "since=5m a:leader b:voter c:voter,unheard d", "assign d"},
		{"dead standbys are none", "a:leader b:voter c:voter,dead=5m d:dead=1s", "none"},

		{"demoted", "a:leader b:voter c:voter,barred d", "assign d"},
		{"demoted, a copy is ready", "a:leader b:voter c:voter,barred d:learner", "promote d"},
		{"demoted, replaced", "a:leader b:voter c:voter,barred d:voter", "remove c"},
		{"demoted, none is there", "a:leader b:voter c:voter,barred", "remove c"},
		{"demoted, none is there yet", "since=4s a:leader b:voter c:voter,barred", "none 1s"},
		{"demoted, all are needed", "a:leader b:voter,dead=1m c:voter,barred", "none 4m"},
		{"demoted and away, none is there", "a:leader b:voter c:voter,barred,dead=1s", "remove c"},
		{"demoted, of two", "a:leader b:voter,barred", "remove b"},
		{"demoted, of two, one may come", "a:leader b:voter,barred c", "assign c"},
		{"demoted, of four", "masters=5 a:leader b:voter c:voter d:voter,barred e", "remove d"},
		{"demoted and gone: the dead one first", "masters=5 a:leader b:voter c:voter d:voter,barred e:voter,dead=6m", "remove e"},
		{"demoted leader", "a:leader,barred b:voter c:voter d", "assign d"},
		{"demoted leader, replaced", "a:leader,barred b:voter c:voter d:voter", "transfer b"},
		{"demoted leader, the next is behind", "a:leader,barred b:voter,behind c:voter,behind d:voter", "transfer d"},
		{"demoted leader, nobody is up to date", "a:leader,barred b:voter,behind c:voter,behind", "none"},
		{"demoted leader, alone", "a:leader,barred", "none"},
		{"demoted learner", "a:leader b:learner,barred", "remove b"},
		{"demoted standby", "a:leader b:barred", "none"},
		{"all demoted", "a:leader,barred b:voter,barred c:voter,barred", "remove c"},
		{"all demoted of two", "a:leader,barred b:voter,barred", "remove b"},

		{"an agent never", "a:leader b:agent c:untrusted", "none"},
		{"a voter that became an agent", "a:leader b:voter c:voter,agent d:voter", "remove c"},
		{"an old version cannot", "requires=0.2.0 a:leader,version=0.2.0 b", "none"},
		{"a new one can", "requires=0.2.0 a:leader,version=0.2.0 b:version=0.2.1", "assign b"},
		{"a voter's log is gone", "a:leader b:voter c:voter,lost d:learner", "promote d"},
		{"a voter's log is gone, none is there", "a:leader b:voter c:voter,lost", "remove c"},
		{"a voter's machine is another node", "a:leader b:voter c:voter,dead=1s,at=x d:at=x", "assign d"},
		{"a voter's machine is another node, also a voter", "a:leader b:voter c:voter,dead=1s,at=x d:voter,at=x", "remove c"},
		{"only if that one lives", "a:leader b:voter c:voter,dead=1s,at=x d:dead=1s,at=x e:voter", "remove c"},
		{"else it may return", "a:leader b:voter c:voter,dead=1s,at=x d:dead=1s,at=x", "none 4m59s"},

		{"too many", "a:leader b:voter c:voter d:voter", "remove d"},
		{"too many: the dead one", "a:leader b:voter c:voter,dead=1s d:voter", "remove c"},
		{"too many: the dead one, whatever it is called", "a:leader b:voter c:voter,dead=1s,master d:voter", "remove c"},
		{"too many: the demoted one", "a:leader b:voter,barred c:voter,dead=1s d:voter", "remove b"},
		{"too many: not the leader", "masters=1 b:voter a:leader", "remove b"},
		{"too many: not those that are preferred", "masters=1 a:leader b:voter,preferred", "transfer b"},
		{"too many: not those that are called masters", "a:leader b:voter,master c:voter d:voter,both", "remove c"},
		{"too many: of the fullest rack", "a:leader,rack=1 b:voter,rack=2 c:voter,rack=2 d:voter,rack=3", "remove c"},
		{"too many: not at the quorum's cost", "masters=1 a:leader b:voter c:voter,dead=1s", "remove c"},
		{"too many, and a learner", "masters=1 a:leader b:learner", "remove b"},

		{"left over raft id", "a:leader b:voter c:voter d:loose", "release d"},
		{"left over raft id of a new node", "a:leader b:loose", "release b"},
		{"left over raft id of a dead node", "a:leader b:voter c:voter d:loose,dead=1s", "release d"},
		{"left over raft id of a demoted node", "a:leader b:loose,barred", "release b"},
		{"stray learner", "stray-learner a:leader b:voter c:voter", "remove #100"},
		{"stray voter", "stray-voter a:leader b:voter c:voter", "remove #100"},
		{"stray voter, of two", "stray-voter a:leader", "none"},

		{"learner that is not needed", "a:leader b:voter c:voter d:learner", "remove d"},
		{"learner that is silent", "a:leader b:learner,dead=29s", "none 1s"},
		{"learner that is silent for long", "a:leader b:learner,dead=30s", "remove b"},
		{"learner too many: the dead one", "a:leader b:voter c:voter,dead=6m d:learner,dead=1s e:learner,behind", "remove d"},

		{"the preferred one first", "a:leader b:voter c:voter,dead=5m d:master e:preferred f", "assign e"},
		{"then who is called a master", "a:leader b:voter c:voter,dead=5m d e:master f:both", "assign e"},
		{"then the other region", "a:leader,in=1/a b:voter,in=1/b c:voter,dead=5m d:in=1/c e:in=2/a f:in=1/d", "assign e"},
		{"then the other zone", "a:leader,in=1/a b:voter,in=1/b c:voter,dead=5m,in=1/a d:in=1/a e:in=1/b f:in=1/c", "assign f"},
		{"then the other rack", "a:leader,rack=1 b:voter,rack=2 c:voter,dead=5m,rack=3 d:rack=1 e:rack=2 f:rack=3", "assign f"},
		{"then the other host", "a:leader,at=x b:voter,at=y c:voter,dead=5m d:at=x e:at=y f:at=z", "assign f"},
		{"then the older", "a:leader b:voter c:voter,dead=5m e d", "assign e"},

		{"a promoted standby", "a:leader b:voter c:voter d:preferred", "assign d"},
		{"not while a voter is away", "a:leader b:voter c:voter,dead=1s d:preferred", "none 4m59s"},
		{"nor is a copy made a voter then", "a:leader b:voter c:voter,dead=1s d:learner,preferred", "none 4m59s"},
		{"its copy is ready", "a:leader b:voter c:voter d:learner,preferred", "promote d"},
		{"in the place of one that is not", "a:leader b:voter,preferred c:voter d:voter,preferred", "remove c"},
		{"all are preferred", "a:leader,preferred b:voter,preferred c:voter,preferred d:preferred", "none 5m"},
		{"in the leader's place at last", "a:leader b:voter,preferred c:voter,preferred d:voter,preferred", "transfer b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p Planner
			step, next := p.Plan(noon, sketch(t, noon, test.seen))
			if got := brief(step, next, noon); got != test.want {
				t.Errorf("%s: %s (%s), want %s", test.seen, got, step.Why, test.want)
			}
		})
	}
}

// brief is a step as a text, and how long until the next look.
func brief(s Step, next, now time.Time) string {
	switch {
	case s.Kind == None && next.IsZero():
		return "none"
	case s.Kind == None:
		d := next.Sub(now).String()
		if strings.HasSuffix(d, "m0s") {
			d = strings.TrimSuffix(d, "0s")
		}
		return "none " + d
	case s.NodeID == "":
		return fmt.Sprintf("%v #%d", s.Kind, s.RaftID)
	}
	return fmt.Sprintf("%v %s", s.Kind, s.NodeID)
}

// script is a planner that is asked again and again.
type script struct {
	t   *testing.T
	p   Planner
	now time.Time
}

func newScript(t *testing.T) *script { return &script{t: t, now: noon} }

// sees asks what to do with a picture, some time after the last one.
func (s *script) sees(after time.Duration, line, want string) Step {
	s.t.Helper()
	s.now = s.now.Add(after)
	step, next := s.p.Plan(s.now, sketch(s.t, s.now, line))
	if got := brief(step, next, s.now); got != want {
		s.t.Errorf("%s: %s (%s), want %s", line, got, step.Why, want)
	}
	return step
}

func (s *script) done(step Step, raftID uint64, err error) { s.p.Done(s.now, step, raftID, err) }

// Only the leader that assigned a raft id may use it, and only if it was never used. CLU-37
func TestFreshRaftID(t *testing.T) {
	s := newScript(t)
	s.done(s.sees(0, "a:leader b", "assign b"), 2, nil)
	step := s.sees(0, "a:leader b:loose", "add-learner b")
	if step.RaftID != 2 {
		t.Errorf("step %+v", step)
	}
	s.done(step, 0, errors.New("no answer"))
	// After an error it tries again, with pauses.
	s.sees(0, "a:leader b:loose", "none 200ms")
	s.sees(199*time.Millisecond, "a:leader b:loose", "none 1ms")
	s.done(s.sees(time.Millisecond, "a:leader b:loose", "add-learner b"), 0, nil)
	s.sees(time.Second, "a:leader b:learner,behind", "none 2m")
	// It was in raft and is not any more, however that came: it is used up.
	s.sees(time.Second, "a:leader b:loose", "release b")

	// The next leader knows nothing of it.
	s = newScript(t)
	s.sees(0, "a:leader b:loose", "release b")

	// An assignment whose outcome is unknown is none.
	s = newScript(t)
	s.done(s.sees(0, "a:leader b", "assign b"), 0, errors.New("no answer"))
	s.sees(time.Second, "a:leader b:loose", "release b")

	// It is given back when it is not needed any more, or its node cannot use it.
	for _, seen := range []string{
		"masters=1 a:leader b:loose", "a:leader b:loose,dead=1s", "a:leader b:loose,barred", "a:leader c:voter d:voter b:loose",
	} {
		s = newScript(t)
		raftID := uint64(2)
		if strings.Contains(seen, "c:voter") {
			raftID = 4
		}
		s.done(s.sees(0, "a:leader b", "assign b"), raftID, nil)
		s.sees(0, seen, "release b")
	}
	// A better node that comes meanwhile does not matter.
	s = newScript(t)
	s.done(s.sees(0, "a:leader b:voter c:voter,dead=5m d", "assign d"), 4, nil)
	s.sees(0, "a:leader b:voter c:voter,dead=5m d:loose e:preferred", "add-learner d")
}

// Steps that fail are repeated after pauses that grow. CLU-6
func TestRetries(t *testing.T) {
	s := newScript(t)
	want := []string{"200ms", "400ms", "800ms", "1.6s", "3.2s", "6.4s", "10s", "10s"}
	for range 20 {
		want = append(want, "10s")
	}
	for _, pause := range want {
		s.done(s.sees(0, "a:leader b:voter c:voter d:voter", "remove d"), 0, errors.New("no"))
		s.sees(0, "a:leader b:voter c:voter d:voter", "none "+pause)
		s.now = s.now.Add(duration(t, pause))
	}
	s.done(s.sees(0, "a:leader b:voter c:voter d:voter", "remove d"), 0, nil)
	s.done(s.sees(0, "a:leader b:voter c:voter d:voter", "remove d"), 0, errors.New("no"))
	s.sees(0, "a:leader b:voter c:voter d:voter", "none 200ms")
}

// A node that cannot catch up makes room for another, and is tried again later. CLU-5
func TestLearnerThatDoesNotCatchUp(t *testing.T) {
	const seen = "a:leader b:voter c:voter,dead=1h d:learner,behind e"
	s := newScript(t)
	s.sees(0, seen, "none 2m")
	s.sees(time.Minute, seen, "none 1m")
	// Catching up once begins anew.
	s.sees(30*time.Second, "a:leader b:voter,behind c:voter,dead=1h d:learner e", "promote d")
	s.sees(0, seen, "none 2m")
	s.sees(2*time.Minute-1, seen, "none 1ns")
	s.done(s.sees(1, seen, "remove d"), 0, errors.New("no"))
	s.done(s.sees(time.Second, seen, "remove d"), 0, nil)
	s.sees(0, "a:leader b:voter c:voter,dead=1h d:loose e", "release d")
	s.sees(0, "a:leader b:voter c:voter,dead=1h d e", "assign e")
	// Without another it rests, and then it is tried again.
	s.sees(0, "a:leader b:voter c:voter,dead=1h d", "none 10m")
	s.sees(10*time.Minute-1, "a:leader b:voter c:voter,dead=1h d", "none 1ns")
	s.sees(1, "a:leader b:voter c:voter,dead=1h d", "assign d")
	// A demoted voter does not wait for it.
	s = newScript(t)
	s.sees(0, "a:leader b:voter d:learner,behind c:voter,barred", "none 2m")
	s.done(s.sees(2*time.Minute, "a:leader b:voter d:learner,behind c:voter,barred", "remove c"), 0, nil)
	s.done(s.sees(0, "a:leader b:voter d:learner,behind c:loose,barred", "release c"), 0, nil)
	s.sees(0, "a:leader b:voter d:learner,behind c:barred", "remove d")
}

// An even number of voters lasts only as long as a node may come to make it odd. CLU-5
func TestEvenNumber(t *testing.T) {
	s := newScript(t)
	s.sees(0, "a:leader b:voter", "none 5m")
	s.sees(4*time.Minute, "a:leader b:voter", "none 1m")
	// A node comes and goes: the time begins anew.
	s.sees(0, "a:leader b:voter c", "assign c")
	s.sees(0, "a:leader b:voter c:dead=1s", "none 5m")
	s.sees(5*time.Minute-1, "a:leader b:voter", "none 1ns")
	s.sees(1, "a:leader b:voter", "demote b")
	s.sees(0, "a:leader b:learner", "none")

	s = newScript(t)
	const four = "masters=5 a:leader,rack=1 b:voter,rack=2 c:voter,rack=2 d:voter,rack=3"
	s.sees(0, four, "none 5m")
	s.sees(5*time.Minute, four, "demote c")
	// One that is dead is removed: it would be no copy.
	s = newScript(t)
	s.sees(0, "masters=5 a:leader b:voter c:voter d:voter", "none 5m")
	s.sees(5*time.Minute, "masters=5 a:leader b:voter c:voter,dead=1s d:voter", "remove c")
	// Two, of which one is not to be seen, cannot change.
	s = newScript(t)
	s.sees(0, "a:leader b:voter", "none 5m")
	s.sees(time.Hour, "a:leader b:voter,dead=1m", "none 4m")
}

// A settled cluster exchanges a voter for a better one, but only for one that has been there for long,
// one at a time, and never the leader. CLU-5
func TestBetterChoice(t *testing.T) {
	const seen = "a:leader,rack=1 b:voter,rack=1 c:voter,rack=2 d:rack=3"
	s := newScript(t)
	for minutes := range 5 {
		s.sees(0, seen, fmt.Sprintf("none %dm", 5-minutes))
		s.now = s.now.Add(time.Minute)
	}
	s.done(s.sees(0, seen, "assign d"), 4, nil)
	s.done(s.sees(0, "a:leader,rack=1 b:voter,rack=1 c:voter,rack=2 d:loose,rack=3", "add-learner d"), 0, nil)
	// A voter that is away for a moment interrupts it.
	s.sees(0, "a:leader,rack=1 b:voter,rack=1,dead=1s c:voter,rack=2 d:learner,rack=3", "none 4m59s")
	s.sees(0, "a:leader,rack=1 b:voter,rack=1 c:voter,rack=2 d:learner,rack=3", "promote d")
	s.sees(0, "a:leader,rack=1 b:voter,rack=1 c:voter,rack=2 d:voter,rack=3", "remove b")
	s.sees(0, "a:leader,rack=1 b:rack=1 c:voter,rack=2 d:voter,rack=3", "none 1m")
	s.sees(time.Hour, "a:leader,rack=1 b:rack=1 c:voter,rack=2 d:voter,rack=3", "none")

	// One that comes and goes is not chosen.
	s = newScript(t)
	s.sees(0, seen, "none 5m")
	s.sees(4*time.Minute, "a:leader,rack=1 b:voter,rack=1 c:voter,rack=2 d:rack=3,dead=1s", "none")
	s.sees(time.Minute, seen, "none 5m")
	s.sees(4*time.Minute, seen, "none 1m")
	s.sees(time.Minute, seen, "assign d")

	// A role that names a master counts more than the rack.
	s = newScript(t)
	const named = "a:leader,rack=1 b:voter,rack=2 c:voter,rack=3 d:rack=1,master"
	s.sees(0, named, "none 5m")
	s.sees(5*time.Minute, named, "assign d")
	// The leader is the only one that is not: it stays.
	s = newScript(t)
	const leads = "a:leader b:voter,master c:voter,master d:master"
	s.sees(0, leads, "none 5m")
	s.sees(5*time.Minute, leads, "none")
	// Nothing is gained, nothing is done.
	s = newScript(t)
	const same = "a:leader,rack=1 b:voter,rack=2 c:voter,rack=3 d:rack=1 e:rack=2 f:rack=3"
	s.sees(0, same, "none 5m")
	s.sees(5*time.Minute, same, "none")
}

// What the steps say to people.
func TestReasons(t *testing.T) {
	for seen, want := range map[string]string{
		"a:leader b":                                   "1 of 3 masters",
		"a:leader b:voter c":                           "2 masters are an even number",
		"a:leader b:voter c:voter,dead=6m d":           "in place of node c: it has been unreachable for 6m0s",
		"a:leader b:voter c:voter,barred d":            "in place of node c: it was demoted",
		"a:leader b:voter c:voter,lost d":              "in place of node c: its log is gone",
		"a:leader b:voter c:voter,untrusted d":         "in place of node c: it may not be a master",
		"a:leader b:voter c:voter,dead=1s,at=x d:at=x": "in place of node c: node d has its address now",
		"stray-voter a:leader b:voter d":               "in place of raft member 100: it belongs to no node",
		"stray-learner a:leader":                       "it belongs to no node",
		"a:leader b:voter,barred c:voter,barred":       "it was demoted",
		"a:leader,barred b:voter c:voter":              "node a is to be removed: it was demoted",
		"a:leader b:voter c:voter d:voter":             "there are more masters than wanted",
		"a:leader b:loose":                             "its raft id is not in use",
		"a:leader b:learner,dead=1m":                   "it has been unreachable for 30s",
		"a:leader b:voter c:voter d:learner":           "no more masters are needed",
		"a:leader b:voter c:voter d:preferred":         "it suits the cluster better than one of the masters",
		"a:leader b:voter,dead=1s c:voter,dead=1s":     "1 of 3 voters are reachable: no quorum",
		"a:voter b:voter c:voter":                      "the leader is not among the voters",
		"changing a:leader":                            "a change of members is under way",
		"a:leader b:voter c:voter":                     "",
	} {
		var p Planner
		if step, _ := p.Plan(noon, sketch(t, noon, seen)); step.Why != want {
			t.Errorf("%s: %q, want %q", seen, step.Why, want)
		}
	}
	for k := range Kind(9) {
		if named := !strings.HasPrefix(k.String(), "kind"); named != (k <= Transfer) {
			t.Errorf("%d is %s", int(k), k)
		}
	}
}
