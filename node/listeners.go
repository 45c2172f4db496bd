package node

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// listeners are the sockets of a node.
type listeners struct {
	master, agent, peer net.Listener
}

// open takes all ports or none. An error names the flag.
func (l *listeners) open(cfg *Config) error {
	for _, w := range []struct {
		flag, addr string
		to         *net.Listener
	}{{"listen", cfg.Listen, &l.master}, {"agent-listen", cfg.AgentListen, &l.agent}, {"peer-listen", cfg.PeerListen, &l.peer}} {
		got, err := net.Listen("tcp", w.addr)
		if err != nil {
			l.close()
			if errors.Is(err, syscall.EADDRINUSE) {
				return fmt.Errorf("--%s: address %s is in use by another program", w.flag, w.addr)
			}
			var op *net.OpError
			if errors.As(err, &op) {
				err = op.Err
			}
			return fmt.Errorf("--%s: address %s: %w", w.flag, w.addr, err)
		}
		*w.to = got
	}
	return nil
}

// close gives the ports back; those that a server has closed already are no error.
func (l *listeners) close() {
	for _, s := range []net.Listener{l.master, l.agent, l.peer} {
		if s != nil {
			_ = s.Close()
		}
	}
}
