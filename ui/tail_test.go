package ui

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// logView is a client of /ui/tail.
type logView struct {
	t    *testing.T
	conn *websocket.Conn
}

func (b *bench) tail(path string) *logView {
	b.t.Helper()
	conn, _, err := b.dial("/ui/tail?agent=a&path="+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	return &logView{b.t, conn}
}

func (v *logView) call(c tailCall) {
	v.t.Helper()
	if err := v.conn.WriteJSON(c); err != nil {
		v.t.Fatal(err)
	}
}

// piece is a binary message.
type piece struct {
	kind         byte
	offset, size int64
	data         string
}

// next returns the next piece or note; the other is zero.
func (v *logView) next() (piece, tailNote) {
	v.t.Helper()
	kind, body, err := v.conn.ReadMessage()
	if err != nil {
		v.t.Fatalf("read: %v", err)
	}
	if kind == websocket.TextMessage {
		var n tailNote
		if err := json.Unmarshal(body, &n); err != nil {
			v.t.Fatal(err)
		}
		return piece{}, n
	}
	return piece{body[0], int64(binary.BigEndian.Uint64(body[1:])), int64(binary.BigEndian.Uint64(body[9:])), string(body[17:])}, tailNote{}
}

// piece skips notes of the size.
func (v *logView) piece() piece {
	v.t.Helper()
	for {
		p, n := v.next()
		if n.Type == "size" {
			continue
		}
		if n.Type != "" {
			v.t.Fatalf("got %+v", n)
		}
		return p
	}
}

func (v *logView) note(kind string) tailNote {
	v.t.Helper()
	for {
		if _, n := v.next(); n.Type == kind {
			return n
		}
	}
}

// UI-3: a log view starts with the end of the file and follows it as it grows,
// through a source that gives less than it is asked for.
func TestTailFollows(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.source.most = 1000
		text := strings.Repeat("0123456789\n", 10000) // 110,000 bytes
		b.source.write("a", "/log", text)
		v := b.tail("/log")
		v.call(tailCall{Do: "follow", Offset: -1})
		var got bytes.Buffer
		at := int64(len(text) - tailRead)
		for got.Len() < tailRead {
			p := v.piece()
			if p.kind != 'f' || p.offset != at+int64(got.Len()) || p.size != int64(len(text)) {
				t.Fatalf("got %c at %d of %d", p.kind, p.offset, p.size)
			}
			got.WriteString(p.data)
		}
		if got.String() != text[at:] {
			t.Fatal("the end of the file is not what came")
		}
		started := time.Now()
		b.source.append("a", "/log", "one more\n")
		if p := v.piece(); p.data != "one more\n" || p.offset != int64(len(text)) {
			t.Fatalf("got %+v", p)
		}
		if took := time.Since(started); took > 250*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// UI-3: while paused nothing but the size comes; pieces are read where they are
// asked for.
func TestTailPauseAndRead(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.source.write("a", "/log", "first\nsecond\n")
		v := b.tail("/log")
		v.call(tailCall{Do: "follow", Offset: -1})
		v.piece()
		v.call(tailCall{Do: "pause"})
		synctest.Wait()
		b.source.append("a", "/log", "third\n")
		if n := v.note("size"); n.Size != 19 {
			t.Fatalf("got %+v", n)
		}
		v.call(tailCall{Do: "read", Offset: 6, Length: 7})
		if p := v.piece(); p.kind != 'r' || p.offset != 6 || p.data != "second\n" || p.size != 19 {
			t.Fatalf("got %+v", p)
		}
		v.call(tailCall{Do: "read", Offset: 100, Length: 7})
		if p := v.piece(); p.data != "" || p.size != 19 {
			t.Fatalf("past the end: %+v", p)
		}
		v.call(tailCall{Do: "follow", Offset: 13})
		if p := v.piece(); p.kind != 'f' || p.data != "third\n" {
			t.Fatalf("got %+v", p)
		}
		for _, c := range []tailCall{{Do: "read", Length: tailRead + 1}, {Do: "read", Offset: -2, Length: 1}, {Do: "find"}, {Do: "x"}} {
			v.call(c)
			if n := v.note("error"); !strings.Contains(n.Text, "not a call") {
				t.Errorf("%+v: %+v", c, n)
			}
		}
	})
}

// UI-3: a file that is cut starts again at its beginning; one that grows faster
// than it can be shown goes on at its end; one that is not there yet comes when
// it does.
func TestTailJumps(t *testing.T) {
	inBubble(t, func(b *bench) {
		v := b.tail("/log")
		v.call(tailCall{Do: "follow", Offset: -1})
		if n := v.note("error"); !n.Missing {
			t.Fatalf("got %+v", n)
		}
		b.source.write("a", "/log", "hello\n")
		if p := v.piece(); p.data != "hello\n" {
			t.Fatalf("got %+v", p)
		}
		b.source.write("a", "/log", "cut")
		if p := v.piece(); p.offset != 0 || p.data != "" {
			t.Fatalf("got %+v", p)
		}
		if p := v.piece(); p.offset != 0 || p.data != "cut" {
			t.Fatalf("got %+v", p)
		}
		b.source.append("a", "/log", strings.Repeat("x", 3<<20))
		if p := v.piece(); p.offset != 3+3<<20-tailRead {
			t.Fatalf("got a piece at %d", p.offset)
		}
	})
}

