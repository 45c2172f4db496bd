package node_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"clusterd/node/api"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// lab is a cluster of real nodes, each in a network namespace of its own with an address on one bridge.
// The bridge is in a namespace too, from which the test reaches the nodes: nothing of it is seen outside,
// and the namespaces end with the test.
type lab struct {
	t        *testing.T
	dir      string
	hub      netns.NsHandle
	machines []*machine
	client   *http.Client // dials in the hub
}

// machine is where one node runs; it is numbered from 1.
type machine struct {
	lab    *lab
	number int
	ns     netns.NsHandle
	dir    string
	cmd    *exec.Cmd
	ended  chan error
	log    *journal
}

const labNetwork = "10.77.0." // free to use: the namespaces are connected with nothing else

// journal is what a process writes.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// newLab makes the network and the machines, on which nothing runs yet.
func newLab(t *testing.T, count int) *lab {
	t.Helper()
	needContainers(t)
	l := &lab{t: t}
	var err error
	if l.hub, err = newNamespace(); errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSPC) {
		t.Skipf("needs network namespaces: %v", err)
	}
	l.must(err)
	t.Cleanup(func() { l.must(l.hub.Close()) })
	l.client = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, ResponseHeaderTimeout: 5 * time.Second,
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			inside := inNamespace(l.hub, func() {
				conn, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, addr)
			})
			return conn, errors.Join(inside, err)
		},
	}}
	l.dir, err = os.MkdirTemp("", "clusterd-lab-")
	l.must(err)
	l.must(os.Chmod(l.dir, 0o755)) // tasks of other users have to reach their sandboxes
	l.bridge()
	for i := range count {
		l.machines = append(l.machines, l.newMachine(i+1))
	}
	t.Cleanup(l.remove)
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// newNamespace makes a network namespace that lives as long as its handle, or processes in it.
func newNamespace() (netns.NsHandle, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := netns.Get()
	if err != nil {
		return 0, err
	}
	defer old.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return 0, fmt.Errorf("unshare: %w", err)
	}
	ns, err := netns.Get()
	return ns, errors.Join(err, netns.Set(old))
}

// inNamespace runs f on a thread that is in the namespace: sockets that it opens and processes that it
// starts stay there.
func inNamespace(ns netns.NsHandle, f func()) error {
	runtime.LockOSThread()
	old, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer old.Close()
	if err := netns.Set(ns); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace: %w", err)
	}
	f()
	if err := netns.Set(old); err != nil {
		return fmt.Errorf("leave network namespace: %w", err) // the thread ends with its goroutine
	}
	runtime.UnlockOSThread()
	return nil
}

func (l *lab) bridge() {
	l.t.Helper()
	h := l.handle(l.hub)
	defer h.Close()
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	l.must(h.LinkAdd(bridge))
	l.must(h.AddrAdd(bridge, l.address(labNetwork+"1")))
	l.must(h.LinkSetUp(bridge))
}

func (l *lab) handle(ns netns.NsHandle) *netlink.Handle {
	l.t.Helper()
	h, err := netlink.NewHandleAt(ns)
	l.must(err)
	return h
}

func (l *lab) address(ip string) *netlink.Addr {
	l.t.Helper()
	a, err := netlink.ParseAddr(ip + "/24")
	l.must(err)
	return a
}

// newMachine plugs a namespace into the bridge.
func (l *lab) newMachine(number int) *machine {
	l.t.Helper()
	m := &machine{lab: l, number: number, dir: filepath.Join(l.dir, fmt.Sprint("n", number)), log: new(journal)}
	var err error
	m.ns, err = newNamespace()
	l.must(err)
	l.t.Cleanup(func() { l.must(m.ns.Close()) })
	l.must(os.Mkdir(m.dir, 0o755))
	hub := l.handle(l.hub)
	defer hub.Close()
	bridge, err := hub.LinkByName("br0")
	l.must(err)
	port := fmt.Sprint("n", number)
	l.must(hub.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: port, MasterIndex: bridge.Attrs().Index},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(m.ns),
	}))
	link, err := hub.LinkByName(port)
	l.must(err)
	l.must(hub.LinkSetUp(link))
	own := l.handle(m.ns)
	defer own.Close()
	for _, name := range []string{"lo", "eth0"} {
		link, err := own.LinkByName(name)
		l.must(err)
		l.must(own.LinkSetUp(link))
		if name == "eth0" {
			l.must(own.AddrAdd(link, l.address(m.ip())))
		}
	}
	return m
}

func (m *machine) ip() string { return labNetwork + strconv.Itoa(10+m.number) }

func (m *machine) master() string { return m.ip() + ":5050" }

func (m *machine) name() string { return fmt.Sprint("n", m.number) }

func (m *machine) cgroup() string { return filepath.Base(m.lab.dir) + "-" + m.name() }

// lose makes packets from this machine to another one vanish, without a word to either: they go to an
// address of the link that nobody has.
func (m *machine) lose(to *machine) {
	m.lab.t.Helper()
	h, n := m.neighbour(to)
	defer h.Close()
	n.HardwareAddr, n.State = net.HardwareAddr{2, 0, 0, 0, 0, 0x99}, netlink.NUD_PERMANENT
	m.lab.must(h.NeighSet(n))
}

