package raft

import (
	"encoding/binary"

	etcdraft "go.etcd.io/raft/v3"
)

// readContextBytes is the length of the context of a read: the nonce and its number. The nonce keeps
// the answer to a read from before a restart, which may be old, from answering one of now.
const readContextBytes = 16

const (
	// askAgainTicks is after how long a question that was not answered is put again.
	askAgainTicks = 3
	// readTicks is after how long a read without an answer is given up.
	readTicks = 2 * electionTicks
)

// reads are the requests for a fresh index, those made together as one.
type reads struct {
	nonce uint64
	seq   uint64
	open  []*read // the oldest first
}

type read struct {
	seq      uint64
	begun    uint64 // tick
	of       uint64 // the leader that was asked, 0 if none was yet
	asked    uint64 // tick
	answered bool
	index    uint64 // the answer
	ended    []func(index uint64, err error)
}

// readIndex asks for the index up to which all is committed that was acknowledged before.
func (c *core) readIndex(ended ...func(uint64, error)) {
	c.reads.seq++
	c.reads.open = append(c.reads.open, &read{seq: c.reads.seq, begun: c.ticks, ended: ended})
	c.ask()
}

// ask puts the questions that were not put to this leader yet, or long ago, and gives up old ones.
func (c *core) ask() {
	r := &c.reads
	for len(r.open) > 0 && c.ticks-r.open[0].begun >= readTicks {
		old := r.open[0]
		r.open = r.open[1:]
		old.end(0, &NotLeaderError{Leader: c.leader})
	}
	if c.leader == etcdraft.None || c.leader == c.id && !c.established() {
		return
	}
	for _, q := range r.open {
		if q.answered || q.of == c.leader && c.ticks-q.asked < askAgainTicks {
			continue
		}
		q.asked, q.of = c.ticks, c.leader
		if c.leader == c.id {
			c.lease.asked(c)
		}
		c.node.ReadIndex(r.context(q.seq))
	}
}

func (r *reads) context(seq uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, r.nonce), seq)
}

// answer takes an index for the reads up to the one that asked: they are as old or older.
func (r *reads) answer(context []byte, index uint64) {
	if binary.BigEndian.Uint64(context) != r.nonce {
		return
	}
	seq := binary.BigEndian.Uint64(context[8:])
	for _, q := range r.open {
		if q.seq <= seq && !q.answered {
			q.answered, q.index = true, index
		}
	}
}

// finish ends the reads whose index was applied.
func (r *reads) finish(applied uint64) {
	for len(r.open) > 0 && r.open[0].answered && r.open[0].index <= applied {
		first := r.open[0]
		r.open = r.open[1:]
		first.end(first.index, nil)
	}
}

// end ends all with an error.
func (r *reads) end(err error) {
	open := r.open
	r.open = nil
	for _, q := range open {
		q.end(0, err)
	}
}

func (q *read) end(index uint64, err error) {
	for _, ended := range q.ended {
		ended(index, err)
	}
}
