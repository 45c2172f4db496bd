package api

import (
	"context"
	"io"
	"time"
)

// Cluster is the cluster as its operators see and change it (CLU-6..CLU-8). All methods may be called
// from any goroutine. Status works on every node; Leave concerns this node; all others are called on the
// leading master only. What they refuse is one of *NoLeaderError, *UnknownNodeError, *AmbiguousNodeError,
// *ConflictError and *InputError, also wrapped; any other error is a fault of this node (500).
type Cluster interface {
	// Status is the picture of the leading master, or on any other node what that node knows by itself.
	// The caller may change what it returns.
	Status(ctx context.Context) (*ClusterStatus, error)
	// Token returns a join token. The request is valid.
	Token(ctx context.Context, r TokenRequest) (*TokenAnswer, error)
	// ChangeNode carries out a verb of the table NodeVerbs for the node with this id. It returns when the
	// change is in the registry; a drain goes on after that and shows in Status. r is for NodeDrain only.
	ChangeNode(ctx context.Context, nodeID, verb string, r DrainRequest) error
	// Leave makes this node leave the cluster for good. It returns when the node is removed; the process
	// ends after that.
	Leave(ctx context.Context, r LeaveRequest) error
	// Backup returns what is saved and a function, to be called once, that writes it.
	Backup(ctx context.Context) (BackupInfo, func(io.Writer) error, error)
	// RotateAuthority begins a new certificate authority; the old one is trusted until every node has a
	// certificate of the new one (CLU-21).
	RotateAuthority(ctx context.Context) error
	// SetMasters sets the number of voters to keep: 1, 3, 5 or 7.
	SetMasters(ctx context.Context, masters int) error
}

// Verbs of Cluster.ChangeNode.
const (
	NodePromote  = "promote"  // prefer it as a master
	NodeDemote   = "demote"   // never a master, until it is promoted
	NodeRemove   = "remove"   // refused from now on, also its certificate
	NodeDrain    = "drain"    // end its tasks and give it no new ones
	NodeActivate = "activate" // give it tasks again when it is drained
)

// NodeVerbs are all verbs, in the order in which they are named to people.
var NodeVerbs = []string{NodePromote, NodeDemote, NodeRemove, NodeDrain, NodeActivate}

// Raft states of a node (CLU-6).
const (
	RaftLeader  = "leader"
	RaftVoter   = "voter"
	RaftLearner = "learner" // catching up; no vote yet
	RaftStandby = "standby" // may become a master
	RaftNone    = "-"       // never a master
)

// States of a node's agent (CLU-6).
const (
	AgentActive      = "active"
	AgentUnreachable = "unreachable"
	AgentDraining    = "draining"
	AgentDrained     = "drained"
	AgentDeactivated = "deactivated" // gets no offers, its tasks go on
	AgentRecovering  = "recovering"  // known from the registry, not back since the leader's election
	AgentNone        = "-"           // runs no tasks
)

// ClusterStatus is the answer of /cluster/status.
type ClusterStatus struct {
	ClusterID string `json:"cluster_id"`
	Name      string `json:"name"`
	// NodeID is the node that was asked; on the way through other nodes it stays that.
	NodeID string `json:"node_id"`
	// Version of the node whose picture this is.
	Version string    `json:"version"`
	Time    time.Time `json:"time"` // when the picture was taken, by the clock of whoever took it
	// Stale says that this is what the node that was asked knows by itself: it cannot reach the leader
	// (CLU-35).
	Stale  bool           `json:"stale"`
	Leader *ClusterLeader `json:"leader"` // null while there is none
	Term   uint64         `json:"term"`
	Index  uint64         `json:"index"` // of the newest operation applied
	// StateHash is the content hash of the registry at Index, that of a backup taken then.
	StateHash string           `json:"state_hash"`
	Masters   int              `json:"masters"` // voters that the cluster keeps
	Quorum    ClusterQuorum    `json:"quorum"`
	Nodes     []ClusterNode    `json:"nodes"`    // by name, then id
	Problems  []ClusterProblem `json:"problems"` // worst first
}

// ClusterLeader names the leading master.
type ClusterLeader struct {
	NodeID  string `json:"node_id"`
	Name    string `json:"name"`
	Address string `json:"address"` // HOST:PORT of its master API
}

// ClusterQuorum tells how many masters may still fail.
type ClusterQuorum struct {
	Voters    int  `json:"voters"`
	Reachable int  `json:"reachable"` // voters, the leader itself included
	Needed    int  `json:"needed"`
	OK        bool `json:"ok"`
}

// Settle works out what follows from the numbers of voters.
func (q *ClusterQuorum) Settle() {
	q.Needed = q.Voters/2 + 1
	q.OK = q.Reachable >= q.Needed
}

