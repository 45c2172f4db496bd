package raft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// Peer is a running member: one loop that owns a [Member] on the disk of this machine. Its methods may
// be called from any goroutine.
type Peer struct {
	cfg  Config
	log  *slog.Logger
	disk *log

	// Owned by the loop.
	member    *Member
	working   int // pieces of work aside
	answers   []func()
	confs     uint64 // changes of members that were published
	announced Leadership
	seen      Status // as of the last announcement

	proposals  chan Proposal
	reads      chan func(index uint64, err error)
	messages   chan *raftpb.Message
	calls      chan func(*Member) error // an error stops the peer
	worked     chan func()
	leadership chan Leadership
	removed    chan struct{} // closed when this peer learned that it was removed
	stop       chan struct{} // closed by Close
	stopOnce   sync.Once
	done       chan struct{} // closed when all is over
	err        error         // of the end, valid after done
	closeErr   error

	mu     sync.Mutex // guards what follows
	status Status
	lease  time.Time // zero if the leader needs none
	commit latencies
	fsync  latencies
}

// Open starts a member with the log in its directory. If there is none, it is a member of a new group,
// or with Config.Join one that waits for the leader of an existing group to add it. The machine must be
// new. When Open returns, the machine stands where the log on disk is known to be committed; who leads
// comes on [Peer.Leadership].
//
// A file that cannot be used is a [*DiskError]; a directory whose state was found to differ from that of
// the group is a [*DivergedError].
func Open(cfg Config, machine StateMachine) (*Peer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	log, err := openLog(cfg)
	if err != nil {
		return nil, fmt.Errorf("open raft peer: %w", err)
	}
	p, err := start(cfg, machine, log, log)
	if err != nil {
		return nil, fmt.Errorf("open raft peer: %w", errors.Join(err, log.close()))
	}
	return p, nil
}

// start restores the machine and starts the loop on a log.
func start(cfg Config, machine StateMachine, l *log, s Storage) (*Peer, error) {
	p := &Peer{
		cfg: cfg, log: cfg.Logger, disk: l,
		proposals: make(chan Proposal, maxBatch), messages: make(chan *raftpb.Message, maxBatch),
		reads: make(chan func(uint64, error)), calls: make(chan func(*Member) error),
		worked: make(chan func()), leadership: make(chan Leadership, 1), removed: make(chan struct{}),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	l.wrote = func(took time.Duration) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.fsync.add(took)
	}
	var err error
	p.member, err = NewMember(MemberConfig{
		ID: cfg.ID, TickInterval: cfg.TickInterval, Storage: s, Machine: machine,
		Send: p.send, Aside: p.aside, Nonce: rand.Uint64(), Logger: cfg.Logger,
		SnapshotEntries: cfg.SnapshotEntries, KeepEntries: cfg.KeepEntries, SnapshotBytes: cfg.logBytes,
	})
	if err != nil {
		return nil, err
	}
	p.announce()
	p.publish()
	p.publishMembers()
	p.log.Info("raft log opened", "peer", cfg.ID, "term", p.seen.Term, "index", p.seen.Applied, "snapshot", p.seen.Snapshot)
	go p.run()
	return p, nil
}

