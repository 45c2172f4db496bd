package raft

import (
	"encoding/binary"
	"fmt"
	"time"
)

// leaseContextBytes is the length of the context of a round; that of a read is another.
const leaseContextBytes = 8

// lease is the time in which a leader with voters beside it may act (CLU-33). A round is one question
// to the voters whether they still follow; when a quorum has answered, no other leader can be elected
// until some time after the round was begun:
//
//   - A voter that hears from the leader does not vote for another, nor stand itself, for electionTicks
//     ticks: check-quorum of the protocol library.
//   - A voter that was started again forgot whom it heard, so it does not vote in its first silentTicks
//     ticks: see [core.admit].
//   - The one exception is an election that the leader itself called for, and a leader that has done so
//     does not act again in that term: see [handover].
//
// So no other can be elected for electionTicks ticks, less one because ticks are not aligned, less one
// that a ticker may deliver late. The lease is shorter by one more, for clocks that run at different
// speeds. It starts when the round was begun, not when it was answered.
//
// A machine that is suspended as a whole, or a paused virtual one, counts no time while the others do. For
// as long as its lease seems to run it may act beside a new leader; what it sends carries an older term, and
// nothing of it is committed.
//
// Members are changed one at a time, and a change counts for a member when it applied the entry.
// Quorums of neighbouring configurations have a voter in common, so that is enough as long as whoever
// could be elected uses the leader's configuration or a neighbour of it. It does:
//
//   - A leader appends a change only when it applied the one before, so whoever has change k+1 in its
//     log knows that change k is committed, also after a restart, because both are written at once.
//     A member that knows of a committed change and has not applied it does not stand. So a candidate's
//     configuration is at most one change behind its log.
//   - A candidate with configuration k that lacks change k+2 cannot win if k+2 is committed: a quorum of
//     k+1, which shares a voter with each quorum of k, has it. If k+2 is not committed, the leader
//     is at k+1 at most.
//   - When changes k+1 and k+2 are both committed within one lease that was counted in k, then a quorum
//     of k+1 has acknowledged entries sent after the round was begun: those voters heard the leader
//     within the lease too, and each quorum of k+2 has one of them.
//
// Joint consensus would allow changes of several members at once; nobody here needs that, and it would
// need two quorums for each lease.
type lease struct {
	time   time.Duration
	until  time.Time // zero if there is none
	rounds []round   // not answered yet, the oldest first
	seq    uint64    // of the newest round
	asks   uint64    // questions given to the library since the leader was elected, reads included
}

// round is one question to the voters whether they still follow.
type round struct {
	seq   uint64
	begun time.Time
}

func (l *lease) holds(now time.Time) bool { return now.Before(l.until) }

// end is called when the member does not lead, or leads in a new term.
func (l *lease) end() { l.until, l.rounds, l.asks = time.Time{}, nil, 0 }

// renew asks the voters for a longer lease. The library's question for a safe read is a heartbeat with
// an answer that can be told apart.
func (c *core) renew(now time.Time) {
	if !c.established() {
		return
	}
	l := &c.lease
	if c.alone() {
		// The quorum is this member, which elects nobody else while it leads. The lease matters only
		// when another voter is added.
		l.until, l.rounds = now.Add(l.time), nil
		return
	}
	l.seq++
	l.rounds = append(l.rounds, round{l.seq, now})
	l.asked(c)
	c.node.ReadIndex(binary.BigEndian.AppendUint64(nil, l.seq))
}

// begin is the first round of a new leader.
func (l *lease) begin(c *core, now time.Time) {
	if l.until.IsZero() && len(l.rounds) == 0 {
		c.renew(now)
	}
}

// extend takes a quorum's answer to a round, and to all before it.
func (l *lease) extend(seq uint64) {
	for len(l.rounds) > 0 && l.rounds[0].seq <= seq {
		l.until = l.rounds[0].begun.Add(l.time)
		l.rounds = l.rounds[1:]
	}
}

// asked counts a question that is about to be given to the library, which numbers those that it cannot
// answer by itself.
func (l *lease) asked(c *core) {
	if !c.alone() {
		l.asks++
	}
}

// admit checks the number that a voter gives back: the library trusts it.
func (l *lease) admit(context []byte) error {
	if len(context) == 0 {
		return nil
	}
	if len(context) != 8 || binary.LittleEndian.Uint64(context) > l.asks {
		return fmt.Errorf("%w: answer to a question that was not asked: %x", errStrangeMessage, context)
	}
	return nil
}
