package raft

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// dialRaw makes a connection to a network as a member would, without a network behind it.
func dialRaw(t *testing.T, n *Network, from uint64) (conn net.Conn, served <-chan struct{}) {
	t.Helper()
	here, there := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.Serve(there, from)
	}()
	return here, ended
}

// Connections that are not what they should be are refused with the reason. CLU-20
func TestHelloIsChecked(t *testing.T) {
	good := hello{version: wireVersion, purpose: forMessages, from: 1, to: 2}
	for name, c := range map[string]struct {
		change func(*hello)
		from   uint64
		code   answerCode
		want   string
	}{
		"right":         {func(*hello) {}, 1, answerAccepted, ""},
		"newer version": {func(h *hello) { h.version = 99 }, 1, answerAccepted, ""},
		"older version": {func(h *hello) { h.version = 0 }, 1, answerRefused, "version 0 is too old"},
		"other sender":  {func(h *hello) { h.from = 3 }, 1, answerRefused, "hello of member 3 on a connection of member 1"},
		"other target":  {func(h *hello) { h.to = 3 }, 1, answerRefused, "this is member 2, not 3"},
		"itself":        {func(h *hello) { h.from = 2 }, 2, answerRefused, "member 2 cannot be"},
		"nobody":        {func(h *hello) { h.from = 0 }, 0, answerRefused, "member 0 cannot be"},
		"purpose":       {func(h *hello) { h.purpose = 9 }, 1, answerRefused, "purpose 9 is unknown"},
		"removed":       {func(h *hello) { h.from = 7 }, 7, answerRemoved, "member 7 was removed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newPipeNet(t, 2)
				defer w.close()
				w.nets[2].Drop(7)
				conn, served := dialRaw(t, w.nets[2], c.from)
				h := good
				c.change(&h)
				if _, err := conn.Write(h.encode()); err != nil {
					t.Fatal(err)
				}
				a, err := readAnswer(conn)
				if err != nil || a.code != c.code || a.version != wireVersion || !strings.Contains(a.text, c.want) {
					t.Errorf("answer %+v, %v", a, err)
				}
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
				<-served
			})
		})
	}
}

// A connection of which nothing comes, or nonsense, ends. A network that is not attached yet lets the
// other side try again.
func TestConnectionsWithoutHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 2)
		defer w.close()
		begun := time.Now()
		_, served := dialRaw(t, w.nets[2], 1)
		<-served
		if took := time.Since(begun); took != dialTimeout {
			t.Errorf("silence was taken for %v", took)
		}
		conn, served := dialRaw(t, w.nets[2], 1)
		if _, err := conn.Write([]byte(strings.Repeat("GET / HTTP/1.1\r\n\r\n", 2))[:helloBytes]); err != nil {
			t.Fatal(err)
		}
		<-served
		if took := time.Since(begun); took != dialTimeout {
			t.Error("nonsense was not refused at once")
		}

		early := NewNetwork(NetworkConfig{ID: 2, Dial: func(context.Context, uint64) (net.Conn, error) { return nil, errDown }})
		conn, served = dialRaw(t, early, 1)
		if _, err := conn.Write(hello{version: wireVersion, purpose: forMessages, from: 1, to: 2}.encode()); err != nil {
			t.Fatal(err)
		}
		<-served
		if err := early.Close(); err != nil {
			t.Error(err)
		}
		early.Serve(conn, 1) // after the end it takes nothing
		if _, err := conn.Write(nil); err == nil {
			t.Error("the connection is open")
		}
	})
}

