package agent

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/reflect/protoreflect"
)

var rewrite = flag.Bool("update", false, "rewrite the effects in testdata")

// A script is a history: lines of events as JSON, each followed by the effects that it has, two
// blanks before them. {"at":"3s",...} lets time pass to 3 s after the start first. Container ids are
// C1, C2, ... and uuids of the agent's own U1, U2, ..., in order of appearance; events use the same
// names. Lines with # are comments. `go test -update` rewrites the effects: review them as a diff.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(script))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(script) {
				t.Errorf("effects have changed; go test -update rewrites them\n%s", difference(string(script), got))
			}
		})
	}
}

// difference shows the first lines that differ.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d is\n%s\nwant\n%s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

type player struct {
	t     *testing.T
	cfg   Config
	a     *Agent
	now   time.Time
	kv    map[string][]byte
	names map[string]string // of ids
	ids   map[string]string // of names
	count map[string]int
	stage map[uint64]Checkpoint
}

// play runs a script and returns it with the effects that it has now.
func play(t *testing.T, script string) string {
	p := &player{
		t: t, cfg: testConfig(), now: epoch, kv: map[string][]byte{},
		names: map[string]string{}, ids: map[string]string{}, count: map[string]int{}, stage: map[uint64]Checkpoint{},
	}
	p.a = New(p.cfg, p.now)
	var out strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "  "):
			continue // effects, written anew
		case line == "" || strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n")
			continue
		}
		out.WriteString(line + "\n")
		var effects []Effect
		for _, ev := range p.events(line) {
			effects = append(effects, p.a.Step(p.now, ev)...)
			if err := p.a.Check(); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
		for _, e := range effects {
			if c, ok := e.(Checkpoint); ok {
				p.stage[c.Seq] = c
			}
		}
		out.WriteString(p.named(render(effects)))
	}
	return out.String()
}

var (
	uuidText = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)
	uuidData = regexp.MustCompile(`"uuid":"([A-Za-z0-9+/]{22}==)"`)
)

func (p *player) name(kind, id string) string {
	if p.names[id] == "" {
		p.count[kind]++
		p.names[id] = fmt.Sprintf("%s%d", kind, p.count[kind])
		p.ids[p.names[id]] = id
	}
	return p.names[id]
}

// named replaces what chance has made.
func (p *player) named(text string) string {
	text = uuidText.ReplaceAllStringFunc(text, func(id string) string { return p.name("C", id) })
	return uuidData.ReplaceAllStringFunc(text, func(m string) string {
		data := uuidData.FindStringSubmatch(m)[1]
		raw, err := base64.StdEncoding.DecodeString(data)
		if err != nil || bytes.Equal(raw[:14], uuid(0)[:14]) {
			return m // given by the script
		}
		return `"uuid":"` + p.name("U", data) + `"`
	})
}

func (p *player) parse(data json.RawMessage, to any) {
	p.t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		p.t.Fatalf("%s: %v", data, err)
	}
}

// events reads one line. Restart makes a new agent from what was checkpointed.
func (p *player) events(line string) []Event {
	p.t.Helper()
	for name, id := range p.ids {
		line = strings.ReplaceAll(line, `"`+name+`"`, `"`+id+`"`)
	}
	var fields map[string]json.RawMessage
	p.parse(json.RawMessage(line), &fields)
	if at, ok := fields["at"]; ok {
		var text string
		p.parse(at, &text)
		d, err := time.ParseDuration(text)
		if err != nil {
			p.t.Fatal(err)
		}
		p.now = epoch.Add(d)
		delete(fields, "at")
	}
	for kind, data := range fields {
		return []Event{p.event(kind, data)}
	}
	p.t.Fatalf("no event in %s", line)
	return nil
}

func (p *player) event(kind string, data json.RawMessage) Event {
	p.t.Helper()
	switch kind {
	case "Recovered", "Restart":
		var ev Recovered
		p.parse(data, &ev)
		if kind == "Restart" {
			saved, err := LoadCheckpoint(p.kv)
			if err != nil {
				p.t.Fatal(err)
			}
			p.cfg.Checkpoint = saved
			p.a = New(p.cfg, p.now)
			p.stage = map[uint64]Checkpoint{}
		}
		return ev
	case "FromMaster":
		return FromMaster{Message: p.frame(data)}
	case "ExecutorCall":
		var c struct {
			Request RequestID
			Stream  StreamID
			Call    json.RawMessage
		}
		p.parse(data, &c)
		call := &v1executor.Call{}
		if err := mesos.UnmarshalJSON(c.Call, call); err != nil {
			p.t.Fatalf("%s: %v", c.Call, err)
		}
		return ExecutorCall{Request: c.Request, Stream: c.Stream, Call: call}
	case "Checkpointed":
		var seq uint64
		p.parse(data, &seq)
		apply(p.kv, p.stage[seq])
		return Checkpointed{Seq: seq}
	}
	return p.plain(kind, data)
}

func (p *player) plain(kind string, data json.RawMessage) Event {
	p.t.Helper()
	switch kind {
	case "MasterConnected":
		return MasterConnected{}
	case "MasterDisconnected":
		return MasterDisconnected{}
	case "Tick":
		return Tick{}
	case "Stop":
		return Stop{}
	case "Leave":
		return Leave{}
	case "ContainerLaunched":
		return decoded[ContainerLaunched](p, data)
	case "ContainerExited":
		return decoded[ContainerExited](p, data)
	case "ContainerUpdated":
		return decoded[ContainerUpdated](p, data)
	case "LaunchFailed":
		return decoded[LaunchFailed](p, data)
	case "ExecutorClosed":
		return decoded[ExecutorClosed](p, data)
	}
	p.t.Fatalf("no such event: %s", kind)
	return nil
}

func decoded[T any](p *player, data json.RawMessage) T {
	var ev T
	p.parse(data, &ev)
	return ev
}

// frame reads {"run_task":{...}}.
func (p *player) frame(data json.RawMessage) *wire.ToAgent {
	p.t.Helper()
	var fields map[string]json.RawMessage
	p.parse(data, &fields)
	m := &wire.ToAgent{}
	for name, content := range fields {
		field := m.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name))
		if field == nil {
			p.t.Fatalf("no such frame: %s", name)
		}
		part := m.ProtoReflect().NewField(field)
		if err := mesos.UnmarshalJSON(content, part.Message().Interface()); err != nil {
			p.t.Fatalf("%s: %v", content, err)
		}
		m.ProtoReflect().Set(field, part)
	}
	return m
}
