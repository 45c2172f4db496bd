package ui

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// tailRead is how much of a file goes in one message.
	tailRead = 64 << 10
	// tailLag is how far a follower may be behind the end before the part
	// between is left out: a file that grows faster than the browser can take
	// it is shown at its end, not minutes late.
	tailLag     = 1 << 20
	tailEvery   = 200 * time.Millisecond
	tailIdle    = time.Second // after tailQuiet without new data
	tailQuiet   = 30 * time.Second
	tailTimeout = 10 * time.Second
	searchRead  = 1 << 20
	searchReply = 500 * time.Millisecond // how often a search says how far it is
	maxPattern  = 256
)

// tailCall is a message from a log view.
//
//	{"do":"follow","offset":-1}        send what comes after the offset, -1: the end
//	{"do":"pause"}                     stop following
//	{"do":"read","offset":0,"length":65536}
//	{"do":"find","text":"x","offset":0,"back":false}
type tailCall struct {
	Do     string `json:"do"`
	Offset int64  `json:"offset"`
	Length int    `json:"length"`
	Text   string `json:"text"`
	Back   bool   `json:"back"`
}

// tailNote is a text message to a log view. File contents go as binary
// messages: 'r' (read) or 'f' (follow), offset and file size as 8 bytes big-endian
// each, then the bytes.
type tailNote struct {
	Type   string `json:"type"`             // found, searching, notfound, error, size
	Offset int64  `json:"offset"`           // found, searching: where
	Length int    `json:"length,omitempty"` // found: bytes that match
	Size   int64  `json:"size"`
	Text   string `json:"text,omitempty"` // error
	// Missing says that the error is a file that is not there.
	Missing bool `json:"missing,omitempty"`
}

// tail is one open log view. One goroutine reads calls, another carries them
// out one after the other; a new call ends a search under way.
type tail struct {
	hub     *Hub
	conn    *websocket.Conn
	agentID string
	path    string
	calls   chan tailCall

	follow bool
	next   int64 // offset of the next byte to send while following
	size   int64 // last one told
	fault  string
	quiet  time.Time // when something last came
}

func (h *Hub) serveTail(w http.ResponseWriter, r *http.Request) {
	agentID, file := r.FormValue("agent"), r.FormValue("path")
	if agentID == "" || file == "" {
		http.Error(w, "agent and path are needed", http.StatusBadRequest)
		return
	}
	conn, leave, ok := h.upgrade(w, r, h.readers)
	if !ok {
		return
	}
	defer leave()
	ctx, cancel := context.WithCancel(h.ctx)
	t := &tail{hub: h, conn: conn, agentID: agentID, path: file, calls: make(chan tailCall, 16), size: -1, quiet: time.Now()}
	var worker sync.WaitGroup
	worker.Go(func() {
		defer conn.Close() // ends read
		t.run(ctx)
	})
	t.read(ctx)
	cancel()
	worker.Wait()
}

// read takes calls until the connection ends.
func (t *tail) read(ctx context.Context) {
	alive := func(string) error { return t.conn.SetReadDeadline(time.Now().Add(pongTimeout)) }
	t.conn.SetPongHandler(alive)
	if alive("") != nil {
		return
	}
	for {
		_, body, err := t.conn.ReadMessage()
		if err != nil {
			return // the end of the connection, whatever the cause
		}
		var c tailCall
		if err := json.Unmarshal(body, &c); err != nil {
			c = tailCall{Do: "bad", Text: err.Error()}
		}
		select {
		case t.calls <- c:
		case <-ctx.Done():
			return
		}
	}
}

// run carries out the calls, and follows the file while that is wanted.
func (t *tail) run(ctx context.Context) {
	ping, poll := time.NewTicker(pingEvery), time.NewTimer(0)
	defer ping.Stop()
	defer poll.Stop()
	for {
		ok := true
		select {
		case <-ctx.Done():
			frame := websocket.FormatCloseMessage(websocket.CloseGoingAway, "the node is stopping")
			// A client that takes nothing learns it from the end of the connection.
			_ = t.conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(closeWriting))
			return
		case c := <-t.calls:
			ok = t.answer(ctx, c)
			poll.Reset(0)
		case <-poll.C:
			var wait time.Duration
			if wait, ok = t.advance(ctx); ok {
				poll.Reset(wait)
			}
		case <-ping.C:
			ok = t.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout)) == nil
		}
		if !ok {
			return
		}
	}
}

func (t *tail) answer(ctx context.Context, c tailCall) bool {
	switch {
	case c.Do == "follow" && c.Offset >= -1:
		t.follow, t.next, t.quiet = true, c.Offset, time.Now()
		return true
	case c.Do == "pause":
		t.follow = false
		return true
	case c.Do == "read" && c.Offset >= 0 && c.Length > 0 && c.Length <= tailRead:
		return t.readAt(ctx, c.Offset, c.Length)
	case c.Do == "find" && c.Offset >= 0 && c.Text != "" && len(c.Text) <= maxPattern:
		return t.find(ctx, c)
	}
	return t.note(tailNote{Type: "error", Text: "not a call of a log view: " + c.Do + " " + c.Text})
}

// fetch reads from the file with a time limit.
func (t *tail) fetch(ctx context.Context, offset int64, length int) ([]byte, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, tailTimeout)
	defer cancel()
	return t.hub.source.Read(ctx, t.agentID, t.path, offset, length)
}

