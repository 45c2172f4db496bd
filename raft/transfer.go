package raft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

const (
	// maxTransferTries is how often a snapshot is tried again without one byte more at the other side.
	maxTransferTries = 5
	// transferSilence is how long either side of a transfer waits for the other, whose disk may be slow.
	transferSilence = 10 * time.Second
	// takeOverTime and takeOverBytes bound how long the other side may take to check a snapshot, make
	// it durable and hand it on: this long, and a second more for so many bytes.
	takeOverTime  = time.Minute
	takeOverBytes = 8 << 20

	offerBytes     = 8 + 8 + 8 + 4
	offsetBytes    = 8
	maxOutcomeText = 1024
)

// transfer is one snapshot on its way to another member.
type transfer struct {
	ctx     context.Context
	cancel  context.CancelFunc
	message *raftpb.Message // the newest that announces this snapshot; guarded by the remote's lock
}

// announces says whether a message is about the same snapshot.
func (t *transfer) announces(m *raftpb.Message) bool {
	a, b := t.message.GetSnapshot().GetMetadata(), m.GetSnapshot().GetMetadata()
	return a.GetIndex() == b.GetIndex() && a.GetTerm() == b.GetTerm()
}

// transfer begins to send the snapshot that a message announces. One to the same member that is under
// way is given up, unless it is the same.
func (r *remote) transfer(m *raftpb.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sending != nil {
		if r.sending.announces(m) {
			r.sending.message = m
			return
		}
		r.sending.cancel()
	}
	t := &transfer{message: m}
	t.ctx, t.cancel = context.WithCancel(r.ctx)
	r.sending = t
	select {
	case r.offered <- struct{}{}:
	default:
	}
}

// underWay returns the snapshot to send, nil if there is none.
func (r *remote) underWay() *transfer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sending
}

// sendSnapshots is the goroutine that sends snapshots to the member.
func (r *remote) sendSnapshots() {
	for {
		select {
		case <-r.offered:
		case <-r.ctx.Done():
			return
		}
		for t := r.underWay(); t != nil; t = r.underWay() {
			err := r.deliver(t)
			if err != nil && t.ctx.Err() == nil {
				r.net.log.Warn("raft snapshot not delivered", "peer", r.net.cfg.ID, "to", r.id, "err", err)
				pauseFor(t.ctx, maxBackoff) // the protocol tries again as soon as it is told
			}
			r.mu.Lock()
			newest := r.sending == t
			if newest {
				r.sending = nil
			}
			r.mu.Unlock()
			t.cancel()
			if newest {
				r.net.reports.snapshot(r.id, err == nil)
			}
		}
	}
}

// pauseFor waits for some time, or until the context ends.
func pauseFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// errRejected is a snapshot that the other side did not take over: to go on at the same place is of
// no use.
var errRejected = errors.New("snapshot rejected")

// deliver brings a snapshot to the member, over several connections if need be.
func (r *remote) deliver(t *transfer) error {
	select {
	case <-r.net.attached:
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
	r.mu.Lock()
	meta := t.message.GetSnapshot().GetMetadata()
	r.mu.Unlock()
	source, err := r.net.receiver.OpenSnapshot(meta.GetIndex(), meta.GetTerm())
	if err != nil {
		return err
	}
	defer source.Close() // only read
	begun, reached, connections := time.Now(), int64(-1), 0
	for tries, pause := 0, minBackoff; ; {
		connections++
		offset, err := r.deliverOver(t, source)
		switch {
		case err == nil:
			r.net.log.Info("raft snapshot delivered", "peer", r.net.cfg.ID, "to", r.id, "index", meta.GetIndex(), "term", meta.GetTerm(),
				"bytes", source.File().Size, "connections", connections, "took", time.Since(begun))
			return nil
		case errors.Is(err, errRejected) || t.ctx.Err() != nil:
			return err
		case offset > reached:
			tries, pause, reached = 0, minBackoff, offset
		}
		if tries++; tries > maxTransferTries {
			return fmt.Errorf("send snapshot at index %d, %d times without progress at byte %d: %w", meta.GetIndex(), tries, max(reached, 0), err)
		}
		r.net.log.Debug("raft snapshot interrupted", "peer", r.net.cfg.ID, "to", r.id, "index", meta.GetIndex(), "offset", offset, "err", err)
		pauseFor(t.ctx, pause)
		pause = min(2*pause, maxBackoff)
	}
}

// deliverOver makes one connection and sends over it what the other side does not have. It returns
// where it began, -1 if it did not.
func (r *remote) deliverOver(t *transfer, source *SnapshotReader) (offset int64, err error) {
	conn, err := r.net.connect(t.ctx, r.id, forSnapshot)
	if err != nil {
		return -1, err
	}
	ctx, cancel := context.WithCancelCause(t.ctx)
	defer cancel(nil)
	defer conn.Close() // nothing is left to be said
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	frames := newFrameReader(conn)
	offset, err = offer(conn, frames, source.File())
	if err != nil {
		return -1, err
	}
	r.alive(time.Now())
	if _, err := source.Seek(offset, io.SeekStart); err != nil {
		return offset, fmt.Errorf("%w: %w", errRejected, err)
	}
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		cancel(r.awaitOutcome(conn, frames))
	}()
	if err := r.stream(ctx, t, conn, source); err != nil {
		cancel(err) // unless the other side said first why it ended the connection
	} else {
		limit := takeOverTime + time.Duration(source.File().Size/takeOverBytes)*time.Second
		pauseFor(ctx, limit)
		cancel(fmt.Errorf("snapshot was not taken over within %v", limit))
	}
	<-listening
	if cause := context.Cause(ctx); !errors.Is(cause, errTakenOver) {
		return offset, cause
	}
	return offset, nil
}

