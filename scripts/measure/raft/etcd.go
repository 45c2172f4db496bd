package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/embed"
)

// etcdGroup is three members of etcd.
type etcdGroup struct {
	members []*embed.Etcd
	leader  *embed.Etcd
}

func openEtcd(ctx context.Context, dir string) (group, error) {
	g := &etcdGroup{}
	peers, initial := make([]url.URL, 3), ""
	for i := range peers {
		u, err := freeURL()
		if err != nil {
			return nil, err
		}
		peers[i] = u
		initial += fmt.Sprintf("member-%d=%s,", i, u.String())
	}
	for i, u := range peers {
		client, err := freeURL()
		if err != nil {
			return nil, errors.Join(err, g.close())
		}
		cfg := embed.NewConfig()
		cfg.Name = fmt.Sprintf("member-%d", i)
		cfg.Dir = filepath.Join(dir, cfg.Name)
		cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{u}, []url.URL{u}
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
		cfg.InitialCluster = initial[:len(initial)-1]
		cfg.LogLevel = "fatal"
		member, err := embed.StartEtcd(cfg)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start etcd: %w", err), g.close())
		}
		g.members = append(g.members, member)
	}
	for _, member := range g.members {
		select {
		case <-member.Server.ReadyNotify():
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), g.close())
		case <-time.After(time.Minute):
			return nil, errors.Join(errors.New("etcd is not ready after a minute"), g.close())
		}
	}
	for _, member := range g.members {
		if member.Server.Leader() == member.Server.MemberID() {
			g.leader = member
		}
	}
	if g.leader == nil {
		return nil, errors.Join(errors.New("etcd has no leader"), g.close())
	}
	return g, nil
}

// freeURL is a port on loopback that nobody uses now.
func freeURL() (url.URL, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return url.URL{}, err
	}
	return url.URL{Scheme: "http", Host: l.Addr().String()}, l.Close()
}

func (g *etcdGroup) put(ctx context.Context, key string, value []byte) error {
	_, err := g.leader.Server.Put(ctx, &pb.PutRequest{Key: []byte(key), Value: value})
	return err
}

func (g *etcdGroup) close() error {
	for _, member := range g.members {
		member.Close()
	}
	return nil
}