// greeted is a raw connection of which the hello is over.
func greeted(t *testing.T, n *Network, from, to uint64, why purpose) (net.Conn, <-chan struct{}) {
	t.Helper()
	conn, served := dialRaw(t, n, from)
	if _, err := conn.Write(hello{version: wireVersion, purpose: why, from: from, to: to}.encode()); err != nil {
		t.Fatal(err)
	}
	a, err := readAnswer(conn)
	if err == nil {
		err = a.err()
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn, served
}

// A member that sends what it must not is cut off, and nothing of it reaches the peer.
func TestHostileFrames(t *testing.T) {
	encode := func(m *raftpb.Message) []byte {
		out, err := appendMessage(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	changed := func(change func(*raftpb.Message)) []byte {
		m := appendTo(2, 5, "a", "b")
		change(m)
		return encode(m)
	}
	frame := func(kind frameKind, payload ...byte) []byte {
		return append(appendHeader(nil, kind, len(payload)), payload...)
	}
	for name, data := range map[string][]byte{
		"frame too long":       appendHeader(nil, frameMessage, maxFrameBytes+1),
		"frame of 4 GiB":       appendHeader(nil, frameMessage, 1<<32-1),
		"kind 0":               frame(0),
		"kind of a snapshot":   frame(frameData, 1, 2, 3),
		"pong":                 frame(framePong),
		"ping with payload":    frame(framePing, 1),
		"not a message":        frame(frameMessage, 0xff, 0xff, 0xff),
		"empty message":        frame(frameMessage),
		"empty part":           frame(framePart),
		"end of nothing":       frame(frameEnd),
		"other sender":         changed(func(m *raftpb.Message) { m.From = new(uint64(3)) }),
		"other target":         changed(func(m *raftpb.Message) { m.To = new(uint64(3)) }),
		"proposal":             changed(func(m *raftpb.Message) { m.Type = raftpb.MsgProp.Enum() }),
		"own message":          changed(func(m *raftpb.Message) { m.Type = raftpb.MsgHup.Enum() }),
		"unknown message":      changed(func(m *raftpb.Message) { m.Type = raftpb.MessageType(77).Enum() }),
		"snapshot":             changed(func(m *raftpb.Message) { m.Type = raftpb.MsgSnap.Enum() }),
		"hole before append":   changed(func(m *raftpb.Message) { m.Index = new(uint64(4)) }),
		"hole in append":       changed(func(m *raftpb.Message) { m.Entries[1].Index = new(uint64(9)) }),
		"term of past":         changed(func(m *raftpb.Message) { m.Entries[1].Term = new(uint64(1)) }),
		"term of future":       changed(func(m *raftpb.Message) { m.Entries[1].Term = new(uint64(4)) }),
		"messages in messages": changed(func(m *raftpb.Message) { m.Responses = []*raftpb.Message{{}} }),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newPipeNet(t, 2)
				defer w.close()
				conn, served := greeted(t, w.nets[2], 1, 2, forMessages)
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				if _, err := conn.Write(data); err != nil {
					t.Logf("write: %v", err) // it may be cut off in the middle
				}
				synctest.Wait()
				select {
				case <-served:
				default:
					t.Error("the connection goes on")
				}
				if got := w.boxes[2].got(); len(got) > 0 {
					t.Errorf("the peer got %v", got)
				}
				_ = conn.Close()
			})
		})
	}
}

// A message that never ends is cut off at the size of the largest. The connection is lost, not memory.
func TestEndlessMessageIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 2)
		defer w.close()
		conn, served := greeted(t, w.nets[2], 1, 2, forMessages)
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		piece := append(appendHeader(nil, framePart, pieceBytes), make([]byte, pieceBytes)...)
		sent := 0
		for {
			if _, err := conn.Write(piece); err != nil {
				break
			}
			sent += pieceBytes
		}
		<-served
		if sent > maxWireBytes+pieceBytes {
			t.Errorf("%d bytes were taken, at most %d make sense", sent, maxWireBytes)
		}
	})
}

// A claimed length costs no memory before the bytes come.
func TestClaimedLengthCostsNothing(t *testing.T) {
	f := newFrameReader(io.MultiReader(bytes.NewReader(appendHeader(nil, frameMessage, maxFrameBytes)), strings.NewReader("short")))
	if _, _, err := f.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("next: %v", err)
	}
	if cap(f.buf) >= maxFrameBytes {
		t.Errorf("%d bytes are allocated", cap(f.buf))
	}
}

// Sides that dial and then fall silent, or never read the signs of life, lose their connection.
func TestSilentDiallingSides(t *testing.T) {
	for name, c := range map[string]struct {
		do     func(net.Conn)
		within time.Duration
	}{
		"silent": {func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, silence},
		"silent in a frame": {func(conn net.Conn) {
			_, _ = conn.Write(appendHeader(nil, frameMessage, 100))
			_, _ = io.Copy(io.Discard, conn)
		}, silence},
		"never reads": {func(conn net.Conn) {
			for {
				if _, err := conn.Write(appendHeader(nil, framePing, 0)); err != nil {
					return
				}
			}
		}, silence},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newPipeNet(t, 2)
				defer w.close()
				begun := time.Now()
				conn, served := greeted(t, w.nets[2], 1, 2, forMessages)
				go c.do(conn)
				<-served
				if took := time.Since(begun); took > c.within {
					t.Errorf("ended after %v", took)
				}
			})
		})
	}
}

// Endless signs of life are answered now and then only.
func TestEndlessPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeNet(t, 2)
		defer w.close()
		conn, served := greeted(t, w.nets[2], 1, 2, forMessages)
		var pongs int
		done := make(chan struct{})
		go func() {
			defer close(done)
			n, _ := io.Copy(io.Discard, conn)
			pongs = int(n) / frameHeaderBytes
		}()
		for range 10_000 {
			if _, err := conn.Write(appendHeader(nil, framePing, 0)); err != nil {
				t.Fatal(err)
			}
		}
		_ = conn.Close()
		<-served
		<-done
		if pongs != 1 {
			t.Errorf("%d answers in no time", pongs)
		}
	})
}
