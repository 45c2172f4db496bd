//go:build linux && cgo

package isolate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// guestPrograms are what the tests run; ps and the like need /proc only.
var guestPrograms = []string{
	"sh", "env", "sleep", "cat", "ls", "grep", "cut", "tr", "ps", "setsid", "id", "wc", "hostname",
	"mount", "readlink", "head", "tail", "echo", "pwd", "true", "false", "touch", "kill",
}

// guestTests are those that touch cgroups.
var guestTests = []string{
	"TestIsolationReport", "TestLimitFiles", "TestUpdateNeverKills", "TestOutOfMemory", "TestStats", "TestCgroupExists",
	"TestNamespaces", "TestSupervisor", "TestDestroy", "TestShimKilled", "TestLeftBehindChildren", "TestLaunchFails",
	"TestDaemonKilled", "TestDaemonKilledLaunching", "TestOrphans",
}

// ISO-25, ISO-31, ISO-32: tests of containers once more, on a machine with
// cgroups version 2 only. The machine is a virtual one with Debian's kernel.
func TestGuestWithCgroups2(t *testing.T) {
	if os.Getenv(guestMark) != "" {
		t.Skip("this is the guest")
	}
	if os.Getenv("CLUSTERD_VMTEST") == "" {
		t.Skip("boots a virtual machine, which takes minutes without KVM: scripts/vmtest runs it")
	}
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("no QEMU (package qemu-system-x86): cgroups version 2 are not tested here")
	}
	kernels, err := filepath.Glob("/boot/vmlinuz-*-amd64")
	if err != nil || len(kernels) == 0 {
		t.Skip("no kernel (package linux-image-cloud-amd64): cgroups version 2 are not tested here")
	}
	kernel := kernels[len(kernels)-1]
	initrd := filepath.Join(t.TempDir(), "initrd")
	if err := writeGuestImage(initrd, strings.TrimPrefix(filepath.Base(kernel), "vmlinuz-")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	// Emulated: nested virtualization is not to be relied on.
	args := []string{"-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1536", "-smp", "2", "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio",
		"-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1 " + guestMark + "=1"}
	out, err := exec.CommandContext(ctx, qemu, args...).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("GUEST STATUS 0")) {
		t.Fatalf("guest: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "--- SKIP") || strings.Contains(line, "GUEST") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if !bytes.Contains(out, []byte("--- PASS: TestLimitFiles")) {
		t.Errorf("limits were not tested:\n%s", out)
	}
}

// guestMain is process 1 of the guest.
func guestMain() {
	status := 1
	if err := prepareGuest(); err != nil {
		fmt.Println("GUEST prepare:", err)
	} else {
		cmd := exec.Command("/guest.test", "-test.v", "-test.run", "^("+strings.Join(guestTests, "|")+")$")
		cmd.Env = []string{testEnv[0], "TMPDIR=/tmp", guestMark + "=1"}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
		err := cmd.Run()
		status = cmd.ProcessState.ExitCode()
		if err != nil {
			fmt.Println("GUEST run:", err)
		}
	}
	fmt.Println("GUEST STATUS", status)
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Println("GUEST power off:", err)
}

