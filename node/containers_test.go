package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"clusterd/isolate"
	"clusterd/node/agent"
	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// What a built-in executor ends with is not what its task ended with. EXE-59, EXE-157
func TestTranslateExit(t *testing.T) {
	status := func(n int) *int { return &n }
	for _, c := range []struct {
		name    string
		exit    isolate.Exit
		status  int
		message string
	}{
		{"custom executor", isolate.Exit{Status: 3 << 8}, 3 << 8, ""},
		{"no record", isolate.Exit{Status: 9, Err: "no record"}, 9, "no record"},
		{"task failed, nobody heard", isolate.Exit{Status: 0, Task: status(3 << 8)}, 3 << 8, ""},
		{"task was killed", isolate.Exit{Status: 0, Task: status(9)}, 9, ""},
		{"task ended, clearing up failed", isolate.Exit{Status: 0, Task: status(0), Err: "busy"}, 0, ""},
		{"task never started", isolate.Exit{Status: 0, Task: status(-1)}, -1, ""},
		{"task never started for a cause", isolate.Exit{Status: -1, Task: status(-1), Err: "no init"}, -1, "no init"},
	} {
		if got := translateExit(c.exit); got.Status != c.status || got.Message != c.message {
			t.Errorf("%s: %+v, want status %d and %q", c.name, got, c.status, c.message)
		}
	}
}

// A command that is meant for an image is refused before anything of it is made: it must not run on the
// host's file system. SCH-300
func TestUnsupportedContainer(t *testing.T) {
	image := &v1.Image{Type: v1.Image_DOCKER.Enum(), Docker: &v1.Image_Docker{Name: proto.String("alpine")}}
	for _, c := range []struct {
		name      string
		container *v1.ContainerInfo
		want      string
	}{
		{"no container", nil, ""},
		{"no image", &v1.ContainerInfo{Type: v1.ContainerInfo_MESOS.Enum(), Mesos: &v1.ContainerInfo_MesosInfo{}}, ""},
		{
			"image", &v1.ContainerInfo{Type: v1.ContainerInfo_MESOS.Enum(), Mesos: &v1.ContainerInfo_MesosInfo{Image: image}},
			"Unsupported container image type: DOCKER",
		},
		{
			"docker", &v1.ContainerInfo{Type: v1.ContainerInfo_DOCKER.Enum(), Docker: &v1.ContainerInfo_DockerInfo{Image: proto.String("alpine")}},
			"Unsupported container type: DOCKER",
		},
	} {
		if got := unsupported(c.container); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if c.want == "" {
			continue
		}
		spec := agent.LaunchSpec{
			ID: "c", Directory: filepath.Join(t.TempDir(), "sandbox"), Executor: &v1.ExecutorInfo{Container: c.container},
		}
		_, failed := new(agentShell).create(t.Context(), spec)
		if failed == nil || failed.ID != spec.ID || failed.Message != c.want {
			t.Errorf("%s: %+v, want a failure with %q", c.name, failed, c.want)
		}
		if _, err := os.Stat(spec.Directory); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the sandbox was made", c.name)
		}
	}
}
