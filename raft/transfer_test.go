package raft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// makeSnapshot writes a snapshot of random state into the directory of an inbox, and returns the
// message that announces it to a member and the bytes of the file.
func makeSnapshot(t testing.TB, b *inbox, index uint64, size int) (*raftpb.Message, []byte) {
	t.Helper()
	meta := &raftpb.SnapshotMetadata{Index: new(index), Term: new(uint64(3)), ConfState: &raftpb.ConfState{Voters: []uint64{1, 2}}}
	state := make([]byte, size)
	random := rand.NewChaCha8([32]byte{byte(index)})
	if _, err := random.Read(state); err != nil {
		t.Fatal(err)
	}
	body := func(w io.Writer) error { _, err := w.Write(state); return err }
	if err := writeSnapshot(b.dir, meta, body, true, nil); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(snapshotPath(b.dir, index, 3))
	if err != nil {
		t.Fatal(err)
	}
	return &raftpb.Message{
		Type: raftpb.MsgSnap.Enum(), From: new(uint64(1)), To: new(uint64(2)), Term: new(uint64(4)),
		Snapshot: &raftpb.Snapshot{Metadata: meta},
	}, data
}

// received is the file of a snapshot that an inbox took over, nil if it did not.
func received(t *testing.T, b *inbox, index uint64) []byte {
	t.Helper()
	data, err := os.ReadFile(receivedPath(b.dir, index, 3))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return data
}

// A snapshot arrives as it was, and only then the message that announces it; messages go on meanwhile.
// CLU-30
func TestSnapshotIsTransferred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 1, 2)
		defer w.close()
		m, data := makeSnapshot(t, w.boxes[1], 100, 3*pieceBytes+17)
		w.nets[1].Send([]*raftpb.Message{heartbeat(1, 2), m, heartbeat(1, 2)})
		synctest.Wait()
		got := w.boxes[2].got()
		at := slices.IndexFunc(got, func(other *raftpb.Message) bool { return proto.Equal(other, m) })
		if len(got) != 3 || at < 0 {
			t.Fatalf("got %v", got)
		}
		if !bytes.Equal(received(t, w.boxes[2], 100), data) {
			t.Error("the snapshot is not what was sent")
		}
		if out := w.boxes[1].outcomes(); len(out) != 1 || !out[0] {
			t.Errorf("outcomes %v", out)
		}
	})
}

// countedConn counts what is written, and breaks after some bytes or damages one.
type countedConn struct {
	net.Conn
	sent    *atomic.Int64
	breakAt int64 // of this connection; 0: never
	flipAt  int64 // of this connection; 0: never
	own     int64
	gate    <-chan struct{} // each write waits for a value; nil: none does
}

func (c *countedConn) Write(p []byte) (int, error) {
	if c.gate != nil && len(p) > helloBytes {
		<-c.gate
	}
	if c.breakAt > 0 && c.own+int64(len(p)) > c.breakAt {
		n, _ := c.Conn.Write(p[:max(c.breakAt-c.own, 0)])
		c.sent.Add(int64(n))
		return n, errors.Join(errDown, c.Close())
	}
	if at := c.flipAt - c.own; c.flipAt > 0 && at >= 0 && at < int64(len(p)) {
		p = bytes.Clone(p)
		p[at] ^= 1
	}
	n, err := c.Conn.Write(p)
	c.own += int64(n)
	c.sent.Add(int64(n))
	return n, err
}

// A broken connection costs no more than the piece that was on its way. CLU-30
func TestSnapshotIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 1, 2)
		defer w.close()
		const size = 20 * pieceBytes
		var sent atomic.Int64
		broken := int64(3*pieceBytes + 1000)
		w.wrap = func(a, b net.Conn) (net.Conn, net.Conn) {
			return &countedConn{Conn: a, sent: &sent, breakAt: broken}, b
		}
		m, data := makeSnapshot(t, w.boxes[1], 100, size)
		w.nets[1].Send([]*raftpb.Message{m})
		pass(time.Minute)
		if out := w.boxes[1].outcomes(); len(out) != 1 || !out[0] {
			t.Fatalf("outcomes %v", out)
		}
		if !bytes.Equal(received(t, w.boxes[2], 100), data) {
			t.Error("the snapshot is not what was sent")
		}
		connections := len(w.dialled(2))
		if connections < 6 || connections > 8 {
			t.Errorf("%d connections", connections)
		}
		if most := int64(size + connections*(pieceBytes+100)); sent.Load() > most {
			t.Errorf("%d bytes were sent for %d, at most %d make sense", sent.Load(), size, most)
		}
	})
}

