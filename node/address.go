package node

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos/wire"
	"clusterd/raft/registry"
)

// address is where this node is reached, as others are told.
type address struct {
	ip, hostname                    string
	masterPort, agentPort, peerPort int
	tasks                           bool // whether there is an agent
}

func (a address) master() string { return net.JoinHostPort(a.hostname, strconv.Itoa(a.masterPort)) }
func (a address) agent() string  { return net.JoinHostPort(a.ip, strconv.Itoa(a.agentPort)) }
func (a address) peer() string   { return net.JoinHostPort(a.ip, strconv.Itoa(a.peerPort)) }

// wire is the address as other nodes are told.
func (a address) wire() *wire.Addresses {
	w := &wire.Addresses{Peer: proto.String(a.peer()), Master: proto.String(a.master())}
	if a.tasks {
		w.Agent = proto.String(a.agent())
	}
	return w
}

// nodeAt is where a node of the registry is reached.
func nodeAt(node *registry.Node) whereabouts {
	return whereabouts{node.GetId(), &wire.Addresses{Peer: node.PeerAddress, Master: node.MasterAddress, Agent: node.AgentAddress}}
}

// self is where this node is reached.
func (n *Node) self() whereabouts { return whereabouts{n.identity().NodeID, n.host.wire()} }

// addresses works out what others are told. An address that is not given is taken from the listening
// socket, or, if that listens everywhere, from the way to the outside.
func (n *Node) addresses() address {
	a := address{ip: n.config.Advertise, hostname: n.config.Hostname}
	a.masterPort, a.peerPort, a.tasks = port(n.listeners.master.Addr()), port(n.listeners.peer.Addr()), n.listeners.agent != nil
	if a.tasks {
		a.agentPort = port(n.listeners.agent.Addr())
	}
	if a.ip == "" {
		if tcp, ok := n.listeners.master.Addr().(*net.TCPAddr); ok && !tcp.IP.IsUnspecified() {
			a.ip = tcp.IP.String()
		} else {
			a.ip = outwardIP()
		}
	}
	if a.hostname == "" {
		a.hostname = lookupName(a.ip)
	}
	return a
}

// lookupName is the name that the address has and that leads back to it; else the address itself.
func lookupName(ip string) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	names, err := net.DefaultResolver.LookupAddr(ctx, ip)
	if err != nil {
		return ip
	}
	for _, name := range names {
		name = strings.TrimSuffix(name, ".")
		back, err := net.DefaultResolver.LookupHost(ctx, name)
		if err != nil {
			continue
		}
		for _, b := range back {
			if b == ip {
				return name
			}
		}
	}
	return ip
}

// outwardIP is the address with which this machine would speak to others. Nothing is sent.
func outwardIP() string {
	conn, err := net.Dial("udp", "192.0.2.1:9")
	if err != nil {
		return "127.0.0.1"
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).IP.String()
}

func port(a net.Addr) int {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// reachable is the address of a socket as this machine reaches it.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
}