// UI-3: the search goes over the whole file in both directions, across the
// borders of what is read at a time, and a new call ends it.
func TestTailFind(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.source.most = 300_000
		body := bytes.Repeat([]byte("."), 3*searchRead)
		for _, at := range []int{7, searchRead - 3, 2*searchRead - 1, 3*searchRead - 6} {
			copy(body[at:], "NeedlE")
		}
		b.source.write("a", "/log", string(body))
		v := b.tail("/log")
		tests := []struct {
			from int64
			back bool
			want int64 // -1: not found
		}{
			{0, false, 7}, {8, false, searchRead - 3}, {searchRead - 2, false, 2*searchRead - 1}, {2 * searchRead, false, 3*searchRead - 6},
			{3*searchRead - 5, false, -1}, {3 * searchRead, true, 3*searchRead - 6}, {3*searchRead - 6, true, 2*searchRead - 1},
			{2*searchRead - 1, true, searchRead - 3}, {searchRead - 3, true, 7}, {7, true, -1}, {0, true, -1},
		}
		for _, tt := range tests {
			v.call(tailCall{Do: "find", Text: "needle", Offset: tt.from, Back: tt.back})
			want := "found"
			if tt.want < 0 {
				want = "notfound"
			}
			if n := v.note(want); tt.want >= 0 && (n.Offset != tt.want || n.Length != 6) {
				t.Errorf("from %d back %v: %+v, want %d", tt.from, tt.back, n, tt.want)
			}
		}
	})
}

// The search finds what a slow one finds, first and last.
func TestIndexFold(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	text := func(n int) []byte {
		out := make([]byte, n)
		for i := range out {
			out[i] = "abAB1"[r.IntN(5)]
		}
		return out
	}
	for range 20_000 {
		data, word := text(r.IntN(30)), text(r.IntN(4)+1)
		low, lowWord := bytes.ToLower(data), bytes.ToLower(word)
		if got, want := indexFold(data, word, false), bytes.Index(low, lowWord); got != want {
			t.Fatalf("%s in %s: %d, want %d", word, data, got, want)
		}
		if got, want := indexFold(data, word, true), bytes.LastIndex(low, lowWord); got != want {
			t.Fatalf("%s last in %s: %d, want %d", word, data, got, want)
		}
	}
}

func (b *bench) request(method, path, body string, header map[string]string) (*http.Response, string) {
	b.t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: b.net.dial, DisableKeepAlives: true}}
	req, err := http.NewRequest(method, "http://127.0.0.1:5050"+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp, "cut off: " + err.Error()
	}
	return resp, string(text)
}

// UI-3, UI-16: a file is downloaded whole through the node, as an attachment
// that no browser runs.
func TestDownload(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.source.most = 100_000
		body := strings.Repeat("0123456789", 100_000)
		b.source.write("a", "/box/out put;.html", body)
		b.source.write("a", "/box/a.png", "png")
		b.source.write("a", "/box/empty", "")
		resp, got := b.request("GET", "/ui/download?agent=a&path=/box/out+put%3B.html", "", nil)
		if resp.StatusCode != 200 || got != body {
			t.Errorf("%s, %d bytes", resp.Status, len(got))
		}
		for name, want := range map[string]string{
			"Content-Type": "application/octet-stream", "Content-Disposition": `attachment; filename="out put;.html"`,
			"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox",
		} {
			if resp.Header.Get(name) != want {
				t.Errorf("%s: %q, want %q", name, resp.Header.Get(name), want)
			}
		}
		resp, _ = b.request("GET", "/ui/download?agent=a&path=/box/a.png&inline=1", "", nil)
		if resp.Header.Get("Content-Type") != "image/png" || !strings.HasPrefix(resp.Header.Get("Content-Disposition"), "inline") {
			t.Errorf("a picture: %v", resp.Header)
		}
		if resp, got = b.request("GET", "/ui/download?agent=a&path=/box/empty", "", nil); resp.StatusCode != 200 || got != "" {
			t.Errorf("an empty file: %s %q", resp.Status, got)
		}
		if resp, got = b.request("GET", "/ui/download?agent=a&path=/none", "", nil); resp.StatusCode != 404 || got != "file /none: not found\n" {
			t.Errorf("no file: %s %q", resp.Status, got)
		}
		if resp, _ = b.request("GET", "/ui/download?agent=a", "", nil); resp.StatusCode != 400 {
			t.Errorf("no path: %s", resp.Status)
		}
	})
}

