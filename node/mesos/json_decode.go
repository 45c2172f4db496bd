package mesos

import (
	"encoding/base64"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ConvertError reports JSON that does not fit the message.
type ConvertError struct{ Reason string }

// Error returns the text that Mesos puts after "Failed to convert JSON into Call protobuf: ".
func (e *ConvertError) Error() string { return e.Reason }

// UnmarshalJSON replaces the contents of the message with those of a JSON object (SCH-27 to SCH-35).
// A failure is a *SyntaxError if the text is not JSON and a *ConvertError if it does not fit; the
// message is then empty. Of several misfits the one whose field comes first in the alphabet is named.
func UnmarshalJSON(data []byte, m proto.Message) error {
	c, v, err := codecOf(m)
	if err != nil {
		return err
	}
	proto.Reset(m)
	nodes, err := parseJSON(data)
	if err != nil {
		return err
	}
	if nodes[0].kind != jsonObject {
		return &ConvertError{"Expecting a JSON object"}
	}
	d := decoder{body: data, nodes: nodes}
	err = d.message(c, v, 0)
	if err == nil && d.incomplete {
		err = missingFields(c, v)
	}
	if err != nil {
		proto.Reset(m)
		return err
	}
	return nil
}

// decoder fills one message from a parsed document.
type decoder struct {
	body       []byte
	nodes      []jsonNode
	incomplete bool // a required field is missing
}

// maxStackFields is the number of fields up to which message keeps its notes on the stack.
const maxStackFields = 64

// message fills the struct v from the object node n. Unknown keys are passed over, of equal keys the
// last one counts, and a null counts as absent (SCH-28, SCH-31).
func (d *decoder) message(c *messageCodec, v reflect.Value, n uint32) error {
	// given holds the value node of each field; 0 is the document itself and so never a value.
	var stack [maxStackFields]uint32
	given := stack[:]
	if len(c.fields) > len(given) {
		given = make([]uint32, len(c.fields))
	}
	for key := n + 1; key < d.nodes[n].next; key = d.nodes[key+1].next {
		if i, ok := d.field(c, &d.nodes[key]); ok {
			given[i] = key + 1
		}
	}
	for _, i := range c.ordered {
		f := &c.fields[i]
		if value := given[i]; value != 0 && d.nodes[value].kind != jsonNull {
			if err := d.value(f, v.Field(f.index), value); err != nil {
				return err
			}
		}
		if f.required && v.Field(f.index).IsNil() {
			d.incomplete = true
		}
	}
	return nil
}

func (d *decoder) field(c *messageCodec, key *jsonNode) (int, bool) {
	if key.escaped {
		i, ok := c.byName[d.string(key)]
		return i, ok
	}
	i, ok := c.byName[string(d.body[key.start:key.end])]
	return i, ok
}

// value sets the field v of a struct, or appends to it if it is repeated, from any kind of node but
// null. What is not in an array counts as a list of one for a repeated field.
func (d *decoder) value(f *fieldCodec, v reflect.Value, n uint32) error {
	node := &d.nodes[n]
	switch node.kind {
	case jsonArray:
		return d.fromArray(f, v, n)
	case jsonObject:
		return d.fromObject(f, v, n)
	case jsonString:
		return d.fromString(f, v, d.string(node))
	case jsonNumber:
		return d.fromNumber(f, v, d.body[node.start:node.end])
	}
	if f.kind != protoreflect.BoolKind || f.isMap {
		return unexpected("boolean", f)
	}
	f.place(v).SetBool(node.kind == jsonTrue)
	return nil
}

// fromArray appends every element that is not null; arrays in arrays are flattened.
func (d *decoder) fromArray(f *fieldCodec, v reflect.Value, n uint32) error {
	if !f.list && !f.isMap {
		return unexpected("array", f)
	}
	for child := n + 1; child < d.nodes[n].next; child = d.nodes[child].next {
		if d.nodes[child].kind == jsonNull {
			continue
		}
		if err := d.value(f, v, child); err != nil {
			return err
		}
	}
	return nil
}

func unexpected(kind string, f *fieldCodec) error {
	return &ConvertError{"Not expecting a JSON " + kind + " for field '" + f.name + "'"}
}

// place returns the settable scalar or struct of the field: a new element of a list, or what a new
// pointer points to.
func (f *fieldCodec) place(v reflect.Value) reflect.Value {
	if f.list {
		v.Grow(1)
		v.SetLen(v.Len() + 1)
		v = v.Index(v.Len() - 1)
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	return v
}

func (d *decoder) fromObject(f *fieldCodec, v reflect.Value, n uint32) error {
	switch {
	case f.isMap:
		return d.mapping(f, v, n)
	case f.kind == protoreflect.MessageKind:
		return d.message(f.message, f.place(v), n)
	case f.wrapped:
		for key := n + 1; key < d.nodes[n].next; key = d.nodes[key+1].next {
			if value := &d.nodes[key+1]; d.string(&d.nodes[key]) == "value" && value.kind == jsonString {
				return d.fromString(f, v, d.string(value))
			}
		}
	}
	return unexpected("object", f)
}

// mapping fills a map field. Errors name the entry's field "value", as in the original, where an
// entry is a message of its own.
func (d *decoder) mapping(f *fieldCodec, v reflect.Value, n uint32) error {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for key := n + 1; key < d.nodes[n].next; key = d.nodes[key+1].next {
		if d.nodes[key+1].kind == jsonNull {
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(f.entry, value, key+1); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(d.string(&d.nodes[key])), value)
	}
	return nil
}

// string returns the characters of a string node.
func (d *decoder) string(node *jsonNode) string {
	text := d.body[node.start:node.end]
	if node.escaped {
		return unescape(text)
	}
	return string(text)
}

// fromString sets a field of any scalar type: numbers and booleans may be given as strings (SCH-29),
// enumerations and bytes always are.
func (d *decoder) fromString(f *fieldCodec, v reflect.Value, text string) error {
	if f.isMap {
		return unexpected("string", f)
	}
	switch f.kind {
	case protoreflect.MessageKind:
		if f.message.name == durationName {
			return durationFromString(f, v, text)
		}
		return unexpected("string", f)
	case protoreflect.StringKind:
		f.place(v).SetString(text)
	case protoreflect.BytesKind:
		b, invalid, ok := decodeBase64(text)
		if !ok {
			return &ConvertError{"Failed to base64 decode bytes field '" + f.name + "': Invalid character '" + invalid + "'"}
		}
		f.place(v).SetBytes(b)
	case protoreflect.EnumKind:
		number, known := f.enum.byName[text]
		switch {
		case known:
			f.place(v).SetInt(int64(number))
		case f.required:
			return &ConvertError{"Failed to find enum for '" + text + "'"}
		}
	case protoreflect.BoolKind:
		value, err := parseScalar(text, "boolean", f, jsonFalse, jsonTrue)
		if err != nil {
			return err
		}
		f.place(v).SetBool(value == "true")
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		switch text {
		case "Infinity":
			f.place(v).SetFloat(math.Inf(1))
			return nil
		case "-Infinity":
			f.place(v).SetFloat(math.Inf(-1))
			return nil
		}
		fallthrough
	default:
		value, err := parseScalar(text, "number", f, jsonNumber, jsonNumber)
		if err != nil {
			return err
		}
		return d.fromNumber(f, v, []byte(value))
	}
	return nil
}

// parseScalar parses the contents of a string as a JSON value of kind a or b and returns its text.
func parseScalar(text, what string, f *fieldCodec, a, b jsonKind) (string, error) {
	nodes, err := parseJSON([]byte(text))
	switch {
	case err == nil && (nodes[0].kind == a || nodes[0].kind == b):
		return text[nodes[0].start:nodes[0].end], nil
	case err == nil:
		err = &SyntaxError{"Unexpected JSON type parsed"}
	}
	return "", &ConvertError{
		"Failed to parse '" + excerpt([]byte(text)) + "' as a JSON " + what + " for field '" + f.name + "': " + err.Error(),
	}
}

// fromNumber sets a numeric field. A fraction or a number out of range is converted for an integer
// field (SCH-29): fractions are cut off, integers wrap around to the size of the field as in C, and
// what 64 bits cannot hold becomes the nearest value they can.
func (d *decoder) fromNumber(f *fieldCodec, v reflect.Value, text []byte) error {
	if f.isMap {
		return unexpected("number", f)
	}
	switch f.kind {
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		number, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return unexpected("number", f)
		}
		f.place(v).SetFloat(number)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		f.place(v).SetInt(toInt64(text))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		f.place(v).SetUint(toUint64(text))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		f.place(v).SetInt(int64(int32(toInt64(text))))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		f.place(v).SetUint(uint64(uint32(toUint64(text))))
	default:
		return unexpected("number", f)
	}
	return nil
}

// toInt64 converts the text of a number that parseJSON has accepted.
func toInt64(text []byte) int64 {
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return n
	}
	// The parser has accepted the text, so an error can only mean underflow, which gives 0.
	number, _ := strconv.ParseFloat(string(text), 64)
	switch {
	case number >= math.MaxInt64:
		return math.MaxInt64
	case number <= math.MinInt64:
		return math.MinInt64
	}
	return int64(number)
}

func toUint64(text []byte) uint64 {
	if n, err := strconv.ParseUint(string(text), 10, 64); err == nil {
		return n
	}
	number, _ := strconv.ParseFloat(string(text), 64)
	switch {
	case number >= math.MaxUint64:
		return math.MaxUint64
	case number < 0:
		return uint64(toInt64(text))
	}
	return uint64(number)
}

// decodeBase64 decodes standard base64 with or without padding (SCH-31), passing over blanks. It
// returns the first character that does not belong, if any.
func decodeBase64(text string) (decoded []byte, invalid string, ok bool) {
	if b, err := base64.StdEncoding.DecodeString(text); err == nil {
		return b, "", true
	}
	clean := make([]byte, 0, len(text))
	for i := range len(text) {
		c := text[i]
		if c == '=' {
			break
		}
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '+', c == '/':
			clean = append(clean, c)
		case strings.IndexByte(" \t\n\v\f\r", c) < 0:
			r, _ := utf8.DecodeRuneInString(text[i:])
			return nil, string(r), false
		}
	}
	// Six bits left over make no byte.
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, err := base64.RawStdEncoding.Decode(out, clean)
	if err != nil {
		return nil, "", false
	}
	return out[:n], "", true
}