// Tries without any progress end, and so does the transfer; the protocol begins another.
func TestTransferWithoutProgressFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 1, 2)
		defer w.close()
		var sent atomic.Int64
		w.wrap = func(a, b net.Conn) (net.Conn, net.Conn) { return &countedConn{Conn: a, sent: &sent, breakAt: 200}, b }
		m, _ := makeSnapshot(t, w.boxes[1], 100, pieceBytes)
		w.nets[1].Send([]*raftpb.Message{m})
		pass(time.Minute)
		if out := w.boxes[1].outcomes(); len(out) != 1 || out[0] {
			t.Errorf("outcomes %v", out)
		}
		if n := len(w.dialled(2)); n != maxTransferTries+1 {
			t.Errorf("%d connections", n)
		}
		w.mu.Lock()
		w.wrap = nil
		w.mu.Unlock()
		w.nets[1].Send([]*raftpb.Message{m})
		pass(time.Second)
		if out := w.boxes[1].outcomes(); len(out) != 2 || !out[1] {
			t.Errorf("outcomes %v", out)
		}
	})
}

// What was damaged on the way is not taken over, and not kept to go on with. CLU-32
func TestDamagedSnapshotIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 1, 2)
		defer w.close()
		var sent atomic.Int64
		w.wrap = func(a, b net.Conn) (net.Conn, net.Conn) { return &countedConn{Conn: a, sent: &sent, flipAt: 1000}, b }
		m, data := makeSnapshot(t, w.boxes[1], 100, 2*pieceBytes)
		w.nets[1].Send([]*raftpb.Message{m})
		pass(time.Minute)
		if out := w.boxes[1].outcomes(); len(out) != 1 || out[0] {
			t.Fatalf("outcomes %v", out)
		}
		if received(t, w.boxes[2], 100) != nil || len(w.boxes[2].got()) != 0 {
			t.Error("the snapshot was taken over")
		}
		w.mu.Lock()
		w.wrap = nil
		w.mu.Unlock()
		w.nets[1].Send([]*raftpb.Message{m})
		pass(time.Second)
		if out := w.boxes[1].outcomes(); len(out) != 2 || !out[1] || !bytes.Equal(received(t, w.boxes[2], 100), data) {
			t.Errorf("outcomes %v", out)
		}
	})
}

// A snapshot that is not there, or damaged on the sender's disk, is not sent.
func TestMissingSnapshotIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 1, 2)
		defer w.close()
		m, data := makeSnapshot(t, w.boxes[1], 100, pieceBytes)
		path := snapshotPath(w.boxes[1].dir, 100, 3)
		data[len(data)/2] ^= 1
		for round, break_ := range []func() error{
			func() error { return os.WriteFile(path, data, 0o600) },
			func() error { return os.Remove(path) },
		} {
			if err := break_(); err != nil {
				t.Fatal(err)
			}
			w.nets[1].Send([]*raftpb.Message{m})
			pass(2 * time.Second)
			if out := w.boxes[1].outcomes(); len(out) != round+1 || out[round] {
				t.Errorf("outcomes %v", out)
			}
		}
		if n := len(w.dialled(2)); n != 0 {
			t.Errorf("%d connections", n)
		}
	})
}

// The receiving side's disk error ends the transfer with its text, and is told of once. CLU-32
func TestReceivingDiskErrorEndsTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 1, 2)
		defer w.close()
		if err := os.RemoveAll(w.boxes[2].dir); err != nil {
			t.Fatal(err)
		}
		m, _ := makeSnapshot(t, w.boxes[1], 100, pieceBytes)
		w.nets[1].Send([]*raftpb.Message{m})
		pass(2 * time.Second)
		if out := w.boxes[1].outcomes(); len(out) != 1 || out[0] || len(w.dialled(2)) != 1 {
			t.Errorf("outcomes %v after %d connections", out, len(w.dialled(2)))
		}
	})
}

