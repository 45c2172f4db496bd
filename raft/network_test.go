package raft

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// inbox is a receiver that keeps what it gets.
type inbox struct {
	*exchange
	hold chan struct{} // if set, Receive waits until it is closed

	mu        sync.Mutex
	messages  []*raftpb.Message
	lost      map[uint64]int
	snapshots []bool // outcomes of those sent
}

func newInbox(t testing.TB) *inbox {
	return &inbox{exchange: newExchange(t.TempDir(), true), lost: map[uint64]int{}}
}

func (b *inbox) Receive(ctx context.Context, m *raftpb.Message) error {
	if b.hold != nil {
		select {
		case <-b.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, m)
	return nil
}

func (b *inbox) ReportUnreachable(id uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost[id]++
}

func (b *inbox) ReportSnapshot(_ uint64, delivered bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.snapshots = append(b.snapshots, delivered)
}

func (b *inbox) OpenSnapshot(index, term uint64) (*SnapshotReader, error) { return b.open(index, term) }

func (b *inbox) ReceiveSnapshot(file SnapshotFile) (*SnapshotWriter, error) { return b.receive(file) }

func (b *inbox) got() []*raftpb.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*raftpb.Message(nil), b.messages...)
}

func (b *inbox) unreachable(id uint64) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost[id]
}

func (b *inbox) outcomes() []bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]bool(nil), b.snapshots...)
}

// pipeNet is a set of networks that dial each other by net.Pipe.
type pipeNet struct {
	t     *testing.T
	nets  map[uint64]*Network
	boxes map[uint64]*inbox

	mu    sync.Mutex
	wg    sync.WaitGroup
	down  map[uint64]bool
	dials map[uint64][]time.Time
	wrap  func(dialled, accepted net.Conn) (net.Conn, net.Conn)
}

var errDown = errors.New("no route to it")

func newPipeNet(t *testing.T, ids ...uint64) *pipeNet {
	w := &pipeNet{t: t, nets: map[uint64]*Network{}, boxes: map[uint64]*inbox{}, down: map[uint64]bool{}, dials: map[uint64][]time.Time{}}
	for _, id := range ids {
		w.nets[id] = NewNetwork(NetworkConfig{ID: id, Dial: func(_ context.Context, to uint64) (net.Conn, error) { return w.dial(id, to) }})
		w.boxes[id] = newInbox(t)
		w.nets[id].Attach(w.boxes[id])
	}
	return w
}

func (w *pipeNet) dial(from, to uint64) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dials[to] = append(w.dials[to], time.Now())
	if w.down[to] || w.nets[to] == nil {
		return nil, errDown
	}
	dialled, accepted := net.Pipe()
	if w.wrap != nil {
		dialled, accepted = w.wrap(dialled, accepted)
	}
	w.wg.Go(func() { w.nets[to].Serve(accepted, from) })
	return dialled, nil
}

func (w *pipeNet) setDown(id uint64, down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down[id] = down
}

func (w *pipeNet) dialled(id uint64) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]time.Time(nil), w.dials[id]...)
}

func (w *pipeNet) close() {
	w.t.Helper()
	for id, n := range w.nets {
		if err := n.Close(); err != nil {
			w.t.Errorf("close network %d: %v", id, err)
		}
	}
	w.wg.Wait()
}

// pass lets time go by in a bubble.
func pass(d time.Duration) {
	time.Sleep(d) // of the bubble's clock
	synctest.Wait()
}

func appendTo(to, index uint64, data ...string) *raftpb.Message {
	m := &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), From: new(uint64(1)), To: new(to), Term: new(uint64(3)),
		Index: new(index), LogTerm: new(uint64(2)), Commit: new(index),
	}
	for i, d := range data {
		m.Entries = append(m.Entries, &raftpb.Entry{Index: new(index + 1 + uint64(i)), Term: new(uint64(3)), Data: []byte(d)})
	}
	return m
}

func heartbeat(from, to uint64) *raftpb.Message {
	return &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(from), To: new(to), Term: new(uint64(3)), Context: []byte("beat")}
}

