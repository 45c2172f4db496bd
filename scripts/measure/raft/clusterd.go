package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"sync"
	"time"

	"clusterd/raft"
)

// clusterdGroup is three members of clusterd's consensus group.
type clusterdGroup struct {
	peers     []*raft.Peer
	networks  []*raft.Network
	listeners []net.Listener
	accepting sync.WaitGroup
	leader    *raft.Peer
}

func openClusterd(ctx context.Context, dir string) (group, error) {
	g := &clusterdGroup{}
	voters := []uint64{1, 2, 3}
	for range voters {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(err, g.close())
		}
		g.listeners = append(g.listeners, l)
	}
	leads := make(chan *raft.Peer, len(voters))
	for i, id := range voters {
		n := raft.NewNetwork(raft.NetworkConfig{ID: id, Dial: func(ctx context.Context, to uint64) (net.Conn, error) {
			return dial(ctx, g.listeners[to-1].Addr().String(), id)
		}})
		g.networks = append(g.networks, n)
		g.accepting.Go(func() { g.accept(g.listeners[i], n) })
		p, err := raft.Open(raft.Config{Dir: filepath.Join(dir, fmt.Sprint(id)), ID: id, Voters: voters, Transport: n}, &values{})
		if err != nil {
			return nil, errors.Join(err, g.close())
		}
		n.Attach(p)
		g.peers = append(g.peers, p)
		go func() {
			for l := range p.Leadership() {
				if l.Leader {
					leads <- p
					return
				}
			}
		}()
	}
	select {
	case g.leader = <-leads:
		return g, nil
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), g.close())
	case <-time.After(time.Minute):
		return nil, errors.Join(errors.New("clusterd has no leader after a minute"), g.close())
	}
}

// dial connects to a member and says who dials, in the place of a certificate.
func dial(ctx context.Context, address string, from uint64) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, from)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (g *clusterdGroup) accept(l net.Listener, n *raft.Network) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed
		}
		g.accepting.Go(func() {
			from := make([]byte, 8)
			if _, err := io.ReadFull(conn, from); err != nil {
				_ = conn.Close() // it was of no use
				return
			}
			n.Serve(conn, binary.BigEndian.Uint64(from))
		})
	}
}

func (g *clusterdGroup) put(ctx context.Context, key string, value []byte) error {
	data := make([]byte, 0, 2+len(key)+len(value))
	data = binary.BigEndian.AppendUint16(data, uint16(len(key)))
	data = append(append(data, key...), value...)
	_, _, err := g.leader.Propose(ctx, data)
	return err
}

func (g *clusterdGroup) close() error {
	var errs []error
	for _, n := range g.networks {
		errs = append(errs, n.Close())
	}
	for _, p := range g.peers {
		errs = append(errs, p.Close())
	}
	for _, l := range g.listeners {
		errs = append(errs, l.Close())
	}
	g.accepting.Wait()
	return errors.Join(errs...)
}

// values is a state machine that keeps a value for each key.
type values struct{ of map[string][]byte }

func (v *values) Apply(_ uint64, data []byte) (any, error) {
	if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
		return nil, errors.New("entry is cut off")
	}
	key := data[2 : 2+binary.BigEndian.Uint16(data)]
	if v.of == nil {
		v.of = make(map[string][]byte)
	}
	v.of[string(key)] = append([]byte(nil), data[2+len(key):]...)
	return nil, nil
}

func (v *values) Snapshot() (func(io.Writer) error, error) {
	of := maps.Clone(v.of)
	return func(w io.Writer) error {
		out := bufio.NewWriter(w)
		for key, value := range of {
			for _, part := range [][]byte{[]byte(key), value} {
				if _, err := out.Write(append(binary.AppendUvarint(nil, uint64(len(part))), part...)); err != nil {
					return err
				}
			}
		}
		return out.Flush()
	}, nil
}

func (v *values) Restore(io.Reader) error {
	return errors.New("a member fell so far behind that it needs a snapshot: the measurement is of no use")
}
