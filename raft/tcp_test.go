package raft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// tcpNet is networks that dial each other on loopback. A connection begins with the id of the member
// that dialled, in the place of a certificate.
type tcpNet struct {
	t         testing.TB
	mu        sync.Mutex
	addresses map[uint64]string
	listeners map[uint64]net.Listener
	nets      map[uint64]*Network
	boxes     map[uint64]*awaited
	wg        sync.WaitGroup
}

func newTCPNet(t testing.TB, ids ...uint64) *tcpNet {
	w := emptyTCPNet(t, ids...)
	for _, id := range ids {
		w.boxes[id] = newAwaited(t)
		w.nets[id].Attach(w.boxes[id])
	}
	return w
}

// emptyTCPNet is networks to which nobody is attached yet.
func emptyTCPNet(t testing.TB, ids ...uint64) *tcpNet {
	w := &tcpNet{
		t: t, addresses: map[uint64]string{}, listeners: map[uint64]net.Listener{},
		nets: map[uint64]*Network{}, boxes: map[uint64]*awaited{},
	}
	for _, id := range ids {
		w.nets[id] = w.network(id)
	}
	t.Cleanup(func() {
		for _, id := range ids {
			w.close(id)
		}
		w.wg.Wait()
	})
	return w
}

// network listens for one member.
func (w *tcpNet) network(id uint64) *Network {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	n := NewNetwork(NetworkConfig{ID: id, Dial: func(ctx context.Context, to uint64) (net.Conn, error) { return w.dial(ctx, id, to) }})
	w.mu.Lock()
	w.addresses[id], w.listeners[id] = l.Addr().String(), l
	w.mu.Unlock()
	w.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.wg.Go(func() {
				name := make([]byte, 8)
				if _, err := io.ReadFull(conn, name); err != nil {
					_ = conn.Close()
					return
				}
				n.Serve(conn, binary.BigEndian.Uint64(name))
			})
		}
	})
	return n
}

func (w *tcpNet) dial(ctx context.Context, from, to uint64) (net.Conn, error) {
	w.mu.Lock()
	address := w.addresses[to]
	w.mu.Unlock()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, from)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// close ends one member's network.
func (w *tcpNet) close(id uint64) {
	w.t.Helper()
	w.mu.Lock()
	l, n := w.listeners[id], w.nets[id]
	delete(w.listeners, id)
	w.mu.Unlock()
	if l == nil {
		return
	}
	_ = l.Close()
	if err := n.Close(); err != nil {
		w.t.Errorf("close network %d: %v", id, err)
	}
}

// awaited is an inbox that can be waited for.
type awaited struct {
	*inbox
	mu      sync.Mutex
	changed *sync.Cond
	tb      testing.TB
}

func newAwaited(t testing.TB) *awaited {
	a := &awaited{inbox: newInbox(t), tb: t}
	a.changed = sync.NewCond(&a.mu)
	return a
}

func (a *awaited) wake() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed.Broadcast()
}

func (a *awaited) Receive(ctx context.Context, m *raftpb.Message) error {
	defer a.wake()
	return a.inbox.Receive(ctx, m)
}

func (a *awaited) ReportUnreachable(id uint64) {
	defer a.wake()
	a.inbox.ReportUnreachable(id)
}

func (a *awaited) ReportSnapshot(id uint64, delivered bool) {
	defer a.wake()
	a.inbox.ReportSnapshot(id, delivered)
}

// until returns a channel that is closed when cond holds.
func (a *awaited) until(cond func() bool) <-chan struct{} {
	held := make(chan struct{})
	go func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		for !cond() {
			a.changed.Wait()
		}
		close(held)
	}()
	return held
}

func (a *awaited) count(n int) <-chan struct{} {
	return a.until(func() bool { return len(a.got()) >= n })
}

func (a *awaited) told(id uint64) <-chan struct{} {
	return a.until(func() bool { return a.unreachable(id) > 0 })
}

func (a *awaited) ended(n int) <-chan struct{} {
	return a.until(func() bool { return len(a.outcomes()) >= n })
}

// Peers over TCP elect, replicate, and bring one that was away up to date by a snapshot, at a new
// address. CLU-30, CLU-36
func TestPeersOverTCP(t *testing.T) {
	journals := map[uint64]*journal{}
	cfgs := map[uint64]Config{}
	peers, w := tcpGroup(t, func(id uint64) StateMachine { journals[id] = &journal{}; return journals[id] }, func(cfg *Config) {
		cfg.SnapshotEntries, cfg.KeepEntries, cfg.NoSync = 50, 5, true
		cfgs[cfg.ID] = *cfg
	})
	leader, away := peers[0], peers[1].cfg.ID
	w.close(away)
	mustClose(t, peers[1])
	var want []string
	for i := range 300 {
		data := fmt.Sprintf("%d %s", i, strings.Repeat("x", i))
		mustPropose(t, leader, data)
		want = append(want, data)
	}
	n := w.network(away)
	w.mu.Lock()
	w.nets[away] = n
	w.mu.Unlock()
	cfg, j := cfgs[away], &journal{}
	cfg.Transport = n
	back, err := Open(cfg, j)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, back)
	n.Attach(back)
	for {
		_, err := back.ReadIndex(t.Context())
		if err == nil {
			break
		}
		if !errors.Is(err, ErrNotLeader) {
			t.Fatal(err)
		}
	}
	if got := j.all(); !slices.Equal(got, want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
	if s := back.Status(); s.SnapshotsReceived != 1 {
		t.Errorf("%d snapshots received", s.SnapshotsReceived)
	}
}
