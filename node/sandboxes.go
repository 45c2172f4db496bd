package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"clusterd/node/agent"
	"clusterd/node/api"
	"clusterd/node/mesos"
)

// attachSandboxes makes the sandboxes that earlier runs left below workDir readable:
// slaves/<agent>/frameworks/<framework>/executors/<executor>/runs/<container> (EXE-176).
// The agent's own link latest leads to directories that are found under their real names.
func (n *Node) attachSandboxes(workDir string) error {
	runs, err := fs.Glob(os.DirFS(workDir), "slaves/*/frameworks/*/executors/*/runs/*")
	if err != nil {
		return err
	}
	latest := make(map[string]string) // target of each link "latest", so that it is attached last
	var dirs []string
	for _, run := range runs {
		dir := filepath.Join(workDir, filepath.FromSlash(run))
		info, err := os.Lstat(dir)
		switch {
		case strings.HasPrefix(run, "slaves/latest/") || errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case info.IsDir():
			dirs = append(dirs, dir)
		case filepath.Base(dir) == "latest":
			if target, err := os.Readlink(dir); err == nil {
				latest[filepath.Dir(dir)] = target
			}
		}
	}
	slices.SortStableFunc(dirs, func(a, b string) int {
		newest := func(dir string) int {
			if latest[filepath.Dir(dir)] == filepath.Base(dir) {
				return 1
			}
			return 0
		}
		return newest(a) - newest(b)
	})
	for _, dir := range dirs {
		n.agentFiles.AttachSandbox(sandboxAt(dir))
	}
	return nil
}

// sandboxAt reads the ids off the path of a sandbox.
func sandboxAt(dir string) api.Sandbox {
	parts := strings.Split(dir, string(filepath.Separator))
	n := len(parts)
	return api.Sandbox{
		Directory: dir, ContainerID: mesos.ContainerID(parts[n-1]),
		ExecutorID: mesos.ExecutorID(parts[n-3]), FrameworkID: mesos.FrameworkID(parts[n-5]),
	}
}

func sandboxOf(spec agent.LaunchSpec) api.Sandbox {
	return api.Sandbox{FrameworkID: spec.FrameworkID, ExecutorID: spec.ExecutorID, ContainerID: spec.ID, Directory: spec.Directory}
}

// collect removes an old sandbox and what is above it. Only what lies below the work directory is
// ever removed; symbolic links are removed, not followed (EXE-193).
func (s *agentShell) collect(path string) {
	s.wg.Go(func() {
		text := ""
		if err := removeSandbox(s.config.WorkDir, path); err != nil {
			s.log.Warn("sandbox not removed", "path", path, "error", err)
			text = err.Error()
		} else {
			for virtual, real := range s.config.Files.Paths() {
				if real == path || strings.HasPrefix(real, path+string(filepath.Separator)) {
					s.config.Files.Detach(virtual)
				}
			}
			s.log.Info("sandbox removed", "path", path)
		}
		s.box.post(agent.Collected{Path: path, Err: text})
	})
}

func removeSandbox(workDir, path string) error {
	inside, err := below(workDir, path)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(workDir)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.RemoveAll(inside)
}