// Messages arrive whole and appends in their order, in both directions. CLU-30
func TestNetworkCarriesMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 1, 2)
		defer w.close()
		var sent []*raftpb.Message
		for i := range uint64(500) {
			m := appendTo(2, i, strings.Repeat("x", int(i)), "", "y")
			sent = append(sent, m)
			w.nets[1].Send([]*raftpb.Message{m, heartbeat(1, 2)})
		}
		w.nets[2].Send([]*raftpb.Message{heartbeat(2, 1)})
		synctest.Wait()
		beats := 0
		for _, m := range w.boxes[2].got() {
			if m.GetType() == raftpb.MsgHeartbeat {
				beats++
				continue
			}
			if len(sent) == 0 || !proto.Equal(m, sent[0]) {
				t.Fatalf("got %v, want the next of %d", m, len(sent))
			}
			sent = sent[1:]
		}
		if len(sent) > 0 || beats != 500 {
			t.Errorf("%d appends missing, %d heartbeats", len(sent), beats)
		}
		if got := w.boxes[1].got(); len(got) != 1 || !proto.Equal(got[0], heartbeat(2, 1)) {
			t.Errorf("got %v", got)
		}
		if last, err := w.nets[1].Contact(2); err != nil || time.Since(last) > time.Millisecond {
			t.Errorf("contact: %v, %v", last, err)
		}
	})
}

// An idle connection stays, and the other side counts as heard. CLU-39
func TestIdleConnectionStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 1, 2)
		defer w.close()
		w.nets[1].Send([]*raftpb.Message{heartbeat(1, 2)})
		pass(time.Hour)
		if n := len(w.dialled(2)); n != 1 {
			t.Errorf("dialled %d times", n)
		}
		for a, b := range map[uint64]uint64{1: 2, 2: 1} {
			last, err := w.nets[a].Contact(b)
			if ago := time.Since(last); err != nil || ago > 2*pingInterval {
				t.Errorf("member %d heard of %d %v ago, %v", a, b, ago, err)
			}
		}
		if w.boxes[1].unreachable(2) != 0 {
			t.Error("reported as unreachable")
		}
	})
}

// A large append goes in pieces, and a heartbeat sent after it arrives before it. CLU-33
func TestHeartbeatOvertakesLargeAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 1, 2)
		defer w.close()
		const pause = time.Millisecond
		w.wrap = func(a, b net.Conn) (net.Conn, net.Conn) { return &slowConn{Conn: a, pause: pause}, b }
		large := appendTo(2, 7, string(bytes.Repeat([]byte("0123456789abcdef"), maxProposalBytes/16)))
		w.nets[1].Send([]*raftpb.Message{large})
		pass(10 * pause)
		if got := w.boxes[2].got(); len(got) != 0 {
			t.Fatalf("%d messages are there already", len(got))
		}
		w.nets[1].Send([]*raftpb.Message{appendTo(2, 8, "next"), heartbeat(1, 2)})
		pass(3 * pause)
		if got := w.boxes[2].got(); len(got) != 1 || got[0].GetType() != raftpb.MsgHeartbeat {
			t.Fatalf("%d messages, want the heartbeat", len(got))
		}
		pass(time.Second)
		got := w.boxes[2].got()
		if len(got) != 3 || !proto.Equal(got[1], large) || got[2].GetIndex() != 8 {
			t.Fatalf("%d messages", len(got))
		}
	})
}

// slowConn takes a while for each write.
type slowConn struct {
	net.Conn
	pause time.Duration
}

func (c *slowConn) Write(p []byte) (int, error) {
	time.Sleep(c.pause) // of the bubble's clock
	return c.Conn.Write(p)
}

