package mesos

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// DebugString returns the message in the protobuf text format as C++ programs print it, which Mesos
// puts into some error texts (SCH-185): set fields in the order of their numbers, one on a line,
// two blanks for each level, a newline at the end. Equal messages give equal texts, unlike package
// prototext.
func DebugString(m proto.Message) string {
	var b strings.Builder
	debugMessage(&b, m.ProtoReflect(), "")
	return b.String()
}

func debugMessage(b *strings.Builder, m protoreflect.Message, indent string) {
	var fields []protoreflect.FieldDescriptor
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		fields = append(fields, fd)
		return true
	})
	slices.SortFunc(fields, func(x, y protoreflect.FieldDescriptor) int { return cmp.Compare(x.Number(), y.Number()) })
	for _, fd := range fields {
		value := m.Get(fd)
		switch {
		case fd.IsMap():
			debugMap(b, fd, value.Map(), indent)
		case fd.IsList():
			for i := range value.List().Len() {
				debugField(b, fd, string(fd.Name()), value.List().Get(i), indent)
			}
		default:
			debugField(b, fd, string(fd.Name()), value, indent)
		}
	}
}

// debugMap prints each entry as the message it is on the wire, in the order of the keys.
func debugMap(b *strings.Builder, fd protoreflect.FieldDescriptor, entries protoreflect.Map, indent string) {
	var keys []protoreflect.MapKey
	entries.Range(func(key protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, key)
		return true
	})
	slices.SortFunc(keys, func(x, y protoreflect.MapKey) int { return strings.Compare(x.String(), y.String()) })
	for _, key := range keys {
		b.WriteString(indent + string(fd.Name()) + " {\n")
		debugField(b, fd.MapKey(), "key", key.Value(), indent+"  ")
		debugField(b, fd.MapValue(), "value", entries.Get(key), indent+"  ")
		b.WriteString(indent + "}\n")
	}
}

func debugField(b *strings.Builder, fd protoreflect.FieldDescriptor, name string, value protoreflect.Value, indent string) {
	b.WriteString(indent + name)
	if fd.Kind() == protoreflect.MessageKind {
		b.WriteString(" {\n")
		debugMessage(b, value.Message(), indent+"  ")
		b.WriteString(indent + "}\n")
		return
	}
	b.WriteString(": " + debugScalar(fd, value) + "\n")
}

func debugScalar(fd protoreflect.FieldDescriptor, value protoreflect.Value) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return debugQuote(value.String())
	case protoreflect.BytesKind:
		return debugQuote(string(value.Bytes()))
	case protoreflect.EnumKind:
		if known := fd.Enum().Values().ByNumber(value.Enum()); known != nil {
			return string(known.Name())
		}
		return strconv.Itoa(int(value.Enum()))
	case protoreflect.FloatKind:
		return debugDouble(value.Float(), 6, 9, 32)
	case protoreflect.DoubleKind:
		return debugDouble(value.Float(), 15, 17, 64)
	}
	return value.String()
}

// debugDouble prints with the fewer digits if they read back as the same number, else with the more.
func debugDouble(f float64, few, many, bits int) string {
	text := strconv.FormatFloat(f, 'g', few, bits)
	if back, err := strconv.ParseFloat(text, bits); err != nil || back != f {
		text = strconv.FormatFloat(f, 'g', many, bits)
	}
	switch text {
	case "+Inf":
		return "inf"
	case "-Inf":
		return "-inf"
	case "NaN":
		return "nan"
	}
	return text
}

// debugQuote quotes with C escapes: every byte that is not printable ASCII as three octal digits.
func debugQuote(text string) string {
	b := []byte{'"'}
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '"' || c == '\'' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7f:
			b = append(b, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}
