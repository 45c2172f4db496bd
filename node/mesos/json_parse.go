package mesos

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxJSONDepth is how deep arrays and objects may be nested in a body; the deepest v1 message needs
// about a dozen levels. It bounds the stack, here and in everything that walks the message later.
const maxJSONDepth = 200

// maxNearBytes is how much of the body an error text repeats.
const maxNearBytes = 1024

// SyntaxError reports a body that is not JSON.
type SyntaxError struct{ Reason string }

// Error returns the text that Mesos puts after "Failed to parse body into JSON: ".
func (e *SyntaxError) Error() string { return e.Reason }

// jsonKind tells the values of a document apart.
type jsonKind uint8

const (
	jsonNull jsonKind = iota
	jsonFalse
	jsonTrue
	jsonNumber
	jsonString
	jsonArray
	jsonObject
)

// jsonNode is one value of a parsed document. The nodes lie in document order: the first child of
// an array or object follows it at once, and next is the index behind the whole value. The children
// of an object are a string and a value in turn.
type jsonNode struct {
	start, end uint32 // of a scalar in the text; a string without its quotes
	next       uint32
	kind       jsonKind
	escaped    bool // the string has escapes or bytes that are not UTF-8
}

// jsonParser turns a text into nodes. It accepts what the parser of Mesos accepts, which is JSON plus
// numbers such as "007" and "1.", and names the same place when it refuses.
type jsonParser struct {
	text  []byte
	pos   int
	nodes []jsonNode
	// fault is the reason of a refusal that is not a plain syntax error.
	fault string
}

// parseJSON parses the text, which must hold one value and blanks. A failure is a *SyntaxError.
func parseJSON(text []byte) ([]jsonNode, error) {
	if uint64(len(text)) >= math.MaxUint32 {
		return nil, &SyntaxError{"body of 4 GiB or more"}
	}
	p := jsonParser{text: text, nodes: make([]jsonNode, 0, len(text)/12+1)}
	if !p.value(0) {
		if p.fault != "" {
			return nil, &SyntaxError{p.fault}
		}
		line := 1 + bytes.Count(text[:p.pos], []byte{'\n'})
		return nil, &SyntaxError{"syntax error at line " + strconv.Itoa(line) + " near: " + p.near()}
	}
	rest := text[p.pos:]
	if len(bytes.Trim(rest, " \t\n\v\f\r")) > 0 {
		return nil, &SyntaxError{"Parsed JSON included non-whitespace trailing characters: " + excerpt(rest)}
	}
	return p.nodes, nil
}

// near returns the rest of the line at pos, without control characters.
func (p *jsonParser) near() string {
	rest, _, _ := bytes.Cut(p.text[p.pos:], []byte{'\n'})
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, excerpt(rest))
}

// excerpt returns the beginning of the text as UTF-8.
func excerpt(text []byte) string {
	return strings.ToValidUTF8(string(text[:min(len(text), maxNearBytes)]), "\uFFFD")
}

// The methods below return false on a refusal, with pos at the byte that does not fit or behind what
// was understood in vain.

func (p *jsonParser) value(depth int) bool {
	p.skipBlanks()
	if p.pos == len(p.text) {
		return false
	}
	if depth > maxJSONDepth {
		p.fault = "more than " + strconv.Itoa(maxJSONDepth) + " nested arrays and objects"
		return false
	}
	switch c := p.text[p.pos]; {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		return p.str()
	case c == 'n':
		return p.word("null", jsonNull)
	case c == 'f':
		return p.word("false", jsonFalse)
	case c == 't':
		return p.word("true", jsonTrue)
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	}
	return false
}

func (p *jsonParser) add(kind jsonKind, start, end int, escaped bool) {
	p.nodes = append(p.nodes, jsonNode{
		start: uint32(start), end: uint32(end), next: uint32(len(p.nodes) + 1), kind: kind, escaped: escaped,
	})
}

