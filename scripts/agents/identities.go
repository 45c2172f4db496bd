package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// identity is who one simulated node is. With it the node need not join again.
type identity struct {
	Number      int    `json:"number"`
	ClusterID   string `json:"cluster_id"`
	NodeID      string `json:"node_id"`
	Key         []byte `json:"key"`         // PKCS #8
	Certificate []byte `json:"certificate"` // DER
	Issuer      []byte `json:"issuer"`      // DER
	AgentID     string `json:"agent_id,omitempty"`
	Saved       int64  `json:"saved"` // Unix nanoseconds; the newest of a number counts
	Void        bool   `json:"void,omitempty"`
}

// suffix of the files of a state directory. Each process has one of its own, reads all, and adds lines
// to its own only.
const suffix = ".agents"

// archive keeps identities in a file of a state directory. Safe for concurrent use. A nil archive keeps
// nothing.
type archive struct {
	mu   sync.Mutex
	file *os.File
	w    *bufio.Writer
	now  func() time.Time
}

// openArchive reads the identities of the numbers from first to end-1 of a directory, and opens the file
// that this process adds to. The directory is made if it is not there.
func openArchive(dir string, part, first, end int) (*archive, map[int]*identity, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("-state: %w", err)
	}
	all, err := readArchives(dir)
	if err != nil {
		return nil, nil, err
	}
	own := make(map[int]*identity)
	for number, id := range all {
		if number >= first && number < end && !id.Void {
			own[number] = id
		}
	}
	path := filepath.Join(dir, fmt.Sprintf("part-%d%s", part, suffix))
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("-state: %w", err)
	}
	a := &archive{file: file, w: bufio.NewWriterSize(file, 64<<10), now: time.Now}
	// A line that a crash has cut off ends here.
	if err := a.w.WriteByte('\n'); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("-state: %w", err), file.Close())
	}
	return a, own, nil
}

// readArchives is the newest identity of each number in a directory.
func readArchives(dir string) (map[int]*identity, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("-state: %w", err)
	}
	newest := make(map[int]*identity)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("-state: %w", err)
		}
		lines := bytes.Split(data, []byte("\n"))
		for i, line := range lines {
			if len(line) == 0 {
				continue
			}
			id := new(identity)
			if err := json.Unmarshal(line, id); err != nil {
				if i == len(lines)-1 || len(lines[i+1]) == 0 {
					continue // cut off by a crash: the next run began with an empty line
				}
				return nil, fmt.Errorf("-state: %s, line %d: %w: remove the directory for a new fleet", path, i+1, err)
			}
			if old := newest[id.Number]; old == nil || id.Saved >= old.Saved {
				newest[id.Number] = id
			}
		}
	}
	return newest, nil
}

// save keeps the newest state of an identity. What is written reaches the disk with flush.
func (a *archive) save(id identity) error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	id.Saved = a.now().UnixNano()
	line, err := json.Marshal(id)
	if err != nil {
		return err
	}
	if _, err := a.w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("-state: %w", err)
	}
	return nil
}

// flush hands what was saved to the system.
func (a *archive) flush() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.w.Flush(); err != nil {
		return fmt.Errorf("-state: %w", err)
	}
	return nil
}

func (a *archive) close() error {
	if a == nil {
		return nil
	}
	return errors.Join(a.flush(), a.file.Close())
}
