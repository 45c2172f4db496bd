package mesos

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// SCH-170
func TestValidateID(t *testing.T) {
	for id, want := range map[string]string{
		"a":                      "",
		"a b.c:d-é\xff*":         "",
		"...":                    "",
		strings.Repeat("x", 255): "",
		"":                       "ID must not be empty",
		strings.Repeat("x", 256): "ID must not be greater than 255 characters",
		".":                      "'.' is disallowed",
		"..":                     "'..' is disallowed",
		"a/b":                    "'a/b' contains invalid characters",
		`a\b`:                    `'a\b' contains invalid characters`,
		"a\x00":                  "'a\x00' contains invalid characters",
		"a\nb":                   "'a\nb' contains invalid characters",
		"a\x7f":                  "'a\x7f' contains invalid characters",
	} {
		if got := errorText(ValidateID(id)); got != want {
			t.Errorf("%q: got %q, want %q", id, got, want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// SCH-58
func TestValidateRole(t *testing.T) {
	for role, want := range map[string]string{
		"*":          "",
		"a":          "",
		"a/b/c":      "",
		".a":         "",
		"*a":         "",
		"a-":         "",
		`a\b`:        "",
		"é":          "",
		"a\bc":       "",
		"...":        "",
		"":           "Role names cannot be the empty string",
		"/":          "Role '/' cannot start with a slash",
		"/a":         "Role '/a' cannot start with a slash",
		"a/":         "Role 'a/' cannot end with a slash",
		"a//b":       "Role 'a//b' cannot contain two adjacent slashes",
		".":          "Role '.' cannot include '.' as a component",
		"a/..":       "Role 'a/..' cannot include '..' as a component",
		"a/*":        "Role 'a/*' cannot include '*' as a component",
		"*/a":        "Role '*/a' cannot include '*' as a component",
		"-a":         "Role component '-a' is invalid because it starts with a dash",
		"a/-":        "Role component '-' is invalid because it starts with a dash",
		"a b":        "Role component 'a b' is invalid because it contains backspace or whitespace",
		"a/b\tc":     "Role component 'b\tc' is invalid because it contains backspace or whitespace",
		"a\nb/c":     "Role component 'a\nb' is invalid because it contains backspace or whitespace",
		"a\v":        "Role component 'a\v' is invalid because it contains backspace or whitespace",
		"a\f":        "Role component 'a\f' is invalid because it contains backspace or whitespace",
		"a\r":        "Role component 'a\r' is invalid because it contains backspace or whitespace",
		"a\x7f":      "Role component 'a\x7f' is invalid because it contains backspace or whitespace",
		"ok/-b c/..": "Role component '-b c' is invalid because it starts with a dash",
	} {
		if got := errorText(ValidateRole(role)); got != want {
			t.Errorf("%q: got %q, want %q", role, got, want)
		}
	}
}

func capability(of ...v1.FrameworkInfo_Capability_Type) []*v1.FrameworkInfo_Capability {
	var list []*v1.FrameworkInfo_Capability
	for _, c := range of {
		list = append(list, &v1.FrameworkInfo_Capability{Type: c.Enum()})
	}
	return list
}

func TestRoles(t *testing.T) {
	multi := capability(v1.FrameworkInfo_Capability_PARTITION_AWARE, v1.FrameworkInfo_Capability_MULTI_ROLE)
	for _, test := range []struct {
		info *v1.FrameworkInfo
		want []string
	}{
		{nil, []string{"*"}},
		{&v1.FrameworkInfo{}, []string{"*"}},
		{&v1.FrameworkInfo{Role: proto.String("a"), Roles: []string{"b"}}, []string{"a"}},
		{&v1.FrameworkInfo{Role: proto.String("a"), Roles: []string{"b", "c"}, Capabilities: multi}, []string{"b", "c"}},
		{&v1.FrameworkInfo{Role: proto.String("a"), Capabilities: multi}, nil},
	} {
		got := Roles(test.info)
		if !slices.Equal(got, test.want) {
			t.Errorf("%v: got %v, want %v", test.info, got, test.want)
		}
		if len(got) > 0 {
			got[0] = "changed"
		}
		if slices.Contains(test.info.GetRoles(), "changed") {
			t.Errorf("%v: the slice is that of the message", test.info)
		}
	}
}

func TestHasCapability(t *testing.T) {
	info := &v1.FrameworkInfo{Capabilities: append(capability(v1.FrameworkInfo_Capability_GPU_RESOURCES), &v1.FrameworkInfo_Capability{})}
	for c, want := range map[v1.FrameworkInfo_Capability_Type]bool{
		v1.FrameworkInfo_Capability_GPU_RESOURCES: true,
		v1.FrameworkInfo_Capability_MULTI_ROLE:    false,
	} {
		if got := HasCapability(info, c); got != want {
			t.Errorf("%v: got %v", c, got)
		}
	}
	if HasCapability(nil, v1.FrameworkInfo_Capability_MULTI_ROLE) {
		t.Error("nobody has a capability")
	}
}

// SCH-231: every state is listed, so that a new one must be thought about here.
func TestTerminal(t *testing.T) {
	want := map[v1.TaskState]bool{
		v1.TaskState_TASK_STAGING:          false,
		v1.TaskState_TASK_STARTING:         false,
		v1.TaskState_TASK_RUNNING:          false,
		v1.TaskState_TASK_KILLING:          false,
		v1.TaskState_TASK_UNREACHABLE:      false,
		v1.TaskState_TASK_UNKNOWN:          false,
		v1.TaskState_TASK_FINISHED:         true,
		v1.TaskState_TASK_FAILED:           true,
		v1.TaskState_TASK_KILLED:           true,
		v1.TaskState_TASK_ERROR:            true,
		v1.TaskState_TASK_LOST:             true,
		v1.TaskState_TASK_DROPPED:          true,
		v1.TaskState_TASK_GONE:             true,
		v1.TaskState_TASK_GONE_BY_OPERATOR: true,
	}
	for number, name := range v1.TaskState_name {
		state := v1.TaskState(number)
		terminal, listed := want[state]
		if !listed || Terminal(state) != terminal {
			t.Errorf("%s: got %v, want %v (listed: %v)", name, Terminal(state), terminal, listed)
		}
	}
}

func TestIDs(t *testing.T) {
	for _, got := range []string{
		FrameworkID("x").Proto().GetValue(), AgentID("x").Proto().GetValue(), OfferID("x").Proto().GetValue(),
		TaskID("x").Proto().GetValue(), ExecutorID("x").Proto().GetValue(), ContainerID("x").Proto().GetValue(),
		OperationID("x").Proto().GetValue(),
	} {
		if got != "x" {
			t.Errorf("got %q", got)
		}
	}
}

// SCH-35: 16 raw bytes; all zeros are refused.
func TestUUID(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[UUID]bool{}
	for range 1000 {
		u := NewUUID(r)
		if seen[u] {
			t.Fatalf("%v twice", u)
		}
		seen[u] = true
		text := u.String()
		if text[14] != '4' || !strings.ContainsRune("89ab", rune(text[19])) {
			t.Fatalf("%s is not of version 4", text)
		}
		if back, err := ParseUUID(strings.ToUpper(text)); err != nil || back != u {
			t.Fatalf("got %v, %v, want %v", back, err, u)
		}
		if back, err := UUIDFromBytes(u.Bytes()); err != nil || back != u {
			t.Fatalf("got %v, %v, want %v", back, err, u)
		}
	}
	u, err := ParseUUID("8fb7cb5e-c220-458d-beaf-fbc4a5061038")
	if err != nil || u.String() != "8fb7cb5e-c220-458d-beaf-fbc4a5061038" || u[0] != 0x8f || u[15] != 0x38 {
		t.Errorf("got %v, %v", u, err)
	}
	for _, text := range []string{
		"", "8fb7cb5e", "00000000-0000-0000-0000-000000000000", "8fb7cb5ec220458dbeaffbc4a5061038",
		"8fb7cb5e-c220-458d-beaf-fbc4a506103g", "8fb7cb5e-c220-458d-beaf-fbc4a50610380",
		"8fb7cb5e+c220-458d-beaf-fbc4a5061038", "8fb7cb5e-c220-058d-beaf-fbc4a5061038",
		"-fb7cb5e8c220-458d-beaf-fbc4a5061038",
	} {
		if u, err := ParseUUID(text); err != ErrUUID || u != (UUID{}) {
			t.Errorf("%q: got %v, %v", text, u, err)
		}
	}
	for _, b := range [][]byte{nil, make([]byte, 16), []byte("0123456789abcde"), []byte("0123456789abcdefg")} {
		if u, err := UUIDFromBytes(b); err != ErrUUID || u != (UUID{}) {
			t.Errorf("%q: got %v, %v", b, u, err)
		}
	}
	if ErrUUID.Error() != "Not a valid UUID" {
		t.Errorf("got %s", ErrUUID)
	}
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                 "0ns",
		1:                                 "1ns",
		1500:                              "1500ns",
		2 * time.Microsecond:              "2us",
		1500 * time.Microsecond:           "1500us",
		1500001:                           "1.500001ms",
		500 * time.Millisecond:            "500ms",
		time.Second:                       "1secs",
		1500 * time.Millisecond:           "1500ms",
		1500000001:                        "1.500000001secs",
		5 * time.Second:                   "5secs",
		15 * time.Second:                  "15secs",
		time.Minute:                       "1mins",
		75 * time.Second:                  "75secs",
		90 * time.Second:                  "90secs",
		10 * time.Minute:                  "10mins",
		90 * time.Minute:                  "90mins",
		time.Hour:                         "1hrs",
		6 * time.Hour:                     "6hrs",
		36 * time.Hour:                    "36hrs",
		day:                               "1days",
		10 * day:                          "10days",
		week:                              "1weeks",
		2 * week:                          "2weeks",
		-75 * time.Second:                 "-75secs",
		week + time.Hour:                  "1.00595238095238weeks",
		-5 * time.Second:                  "-5secs",
		time.Hour + 500*time.Millisecond:  "1.00013888888889hrs",
		10000 * week:                      "10000weeks",
		365 * day:                         "365days",
		time.Duration(math.MaxInt64):      "15250.2844524715weeks",
		time.Duration(math.MinInt64):      "-15250.2844524715weeks",
		100*time.Hour + 30*time.Minute:    "4.1875days",
		time.Minute + 500*time.Nanosecond: "1.00000000833333mins",
	} {
		got := FormatDuration(d)
		if got != want {
			t.Errorf("%d: got %s, want %s", d, got, want)
		}
		back, err := ParseDuration(got)
		if err != nil || math.Abs(float64(back)-float64(d)) > 1e-14*math.Abs(float64(d)) {
			t.Errorf("%s: got %v, %v, want %v", got, back, err, d)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]struct {
		d   time.Duration
		err string
	}{
		"1ns":        {d: 1},
		"2us":        {d: 2 * time.Microsecond},
		"3ms":        {d: 3 * time.Millisecond},
		"1.1secs":    {d: 1100 * time.Millisecond},
		".5mins":     {d: 30 * time.Second},
		"1.5hrs":     {d: 90 * time.Minute},
		"-2days":     {d: -2 * day},
		"2weeks":     {d: 2 * week},
		"":           {err: "Invalid duration ''"},
		"5":          {err: "Invalid duration '5'"},
		"abc":        {err: "Failed to convert '' to number"},
		"1-2secs":    {err: "Failed to convert '1-2' to number"},
		"5s":         {err: "Unknown duration unit 's'"},
		"5 secs":     {err: "Unknown duration unit ' secs'"},
		"1e3secs":    {err: "Unknown duration unit 'e3secs'"},
		"5Secs":      {err: "Unknown duration unit 'Secs'"},
		"16000weeks": {err: "Argument out of the range that a Duration can represent due to int64_t's size limit"},
	} {
		d, err := ParseDuration(text)
		if d != want.d || errorText(err) != want.err {
			t.Errorf("%q: got %v, %v, want %v, %s", text, d, err, want.d, want.err)
		}
	}
}
