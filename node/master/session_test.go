package master

import (
	"testing"
	"time"
)

// SCH-36 SCH-38 SCH-43 SCH-44 SCH-46 SCH-47 SCH-48
func TestSubscribe(t *testing.T) {
	h := newHarness(t, testConfig())
	h.register(1)
	if r := h.subscribe(1, aware("golden")); r.Status != 200 {
		t.Fatalf("SUBSCRIBE: %+v", r)
	}
	events := h.take(1)
	same(t, "events", brief(events), []string{"SUBSCRIBED", "HEARTBEAT", "OFFER m-O0"})
	s := events[0].GetSubscribed()
	if s.GetFrameworkId().GetValue() != "m-0000" || s.GetHeartbeatIntervalSeconds() != 15 || s.GetMasterInfo().GetId() != "m" {
		t.Fatalf("SUBSCRIBED: %v", s)
	}
	h.wait(46 * time.Second)
	beats := 0
	for _, e := range brief(h.take(1)) {
		if e == "HEARTBEAT" {
			beats++
		}
	}
	if beats != 3 {
		t.Fatalf("%d heartbeats in 46 s", beats)
	}
}