// Propose appends data to the log and waits until the entry is on disk on a quorum and applied. It
// returns the entry's index and what the state machine returned for it. The package comment says
// which errors leave the outcome open. A context that ends does not take the proposal back.
func (p *Peer) Propose(ctx context.Context, data []byte) (index uint64, result any, err error) {
	type outcome struct {
		index  uint64
		result any
		err    error
	}
	ended := make(chan outcome, 1)
	err = p.Submit(ctx, data, func(index uint64, result any, err error) { ended <- outcome{index, result, err} })
	if err != nil {
		return 0, nil, err
	}
	select {
	case o := <-ended:
		return o.index, o.result, o.err
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
}

// Submit is [Peer.Propose] without waiting for the outcome: a caller that submits one proposal after
// the other has them appended in this order, many with one write. It waits while the peer has too
// many already; an error means that the proposal was not taken. Otherwise ended is called, once,
// mostly by the loop of the peer: it must not block, nor call the peer. The outcomes of applied
// proposals come in the order of the log.
func (p *Peer) Submit(ctx context.Context, data []byte, ended func(index uint64, result any, err error)) error {
	if len(data) > maxProposalBytes {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(data), maxProposalBytes)
	}
	begun := time.Now()
	proposal := Proposal{Data: data, Ended: func(index uint64, result any, err error) {
		if err == nil {
			p.mu.Lock()
			p.commit.add(time.Since(begun))
			p.mu.Unlock()
		}
		ended(index, result, err)
	}}
	// A free place in the queue must not hide what is over already.
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.endError()
	default:
	}
	select {
	case p.proposals <- proposal:
	case <-ctx.Done():
		return ctx.Err()
	case <-p.done:
		return p.endError()
	}
	select {
	case <-p.done:
		p.drain() // the end may have come before the proposal: nobody else would answer it
	default:
	}
	return nil
}

// drain answers what came too late for the loop. It is called after done is closed, by the loop and
// by all who may have proposed since.
func (p *Peer) drain() {
	for {
		select {
		case proposal := <-p.proposals:
			proposal.Ended(0, nil, p.endError())
		default:
			return
		}
	}
}

// Leadership gives each change of leadership, for one reader. Only the newest is kept: two values
// with Leader set and different terms mean that the peer did not lead in between. It is closed when
// the peer ends.
func (p *Peer) Leadership() <-chan Leadership { return p.leadership }

// Leading says whether this peer leads at this moment: it was announced, and its lease has not run
// out since, which a process that was stopped for a while learns here first (CLU-33).
func (p *Peer) Leading() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status.Leading && (p.lease.IsZero() || time.Now().Before(p.lease))
}

// Status returns the figures of the last turn of the loop.
func (p *Peer) Status() Status {
	p.mu.Lock()
	s, commit, fsync := p.status, p.commit, p.fsync
	p.mu.Unlock()
	s.CommitLatency, s.FsyncLatency = commit.latency(), fsync.latency()
	return s
}

// Done is closed when the peer has ended, by [Peer.Close] or by an error.
func (p *Peer) Done() <-chan struct{} { return p.done }

// Err returns the error that ended the peer; nil while it runs and after Close.
func (p *Peer) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Close ends the peer and waits for it. Proposals under way get [ErrClosed]. It may be called more
// than once.
func (p *Peer) Close() error {
	p.stopOnce.Do(func() { close(p.stop) })
	<-p.done
	return p.closeErr
}

// OpenSnapshot opens a snapshot of this peer to be sent. It reads the whole file once to check it:
// what is damaged on disk is a [*DiskError], with which the peer stops. A snapshot that is gone, because
// a newer one took its place, is an [ErrNoSnapshot]: then the MsgSnap that named it is to be reported as
// not delivered, and the protocol sends another. To be called by the transport, not in its Send.
func (p *Peer) OpenSnapshot(index, term uint64) (*SnapshotReader, error) {
	r, err := p.disk.files.open(index, term)
	if err != nil && !errors.Is(err, ErrNoSnapshot) {
		p.report(func(*Member) error { return err })
	}
	return r, err
}

// ReceiveSnapshot begins to receive a snapshot file from another peer, or goes on with it where an
// earlier writer of the same file was closed, also by another process. One writer at a time.
func (p *Peer) ReceiveSnapshot(file SnapshotFile) (*SnapshotWriter, error) {
	return p.disk.files.receive(file)
}

