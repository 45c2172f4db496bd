package agent_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"clusterd/node/agent"
	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// The loop around an agent steps it and carries out the effects, in order.
func Example() {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	cfg := agent.DefaultConfig()
	cfg.Info = &v1.AgentInfo{Hostname: proto.String("localhost")}
	cfg.WorkDir, cfg.Endpoint = "/var/lib/clusterd", "127.0.0.1:5051"
	cfg.Rand = rand.New(rand.NewPCG(1, 2))
	a := agent.New(cfg, now)
	for _, ev := range []agent.Event{agent.Recovered{}, agent.MasterConnected{}} {
		for _, effect := range a.Step(now, ev) {
			if send, ok := effect.(agent.SendMaster); ok {
				fmt.Println("to the master:", send.Message.GetRegister().GetAgent().GetHostname())
			}
		}
	}
	deadline, ok := a.Deadline()
	fmt.Println(deadline.Sub(now), ok)
	// Output:
	// to the master: localhost
	// 1m15s true
}