// A newer snapshot takes the place of one on its way, of which nothing more is said; the same one
// again goes on, with the newest message.
func TestNewerSnapshotTakesOver(t *testing.T) {
	for _, same := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newPipeNet(t, 1, 2)
			defer w.close()
			var sent atomic.Int64
			gate := make(chan struct{}, 1000)
			w.wrap = func(a, b net.Conn) (net.Conn, net.Conn) {
				return &countedConn{Conn: a, sent: &sent, gate: gate}, b
			}
			first, data := makeSnapshot(t, w.boxes[1], 100, 10*pieceBytes)
			w.nets[1].Send([]*raftpb.Message{first})
			gate <- struct{}{} // the offer
			gate <- struct{}{} // a piece
			synctest.Wait()
			index, connections := uint64(100), 1
			next := proto.Clone(first).(*raftpb.Message)
			next.Term = new(uint64(5))
			if !same {
				next, data = makeSnapshot(t, w.boxes[1], 200, 10*pieceBytes)
				index, connections = 200, 2
			}
			w.nets[1].Send([]*raftpb.Message{next})
			synctest.Wait()
			close(gate)
			pass(5 * time.Second)
			if out := w.boxes[1].outcomes(); len(out) != 1 || !out[0] {
				t.Fatalf("same %v: outcomes %v", same, out)
			}
			if got := w.boxes[2].got(); len(got) != 1 || !proto.Equal(got[0], next) {
				t.Errorf("same %v: got %v", same, got)
			}
			if !bytes.Equal(received(t, w.boxes[2], index), data) || len(w.dialled(2)) != connections {
				t.Errorf("same %v: not what was sent, over %d connections", same, len(w.dialled(2)))
			}
		})
	}
}

