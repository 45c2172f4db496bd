package api

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// statistics serves the usage of every executor container (OPR-132).
func (a *agent) statistics(w http.ResponseWriter, r *http.Request) {
	list, err := a.Containers.Containers(r.Context())
	if err != nil {
		failed(r, a.Logger, err).respond(w)
		return
	}
	serveJSON(w, r, func(d *document) {
		d.openArray()
		for _, c := range list {
			if c.Statistics == nil {
				continue // OPR-132: it is never null.
			}
			d.openObject()
			d.containerNames(c)
			d.sortedMessage("statistics", c.Statistics)
			d.endObject()
			if !d.spill() {
				return
			}
		}
		d.endArray()
	})
}

// containers serves what is known of the containers that the query names (OPR-133).
func (a *agent) containers(w http.ResponseWriter, r *http.Request) {
	wanted, ok := newContainerFilter(r.URL.Query())
	if !ok {
		badRequest("Supported query parameters are container_id only, framework_id only, or executor_id and framework_id only").respond(w)
		return
	}
	list, err := a.Containers.Containers(r.Context())
	if err != nil {
		failed(r, a.Logger, err).respond(w)
		return
	}
	serveJSON(w, r, func(d *document) {
		d.openArray()
		for _, c := range list {
			if !wanted.match(c) {
				continue
			}
			d.openObject()
			d.text("container_id", c.Status.GetContainerId().GetValue())
			d.containerNames(c)
			if c.Statistics != nil {
				d.sortedMessage("statistics", c.Statistics)
			}
			if c.Status != nil {
				d.sortedMessage("status", c.Status)
			}
			d.endObject()
			if !d.spill() {
				return
			}
		}
		d.endArray()
	})
}

func (d *document) containerNames(c Container) {
	d.text("executor_id", string(c.ExecutorID))
	d.text("executor_name", c.ExecutorName)
	d.text("framework_id", string(c.FrameworkID))
	d.text("source", c.Source)
}

type containerFilter struct{ container, framework, executor filter }

func newContainerFilter(query url.Values) (containerFilter, bool) {
	f := containerFilter{
		container: newFilter(query, "container_id"),
		framework: newFilter(query, "framework_id"),
		executor:  newFilter(query, "executor_id"),
	}
	valid := !f.container.set && (f.framework.set || !f.executor.set) || f.container.set && !f.framework.set && !f.executor.set
	return f, valid
}

func (f containerFilter) match(c Container) bool {
	return f.container.match(c.Status.GetContainerId().GetValue()) &&
		f.framework.match(string(c.FrameworkID)) && f.executor.match(string(c.ExecutorID))
}

// sortedMessage writes a member in the v1 form but with the keys of the message in alphabetical order, as
// these endpoints have them. It takes the message apart field by field, which is slow but short: only few
// containers are listed.
func (d *document) sortedMessage(k string, m proto.Message) {
	reflected := m.ProtoReflect()
	var fields []protoreflect.FieldDescriptor
	reflected.Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		fields = append(fields, field)
		return true
	})
	slices.SortFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return cmp.Compare(a.TextName(), b.TextName()) })
	d.object(k)
	for _, field := range fields {
		value := reflected.Get(field)
		switch {
		case field.IsList():
			d.array(field.TextName())
			for i := range value.List().Len() {
				d.fieldValue(field, value.List().Get(i))
			}
			d.endArray()
		default:
			d.key(field.TextName())
			d.fieldValue(field, value)
		}
	}
	d.endObject()
}

func (d *document) fieldValue(field protoreflect.FieldDescriptor, value protoreflect.Value) {
	d.comma()
	switch field.Kind() {
	case protoreflect.MessageKind:
		d.value(value.Message().Interface())
	case protoreflect.DoubleKind:
		d.buf = appendDouble(d.buf, value.Float())
	default:
		d.buf = append(d.buf, value.String()...) // The other fields of these messages are whole numbers.
	}
}
