package ui

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	queueMessages = 128     // messages that may wait for a client
	queueBytes    = 8 << 20 // and their size
	writeTimeout  = 10 * time.Second
	pingEvery     = 20 * time.Second
	pongTimeout   = 60 * time.Second
	maxCallBytes  = 4096 // of one message from a client
	closeWriting  = time.Second
)

// client is one stream: the goroutine of its request reads, another writes.
type client struct {
	hub    *Hub
	conn   *websocket.Conn
	out    chan []byte
	topics map[string]bool // owned by the loop

	mu     sync.Mutex
	queued int // bytes in out
	once   sync.Once
	gone   chan struct{} // closed when the stream is to end
	code   int           // of the close frame; set before gone is closed
	text   string
}

// call is a message from a client.
type call struct {
	Do    string `json:"do"` // subscribe, unsubscribe
	Topic string `json:"topic"`
}

var upgrader = websocket.Upgrader{
	HandshakeTimeout:  10 * time.Second,
	CheckOrigin:       sameOrigin,
	EnableCompression: false,
}

// sameOrigin reports whether the request comes from a page of this node, or
// from no page at all: other programs send no origin.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && strings.EqualFold(u.Host, r.Host)
}

// upgrade turns the request into a websocket. When it fails, the answer has
// been written.
func (h *Hub) upgrade(w http.ResponseWriter, r *http.Request, places chan struct{}) (conn *websocket.Conn, leave func(), ok bool) {
	secure(w.Header())
	leave, err := h.enter(places)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return nil, nil, false
	}
	conn, err = upgrader.Upgrade(w, r, nil)
	if err != nil {
		leave()
		return nil, nil, false
	}
	conn.SetReadLimit(maxCallBytes)
	return conn, leave, true
}

func (h *Hub) serveStream(w http.ResponseWriter, r *http.Request) {
	conn, leave, ok := h.upgrade(w, r, h.streams)
	if !ok {
		return
	}
	defer leave()
	c := &client{hub: h, conn: conn, out: make(chan []byte, queueMessages), topics: map[string]bool{}, gone: make(chan struct{})}
	var writer sync.WaitGroup
	writer.Go(func() {
		defer conn.Close() // ends read
		c.write()
	})
	h.do(func() { h.join(c) })
	if h.ctx.Err() != nil {
		c.drop(websocket.CloseGoingAway, "the node is stopping")
	}
	c.read()
	c.drop(websocket.CloseNormalClosure, "")
	h.do(func() { h.leave(c) })
	writer.Wait()
}

// read takes calls until the stream ends.
func (c *client) read() {
	alive := func(string) error { return c.conn.SetReadDeadline(time.Now().Add(pongTimeout)) }
	c.conn.SetPongHandler(alive)
	if alive("") != nil {
		return
	}
	for {
		_, body, err := c.conn.ReadMessage()
		if err != nil {
			return // the end of the stream, whatever the cause
		}
		var in call
		if err := json.Unmarshal(body, &in); err != nil {
			c.refuse("", "the call is not JSON: "+err.Error())
			continue
		}
		c.answer(in)
	}
}

func (c *client) answer(in call) {
	t, err := parseTopic(in.Topic)
	switch {
	case err != nil:
		c.refuse(in.Topic, err.Error())
	case in.Do == "subscribe":
		c.hub.do(func() { c.hub.subscribe(c, t) })
	case in.Do == "unsubscribe":
		c.hub.do(func() { c.hub.unsubscribe(c, t.text) })
	default:
		c.refuse(in.Topic, "unknown call; known are subscribe and unsubscribe")
	}
}

func (c *client) refuse(topic, text string) {
	c.send(encode(message{Type: "error", Topic: topic, At: now(), Text: text}))
}

// send queues a message. A client whose queue is full is too slow and is
// dropped: it gets a snapshot when it connects anew, so it misses nothing.
func (c *client) send(body []byte) {
	c.mu.Lock()
	full := c.queued > 0 && c.queued+len(body) > queueBytes
	if !full {
		select {
		case c.out <- body:
			c.queued += len(body)
		default:
			full = true
		}
	}
	c.mu.Unlock()
	if full {
		c.drop(websocket.CloseTryAgainLater, "too slow")
	}
}

// drop ends the stream with a close code. Only the first call counts.
func (c *client) drop(code int, text string) {
	c.once.Do(func() {
		c.code, c.text = code, text
		close(c.gone)
	})
}

// write sends what is queued until the stream ends.
func (c *client) write() {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-c.gone:
			c.bye()
			return
		default:
		}
		select {
		case <-c.gone: // seen at the top
		case body := <-c.out:
			c.mu.Lock()
			c.queued -= len(body)
			c.mu.Unlock()
			if !writeTo(c.conn, websocket.TextMessage, body) {
				return
			}
		case <-ping.C:
			if c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout)) != nil {
				return
			}
		}
	}
}

// bye sends the close frame, if the client still takes it.
func (c *client) bye() {
	frame := websocket.FormatCloseMessage(c.code, c.text)
	// A client that takes nothing learns it from the end of the connection.
	_ = c.conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(closeWriting))
}

// writeTo writes one message and reports whether the connection still works.
func writeTo(conn *websocket.Conn, kind int, body []byte) bool {
	return conn.SetWriteDeadline(time.Now().Add(writeTimeout)) == nil && conn.WriteMessage(kind, body) == nil
}
