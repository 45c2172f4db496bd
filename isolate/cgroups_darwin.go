package isolate

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
)

// There are no cgroups here: containers are plain processes, and these are
// never called with one that is not.
type (
	cgroups struct{}
	cgroup  struct{}
)

var errNoCgroups = errors.New("no cgroups on this system")

func detect(Config, string) (*cgroups, Isolation) {
	iso := Isolation{Mechanisms: []string{"posix/cpu", "posix/mem"}}
	for _, what := range []string{"namespaces", "cpu shares and quota", "memory limit"} {
		iso.Missing = append(iso.Missing, Missing{What: what, Why: "this is not Linux"})
	}
	return nil, iso
}

func (g *cgroup) enterAtFork(*syscall.SysProcAttr) (func(), error) { return func() {}, nil }
func (g *cgroup) enter(int) error                                  { return nil }

func (m *cgroups) create(string, Limits) (*cgroup, error)              { return nil, errNoCgroups }
func (m *cgroups) kill(string) error                                   { return nil }
func (m *cgroups) destroy(string) error                                { return nil }
func (m *cgroups) update(string, Limits) error                         { return errNoCgroups }
func (m *cgroups) measure(string, *Stats) error                        { return errNoCgroups }
func (m *cgroups) memoryUse(string) memoryUse                          { return memoryUse{} }
func (m *cgroups) removeOrphans(func(string) bool, *slog.Logger) error { return nil }

func maybeContainerInit() {}

func (s *shim) startContained(Command) (*Process, error) { return nil, errNoCgroups }
func (s *shim) connectInit() error                       { return errNoCgroups }
func (s *shim) dismissInit() error                       { return errNoCgroups }
func (e *engine) start(context.Context, *launch) (processRef, error) {
	return processRef{}, errNoCgroups
}
func (s *shim) memoryUse() memoryUse { return memoryUse{} }
func protectShim() error             { return nil }