// find ends lose.
func (m *machine) find(to *machine) {
	m.lab.t.Helper()
	h, n := m.neighbour(to)
	defer h.Close()
	if err := h.NeighDel(n); err != nil && !errors.Is(err, unix.ENOENT) {
		m.lab.t.Fatal(err)
	}
}

func (m *machine) neighbour(to *machine) (*netlink.Handle, *netlink.Neigh) {
	m.lab.t.Helper()
	h := m.lab.handle(m.ns)
	link, err := h.LinkByName("eth0")
	m.lab.must(err)
	return h, &netlink.Neigh{LinkIndex: link.Attrs().Index, IP: net.ParseIP(to.ip()).To4()}
}

// others are all machines but this one.
func (m *machine) others() []*machine {
	return slices.DeleteFunc(slices.Clone(m.lab.machines), func(o *machine) bool { return o == m })
}

// start runs the node: the first one forms the cluster, the others join it, and who was there before
// comes back.
func (m *machine) start() {
	m.lab.t.Helper()
	args := []string{"start"}
	if _, err := os.Stat(filepath.Join(m.dir, "node.json")); err != nil && m.number > 1 {
		first := m.lab.machines[0]
		args = []string{"join", first.ip(), "--token", m.lab.command("token", "-q", "--data-dir", first.dir)}
	}
	m.cmd = clusterd(append(args, "--data-dir", m.dir, "--node-name", m.name(), "--hostname", m.ip(), "--advertise", m.ip(),
		"--listen", m.master(), "--agent-listen", m.ip()+":5051", "--peer-listen", m.ip()+":5055",
		"--cgroups-root", m.cgroup(), "--resources", "cpus:1;mem:512;disk:1024", "--logging-level", "info")...)
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	var err error
	m.lab.must(errors.Join(inNamespace(m.ns, func() { err = m.cmd.Start() }), err))
	ended, cmd := make(chan error, 1), m.cmd
	m.ended = ended
	go func() { ended <- cmd.Wait() }()
}

// clusterd is the command line of the program under test.
func clusterd(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asClusterd+"=1")
	return cmd
}

// command runs one to its end and returns what it prints.
func (l *lab) command(args ...string) string {
	l.t.Helper()
	var errs bytes.Buffer
	cmd := clusterd(args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatalf("clusterd %s: %v: %s", strings.Join(args, " "), err, &errs)
	}
	return strings.TrimSpace(string(out))
}

// end sends the process a signal and waits for its end.
func (m *machine) end(sig syscall.Signal) {
	m.lab.t.Helper()
	m.lab.must(m.cmd.Process.Signal(sig))
	_ = m.wait() // killed, as it should be
}

// wait returns how the process ended.
func (m *machine) wait() error {
	m.lab.t.Helper()
	select {
	case err := <-m.ended:
		m.cmd = nil
		return err
	case <-time.After(patience):
		m.lab.t.Fatalf("%s does not end", m.name())
		return nil
	}
}

// grow starts all nodes and returns when all of them are masters.
func (l *lab) grow() {
	l.t.Helper()
	for _, m := range l.machines {
		m.start()
		l.until(m.name()+" is in the cluster", func() bool {
			s, err := m.status()
			return err == nil && !s.Stale
		})
	}
	l.settle()
}

// settle waits until all machines are masters of one leader, with their agents, and says who leads.
func (l *lab) settle() (leader *machine) {
	l.t.Helper()
	l.until("all nodes are masters with agents", func() bool {
		for _, m := range l.machines {
			s, err := m.status()
			if err != nil || s.Stale || s.Leader == nil {
				return false
			}
			whole := 0
			for _, n := range s.Nodes {
				if (n.RaftState == api.RaftLeader || n.RaftState == api.RaftVoter) && n.Connected && n.AgentState == api.AgentActive {
					whole++
				}
			}
			if whole != len(l.machines) {
				return false
			}
			if s.Leader.Name == m.name() {
				leader = m
			}
		}
		return leader != nil
	})
	return leader
}

// same checks that a master has applied what the leader has, to the same state. It ends all others, for a
// master tells of its own copy only when it is alone.
func (l *lab) same(m *machine) {
	l.t.Helper()
	leader := l.settle()
	want, err := leader.status()
	l.must(err)
	// A follower hears with one of the next heartbeats how far it may apply.
	l.until("the registry rests", func() bool {
		s, err := leader.status()
		if err != nil || s.Index != want.Index {
			want = cmp.Or(s, want)
			return false
		}
		return s.Time.Sub(want.Time) > time.Second
	})
	for _, o := range m.others() {
		o.end(syscall.SIGKILL)
	}
	l.until(m.name()+" is alone", func() bool {
		s, err := m.status()
		if err != nil || !s.Stale {
			return false
		}
		if s.Index != want.Index || s.StateHash != want.StateHash {
			l.t.Errorf("%s has state %s at index %d, the leader %s at index %d", m.name(), s.StateHash, s.Index, want.StateHash, want.Index)
		}
		return true
	})
}

