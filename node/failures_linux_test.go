package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
)

// A leading master is killed twice while tasks run on all nodes: the next one has every framework that was
// acknowledged, the tasks go on, and the killed node comes back by itself. CLU-31, CLU-34, CLU-36, CLU-62
func TestLeaderKilled(t *testing.T) {
	l := newLab(t, 3)
	l.grow()
	f := l.framework()
	l.follow(f, l.machines...)
	tasks := f.spread(len(l.machines))
	var acknowledged []string
	for range 2 {
		leader := l.settle()
		acknowledged = append(acknowledged, l.register(leader))
		leader.end(syscall.SIGKILL)
		l.ended(f)
		l.follow(f, leader.others()...)
		if f.c.master == leader.master() {
			t.Fatalf("%s leads, which is dead", leader.name())
		}
		f.offer()
		acknowledged = append(acknowledged, l.register(leader.others()...))
		leader.start()
		next := l.settle()
		known := l.frameworks(next)
		for _, id := range append(acknowledged, f.info.GetId().GetValue()) {
			if !strings.Contains(known, id) {
				t.Errorf("framework %s was acknowledged and is lost", id)
			}
		}
		f.stillRun(tasks)
	}
	l.same(l.settle().others()[0])
}

// stillRun has the master tell the state of each task.
func (f *framework) stillRun(tasks []string) {
	f.t.Helper()
	ask := &v1scheduler.Call_Reconcile{}
	for _, name := range tasks {
		ask.Tasks = append(ask.Tasks, &v1scheduler.Call_Reconcile_Task{TaskId: taskID(name), AgentId: f.last(name).GetAgentId()})
		if st := f.last(name); mesos.Terminal(st.GetState()) {
			f.t.Fatalf("task %s is lost: %v", name, st)
		}
		f.status[name] = nil
	}
	f.call(&v1scheduler.Call{Type: v1scheduler.Call_RECONCILE.Enum(), Reconcile: ask})
	for _, name := range tasks {
		f.reach(name, v1.TaskState_TASK_RUNNING)
	}
}

// The leading master is cut off from the others, and still reached by its clients: it stops acting, the
// others go on, and when the network is whole again all agree, without another election. CLU-33, CLU-34, CLU-35
func TestLeaderCut(t *testing.T) {
	l := newLab(t, 3)
	l.grow()
	f := l.framework()
	l.follow(f, l.machines...)
	tasks := f.spread(len(l.machines))
	for _, cut := range []struct {
		name string
		lose func(leader, other *machine)
	}{
		{"both ways", func(leader, other *machine) { leader.lose(other); other.lose(leader) }},
		{"what it sends", func(leader, other *machine) { leader.lose(other) }},
		{"what it is sent", func(leader, other *machine) { other.lose(leader) }},
	} {
		leader := l.settle()
		for _, o := range leader.others() {
			cut.lose(leader, o)
		}
		l.ended(f)
		l.follow(f, leader.others()...)
		if leader.leads() {
			t.Fatalf("%s: %s leads, and so does %s", cut.name, leader.name(), f.c.master)
		}
		l.refuses(cut.name, leader)
		id := l.register(leader.others()...)
		term := f.term(l)
		for _, o := range leader.others() {
			leader.find(o)
			o.find(leader)
		}
		next := l.settle()
		if now := f.term(l); next == leader || now != term {
			t.Errorf("%s: %s leads in term %d after the cut, before its end another did in term %d", cut.name, next.name(), now, term)
		}
		if !strings.Contains(l.frameworks(next), id) {
			t.Errorf("%s: framework %s was acknowledged and is lost", cut.name, id)
		}
		f.stillRun(tasks)
	}
	l.same(l.settle().others()[0])
}

// term is that of the master that the framework is subscribed at.
func (f *framework) term(l *lab) uint64 {
	f.t.Helper()
	for _, m := range l.machines {
		if m.master() == f.c.master {
			s, err := m.status()
			l.must(err)
			return s.Term
		}
	}
	f.t.Fatalf("no machine is %s", f.c.master)
	return 0
}

// refuses checks what a master does without a quorum: it takes no writes and says who is missing, and what
// it tells is marked as stale.
func (l *lab) refuses(when string, m *machine) {
	l.t.Helper()
	lone := l.framework()
	lone.c.master = m.master()
	resp := lone.post(&v1scheduler.Call{Type: v1scheduler.Call_SUBSCRIBE.Enum(), Subscribe: &v1scheduler.Call_Subscribe{FrameworkInfo: lone.info}})
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		l.t.Errorf("%s: SUBSCRIBE at the lone %s: %s", when, m.name(), resp.Status)
	}
	l.until(when+": the lone "+m.name()+" says who is missing", func() bool {
		s, err := m.status()
		l.must(err)
		if !s.Stale || s.Leader != nil {
			l.t.Fatalf("%s: the lone %s says stale %v, leader %v", when, m.name(), s.Stale, s.Leader)
		}
		text := ""
		for _, p := range s.Problems {
			text += p.Text
		}
		return !s.Quorum.OK && !slices.ContainsFunc(m.others(), func(o *machine) bool { return !strings.Contains(text, o.ip()) })
	})
}

