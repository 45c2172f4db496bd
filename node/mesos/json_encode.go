package mesos

import (
	"encoding/base64"
	"math"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// MarshalJSON returns the JSON form of the message, as AppendJSON does.
func MarshalJSON(m proto.Message) ([]byte, error) { return AppendJSON(nil, m) }

// AppendJSON appends the JSON form of the message (SCH-27, SCH-32, SCH-33) without blanks and
// without a newline at the end. It returns a *ConvertError that lists the required fields that are
// missing, if any; dst is then returned as it was. Messages with a oneof (those of package wire) have
// no JSON form.
func AppendJSON(dst []byte, m proto.Message) ([]byte, error) {
	c, v, err := codecOf(m)
	if err != nil {
		return dst, err
	}
	e := encoder{dst: dst}
	e.message(c, v)
	if e.incomplete {
		return dst, missingFields(c, v)
	}
	return e.dst, nil
}

// encoder writes one message. It allocates nothing but the growth of dst, except for maps.
type encoder struct {
	dst        []byte
	incomplete bool // a required field is missing
}

func (e *encoder) message(c *messageCodec, v reflect.Value) {
	start := len(e.dst)
	for i := range c.fields {
		f := &c.fields[i]
		e.field(f, v.Field(f.index))
		if f.tail != "" {
			e.dst = append(append(e.dst, ','), f.tail...)
		}
	}
	// Each member has put a comma before itself.
	if len(e.dst) == start {
		e.dst = append(e.dst, '{')
	} else {
		e.dst[start] = '{'
	}
	e.dst = append(e.dst, '}')
}

// field writes a comma and the member, or nothing.
func (e *encoder) field(f *fieldCodec, v reflect.Value) {
	unset := f.unset(v)
	if unset {
		e.incomplete = e.incomplete || f.required
		if f.whenUnset == "" {
			return
		}
	}
	e.dst = append(e.dst, f.key...)
	switch {
	case unset:
		e.dst = append(e.dst, f.whenUnset...)
	case f.isMap:
		e.mapping(f, v)
	case f.list:
		e.list(f, v)
	case f.pointer:
		e.value(f, v.Elem())
	default:
		e.value(f, v)
	}
}

// unset reports whether the field v of a struct counts as absent. Scalars of proto3 messages, of
// which google.protobuf.Duration is the only one in use, are absent when they are zero.
func (f *fieldCodec) unset(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return v.IsNil()
	case reflect.Map:
		return v.Len() == 0
	case reflect.Slice:
		return v.IsNil() || f.list && v.Len() == 0
	}
	return v.IsZero()
}

func (e *encoder) list(f *fieldCodec, v reflect.Value) {
	e.dst = append(e.dst, '[')
	for i := range v.Len() {
		if i > 0 {
			e.dst = append(e.dst, ',')
		}
		element := v.Index(i)
		if f.message != nil {
			element = structOf(f.message, element)
		}
		e.value(f, element)
	}
	e.dst = append(e.dst, ']')
}

// mapping writes the entries in the order of their keys, so that equal messages have equal texts.
func (e *encoder) mapping(f *fieldCodec, v reflect.Value) {
	keys := make([]string, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		keys = append(keys, it.Key().String())
	}
	slices.Sort(keys)
	e.dst = append(e.dst, '{')
	for i, key := range keys {
		if i > 0 {
			e.dst = append(e.dst, ',')
		}
		e.dst = AppendJSONString(e.dst, key)
		e.dst = append(e.dst, ':')
		value := v.MapIndex(reflect.ValueOf(key).Convert(v.Type().Key()))
		if f.entry.message != nil {
			value = structOf(f.entry.message, value)
		}
		e.value(f.entry, value)
	}
	e.dst = append(e.dst, '}')
}

// value writes one value: v is the struct of a message, else the scalar itself.
func (e *encoder) value(f *fieldCodec, v reflect.Value) {
	switch f.kind {
	case protoreflect.MessageKind:
		e.message(f.message, v)
	case protoreflect.StringKind:
		e.dst = AppendJSONString(e.dst, v.String())
	case protoreflect.BytesKind:
		e.dst = append(e.dst, '"')
		e.dst = base64.StdEncoding.AppendEncode(e.dst, v.Bytes())
		e.dst = append(e.dst, '"')
	case protoreflect.EnumKind:
		number := v.Int()
		if quoted, ok := f.enum.quoted[int32(number)]; ok {
			e.dst = append(e.dst, quoted...)
		} else {
			e.dst = strconv.AppendInt(e.dst, number, 10)
		}
	case protoreflect.BoolKind:
		e.dst = strconv.AppendBool(e.dst, v.Bool())
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		e.dst = AppendJSONNumber(e.dst, v.Float())
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		e.dst = strconv.AppendUint(e.dst, v.Uint(), 10)
	default:
		e.dst = strconv.AppendInt(e.dst, v.Int(), 10)
	}
}

// Between these bounds a double is written without an exponent.
const (
	minPlainDouble = 1e-6
	maxPlainDouble = 1e21
)

// AppendJSONNumber appends a double as Mesos spells it: the shortest digits that read back as the
// same value, always with a fraction or an exponent ("4.0", "0.123456", "1e30"). JSON has no
// numbers for infinities and NaN: they are written as the strings "Infinity", "-Infinity" and "NaN",
// of which the first two are also understood on input (SCH-29).
func AppendJSONNumber(dst []byte, f float64) []byte {
	abs := math.Abs(f)
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	case abs == 0 || abs >= minPlainDouble && abs < maxPlainDouble:
		start := len(dst)
		dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
		if slices.Contains(dst[start:], '.') {
			return dst
		}
		return append(dst, '.', '0')
	}
	// strconv writes the exponent with a sign and two digits at least: 1e+30, 1e-07.
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	sign := len(dst) - 3
	for dst[sign] != '+' && dst[sign] != '-' {
		sign--
	}
	digits := sign + 1
	for dst[digits] == '0' {
		digits++
	}
	if dst[sign] == '-' {
		sign++
	}
	return append(dst[:sign], dst[digits:]...)
}

const hexDigits = "0123456789ABCDEF"

// AppendJSONString appends the text as a JSON string, escaping what JSON demands and nothing else
// (neither "/" nor "<" nor non-ASCII characters). Bytes that are not UTF-8 become U+FFFD.
func AppendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, c)
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}
