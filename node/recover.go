package node

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"clusterd/raft"
	"clusterd/raft/registry"
)

// RestoreConfig says what to restore where.
type RestoreConfig struct {
	File    string // a backup
	DataDir string // does not exist, or holds no cluster
}

// RestoreReport is what a data directory was made of.
type RestoreReport struct {
	ClusterID  string    `json:"cluster_id"` // of the cluster that was saved; the new one gets its own
	Version    string    `json:"version"`    // of the node that wrote the backup
	Index      uint64    `json:"index"`
	Time       time.Time `json:"time"`
	StateHash  string    `json:"state_hash"` // of what stands in the new directory
	Agents     int       `json:"agents"`     // reachable or not
	Frameworks int       `json:"frameworks"`
}

// Restore makes the data directory of the first node of a new cluster from a backup (CLU-8). It is to be
// started like any other; nodes of the old cluster are not let in.
func Restore(cfg RestoreConfig, log *slog.Logger) (*RestoreReport, error) {
	if err := os.MkdirAll(cfg.DataDir, 0o755); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	lock, err := lockData(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	defer lock.Close() // it was only held
	for _, name := range []string{identityName, raftName, tlsName} {
		if _, err := os.Lstat(filepath.Join(cfg.DataDir, name)); !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("--data-dir: %s belongs to a cluster already: give an empty directory", cfg.DataDir)
		}
	}
	f, err := os.Open(cfg.File)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	state, info, err := registry.ReadBackup(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.File, err)
	}
	if err := raft.Create(filepath.Join(cfg.DataDir, raftName), 1, state.Write); err != nil {
		return nil, err
	}
	counts := state.Counts()
	log.Info("cluster restored", slog.String("file", cfg.File), slog.String("data_dir", cfg.DataDir), slog.Uint64("index", info.Index))
	return &RestoreReport{
		ClusterID: info.ClusterID, Version: info.Version, Index: info.Index, Time: info.Time,
		StateHash: state.ContentHash(), Agents: counts.Agents + counts.Unreachable, Frameworks: counts.Frameworks,
	}, nil
}

// RecoverReport says what a recovery kept and whom it gave up.
type RecoverReport struct {
	ClusterID string   `json:"cluster_id"`
	NodeID    string   `json:"node_id"`
	Index     uint64   `json:"index"` // of the newest entry kept
	StateHash string   `json:"state_hash"`
	Lost      []string `json:"lost"` // the other masters, each as NAME (HOST:PORT)
	// Assumed is how many of the newest changes were kept without knowing whether they were committed.
	Assumed uint64 `json:"assumed"`
}

// Recover makes a group of one of the files of a surviving master, when all hope for a quorum is lost
// (CLU-8). All that is in its log is kept, also what may not have been committed.
//
// Two groups come to be if the others are not lost: whoever calls this must know that they are.
func Recover(dataDir string, log *slog.Logger) (*RecoverReport, error) {
	lock, err := lockData(dataDir)
	if err != nil {
		return nil, err
	}
	defer lock.Close() // it was only held
	id, err := loadIdentity(dataDir)
	if err != nil {
		return nil, err
	}
	if id == nil || id.RaftID == 0 {
		return nil, fmt.Errorf("--data-dir: %s is not that of a master: choose a node that `clusterd nodes` showed as leader or voter", dataDir)
	}
	// The mark first: it does nothing while other voters are left.
	id.Recovered = true
	if err := id.save(dataDir); err != nil {
		return nil, fmt.Errorf("write identity: %w", err)
	}
	machine := registry.NewMachine(Version)
	report, err := raft.Recover(filepath.Join(dataDir, raftName), machine)
	if err != nil {
		return nil, err
	}
	state := machine.View()
	out := &RecoverReport{ClusterID: id.ClusterID, NodeID: id.NodeID, Index: report.Index, StateHash: state.ContentHash(), Assumed: report.Assumed}
	for _, node := range state.Nodes() {
		if node.GetRaftId() != 0 && node.GetRaftId() != id.RaftID {
			out.Lost = append(out.Lost, fmt.Sprintf("%s (%s)", node.GetName(), node.GetPeerAddress()))
		}
	}
	log.Warn("group of one master made from this node's files", slog.String("data_dir", dataDir), slog.Uint64("index", out.Index))
	return out, nil
}