// Receive takes a message from another peer. It waits while the peer has too many already. A MsgSnap is
// refused with [ErrNoSnapshot] unless its file was received before: see [Peer.ReceiveSnapshot].
func (p *Peer) Receive(ctx context.Context, m *raftpb.Message) error {
	if m.GetType() == raftpb.MsgSnap {
		if err := p.disk.files.arrived(m.GetSnapshot().GetMetadata()); err != nil {
			return err
		}
	}
	select {
	case p.messages <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.done:
		return p.endError()
	}
}

// ReportUnreachable says that a message to a peer could not be delivered.
func (p *Peer) ReportUnreachable(id uint64) {
	p.report(func(m *Member) error {
		m.ReportUnreachable(id)
		return nil
	})
}

// ReportSnapshot says whether the snapshot of a MsgSnap reached a peer. Each must be reported.
func (p *Peer) ReportSnapshot(id uint64, delivered bool) {
	p.report(func(m *Member) error {
		m.ReportSnapshot(id, delivered)
		return nil
	})
}

// report has the loop call a function, unless the peer has ended.
func (p *Peer) report(fn func(*Member) error) {
	select {
	case p.calls <- fn:
	case <-p.done:
	}
}

// Change changes the members of the group, on the leader: the error is a [*NotLeaderError] elsewhere.
// When it returns without an error the change is committed and applied here, or things were as wanted
// before. One change at a time: [ErrChangePending]. A learner is promoted only when it answers and had
// everything that was committed an election time-out ago: [ErrNotCaughtUp]. The leader itself is neither
// demoted nor removed: [ErrLeaderStays]. No change leaves a group in which too few voters answer:
// [ErrNoQuorum]. After any other error, or the end of the context, the outcome is open: it may be tried
// again, a change that was made already ends well.
func (p *Peer) Change(ctx context.Context, change MemberChange) error {
	return p.await(ctx, func(m *Member, ended func(error)) { m.Change(change, ended) })
}

// Transfer hands the leadership to a voter, or if to is 0 to the one of those that answer whose log
// reaches farthest. It returns when another peer leads, mostly that one, or with an error: [ErrNotTaken],
// [ErrNoMember], [ErrNotCaughtUp], [ErrChangePending], [ErrNotLeader]. From the call on, proposals are refused; those under
// way are waited for, for half an election time-out at most.
func (p *Peer) Transfer(ctx context.Context, to uint64) error {
	return p.await(ctx, func(m *Member, ended func(error)) { m.Transfer(to, ended) })
}

// await has the loop begin something and waits for its end.
func (p *Peer) await(ctx context.Context, begin func(m *Member, ended func(error))) error {
	outcome := make(chan error, 1)
	call := func(m *Member) error {
		begin(m, func(err error) { p.answers = append(p.answers, func() { outcome <- err }) })
		return nil
	}
	select {
	case p.calls <- call:
	case <-ctx.Done():
		return ctx.Err()
	case <-p.done:
		return p.endError()
	}
	select {
	case err := <-outcome:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ReadIndex returns when this peer, leader or not, has applied all that was acknowledged to anybody
// before the call: what is read from the state machine then is fresh. It returns the index. Without an
// answer from a leader within two election time-outs the error is an [ErrNotLeader].
func (p *Peer) ReadIndex(ctx context.Context) (uint64, error) {
	type outcome struct {
		index uint64
		err   error
	}
	ended := make(chan outcome, 1)
	select {
	case p.reads <- func(index uint64, err error) { ended <- outcome{index, err} }:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-p.done:
		return 0, p.endError()
	}
	select {
	case o := <-ended:
		return o.index, o.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Removed is closed when this peer learns that it was removed from its group. It stays open if it is
// told in no other way: the others need not talk to it any more. It then does no harm, but is of no use.
func (p *Peer) Removed() <-chan struct{} { return p.removed }

// endError is the answer of a peer that has ended.
func (p *Peer) endError() error {
	if p.err != nil {
		return fmt.Errorf("raft peer stopped: %w", p.err)
	}
	return ErrClosed
}
