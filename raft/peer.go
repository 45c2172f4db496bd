package raft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	etcdraft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// Peer is a running member. Its methods may be called from any goroutine.
type Peer struct {
	cfg     Config
	log     *slog.Logger
	machine StateMachine

	// Owned by the loop.
	core       *core
	storage    Storage
	disk       *log
	writing    chan error // outcome of the snapshot being written, nil if none is
	written    *raftpb.SnapshotMetadata
	keep       uint64 // entries before it that stay in the log
	announced  Leadership
	seenLeader uint64
	changes    uint64 // of the leader
	ticks      uint64
	heard      map[uint64]uint64 // tick at which another member was last known to answer

	snapshot uint64 // newest in the log
	grown    uint64 // bytes applied since it was begun

	proposals  chan *proposal
	messages   chan *raftpb.Message
	reports    chan func() error
	leadership chan Leadership
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

// Open starts a member with the log in its directory, or as a member of a new group if there is
// none. The machine must be new. When Open returns, the machine stands where the log on disk is
// known to be committed; who leads comes on [Peer.Leadership].
//
// A file that cannot be used is a [*DiskError].
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
		cfg: cfg, log: cfg.Logger, machine: machine, storage: s, disk: l,
		snapshot:  l.state.snapIndex,
		proposals: make(chan *proposal, maxBatch), messages: make(chan *raftpb.Message, maxBatch),
		reports:    make(chan func() error),
		heard:      make(map[uint64]uint64),
		leadership: make(chan Leadership, 1),
		stop:       make(chan struct{}), done: make(chan struct{}),
	}
	l.wrote = func(took time.Duration) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.fsync.add(took)
	}
	at := &raftpb.SnapshotMetadata{}
	snap, err := s.Snapshot()
	if err == nil {
		at = snap.GetMetadata()
		err = s.ReadSnapshot(at.GetIndex(), at.GetTerm(), machine.Restore)
	}
	if err != nil && !errors.Is(err, etcdraft.ErrSnapshotTemporarilyUnavailable) {
		return nil, err
	}
	err = p.protect(func() (err error) {
		p.core, err = newCore(coreConfig{
			id: cfg.ID, tick: cfg.TickInterval, storage: s, applied: at, pile: maxUncommittedBytes,
			logger: protocolLogger{cfg.Logger},
		})
		if err != nil {
			return err
		}
		if err := p.settle(); err != nil {
			return err
		}
		return p.core.campaign()
	})
	if err != nil {
		return nil, err
	}
	p.observePeers()
	p.log.Info("raft log opened", "peer", cfg.ID, "term", p.core.term, "index", p.core.applied, "snapshot", p.snapshot)
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
	proposal := &proposal{data: data, deliver: func(index uint64, result any, err error) {
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
			proposal.deliver(0, nil, p.endError())
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
		p.report(func() error { return err })
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
	p.report(func() error {
		p.core.node.ReportUnreachable(id)
		return nil
	})
}

// ReportSnapshot says whether a snapshot (MsgSnap) reached a peer.
func (p *Peer) ReportSnapshot(id uint64, delivered bool) {
	status := etcdraft.SnapshotFailure
	if delivered {
		status = etcdraft.SnapshotFinish
	}
	p.report(func() error {
		p.core.node.ReportSnapshot(id, status)
		return nil
	})
}

// report has the loop call a function, whose error stops the peer.
func (p *Peer) report(fn func() error) {
	select {
	case p.reports <- fn:
	case <-p.done:
	}
}

// endError is the answer of a peer that has ended.
func (p *Peer) endError() error {
	if p.err != nil {
		return fmt.Errorf("raft peer stopped: %w", p.err)
	}
	return ErrClosed
}