// prepareGuest moves to a root that pivot_root accepts, which that of the
// initial memory disk is not, and mounts what a machine has.
func prepareGuest() error {
	if err := errors.Join(os.Mkdir("/new", 0o755), unix.Mount("tmpfs", "/new", "tmpfs", 0, "mode=755")); err != nil {
		return err
	}
	err := filepath.WalkDir("/", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "/" {
			return err
		}
		if path == "/new" {
			return fs.SkipDir
		}
		return moveToGuest(path, d)
	})
	if err != nil {
		return err
	}
	if err := errors.Join(os.Chdir("/new"), unix.Mount(".", "/", "", unix.MS_MOVE, ""), unix.Chroot("."), os.Chdir("/")); err != nil {
		return err
	}
	for _, m := range []struct{ kind, dir, data string }{
		{"proc", "/proc", ""}, {"sysfs", "/sys", ""}, {"devtmpfs", "/dev", ""}, {"devpts", "/dev/pts", ""},
		{"tmpfs", "/dev/shm", ""}, {"tmpfs", "/run", ""}, {"tmpfs", "/tmp", "mode=1777"}, {"cgroup2", "/sys/fs/cgroup", ""},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, m.data); err != nil {
			return &os.PathError{Op: "mount", Path: m.dir, Err: err}
		}
	}
	for dst, src := range map[string]string{"/dev/fd": "/proc/self/fd"} {
		if err := os.Symlink(src, dst); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	f, err := os.Open("/overlay.ko")
	if err != nil {
		return err
	}
	defer f.Close()
	return errors.Join(unix.FinitModule(int(f.Fd()), "", 0), os.Mkdir("/mnt", 0o755), unix.Sethostname([]byte("guest")))
}

func moveToGuest(path string, d fs.DirEntry) error {
	target := "/new" + path
	switch {
	case d.IsDir():
		return os.Mkdir(target, 0o755)
	case d.Type()&fs.ModeSymlink != 0:
		link, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(link, target)
	case !d.Type().IsRegular():
		return nil // the console
	}
	src, err := os.Open(path)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close(), os.Remove(path)) // memory holds it once only
}

// writeGuestImage makes an initial memory disk: this program as init, the
// programs of the tests with their libraries, and a module.
func writeGuestImage(path, version string) error {
	files := map[string]string{ // in the image: here
		"overlay.ko": "/lib/modules/" + version + "/kernel/fs/overlayfs/overlay.ko",
		"init":       "/proc/self/exe", "guest.test": "/proc/self/exe",
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, name := range append([]string{self}, guestPrograms...) {
		program, err := exec.LookPath(name)
		if err != nil {
			return err
		}
		if program != self {
			files[filepath.Join("bin", name)] = program
		}
		out, err := exec.Command("ldd", program).Output()
		if err != nil {
			return fmt.Errorf("ldd %s: %w", program, err)
		}
		for _, word := range strings.Fields(string(out)) {
			if strings.HasPrefix(word, "/") {
				files[strings.TrimPrefix(word, "/")] = word
			}
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	buf := bufio.NewWriter(f)
	w := &archiveWriter{w: buf, made: map[string]bool{}}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		data, err := os.ReadFile(files[name])
		if err != nil {
			return err
		}
		w.add(name, unix.S_IFREG|0o755, data)
	}
	w.add("usr/bin", unix.S_IFLNK|0o777, []byte("/bin"))
	w.add("etc/passwd", unix.S_IFREG|0o644, []byte("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"))
	w.add("etc/group", unix.S_IFREG|0o644, []byte("root:x:0:\nnogroup:x:65534:\nextra:x:77:nobody\n"))
	w.add("TRAILER!!!", 0, nil)
	return errors.Join(w.err, buf.Flush(), f.Close())
}

// archiveWriter writes the "newc" format of cpio(5).
type archiveWriter struct {
	w    io.Writer
	made map[string]bool
	ino  int
	err  error
}

func (a *archiveWriter) add(name string, mode int, data []byte) {
	if dir := filepath.Dir(name); dir != "." && !a.made[dir] {
		a.made[dir] = true
		a.add(dir, unix.S_IFDIR|0o755, nil)
	}
	a.ino++
	fields := []int{a.ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0}
	head := "070701"
	for _, f := range fields {
		head += fmt.Sprintf("%08x", f)
	}
	a.write(pad([]byte(head + name + "\x00")))
	a.write(pad(data))
}

func pad(b []byte) []byte { return append(b, make([]byte, (4-len(b)%4)%4)...) }

func (a *archiveWriter) write(b []byte) {
	if a.err == nil {
		_, a.err = a.w.Write(b)
	}
}
