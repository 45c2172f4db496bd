package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/proto"
)

const backupMagic = "clusterd backup 1\n"

// BackupInfo says what a backup is of.
type BackupInfo struct {
	ClusterID string
	Version   string // of the clusterd that wrote it
	Index     uint64 // of the registry
	Time      time.Time
	// ContentHash is that of the state in it: see [State.ContentHash].
	ContentHash string
}

// ContentHash is the SHA-256 in hexadecimal of all that a backup restores: everything but what belongs
// to one cluster and its run, which is its id and settings, nodes, tokens and keys, the leading
// master's id, the index and the version required.
func (s *State) ContentHash() string {
	h := sha256.New()
	r := recorder{w: h, part: &Snapshot{}}
	s.recordContent(&r)
	// A hash takes every write, and messages that were decoded can be encoded.
	if err := r.end(); err != nil {
		panic("registry: hash of the content: " + err.Error())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// WriteBackup writes the content of the state as a backup, with neither keys nor tokens (CLU-8,
// CLU-23). Of info, the index and the content hash are the state's own, and so is the cluster's id if
// there is a cluster. It returns the first error of w.
func (s *State) WriteBackup(w io.Writer, info BackupInfo) error {
	if s.cluster != nil {
		info.ClusterID = s.cluster.GetId()
	}
	begin := &Backup{
		ClusterId: &info.ClusterID, Version: &info.Version, Index: &s.index,
		Time: proto.Int64(info.Time.UnixNano()), ContentHash: proto.String(s.ContentHash()),
	}
	if s.requires != "" {
		begin.Requires = &s.requires
	}
	err := seal(w, func(w io.Writer) error {
		if _, err := io.WriteString(w, backupMagic); err != nil {
			return err
		}
		r := recorder{w: w, part: &Snapshot{}}
		r.write(begin)
		s.recordContent(&r)
		return r.end()
	})
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return nil
}

// ReadBackup reads a backup to its end and returns a state with its content and no cluster, at index
// 0. The error wraps [ErrCorrupt] if the bytes are not exactly what [State.WriteBackup] wrote, and is
// a [*NewerError] if they hold what this version does not know.
func ReadBackup(r io.Reader) (*State, BackupInfo, error) {
	var (
		begin  *Backup
		loaded loader
	)
	err := readSealed(r, "backup", backupMagic, func(data []byte) error {
		if begin != nil {
			return loaded.record(data)
		}
		begin = &Backup{}
		if err := proto.Unmarshal(data, begin); err != nil {
			return fmt.Errorf("%w: first record of the backup: %w", ErrCorrupt, err)
		}
		return known(begin.GetRequires())
	})
	if err != nil {
		return nil, BackupInfo{}, err
	}
	s, err := loaded.state()
	switch {
	case err != nil:
		return nil, BackupInfo{}, err
	case begin == nil:
		return nil, BackupInfo{}, fmt.Errorf("%w: backup without a first record", ErrCorrupt)
	case s.cluster != nil || s.master != "" || s.index != 0 || s.requires != "":
		return nil, BackupInfo{}, fmt.Errorf("%w: backup with more than content", ErrCorrupt)
	case s.ContentHash() != begin.GetContentHash():
		return nil, BackupInfo{}, fmt.Errorf("%w: content hash is %s, of the content %s", ErrCorrupt, begin.GetContentHash(), s.ContentHash())
	}
	if CompareVersions(begin.GetRequires(), firstVersion) > 0 {
		s.requires = plainVersion(begin.GetRequires())
	}
	return s, BackupInfo{
		ClusterID: begin.GetClusterId(), Version: begin.GetVersion(), Index: begin.GetIndex(),
		Time: time.Unix(0, begin.GetTime()), ContentHash: begin.GetContentHash(),
	}, nil
}
