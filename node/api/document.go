package api

import (
	"compress/gzip"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"clusterd/node/mesos"

	"google.golang.org/protobuf/proto"
)

const (
	// spillBytes is how much of a document is held before it is sent on.
	spillBytes = 64 << 10
	// gzipBytes is the size from which a body is worth compressing (OPR-6).
	gzipBytes = 1024
)

// document is a JSON text under construction. Every method appends; a comma is put where one is due.
// Parts are passed on as they grow (spill), so that a large state is never in memory as a whole.
type document struct {
	buf  []byte
	last byte // last byte of what was passed on
	out  func([]byte) error
	err  error // first failure; nothing is written any more
}

// spill passes the text on if it has grown large. It reports false once the client is gone or a value
// could not be encoded: there is no use in going on.
func (d *document) spill() bool {
	if len(d.buf) >= spillBytes {
		d.drain()
	}
	return d.err == nil
}

func (d *document) drain() {
	if len(d.buf) == 0 || d.err != nil {
		return
	}
	d.last = d.buf[len(d.buf)-1]
	d.err = d.out(d.buf)
	d.buf = d.buf[:0]
}

// comma separates the next member or element from the one before, if there is one.
func (d *document) comma() {
	last := d.last
	if len(d.buf) > 0 {
		last = d.buf[len(d.buf)-1]
	}
	switch last {
	case 0, '{', '[', '(', ':':
	default:
		d.buf = append(d.buf, ',')
	}
}

// key begins a member. Keys with characters that need escaping go through name.
func (d *document) key(k string) {
	d.comma()
	d.buf = append(d.buf, '"')
	d.buf = append(d.buf, k...)
	d.buf = append(d.buf, '"', ':')
}

func (d *document) name(k string) {
	d.comma()
	d.buf = append(appendString(d.buf, k), ':')
}

func (d *document) object(k string) { d.key(k); d.buf = append(d.buf, '{') }
func (d *document) array(k string)  { d.key(k); d.buf = append(d.buf, '[') }
func (d *document) openObject()     { d.comma(); d.buf = append(d.buf, '{') }
func (d *document) openArray()      { d.comma(); d.buf = append(d.buf, '[') }
func (d *document) endObject()      { d.buf = append(d.buf, '}') }
func (d *document) endArray()       { d.buf = append(d.buf, ']') }

func (d *document) text(k, v string) { d.key(k); d.buf = appendString(d.buf, v) }

func (d *document) textElement(v string) { d.comma(); d.buf = appendString(d.buf, v) }

func (d *document) number(k string, v float64) { d.key(k); d.buf = appendDouble(d.buf, v) }

func (d *document) integer(k string, v int64) { d.key(k); d.buf = strconv.AppendInt(d.buf, v, 10) }

func (d *document) boolean(k string, v bool) { d.key(k); d.buf = strconv.AppendBool(d.buf, v) }

// message appends a member in the v1 JSON form.
func (d *document) message(k string, m proto.Message) {
	d.key(k)
	d.value(m)
}

// element appends an array element in the v1 JSON form.
func (d *document) element(m proto.Message) {
	d.comma()
	d.value(m)
}

func (d *document) value(m proto.Message) {
	b, err := mesos.AppendJSON(d.buf, m)
	if err != nil {
		if d.err == nil {
			d.err = &encodeError{err}
		}
		return
	}
	d.buf = b
}

// encodeError is a value that has no JSON form, as opposed to a client that is gone.
type encodeError struct{ err error }

func (e *encodeError) Error() string { return "encode: " + e.err.Error() }
func (e *encodeError) Unwrap() error { return e.err }

// appendDouble writes whole values with a decimal part and never NaN (OPR-10).
func appendDouble(dst []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		v = 0
	}
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, v, format, -1, 64)
	for _, c := range dst[start:] {
		if c == '.' || c == 'e' {
			return dst
		}
	}
	return append(dst, '.', '0')
}

const hexDigits = "0123456789abcdef"

