package raft

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	etcdraft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

const (
	logName  = "log.db"
	lockName = "lock"

	// lockPatience is how long a process that is just ending may keep the lock.
	lockPatience = time.Second
	lockInterval = 10 * time.Millisecond

	// tailBytes is how much of the newest entries is kept in memory: what followers that keep up,
	// and the state machine, still have to read.
	tailBytes = 8 << 20

	// growBytes is how much log.db grows at once.
	growBytes = 4 << 20
	mmapBytes = 64 << 20
)

// log is the log of one member on disk. One goroutine at a time may use it. After an error of the
// disk it is of no more use: every method returns that error.
type log struct {
	dir, path string
	noSync    bool
	files     *exchange     // the snapshots
	ending    chan struct{} // closed to cut short the writing of a snapshot
	endOnce   sync.Once
	lock      *os.File
	db        *bbolt.DB
	state     logState            // as on disk
	commit    uint64              // perhaps ahead of the disk
	conf      *raftpb.ConfState   // as of the snapshot
	tail      []*raftpb.Entry     // the newest entries, up to state.lastIndex
	tailSize  int                 // bytes of them
	tailLimit int                 // at most
	wrote     func(time.Duration) // gets how long each write took; may be nil
	failed    error
}

var _ Storage = (*log)(nil)

// newLog is the log in a directory, not opened yet.
func newLog(cfg Config) *log {
	return &log{
		dir: cfg.Dir, path: filepath.Join(cfg.Dir, logName), noSync: cfg.NoSync,
		files: newExchange(cfg.Dir, cfg.NoSync), ending: make(chan struct{}),
		conf: raftpb.EnsureConfState(nil), tailLimit: tailBytes,
	}
}

// openLog opens the log of a member in a directory, or begins a new one, and checks all of it. It holds
// the directory's lock until close.
func openLog(cfg Config) (*log, error) {
	if err := makeDir(cfg.Dir, cfg.NoSync); err != nil {
		return nil, err
	}
	l := newLog(cfg)
	err := l.begin(cfg)
	if err == nil {
		err = l.open()
	}
	if err == nil && l.state.id != cfg.ID {
		err = fmt.Errorf("raft directory %s belongs to member %d, not %d", l.dir, l.state.id, cfg.ID)
	}
	if err == nil {
		err = l.files.clean(l.state.snapIndex, l.state.snapTerm, true)
	}
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// open opens and checks a log that exists. It changes nothing.
func (l *log) open() (err error) {
	if err := l.acquire(); err != nil {
		return err
	}
	if err := condemned(l.dir); err != nil {
		return err
	}
	if err := l.check(); err != nil {
		return err
	}
	if l.db, err = l.openDB(l.path); err != nil {
		return err
	}
	if err := l.load(); err != nil || l.state.snapIndex == 0 {
		return err
	}
	keep := func(meta *raftpb.SnapshotMetadata, _ io.Reader) error {
		l.conf = meta.GetConfState()
		return nil
	}
	path := snapshotPath(l.dir, l.state.snapIndex, l.state.snapTerm)
	return readSnapshot(path, l.state.snapIndex, l.state.snapTerm, keep)
}

// acquire takes the directory's lock, which ends with the process at the latest.
func (l *log) acquire() error {
	if l.lock != nil {
		return nil
	}
	path := filepath.Join(l.dir, lockName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return onDisk("lock", path, err)
	}
	l.lock = f
	for deadline := time.Now().Add(lockPatience); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return onDisk("lock", path, err)
		case time.Now().After(deadline):
			return onDisk("lock", path, ErrLocked)
		}
		time.Sleep(lockInterval)
	}
}

// begin makes the log of a new member if there is none.
func (l *log) begin(cfg Config) error {
	if err := l.acquire(); err != nil {
		return err
	}
	if _, err := os.Stat(l.path); !errors.Is(err, os.ErrNotExist) {
		return onDisk("open", l.path, err)
	}
	left, err := os.ReadDir(l.dir)
	if err != nil {
		return onDisk("list", l.dir, err)
	}
	for _, entry := range left {
		if strings.HasPrefix(entry.Name(), snapshotPrefix) {
			return onDisk("open", l.path, fmt.Errorf("%w: it is missing, but its %s is there", ErrCorrupt, entry.Name()))
		}
	}
	first := logState{id: cfg.ID}
	var entries []*raftpb.Entry
	if !cfg.Join {
		hard, bootstrap, err := FirstEntries(cfg.Voters)
		if err != nil {
			return err
		}
		first.term, first.commit, entries = hard.GetTerm(), hard.GetCommit(), bootstrap
		first.lastIndex, first.lastTerm = hard.GetCommit(), hard.GetTerm()
	}
	return l.create(first, entries)
}

