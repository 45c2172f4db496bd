package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/isolate"
	"clusterd/node/agent"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// launching bounds how many containers are created at the same time: more only slow each other down.
var launching = make(chan struct{}, max(4, 2*runtime.NumCPU()))

// containerRun is one container of the runtime, or one on its way.
type containerRun struct {
	cancel    context.CancelFunc // of the launch
	container *isolate.Container // nil until it runs
	doomed    bool               // Destroy came
}

// adopt takes over the containers that an earlier run of this node left behind.
func (s *agentShell) adopt(found []*isolate.Container) map[mesos.ContainerID]agent.ContainerState {
	states := make(map[mesos.ContainerID]agent.ContainerState, len(found))
	for _, c := range found {
		id := mesos.ContainerID(c.ID())
		s.containers[id] = &containerRun{container: c, cancel: func() {}}
		select {
		case <-c.Done():
			exit := translateExit(c.Exit())
			states[id] = agent.ContainerState{Exit: &exit}
		default:
			states[id] = agent.ContainerState{Pid: c.Pid()}
			s.wg.Go(func() { s.await(id, c) })
		}
	}
	return states
}

// await tells the core when a container has ended.
func (s *agentShell) await(id mesos.ContainerID, c *isolate.Container) {
	select {
	case <-c.Done():
		s.box.post(agent.ContainerExited{ID: id, Exit: translateExit(c.Exit())})
	case <-s.ctx.Done(): // the container goes on, the next run of the node finds it
	}
}

// translateExit turns what the runtime saw into Mesos's words.
func translateExit(e isolate.Exit) agent.Exit {
	out := agent.Exit{Status: e.Status, Message: e.Err}
	if e.Task != nil { // what the built-in executor itself ended with says nothing about its task
		if out.Status = *e.Task; out.Status >= 0 {
			out.Message = ""
		}
	}
	if e.OOM {
		out.Limitation = &agent.Limitation{
			Reason: v1.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY, Message: e.OOMMessage(),
			Resources: []*v1.Resource{{
				Name: proto.String("mem"), Type: v1.Value_SCALAR.Enum(),
				Scalar: &v1.Value_Scalar{Value: proto.Float64(float64(e.MaxMemoryBytes>>10) / 1024)},
			}},
		}
	}
	return out
}

func translateLimits(l agent.Limits) isolate.Limits {
	return isolate.Limits{CPUSharesMilli: l.CPUs, CPUQuotaMilli: l.CPULimit, MemorySoftBytes: l.MemBytes, MemoryHardBytes: l.MemLimitBytes}
}

// launch starts a container in its own goroutine, so that a slow download delays no other.
func (s *agentShell) launch(spec agent.LaunchSpec) {
	ctx, cancel := context.WithCancel(s.ctx)
	run := &containerRun{cancel: cancel}
	s.mu.Lock()
	s.containers[spec.ID] = run
	s.mu.Unlock()
	s.wg.Go(func() {
		defer cancel()
		c, failed := s.create(ctx, spec)
		if s.ctx.Err() != nil {
			return // the node stops: the next run finds the container, or nothing of it
		}
		if failed != nil {
			s.mu.Lock()
			delete(s.containers, spec.ID)
			s.mu.Unlock()
			s.log.Info("container not launched", "container_id", spec.ID, "executor_id", spec.ExecutorID, "framework_id", spec.FrameworkID, "error", failed.Message)
			s.box.post(*failed)
			return
		}
		s.mu.Lock()
		run.container = c
		doomed := run.doomed
		s.mu.Unlock()
		s.box.post(agent.ContainerLaunched{ID: spec.ID, Pid: c.Pid()})
		if doomed { // Destroy came while the container was being made
			s.wg.Go(func() { s.end(spec.ID, c) })
		}
		s.await(spec.ID, c)
	})
}