// A follower's disk is full: it ends and says which file and what to do, the others go on, and with room it
// comes back and has all that it missed. CLU-31, CLU-32
func TestFollowerDiskFull(t *testing.T) {
	l := newLab(t, 3)
	small := l.machines[2]
	l.must(unix.Mount("tmpfs", small.dir, "tmpfs", 0, "size=32m,mode=755"))
	l.grow()
	if leader := l.settle(); leader == small {
		leader.end(syscall.SIGTERM)
		leader.start()
		l.settle()
	}
	f := l.framework()
	l.follow(f, small.others()...)
	tasks := f.spread(len(l.machines))

	filler := filepath.Join(small.dir, "filler")
	fill(t, filler)
	// Its log has room for some entries in blocks that the file has already.
	var acknowledged []string
	l.until(small.name()+" has ended", func() bool {
		acknowledged = append(acknowledged, l.register(small.others()...))
		return len(small.ended) > 0
	})
	if err := small.wait(); err == nil {
		t.Error("a node whose disk is full ended without an error")
	}
	if text := small.log.String(); !strings.Contains(text, "no space left on device: make room") || !strings.Contains(text, filepath.Join(small.dir, "raft", "log.db")) {
		t.Errorf("it does not say which file, and what to do:\n%s", text)
	}
	acknowledged = append(acknowledged, l.register(small.others()...))
	l.must(os.Remove(filler))
	small.start()
	known := l.frameworks(l.settle())
	for _, id := range acknowledged {
		if !strings.Contains(known, id) {
			t.Errorf("framework %s was acknowledged and is lost", id)
		}
	}
	f.stillRun(tasks)
	l.same(small)
}

// fill writes until the file system is full.
func fill(t *testing.T, path string) {
	t.Helper()
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for _, size := range []int{1 << 20, 1 << 12} {
		for block := make([]byte, size); err == nil; {
			_, err = out.Write(block)
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("fill the disk: %v", err)
		}
		err = nil
	}
}

// All that nodes say to each other is TLS, from the first byte of each connection, on one port: a cluster is
// made, tasks run, its leader changes, and no name or command is seen on the wire. CLU-11, CLU-20
func TestNoPlaintext(t *testing.T) {
	l := newLab(t, 3)
	seen := l.capture()
	l.grow()
	f := l.framework()
	l.follow(f, l.machines...)
	f.spread(len(l.machines))
	leader := l.settle()
	leader.end(syscall.SIGTERM)
	leader.start()
	l.settle()
	token := l.command("token", "-q", "--data-dir", leader.dir)
	flows := seen()
	if len(flows) < 6 {
		t.Fatalf("%d connections seen between three nodes", len(flows))
	}
	words := []string{"a-word-in-the-task", "on-1", "TASK_RUNNING", t.Name(), "sleep 100000", labNetwork, token[strings.LastIndex(token, "-")+1:], filepath.Base(l.dir)}
	named := false
	for between, data := range flows {
		named = named || bytes.Contains(data, []byte("clusterd-raft"))
		from, to, _ := strings.Cut(between, " ")
		if !strings.HasSuffix(from, ":5055") && !strings.HasSuffix(to, ":5055") {
			t.Errorf("%s: a connection that is not to the port between nodes", between)
		}
		if !bytes.HasPrefix(data, []byte{22, 3}) { // a TLS record with a handshake
			t.Errorf("%s begins with % x, not with a TLS handshake", between, data[:min(8, len(data))])
		}
		for _, word := range words {
			if bytes.Contains(data, []byte(word)) {
				t.Errorf("%s: %q is seen on the wire", between, word)
			}
		}
	}
	if !named { // the first message of a handshake, which is in the clear, names the protocol
		t.Error("what can be seen was not captured")
	}
}

// capture reads all packets between machines from now on. The function that it returns ends that, and has
// the bytes of each direction of each TCP connection, as "FROM:PORT TO:PORT".
func (l *lab) capture() func() map[string][]byte {
	l.t.Helper()
	var fd int
	var err error
	const allProtocols = 0x0300 // ETH_P_ALL in the order of the network
	l.must(errors.Join(inNamespace(l.hub, func() { fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, allProtocols) }), err))
	l.must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20))
	l.must(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	flows, stop := make(map[string][]byte), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		frame := make([]byte, 1<<17)
		for {
			n, from, err := unix.Recvfrom(fd, frame, 0)
			switch {
			case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
				select {
				case <-stop:
					return
				default:
				}
			case err != nil:
				l.t.Errorf("capture: %v", err)
				return
			default:
				// Each frame comes in at a port of the bridge and leaves at another: the first counts.
				if at, ok := from.(*unix.SockaddrLinklayer); ok && at.Pkttype == unix.PACKET_OTHERHOST {
					l.note(flows, frame[:n])
				}
			}
		}
	})
	return func() map[string][]byte {
		close(stop)
		wg.Wait()
		l.must(unix.Close(fd))
		return flows
	}
}

// note adds what an Ethernet frame with TCP carries from one machine to another.
func (l *lab) note(flows map[string][]byte, frame []byte) {
	const ethernet, ipv4, tcp = 14, 20, 20
	if len(frame) < ethernet+ipv4+tcp || frame[12] != 8 || frame[13] != 0 || frame[ethernet+9] != unix.IPPROTO_TCP {
		return
	}
	packet := frame[ethernet:]
	total := min(int(packet[2])<<8|int(packet[3]), len(packet))
	segment := packet[int(packet[0]&15)*4 : total]
	end := func(ip, port []byte) string {
		return fmt.Sprintf("%d.%d.%d.%d:%d", ip[0], ip[1], ip[2], ip[3], int(port[0])<<8|int(port[1]))
	}
	from, to := end(packet[12:16], segment[0:2]), end(packet[16:20], segment[2:4])
	between := func(address string) bool {
		return slices.ContainsFunc(l.machines, func(m *machine) bool { return strings.HasPrefix(address, m.ip()+":") })
	}
	if data := segment[int(segment[12]>>4)*4:]; len(data) > 0 && between(from) && between(to) {
		flows[from+" "+to] = append(flows[from+" "+to], data...)
	}
}
