package master_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"clusterd/node/master"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/raft/registry"

	"google.golang.org/protobuf/proto"
)

// A loop steps one event after the other and carries out the effects. Here it is its own registry.
func Example() {
	cfg := master.DefaultConfig()
	cfg.Info = &v1.MasterInfo{Id: proto.String("m"), Ip: proto.Uint32(0), Port: proto.Uint32(5050)}
	cfg.Registry, cfg.Rand = registry.New(), rand.New(rand.NewPCG(1, 2))
	now := time.Unix(1_700_000_000, 0)
	m := master.New(cfg, now)
	log := registry.New()

	events := []master.Event{master.SchedulerCall{Request: 1, Stream: 1, Call: &v1scheduler.Call{
		Type: v1scheduler.Call_SUBSCRIBE.Enum(),
		Subscribe: &v1scheduler.Call_Subscribe{
			FrameworkInfo: &v1.FrameworkInfo{User: proto.String("root"), Name: proto.String("example")},
		},
	}}}
	for len(events) > 0 {
		ev := events[0]
		events = events[1:]
		for _, effect := range m.Step(now, ev) {
			switch effect := effect.(type) {
			case master.Propose:
				result, err := log.Apply(log.Index()+1, effect.Op)
				events = append(events, master.Committed{Op: effect.Op, Result: result, Err: err})
				fmt.Println("committed", effect.Op.GetAdmitFramework().GetFramework().GetId().GetValue())
			case master.Send:
				fmt.Println("sent", effect.Event.GetType())
			}
		}
	}
	at, _ := m.Deadline()
	fmt.Println("next after", at.Sub(now))
	// Output:
	// committed m-0000
	// sent SUBSCRIBED
	// sent HEARTBEAT
	// next after 15s
}
