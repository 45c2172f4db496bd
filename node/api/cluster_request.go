package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

// maxRequestBytes limits the body of a request to the cluster's API.
const maxRequestBytes = 64 << 10

// decodeRequest reads the JSON object of r's body into the struct that v points to. An empty body is an
// empty object. A member that v does not have is refused, so that a misspelt wish is not taken for none.
// Every error is an *InputError.
func decodeRequest(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequestBytes+1))
	switch {
	case err != nil:
		return &InputError{fmt.Sprintf("body: %v", err)}
	case len(body) > maxRequestBytes:
		return &InputError{fmt.Sprintf("body: is longer than %d KiB", maxRequestBytes>>10)}
	}
	// The body is complete. What it asks for may take longer than a body may: a drain takes minutes.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	if body = bytes.TrimSpace(body); len(body) == 0 {
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return &InputError{"body: is not a JSON object: " + err.Error()}
	}
	known := memberNames(v)
	for name := range members {
		if !slices.Contains(known, name) {
			return unknownMember(members, known)
		}
	}
	if err := json.Unmarshal(body, v); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
			return &InputError{fmt.Sprintf("%s: is a JSON %s, want %s", wrong.Field, wrong.Value, wanted(wrong.Type))}
		}
		return &InputError{"body: " + err.Error()}
	}
	return nil
}

// unknownMember names every member that is not known, and those that are.
func unknownMember(members map[string]json.RawMessage, known []string) error {
	var unknown []string
	for name := range members {
		if !slices.Contains(known, name) {
			unknown = append(unknown, fmt.Sprintf("%q", name))
		}
	}
	slices.Sort(unknown)
	text := "body: unknown field " + strings.Join(unknown, ", ")
	if len(known) == 0 {
		return &InputError{text + "; there are none here"}
	}
	return &InputError{text + "; known are " + strings.Join(known, ", ")}
}

// wanted names a type of a field to people.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	}
	return "a text"
}

// memberNames are the names that JSON has for the fields of the struct that v points to.
func memberNames(v any) []string {
	t := reflect.TypeOf(v).Elem()
	names := make([]string, 0, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}
