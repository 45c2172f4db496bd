package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	"clusterd/node/mesos/wire"
	"clusterd/node/trust"
)

const (
	// joinPatience is how long a join waits for a cluster that has no leader at this moment, or whose
	// members do not answer.
	joinPatience = 30 * time.Second
	joinPause    = 500 * time.Millisecond
	// joinTime is how long one try may take.
	joinTime = 10 * time.Second
	// askTime is how long a stranger may take to say what it wants.
	askTime = 3 * time.Second

	// joiningName lies in the directory of the keys.
	joiningName = "joining.json"
)

// join makes this machine a node of the cluster of config.Join (CLU-3, CLU-20).
func (n *Node) join() error {
	text, err := n.config.JoinToken()
	if err != nil {
		return err
	}
	if text == "" {
		return errors.New("--token: a token is needed to join: run 'clusterd token' on a node of the cluster")
	}
	token, err := trust.ParseToken(text)
	if err != nil {
		return fmt.Errorf("--token: %w", err)
	}
	peers, err := n.config.PeerAddresses()
	if err != nil {
		return fmt.Errorf("--join: %w", err)
	}
	fresh, request, err := n.prepareJoin()
	if err != nil {
		return err
	}
	ask := &wire.JoinRequest{
		Token: proto.String(""), Request: request, NodeId: &fresh.id.NodeID, Name: &fresh.id.Name, Role: &fresh.id.Role,
		Version: proto.String(Version), Addresses: n.host.wire(), Domain: n.domain, Attributes: n.attributes,
	}
	joined, err := n.askToJoin(peers, token, ask)
	if err != nil {
		return err
	}
	fresh.id.ClusterID, fresh.chain = joined.GetClusterId(), joined.GetCertificates()
	fresh.id.know(joined.GetMembers())
	if err := n.files.Save(fresh.key, fresh.chain, joined.GetAuthorities()); err != nil {
		return fmt.Errorf("write certificates: %w", err)
	}
	if err := fresh.id.save(n.config.DataDir); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	if err := os.Remove(filepath.Join(n.config.DataDir, tlsName, joiningName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	n.id = fresh.id
	if n.credentials, err = trust.NewCredentials(fresh.key, fresh.chain, joined.GetAuthorities()); err != nil {
		return fmt.Errorf("certificate that the cluster has given: %w", err)
	}
	n.log.Info("joined the cluster", slog.String("cluster_id", fresh.id.ClusterID), slog.String("node_id", fresh.id.NodeID))
	return nil
}

// joining is what a node that asks to join must know again after a crash, so that it is the same node.
type joining struct {
	NodeID string `json:"node_id"`
	Key    []byte `json:"key"` // PKCS #8
}

// prepareJoin makes the node's key and id, or takes those of a try that did not come to its end.
func (n *Node) prepareJoin() (*newcomer, []byte, error) {
	path := filepath.Join(n.config.DataDir, tlsName, joiningName)
	var j joining
	var key trust.Key
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(data, &j); err != nil {
			return nil, nil, fmt.Errorf("%s: %w: remove it to join as a new node", path, err)
		}
		if key, err = trust.ParseKey(j.Key); err != nil {
			return nil, nil, fmt.Errorf("%s: %w: remove it to join as a new node", path, err)
		}
	case errors.Is(err, os.ErrNotExist):
		if key, err = trust.NewKey(); err != nil {
			return nil, nil, fmt.Errorf("make the node's key: %w", err)
		}
		j.NodeID = newNodeID()
		if j.Key, err = trust.MarshalKey(key); err != nil {
			return nil, nil, fmt.Errorf("make the node's key: %w", err)
		}
		if data, err = json.Marshal(j); err != nil {
			return nil, nil, err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, nil, err
		}
		if err := writeFileWhole(path, data, 0o600); err != nil {
			return nil, nil, err
		}
	default:
		return nil, nil, err
	}
	request, err := trust.Request(key)
	if err != nil {
		return nil, nil, fmt.Errorf("request the node's certificate: %w", err)
	}
	return &newcomer{id: &identity{NodeID: j.NodeID, Name: n.name, Role: n.config.Role}, key: key}, request, nil
}

// askToJoin asks one peer after the other, and the leader that they name, until one has an answer.
func (n *Node) askToJoin(peers []string, token trust.Token, ask *wire.JoinRequest) (*wire.Joined, error) {
	var last error
	for end := time.Now().Add(joinPatience); ; {
		for _, peer := range peers {
			joined, err := n.askPeer(peer, token, ask, 0)
			var refused *rejection
			switch {
			case err == nil:
				return joined, nil
			case errors.As(err, &refused), errors.Is(err, trust.ErrOtherAuthority):
				return nil, fmt.Errorf("join %s: %w", peer, err)
			case errors.As(err, new(tls.RecordHeaderError)):
				return nil, fmt.Errorf("join %s: it does not speak TLS: name the port between nodes, %d unless --peer-listen says otherwise", peer, PeerPort)
			}
			if again := fmt.Errorf("join %s: %w", peer, err); last == nil || again.Error() != last.Error() {
				last = again
				n.log.Info("not joined yet", slog.String("peer", peer), slog.Any("reason", err))
			}
		}
		if time.Now().After(end) {
			return nil, last
		}
		select {
		case <-n.ctx.Done():
			return nil, errors.Join(last, n.ctx.Err())
		case <-time.After(joinPause):
		}
	}
}

// maxRedirects bounds how often one try is sent on to another node.
const maxRedirects = 4

func (n *Node) askPeer(addr string, token trust.Token, ask *wire.JoinRequest, redirects int) (*wire.Joined, error) {
	ctx, cancel := context.WithTimeout(n.ctx, joinTime)
	defer cancel()
	d := tls.Dialer{NetDialer: &net.Dialer{}, Config: trust.JoinDial(token.Fingerprint)}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, shortError(err)
	}
	defer conn.Close() // all was read, or an error says more
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	from, err := trust.JoinPeer(conn.(*tls.Conn).ConnectionState(), token.Fingerprint)
	if err != nil {
		return nil, err
	}
	ask.Time, ask.Token = proto.Int64(time.Now().UnixNano()), &token.Secret
	if from.Role != trust.RoleMaster {
		ask.Token = proto.String("") // it can only say who leads, and is not to learn what makes masters
	}
	if err := mesos.WriteFrame(conn, ask); err != nil {
		return nil, err
	}
	answer := &wire.JoinAnswer{}
	if err := mesos.ReadFrame(conn, answer, maxGreetingBytes); err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	switch o := answer.GetOutcome().(type) {
	case *wire.JoinAnswer_Joined:
		return o.Joined, nil
	case *wire.JoinAnswer_Refused:
		return nil, &rejection{reason: o.Refused.GetReason(), final: true}
	case *wire.JoinAnswer_Redirect:
		if o.Redirect.GetLeader() == "" || redirects == maxRedirects {
			return nil, errors.New("the cluster has no leading master at this moment")
		}
		return n.askPeer(o.Redirect.GetAddresses().GetPeer(), token, ask, redirects+1)
	}
	return nil, errors.New("its answer is empty: is it a newer version of clusterd?")
}

