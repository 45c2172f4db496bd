package registry

import (
	"fmt"
	"io"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"

	v1 "clusterd/node/mesos/v1"
)

// cluster is a state of many agents with resources and attributes.
func cluster(tb testing.TB, agents int) *State {
	s := New()
	for i := range agents {
		op := admitAgent(fmt.Sprintf("7c0cb5f1-3a15-4f6e-9d0f-5b1f4a9a2b60-S%d", i))
		info := op.GetAdmitAgent().GetAgent()
		for _, name := range []string{"cpus", "mem", "disk", "gpus"} {
			info.Resources = append(info.Resources, &v1.Resource{
				Name: proto.String(name), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: proto.Float64(float64(i))},
			})
		}
		for j := range 5 {
			info.Attributes = append(info.Attributes, &v1.Attribute{
				Name: proto.String(fmt.Sprintf("attribute-%d", j)), Type: v1.Value_TEXT.Enum(),
				Text: &v1.Value_Text{Value: proto.String(fmt.Sprintf("value-%d", i%40))},
			})
		}
		mustApply(tb, s, op)
	}
	return s
}

func BenchmarkTenThousandAgents(b *testing.B) {
	s := cluster(b, 10000)
	b.Run("apply and view", func(b *testing.B) {
		m := NewMachine("0.1.0")
		m.view.Store(s.Clone())
		var data [][]byte
		for i := range 1000 {
			data = append(data, mustEncode(b, updateAgent(fmt.Sprintf("7c0cb5f1-3a15-4f6e-9d0f-5b1f4a9a2b60-S%d", i*10))))
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			i++
			if _, err := m.Apply(uint64(20000+i), data[i%len(data)]); err != nil {
				b.Fatal(err)
			}
			if m.View() == nil {
				b.Fatal("no view")
			}
		}
	})
	b.Run("agents", func(b *testing.B) {
		for b.Loop() {
			if len(s.Agents()) != 10000 {
				b.Fatal("agents are missing")
			}
		}
	})
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			if err := s.Write(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("restore", func(b *testing.B) {
		data := written(b, s)
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			r, w := io.Pipe()
			go func() {
				_, err := w.Write(data)
				w.CloseWithError(err)
			}()
			if _, err := Read(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// What a removed framework costs for ever.
func BenchmarkRemovedFrameworks(b *testing.B) {
	const n = 100000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := New()
		for i := range n {
			id := fmt.Sprintf("7c0cb5f1-3a15-4f6e-9d0f-5b1f4a9a2b60-%04d", i)
			mustApply(b, s, admitFramework(id), removeFramework(id))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "bytes/framework")
		runtime.KeepAlive(s)
	}
}
