//go:build !linux

package main

import (
	"errors"
	"syscall"
	"time"
)

const initName = ""

var errNoProc = errors.New("only on Linux: there is no /proc here")

type process struct {
	pid         int
	start       uint64
	name        string
	own, reaped time.Duration
}

func endWithParent(*syscall.SysProcAttr) {}

// Shims are not looked for: clusterd dev ends them itself.
func shimsOf(int) ([]process, error) { return nil, nil }

func readProcess(int) (process, error)         { return process{}, errNoProc }
func childrenOf(...int) ([]process, error)     { return nil, errNoProc }
func proportionalBytes(int) (int64, error)     { return 0, errNoProc }
func residentBytes(int) (int64, error)         { return 0, errNoProc }
func mountsBelow(dir string) ([]string, error) { return nil, nil }
func removeCgroups(string) error               { return nil }