// create writes log.db with all of its content or not at all.
func (l *log) create(first logState, entries []*raftpb.Entry) error {
	aside := l.path + temporary
	if err := os.Remove(aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return onDisk("remove", aside, err)
	}
	db, err := l.openDB(aside)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{metaBucket, entryBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		if err := putEntries(tx, entries); err != nil {
			return err
		}
		return putState(tx, first)
	})
	if cerr := db.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return onDisk("create", aside, err)
	}
	if err := os.Rename(aside, l.path); err != nil {
		return onDisk("create", l.path, err)
	}
	if l.noSync {
		return nil
	}
	return syncDir(l.dir)
}

// check checks the pages of log.db.
func (l *log) check() error {
	f, err := os.Open(l.path)
	if err != nil {
		return onDisk("check", l.path, err)
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err == nil {
		err = checkPages(f, info.Size())
	}
	return onDisk("check", l.path, err)
}

func (l *log) openDB(path string) (db *bbolt.DB, err error) {
	defer guard("open", path, &err)()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockPatience,
		// The list of free pages is found anew at each start: less to write each time, and one thing
		// less that can be damaged.
		NoFreelistSync:  true,
		FreelistType:    bbolt.FreelistMapType,
		NoSync:          l.noSync,
		NoGrowSync:      l.noSync,
		NoStatistics:    true,
		InitialMmapSize: mmapBytes,
	})
	if errors.Is(err, berrors.ErrTimeout) {
		err = ErrLocked
	}
	if err != nil {
		return nil, err
	}
	db.AllocSize = growBytes
	return db, nil
}

// load reads and checks the state and every entry.
func (l *log) load() (err error) {
	defer guard("read", l.path, &err)()
	return l.db.View(func(tx *bbolt.Tx) error {
		meta, entries := tx.Bucket(metaBucket), tx.Bucket(entryBucket)
		if meta == nil || entries == nil {
			return fmt.Errorf("%w: a bucket is missing", ErrCorrupt)
		}
		if l.state, err = decodeState(meta.Get(stateKey)); err != nil {
			return err
		}
		l.commit = l.state.commit
		index, term := l.state.startIndex, l.state.startTerm
		c := entries.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			e, err := decodeStored(k, v)
			if err != nil {
				return err
			}
			if e.GetIndex() != index+1 || e.GetTerm() < term {
				return fmt.Errorf("%w: entry %d of term %d follows entry %d of term %d", ErrCorrupt, e.GetIndex(), e.GetTerm(), index, term)
			}
			index, term = e.GetIndex(), e.GetTerm()
			l.remember(e)
		}
		if index != l.state.lastIndex || term != l.state.lastTerm {
			return fmt.Errorf("%w: the last entry is %d of term %d, not %d of term %d",
				ErrCorrupt, index, term, l.state.lastIndex, l.state.lastTerm)
		}
		return l.state.validate()
	})
}

// cancel cuts short the writing of a snapshot. It may be called from any goroutine.
func (l *log) cancel() { l.endOnce.Do(func() { close(l.ending) }) }

// close frees the log and its lock. Nothing may be written any more.
func (l *log) close() (err error) {
	l.cancel()
	defer guard("close", l.path, &err)()
	if l.db != nil {
		err = l.db.Close()
		l.db = nil
	}
	if l.lock != nil {
		err = errors.Join(err, l.lock.Close())
		l.lock = nil
	}
	return err
}