// A member that cannot be reached is tried again after 50 ms to 1 s; the peer is told, and that it is
// back. Others are not held up. CLU-36
func TestUnreachableMemberIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 1, 2, 3)
		defer w.close()
		w.setDown(2, true)
		begun := time.Now()
		for range 100 {
			w.nets[1].Send([]*raftpb.Message{heartbeat(1, 2), heartbeat(1, 3)})
			pass(100 * time.Millisecond)
		}
		if n := len(w.boxes[3].got()); n != 100 {
			t.Errorf("the other member got %d messages", n)
		}
		dials := w.dialled(2)
		for i := 1; i < len(dials); i++ {
			if gap := dials[i].Sub(dials[i-1]); gap < minBackoff || gap > maxBackoff {
				t.Errorf("try %d came %v after the one before", i, gap)
			}
		}
		if gap := dials[1].Sub(dials[0]); gap != minBackoff {
			t.Errorf("the second try came after %v", gap)
		}
		if n := len(dials); dials[0] != begun || n < 10 || n > 20 {
			t.Errorf("%d tries in 10 s, the first after %v", n, dials[0].Sub(begun))
		}
		if w.boxes[1].unreachable(2) != len(dials) {
			t.Errorf("reported as unreachable %d times", w.boxes[1].unreachable(2))
		}
		if last, err := w.nets[1].Contact(2); !errors.Is(err, errDown) || !last.IsZero() {
			t.Errorf("contact: %v, %v", last, err)
		}
		w.setDown(2, false)
		pass(maxBackoff) // even if nothing is sent
		if last, err := w.nets[1].Contact(2); err != nil || time.Since(last) > maxBackoff {
			t.Errorf("contact: %v, %v", last, err)
		}
	})
}

// A member that dials us is there: we try at once.
func TestHeardMemberIsDialledSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 1, 2)
		defer w.close()
		w.setDown(2, true)
		for range 100 {
			w.nets[1].Send([]*raftpb.Message{heartbeat(1, 2)})
			pass(50 * time.Millisecond)
		}
		before := w.dialled(2)
		w.setDown(2, false)
		w.nets[2].Send([]*raftpb.Message{heartbeat(2, 1)})
		pass(minBackoff)
		if after := w.dialled(2); len(after) == len(before) {
			t.Errorf("not dialled, the last time %v ago", time.Since(before[len(before)-1]))
		}
	})
}

// What a strange member at the other end of a dialled connection does must neither block the sender nor
// grow without bound; the connection is given up.
func TestStrangeAcceptingSides(t *testing.T) {
	accept := func(conn net.Conn) {
		if _, err := readHello(conn); err == nil {
			_, _ = conn.Write(answer{version: wireVersion}.encode())
		}
	}
	for name, c := range map[string]struct {
		serve  func(net.Conn)
		within time.Duration
		want   string
	}{
		"never reads":    {func(net.Conn) {}, dialTimeout, "no answer within 2s"},
		"never answers":  {func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, dialTimeout, "no answer within 2s"},
		"then is silent": {func(conn net.Conn) { accept(conn); _, _ = io.Copy(io.Discard, conn) }, silence, "read sign of life"},
		"then never reads": {func(conn net.Conn) {
			accept(conn)
			for {
				if _, err := conn.Write(appendHeader(nil, framePong, 0)); err != nil {
					return
				}
				time.Sleep(pingInterval) // of the bubble's clock
			}
		}, silence, "write messages"},
		"refuses": {func(conn net.Conn) {
			_, _ = readHello(conn)
			_, _ = conn.Write(answer{version: wireVersion, code: answerRefused, text: "not now"}.encode())
		}, 0, `it says: "not now"`},
		"speaks another version": {func(conn net.Conn) {
			_, _ = readHello(conn)
			_, _ = conn.Write(answer{version: wireVersion + 1}.encode())
		}, 0, "it wants to speak version 2"},
		"hangs up":            {func(conn net.Conn) { _, _ = readHello(conn); _ = conn.Close() }, 0, "EOF"},
		"hangs up in between": {func(conn net.Conn) { accept(conn); _, _ = io.CopyN(io.Discard, conn, 9); _ = conn.Close() }, 0, ""}, // reader or writer sees it first
		"sends a message": {func(conn net.Conn) {
			accept(conn)
			out, _ := appendMessage(nil, heartbeat(2, 1))
			_, _ = conn.Write(out)
		}, 0, "in place of a sign of life"},
		"sends a large frame": {func(conn net.Conn) {
			accept(conn)
			_, _ = conn.Write(appendHeader(nil, framePong, maxFrameBytes+1))
		}, 0, "at most 1048576 are allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan struct{}, 1000)
				n := NewNetwork(NetworkConfig{ID: 1, Dial: func(context.Context, uint64) (net.Conn, error) {
					here, there := net.Pipe()
					go func() {
						c.serve(there)
						_, _ = io.Copy(io.Discard, &untilClosed{there})
						ended <- struct{}{}
					}()
					return here, nil
				}})
				box := newInbox(t)
				n.Attach(box)
				large := appendTo(2, 1, strings.Repeat("x", maxMessageBytes))
				for range 2 * maxQueue {
					n.Send([]*raftpb.Message{heartbeat(1, 2), large})
				}
				pass(c.within + 10*time.Millisecond)
				if _, err := n.Contact(2); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("after %v: %v, want %q", c.within, err, c.want)
				}
				if box.unreachable(2) == 0 {
					t.Error("not reported as unreachable")
				}
				if err := n.Close(); err != nil {
					t.Error(err)
				}
				<-ended // the connection was closed
			})
		})
	}
}

