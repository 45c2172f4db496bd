package mesos

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// missingFields returns the *ConvertError that lists the full paths of all required fields that are
// not set: those of a message in the order of their declaration, then those of its parts.
func missingFields(c *messageCodec, v reflect.Value) error {
	return &ConvertError{"Missing required fields: " + strings.Join(appendMissing(nil, c, v, ""), ", ")}
}

func appendMissing(paths []string, c *messageCodec, v reflect.Value, prefix string) []string {
	for i := range c.fields {
		if f := &c.fields[i]; f.required && v.Field(f.index).IsNil() {
			paths = append(paths, prefix+f.name)
		}
	}
	for _, i := range c.byNumber {
		f := &c.fields[i]
		fv := v.Field(f.index)
		switch {
		case f.isMap && f.entry.message != nil:
			paths = appendMissingInMap(paths, f, fv, prefix)
		case f.message == nil || f.isMap:
		case f.list:
			for j := range fv.Len() {
				paths = appendMissing(paths, f.message, structOf(f.message, fv.Index(j)), prefix+f.name+"["+strconv.Itoa(j)+"].")
			}
		case !fv.IsNil():
			paths = appendMissing(paths, f.message, fv.Elem(), prefix+f.name+".")
		}
	}
	return paths
}

func appendMissingInMap(paths []string, f *fieldCodec, v reflect.Value, prefix string) []string {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for i, key := range keys {
		entry := prefix + f.name + "[" + strconv.Itoa(i) + "].value."
		paths = appendMissing(paths, f.entry.message, structOf(f.entry.message, v.MapIndex(key)), entry)
	}
	return paths
}

// structOf returns the struct behind the pointer of a message. A nil element of a list or map stands
// for an empty message, as it does in the protobuf form.
func structOf(c *messageCodec, pointer reflect.Value) reflect.Value {
	if pointer.IsNil() {
		return reflect.Zero(c.goType)
	}
	return pointer.Elem()
}
