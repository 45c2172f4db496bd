package raft

import "go.etcd.io/raft/v3/raftpb"

// Transport carries messages to other peers. It may lose, delay and repeat them; the other side
// gives them to its [Peer.Receive].
type Transport interface {
	// Send takes messages of one turn in their order. The loop of the peer calls it, after what
	// the messages promise is on disk: it must not block on the network, and must not change the
	// messages. A message that could not be delivered is reported with [Peer.ReportUnreachable], the
	// outcome of each MsgSnap with [Peer.ReportSnapshot].
	Send(messages []*raftpb.Message)
}

// alone is the transport of the only member of a group: there is nobody to send to.
type alone struct{}

func (alone) Send([]*raftpb.Message) {}
