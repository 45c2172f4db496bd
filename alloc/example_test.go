package alloc_test

import (
	"fmt"
	"time"

	"clusterd/alloc"
)

// A master offers an agent, launches a task on part of the offer and gives the
// rest back, which goes to the next framework at once.
func Example() {
	now := time.Unix(0, 0)
	total, err := alloc.ParseResources("cpus:4;mem:2048;ports:[31000-32000]")
	if err != nil {
		fmt.Println(err)
		return
	}
	a := alloc.New(alloc.Options{Weights: map[string]float64{"prod": 2}})
	a.AddAgent(alloc.Agent{ID: "S0", Total: total}, nil)
	a.AddFramework(alloc.Framework{ID: "F0", Roles: []string{"prod"}})
	offer := a.Allocate(now)[0]
	fmt.Println(offer.Framework, offer.Resources)

	task := total.Filter(func(e alloc.Entry) bool { return e.Name() == "cpus" }).Allocate("prod")
	a.Recover(now, offer.Framework, offer.Agent, offer.Resources.Sub(task), 5*time.Second)
	a.Trigger(offer.Agent)
	a.AddFramework(alloc.Framework{ID: "F1", Roles: []string{"dev"}})
	if due, ok := a.Deadline(); ok {
		next := a.Allocate(due)[0]
		fmt.Println(next.Framework, next.Resources, due.Sub(now))
	}
	// Output:
	// F0 ports(allocated: prod):[31000-32000]; cpus(allocated: prod):4; mem(allocated: prod):2048
	// F1 ports(allocated: dev):[31000-32000]; mem(allocated: dev):2048 20ms
}