// bytes is the size of log.db.
func (l *log) bytes() int64 {
	info, err := os.Stat(l.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// update runs one transaction that ends with the state next.
func (l *log) update(op string, next logState, fn func(*bbolt.Tx) error) (err error) {
	if l.failed != nil {
		return l.failed
	}
	defer func() { l.failed = err }()
	defer guard(op, l.path, &err)()
	err = l.db.Update(func(tx *bbolt.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return putState(tx, next)
	})
	if err == nil {
		l.state = next
	}
	return err
}

// Save writes term and vote, and entries, with one transaction: see [Storage]. If sync is false nothing
// is written.
func (l *log) Save(hard *raftpb.HardState, entries []*raftpb.Entry, sync bool) error {
	next := l.state
	if !etcdraft.IsEmptyHardState(hard) {
		l.commit = hard.GetCommit()
		next.term, next.vote = hard.GetTerm(), hard.GetVote()
	}
	next.commit = l.commit
	if !sync && len(entries) == 0 {
		return nil
	}
	old := l.state.lastIndex
	if len(entries) > 0 {
		last := entries[len(entries)-1]
		next.lastIndex, next.lastTerm = last.GetIndex(), last.GetTerm()
	}
	begun := time.Now()
	err := l.update("write", next, func(tx *bbolt.Tx) error {
		if len(entries) == 0 {
			return nil
		}
		if err := dropEntries(tx, next.lastIndex+1, old); err != nil {
			return err
		}
		return putEntries(tx, entries)
	})
	if err != nil {
		return err
	}
	if l.wrote != nil {
		l.wrote(time.Since(begun))
	}
	for _, e := range entries {
		l.remember(e)
	}
	return nil
}

// Compact names the snapshot at meta in the log, cuts the log behind it, and removes the snapshot
// before; or removes this one if a newer was installed meanwhile.
func (l *log) Compact(meta *raftpb.SnapshotMetadata, keep uint64) error {
	next := l.state
	if meta.GetIndex() <= next.snapIndex {
		return l.files.clean(next.snapIndex, next.snapTerm, false)
	}
	next.commit = l.commit
	next.snapIndex, next.snapTerm = meta.GetIndex(), meta.GetTerm()
	if start := next.snapIndex - min(keep, next.snapIndex); start > next.startIndex {
		term, err := l.Term(start)
		if err != nil {
			return err
		}
		next.startIndex, next.startTerm = start, term
	}
	first := l.state.startIndex + 1
	err := l.update("cut", next, func(tx *bbolt.Tx) error {
		return dropEntries(tx, first, next.startIndex)
	})
	if err != nil {
		return err
	}
	l.conf = meta.GetConfState()
	l.forget()
	return l.files.clean(next.snapIndex, next.snapTerm, false)
}

// Install replaces the whole log by a snapshot that was received.
func (l *log) Install(meta *raftpb.SnapshotMetadata, hard *raftpb.HardState) error {
	if l.failed != nil {
		return l.failed
	}
	// If the log is not told of it, this name is one that the next start removes.
	if err := l.files.adopt(meta); err != nil {
		l.failed = err
		return err
	}
	return l.replace(meta, hard)
}

// replace puts a snapshot in the place of the whole log.
func (l *log) replace(meta *raftpb.SnapshotMetadata, hard *raftpb.HardState) error {
	next := l.state
	if !etcdraft.IsEmptyHardState(hard) {
		l.commit = hard.GetCommit()
		next.term, next.vote = hard.GetTerm(), hard.GetVote()
	}
	l.commit = max(l.commit, meta.GetIndex())
	next.commit = l.commit
	next.startIndex, next.startTerm = meta.GetIndex(), meta.GetTerm()
	next.lastIndex, next.lastTerm = meta.GetIndex(), meta.GetTerm()
	next.snapIndex, next.snapTerm = meta.GetIndex(), meta.GetTerm()
	err := l.update("write", next, func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket(entryBucket); err != nil {
			return err
		}
		_, err := tx.CreateBucket(entryBucket)
		return err
	})
	if err != nil {
		return err
	}
	l.conf, l.tail, l.tailSize = meta.GetConfState(), nil, 0
	return l.files.clean(next.snapIndex, next.snapTerm, false)
}

// Condemn writes the file that keeps this member from starting again.
func (l *log) Condemn(cause *DivergedError) error {
	if err := condemn(l.dir, cause, l.noSync); err != nil {
		l.failed = err
		return err
	}
	return nil
}

// WriteSnapshot writes a snapshot beside the log. It may run while other methods are called.
func (l *log) WriteSnapshot(meta *raftpb.SnapshotMetadata, body func(io.Writer) error) error {
	return writeSnapshot(l.dir, meta, body, l.noSync, l.ending)
}

// ReadSnapshot reads a snapshot of this peer's own, or one that was received.
func (l *log) ReadSnapshot(index, term uint64, restore func(io.Reader) error) error {
	path := snapshotPath(l.dir, index, term)
	if index != l.state.snapIndex {
		path = receivedPath(l.dir, index, term)
	}
	return readSnapshot(path, index, term, func(_ *raftpb.SnapshotMetadata, body io.Reader) error { return restore(body) })
}

// remember puts an entry that is on disk at the end of the tail.
func (l *log) remember(e *raftpb.Entry) {
	if n := len(l.tail); n > 0 {
		first := l.tail[0].GetIndex()
		keep := e.GetIndex() - min(first, e.GetIndex())
		for _, old := range l.tail[min(keep, uint64(n)):] {
			l.tailSize -= proto.Size(old)
		}
		// Entries that were read may still be in use: never write over them.
		if keep < uint64(n) {
			l.tail = l.tail[:keep:keep]
		}
	}
	l.tail = append(l.tail, e)
	l.tailSize += proto.Size(e)
	l.forget()
}

// forget drops entries from the tail that are no longer in the log, or too many.
func (l *log) forget() {
	drop := 0
	for drop < len(l.tail)-1 && (l.tailSize > l.tailLimit || l.tail[drop].GetIndex() <= l.state.startIndex) {
		l.tailSize -= proto.Size(l.tail[drop])
		drop++
	}
	if drop > 0 {
		clear(l.tail[:drop])
		l.tail = l.tail[drop:]
	}
}

// InitialState returns term, vote and commit index, and the members as of the snapshot.
func (l *log) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	s := l.state
	return &raftpb.HardState{Term: new(s.term), Vote: new(s.vote), Commit: new(s.commit)}, l.conf, l.failed
}