func (p *jsonParser) skipBlanks() {
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// expect skips blanks and takes the byte c if it is next.
func (p *jsonParser) expect(c byte) bool {
	p.skipBlanks()
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *jsonParser) word(word string, kind jsonKind) bool {
	start := p.pos
	for i := range len(word) {
		if p.pos == len(p.text) || p.text[p.pos] != word[i] {
			return false
		}
		p.pos++
	}
	p.add(kind, start, p.pos, false)
	return true
}

func (p *jsonParser) object(depth int) bool {
	p.pos++
	self := len(p.nodes)
	p.add(jsonObject, 0, 0, false)
	if !p.expect('}') {
		for {
			p.skipBlanks()
			if p.pos == len(p.text) || p.text[p.pos] != '"' || !p.str() || !p.expect(':') || !p.value(depth+1) {
				return false
			}
			if !p.expect(',') {
				break
			}
		}
		if !p.expect('}') {
			return false
		}
	}
	p.nodes[self].next = uint32(len(p.nodes))
	return true
}

func (p *jsonParser) array(depth int) bool {
	p.pos++
	self := len(p.nodes)
	p.add(jsonArray, 0, 0, false)
	if !p.expect(']') {
		for {
			if !p.value(depth + 1) {
				return false
			}
			if !p.expect(',') {
				break
			}
		}
		if !p.expect(']') {
			return false
		}
	}
	p.nodes[self].next = uint32(len(p.nodes))
	return true
}

// number takes every byte that may be part of a number and then asks whether they are one. Like the
// original it lets zeros lead and a point end the number; unlike it, it refuses what no double can
// hold instead of aborting.
func (p *jsonParser) number() bool {
	start := p.pos
	for p.pos < len(p.text) && isNumberByte(p.text[p.pos]) {
		p.pos++
	}
	text := p.text[start:p.pos]
	if !isShortInteger(text) {
		if _, err := strconv.ParseFloat(string(text), 64); err != nil {
			return false
		}
	}
	p.add(jsonNumber, start, p.pos, false)
	return true
}

func isNumberByte(c byte) bool {
	return '0' <= c && c <= '9' || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E'
}

// isShortInteger reports whether the text is nothing but up to 18 digits, the usual case.
func isShortInteger(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(text) <= 18
}

func (p *jsonParser) str() bool {
	p.pos++
	start := p.pos
	escaped, ascii := false, true
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		switch {
		case c == '"':
			if !ascii && !escaped {
				escaped = !utf8.Valid(p.text[start:p.pos])
			}
			p.add(jsonString, start, p.pos, escaped)
			p.pos++
			return true
		case c < ' ':
			return false
		case c == '\\':
			escaped = true
			p.pos++
			if !p.escape() {
				return false
			}
		default:
			ascii = ascii && c < utf8.RuneSelf
			p.pos++
		}
	}
	return false
}

// escape takes what follows a backslash.
func (p *jsonParser) escape() bool {
	if p.pos == len(p.text) {
		return false
	}
	c := p.text[p.pos]
	p.pos++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		unit, ok := p.unit()
		switch {
		case !ok || 0xdc00 <= unit && unit <= 0xdfff:
			return false
		case unit < 0xd800 || unit > 0xdfff:
			return true
		}
		for _, want := range []byte(`\u`) {
			if p.pos == len(p.text) || p.text[p.pos] != want {
				return false
			}
			p.pos++
		}
		unit, ok = p.unit()
		return ok && 0xdc00 <= unit && unit <= 0xdfff
	}
	return false
}

// unit takes the four hexadecimal digits of a UTF-16 code unit.
func (p *jsonParser) unit() (rune, bool) {
	var unit rune
	for range 4 {
		if p.pos == len(p.text) {
			return 0, false
		}
		digit, ok := hexDigit(p.text[p.pos])
		if !ok {
			return 0, false
		}
		unit = unit<<4 | digit
		p.pos++
	}
	return unit, true
}

func hexDigit(c byte) (rune, bool) {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0'), true
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10, true
	}
	return 0, false
}

// unescape returns the characters of a string that str has accepted. Bytes that are not UTF-8 become
// U+FFFD: JSON is UTF-8 by definition, and no JSON could be made of them later.
func unescape(text []byte) string {
	out := make([]byte, 0, len(text))
	p := jsonParser{text: text}
	for p.pos < len(text) {
		c := text[p.pos]
		if c != '\\' {
			r, size := utf8.DecodeRune(text[p.pos:])
			out = utf8.AppendRune(out, r)
			p.pos += size
			continue
		}
		c = text[p.pos+1]
		p.pos += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := p.unit()
			if 0xd800 <= r && r <= 0xdbff {
				p.pos += len(`\u`)
				low, _ := p.unit()
				r = 0x10000 + (r-0xd800)<<10 + (low - 0xdc00)
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		out = append(out, c)
	}
	return string(out)
}