// offer says what is to be sent and learns where to begin.
func offer(conn net.Conn, frames *frameReader, file SnapshotFile) (offset int64, err error) {
	if err := conn.SetDeadline(time.Now().Add(transferSilence)); err != nil {
		return 0, err
	}
	if _, err := conn.Write(append(appendHeader(nil, frameOffer, offerBytes), encodeOffer(file)...)); err != nil {
		return 0, fmt.Errorf("offer snapshot: %w", err)
	}
	kind, payload, err := frames.next()
	for err == nil && kind == frameBusy { // until the deadline
		kind, payload, err = frames.next()
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("offer snapshot: %w", err)
	case kind == frameOutcome:
		return 0, outcome(payload)
	case kind != frameOffset || len(payload) != offsetBytes:
		return 0, fmt.Errorf("%w: frame of kind %d and %d bytes in place of the offset in a snapshot", errProtocol, kind, len(payload))
	}
	offset = int64(binary.BigEndian.Uint64(payload))
	if offset < 0 || offset > file.Size {
		return 0, fmt.Errorf("%w: offset %d in a snapshot of %d bytes", errProtocol, offset, file.Size)
	}
	return offset, nil
}

// stream sends the rest of a snapshot and the message that announces it.
func (r *remote) stream(ctx context.Context, t *transfer, conn net.Conn, source io.Reader) error {
	buf := make([]byte, frameHeaderBytes+pieceBytes)
	write := func(data []byte) error {
		if err := conn.SetWriteDeadline(time.Now().Add(transferSilence)); err != nil {
			return err
		}
		if _, err := conn.Write(data); err != nil {
			return fmt.Errorf("send snapshot: %w", err)
		}
		return nil
	}
	for ctx.Err() == nil {
		n, err := source.Read(buf[frameHeaderBytes:])
		if n > 0 {
			appendHeader(buf[:0], frameData, n)
			if err := write(buf[:frameHeaderBytes+n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: read it: %w", errRejected, err)
		}
	}
	r.mu.Lock()
	message := t.message
	r.mu.Unlock()
	out, err := appendMessage(nil, message)
	if err != nil {
		return err
	}
	return write(out)
}

// errTakenOver is the good end of a transfer.
var errTakenOver = errors.New("snapshot was taken over")

// awaitOutcome reads what the receiving side says until it has said how the transfer ended.
func (r *remote) awaitOutcome(conn net.Conn, frames *frameReader) error {
	for {
		if err := conn.SetReadDeadline(time.Now().Add(transferSilence)); err != nil {
			return err
		}
		kind, payload, err := frames.next()
		switch {
		case err != nil:
			return fmt.Errorf("await outcome of snapshot: %w", err)
		case kind == frameOutcome:
			return outcome(payload)
		case kind != frameBusy || len(payload) > 0:
			return fmt.Errorf("%w: frame of kind %d in place of the outcome of a snapshot", errProtocol, kind)
		}
		r.alive(time.Now())
	}
}

// outcome is the end of a transfer as the sending side sees it.
func outcome(text []byte) error {
	if len(text) == 0 {
		return errTakenOver
	}
	return fmt.Errorf("%w: the receiving peer says: %q", errRejected, text[:min(len(text), maxOutcomeText)])
}

func encodeOffer(f SnapshotFile) []byte {
	out := binary.BigEndian.AppendUint64(make([]byte, 0, offerBytes), f.Index)
	out = binary.BigEndian.AppendUint64(out, f.Term)
	out = binary.BigEndian.AppendUint64(out, uint64(f.Size))
	return binary.BigEndian.AppendUint32(out, f.CRC)
}

func decodeOffer(payload []byte) (SnapshotFile, error) {
	if len(payload) != offerBytes {
		return SnapshotFile{}, fmt.Errorf("%w: offer of %d bytes, not %d", errProtocol, len(payload), offerBytes)
	}
	f := SnapshotFile{
		Index: binary.BigEndian.Uint64(payload), Term: binary.BigEndian.Uint64(payload[8:]),
		Size: int64(binary.BigEndian.Uint64(payload[16:])), CRC: binary.BigEndian.Uint32(payload[24:]),
	}
	if f.Index == 0 || f.Term == 0 || f.Size <= 0 {
		return SnapshotFile{}, fmt.Errorf("%w: offer of snapshot at index %d, term %d of %d bytes", errProtocol, f.Index, f.Term, f.Size)
	}
	return f, nil
}

// receiveSnapshot takes one snapshot over a connection, and tells the sending side how that ended.
func (n *Network) receiveSnapshot(ctx context.Context, r *remote, conn net.Conn) error {
	in := &incoming{net: n, remote: r, conn: conn, frames: newFrameReader(conn), ended: make(chan struct{})}
	var living sync.WaitGroup
	living.Go(in.showLife)
	err := in.receive(ctx)
	close(in.ended)
	living.Wait()
	text := ""
	if err != nil {
		text = err.Error()
		text = text[:min(len(text), maxOutcomeText)]
		if ctx.Err() == nil && in.begun && !in.interrupted {
			n.log.Warn("raft snapshot not received", "peer", n.cfg.ID, "from", r.id, "err", err)
		}
	}
	if !in.interrupted {
		// The sending side learns it from the end of the connection otherwise.
		err = errors.Join(err, in.say(frameOutcome, []byte(text)))
	}
	return err
}

// incoming is a snapshot that another member sends.
type incoming struct {
	net         *Network
	remote      *remote
	conn        net.Conn
	frames      *frameReader
	begun       bool          // a file is being written
	interrupted bool          // the connection broke: what was received stays for the next one
	ended       chan struct{} // closed when nothing more is to be done but to say so

	mu sync.Mutex // guards writing to conn
}

// say writes one frame.
func (in *incoming) say(kind frameKind, payload []byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := in.conn.SetWriteDeadline(time.Now().Add(transferSilence)); err != nil {
		return err
	}
	_, err := in.conn.Write(append(appendHeader(nil, kind, len(payload)), payload...))
	return err
}

// showLife tells the sending side that this one is there, whatever it is waiting for.
func (in *incoming) showLife() {
	ticker := time.NewTicker(transferSilence / 4)
	defer ticker.Stop()
	for {
		select {
		case <-in.ended:
			return
		case <-ticker.C:
			if in.say(frameBusy, nil) != nil {
				return // who reads notices it too
			}
		}
	}
}

// next reads one frame.
func (in *incoming) next() (frameKind, []byte, error) {
	err := in.conn.SetReadDeadline(time.Now().Add(transferSilence))
	var (
		kind    frameKind
		payload []byte
	)
	if err == nil {
		kind, payload, err = in.frames.next()
	}
	if err != nil {
		in.interrupted = !errors.Is(err, errProtocol)
		return 0, nil, fmt.Errorf("read snapshot: %w", err)
	}
	in.remote.alive(time.Now())
	return kind, payload, nil
}

// receive takes the snapshot into its file and hands on the message that announces it.
func (in *incoming) receive(ctx context.Context) error {
	kind, payload, err := in.next()
	if err != nil {
		return err
	}
	if kind != frameOffer {
		return fmt.Errorf("%w: frame of kind %d in place of the offer of a snapshot", errProtocol, kind)
	}
	file, err := decodeOffer(payload)
	if err != nil {
		return err
	}
	w, err := in.net.receiver.ReceiveSnapshot(file)
	if err != nil {
		return err
	}
	in.begun = true
	m, err := in.body(w, file)
	if err != nil {
		return errors.Join(err, w.Close())
	}
	if err := w.Commit(); err != nil {
		return err
	}
	return in.net.receiver.Receive(ctx, m)
}

// body takes the bytes of the file and the message behind them.
func (in *incoming) body(w *SnapshotWriter, file SnapshotFile) (*raftpb.Message, error) {
	if err := in.say(frameOffset, binary.BigEndian.AppendUint64(nil, uint64(w.Offset()))); err != nil {
		in.interrupted = true
		return nil, err
	}
	for {
		kind, payload, err := in.next()
		switch {
		case err != nil:
			return nil, err
		case kind == frameMessage:
			if w.Offset() != file.Size {
				return nil, fmt.Errorf("%w: snapshot ends at byte %d of %d", errProtocol, w.Offset(), file.Size)
			}
			return in.announcement(payload, file)
		case kind != frameData || len(payload) == 0:
			return nil, fmt.Errorf("%w: frame of kind %d and %d bytes in a snapshot", errProtocol, kind, len(payload))
		}
		if _, err := w.Write(payload); err != nil {
			return nil, err
		}
	}
}

// announcement takes the message apart that ends a transfer.
func (in *incoming) announcement(payload []byte, file SnapshotFile) (*raftpb.Message, error) {
	m, err := decodeMessage(payload, in.remote.id, in.net.cfg.ID)
	if err != nil {
		return nil, err
	}
	meta := m.GetSnapshot().GetMetadata()
	if m.GetType() != raftpb.MsgSnap || meta.GetIndex() != file.Index || meta.GetTerm() != file.Term || len(m.GetSnapshot().GetData()) > 0 {
		return nil, fmt.Errorf("%w: %v of index %d and term %d with %d bytes announces the snapshot at index %d of term %d",
			errProtocol, m.GetType(), meta.GetIndex(), meta.GetTerm(), len(m.GetSnapshot().GetData()), file.Index, file.Term)
	}
	return m, nil
}
