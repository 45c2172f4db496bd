package raft

import (
	"context"
	"fmt"
	"log/slog"

	etcdraft "go.etcd.io/raft/v3"
)

// protocolLogger passes what the protocol library says on to slog: its information is our debug
// output. Its panics, which mean a broken invariant, carry their text to the loop, which stops the
// peer.
type protocolLogger struct{ log *slog.Logger }

var _ etcdraft.Logger = protocolLogger{}

// brokenInvariant is the panic of the protocol library.
type brokenInvariant string

func (b brokenInvariant) Error() string { return "raft invariant broken: " + string(b) }

func (l protocolLogger) say(level slog.Level, text func() string) {
	if ctx := context.Background(); l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, text())
	}
}

func (l protocolLogger) Debug(v ...any) {
	l.say(slog.LevelDebug, func() string { return fmt.Sprint(v...) })
}

func (l protocolLogger) Debugf(f string, v ...any) {
	l.say(slog.LevelDebug, func() string { return fmt.Sprintf(f, v...) })
}

func (l protocolLogger) Info(v ...any)            { l.Debug(v...) }
func (l protocolLogger) Infof(f string, v ...any) { l.Debugf(f, v...) }

func (l protocolLogger) Warning(v ...any) {
	l.say(slog.LevelWarn, func() string { return fmt.Sprint(v...) })
}

func (l protocolLogger) Warningf(f string, v ...any) {
	l.say(slog.LevelWarn, func() string { return fmt.Sprintf(f, v...) })
}

func (l protocolLogger) Error(v ...any) {
	l.say(slog.LevelError, func() string { return fmt.Sprint(v...) })
}

func (l protocolLogger) Errorf(f string, v ...any) {
	l.say(slog.LevelError, func() string { return fmt.Sprintf(f, v...) })
}

func (l protocolLogger) Fatal(v ...any)            { panic(brokenInvariant(fmt.Sprint(v...))) }
func (l protocolLogger) Fatalf(f string, v ...any) { panic(brokenInvariant(fmt.Sprintf(f, v...))) }
func (l protocolLogger) Panic(v ...any)            { panic(brokenInvariant(fmt.Sprint(v...))) }
func (l protocolLogger) Panicf(f string, v ...any) { panic(brokenInvariant(fmt.Sprintf(f, v...))) }
