package raft

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	etcdraft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// Nothing in this file may be used while a peer has the directory open; all of it takes its lock.

// ErrExists: there is something already where a new group is to be made.
var ErrExists = errors.New("exists already")

// Info is what the files of a member say.
type Info struct {
	ID     uint64
	Term   uint64 // newest that it knew
	First  uint64 // index of the first entry in the log
	Index  uint64 // index of the last
	Commit uint64 // index up to which entries are known to be committed; more may be
	// Snapshot is the index of the newest snapshot, 0 if there is none, and SnapshotTerm its term.
	Snapshot, SnapshotTerm uint64
	// Voters and Learners are the members as of Index.
	Voters, Learners []uint64
}

// Inspect reads and checks the files of a member without changing any. The error is a [*DiskError] if
// they cannot be used, with os.ErrNotExist if there is no log, or a [*DivergedError].
func Inspect(dir string) (Info, error) {
	path := filepath.Join(dir, logName)
	if _, err := os.Stat(path); err != nil {
		return Info{}, onDisk("open", path, err)
	}
	l, err := reopenLog(dir)
	if err != nil {
		return Info{}, err
	}
	info, err := l.info()
	return info, errors.Join(err, l.close())
}

// reopenLog opens the log of whatever member the directory belongs to; it must exist.
func reopenLog(dir string) (*log, error) {
	path := filepath.Join(dir, logName)
	if _, err := os.Stat(path); err != nil {
		return nil, onDisk("open", path, err)
	}
	l := newLog(Config{Dir: dir})
	if err := l.open(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// info describes the log.
func (l *log) info() (Info, error) {
	s := l.state
	info := Info{
		ID: s.id, Term: s.term, First: s.startIndex + 1, Index: s.lastIndex, Commit: l.commit,
		Snapshot: s.snapIndex, SnapshotTerm: s.snapTerm,
	}
	conf, err := l.members()
	info.Voters, info.Learners = conf.GetVoters(), conf.GetLearners()
	return info, err
}

// members are the members as of the last entry.
func (l *log) members() (*raftpb.ConfState, error) {
	at := &raftpb.SnapshotMetadata{Index: new(l.state.snapIndex), Term: new(l.state.snapTerm), ConfState: l.conf}
	c, err := newCore(coreConfig{id: l.state.id, storage: l, applied: at, pile: maxUncommittedBytes, logger: protocolLogger{slog.New(slog.DiscardHandler)}})
	if err != nil {
		return nil, err
	}
	err = l.each(l.state.snapIndex+1, func(e *raftpb.Entry) error {
		if e.GetType() == raftpb.EntryNormal {
			return nil
		}
		return c.applyChange(e)
	})
	return c.conf, err
}

// each calls fn for all entries from an index on.
func (l *log) each(from uint64, fn func(*raftpb.Entry) error) error {
	for i := from; i <= l.state.lastIndex; {
		entries, err := l.Entries(i, l.state.lastIndex+1, maxApplyBytes)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := fn(e); err != nil {
				return err
			}
		}
		i += uint64(len(entries))
	}
	return nil
}

// Recovery is what [Recover] did.
type Recovery struct {
	// Before is the member as it was found.
	Before Info
	// Index and Term are where the new group begins.
	Index, Term uint64
	// Assumed is how many entries were taken for committed without knowing it: they may have been
	// acknowledged, or not.
	Assumed uint64
}

// Recover makes a group of one out of the files of a surviving member, after a quorum of its group was
// lost for good. All entries in its log are kept; what only the lost members had is lost. The other
// members must never be started again with their files. The machine is new, and stands at the end where
// the group begins.
//
// The group begins with a snapshot in a new term, one index after the last entry, where no other member
// can have an entry. A crash leaves the files as they were or as they are to be. After a full disk or
// another error it can be tried again.
func Recover(dir string, machine StateMachine) (Recovery, error) {
	l, err := reopenLog(dir)
	if err != nil {
		return Recovery{}, fmt.Errorf("recover raft member: %w", err)
	}
	report, err := l.recover(machine)
	if err = errors.Join(err, l.close()); err != nil {
		return Recovery{}, fmt.Errorf("recover raft member: %w", err)
	}
	return report, nil
}

func (l *log) recover(machine StateMachine) (Recovery, error) {
	if err := l.files.clean(l.state.snapIndex, l.state.snapTerm, true); err != nil {
		return Recovery{}, err
	}
	before, err := l.info()
	if err != nil {
		return Recovery{}, err
	}
	if l.state.snapIndex > 0 {
		if err := l.ReadSnapshot(l.state.snapIndex, l.state.snapTerm, machine.Restore); err != nil {
			return Recovery{}, err
		}
	}
	err = l.each(l.state.snapIndex+1, func(e *raftpb.Entry) error {
		if e.GetType() != raftpb.EntryNormal || len(e.GetData()) == 0 {
			return nil
		}
		entry, err := decodeEntry(e.GetData())
		if err != nil || entry.format != entryProposal {
			return err
		}
		if _, err := machine.Apply(e.GetIndex(), entry.payload); err != nil {
			return fmt.Errorf("apply log index %d: %w", e.GetIndex(), err)
		}
		return nil
	})
	if err != nil {
		return Recovery{}, err
	}
	body, err := machine.Snapshot()
	if err != nil {
		return Recovery{}, err
	}
	report := Recovery{Before: before, Index: before.Index + 1, Term: before.Term + 1, Assumed: before.Index - before.Commit}
	meta := &raftpb.SnapshotMetadata{
		Index: new(report.Index), Term: new(report.Term), ConfState: raftpb.EnsureConfState(&raftpb.ConfState{Voters: []uint64{before.ID}}),
	}
	// Until the log names it, it is a file that the next start removes.
	if err := l.WriteSnapshot(meta, body); err != nil {
		return Recovery{}, err
	}
	hard := &raftpb.HardState{Term: new(report.Term), Vote: new(uint64(etcdraft.None)), Commit: new(report.Index)}
	return report, l.replace(meta, hard)
}

// Create makes the files of a member that is alone in a new group whose state body writes, as of a
// backup. The directory must be empty or not exist: otherwise the error is an [ErrExists]. It is made
// whole or not at all, under another name beside it, which the next Create removes.
func Create(dir string, id uint64, body func(io.Writer) error) error {
	if id == etcdraft.None {
		return errors.New("create raft member: no member id")
	}
	if err := create(filepath.Clean(dir), id, body); err != nil {
		return fmt.Errorf("create raft member: %w", err)
	}
	return nil
}

func create(dir string, id uint64, body func(io.Writer) error) (err error) {
	left, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return onDisk("list", dir, err)
	case len(left) > 0:
		return onDisk("create", dir, fmt.Errorf("%w: it holds %s", ErrExists, left[0].Name()))
	}
	aside := dir + temporary
	if err := os.RemoveAll(aside); err != nil {
		return onDisk("remove", aside, err)
	}
	if err := makeDir(aside, false); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// Half of it is of no use; if it stays, the next try removes it.
			_ = os.RemoveAll(aside)
		}
	}()
	meta := &raftpb.SnapshotMetadata{
		Index: new(uint64(1)), Term: new(uint64(1)), ConfState: raftpb.EnsureConfState(&raftpb.ConfState{Voters: []uint64{id}}),
	}
	if err := writeSnapshot(aside, meta, body, false, nil); err != nil {
		return err
	}
	l := newLog(Config{Dir: aside})
	state := logState{id: id, term: 1, commit: 1, startIndex: 1, startTerm: 1, lastIndex: 1, lastTerm: 1, snapIndex: 1, snapTerm: 1}
	if err := l.create(state, nil); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return onDisk("remove", dir, err) // it is not empty any more
	}
	if err := os.Rename(aside, dir); err != nil {
		return onDisk("rename", aside, err)
	}
	return syncDir(filepath.Dir(dir))
}