// ClusterNode is one node as the leader sees it. What is not known is zero or null.
type ClusterNode struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	PeerAddress   string `json:"peer_address"` // HOST:PORT, as are the next two
	MasterAddress string `json:"master_address"`
	AgentAddress  string `json:"agent_address,omitempty"`
	Role          string `json:"role"`                // auto, master, agent or both
	Placement     string `json:"placement,omitempty"` // preferred after promote, barred after demote
	Domain        string `json:"domain,omitempty"`    // REGION/ZONE
	RaftState     string `json:"raft_state"`
	RaftID        uint64 `json:"raft_id,omitempty"` // of the raft member that it runs
	AgentID       string `json:"agent_id,omitempty"`
	AgentState    string `json:"agent_state"`
	Tasks         int    `json:"tasks"` // that have not ended
	Version       string `json:"version"`
	// Connected says that the node holds its stream to the leader now.
	Connected     bool      `json:"connected"`
	UptimeSeconds float64   `json:"uptime_seconds,omitempty"`
	LastContact   time.Time `json:"last_contact,omitzero"`
	// LagEntries is how far its raft log is behind the leader's; null unless it is a raft member.
	LagEntries *uint64 `json:"lag_entries"`
	// ClockSkewMS is how far its clock is ahead of the leader's.
	ClockSkewMS        *float64  `json:"clock_skew_ms"`
	CertificateExpires time.Time `json:"certificate_expires,omitzero"`
	// Time that its log's writes to disk took of late, median and 99 of 100.
	DiskFsyncP50MS *float64 `json:"disk_fsync_p50_ms"`
	DiskFsyncP99MS *float64 `json:"disk_fsync_p99_ms"`
}

// ClusterProblem is one known condition that an operator should know about.
type ClusterProblem struct {
	Code     string `json:"code"`
	Severity string `json:"severity"` // error or warning
	Text     string `json:"text"`
	Do       string `json:"do"`
}

// Severities of a ClusterProblem.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
)

// ClusterNodes is the answer of /cluster/nodes: the same nodes and marks as in ClusterStatus.
type ClusterNodes struct {
	ClusterID string        `json:"cluster_id"`
	Time      time.Time     `json:"time"`
	Stale     bool          `json:"stale"`
	Nodes     []ClusterNode `json:"nodes"`
}

// Roles of a join token.
const (
	TokenAny   = "any"   // the node may become a master
	TokenAgent = "agent" // it may not (CLU-22)
)

// Bounds of TokenRequest.TTL.
const (
	MinTokenTTL = time.Minute
	MaxTokenTTL = 366 * 24 * time.Hour
)

// TokenRequest asks for a join token (CLU-7).
type TokenRequest struct {
	Role string `json:"role"` // any (if empty) or agent
	// Rotate makes all tokens of the role worthless first, also those with a TTL.
	Rotate bool `json:"rotate"`
	// TTLSeconds is how long the token will be good for; 0 asks for the one without an end.
	TTLSeconds int64 `json:"ttl_seconds"`
}

// TTL is TTLSeconds as a duration.
func (r TokenRequest) TTL() time.Duration { return time.Duration(r.TTLSeconds) * time.Second }

// TokenAnswer is a join token with what the command line of join needs beside it.
type TokenAnswer struct {
	Token   string    `json:"token"`
	Role    string    `json:"role"`
	Expires time.Time `json:"expires,omitzero"` // zero: when it is rotated
	// Peers are HOST:PORT of nodes to join at, the best to ask first.
	Peers []string `json:"peers"`
}

// DrainRequest says how to drain a node.
type DrainRequest struct {
	// MaxGraceSeconds limits the kill grace period of each task; null leaves that to the tasks.
	MaxGraceSeconds *int64 `json:"max_grace_seconds"`
	// MarkGone marks the agent as gone when it is drained: it cannot be activated again.
	MarkGone bool `json:"mark_gone"`
}

// LeaveRequest says how this node leaves.
type LeaveRequest struct {
	// Drain ends the tasks within their grace periods and waits for it; otherwise they are killed.
	Drain           bool   `json:"drain"`
	MaxGraceSeconds *int64 `json:"max_grace_seconds"` // as in DrainRequest
}

// SettingsRequest changes settings of the whole cluster. What is null stays.
type SettingsRequest struct {
	Masters *int `json:"masters"`
}

// BackupInfo describes a backup.
type BackupInfo struct {
	ClusterID string    `json:"cluster_id"`
	Version   string    `json:"version"` // of the node that wrote it
	Index     uint64    `json:"index"`
	Time      time.Time `json:"time"`
	StateHash string    `json:"state_hash"`
}
