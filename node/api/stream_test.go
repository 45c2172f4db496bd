package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clusterd/node/mesos"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/v1scheduler"

	"google.golang.org/protobuf/proto"
)

func heartbeat() *v1scheduler.Event {
	return &v1scheduler.Event{Type: v1scheduler.Event_HEARTBEAT.Enum()}
}

func errorEvent(text string) *v1scheduler.Event {
	return &v1scheduler.Event{Type: v1scheduler.Event_ERROR.Enum(), Error: &v1scheduler.Event_Error{Message: proto.String(text)}}
}

// SCH-36 SCH-37 SCH-38 SCH-40 SCH-41 SCH-19 SCH-15
func TestSchedulerStream(t *testing.T) {
	cluster := newTestCluster()
	site := httptest.NewServer(cluster.master())
	defer site.Close()
	connection, err := net.Dial("tcp", site.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_, err = io.WriteString(connection, "POST /api/v1/scheduler HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+
		"Accept: application/json\r\nMessage-Accept: application/x-protobuf\r\nAccept-Encoding: gzip\r\nConnection: close\r\n"+
		"Content-Length: "+itoa(len(subscribeBody))+"\r\n\r\n"+subscribeBody)
	if err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := response.Header
	if response.StatusCode != 200 || h.Get("Content-Type") != jsonType || h.Get("Mesos-Stream-Id") != testStream ||
		len(response.TransferEncoding) != 1 || response.TransferEncoding[0] != "chunked" || h.Get("Content-Length") != "" ||
		h.Get("Content-Encoding") != "" || h.Get("Date") == "" {
		t.Fatalf("%d %v %v", response.StatusCode, h, response.TransferEncoding)
	}
	if _, err := mesos.ParseUUID(h.Get("Mesos-Stream-Id")); err != nil {
		t.Error(err)
	}
	stream := <-cluster.scheduler.streams
	for _, event := range []*v1scheduler.Event{heartbeat(), errorEvent("some text")} {
		stream.events <- event
		want, err := mesos.MarshalJSON(event)
		if err != nil {
			t.Fatal(err)
		}
		record := itoa(len(want)) + "\n" + string(want)
		got := make([]byte, len(record))
		// Each event is there before the next one is sent: it was flushed.
		if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != record {
			t.Fatalf("%q, %v; want %q", got, err, record)
		}
	}
	close(stream.events)
	if rest, err := io.ReadAll(response.Body); err != nil || len(rest) != 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
	<-stream.closed
}

// SCH-12: the types of the call and of the events have nothing to do with each other.
func TestStreamMediaTypes(t *testing.T) {
	cluster := newTestCluster()
	site := httptest.NewServer(cluster.master())
	defer site.Close()
	call := &v1scheduler.Call{}
	if err := mesos.UnmarshalJSON([]byte(subscribeBody), call); err != nil {
		t.Fatal(err)
	}
	for _, in := range mediaTypes {
		for _, out := range mediaTypes {
			body, err := in.Marshal(call)
			if err != nil {
				t.Fatal(err)
			}
			response := postTo(t, site.URL+"/api/v1/scheduler", string(body), "Content-Type", in.String(), "Accept", out.String())
			if got := response.Header.Get("Content-Type"); got != out.String() {
				t.Errorf("%v, Accept %v: %q", in, out, got)
			}
			stream := <-cluster.scheduler.streams
			stream.events <- errorEvent("text")
			record, err := mesos.NewRecordReader(response.Body, 1<<20).Next()
			if err != nil {
				t.Fatal(err)
			}
			event := new(v1scheduler.Event)
			if err := out.Unmarshal(record, event); err != nil || !proto.Equal(event, errorEvent("text")) {
				t.Errorf("%v: %v, %v", out, event, err)
			}
			close(stream.events)
			response.Body.Close()
		}
	}
}

// SCH-293 SCH-291: when the client goes, the core is told.
func TestStreamClientGone(t *testing.T) {
	cluster := newTestCluster()
	site := httptest.NewServer(cluster.master())
	defer site.Close()
	response := postTo(t, site.URL+"/api/v1/scheduler", subscribeBody)
	stream := <-cluster.scheduler.streams
	response.Body.Close()
	<-stream.closed
}

// A stream that the node cuts off does not look complete to the client.
func TestStreamCutOff(t *testing.T) {
	stream := newFakeStream[*v1scheduler.Event]()
	failing := errors.New("queue overflow")
	source := &sourceFunc{
		next: func() ([]*v1scheduler.Event, error) { return []*v1scheduler.Event{heartbeat()}, failing }, close: stream.Close,
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		copyEvents(w, r, quiet, mesos.JSON, source)
	}))
	defer site.Close()
	response := postTo(t, site.URL, subscribeBody)
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if string(got) != "20\n"+`{"type":"HEARTBEAT"}` || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", got, err)
	}
	<-stream.closed
}

