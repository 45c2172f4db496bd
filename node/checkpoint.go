package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"google.golang.org/protobuf/proto"

	"clusterd/node/agent"
	"clusterd/node/mesos/wire"
	"clusterd/raft"
)

// checkpointStore is the agent's durable tree of keys: one bucket of a bbolt file.
//
//	<work-dir>/meta/agent.db         the keys of package agent
//	<work-dir>/meta/boot_id          of the machine when the agent last started
//	<work-dir>/meta/slaves/latest -> <agent id>
//	<work-dir>/slaves/latest -> <agent id>
//
// Removing the link in meta makes the next start a new agent, as operators know it (EXE-159,
// EXE-185). boot_id is for them to read: what counts is the agent's record.
type checkpointStore struct {
	db   *bbolt.DB
	work string
	meta string

	mu      sync.Mutex
	waiting []agent.Checkpoint
	wake    chan struct{}
}

var checkpointBucket = []byte("agent")

// openCheckpoints opens the file below workDir, waiting a moment for an earlier process to end.
func openCheckpoints(workDir string) (*checkpointStore, error) {
	meta := filepath.Join(workDir, "meta")
	if err := os.MkdirAll(filepath.Join(meta, "slaves"), 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(meta, "agent.db")
	if err := checkFile(path); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 2 * time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		if errors.Is(err, bolterrors.ErrTimeout) {
			return nil, fmt.Errorf("open %s: another process uses it", path)
		}
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	s := &checkpointStore{db: db, work: workDir, meta: meta, wake: make(chan struct{}, 1)}
	if err := db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(checkpointBucket)
		return err
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	return s, nil
}

// checkFile tells of a damaged file, on which bbolt would panic (EXE-152).
func checkFile(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	} else if err != nil {
		return err
	}
	if err := raft.CheckPages(path); err != nil {
		return fmt.Errorf("%w: remove the file to start with a new agent; the tasks that run on this machine end then", err)
	}
	return nil
}

// load returns all keys; none if the link to the latest agent was removed.
func (s *checkpointStore) load() (map[string][]byte, error) {
	keys := make(map[string][]byte)
	if _, err := os.Lstat(filepath.Join(s.meta, "slaves", "latest")); errors.Is(err, fs.ErrNotExist) {
		return keys, s.db.Update(func(tx *bbolt.Tx) error {
			if err := tx.DeleteBucket(checkpointBucket); err != nil {
				return err
			}
			_, err := tx.CreateBucket(checkpointBucket)
			return err
		})
	} else if err != nil {
		return nil, err
	}
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(checkpointBucket).ForEach(func(k, v []byte) error {
			keys[string(k)] = append([]byte(nil), v...)
			return nil
		})
	})
	return keys, err
}

// linkLatest makes the links to the agent that a record names, and the file with the boot id
// (EXE-176, EXE-184). The link comes before the record: without it the next start would take the
// keys for those of an agent that was given up.
func (s *checkpointStore) linkLatest(record []byte) error {
	var agent wire.AgentRecord
	if record == nil {
		return nil
	}
	if err := proto.Unmarshal(record, &agent); err != nil {
		return fmt.Errorf("record of the agent: %w", err)
	}
	id := agent.GetAgent().GetId().GetValue()
	if id == "" {
		return nil
	}
	for _, parent := range []string{s.work, s.meta} {
		slaves := filepath.Join(parent, "slaves")
		if err := os.MkdirAll(filepath.Join(slaves, id), 0o755); err != nil {
			return err
		}
		if err := replaceLink(id, filepath.Join(slaves, "latest")); err != nil {
			return err
		}
	}
	return replaceFile([]byte(agent.GetBootId()), filepath.Join(s.meta, "boot_id"))
}

// replaceFile gives the file at path a new content in one step.
func replaceFile(content []byte, path string) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, content, 0o644); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return os.Rename(tmp, path)
}

// replaceLink points the symbolic link at path to target in one step.
func replaceLink(target, path string) error {
	if old, err := os.Readlink(path); err == nil && old == target {
		return nil
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// queue hands over one checkpoint; it does not wait.
func (s *checkpointStore) queue(c agent.Checkpoint) {
	s.mu.Lock()
	s.waiting = append(s.waiting, c)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run commits what is queued, several checkpoints in one transaction when they pile up, until ctx
// ends. A disk error ends it: nothing later may be confirmed.
func (s *checkpointStore) run(ctx context.Context, done func(seq uint64), failed func(error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		s.mu.Lock()
		batch := s.waiting
		s.waiting = nil
		s.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
		if err := s.commit(batch); err != nil {
			failed(err)
			return
		}
		done(batch[len(batch)-1].Seq)
	}
}

func (s *checkpointStore) commit(batch []agent.Checkpoint) error {
	for _, c := range batch {
		if err := s.linkLatest(c.Put["info"]); err != nil {
			return err
		}
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(checkpointBucket)
		for _, c := range batch {
			for _, k := range c.Delete {
				if err := deleteKey(b, k); err != nil {
					return fmt.Errorf("delete %s: %w", k, err)
				}
			}
			for k, v := range c.Put {
				if err := b.Put([]byte(k), v); err != nil {
					return fmt.Errorf("put %s: %w", k, err)
				}
			}
		}
		return nil
	})
}

// deleteKey removes a key, or every key below a prefix that ends in "/".
func deleteKey(b *bbolt.Bucket, key string) error {
	if key == "" || key[len(key)-1] != '/' {
		return b.Delete([]byte(key))
	}
	c := b.Cursor()
	for k, _ := c.Seek([]byte(key)); k != nil && len(k) >= len(key) && string(k[:len(key)]) == key; k, _ = c.Seek([]byte(key)) {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

func (s *checkpointStore) close() error { return s.db.Close() }