// serveJoin answers one request to join (CLU-22). The caller closes the connection.
func (n *Node) serveJoin(conn net.Conn, remote string) {
	err := func() error {
		if err := conn.SetDeadline(time.Now().Add(askTime)); err != nil {
			return err
		}
		ask := &wire.JoinRequest{}
		if err := mesos.ReadFrame(conn, ask, maxGreetingBytes); err != nil {
			return err
		}
		if err := conn.SetDeadline(time.Now().Add(joinTime)); err != nil {
			return err
		}
		answer, err := n.admit(ask, remote)
		if err != nil {
			return err
		}
		return mesos.WriteFrame(conn, answer)
	}()
	if err != nil {
		n.log.Debug("request to join not answered", slog.String("remote", remote), slog.Any("error", err))
	}
}

// admit lets a node in if it leads, or says who does.
func (n *Node) admit(ask *wire.JoinRequest, remote string) (*wire.JoinAnswer, error) {
	l := n.acting()
	if l == nil {
		return &wire.JoinAnswer{Outcome: &wire.JoinAnswer_Redirect{Redirect: n.redirect().GetRedirect()}}, nil
	}
	joined, err := l.steward.admit(n.ctx, ask, remote)
	var refused *rejection
	switch {
	case errors.As(err, &refused):
		level := slog.LevelWarn
		if refused.quiet {
			level = slog.LevelDebug
		}
		n.log.Log(n.ctx, level, "node not admitted", slog.String("remote", remote), slog.String("name", printable(ask.GetName())), slog.String("reason", refused.reason))
		return &wire.JoinAnswer{Outcome: &wire.JoinAnswer_Refused{Refused: &wire.Refused{Reason: &refused.reason, Final: proto.Bool(true)}}}, nil
	case err != nil:
		n.log.Warn("node not admitted", slog.String("remote", remote), slog.Any("error", err))
		return &wire.JoinAnswer{Outcome: &wire.JoinAnswer_Redirect{Redirect: &wire.Redirect{}}}, nil
	}
	return &wire.JoinAnswer{Outcome: &wire.JoinAnswer_Joined{Joined: joined}}, nil
}

// printable is a text of a stranger, made harmless for a log.
func printable(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	return strings.ToValidUTF8(s, "?")
}
