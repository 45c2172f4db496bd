package master

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata")

// TestScripts runs the conversations in testdata. Each command stands on a line, "----" below it, and
// then the effects that it must have, one on a line:
//
//	agent <conn> <json of wire.FromAgent>     a frame of an agent ("@info" is agentInfo)
//	disconnect <conn>                         the connection is lost
//	subscribe <stream> <json of FrameworkInfo>
//	call <stream> <json of Call>              with the stream's id and framework id, unless given
//	as <header> <json of Call>                a call with another Mesos-Stream-Id
//	close <stream>                            the client leaves
//	wait <duration>                           ticks at each deadline
//	teardown <framework id>
//	drain <agent id> <json of DrainConfig> | deactivate <agent id> | reactivate <agent id>
//	gone <agent id>
//	manual | auto | commit | fail             proposals are committed by hand from "manual" on
//	elect                                     another master takes over, of the same registry
//	state                                     the view, without agents' resources
//	config <json of scriptConfig>             must come first
//
// Pings are left out, and so are offers' attributes and URLs after the first offer.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, cfg: testConfig()}
	var out strings.Builder
	for _, block := range strings.Split(strings.TrimRight(string(data), "\n"), "\n\n") {
		head, _, isCommand := strings.Cut(block, "\n----")
		out.WriteString(head)
		if isCommand {
			lines := strings.Split(head, "\n")
			out.WriteString("\n----")
			for _, line := range s.run(lines[len(lines)-1]) {
				out.WriteString("\n" + line)
			}
		}
		out.WriteString("\n\n")
	}
	got := strings.TrimRight(out.String(), "\n") + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != string(data) {
		t.Errorf("%s: the effects are not the expected ones (-update rewrites them)\n%s", file, firstDifference(got, string(data)))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d:\n got %s\nwant %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}

// script is one conversation under way.
type script struct {
	t   *testing.T
	cfg Config
	h   *harness
}

// scriptConfig are the settings that scripts change.
type scriptConfig struct {
	PingTimeout, OfferTimeout, ReregisterTimeout string
	Pings                                        int
	RemovalRate, RemovalLimit                    string
}

func (s *script) configure(text string) {
	var c scriptConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		s.t.Fatal(err)
	}
	set := func(d *time.Duration, text string) {
		if text != "" {
			v, err := time.ParseDuration(text)
			if err != nil {
				s.t.Fatal(err)
			}
			*d = v
		}
	}
	set(&s.cfg.AgentPingTimeout, c.PingTimeout)
	set(&s.cfg.OfferTimeout, c.OfferTimeout)
	set(&s.cfg.AgentReregisterTimeout, c.ReregisterTimeout)
	var err error
	if s.cfg.AgentRemovalRate, err = ParseRemovalRate(c.RemovalRate); err != nil {
		s.t.Fatal(err)
	}
	if c.RemovalLimit != "" {
		if s.cfg.RecoveryAgentRemovalLimit, err = ParseRemovalLimit(c.RemovalLimit); err != nil {
			s.t.Fatal(err)
		}
	}
	if c.Pings > 0 {
		s.cfg.MaxAgentPingTimeouts = c.Pings
	}
}

