package node

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// portPatience is how long a port in use is tried again: a process that a killed node was just about
// to start holds the node's ports until it executes its program.
const portPatience = time.Second

// listeners are the sockets of a node.
type listeners struct {
	master, agent, peer net.Listener
}

// open takes all ports or none; the agent's only if it runs tasks. An error names the flag.
func (l *listeners) open(cfg *Config, tasks bool) error {
	for _, w := range []struct {
		flag, addr string
		to         *net.Listener
	}{{"listen", cfg.Listen, &l.master}, {"agent-listen", cfg.AgentListen, &l.agent}, {"peer-listen", cfg.PeerListen, &l.peer}} {
		if w.to == &l.agent && !tasks {
			continue
		}
		got, err := patiently(func() (net.Listener, error) { return net.Listen("tcp", w.addr) })
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

// patiently tries again while the port is in use, but not for long.
func patiently(listen func() (net.Listener, error)) (net.Listener, error) {
	for end := time.Now().Add(portPatience); ; time.Sleep(20 * time.Millisecond) {
		l, err := listen()
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(end) {
			return l, err
		}
	}
}

// close gives the ports back; those that a server has closed already are no error.
func (l *listeners) close() {
	for _, s := range []net.Listener{l.master, l.agent, l.peer} {
		if s != nil {
			_ = s.Close()
		}
	}
}
