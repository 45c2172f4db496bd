package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// SocketName is the socket for administrators below the data directory.
const SocketName = "clusterd.sock"

// maxSocketPath is what fits a socket's address.
const maxSocketPath = 107

// adminListener lets only root and the node's own user in, whatever the modes of files say.
type adminListener struct {
	net.Listener
	log *slog.Logger
	dir *os.File // open if the socket's path goes through it
}

// listenSocket opens the socket for administrators. It is a file of mode 0600.
func listenSocket(dataDir string, log *slog.Logger) (net.Listener, error) {
	path := filepath.Join(dataDir, SocketName)
	// The data directory is locked: what lies there is left by a process that is gone.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	l := &adminListener{log: log}
	short, err := l.shorten(path)
	if err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	// Its directory belongs to the node, and between here and chmod Accept asks who calls.
	if l.Listener, err = net.Listen("unix", short); err != nil {
		return nil, errors.Join(fmt.Errorf("--data-dir: socket %s: %w", path, err), l.closeDir())
	}
	l.Listener.(*net.UnixListener).SetUnlinkOnClose(false) // the short name may not lead there any more
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("--data-dir: %w", err), l.Close())
	}
	return l, nil
}

// shorten names a path that does not fit a socket's address by way of its open directory.
func (l *adminListener) shorten(path string) (string, error) {
	if len(path) <= maxSocketPath {
		return path, nil
	}
	var err error
	if l.dir, err = os.Open(filepath.Dir(path)); err != nil {
		return "", err
	}
	return "/proc/self/fd/" + strconv.Itoa(int(l.dir.Fd())) + "/" + filepath.Base(path), nil
}

func (l *adminListener) closeDir() error {
	if l.dir == nil {
		return nil
	}
	return l.dir.Close()
}

// Accept implements net.Listener.
func (l *adminListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		user, err := peerUser(conn.(*net.UnixConn))
		if err == nil && (user == 0 || user == os.Geteuid()) {
			return conn, nil
		}
		l.log.Warn("administrator's connection refused", slog.Int("user", user), slog.Any("error", err))
		_ = conn.Close()
	}
}

// Close implements net.Listener.
func (l *adminListener) Close() error { return errors.Join(l.Listener.Close(), l.closeDir()) }
