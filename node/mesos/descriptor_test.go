package mesos

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1agent"
	"clusterd/node/mesos/v1allocator"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/v1maintenance"
	"clusterd/node/mesos/v1master"
	"clusterd/node/mesos/v1quota"
	"clusterd/node/mesos/v1resourceprovider"
	"clusterd/node/mesos/v1scheduler"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// v1Files are the files of the v1 API in the order of testdata/messages-v1.txt.
var v1Files = []protoreflect.FileDescriptor{
	v1.File_v1_v1_proto,
	v1agent.File_v1agent_v1agent_proto,
	v1allocator.File_v1allocator_v1allocator_proto,
	v1executor.File_v1executor_v1executor_proto,
	v1maintenance.File_v1maintenance_v1maintenance_proto,
	v1scheduler.File_v1scheduler_v1scheduler_proto,
	v1quota.File_v1quota_v1quota_proto,
	v1master.File_v1master_v1master_proto,
	v1resourceprovider.File_v1resourceprovider_v1resourceprovider_proto,
}

// TestDescriptors compares every message, field (number, label, type, name, default, deprecation,
// order of declaration) and enumeration with the published list of Mesos 1.12.
func TestDescriptors(t *testing.T) {
	data, err := os.ReadFile("testdata/messages-v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	// The list names the original's files behind the packages.
	want := regexp.MustCompile(`(?m)^(package \S+) .*$`).ReplaceAllString(string(data), "$1")
	var b strings.Builder
	for i, file := range v1Files {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "package %s\n", file.Package())
		listDescriptors(&b, file.Enums(), file.Messages(), "")
	}
	wantLines, gotLines := strings.Split(strings.TrimSpace(want), "\n"), strings.Split(strings.TrimSpace(b.String()), "\n")
	for i := range max(len(wantLines), len(gotLines)) {
		var w, g string
		if i < len(wantLines) {
			w = wantLines[i]
		}
		if i < len(gotLines) {
			g = gotLines[i]
		}
		if w != g {
			t.Fatalf("line %d of the list:\n got %q\nwant %q", i+1, g, w)
		}
	}
}

func listDescriptors(b *strings.Builder, enums protoreflect.EnumDescriptors, messages protoreflect.MessageDescriptors, indent string) {
	for i := range enums.Len() {
		fmt.Fprintf(b, "%senum %s {", indent, enums.Get(i).Name())
		for j := range enums.Get(i).Values().Len() {
			value := enums.Get(i).Values().Get(j)
			fmt.Fprintf(b, " %s=%d", value.Name(), value.Number())
		}
		b.WriteString(" }\n")
	}
	for i := range messages.Len() {
		m := messages.Get(i)
		if m.IsMapEntry() {
			continue
		}
		fmt.Fprintf(b, "%smessage %s\n", indent, m.Name())
		listEnumsOnly(b, m, indent+"  ")
		for j := range m.Fields().Len() {
			listField(b, m.Fields().Get(j), indent+"  ")
		}
		listDescriptors(b, noEnums{}, m.Messages(), indent+"  ")
	}
}

// listEnumsOnly prints the enumerations of a message, which the list has before the fields.
func listEnumsOnly(b *strings.Builder, m protoreflect.MessageDescriptor, indent string) {
	listDescriptors(b, m.Enums(), noMessages{}, indent)
}

type noEnums struct{ protoreflect.EnumDescriptors }

func (noEnums) Len() int { return 0 }

type noMessages struct {
	protoreflect.MessageDescriptors
}

func (noMessages) Len() int { return 0 }

func listField(b *strings.Builder, fd protoreflect.FieldDescriptor, indent string) {
	label := map[protoreflect.Cardinality]string{
		protoreflect.Optional: "opt", protoreflect.Required: "req", protoreflect.Repeated: "rep",
	}[fd.Cardinality()]
	typeName := listType(fd, "")
	if fd.IsMap() {
		typeName = "map<" + listType(fd.MapKey(), "") + "," + listType(fd.MapValue(), ".mesos.v1.") + ">"
	}
	fmt.Fprintf(b, "%s%d %s %s %s", indent, fd.Number(), label, typeName, fd.Name())
	if fd.HasDefault() {
		if fd.Enum() != nil {
			fmt.Fprintf(b, " default=%s", fd.DefaultEnumValue().Name())
		} else {
			fmt.Fprintf(b, " default=%v", fd.Default().Interface())
		}
	}
	if fd.Options().(*descriptorpb.FieldOptions).GetDeprecated() {
		b.WriteString(" deprecated")
	}
	b.WriteString("\n")
}

func listType(fd protoreflect.FieldDescriptor, prefix string) string {
	var name protoreflect.FullName
	switch {
	case fd.Enum() != nil:
		name = fd.Enum().FullName()
	case fd.Message() != nil:
		name = fd.Message().FullName()
	default:
		return fd.Kind().String()
	}
	if short, ok := strings.CutPrefix(string(name), "mesos.v1."); ok {
		return prefix + short
	}
	return string(name)
}

// TestCodecOfEveryMessage makes the JSON codec of every message of the API, so that a message the
// codec cannot handle is found here.
func TestCodecOfEveryMessage(t *testing.T) {
	for _, m := range everyMessage() {
		if _, _, err := codecOf(m.New().Interface()); err != nil {
			t.Error(err)
		}
	}
}

// Many goroutines may meet message types for the first time at once.
func TestCodecsAreMadeOnce(t *testing.T) {
	codecs.Clear()
	messages := everyMessage()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range messages {
				m := messages[(i+g*31)%len(messages)].New().Interface()
				if c, _, err := codecOf(m); err != nil || c.name != m.ProtoReflect().Descriptor().FullName() {
					t.Errorf("%T: got %v, %v", m, c, err)
				}
			}
		})
	}
	wg.Wait()
}
