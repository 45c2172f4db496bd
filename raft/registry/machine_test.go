package registry

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func mustEncode(t testing.TB, op *Op) []byte {
	t.Helper()
	data, err := Encode(op)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestMachine(t *testing.T) {
	m := NewMachine("0.1.0")
	for i, test := range []struct {
		op      *Op
		refused string
	}{
		{electMaster("m"), ""},
		{admitAgent("a"), ""},
		{admitAgent("a"), "agent a is admitted already"},
		{admitFramework("f"), ""},
	} {
		result, err := m.Apply(uint64(i+10), mustEncode(t, test.op))
		if err != nil || result != (Result{Refused: test.refused}) {
			t.Errorf("operation %d: %v, %v; want refusal %q", i, result, err, test.refused)
		}
	}
	view := m.View()
	if view.Index() != 13 || view.MasterID() != "m" || m.View().Hash() != view.Hash() {
		t.Errorf("view at %d of master %q", view.Index(), view.MasterID())
	}
	// A view is the reader's own: it neither changes nor changes others.
	write, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	hash, sum := m.View().Hash(), m.Hash()
	if _, err := m.Apply(14, mustEncode(t, markGone("a"))); err != nil {
		t.Fatal(err)
	}
	mustApply(t, view, removeFramework("f"))
	if where(m.View(), "framework", "f") != "admitted" || where(view, "agent", "a") != "admitted" || where(m.View(), "agent", "a") != "gone" {
		t.Error("a view and the machine are not independent")
	}
	if sum() != hash {
		t.Error("the hash is not of the moment it was asked for")
	}
	// The snapshot is of the moment it was asked for.
	var buf bytes.Buffer
	if err := write(&buf); err != nil {
		t.Fatal(err)
	}
	if err := m.Restore(bytes.NewReader(buf.Bytes()[:buf.Len()-1])); !errors.Is(err, ErrCorrupt) || where(m.View(), "agent", "a") != "gone" {
		t.Errorf("restore of a damaged snapshot: %v", err)
	}
	if err := m.Restore(&buf); err != nil || m.View().Hash() != hash {
		t.Errorf("restore: %v, hash %s, want %s", err, m.View().Hash(), hash)
	}
}

// Entries that cannot be understood are errors, name what to do and change nothing. CLU-38
func TestUnknownOperations(t *testing.T) {
	unknown := protowire.AppendTag(nil, 77, protowire.BytesType)
	unknown = protowire.AppendBytes(unknown, []byte("from the future"))
	marked := protowire.AppendTag(bytes.Clone(unknown), 100, protowire.BytesType)
	marked = protowire.AppendString(marked, "3.2.1")
	missing, err := proto.MarshalOptions{AllowPartial: true}.Marshal(&Op{Op: &Op_ElectMaster{&ElectMaster{}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		data    []byte
		unknown bool
		text    string
	}{
		{"unknown", unknown, true, "operation 77 at log index 5 is unknown to this clusterd: start a newer version"},
		{"unknown with version", marked, true, "operation 77 at log index 5 is unknown to this clusterd: start version 3.2.1 or newer"},
		{"empty", nil, true, "operation 0 at log index 5"},
		{"damaged", []byte{0xff, 0xff}, false, "log index 5: decode registry operation"},
		{"required field missing", missing, false, "master_id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := NewMachine("0.1.0")
			before := m.View().Hash()
			_, err := m.Apply(5, test.data)
			var unknown *UnknownOpError
			if err == nil || errors.As(err, &unknown) != test.unknown || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %v, want one with %q", err, test.text)
			}
			if m.View().Hash() != before {
				t.Error("the state changed")
			}
		})
	}
}

func TestEncode(t *testing.T) {
	op := admitAgent("a")
	data := mustEncode(t, op)
	if op.Since != nil {
		t.Error("the operation was changed")
	}
	got, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if got.GetSince() != "0.1.0" || got.GetAdmitAgent().GetAgent().GetId().GetValue() != "a" {
		t.Errorf("decoded %v", got)
	}
	again, err := Decode(mustEncode(t, got))
	if err != nil || !proto.Equal(again, got) {
		t.Errorf("encoded again: %v, %v", again, err)
	}
	for _, bad := range []*Op{nil, {}, {Op: &Op_ElectMaster{&ElectMaster{}}}} {
		if data, err := Encode(bad); err == nil {
			t.Errorf("%v was encoded as %x", bad, data)
		}
	}
}

// Readers take views while the loop applies; the race detector watches.
func TestViewsWhileApplying(t *testing.T) {
	m := NewMachine("0.1.0")
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			last := uint64(0)
			for {
				v := m.View()
				if n := len(v.Agents()); v.Index() < last || uint64(n) != v.Index() {
					t.Errorf("view at %d after %d has %d agents", v.Index(), last, n)
					return
				}
				last = v.Index()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := uint64(1); i <= 2000; i++ {
		if _, err := m.Apply(i, mustEncode(t, admitAgent(fmt.Sprint(i)))); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
}
