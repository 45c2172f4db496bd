package trust_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"

	"clusterd/node/trust"
)

// The first node makes the authority and lets a second one in by a token.
func Example() {
	now := time.Now()
	authority, err := trust.NewAuthority("c1", now)
	check(err)
	token := trust.Token{Role: trust.TokenAgent, Fingerprint: authority.Fingerprint(), Secret: trust.DeriveSecret(authority, trust.TokenAgent, 1)}
	kept := trust.HashSecret(token.Secret) // all that is stored of it
	master := certify(authority, "n1", trust.RoleMaster, now)

	// On the other machine there is nothing but the token as text.
	given, err := trust.ParseToken(token.Text())
	check(err)
	who, _ := connect(master.Listen(trust.ProtocolJoin, trust.ProtocolNode), trust.JoinDial(given.Fingerprint))
	first, err := trust.JoinPeer(who, given.Fingerprint)
	check(err)
	fmt.Println("joining by node", first.NodeID, first.Role)
	fmt.Println("welcome:", trust.SecretMatches(given.Secret, kept))
	agent := certify(authority, "n2", trust.RoleAgent, now)

	dir, err := os.MkdirTemp("", "trust")
	check(err)
	defer os.RemoveAll(dir)
	files := trust.NewFiles(filepath.Join(dir, "tls"))
	check(files.Save(agent.Key(), agent.Chain(), agent.Authorities()))

	_, from := connect(master.Listen(trust.ProtocolJoin, trust.ProtocolNode), agent.Dial("n1", trust.ProtocolNode))
	peer, ok := master.Peer(from)
	fmt.Println("stream from node", peer.NodeID, peer.Role, ok)

	master.Refuse([]string{"n2"})
	_, ok = master.Peer(from)
	fmt.Println("after its removal:", ok)
	fmt.Println(agent, agent.Key())
	// Output:
	// joining by node n1 master
	// welcome: true
	// stream from node n2 agent true
	// after its removal: false
	// credentials of agent node n2 of cluster c1 (private key)
}

func certify(authority *trust.Authority, node string, role trust.Role, now time.Time) *trust.Credentials {
	key, err := trust.NewKey()
	check(err)
	request, err := trust.Request(key)
	check(err)
	cert, err := authority.Sign(request, trust.Identity{ClusterID: authority.ClusterID(), NodeID: node, Role: role}, now, trust.Lifetime)
	check(err)
	credentials, err := trust.NewCredentials(key, [][]byte{cert}, [][]byte{authority.CertificateDER()})
	check(err)
	return credentials
}

// connect gives what the dialling and the accepting side see of each other.
func connect(accept, dial *tls.Config) (dialed, accepted tls.ConnectionState) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", accept)
	check(err)
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		check(err)
		_, err = conn.Write([]byte{1})
		check(err)
		accepted = conn.(*tls.Conn).ConnectionState()
		check(conn.Close())
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	check(err)
	conn := tls.Client(raw, dial)
	defer conn.Close()
	_, err = io.ReadFull(conn, make([]byte, 1))
	check(err)
	<-done
	return conn.ConnectionState(), accepted
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
