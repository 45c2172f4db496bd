package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The newest identity of each number is found again, whichever process has written it, also after a
// crash in the midst of a line.
func TestArchive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "fleet")
	now := noon
	open := func(part, first, end int) (*archive, map[int]*identity) {
		t.Helper()
		a, ids, err := openArchive(dir, part, first, end)
		if err != nil {
			t.Fatal(err)
		}
		a.now = func() time.Time { now = now.Add(1); return now }
		return a, ids
	}
	save := func(a *archive, ids ...identity) {
		t.Helper()
		for _, id := range ids {
			if err := a.save(id); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.close(); err != nil {
			t.Fatal(err)
		}
	}
	a, ids := open(0, 0, 10)
	if len(ids) != 0 {
		t.Errorf("a new directory has %v", ids)
	}
	save(a, identity{Number: 1, NodeID: "a"}, identity{Number: 2, NodeID: "b"}, identity{Number: 3, NodeID: "c"}, identity{Number: 1, NodeID: "a", AgentID: "S1"})
	b, ids := open(1, 2, 10)
	if len(ids) != 2 || ids[2].NodeID != "b" {
		t.Errorf("numbers 2 to 9: %v", ids)
	}
	save(b, identity{Number: 2, NodeID: "new", Key: []byte{1, 2}}, identity{Number: 3, NodeID: "c", Void: true})
	f, err := os.OpenFile(filepath.Join(dir, "part-1"+suffix), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"number":2,"node_id":"cut`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for range 2 {
		a, ids = open(1, 0, 10)
		if len(ids) != 2 || ids[1].AgentID != "S1" || ids[2].NodeID != "new" || string(ids[2].Key) != "\x01\x02" {
			t.Errorf("after a crash: %v", ids)
		}
		save(a)
	}

	if err := os.WriteFile(filepath.Join(dir, "part-7"+suffix), []byte("{\"number\":1}\nnonsense\n{\"number\":2}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openArchive(dir, 0, 0, 10); err == nil || !strings.Contains(err.Error(), "part-7.agents, line 2") {
		t.Errorf("a damaged file: %v", err)
	}

	var none *archive
	if err := none.save(identity{}); err != nil || none.flush() != nil || none.close() != nil {
		t.Error("without an archive nothing is kept, and that is no fault")
	}
}