// FirstIndex returns the index of the first entry.
func (l *log) FirstIndex() (uint64, error) { return l.state.startIndex + 1, l.failed }

// LastIndex returns the index of the last entry.
func (l *log) LastIndex() (uint64, error) { return l.state.lastIndex, l.failed }

// Term returns the term of an entry, or of the entry before the first.
func (l *log) Term(i uint64) (uint64, error) {
	switch {
	case l.failed != nil:
		return 0, l.failed
	case i == l.state.startIndex:
		return l.state.startTerm, nil
	case i < l.state.startIndex:
		return 0, etcdraft.ErrCompacted
	case i > l.state.lastIndex:
		return 0, etcdraft.ErrUnavailable
	}
	if len(l.tail) > 0 && i >= l.tail[0].GetIndex() {
		return l.tail[i-l.tail[0].GetIndex()].GetTerm(), nil
	}
	entries, err := l.read(i, i+1, 0)
	if err != nil {
		return 0, err
	}
	return entries[0].GetTerm(), nil
}

// Entries returns entries from lo to below hi, of maxSize bytes together, but at least one.
func (l *log) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	switch {
	case l.failed != nil:
		return nil, l.failed
	case lo <= l.state.startIndex:
		return nil, etcdraft.ErrCompacted
	case hi > l.state.lastIndex+1 || lo >= hi:
		return nil, etcdraft.ErrUnavailable
	}
	if len(l.tail) == 0 || lo < l.tail[0].GetIndex() {
		return l.read(lo, hi, maxSize)
	}
	first := l.tail[0].GetIndex()
	found := l.tail[lo-first : hi-first]
	size := uint64(0)
	for i, e := range found {
		size += uint64(proto.Size(e))
		if i > 0 && size > maxSize {
			found = found[:i]
			break
		}
	}
	return append([]*raftpb.Entry(nil), found...), nil
}

// read reads entries from disk.
func (l *log) read(lo, hi, maxSize uint64) (found []*raftpb.Entry, err error) {
	defer func() {
		if err != nil {
			l.failed = err
		}
	}()
	defer guard("read", l.path, &err)()
	err = l.db.View(func(tx *bbolt.Tx) error {
		size := uint64(0)
		c := tx.Bucket(entryBucket).Cursor()
		k, v := c.Seek(entryKey(lo))
		for i := lo; i < hi; i++ {
			if k == nil {
				return fmt.Errorf("%w: entry %d is missing", ErrCorrupt, i)
			}
			e, err := decodeStored(k, v)
			if err != nil {
				return err
			}
			if e.GetIndex() != i {
				return fmt.Errorf("%w: entry %d stands in the place of entry %d", ErrCorrupt, e.GetIndex(), i)
			}
			if size += uint64(proto.Size(e)); i > lo && size > maxSize {
				return nil
			}
			found = append(found, e)
			k, v = c.Next()
		}
		return nil
	})
	return found, err
}

// Snapshot describes the newest snapshot, which a follower needs whose entries are from before the
// log.
func (l *log) Snapshot() (*raftpb.Snapshot, error) {
	if l.failed != nil {
		return nil, l.failed
	}
	if l.state.snapIndex == 0 {
		// The log reaches back to its first entry: nobody needs a snapshot.
		return nil, etcdraft.ErrSnapshotTemporarilyUnavailable
	}
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		Index: new(l.state.snapIndex), Term: new(l.state.snapTerm), ConfState: l.conf,
	}}, nil
}