// fetchAll reads until it has length bytes or the end of the file: a source may
// give less at a time than it was asked for.
func (t *tail) fetchAll(ctx context.Context, offset int64, length int) (data []byte, size int64, err error) {
	for {
		piece, size, err := t.fetch(ctx, offset+int64(len(data)), length-len(data))
		if err != nil {
			return nil, 0, err
		}
		data = append(data, piece...)
		if len(data) >= length || len(piece) == 0 {
			return data, size, nil
		}
	}
}

func (t *tail) readAt(ctx context.Context, offset int64, length int) bool {
	data, size, err := t.fetchAll(ctx, offset, length)
	if err != nil {
		return t.fail(err)
	}
	return t.chunk('r', offset, size, data)
}

// advance sends what is new and returns how long to wait before looking again.
// While nobody follows, it only tells the size.
func (t *tail) advance(ctx context.Context) (time.Duration, bool) {
	wait := tailEvery
	if time.Since(t.quiet) > tailQuiet {
		wait = tailIdle
	}
	from, length := t.next, tailRead
	if !t.follow {
		from = -1
	}
	if from < 0 {
		length = 0
	}
	data, size, err := t.fetch(ctx, from, length)
	if err != nil {
		if ctx.Err() != nil || t.fault == err.Error() {
			return tailIdle, true
		}
		t.fault = err.Error()
		return tailIdle, t.fail(err)
	}
	if t.fault != "" || (!t.follow && size != t.size) {
		t.fault, t.size, t.quiet = "", size, time.Now()
		if !t.note(tailNote{Type: "size", Size: size}) {
			return wait, false
		}
	}
	if !t.follow {
		return wait, true
	}
	switch {
	case t.next < 0: // start with the last piece of the file
		t.next = max(0, size-tailRead)
		return 0, size > 0 || t.chunk('f', 0, 0, nil)
	case size < t.next: // it was cut: begin again
		t.next = 0
		return 0, t.chunk('f', 0, size, nil)
	case size-t.next > tailLag:
		t.next = size - tailRead
		return 0, true
	case len(data) == 0:
		if t.size != size {
			t.size = size
			return wait, t.chunk('f', t.next, size, nil)
		}
		return wait, true
	}
	t.quiet, t.size = time.Now(), size
	ok := t.chunk('f', t.next, size, data)
	t.next += int64(len(data))
	if t.next < size {
		wait = 0
	}
	return wait, ok
}

// find looks for the text from the offset on, or before it, where the case of
// ASCII letters does not matter. A further call ends it.
func (t *tail) find(ctx context.Context, c tailCall) bool {
	word := []byte(c.Text)
	told := time.Now()
	at := c.Offset // everything before it (or, backwards, after it) is searched
	for {
		if len(t.calls) > 0 || ctx.Err() != nil {
			return true
		}
		from, length := at, searchRead
		if c.Back {
			from = max(0, at-searchRead)
			length = int(at - from)
		}
		data, size, err := t.fetchAll(ctx, from, length)
		if err != nil {
			return t.fail(err)
		}
		if i := indexFold(data, word, c.Back); i >= 0 {
			return t.note(tailNote{Type: "found", Offset: from + int64(i), Length: len(word), Size: size})
		}
		// The next piece overlaps by what a match across the border needs.
		over := int64(len(word) - 1)
		done := from+int64(len(data)) >= size || len(data) == 0
		at = from + int64(len(data)) - over
		if c.Back {
			done = from == 0
			at = from + over
		}
		if done {
			return t.note(tailNote{Type: "notfound", Size: size})
		}
		if time.Since(told) > searchReply {
			told = time.Now()
			if !t.note(tailNote{Type: "searching", Offset: at, Size: size}) {
				return false
			}
		}
	}
}

// indexFold is bytes.Index or, backwards, bytes.LastIndex, where the case of
// ASCII letters does not matter. It goes from one place of the word's first
// letter, small or large, to the next at the speed of the library's assembly:
// a search may go through gigabytes.
func indexFold(data, word []byte, back bool) int {
	if len(word) == 0 || len(word) > len(data) {
		return -1
	}
	starts := data[:len(data)-len(word)+1]
	// next is the place of c at or after (backwards: at or before) from.
	next := func(c byte, from int) int {
		if back {
			return bytes.LastIndexByte(starts[:from+1], c)
		}
		i := bytes.IndexByte(starts[from:], c)
		if i < 0 {
			return -1
		}
		return from + i
	}
	step, from := 1, 0
	if back {
		step, from = -1, len(starts)-1
	}
	small, large := lower(word[0]), upper(word[0])
	i, j := next(small, from), -1
	if small != large {
		j = next(large, from)
	}
	for i >= 0 || j >= 0 {
		at := &i
		c := small
		if i < 0 || j >= 0 && (j < i) != back {
			at, c = &j, large
		}
		if equalFold(data[*at:*at+len(word)], word) {
			return *at
		}
		if from = *at + step; from < 0 || from >= len(starts) {
			*at = -1
			continue
		}
		*at = next(c, from)
	}
	return -1
}

func (t *tail) fail(err error) bool {
	return t.note(tailNote{Type: "error", Text: err.Error(), Missing: errors.Is(err, ErrNotFound)})
}

func (t *tail) note(n tailNote) bool {
	return writeTo(t.conn, websocket.TextMessage, encode(n))
}

func (t *tail) chunk(kind byte, offset, size int64, data []byte) bool {
	body := make([]byte, 0, 17+len(data))
	body = append(body, kind)
	body = binary.BigEndian.AppendUint64(body, uint64(offset))
	body = binary.BigEndian.AppendUint64(body, uint64(size))
	return writeTo(t.conn, websocket.BinaryMessage, append(body, data...))
}
