package alloc

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// ParseResources reads the value of --resources with default role "*": a JSON
// array of Resource, or text like "cpus:4;mem(eng):2048;ports:[31000-32000]"
// (RES-22..33).
func ParseResources(text string) (Resources, error) {
	list, err := ParseResourceList(text, mesos.DefaultRole)
	if err != nil {
		return Resources{}, err
	}
	return FromProto(list)
}

// ParseResourceList reads the value of --resources and returns the objects as
// given, also those of amount 0, which switch the detection of their name off
// (RES-34). Objects without role get defaultRole (RES-30). The objects are
// valid and neither persistent volumes, revocable nor dynamically reserved
// (RES-28).
func ParseResourceList(text, defaultRole string) ([]*v1.Resource, error) {
	if err := mesos.ValidateRole(defaultRole); err != nil {
		return nil, fmt.Errorf("default role: %w", err)
	}
	var elements []json.RawMessage
	var list []*v1.Resource
	var err error
	if json.Unmarshal([]byte(text), &elements) == nil && elements != nil {
		list, err = resourcesFromJSON(elements, defaultRole)
	} else {
		list, err = resourcesFromText(text, defaultRole)
	}
	if err != nil {
		return nil, err
	}
	return list, validateFlag(list)
}

// validateFlag checks what --resources may hold.
func validateFlag(list []*v1.Resource) error {
	kinds := make(map[string]v1.Value_Type)
	for _, r := range list {
		e, err := entryFromProto(r)
		if err != nil {
			return &InvalidError{FormatProto(r), err}
		}
		if kind, known := kinds[e.name]; known && kind != e.kind {
			return reason("Resources with the same name ('" + e.name + "') but different types are not allowed")
		}
		kinds[e.name] = e.kind
		if err := validateAdvertised(&e); err != nil {
			return err
		}
	}
	_, err := FromProto(list)
	return err
}

// validateAdvertised refuses what an agent cannot start with.
func validateAdvertised(e *Entry) error {
	if source := e.Disk().GetSource(); source != nil {
		switch source.GetType() {
		case v1.Resource_DiskInfo_Source_PATH:
			if source.GetPath().GetRoot() == "" {
				return reason("PATH disk root directory is not specified in '" + e.String() + "'")
			}
		case v1.Resource_DiskInfo_Source_MOUNT:
			if source.GetMount().GetRoot() == "" {
				return reason("MOUNT disk root directory is not specified in '" + e.String() + "'")
			}
		default:
			return reason("Unsupported 'DiskInfo.Source.Type' in '" + e.String() + "'")
		}
	}
	switch {
	case e.PersistentVolume():
		return reason("Persistent volumes cannot be specified in '" + e.String() + "'")
	case e.Revocable():
		return reason("Revocable resources cannot be specified in '" + e.String() + "'")
	}
	for _, info := range e.Reservations() {
		if info.GetType() == v1.Resource_ReservationInfo_DYNAMIC {
			return reason("Dynamically reserved resources cannot be specified in '" + e.String() + "'")
		}
	}
	return nil
}

func resourcesFromJSON(elements []json.RawMessage, defaultRole string) ([]*v1.Resource, error) {
	var list []*v1.Resource
	for _, element := range elements {
		r := &v1.Resource{}
		if err := mesos.UnmarshalJSON(element, r); err != nil {
			return nil, fmt.Errorf("%s: %w", "Some JSON resources were not formatted properly", err)
		}
		switch {
		case len(r.GetReservations()) == 1:
			r.Role = nil // 'reservations' wins over a contradicting role (RES-85)
		case len(r.GetReservations()) == 0 && r.Role == nil && defaultRole != mesos.DefaultRole:
			r.Role = proto.String(defaultRole)
		}
		list = append(list, r)
	}
	return list, nil
}