// A transfer ends with the network, and when its member is dropped.
func TestTransferIsCutOff(t *testing.T) {
	for _, drop := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newPipeNet(t, 1, 2)
			var sent atomic.Int64
			w.wrap = func(a, b net.Conn) (net.Conn, net.Conn) {
				return &slowConn{Conn: &countedConn{Conn: a, sent: &sent}, pause: time.Second}, b
			}
			m, data := makeSnapshot(t, w.boxes[1], 100, 100*pieceBytes)
			w.nets[1].Send([]*raftpb.Message{m})
			pass(20 * time.Second)
			if drop {
				w.nets[1].Drop(2)
				pass(2 * time.Second)
				if out := w.boxes[1].outcomes(); len(out) != 1 || out[0] {
					t.Errorf("outcomes %v", out)
				}
			}
			w.close()
			if n := sent.Load(); n == 0 || n >= int64(len(data)) {
				t.Errorf("%d bytes of %d were sent", n, len(data))
			}
			r, err := w.boxes[2].ReceiveSnapshot(SnapshotFile{Index: 100, Term: 3, Size: int64(len(data)), CRC: binary.BigEndian.Uint32(data[len(data)-4:])})
			if err != nil || r.Offset() == 0 {
				t.Errorf("nothing is left to go on with: %v", err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// offered is the beginning of a transfer by hand: a snapshot of 1000 bytes.
func offered(t *testing.T, n *Network) (conn net.Conn, frames *frameReader, data []byte, m *raftpb.Message, served <-chan struct{}) {
	t.Helper()
	source := newInbox(t)
	m, data = makeSnapshot(t, source, 100, 1000)
	conn, served = greeted(t, n, 1, 2, forSnapshot)
	return conn, newFrameReader(conn), data, m, served
}

// What a hostile sender offers is refused with the reason, and nothing of it is taken over.
func TestHostileSnapshotSenders(t *testing.T) {
	frame := func(kind frameKind, payload []byte) []byte {
		return append(appendHeader(nil, kind, len(payload)), payload...)
	}
	good := func(data []byte) SnapshotFile {
		return SnapshotFile{Index: 100, Term: 3, Size: int64(len(data)), CRC: binary.BigEndian.Uint32(data[len(data)-4:])}
	}
	for name, c := range map[string]struct {
		offer func(SnapshotFile) SnapshotFile
		body  func(data []byte, m *raftpb.Message) []byte
		want  string // of the outcome
	}{
		"too short": {body: func(data []byte, _ *raftpb.Message) []byte { return data[:len(data)-1] }, want: "ends at byte"},
		"too long":  {body: func(data []byte, _ *raftpb.Message) []byte { return append(data, 0) }, want: "longer than"},
		"no size":   {offer: func(f SnapshotFile) SnapshotFile { f.Size = 0; return f }, want: "of 0 bytes"},
		"negative":  {offer: func(f SnapshotFile) SnapshotFile { f.Size = -5; return f }, want: "of -5 bytes"},
		"index 0":   {offer: func(f SnapshotFile) SnapshotFile { f.Index = 0; return f }, want: "at index 0"},
		"other checksum": {offer: func(f SnapshotFile) SnapshotFile { f.CRC++; return f },
			want: "corrupt"},
		"other index": {offer: func(f SnapshotFile) SnapshotFile { f.Index++; return f }, body: func(data []byte, m *raftpb.Message) []byte {
			m.Snapshot.Metadata.Index = new(m.Snapshot.Metadata.GetIndex() + 1)
			return data
		}, want: "it is the snapshot at index 100"},
		"announces another": {body: func(data []byte, m *raftpb.Message) []byte { m.Snapshot.Metadata.Index = new(uint64(101)); return data },
			want: "index 101"},
		"announces with data": {body: func(data []byte, m *raftpb.Message) []byte { m.Snapshot.Data = []byte("x"); return data },
			want: "with 1 bytes"},
		"announces by heartbeat": {body: func(data []byte, m *raftpb.Message) []byte { m.Type = raftpb.MsgHeartbeat.Enum(); return data },
			want: "MsgHeartbeat"},
		"announces for another": {body: func(data []byte, m *raftpb.Message) []byte { m.To = new(uint64(9)); return data },
			want: "from member 1 to 9"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newPipeNet(t, 2)
				defer w.close()
				conn, frames, data, m, served := offered(t, w.nets[2])
				file := good(data)
				if c.offer != nil {
					file = c.offer(file)
				}
				if _, err := conn.Write(frame(frameOffer, encodeOffer(file))); err != nil {
					t.Fatal(err)
				}
				kind, payload, err := frames.next()
				if err == nil && kind == frameOffset {
					body := data
					if c.body != nil {
						body = c.body(body, m)
					}
					out, encodeErr := appendMessage(frame(frameData, body), m)
					if encodeErr != nil {
						t.Fatal(encodeErr)
					}
					go func() { _, _ = conn.Write(out) }()
					kind, payload, err = frames.next()
				}
				if err != nil || kind != frameOutcome || !strings.Contains(string(payload), c.want) {
					t.Errorf("frame of kind %d: %q, %v; want %q", kind, payload, err, c.want)
				}
				<-served
				if len(w.boxes[2].got()) > 0 {
					t.Error("the message was handed on")
				}
				_ = conn.Close()
			})
		})
	}
}

// Frames that do not belong there end the transfer; one that breaks off or falls silent leaves what
// came for the next.
func TestBrokenSnapshotSenders(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(net.Conn)
		keep bool
	}{
		"other frame": {func(conn net.Conn) { _, _ = conn.Write(appendHeader(nil, framePing, 0)) }, true},
		"empty data":  {func(conn net.Conn) { _, _ = conn.Write(appendHeader(nil, frameData, 0)) }, true},
		"large frame": {func(conn net.Conn) { _, _ = conn.Write(appendHeader(nil, frameData, maxFrameBytes+1)) }, true},
		"hangs up":    {func(conn net.Conn) { _ = conn.Close() }, true},
		"is silent":   {func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newPipeNet(t, 2)
				defer w.close()
				begun := time.Now()
				conn, frames, data, _, served := offered(t, w.nets[2])
				file := SnapshotFile{Index: 100, Term: 3, Size: int64(len(data)), CRC: binary.BigEndian.Uint32(data[len(data)-4:])}
				if _, err := conn.Write(append(appendHeader(nil, frameOffer, offerBytes), encodeOffer(file)...)); err != nil {
					t.Fatal(err)
				}
				if kind, _, err := frames.next(); kind != frameOffset || err != nil {
					t.Fatalf("frame of kind %d, %v", kind, err)
				}
				if _, err := conn.Write(append(appendHeader(nil, frameData, 500), data[:500]...)); err != nil {
					t.Fatal(err)
				}
				c.do(conn)
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				<-served
				if took := time.Since(begun); took > transferSilence {
					t.Errorf("ended after %v", took)
				}
				next, err := w.boxes[2].ReceiveSnapshot(file)
				if err != nil || next.Offset() != 500 {
					t.Errorf("goes on at %v, %v", next, err)
				}
				if err := next.Close(); err != nil {
					t.Error(err)
				}
				_ = conn.Close()
			})
		})
	}
}