// untilClosed reads nothing, and ends when the other end of a pipe was closed.
type untilClosed struct{ conn net.Conn }

func (u *untilClosed) Read([]byte) (int, error) {
	for {
		// An empty write to a pipe waits for a reader, or for its end.
		if err := u.conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			return 0, io.EOF
		}
		if _, err := u.conn.Write(nil); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) && err != nil {
			return 0, io.EOF
		}
	}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// The queues of a member that takes nothing are bounded, and the peer is told of what is dropped.
func TestQueueIsBounded(t *testing.T) {
	q := newQueue()
	large := appendTo(2, 1, strings.Repeat("x", maxMessageBytes))
	n := 0
	for q.push(large) {
		n++
	}
	if n != maxQueueBytes/maxMessageBytes-1 { // each has a little more than its data
		t.Errorf("%d appends of %d bytes are queued", n, maxMessageBytes)
	}
	for n = 0; q.push(heartbeat(1, 2)); n++ {
	}
	if n != maxQueue {
		t.Errorf("%d heartbeats are queued beside them", n)
	}
	q.clear()
	huge := appendTo(2, 1, strings.Repeat("x", maxProposalBytes), strings.Repeat("x", maxProposalBytes), strings.Repeat("x", maxProposalBytes))
	if !q.push(huge) {
		t.Error("one append of any size must fit")
	}
	if m, more := q.pop(true); m != huge || !more || q.bytes != 0 {
		t.Errorf("%d bytes are left", q.bytes)
	}
	for n = 0; q.push(appendTo(2, 1)); n++ {
	}
	if n != maxQueue {
		t.Errorf("%d empty appends are queued", n)
	}
}

// A peer that is slow holds up its own sender, not the signs of life in between: nothing is lost.
func TestSlowPeerHoldsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 1, 2)
		defer w.close()
		hold := make(chan struct{})
		w.boxes[2].hold = hold
		for i := range uint64(100) {
			w.nets[1].Send([]*raftpb.Message{appendTo(2, i, "x")})
		}
		pass(silence / 2)
		close(hold)
		pass(time.Second)
		if got, n := w.boxes[2].got(), len(w.dialled(2)); len(got) != 100 || n != 1 {
			t.Errorf("%d messages over %d connections", len(got), n)
		}
	})
}

// Of two connections of one member the newer one stays.
func TestNewerConnectionStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 2)
		defer w.close()
		older, olderServed := greeted(t, w.nets[2], 1, 2, forMessages)
		newer, newerServed := greeted(t, w.nets[2], 1, 2, forMessages)
		<-olderServed
		go func() { _, _ = io.Copy(io.Discard, newer) }()
		out, err := appendMessage(nil, heartbeat(1, 2))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := older.Write(out); err == nil {
			t.Error("the older connection is open")
		}
		if _, err := newer.Write(out); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := w.boxes[2].got(); len(got) != 1 {
			t.Errorf("got %v", got)
		}
		_ = newer.Close()
		<-newerServed
	})
}

// A removed member loses its connections, is never dialled again, and learns why. CLU-21
func TestDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 1, 2)
		defer w.close()
		w.nets[1].Send([]*raftpb.Message{heartbeat(1, 2)})
		w.nets[2].Send([]*raftpb.Message{heartbeat(2, 1)})
		synctest.Wait()
		w.nets[1].Drop(2)
		synctest.Wait()
		dials := len(w.dialled(2))
		for range 50 {
			w.nets[1].Send([]*raftpb.Message{heartbeat(1, 2), {Type: raftpb.MsgSnap.Enum(), To: new(uint64(2))}})
			w.nets[2].Send([]*raftpb.Message{heartbeat(2, 1)})
			pass(100 * time.Millisecond)
		}
		if n := len(w.dialled(2)); n != dials {
			t.Errorf("dialled %d times more", n-dials)
		}
		if _, err := w.nets[1].Contact(2); !errors.Is(err, errDropped) {
			t.Errorf("contact: %v", err)
		}
		if _, err := w.nets[2].Contact(1); !errors.Is(err, ErrRemoved) {
			t.Errorf("contact of the removed member: %v", err)
		}
		if n := len(w.boxes[1].got()); n != 1 {
			t.Errorf("%d messages of the removed member", n)
		}
		if out := w.boxes[1].outcomes(); len(out) == 0 || out[0] {
			t.Errorf("outcomes of snapshots: %v", out)
		}
	})
}