func (s *agentShell) create(ctx context.Context, spec agent.LaunchSpec) (*isolate.Container, *agent.LaunchFailed) {
	if why := unsupported(spec.Executor.GetContainer()); why != "" {
		return nil, &agent.LaunchFailed{ID: spec.ID, Message: why}
	}
	user := spec.User
	if !s.config.SwitchUser {
		user = ""
	}
	stderr, err := s.makeSandbox(spec, user)
	if err != nil {
		return nil, &agent.LaunchFailed{ID: spec.ID, Sandbox: true, Message: err.Error()}
	}
	defer stderr.Close()
	for _, name := range spec.Overwritten {
		fmt.Fprintf(stderr, "Overwriting environment variable '%s'\n", name)
	}
	if uris := spec.Command.GetUris(); len(uris) > 0 {
		fetch := isolate.FetchSpec{Dir: spec.Directory, User: user, Log: stderr, FrameworksHome: s.config.FrameworksHome}
		for _, u := range uris {
			fetch.URIs = append(fetch.URIs, isolate.URI{
				Value: u.GetValue(), Executable: u.GetExecutable(), Extract: u.GetExtract(), Cache: u.GetCache(), OutputFile: u.GetOutputFile(),
			})
		}
		err := isolate.Fetch(ctx, fetch)
		if err != nil {
			s.fetchErrors.Add(1)
			fmt.Fprintf(stderr, "%v\n", err)
			return nil, &agent.LaunchFailed{ID: spec.ID, Message: fmt.Sprintf("Failed to fetch all URIs for container '%s': exited with status 1", spec.ID)}
		}
		s.fetches.Add(1)
	}
	select {
	case launching <- struct{}{}:
		defer func() { <-launching }()
	case <-ctx.Done():
		return nil, &agent.LaunchFailed{ID: spec.ID, Message: "Container was destroyed while it was being launched"}
	}
	c, err := s.runtime.Launch(ctx, containerSpec(spec, user))
	if err != nil {
		var unknown *isolate.UnknownUserError
		if errors.As(err, &unknown) {
			return nil, &agent.LaunchFailed{ID: spec.ID, Sandbox: true, Message: unknown.Error()}
		}
		return nil, &agent.LaunchFailed{ID: spec.ID, Message: err.Error()}
	}
	return c, nil
}

// unsupported says why a container cannot be made on the host's file system, which is the only one that
// there is: a command meant for an image must not run outside of it (SCH-300).
func unsupported(c *v1.ContainerInfo) string {
	image := c.GetMesos().GetImage()
	switch {
	case c == nil:
		return ""
	case c.GetType() != v1.ContainerInfo_MESOS:
		return "Unsupported container type: " + c.GetType().String()
	case image != nil:
		return "Unsupported container image type: " + image.GetType().String()
	}
	return ""
}

// containerSpec says what the shim has to start. The built-in executor of a command task runs in the
// shim itself and starts the task when it is told to; it needs the task's user, not its command.
func containerSpec(spec agent.LaunchSpec, user string) isolate.Spec {
	out := isolate.Spec{
		ID: string(spec.ID), Env: spec.Environment, Dir: spec.Directory, User: user,
		Limits: translateLimits(spec.Limits), Supervised: spec.CommandTask,
	}
	if spec.CommandTask {
		return out
	}
	command := spec.Command
	if command.GetShell() {
		out.Path, out.Args = "/bin/sh", []string{"sh", "-c", command.GetValue()}
		return out
	}
	out.Path, out.Args = command.GetValue(), command.GetArguments()
	if len(out.Args) == 0 {
		out.Args = []string{command.GetValue()}
	}
	return out
}

// makeSandbox makes the directories of EXE-176 with the rights of EXE-178, the files that take the
// output, and the links to the newest run. It returns stderr open for appending.
//
// The directory is given to the task's user last, and stderr is not opened by its name again: another
// process of that user could put a link in its place, and what the daemon writes there is the
// framework's choice.
func (s *agentShell) makeSandbox(spec agent.LaunchSpec, user string) (_ *os.File, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("Failed to create executor directory '%s': %w", spec.Directory, err)
		}
	}()
	if _, err := below(s.config.WorkDir, spec.Directory); err != nil {
		return nil, err
	}
	runs := filepath.Dir(spec.Directory)
	if err := os.MkdirAll(runs, 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(spec.Directory, 0o700); err != nil {
		return nil, err
	}
	stderr, err := fillSandbox(spec.Directory, user)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(spec.Directory))
	}
	if err := replaceLink(string(spec.ID), filepath.Join(runs, "latest")); err != nil {
		return nil, errors.Join(err, stderr.Close())
	}
	s.config.Files.AttachSandbox(sandboxOf(spec))
	return stderr, nil
}

