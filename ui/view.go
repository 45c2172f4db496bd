package ui

import (
	"bytes"
	"encoding/json"
	"slices"
)

// row is one entry of a list: an encoded object with its key.
type row struct {
	key  string
	body json.RawMessage
}

// content is what a topic shows at one moment.
type content struct {
	fields map[string]json.RawMessage
	rows   []row
}

// message is what the hub writes on a stream. Which parts are there depends on
// its type: hello, beat, snapshot, delta, error, trouble.
type message struct {
	Type  string `json:"type"`
	Topic string `json:"topic,omitempty"`
	// Seq numbers the messages of one topic; a delta changes what the message
	// with the number before has left.
	Seq uint64 `json:"seq,omitempty"`
	// At is the clock of the node in milliseconds, so that the page can show
	// ages right even when its own clock is wrong.
	At     int64                      `json:"at"`
	Fields map[string]json.RawMessage `json:"fields,omitempty"`
	Gone   []string                   `json:"gone,omitempty"` // names of removed fields
	Rows   []json.RawMessage          `json:"rows,omitempty"` // all, or those added or changed
	// Removed has the keys of removed rows.
	Removed []string `json:"removed,omitempty"`
	// Order has the keys of all rows when it is not the old order without the
	// removed rows and with new ones at the end.
	Order []string `json:"order,omitempty"`
	Build string   `json:"build,omitempty"` // hello: names the page's files
	Text  string   `json:"text,omitempty"`  // error, trouble: what is wrong
}

// view is a topic that somebody watches.
type view struct {
	topic   topic
	seq     uint64
	content *content // nil until the first answer
	clients map[*client]bool
	stop    func() // ends the poller of a directory listing; may be nil
}

// snapshot is the message that shows the whole content.
func (v *view) snapshot(at int64) message {
	m := message{Type: "snapshot", Topic: v.topic.text, Seq: v.seq, At: at, Fields: v.content.fields}
	for _, r := range v.content.rows {
		m.Rows = append(m.Rows, r.body)
	}
	return m
}

// advance makes next the content and returns the delta that leads to it, or
// false when nothing has changed.
func (v *view) advance(next *content, at int64) (message, bool) {
	m, changed := diff(v.content, next)
	v.content = next
	if !changed {
		return m, false
	}
	v.seq++
	m.Type, m.Topic, m.Seq, m.At = "delta", v.topic.text, v.seq, at
	return m, true
}

// diff returns what changes old into next.
func diff(old, next *content) (message, bool) {
	var m message
	for name, body := range next.fields {
		if was, ok := old.fields[name]; !ok || !bytes.Equal(was, body) {
			if m.Fields == nil {
				m.Fields = map[string]json.RawMessage{}
			}
			m.Fields[name] = body
		}
	}
	for name := range old.fields {
		if _, ok := next.fields[name]; !ok {
			m.Gone = append(m.Gone, name)
		}
	}
	slices.Sort(m.Gone)
	diffRows(old.rows, next.rows, &m)
	changed := m.Fields != nil || m.Gone != nil || m.Rows != nil || m.Removed != nil || m.Order != nil
	return m, changed
}

func diffRows(old, next []row, m *message) {
	was := make(map[string]json.RawMessage, len(old))
	for _, r := range old {
		was[r.key] = r.body
	}
	is := make(map[string]bool, len(next))
	for _, r := range next {
		is[r.key] = true
	}
	var expected []string // the order that the page has without being told
	for _, r := range old {
		if is[r.key] {
			expected = append(expected, r.key)
		} else {
			m.Removed = append(m.Removed, r.key)
		}
	}
	order := make([]string, 0, len(next))
	for _, r := range next {
		order = append(order, r.key)
		body, ok := was[r.key]
		if !ok {
			expected = append(expected, r.key)
		}
		if !ok || !bytes.Equal(body, r.body) {
			m.Rows = append(m.Rows, r.body)
		}
	}
	if !slices.Equal(order, expected) {
		m.Order = order
	}
}
