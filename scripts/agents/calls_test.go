package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Calls arrive in order, many on one connection; the first that is not accepted ends it with its text.
func TestCaller(t *testing.T) {
	var mu sync.Mutex
	var got []string
	all := make(chan struct{})
	master := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/api/v1/scheduler" || r.Method != "POST" || r.Header.Get("Mesos-Stream-Id") != "s" || r.Header.Get("Content-Type") != "text/x" {
			t.Errorf("%s %s %v %v", r.Method, r.URL, r.Header, err)
		}
		if string(body) == "bad" {
			http.Error(w, "no such framework", http.StatusBadRequest)
			return
		}
		mu.Lock()
		got = append(got, string(body))
		if len(got) == 5000 {
			close(all)
		}
		mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
	}))
	defer master.Close()
	c, err := dialCaller(t.Context(), strings.TrimPrefix(master.URL, "http://"), "text/x", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for i := range 5000 {
		c.post(fmt.Append(nil, "call ", i))
	}
	<-all
	for i, body := range got {
		if body != fmt.Sprint("call ", i) {
			t.Fatalf("call %d is %q", i, body)
		}
	}
	c.post([]byte("bad"))
	c.post([]byte("late"))
	var refused *callError
	if err := c.reason(); !errors.As(err, &refused) || refused.status != 400 || refused.text != "no such framework" {
		t.Errorf("ended with %v", err)
	}
}

// Whatever else a master answers ends the connection with an error, and nothing hangs.
func TestCallerBadMaster(t *testing.T) {
	for name, answer := range map[string]string{
		"closed":         "",
		"cut off":        "HTTP/1.1 202 Accep",
		"no header":      "HTTP/1.1 202 Accepted\r\n",
		"not HTTP":       "hello\r\n\r\n",
		"a body":         "HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nabc",
		"chunks":         "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"unasked":        "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n",
		"endless header": "HTTP/1.1 202 Accepted\r\nX: " + strings.Repeat("x", 64<<10),
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c, err := dialCaller(t.Context(), l.Addr().String(), "text/x", "s")
		if err != nil {
			t.Fatal(err)
		}
		c.post([]byte("call"))
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, conn, 20); err != nil { // the call has come
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			t.Logf("%s: %v", name, err) // it may be cut off before all is written
		}
		if name != "unasked" {
			conn.Close()
		}
		if err := c.reason(); err == nil {
			t.Errorf("%s: no error", name)
		}
		c.close()
		conn.Close()
		l.Close()
	}
}

// A caller that is closed lets go of calls that find no place.
func TestCallerClose(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := dialCaller(t.Context(), l.Addr().String(), "text/x", "s")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * maxUnanswered {
		c.post([]byte("call"))
	}
	done := make(chan struct{})
	go func() {
		c.close()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	if err := c.reason(); err != nil {
		t.Error(err)
	}
}
