package node

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"clusterd/node/agent"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"
)

// The agent's record comes with the links and the file that operators' scripts read; without the link
// in meta the next start knows nothing. EXE-159, EXE-176, EXE-184, EXE-185
func TestCheckpointLinks(t *testing.T) {
	work := t.TempDir()
	open := func() (*checkpointStore, map[string][]byte) {
		s, err := openCheckpoints(work)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := s.load()
		if err != nil {
			t.Fatal(err)
		}
		return s, keys
	}
	s, keys := open()
	if len(keys) != 0 {
		t.Fatalf("a new store has %v", keys)
	}
	for _, id := range []string{"M-S0", "M-S1"} {
		record, err := proto.Marshal(&wire.AgentRecord{Agent: &v1.AgentInfo{Hostname: proto.String("h"), Id: &v1.AgentID{Value: &id}}, BootId: proto.String("boot of " + id)})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]byte{"info": record, "frameworks/F/info": []byte("x")}
		if err := s.commit([]agent.Checkpoint{{Seq: 1, Put: want}}); err != nil {
			t.Fatal(err)
		}
		for _, link := range []string{"slaves/latest", "meta/slaves/latest"} {
			if got, err := os.Readlink(filepath.Join(work, link)); err != nil || got != id {
				t.Errorf("%s leads to %q, %v; want %s", link, got, err, id)
			}
		}
		if got, err := os.ReadFile(filepath.Join(work, "meta", "boot_id")); err != nil || string(got) != "boot of "+id {
			t.Errorf("boot_id %q, %v", got, err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		if s, keys = open(); !maps.EqualFunc(keys, want, func(a, b []byte) bool { return string(a) == string(b) }) {
			t.Errorf("keys %q after a restart", keys)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(work, "meta", "slaves", "latest")); err != nil {
		t.Fatal(err)
	}
	s, keys = open()
	defer s.close()
	if len(keys) != 0 {
		t.Errorf("keys %q without the link", keys)
	}
}

// A checkpoint that cannot be read ends the start with an error that names the file. EXE-152
func TestDamagedCheckpoint(t *testing.T) {
	work := t.TempDir()
	s, err := openCheckpoints(work)
	if err != nil {
		t.Fatal(err)
	}
	big := map[string][]byte{"info": nil, "frameworks/F/info": make([]byte, 1<<16)}
	if err := errors.Join(s.commit([]agent.Checkpoint{{Seq: 1, Put: big}}), s.close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(work, "meta", "agent.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	for page := 2 * os.Getpagesize(); page < len(flipped); page += os.Getpagesize() {
		flipped[page+8] ^= 0xff // what kind of page it is: bbolt would panic
	}
	for name, data := range map[string][]byte{
		"flipped bytes": flipped, "cut off": whole[:len(whole)/2], "cut off within the head": whole[:5000], "something else": bytes.Repeat([]byte("garbage "), 1<<12),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openCheckpoints(work); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove the file") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err = openCheckpoints(work)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