// What a hostile receiver says ends the transfer, within bounds.
func TestHostileSnapshotReceivers(t *testing.T) {
	say := func(conn net.Conn, kind frameKind, payload []byte) error {
		_, err := conn.Write(append(appendHeader(nil, kind, len(payload)), payload...))
		return err
	}
	offset := func(conn net.Conn, n uint64) { _ = say(conn, frameOffset, binary.BigEndian.AppendUint64(nil, n)) }
	for name, c := range map[string]struct {
		do     func(net.Conn)
		within time.Duration // of one connection
	}{
		"offset beyond the end": {func(conn net.Conn) { offset(conn, 1<<40) }, 0},
		"negative offset":       {func(conn net.Conn) { offset(conn, 1<<63) }, 0},
		"short offset":          {func(conn net.Conn) { _ = say(conn, frameOffset, []byte{1}) }, 0},
		"outcome in place of it": {func(conn net.Conn) {
			_ = say(conn, frameOutcome, bytes.Repeat([]byte("x"), maxFrameBytes))
		}, 0},
		"never reads":   {func(conn net.Conn) { offset(conn, 0) }, transferSilence},
		"never says":    {func(conn net.Conn) { offset(conn, 0); _, _ = io.Copy(io.Discard, conn) }, transferSilence},
		"pong":          {func(conn net.Conn) { offset(conn, 0); _ = say(conn, framePong, nil) }, 0},
		"hangs up":      {func(conn net.Conn) { offset(conn, 0); _ = conn.Close() }, 0},
		"busy for ever": {busyForEver(offset), takeOverTime + time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newPipeNet(t, 1, 2)
				defer w.close()
				w.wrap = func(a, b net.Conn) (net.Conn, net.Conn) {
					w.wg.Go(func() {
						_, _ = readHello(b)
						_, _ = b.Write(answer{version: wireVersion}.encode())
						if kind, _, err := newFrameReader(b).next(); kind != frameOffer || err != nil {
							t.Errorf("frame of kind %d, %v", kind, err)
						}
						c.do(b)
						_, _ = io.Copy(io.Discard, &untilClosed{b})
					})
					other, nobody := net.Pipe()
					_ = nobody.Close()
					return a, other
				}
				m, _ := makeSnapshot(t, w.boxes[1], 100, 5*pieceBytes)
				w.nets[1].Send([]*raftpb.Message{m})
				pass((c.within + 2*time.Second) * (maxTransferTries + 1))
				if out := w.boxes[1].outcomes(); len(out) != 1 || out[0] {
					t.Errorf("outcomes %v", out)
				}
			})
		})
	}
}

// busyForEver takes a snapshot and never says what came of it.
func busyForEver(offset func(net.Conn, uint64)) func(net.Conn) {
	return func(conn net.Conn) {
		offset(conn, 0)
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		for {
			if _, err := conn.Write(appendHeader(nil, frameBusy, 0)); err != nil {
				return
			}
			time.Sleep(time.Second) // of the bubble's clock
		}
	}
}

// A large snapshot goes over TCP without being held in memory.
func TestLargeSnapshotIsNotHeldInMemory(t *testing.T) {
	w := newTCPNet(t, 1, 2)
	const size = 256 << 20
	m, data := makeSnapshot(t, w.boxes[1].inbox, 100, size)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w.nets[1].Send([]*raftpb.Message{m})
	<-w.boxes[1].ended(1)
	runtime.ReadMemStats(&after)
	if out := w.boxes[1].outcomes(); !out[0] {
		t.Fatalf("outcomes %v", out)
	}
	if !bytes.Equal(received(t, w.boxes[2].inbox, 100), data) {
		t.Error("the snapshot is not what was sent")
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d bytes were allocated for a snapshot of %d", n, size)
	}
}