// UI-16: a directory is downloaded as tar, with what is below it and no links.
func TestDownloadTar(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.source.setDir("a", "/box", []File{{Name: "run.sh", Mode: "-rwxr-x---"}, {Name: "sub", Mode: "drwxr-xr-x"}, {Name: "link", Mode: "lrwxrwxrwx"}, {Name: "gone", Mode: "-rw-------"}})
		b.source.setDir("a", "/box/sub", []File{{Name: "deep", Mode: "-rw-------"}})
		b.source.write("a", "/box/run.sh", "#!/bin/sh\n")
		b.source.write("a", "/box/sub/deep", strings.Repeat("x", downloadRead+1))
		b.source.write("a", "/box/link", "secret")
		resp, body := b.request("GET", "/ui/download?archive=tar&agent=a&path=/box", "", nil)
		if got := resp.Header.Get("Content-Disposition"); got != "attachment; filename=box.tar" {
			t.Errorf("%s, %s", resp.Status, got)
		}
		got := map[string]int64{}
		for r := tar.NewReader(strings.NewReader(body)); ; {
			head, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, r); err != nil || n != head.Size {
				t.Errorf("%s: %d bytes of %d, %v", head.Name, n, head.Size, err)
			}
			got[fmt.Sprintf("%s %o", head.Name, head.Mode)] = head.Size
		}
		if want := map[string]int64{"box/run.sh 750": 10, "box/sub/deep 600": downloadRead + 1}; !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if resp, _ := b.request("GET", "/ui/download?archive=tar&agent=a&path=/none", "", nil); resp.StatusCode != 404 {
			t.Errorf("no directory: %s", resp.Status)
		}
	})
}

// A download that cannot be whole is cut off, not ended as if it were.
func TestDownloadCutOff(t *testing.T) {
	inBubble(t, func(b *bench) {
		key := "a:/log"
		b.source.sizes[key] = 5 << 20
		b.source.read[key] = func(at int64, _ []byte) {
			if at == downloadRead { // asked under the lock of the source
				b.source.sizes[key] = downloadRead
			}
		}
		if _, got := b.request("GET", "/ui/download?agent=a&path=/log", "", nil); !strings.HasPrefix(got, "cut off") {
			t.Errorf("%d bytes came as the whole file", len(got))
		}
	})
}

// UI-5: a kill needs our origin and JSON, and answers with the exact error.
func TestKill(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.source.kill = func(_, taskID string) error {
			switch taskID {
			case "gone":
				return fmt.Errorf("task gone: %w", ErrNotFound)
			case "later":
				return fmt.Errorf("no leading master: %w", ErrUnavailable)
			case "broken":
				return errors.New("disk on fire")
			}
			return nil
		}
		const json, body = "application/json", `{"framework":"f","task":"t"}`
		tests := []struct {
			name, body string
			header     map[string]string
			status     int
			answer     string
		}{
			{"page", body, map[string]string{"Content-Type": json, "Origin": "http://127.0.0.1:5050"}, 202, `{}`},
			{"program", body, map[string]string{"Content-Type": json + "; charset=utf-8"}, 202, `{}`},
			{"other site", body, map[string]string{"Content-Type": json, "Origin": "http://evil.example"}, 403, `{"error":"the request comes from another site"}`},
			{"cross-site", body, map[string]string{"Content-Type": json, "Sec-Fetch-Site": "cross-site"}, 403, `{"error":"the request comes from another site"}`},
			{"form", "framework=f&task=t", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 415, `{"error":"the content type must be application/json"}`},
			{"no type", body, nil, 415, `{"error":"the content type must be application/json"}`},
			{"no task", `{"framework":"f"}`, map[string]string{"Content-Type": json}, 400, `{"error":"framework and task are needed"}`},
			{"no json", `x`, map[string]string{"Content-Type": json}, 400, `{"error":"the body must be JSON: invalid character 'x' looking for beginning of value"}`},
			{"huge", `{"framework":"` + strings.Repeat("x", 5000) + `"}`, map[string]string{"Content-Type": json}, 400, `{"error":"the body must be JSON: http: request body too large"}`},
			{"unknown", `{"framework":"f","task":"gone"}`, map[string]string{"Content-Type": json}, 404, `{"error":"task gone: not found"}`},
			{"no leader", `{"framework":"f","task":"later"}`, map[string]string{"Content-Type": json}, 503, `{"error":"no leading master: unavailable"}`},
			{"fault", `{"framework":"f","task":"broken"}`, map[string]string{"Content-Type": json}, 500, `{"error":"disk on fire"}`},
		}
		for _, tt := range tests {
			resp, got := b.request("POST", "/ui/kill", tt.body, tt.header)
			if resp.StatusCode != tt.status || got != tt.answer {
				t.Errorf("%s: %d %s, want %d %s", tt.name, resp.StatusCode, got, tt.status, tt.answer)
			}
		}
		if got := b.source.killed(); len(got) != 2 || got[0] != "f/t" {
			t.Errorf("killed %v", got)
		}
		if resp, _ := b.request("GET", "/ui/kill", "", nil); resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("GET: %s", resp.Status)
		}
	})
}