// EXE-1 EXE-7
func TestExecutorStream(t *testing.T) {
	cluster := newTestCluster()
	cluster.executors.known = true
	site := httptest.NewServer(cluster.agent())
	defer site.Close()
	response := postTo(t, site.URL+"/slave(1)/api/v1/executor",
		`{"type":"SUBSCRIBE","framework_id":{"value":"f"},"executor_id":{"value":"e"},"subscribe":{}}`, "Accept", "application/x-protobuf")
	defer response.Body.Close()
	if _, has := response.Header["Mesos-Stream-Id"]; has || response.StatusCode != 200 || len(response.Header) != 2 ||
		response.Header.Get("Content-Type") != "application/x-protobuf" || response.TransferEncoding[0] != "chunked" {
		t.Errorf("%d %v", response.StatusCode, response.Header)
	}
	stream := <-cluster.executors.streams
	shutdown := &v1executor.Event{Type: v1executor.Event_SHUTDOWN.Enum()}
	stream.events <- shutdown
	record, err := mesos.NewRecordReader(response.Body, 1<<20).Next()
	if err != nil {
		t.Fatal(err)
	}
	event := new(v1executor.Event)
	if err := proto.Unmarshal(record, event); err != nil || !proto.Equal(event, shutdown) {
		t.Errorf("%v, %v", event, err)
	}
	close(stream.events)
	<-stream.closed
}