// until waits for a condition that the cluster reaches by itself.
func (l *lab) until(what string, condition func() bool) {
	l.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-late:
			l.t.Fatalf("not reached: %s", what)
		}
	}
}

// status is the cluster as this node tells it.
func (m *machine) status() (*api.ClusterStatus, error) {
	resp, err := m.lab.client.Get("http://" + m.master() + "/cluster/status")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	s := new(api.ClusterStatus)
	return s, json.NewDecoder(resp.Body).Decode(s)
}

// leads says whether this node calls itself the leading master.
func (m *machine) leads() bool {
	resp, err := (&http.Client{
		Transport: m.lab.client.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Get("http://" + m.master() + "/redirect")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.Header.Get("Location") == "//"+m.master()
}

// framework is one that has not subscribed yet; follow does that.
func (l *lab) framework() *framework {
	f := describeFramework(l.t, &cluster{t: l.t, client: l.client}, mesos.Protobuf, nil)
	l.t.Cleanup(func() {
		if f.body != nil {
			f.body.Close()
		}
	})
	return f
}

// follow subscribes the framework, for the first time or again, at whoever leads.
func (l *lab) follow(f *framework, at ...*machine) {
	l.t.Helper()
	var last error
	l.until("SUBSCRIBE is accepted", func() bool {
		for _, m := range at {
			f.c.master = m.master()
			if last = f.trySubscribe(); last == nil {
				return true
			}
		}
		return false
	})
}

// ended waits for the end of the stream of a framework whose master does not lead any more.
func (l *lab) ended(f *framework) {
	l.t.Helper()
	late := time.After(patience)
	for {
		select {
		case _, ok := <-f.events:
			if !ok {
				f.body.Close()
				return
			}
		case <-late:
			l.t.Fatal("the stream of a master that does not lead goes on")
		}
	}
}

// register has the cluster acknowledge a framework, which is a write of its registry, and returns its id.
func (l *lab) register(at ...*machine) string {
	l.t.Helper()
	f := l.framework()
	l.follow(f, at...)
	f.body.Close()
	return f.info.GetId().GetValue()
}

// frameworks is what the leading master knows of them.
func (l *lab) frameworks(at *machine) string {
	l.t.Helper()
	resp, err := l.client.Post("http://"+at.master()+"/api/v1", "application/json", strings.NewReader(`{"type":"GET_FRAMEWORKS"}`))
	l.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	l.must(err)
	return string(text)
}

// spread launches one task on each machine and waits until all run.
func (f *framework) spread(count int) []string {
	f.t.Helper()
	var names []string
	for used := make(map[string]bool); len(names) < count; {
		o := f.offer()
		if used[o.GetAgentId().GetValue()] {
			continue
		}
		used[o.GetAgentId().GetValue()] = true
		f.offers = append([]*v1.Offer{o}, f.offers...) // launch takes the first
		names = append(names, fmt.Sprint("on-", len(names)+1))
		f.launch(shell(names[len(names)-1], "echo a-word-in-the-task; exec sleep 100000"))
	}
	for _, name := range names {
		f.reach(name, v1.TaskState_TASK_RUNNING)
	}
	return names
}

// remove ends everything that the lab has started.
func (l *lab) remove() {
	for _, m := range l.machines {
		if m.cmd != nil {
			_ = m.cmd.Process.Kill()
			<-m.ended
		}
		if l.t.Failed() {
			l.t.Logf("%s wrote:\n%s", m.name(), m.log)
		}
	}
	l.until("all tasks have ended", func() bool { return l.killRest() == 0 })
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	l.must(err)
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); strings.HasPrefix(fields[4], l.dir+"/") {
			l.must(unix.Unmount(fields[4], unix.MNT_DETACH))
		}
	}
	for _, m := range l.machines {
		for _, root := range m.cgroups() {
			removeGroups(root)
		}
	}
	l.must(os.RemoveAll(l.dir))
}

func (m *machine) cgroups() []string {
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/" + m.cgroup())
	v2, _ := filepath.Glob("/sys/fs/cgroup/" + m.cgroup())
	return append(v1, v2...)
}

// removeGroups removes a cgroup and those below it, as far as they are empty.
func removeGroups(root string) {
	below, _ := os.ReadDir(root)
	for _, e := range below {
		if e.IsDir() {
			removeGroups(filepath.Join(root, e.Name()))
		}
	}
	_ = os.Remove(root)
}

// killRest kills the processes that tasks have left, and those that watch them; it returns how many.
func (l *lab) killRest() int {
	found := 0
	procs, err := filepath.Glob("/proc/[0-9]*")
	l.must(err)
	for _, p := range procs {
		pid, err := strconv.Atoi(filepath.Base(p))
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, _ := os.ReadFile(filepath.Join(p, "environ"))
		line, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		group, _ := os.ReadFile(filepath.Join(p, "cgroup"))
		if bytes.Contains(env, []byte(l.dir+"/")) || bytes.Contains(line, []byte(l.dir+"/")) || bytes.Contains(group, []byte("/"+filepath.Base(l.dir)+"-n")) {
			found++
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return found
}
