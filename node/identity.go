package node

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"clusterd/node/mesos/wire"
)

const (
	identityName = "node.json"
	lockName     = "lock"
	// lockPatience is how long a process that is just ending may keep the data directory.
	lockPatience = 2 * time.Second
)

// identity is who this node is, as it stands in <data-dir>/node.json from the moment that it belongs
// to a cluster. Its key and certificates lie beside it (see package trust).
type identity struct {
	ClusterID string `json:"cluster_id"`
	NodeID    string `json:"node_id"`
	Name      string `json:"name"`
	Role      string `json:"role"` // auto, master, agent or both
	// RaftID is the raft member whose files are in <data-dir>/raft, 0 for none.
	RaftID uint64 `json:"raft_id,omitempty"`
	// LostRaftID is the member whose files are gone. It must never be begun again with an empty log: it
	// may have voted.
	LostRaftID uint64 `json:"lost_raft_id,omitempty"`
	// Recovered says that the raft group was made anew from this node's files alone (CLU-8): the first
	// thing that the node does as leader is to take their membership from all others.
	Recovered bool `json:"recovered,omitempty"`
	// Members are the masters as last heard of: where to look for the leader.
	Members []contact `json:"members,omitempty"`
}

// contact is where a member is reached between nodes.
type contact struct {
	NodeID string `json:"node_id"`
	Peer   string `json:"peer_address"`
}

// runsTasks says whether a node of this role has an agent (CLU-4).
func runsTasks(role string) bool { return role != "master" }

// mayLead says whether a node of this role may become a master (CLU-4).
func mayLead(role string) bool { return role != "agent" }

// newNodeID is a name that no other node has.
func newNodeID() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// loadIdentity reads the identity of a data directory; nil if it belongs to no cluster yet.
func loadIdentity(dir string) (*identity, error) {
	path := filepath.Join(dir, identityName)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	id := &identity{}
	if err := json.Unmarshal(data, id); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w: restore the file, or empty the directory and join the cluster again as a new node", path, err)
	}
	if id.ClusterID == "" || id.NodeID == "" || !slices.Contains(nodeRoles, id.Role) {
		return nil, fmt.Errorf("%s: cluster_id %q, node_id %q and role %q do not name a node", path, id.ClusterID, id.NodeID, id.Role)
	}
	return id, nil
}

// save makes the identity durable, whole or not at all.
func (id *identity) save(dir string) error {
	data, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	return writeFileWhole(filepath.Join(dir, identityName), append(data, '\n'), 0o600)
}

// writeFileWhole replaces a file by one with all of the data, also across a loss of power.
func writeFileWhole(path string, data []byte, mode os.FileMode) (err error) {
	aside := path + ".tmp"
	f, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(aside, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(aside))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// know takes over where the members are; it says whether that is news.
func (id *identity) know(members []*wire.Member) bool {
	var now []contact
	for _, m := range members {
		now = append(now, contact{m.GetNodeId(), m.GetAddresses().GetPeer()})
	}
	slices.SortFunc(now, func(a, b contact) int {
		if a.NodeID < b.NodeID {
			return -1
		}
		return 1
	})
	if slices.Equal(now, id.Members) || len(now) == 0 {
		return false
	}
	id.Members = now
	return true
}

// lockData keeps a second process out of the data directory until the file is closed.
func lockData(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	for end := time.Now().Add(lockPatience); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return nil, errors.Join(fmt.Errorf("--data-dir: lock %s: %w", dir, err), f.Close())
		case time.Now().After(end):
			return nil, errors.Join(fmt.Errorf("--data-dir: %s is in use by another clusterd", dir), f.Close())
		}
	}
}