// pipeListener makes connections out of memory, so that time can be that of a test.
type pipeListener struct {
	connections chan net.Conn
	done        chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{connections: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.connections:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.done)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (l *pipeListener) dial() net.Conn {
	client, served := net.Pipe()
	l.connections <- served
	return client
}

// inBubble runs test against a Gate in front of h, with a clock that stands still unless all wait.
func inBubble(t *testing.T, h http.Handler, test func(t *testing.T, l *pipeListener)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		gate, l := NewGate(h, quiet), newPipeListener()
		served := make(chan error, 1)
		go func() { served <- gate.Serve(l) }()
		test(t, l)
		if err := gate.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// get asks for a path on a kept connection.
func get(t *testing.T, c net.Conn, r *bufio.Reader, path string) *http.Response {
	t.Helper()
	send(t, c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	return response
}

// SCH-291: a subscriber that does not read is cut off, and nobody waits for it.
func TestStreamSlowReader(t *testing.T) {
	cluster := newTestCluster()
	inBubble(t, cluster.master(), func(t *testing.T, l *pipeListener) {
		cluster.scheduler.streams = make(chan *fakeStream[*v1scheduler.Event], 1)
		slow := l.dial()
		defer slow.Close()
		send(t, slow, "POST /api/v1/scheduler HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "+
			itoa(len(subscribeBody))+"\r\n\r\n"+subscribeBody)
		stream := <-cluster.scheduler.streams
		if _, err := http.ReadResponse(bufio.NewReader(slow), nil); err != nil {
			t.Fatal(err)
		}
		// For an hour it reads and is not cut off.
		time.Sleep(time.Hour)
		synctest.Wait()
		select {
		case <-stream.closed:
			t.Fatal("cut off while it was reading")
		default:
		}
		start := time.Now()
		stream.events <- errorEvent(strings.Repeat("x", 1<<16))
		other := l.dial()
		defer other.Close()
		if response := get(t, other, bufio.NewReader(other), "/health"); response.StatusCode != 200 || time.Since(start) != 0 {
			t.Errorf("another client: %d after %v", response.StatusCode, time.Since(start))
		}
		<-stream.closed
		if took := time.Since(start); took != writeTimeout {
			t.Errorf("cut off after %v, want %v", took, writeTimeout)
		}
	})
}

// SCH-16 EXE-10: idle connections stay, before the first request and between requests.
func TestIdleConnections(t *testing.T) {
	inBubble(t, newTestCluster().master(), func(t *testing.T, l *pipeListener) {
		const n = 10_000
		idle := make([]net.Conn, n)
		for i := range idle {
			idle[i] = l.dial()
		}
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		for i := 0; i < n; i += n / 10 {
			reader := bufio.NewReader(idle[i])
			for range 2 {
				if response := get(t, idle[i], reader, "/health"); response.StatusCode != 200 || response.Close {
					t.Fatalf("%d, close %v", response.StatusCode, response.Close)
				}
				time.Sleep(48 * time.Hour)
			}
		}
		for _, c := range idle {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A client that dawdles over a header or a body is cut off.
func TestSlowRequests(t *testing.T) {
	inBubble(t, newTestCluster().master(), func(t *testing.T, l *pipeListener) {
		c := l.dial()
		defer c.Close()
		time.Sleep(time.Hour)
		start := time.Now()
		send(t, c, "GET /health HT")
		if answer, err := io.ReadAll(c); err != nil || time.Since(start) != headerTimeout {
			t.Errorf("header: %q, %v after %v", answer, err, time.Since(start))
		}
		c = l.dial()
		defer c.Close()
		start = time.Now()
		send(t, c, "POST /api/v1/scheduler HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || response.StatusCode != http.StatusRequestTimeout || time.Since(start) != bodyTimeout {
			t.Errorf("body: %v, %v after %v", response, err, time.Since(start))
		}
		// Also where nobody wants the body.
		c = l.dial()
		defer c.Close()
		start = time.Now()
		send(t, c, "POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
		if answer, err := io.ReadAll(c); err != nil || time.Since(start) != bodyTimeout {
			t.Errorf("unread body: %q, %v after %v", answer, err, time.Since(start))
		}
	})
}

// Headers without end are refused.
func TestLargeHeader(t *testing.T) {
	gate := NewGate(newTestCluster().master(), quiet)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- gate.Serve(l) }()
	response, err := http.Get("http://" + l.Addr().String() + "/health?x=" + strings.Repeat("y", 2*maxHeaderBytes))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", response.StatusCode)
	}
	if err := gate.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// SCH-291: a state is sent in pieces, and a client that takes none is cut off.
func TestStateSlowReader(t *testing.T) {
	cluster := newTestCluster()
	cluster.state.view = largeView(t, 2000)
	inBubble(t, cluster.master(), func(t *testing.T, l *pipeListener) {
		c := l.dial()
		defer c.Close()
		send(t, c, "GET /state HTTP/1.1\r\nHost: x\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || len(response.TransferEncoding) == 0 {
			t.Fatal(response, err)
		}
		time.Sleep(writeTimeout + time.Second)
		if _, err := io.Copy(io.Discard, response.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the rest was sent: %v", err)
		}
	})
}

// A page behind the API is not cut off by the time limit of the answer before it.
func TestDashboardHasNoWriteLimit(t *testing.T) {
	cluster := newTestCluster()
	api := NewMaster(MasterOptions{
		Leader: &cluster.leader, Files: cluster.files, Logger: quiet,
		Dashboard: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Hour)
			if _, err := io.WriteString(w, "late"); err != nil {
				t.Error(err)
			}
		}),
	})
	inBubble(t, api, func(t *testing.T, l *pipeListener) {
		c := l.dial()
		defer c.Close()
		reader := bufio.NewReader(c)
		for _, path := range []string{"/health", "/ui/page", "/health"} {
			if response := get(t, c, reader, path); response.StatusCode != 200 {
				t.Errorf("%s: %d", path, response.StatusCode)
			}
			time.Sleep(2 * writeTimeout)
		}
	})
}

type sourceFunc struct {
	next  func() ([]*v1scheduler.Event, error)
	close func()
}

func (s *sourceFunc) Next(context.Context) ([]*v1scheduler.Event, error) { return s.next() }
func (s *sourceFunc) Close()                                             { s.close() }

func itoa(n int) string { return strconv.Itoa(n) }
