package raft

import (
	"slices"
	"time"
)

// Status is the peer as metrics and the dashboard show it (CLU-39).
type Status struct {
	ID       uint64
	Leader   uint64 // 0 if none is known
	Leading  bool   // see [Leadership]
	Term     uint64
	Commit   uint64 // index of the last entry known to be committed
	Applied  uint64 // index of the last entry applied
	First    uint64 // index of the first entry in the log
	Last     uint64 // index of the last entry in the log
	Snapshot uint64 // index of the newest snapshot, 0 if there is none
	LogBytes int64  // size of log.db

	SnapshotUnderWay  bool   // one is being written
	SnapshotsReceived uint64 // from a leader, by this process
	Proposals         uint64 // and changes of members, appended by this process
	Waiting           int    // proposals under way
	LeaderChanges     uint64 // seen by this process

	CommitLatency Latency // from Propose to applied
	FsyncLatency  Latency // of one write to the log

	Voters, Learners []uint64 // members, in the order of their ids
	ChangePending    bool     // this leader has a change of members under way
	HandingOver      bool     // this leader told another to take over, and does not act any more
	Removed          bool     // this peer was removed from the group
	// Peers are the other members, in the order of their ids.
	Peers []PeerStatus
}

// PeerStatus is another member as this peer sees it.
type PeerStatus struct {
	ID             uint64
	Voter, Learner bool
	LastHeard      time.Time // when its last message came; zero if none came to this process

	// On the leader only:
	Match            uint64 // index up to which its log equals the leader's
	Lag              uint64 // entries that it misses
	Active           bool   // answered within the last election time-out
	CaughtUp         bool   // could be promoted
	SnapshotUnderWay bool   // it needs a snapshot, which is being sent
}

// Latency describes durations: their number and sum since the peer was opened, the rest over the
// newest 1024.
type Latency struct {
	Count                           uint64
	Sum                             time.Duration
	Min, Max                        time.Duration
	P50, P90, P95, P99, P999, P9999 time.Duration
}

// latencyWindow is how many durations a percentile is taken of.
const latencyWindow = 1024

// latencies collects durations.
type latencies struct {
	count  uint64
	sum    time.Duration
	newest [latencyWindow]time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.newest[l.count%latencyWindow] = d
	l.count++
	l.sum += d
}

func (l *latencies) latency() Latency {
	out := Latency{Count: l.count, Sum: l.sum}
	n := int(min(l.count, latencyWindow))
	if n == 0 {
		return out
	}
	ds := slices.Sorted(slices.Values(l.newest[:n]))
	// The smallest duration that at least this share of all are not above.
	at := func(perMyriad int) time.Duration { return ds[(n*perMyriad+9999)/10000-1] }
	out.Min, out.Max = ds[0], ds[n-1]
	out.P50, out.P90, out.P95 = at(5000), at(9000), at(9500)
	out.P99, out.P999, out.P9999 = at(9900), at(9990), at(9999)
	return out
}
