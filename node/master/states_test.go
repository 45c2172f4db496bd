package master

import (
	"slices"
	"testing"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// SCH-231 SCH-232: the full table. What is not listed must be refused.
func TestTransitions(t *testing.T) {
	const (
		staging     = v1.TaskState_TASK_STAGING
		starting    = v1.TaskState_TASK_STARTING
		running     = v1.TaskState_TASK_RUNNING
		killing     = v1.TaskState_TASK_KILLING
		unreachable = v1.TaskState_TASK_UNREACHABLE
		unknown     = v1.TaskState_TASK_UNKNOWN
	)
	// Before the end a task only moves forward in this order; any state may be skipped.
	order := []v1.TaskState{staging, starting, running, killing}
	for number := range v1.TaskState_name {
		for to := range v1.TaskState_name {
			from, to := v1.TaskState(number), v1.TaskState(to)
			i, j := slices.Index(order, from), slices.Index(order, to)
			want := false
			switch {
			case mesos.Terminal(from), from == unknown, to == unknown:
			case mesos.Terminal(to):
				want = true
			case from == unreachable:
				want = j >= 0
			case to == unreachable:
				want = i >= 0
			default:
				want = i >= 0 && j >= i
			}
			if got := mayFollow(from, to); got != want {
				t.Errorf("%s to %s: %t, want %t", from, to, got, want)
			}
		}
	}
	if len(transitions) != len(v1.TaskState_name) {
		t.Errorf("%d states in the table, %d in the API", len(transitions), len(v1.TaskState_name))
	}
}

// SCH-114
func TestLostState(t *testing.T) {
	lost := map[string]bool{
		"TASK_DROPPED": true, "TASK_UNREACHABLE": true, "TASK_GONE": true, "TASK_GONE_BY_OPERATOR": true, "TASK_UNKNOWN": true,
	}
	for number, name := range v1.TaskState_name {
		s := v1.TaskState(number)
		want := s
		if lost[name] {
			want = v1.TaskState_TASK_LOST
		}
		if got := lostState(s, false); got != want {
			t.Errorf("%s for an old framework: %s, want %s", s, got, want)
		}
		if got := lostState(s, true); got != s {
			t.Errorf("%s for a PARTITION_AWARE framework: %s", s, got)
		}
	}
}

// A shallow copy must not forget a field that is added to the message.
func TestShallowCopiesHaveEveryField(t *testing.T) {
	task, status := &v1.Task{}, &v1.TaskStatus{}
	fill(task.ProtoReflect())
	fill(status.ProtoReflect())
	for _, pair := range [][2]protoreflect.Message{
		{task.ProtoReflect(), copyTask(task).ProtoReflect()}, {status.ProtoReflect(), copyStatus(status).ProtoReflect()},
	} {
		fields := pair[0].Descriptor().Fields()
		for i := range fields.Len() {
			if fd := fields.Get(i); !pair[0].Has(fd) || !pair[1].Has(fd) {
				t.Errorf("the copy of a %s forgets %s", pair[0].Descriptor().Name(), fd.Name())
			}
		}
	}
}

// fill sets every field of a message.
func fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		switch fd := fields.Get(i); {
		case fd.IsMap():
			m.Mutable(fd).Map().Set(protoreflect.ValueOfString("cpus").MapKey(), m.Mutable(fd).Map().NewValue())
		case fd.IsList():
			list := m.Mutable(fd).List()
			list.Append(list.NewElement())
		case fd.Message() != nil:
			m.Mutable(fd)
		case fd.Enum() != nil:
			m.Set(fd, protoreflect.ValueOfEnum(1))
		case fd.Kind() == protoreflect.BytesKind:
			m.Set(fd, protoreflect.ValueOfBytes([]byte{1}))
		case fd.Kind() == protoreflect.BoolKind:
			m.Set(fd, protoreflect.ValueOfBool(true))
		case fd.Kind() == protoreflect.DoubleKind:
			m.Set(fd, protoreflect.ValueOfFloat64(1))
		default:
			m.Set(fd, protoreflect.ValueOfString("x"))
		}
	}
}
