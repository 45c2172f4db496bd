package api

import (
	"net/http"
	"strconv"
	"strings"

	"clusterd/node/mesos"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// bodyless are the types of operator calls that need no sub-message, by name; they are the reads of what
// is there, and PRUNE_IMAGES. UNKNOWN is answered with 501.
func bodyless(callType string) bool {
	switch callType {
	case "GET_METRICS":
		return false
	case "UNKNOWN", "SUBSCRIBE", "PRUNE_IMAGES":
		return true
	}
	return strings.HasPrefix(callType, "GET_")
}

// validateOperatorCall checks what the types of operator calls share: there is a type, and the
// sub-message that is named like it (OPR-25). Its errors follow "Failed to validate ...::Call: ".
func validateOperatorCall(call proto.Message) error {
	m := call.ProtoReflect()
	field := m.Descriptor().Fields().ByName("type")
	if !m.Has(field) {
		return expecting("type")
	}
	callType := field.Enum().Values().ByNumber(m.Get(field).Enum()).Name()
	if bodyless(string(callType)) {
		return nil
	}
	name := strings.ToLower(string(callType))
	if body := m.Descriptor().Fields().ByName(protoreflect.Name(name)); body == nil || !m.Has(body) {
		return expecting(name)
	}
	return nil
}

// respondMessage answers 200 with a message in the media type that the client accepts.
func respondMessage(w http.ResponseWriter, r *http.Request, t mesos.MediaType, m proto.Message) {
	if t == mesos.JSON {
		serveDocument(w, r, t.String(), func(d *document) { d.value(m) })
		return
	}
	b, err := t.Marshal(m)
	if err != nil {
		Answer{Status: http.StatusInternalServerError, Body: err.Error()}.respond(w)
		return
	}
	serveDocument(w, r, t.String(), func(d *document) { d.buf = append(d.buf, b...) })
}

// respondLists answers a call of which the lists are present even when they are empty (OPR-38). Those
// lists are the repeated fields of body, and of its messages if it is made of lists of lists.
func respondLists(w http.ResponseWriter, r *http.Request, t mesos.MediaType, response proto.Message) {
	if t != mesos.JSON {
		respondMessage(w, r, t, response)
		return
	}
	serveDocument(w, r, t.String(), func(d *document) {
		m := response.ProtoReflect()
		d.openObject()
		fields := m.Descriptor().Fields()
		for i := range fields.Len() {
			field := fields.Get(i)
			switch {
			case !m.Has(field):
			case field.Kind() == protoreflect.EnumKind:
				d.text(field.TextName(), string(field.Enum().Values().ByNumber(m.Get(field).Enum()).Name()))
			default:
				d.key(field.TextName())
				d.listMessage(m.Get(field).Message())
			}
		}
		d.endObject()
	})
}

// listMessage writes a message that consists of lists, or of messages that consist of lists. Lists that
// are deprecated and empty are left out. Elements are encoded one by one, so that the whole is never in
// memory twice.
func (d *document) listMessage(m protoreflect.Message) {
	d.openObject()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if !field.IsList() {
			if m.Has(field) {
				d.key(field.TextName())
				d.listMessage(m.Get(field).Message())
			}
			continue
		}
		list := m.Get(field).List()
		if list.Len() == 0 && isDeprecated(field) {
			continue
		}
		d.array(field.TextName())
		for i := range list.Len() {
			d.element(list.Get(i).Message().Interface())
			if !d.spill() {
				return
			}
		}
		d.endArray()
	}
	d.endObject()
}

func isDeprecated(field protoreflect.FieldDescriptor) bool {
	options, ok := field.Options().(interface{ GetDeprecated() bool })
	return ok && options.GetDeprecated()
}

// number64 turns an unsigned offset or length of READ_FILE into the signed one of /files/read: -1 is
// written as the largest number by clients that cannot write a sign (OPR-37).
func number64(n uint64) int64 { return int64(n) }

// readFileError is the answer for an offset or length that is negative and not -1.
func readFileError(name string, n int64) *Answer {
	if n >= -1 {
		return nil
	}
	a := badRequest("Negative " + name + " provided: " + strconv.FormatInt(n, 10) + ".\n")
	return &a
}
