package raft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
)

// journal is a state machine that keeps every entry it was given.
type journal struct {
	mu      sync.Mutex
	entries []string
	fail    string // an entry that cannot be applied
	hold    chan struct{}
}

var errUnknownEntry = errors.New("unknown entry")

func (j *journal) Apply(_ uint64, data []byte) (any, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != "" && j.fail == string(data) {
		return nil, errUnknownEntry
	}
	j.entries = append(j.entries, string(data))
	return "did " + string(data), nil
}

func (j *journal) Snapshot() (func(io.Writer) error, error) {
	entries := j.all()
	return func(w io.Writer) error {
		if j.hold != nil {
			<-j.hold
		}
		for _, e := range entries {
			if _, err := w.Write(append(binary.AppendUvarint(nil, uint64(len(e))), e...)); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (j *journal) Restore(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = nil
	for len(data) > 0 {
		n, used := binary.Uvarint(data)
		if used <= 0 || n > uint64(len(data)-used) {
			return errors.New("journal is cut off")
		}
		j.entries = append(j.entries, string(data[used:used+int(n)]))
		data = data[used+int(n):]
	}
	return nil
}

// all returns the entries so far.
func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.entries[:len(j.entries):len(j.entries)]
}

// mustOpen opens a peer and waits until it leads.
func mustOpen(t *testing.T, cfg Config, machine StateMachine) *Peer {
	t.Helper()
	p, err := Open(cfg, machine)
	if err != nil {
		t.Fatal(err)
	}
	awaitLeader(t, p)
	return p
}

// awaitLeader waits until the peer leads and returns the term.
func awaitLeader(t *testing.T, p *Peer) uint64 {
	t.Helper()
	for l := range p.Leadership() {
		if l.Leader {
			return l.Term
		}
	}
	t.Fatalf("peer ended before it led: %v", p.Err())
	return 0
}

func mustPropose(t *testing.T, p *Peer, data string) uint64 {
	t.Helper()
	index, result, err := p.Propose(context.Background(), []byte(data))
	if err != nil {
		t.Fatalf("propose %q: %v", data, err)
	}
	if want := "did " + data; result != want {
		t.Fatalf("propose %q: result %v, want %q", data, result, want)
	}
	return index
}

func mustClose(t *testing.T, p *Peer) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if err := p.Err(); err != nil {
		t.Fatalf("peer ended with: %v", err)
	}
}

// proposeUntilSnapshot proposes until a snapshot was written and the log cut.
func proposeUntilSnapshot(t *testing.T, p *Peer) {
	t.Helper()
	for p.Status().Snapshot == 0 {
		mustPropose(t, p, "entry")
	}
}

// numbered returns n different entries.
func numbered(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s-%04d", prefix, i)
	}
	return all
}

// snapshotFiles lists the snapshots in a directory.
func snapshotFiles(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), snapshotPrefix) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names
}

// wantDiskError checks that an error names a file, says what to do, and is the one wanted.
func wantDiskError(t *testing.T, err, want error, path string) {
	t.Helper()
	var disk *DiskError
	if !errors.As(err, &disk) || !errors.Is(err, want) {
		t.Fatalf("error %v, want a DiskError about %v", err, want)
	}
	if !strings.Contains(err.Error(), path) || disk.advice() == "" {
		t.Fatalf("error %q does not name %s or what to do", err, path)
	}
}

func mustMarshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