func resourcesFromText(text, defaultRole string) ([]*v1.Resource, error) {
	var list []*v1.Resource
	for token := range strings.SplitSeq(text, ";") {
		token = strings.Trim(token, " \t\r\n")
		if token == "" {
			continue
		}
		r, err := resourceFromText(token, defaultRole)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// resourceFromText reads "name(role):value" (RES-23, RES-24).
func resourceFromText(token, defaultRole string) (*v1.Resource, error) {
	name, value, found := strings.Cut(token, ":")
	if !found || strings.Contains(value, ":") {
		return nil, reason("Bad value for resources, missing or extra ':' in " + token)
	}
	name, role := strings.TrimSpace(name), defaultRole
	if open := strings.IndexByte(name, '('); open >= 0 || strings.Contains(name, ")") {
		if open < 0 || strings.Count(name, "(") != 1 || strings.Count(name, ")") != 1 || !strings.HasSuffix(name, ")") {
			return nil, reason("Bad value for resources, mismatched parentheses in " + token)
		}
		role = strings.TrimSpace(name[open+1 : len(name)-1])
		name = strings.TrimSpace(name[:open])
		if err := mesos.ValidateRole(role); err != nil {
			return nil, fmt.Errorf("%w in %s", err, token)
		}
	}
	if name == "" {
		return nil, reason("Bad value for resources, missing name in " + token)
	}
	value = stripBlanks(value)
	v, err := parseValue(value)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", "Bad value for resource", name, err)
	}
	r := &v1.Resource{Name: proto.String(name), Type: v.Type, Scalar: v.Scalar, Ranges: v.Ranges, Set: v.Set}
	if v.GetType() == v1.Value_TEXT {
		return nil, reason("Bad type for resource " + name + " value " + value + " type TEXT")
	}
	if role != mesos.DefaultRole {
		r.Reservations = []*v1.Resource_ReservationInfo{{Type: v1.Resource_ReservationInfo_STATIC.Enum(), Role: proto.String(role)}}
	}
	return r, nil
}

// parseValue reads a value without blanks and tells its type (RES-25, RES-44).
func parseValue(text string) (*v1.Value, error) {
	if !balanced(text) {
		return nil, reason("Mismatched brackets in '" + text + "'")
	}
	switch {
	case text == "":
		return nil, reason("Expecting non-empty string")
	case text[0] == '[':
		ranges, err := parseRanges(text)
		if err != nil {
			return nil, err
		}
		return &v1.Value{Type: v1.Value_RANGES.Enum(), Ranges: ranges}, nil
	case text[0] == '{':
		return parseSet(text)
	case strings.ContainsAny(text, "[{"):
		return nil, reason("Unexpected '[' or '{' in '" + text + "'")
	}
	if amount, ok := parseScalar(text); ok {
		return &v1.Value{Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: proto.Float64(amount)}}, nil
	}
	return &v1.Value{Type: v1.Value_TEXT.Enum(), Text: &v1.Value_Text{Value: proto.String(text)}}, nil
}

// balanced reports whether brackets of all kinds are closed in order.
func balanced(text string) bool {
	var open []byte
	for i := range len(text) {
		switch c := text[i]; c {
		case '[', '{', '(':
			open = append(open, c)
		case ']', '}', ')':
			want := map[byte]byte{']': '[', '}': '{', ')': '('}[c]
			if len(open) == 0 || open[len(open)-1] != want {
				return false
			}
			open = open[:len(open)-1]
		}
	}
	return len(open) == 0
}

// parseRanges reads "[1-5,8-9]" and coalesces (RES-26).
func parseRanges(text string) (*v1.Value_Ranges, error) {
	var ranges []Range
	inner := strings.TrimSuffix(text[1:], "]")
	if strings.ContainsAny(inner, "[]{}()") {
		return nil, reason("Unexpected brackets in '" + text + "'")
	}
	for token := range strings.SplitSeq(inner, ",") {
		if token == "" {
			continue
		}
		first, last, found := strings.Cut(token, "-")
		if !found {
			return nil, reason(`Expecting one or more "ranges" in '` + text + "'")
		}
		begin, err1 := strconv.ParseUint(first, 10, 64)
		end, err2 := strconv.ParseUint(last, 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, reason("Expecting non-negative integers in range '" + token + "'")
		}
		if begin > end {
			return nil, reason("Invalid ranges resource: begin > end in '" + token + "'")
		}
		ranges = append(ranges, Range{begin, end})
	}
	if len(ranges) == 0 {
		return nil, reason(`Expecting one or more "ranges" in '` + text + "'")
	}
	out := &v1.Value_Ranges{}
	for _, r := range coalesce(ranges) {
		out.Range = append(out.Range, &v1.Value_Range{Begin: proto.Uint64(r.Begin), End: proto.Uint64(r.End)})
	}
	return out, nil
}

// parseSet reads "{a,b}".
func parseSet(text string) (*v1.Value, error) {
	inner := strings.TrimSuffix(text[1:], "}")
	if strings.ContainsAny(inner, "[]{}()") {
		return nil, reason("Unexpected brackets in '" + text + "'")
	}
	var items []string
	for item := range strings.SplitSeq(inner, ",") {
		if item != "" && !slices.Contains(items, item) {
			items = append(items, item)
		}
	}
	return &v1.Value{Type: v1.Value_SET.Enum(), Set: &v1.Value_Set{Item: items}}, nil
}

// ParseAttributes reads the value of --attributes: "rack:r1;level:10" (RES-43).
// A value is a number, ranges in brackets, or text.
func ParseAttributes(text string) ([]*v1.Attribute, error) {
	var list []*v1.Attribute
	for _, pair := range strings.FieldsFunc(text, func(c rune) bool { return c == ';' || c == '\n' }) {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, ":")
		name, value = strings.TrimSpace(name), stripBlanks(value)
		if name == "" || value == "" {
			return nil, reason("Invalid attribute key:value pair '" + pair + "'")
		}
		v, err := parseValue(value)
		if err != nil {
			return nil, fmt.Errorf("%s '%s': %w", "Invalid value of attribute", name, err)
		}
		if v.GetType() == v1.Value_SET {
			return nil, reason("Bad type for attribute " + name + " text " + value + " type SET")
		}
		list = append(list, &v1.Attribute{Name: proto.String(name), Type: v.Type, Scalar: v.Scalar, Ranges: v.Ranges, Text: v.Text})
	}
	return list, nil
}