// What is sent before the peer is attached goes out; what comes waits for it.
func TestSendBeforeAttach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 2)
		defer w.close()
		n := NewNetwork(NetworkConfig{ID: 1, Dial: func(_ context.Context, to uint64) (net.Conn, error) { return w.dial(1, to) }})
		n.Send([]*raftpb.Message{heartbeat(1, 2), heartbeat(1, 9)})
		synctest.Wait()
		if got := w.boxes[2].got(); len(got) != 1 {
			t.Errorf("got %v", got)
		}
		box := newInbox(t)
		n.Attach(box)
		synctest.Wait()
		if box.unreachable(9) == 0 {
			t.Error("not told of what was lost before")
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		n.Send([]*raftpb.Message{heartbeat(1, 2), heartbeat(1, 3)}) // is lost
		if last, err := n.Contact(3); !last.IsZero() || err != nil {
			t.Errorf("contact: %v, %v", last, err)
		}
	})
}

// The same over loopback TCP, where a write does not wait for its reader.
func TestNetworkOverTCP(t *testing.T) {
	w := newTCPNet(t, 1, 2)
	large := appendTo(2, 3, strings.Repeat("l", 3*maxMessageBytes))
	const rounds = 2000
	for i := range uint64(rounds) {
		w.nets[1].Send([]*raftpb.Message{appendTo(2, i, strings.Repeat("x", 1024))})
	}
	w.nets[1].Send([]*raftpb.Message{large})
	box := w.boxes[2]
	<-box.count(rounds + 1)
	got := box.got()
	for i := range uint64(rounds) {
		if got[i].GetIndex() != i {
			t.Fatalf("append %d has index %d", i, got[i].GetIndex())
		}
	}
	if !proto.Equal(got[rounds], large) {
		t.Error("the large append is not what was sent")
	}
	// A member whose process ended is noticed at once.
	w.close(2)
	lost := w.boxes[1]
	<-lost.told(2)
	if _, err := w.nets[1].Contact(2); err == nil {
		t.Error("no error in contact")
	}
}

func ExampleNetwork() {
	// Two members on pipes; TLS connections between machines work the same.
	var second *Network
	first := NewNetwork(NetworkConfig{ID: 1, Dial: func(context.Context, uint64) (net.Conn, error) {
		here, there := net.Pipe()
		go second.Serve(there, 1) // whoever accepts knows who is at the other end
		return here, nil
	}})
	second = NewNetwork(NetworkConfig{ID: 2, Dial: func(context.Context, uint64) (net.Conn, error) {
		return nil, errors.New("nothing is to be sent here")
	}})
	arrived := make(chan *raftpb.Message)
	second.Attach(printer{arrived})

	first.Send([]*raftpb.Message{{Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(1)), To: new(uint64(2)), Term: new(uint64(5))}})
	m := <-arrived
	fmt.Println(m.GetType(), "from", m.GetFrom(), "in term", m.GetTerm())
	fmt.Println(errors.Join(first.Close(), second.Close()))
	// Output:
	// MsgHeartbeat from 1 in term 5
	// <nil>
}

// printer hands messages to an example.
type printer struct{ to chan *raftpb.Message }

func (p printer) Receive(_ context.Context, m *raftpb.Message) error { p.to <- m; return nil }
func (printer) ReportUnreachable(uint64)                             {}
func (printer) ReportSnapshot(uint64, bool)                          {}
func (printer) OpenSnapshot(uint64, uint64) (*SnapshotReader, error) { return nil, ErrNoSnapshot }
func (printer) ReceiveSnapshot(SnapshotFile) (*SnapshotWriter, error) {
	return nil, ErrNoSnapshot
}