// run carries out a command and renders its effects.
func (s *script) run(line string) []string {
	verb, rest, _ := strings.Cut(line, " ")
	if verb == "config" {
		s.configure(rest)
		return nil
	}
	if s.h == nil {
		s.h = newHarness(s.t, s.cfg)
	}
	h := s.h
	h.effects = nil
	arg, text, _ := strings.Cut(rest, " ")
	number, _ := strconv.ParseUint(arg, 10, 64)
	switch verb {
	case "agent":
		h.agent(ConnID(number), strings.ReplaceAll(text, "@info", strings.ReplaceAll(agentInfo, "\n", "")))
	case "disconnect":
		h.do(AgentDisconnected{Conn: ConnID(number)})
	case "subscribe":
		h.subscribe(StreamID(number), parse(s.t, text, &v1.FrameworkInfo{}))
	case "call":
		h.call(StreamID(number), parse(s.t, text, &v1scheduler.Call{}))
	case "as":
		h.raw(SchedulerCall{Header: arg, HasHeader: arg != "-", Call: parse(s.t, text, &v1scheduler.Call{})})
	case "close":
		h.do(StreamClosed{Stream: StreamID(number)})
	case "wait":
		d, err := time.ParseDuration(arg)
		if err != nil {
			s.t.Fatal(err)
		}
		h.wait(d)
	case "teardown":
		h.request++
		h.do(TeardownFramework{Request: h.request, ID: mesos.FrameworkID(arg)})
	case "drain":
		h.drain(mesos.AgentID(arg), text)
	case "deactivate":
		h.deactivate(mesos.AgentID(arg))
	case "reactivate":
		h.reactivate(mesos.AgentID(arg))
	case "gone":
		h.markGone(mesos.AgentID(arg))
	case "manual":
		h.auto = false
	case "auto":
		h.auto = true
	case "commit":
		h.commitNext()
	case "fail":
		h.failNext()
	case "elect":
		s.cfg.Info = proto.CloneOf(s.cfg.Info)
		s.cfg.Info.Id = proto.String(s.cfg.Info.GetId() + "+")
		h.elect(s.cfg)
	case "state":
		return s.state()
	default:
		s.t.Fatalf("unknown command %q", line)
	}
	return s.render(h.effects)
}

// state renders the newest view.
func (s *script) state() []string {
	v := s.h.view()
	lines := []string{}
	for _, f := range v.State.GetGetFrameworks().GetFrameworks() {
		f = proto.CloneOf(f)
		f.Offers = nil
		lines = append(lines, "framework "+compact(f))
	}
	for _, f := range v.State.GetGetFrameworks().GetCompletedFrameworks() {
		lines = append(lines, "completed framework "+compact(f))
	}
	tasks := func(kind string, list []*v1.Task) {
		for _, t := range list {
			lines = append(lines, kind+" "+compact(t))
		}
	}
	tasks("task", v.State.GetGetTasks().GetTasks())
	tasks("unreachable task", v.State.GetGetTasks().GetUnreachableTasks())
	tasks("completed task", v.State.GetGetTasks().GetCompletedTasks())
	for _, e := range v.State.GetGetExecutors().GetExecutors() {
		lines = append(lines, "executor "+compact(e))
	}
	for _, a := range v.State.GetGetAgents().GetAgents() {
		a = proto.CloneOf(a)
		a.AgentInfo.Resources, a.AgentInfo.Attributes, a.TotalResources = nil, nil, nil
		lines = append(lines, "agent "+compact(a))
	}
	for _, a := range v.State.GetGetAgents().GetRecoveredAgents() {
		lines = append(lines, "recovered agent "+a.GetId().GetValue())
	}
	return lines
}

func (s *script) render(effects []Effect) []string {
	var lines []string
	for _, e := range effects {
		switch e := e.(type) {
		case Respond:
			lines = append(lines, strings.TrimRight(fmt.Sprintf("respond %d %s", e.Status, e.Body), " "))
		case OpenStream:
			lines = append(lines, fmt.Sprintf("open %d %s", e.Stream, e.UUID))
		case Send:
			lines = append(lines, fmt.Sprintf("send %d %s", e.Stream, compact(e.Event)))
		case CloseStream:
			lines = append(lines, fmt.Sprintf("close %d", e.Stream))
		case SendAgent:
			if _, ping := e.Message.GetMessage().(*wire.ToAgent_Ping); !ping {
				lines = append(lines, fmt.Sprintf("agent %d %s", e.Conn, compact(e.Message)))
			}
		case CloseAgent:
			lines = append(lines, fmt.Sprintf("close agent %d", e.Conn))
		case Propose:
			lines = append(lines, "propose "+compact(e.Op))
		case Log:
			lines = append(lines, strings.TrimRight(fmt.Sprintf("log %s %s", e.Message, e.Agent), " "))
		}
	}
	return lines
}