// appendString quotes s. "/" stays as it is (OPR-10); bytes that are no UTF-8 become U+FFFD one by one,
// so that the text is always valid (OPR-149).
func appendString[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// callbackName is what a jsonp parameter may be: a JavaScript expression that names a function and
// can be nothing else.
//
// It is made at its first use: every re-execution of this program as a container's shim would spend the
// time otherwise.
var callbackName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$.\[\]]{0,127}$`)
})

// serveJSON answers 200 with the document that write makes. The media type follows the query parameter
// jsonp (OPR-5), compression the header Accept-Encoding (OPR-6).
func serveJSON(w http.ResponseWriter, r *http.Request, write func(*document)) {
	callback := r.URL.Query().Get("jsonp")
	if callback != "" && !callbackName().MatchString(callback) {
		badRequest("Invalid 'jsonp' parameter: expecting the name of a function").respond(w)
		return
	}
	contentType := "application/json"
	if callback != "" {
		contentType = "text/javascript"
	}
	serveDocument(w, r, contentType, func(d *document) {
		if callback != "" {
			d.buf = append(append(d.buf, callback...), '(')
		}
		write(d)
		if callback != "" {
			d.buf = append(d.buf, ')')
		}
	})
}

// serveDocument answers 200 with the document that write makes. A small one has a Content-Length; a
// large one is sent in chunks while it is made.
func serveDocument(w http.ResponseWriter, r *http.Request, contentType string, write func(*document)) {
	s := &sender{w: w, gzip: acceptsGzip(r), head: r.Method == http.MethodHead}
	w.Header().Set("Content-Type", contentType)
	d := &document{buf: documentBuffers.get(), out: s.write}
	write(d)
	s.finish(d)
	documentBuffers.put(d.buf)
}

// sender sends the parts of a body. Headers go out with the first part that does not fit the buffer,
// or when the body is complete and its length therefore known.
type sender struct {
	w          http.ResponseWriter
	gzip, head bool
	started    bool
	zipped     *gzip.Writer
	count      countingWriter // of a HEAD request
}

// write sends one part of a body that is larger than that.
func (s *sender) write(b []byte) error {
	if !s.started {
		s.start(true)
	}
	if s.zipped != nil {
		_, err := s.zipped.Write(b)
		return err
	}
	_, err := s.body().Write(b)
	return err
}

func (s *sender) start(large bool) {
	s.started = true
	if s.gzip && large {
		s.w.Header().Set("Content-Encoding", "gzip")
		s.zipped = gzipWriters.Get().(*gzip.Writer)
		s.zipped.Reset(s.body())
	}
}

// body is where the bytes of the body go: of a HEAD request they are only counted (OPR-18).
func (s *sender) body() interface{ Write([]byte) (int, error) } {
	if s.head {
		return &s.count
	}
	return s.w
}

// finish sends the rest of d.
func (s *sender) finish(d *document) {
	if d.err != nil {
		s.fail(d.err)
		return
	}
	if !s.started {
		s.complete(d.buf)
		return
	}
	d.drain()
	if d.err == nil && s.zipped != nil {
		d.err = s.zipped.Close()
	}
	s.release()
	switch {
	case d.err != nil:
		s.fail(d.err)
	case s.head:
		s.w.Header().Set("Content-Length", strconv.FormatInt(s.count.n, 10))
		s.w.WriteHeader(http.StatusOK)
	}
}

// complete sends a body that is there as a whole.
func (s *sender) complete(b []byte) {
	if s.gzip && len(b) >= gzipBytes {
		var z zipBuffer
		s.zipped = gzipWriters.Get().(*gzip.Writer)
		s.zipped.Reset(&z)
		// Writing to memory cannot fail.
		_, _ = s.zipped.Write(b)
		_ = s.zipped.Close()
		s.release()
		s.w.Header().Set("Content-Encoding", "gzip")
		b = z
	}
	s.w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	s.w.WriteHeader(http.StatusOK)
	_, _ = s.w.Write(b) // An error means that the client is gone.
}

func (s *sender) release() {
	if s.zipped != nil {
		gzipWriters.Put(s.zipped)
		s.zipped = nil
	}
}

// fail ends an answer that cannot be completed: with 500 if nothing was sent, else by breaking the
// connection, so that the client does not take half a document for a whole one.
func (s *sender) fail(err error) {
	s.release()
	if s.started && !s.head {
		panic(http.ErrAbortHandler)
	}
	s.w.Header().Del("Content-Encoding")
	Answer{Status: http.StatusInternalServerError, Body: err.Error()}.respond(s.w)
}

type zipBuffer []byte

func (z *zipBuffer) Write(b []byte) (int, error) {
	*z = append(*z, b...)
	return len(b), nil
}

type countingWriter struct{ n int64 }

func (c *countingWriter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

var gzipWriters = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // The level is a constant.
	}
	return z
}}

type bufferPool struct{ pool sync.Pool }

var documentBuffers bufferPool

func (p *bufferPool) get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, spillBytes+spillBytes/4)
}

func (p *bufferPool) put(b []byte) {
	if cap(b) <= 4*spillBytes {
		p.pool.Put(&b)
	}
}

// acceptsGzip evaluates Accept-Encoding: named or "*", and not with q=0.
func acceptsGzip(r *http.Request) bool {
	best, found := 0.0, false
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		coding, q := acceptItem(part)
		if coding == "gzip" {
			return q > 0
		}
		if coding == "*" {
			best, found = q, true
		}
	}
	return found && best > 0
}