// fillSandbox makes stdout and stderr in a directory that nobody else can enter yet, and gives all of it
// to user.
func fillSandbox(dir, user string) (stderr *os.File, err error) {
	for _, name := range []string{"stdout", "stderr"} {
		path := filepath.Join(dir, name)
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return nil, err
		}
		if err := chownTo(path, user); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if name == "stderr" {
			stderr = f
		} else if err := f.Close(); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(os.Chmod(dir, 0o750), chownTo(dir, user)); err != nil {
		return nil, errors.Join(err, stderr.Close())
	}
	return stderr, nil
}

// chownTo is isolate.Chown with Mesos's words for an unknown user (EXE-47).
func chownTo(path, user string) error {
	err := isolate.Chown(path, user)
	var unknown *isolate.UnknownUserError
	if errors.As(err, &unknown) {
		return fmt.Errorf("Failed to chown directory to '%s': %w", user, unknown)
	}
	return err
}

// below returns path relative to dir, for paths that lie below it.
func below(dir, path string) (string, error) {
	rel, err := filepath.Rel(dir, path)
	if err != nil || rel == "." || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("%s is not below %s", path, dir)
	}
	return rel, nil
}

// update changes a container's limits. Its errors are told to the core, which decides.
func (s *agentShell) update(id mesos.ContainerID, limits agent.Limits) {
	c := s.container(id)
	if c == nil {
		s.box.post(agent.ContainerUpdated{ID: id, Err: "container is not running"})
		return
	}
	s.wg.Go(func() {
		text := ""
		if err := c.Update(translateLimits(limits)); err != nil {
			text = err.Error()
		}
		s.box.post(agent.ContainerUpdated{ID: id, Err: text})
	})
}

func (s *agentShell) container(id mesos.ContainerID) *isolate.Container {
	s.mu.Lock()
	defer s.mu.Unlock()
	if run := s.containers[id]; run != nil {
		return run.container
	}
	return nil
}

func (s *agentShell) destroy(id mesos.ContainerID) {
	s.mu.Lock()
	run := s.containers[id]
	var c *isolate.Container
	if run != nil {
		run.doomed = true
		run.cancel()
		c = run.container
	}
	s.mu.Unlock()
	switch {
	case run == nil: // neither here nor on its way: tell the core so that it does not wait
		s.box.post(agent.ContainerExited{ID: id, Exit: agent.Exit{Status: -1, Message: "unknown container"}})
	case c != nil:
		s.wg.Go(func() { s.end(id, c) })
	}
}

// end kills everything in a container. The kernel may need a moment to give up a process in
// uninterruptible sleep: it is tried until it works.
func (s *agentShell) end(id mesos.ContainerID, c *isolate.Container) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
		err := c.Destroy(ctx)
		cancel()
		if err == nil || s.ctx.Err() != nil {
			return
		}
		s.destroyErrors.Add(1)
		s.log.Error("container not destroyed, trying again", "container_id", id, "error", err)
		select {
		case <-time.After(wait):
		case <-s.ctx.Done():
			return
		}
	}
}

// forget drops the runtime's record of an ended container.
func (s *agentShell) forget(id mesos.ContainerID) {
	s.mu.Lock()
	run := s.containers[id]
	delete(s.containers, id)
	s.mu.Unlock()
	if run == nil || run.container == nil {
		return
	}
	s.wg.Go(func() {
		if err := run.container.Forget(); err != nil {
			s.log.Error("container record not removed", "container_id", id, "error", err)
		}
	})
}

// live returns the containers that run now.
func (s *agentShell) live() []*isolate.Container {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*isolate.Container
	for _, run := range s.containers {
		if run.container != nil {
			out = append(out, run.container)
		}
	}
	return out
}
