package isolate

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// wantedControllers limit or count (ISO-14, ISO-30): without one of them the
// resource it stands for is not enforced.
var wantedControllers = []struct {
	name   string // v1 name
	v2     string // "" where version 2 has it without a controller
	what   string
	inform string // name of the isolator
}{
	{"cpu", "cpu", "cpu shares and quota", "cgroups/cpu"},
	{"cpuacct", "", "cpu accounting", ""},
	{"memory", "memory", "memory limit", "cgroups/mem"},
	{"pids", "pids", "process count", "cgroups/pids"},
	{"freezer", "", "freezer", ""},
}

// detect finds out what this machine lets us enforce. It tries rather than
// guesses: cgroups are made and namespaces entered once.
func detect(cfg Config, dir string) (*cgroups, Isolation) {
	plain := func(why string) (*cgroups, Isolation) {
		iso := Isolation{Mechanisms: []string{"posix/cpu", "posix/mem"}}
		for _, what := range []string{"namespaces", "cpu shares and quota", "memory limit"} {
			iso.Missing = append(iso.Missing, Missing{What: what, Why: why})
		}
		return nil, iso
	}
	switch {
	case !haveContainers:
		return plain("built without cgo")
	case os.Geteuid() != 0:
		return plain("not running as root")
	case inUserNamespace():
		return plain("running inside a user namespace")
	}
	groups, missing, err := findCgroups(cfg.CgroupRoot, dir)
	if err != nil {
		return plain("no usable cgroups: " + err.Error())
	}
	if cfg.Plain {
		// Containers of an earlier start may still have theirs.
		_, iso := plain("plain processes were asked for")
		return groups, iso
	}
	if err := tryNamespaces(filepath.Join(dir, rootfsName)); err != nil {
		return plain("namespaces: " + err.Error())
	}
	iso := Isolation{Containers: true, Cgroups: fmt.Sprintf("v%d", groups.version), Missing: missing}
	for _, w := range wantedControllers {
		if _, ok := groups.controller(w.name, ""); ok && w.inform != "" {
			iso.Mechanisms = append(iso.Mechanisms, w.inform)
		}
	}
	iso.Mechanisms = append(iso.Mechanisms, "namespaces/mnt", "namespaces/pid", "namespaces/ipc", "namespaces/uts")
	return groups, iso
}

// inUserNamespace: root there is not root of the machine.
func inUserNamespace() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(data)), " ") != "0 0 4294967295"
}

// tryNamespaces enters the namespaces of a container on a thread that ends.
func tryNamespaces(rootfs string) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		result <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS); err != nil {
				return os.NewSyscallError("unshare", err)
			}
			if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
				return os.NewSyscallError("mount", err)
			}
			return os.NewSyscallError("mount", unix.Mount("/", rootfs, "", unix.MS_BIND, ""))
		}()
	}()
	return <-result
}

// findCgroups finds the hierarchies in which we may make cgroups (ISO-25).
func findCgroups(root, owner string) (*cgroups, []Missing, error) {
	if !filepath.IsLocal(root) {
		return nil, nil, fmt.Errorf("cgroup root %q: want a relative path", root)
	}
	m := &cgroups{version: 1, root: root, owner: owner}
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
		m.version = 2
		missing, err := m.findV2("/sys/fs/cgroup")
		return m, missing, err
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	mounts, err := parseCgroupMounts(bufio.NewScanner(f))
	if err != nil {
		return nil, nil, err
	}
	missing, err := m.findV1(mounts)
	return m, missing, err
}

// parseCgroupMounts reads the version 1 mounts from mountinfo (proc(5)):
// controller to mount point.
func parseCgroupMounts(lines *bufio.Scanner) (map[string]string, error) {
	mounts := map[string]string{}
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 || right[0] != "cgroup" {
			continue
		}
		for _, option := range strings.Split(right[2], ",") {
			if _, seen := mounts[option]; !seen {
				mounts[option] = unescapeMount(left[4])
			}
		}
	}
	return mounts, lines.Err()
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func (m *cgroups) findV1(mounts map[string]string) ([]Missing, error) {
	var missing []Missing
	for _, w := range wantedControllers {
		mount, ok := mounts[w.name]
		if !ok {
			missing = append(missing, Missing{What: w.what, Why: "no cgroup hierarchy with controller " + w.name})
			continue
		}
		if i := slices.IndexFunc(m.hierarchies, func(h hierarchy) bool { return h.mount == mount }); i >= 0 {
			m.hierarchies[i].controllers = append(m.hierarchies[i].controllers, w.name)
			m.hierarchies[i].taskOnly = false
			continue
		}
		h := hierarchy{mount: mount, controllers: []string{w.name}, taskOnly: w.name == "freezer"}
		if err := m.try(h); err != nil {
			missing = append(missing, Missing{What: w.what, Why: err.Error()})
			continue
		}
		m.hierarchies = append(m.hierarchies, h)
	}
	if len(m.hierarchies) == 0 {
		return nil, errors.New("no hierarchy can be written")
	}
	return missing, nil
}

// try makes the root and removes it again if it is empty.
func (m *cgroups) try(h hierarchy) error {
	probe := fmt.Sprintf(".probe-%d", os.Getpid())
	dir := m.dir(h, probe)
	if err := m.makeRoot(h); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	err := unix.Setxattr(dir, ownerMark, []byte(m.owner), 0)
	one := &cgroups{version: m.version, root: m.root, hierarchies: []hierarchy{h}}
	return errors.Join(err, one.remove(probe))
}

// findV2 enables the controllers we want (ISO-32).
func (m *cgroups) findV2(mount string) ([]Missing, error) {
	data, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
	if err != nil {
		return nil, err
	}
	have := strings.Fields(string(data))
	h := hierarchy{mount: mount, leaf: true}
	var missing []Missing
	for _, w := range wantedControllers {
		switch {
		case w.v2 == "":
		case slices.Contains(have, w.v2):
			h.controllers = append(h.controllers, w.v2)
		default:
			missing = append(missing, Missing{What: w.what, Why: "cgroup controller " + w.v2 + " is not available"})
		}
	}
	if len(h.controllers) == 0 {
		return nil, errors.New("no controller is available")
	}
	err = enableControllers(mount, h.controllers)
	if errors.Is(err, unix.EBUSY) {
		// Not the machine's root cgroup: one with processes cannot hand
		// controllers down. Leave it ourselves; others may be in it still.
		if err = m.moveOut(mount); err == nil {
			err = enableControllers(mount, h.controllers)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("enable controllers %v: %w", h.controllers, err)
	}
	if err := m.try(h); err != nil {
		return nil, err
	}
	m.hierarchies = []hierarchy{h}
	return missing, nil
}

// moveOut puts this process into a leaf of its own (ISO-31: agent/leaf).
func (m *cgroups) moveOut(mount string) error {
	dir := filepath.Join(mount, m.root, ".daemon")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return writeCgroupFile(dir, "cgroup.procs", "0")
}
