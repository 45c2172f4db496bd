package node

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A port that a killed node's last child still holds is waited for; one that stays taken is reported
// with its flag, and any other error at once. EXE-158
func TestPortInUse(t *testing.T) {
	taken := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	denied := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}
	for _, c := range []struct {
		name  string
		err   error
		times int // that it is returned, -1: always
		want  error
		most  time.Duration
	}{
		{"free", taken, 0, nil, 0},
		{"free after a moment", taken, 5, nil, portPatience},
		{"taken", taken, -1, syscall.EADDRINUSE, portPatience + 100*time.Millisecond},
		{"denied", denied, -1, syscall.EACCES, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, tries := time.Now(), 0
				_, err := patiently(func() (net.Listener, error) {
					if tries++; c.times < 0 || tries <= c.times {
						return nil, c.err
					}
					return nil, nil
				})
				if !errors.Is(err, c.want) || time.Since(began) > c.most {
					t.Errorf("%v after %v and %d tries, want %v", err, time.Since(began), tries, c.want)
				}
			})
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := DefaultConfig()
	cfg.Listen, cfg.AgentListen = "127.0.0.1:0", l.Addr().String()
	if err := new(listeners).open(&cfg, true); err == nil || !strings.HasPrefix(err.Error(), "--agent-listen: address "+l.Addr().String()+" is in use") {
		t.Errorf("error %v", err)
	}
}
