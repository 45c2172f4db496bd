package sim

import (
	"slices"
	"strings"
	"time"

	"clusterd/node/agent"
	"clusterd/node/mesos/wire"
)

// nodeDisk is the disk of a node: the agent's checkpoints and the raft log. What was written but not
// synced is forgotten in a crash, from some point on.
type nodeDisk struct {
	m       *machine
	latency time.Duration // of one sync, at most
	full    bool
	broken  int // of 1000 syncs, how many fail

	// The agent's checkpoint: what is durable, what is being written, what waits.
	kv      map[string][]byte
	writing []agent.Checkpoint
	waiting []agent.Checkpoint
	// Set by the daemon's shell.
	stored func(seq uint64)
	failed func(why string)

	// The node's identity.
	joined  bool
	raftID  uint64
	members []*wire.Member // raft members, as far as it knows
	raft    *raftDisk      // of its raft member, nil without one
}

func newNodeDisk(m *machine) *nodeDisk {
	d := &nodeDisk{m: m, kv: make(map[string][]byte)}
	d.mend()
	return d
}

// mend ends all trouble with the disk.
func (d *nodeDisk) mend() { d.latency, d.full, d.broken = 5*time.Millisecond, false, 0 }

// sync is how long the next sync takes, or why it fails. One that nobody waits for is slow: a flaw.
func (d *nodeDisk) sync(ignored bool) (time.Duration, string) {
	w := d.m.w
	switch {
	case d.full:
		return 0, "no space left on device"
	case w.chance(d.broken):
		return 0, "input/output error"
	}
	if ignored {
		return w.between(0, 3*time.Second), ""
	}
	return w.between(d.latency/10, d.latency), ""
}

// queue takes one of the agent's checkpoints.
func (d *nodeDisk) queue(c agent.Checkpoint) {
	d.waiting = append(d.waiting, c)
	d.write()
}

// write commits what waits in one transaction.
func (d *nodeDisk) write() {
	if len(d.writing) > 0 || len(d.waiting) == 0 {
		return
	}
	d.writing, d.waiting = d.waiting, nil
	took, fault := d.sync(d.m.w.flaw.earlyCheckpoint)
	p := d.m.process
	if fault != "" {
		p.after(took, func() { d.failed(fault) })
		return
	}
	early := d.m.w.flaw.earlyCheckpoint
	if early {
		d.stored(d.writing[len(d.writing)-1].Seq)
	}
	p.after(took, func() {
		last := d.writing[len(d.writing)-1].Seq
		d.commit()
		if !early {
			d.stored(last)
		}
		d.write()
	})
}

func (d *nodeDisk) commit() {
	for _, c := range d.writing {
		for _, key := range c.Delete {
			for k := range d.kv {
				if k == key || strings.HasSuffix(key, "/") && strings.HasPrefix(k, key) {
					delete(d.kv, k)
				}
			}
		}
		for k, v := range c.Put {
			d.kv[k] = slices.Clone(v)
		}
	}
	d.writing = nil
}

// crash is the end of the daemon: a transaction that was being written is there as a whole or not at all.
func (d *nodeDisk) crash() {
	if len(d.writing) > 0 && d.m.w.chance(500) {
		d.commit()
	}
	d.writing, d.waiting = nil, nil
	if d.raft != nil {
		d.raft.crash()
	}
}
