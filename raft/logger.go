package raft

import (
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

func (l protocolLogger) Debug(v ...any)              { l.log.Debug(fmt.Sprint(v...)) }
func (l protocolLogger) Debugf(f string, v ...any)   { l.log.Debug(fmt.Sprintf(f, v...)) }
func (l protocolLogger) Info(v ...any)               { l.log.Debug(fmt.Sprint(v...)) }
func (l protocolLogger) Infof(f string, v ...any)    { l.log.Debug(fmt.Sprintf(f, v...)) }
func (l protocolLogger) Warning(v ...any)            { l.log.Warn(fmt.Sprint(v...)) }
func (l protocolLogger) Warningf(f string, v ...any) { l.log.Warn(fmt.Sprintf(f, v...)) }
func (l protocolLogger) Error(v ...any)              { l.log.Error(fmt.Sprint(v...)) }
func (l protocolLogger) Errorf(f string, v ...any)   { l.log.Error(fmt.Sprintf(f, v...)) }
func (l protocolLogger) Fatal(v ...any)              { panic(brokenInvariant(fmt.Sprint(v...))) }
func (l protocolLogger) Fatalf(f string, v ...any)   { panic(brokenInvariant(fmt.Sprintf(f, v...))) }
func (l protocolLogger) Panic(v ...any)              { panic(brokenInvariant(fmt.Sprint(v...))) }
func (l protocolLogger) Panicf(f string, v ...any)   { panic(brokenInvariant(fmt.Sprintf(f, v...))) }
