package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	randv2 "math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	"clusterd/node/mesos/wire"
	"clusterd/node/trust"
)

const (
	// joinTime is how long one try may take.
	joinTime = 10 * time.Second
	// maxJoinRefusals is how often a node is refused before that counts as final: the address of a node
	// that was there before may be free in a moment.
	maxJoinRefusals = 5
	// refusedPause is the least time after a refusal: failed tries are limited for each address.
	refusedPause = 10 * time.Second
)

// join makes all agents nodes of the cluster, some at a time: those that are it already come first.
func (c *crew) join() {
	var next atomic.Int64
	for range max(1, min(c.joins, len(c.nodes))) {
		c.wg.Go(func() {
			for c.ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(c.nodes) {
					return
				}
				if err := c.enter(c.nodes[i]); err != nil {
					c.fail(err)
					return
				}
			}
		})
	}
}

// enter gives a node its identity, and its agent a start. An error ends the run.
func (c *crew) enter(n *node) error {
	id := c.ids[n.number]
	fresh := id == nil
	if !fresh {
		id.Issuer = c.issuer(id.Issuer)
		if err := n.become(*id, randv2.Float64()); err != nil {
			return fmt.Errorf("-state: %w", err)
		}
		fresh = !time.Now().Before(n.certificateEnds())
	}
	if fresh {
		var err error
		if id, err = c.admit(n); err != nil || id == nil {
			return err
		}
		if err := n.become(*id, randv2.Float64()); err != nil {
			return err
		}
		if err := c.archive.save(*id); err != nil {
			return err
		}
	}
	if err := c.verifyWith(id); err != nil {
		return err
	}
	n.loop.put(admitted{n: n.place, id: mesos.AgentID(id.AgentID)})
	return nil
}

// verifyWith makes the credentials with which masters are verified, of the first identity that is there.
func (c *crew) verifyWith(id *identity) error {
	if c.creds.Load() != nil {
		return nil
	}
	key, err := trust.ParseKey(id.Key)
	if err != nil {
		return fmt.Errorf("key of node %s: %w", id.NodeID, err)
	}
	// Other nodes may have renewed their certificates when this one was away.
	authorities := [][]byte{id.Issuer}
	for _, other := range c.ids {
		if !slices.ContainsFunc(authorities, func(a []byte) bool { return bytes.Equal(a, other.Issuer) }) {
			authorities = append(authorities, other.Issuer)
		}
	}
	creds, err := trust.NewCredentials(key, [][]byte{id.Certificate, id.Issuer}, authorities)
	if err != nil {
		return fmt.Errorf("node %s: %w", id.NodeID, err)
	}
	c.creds.CompareAndSwap(nil, creds)
	return nil
}

// admit has the cluster admit a node, however often that must be asked. It is nil when the run ends.
func (c *crew) admit(n *node) (*identity, error) {
	key, err := trust.NewKey()
	if err != nil {
		return nil, err
	}
	der, err := trust.MarshalKey(key)
	if err != nil {
		return nil, err
	}
	request, err := trust.Request(key)
	if err != nil {
		return nil, err
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	id := &identity{Number: n.number, NodeID: hex.EncodeToString(random[:]), Key: der}
	ask := &wire.JoinRequest{
		Request: request, NodeId: &id.NodeID, Name: &n.profile.name, Role: proto.String("agent"), Version: &c.version,
		Addresses: n.addresses(), Domain: n.profile.domain, Attributes: n.profile.attributes,
	}
	refusals := 0
	wait := time.Duration(0)
	for try := 0; ; try++ {
		joined, err := c.ask(n, ask, try)
		if err == nil {
			c.count(joins)
			id.ClusterID, id.Certificate, id.Issuer = joined.GetClusterId(), joined.GetCertificates()[0], c.issuer(joined.GetCertificates()[1])
			return id, nil
		}
		if c.ctx.Err() != nil {
			return nil, nil
		}
		c.count(joinFailures)
		c.fault("join", err)
		wait = min(wait*3/2+firstRetry, lastRetry)
		var refused *rejection
		if errors.As(err, &refused) {
			wait = refusedPause
			if refusals++; refusals == maxJoinRefusals || c.creds.Load() == nil {
				return nil, fmt.Errorf("%s does not come into the cluster: %w", n.profile.name, err)
			}
		}
		if errors.Is(err, trust.ErrOtherAuthority) {
			return nil, err
		}
		pause(c.ctx, wait/2+randv2.N(wait/2+1))
	}
}

// pause waits, but not beyond the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// ask asks one master to let a node in, and the one that it names as the leader.
func (c *crew) ask(n *node, ask *wire.JoinRequest, try int) (*wire.Joined, error) {
	at := c.joinAt.Load()
	if at == nil || try%2 == 1 {
		masters := c.masters()
		if len(masters) == 0 {
			return nil, errors.New("no master is known")
		}
		at = &masters[(n.number+try)%len(masters)].peer
	}
	for hops := 0; ; hops++ {
		answer, err := c.askAt(n, *at, ask)
		if err != nil {
			return nil, fmt.Errorf("join at %s: %w", *at, err)
		}
		switch o := answer.GetOutcome().(type) {
		case *wire.JoinAnswer_Joined:
			if len(o.Joined.GetCertificates()) < 2 {
				return nil, fmt.Errorf("join at %s: the certificate comes without that of its authority", *at)
			}
			c.joinAt.Store(at)
			return o.Joined, nil
		case *wire.JoinAnswer_Refused:
			return nil, fmt.Errorf("join at %s: %w", *at, &rejection{o.Refused.GetReason(), true})
		case *wire.JoinAnswer_Redirect:
			if o.Redirect.GetLeader() == "" || hops == maxHops {
				return nil, fmt.Errorf("join at %s: the cluster has no leading master at this moment", *at)
			}
			at = o.Redirect.Addresses.Peer
		default:
			return nil, fmt.Errorf("join at %s: its answer is empty", *at)
		}
	}
}

func (c *crew) askAt(n *node, at string, ask *wire.JoinRequest) (*wire.JoinAnswer, error) {
	ctx, cancel := context.WithTimeout(c.ctx, joinTime)
	defer cancel()
	d := tls.Dialer{NetDialer: c.dialer(n.number, at), Config: trust.JoinDial(c.token.Fingerprint)}
	conn, err := d.DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, err
	}
	defer conn.Close() // all was read, or an error says more
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	ask.Time, ask.Token = proto.Int64(time.Now().UnixNano()), &c.token.Secret
	if err := mesos.WriteFrame(conn, ask); err != nil {
		return nil, err
	}
	answer := &wire.JoinAnswer{}
	if err := mesos.ReadFrame(conn, answer, maxGreetingBytes); err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	return answer, nil
}
