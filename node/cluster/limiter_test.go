package cluster

import (
	"fmt"
	"testing"
	"time"
)

// Ten failures within a minute, and only failures, shut an address out. CLU-22
func TestLimiter(t *testing.T) {
	l := NewLimiter()
	now := noon
	for i := range 100 {
		if !l.Allow(now, "10.0.0.1:4000") {
			t.Fatalf("try %d without a failure is refused", i)
		}
	}
	for i := range 10 {
		if !l.Allow(now, fmt.Sprintf("10.0.0.1:%d", 4000+i)) {
			t.Fatalf("try %d is refused", i)
		}
		l.Failed(now, fmt.Sprintf("10.0.0.1:%d", 4000+i))
		now = now.Add(time.Second)
	}
	if l.Allow(now, "10.0.0.1:1") || l.Allow(now, "10.0.0.1") || l.Allow(now, "[::ffff:10.0.0.1]:9") {
		t.Error("the eleventh try is allowed")
	}
	if !l.Allow(now, "10.0.0.2:1") {
		t.Error("another address is refused")
	}
	// The first failure is over, then the second.
	if l.Allow(noon.Add(time.Minute-1), "10.0.0.1:1") || !l.Allow(noon.Add(time.Minute), "10.0.0.1:1") {
		t.Error("the window is not a minute")
	}
	l.Failed(noon.Add(time.Minute), "10.0.0.1:1")
	if l.Allow(noon.Add(time.Minute), "10.0.0.1:1") || !l.Allow(noon.Add(time.Minute+time.Second), "10.0.0.1:1") {
		t.Error("the window does not slide")
	}
}

// What counts as one address.
func TestLimiterSubnets(t *testing.T) {
	for _, same := range [][2]string{
		{"10.0.0.1:1", "10.0.0.1:2"}, {"10.0.0.1", "[::ffff:10.0.0.1]:2"}, {"[2001:db8:0:1::1]:5", "2001:db8:0:1:ffff::9"},
		{"[fe80::1%eth0]:1", "[fe80::2%eth1]:1"}, {"pipe", "@"}, {"", "10.0.0.1:x"},
	} {
		if subnet(same[0]) != subnet(same[1]) {
			t.Errorf("%q and %q are two", same[0], same[1])
		}
	}
	for _, two := range [][2]string{{"10.0.0.1:1", "10.0.0.2:1"}, {"[2001:db8:0:1::1]:5", "[2001:db8:0:2::1]:5"}, {"10.0.0.1:1", "pipe"}} {
		if subnet(two[0]) == subnet(two[1]) {
			t.Errorf("%q and %q are one", two[0], two[1])
		}
	}
}

// A flood from many addresses neither fills the memory nor frees an address that is shut out.
func TestLimiterFlood(t *testing.T) {
	l := NewLimiter()
	flooder := func(i int) string { return fmt.Sprintf("[2001:db8:%x:%x::1]:1", i>>16, i&0xffff) }
	for range maxFailures {
		l.Failed(noon, "10.0.0.1:1")
	}
	for i := range 3 * maxAddresses {
		l.Failed(noon.Add(time.Second), flooder(i))
	}
	if len(l.accounts) > maxAddresses {
		t.Errorf("%d addresses are remembered", len(l.accounts))
	}
	if l.Allow(noon.Add(2*time.Second), "10.0.0.1:1") {
		t.Error("the address was freed")
	}
	// New addresses share an account now, which is used up.
	if l.Allow(noon.Add(2*time.Second), "10.0.0.2:1") || l.Allow(noon.Add(2*time.Second), flooder(5*maxAddresses)) {
		t.Error("a new address is allowed in a flood")
	}
	// A known one that has failed once may go on.
	if !l.Allow(noon.Add(2*time.Second), flooder(5)) {
		t.Error("a known address is refused")
	}
	// When it is over, there is room again.
	later := noon.Add(time.Minute + time.Second)
	l.Failed(later, "10.0.0.3:1")
	if len(l.accounts) != 1 || !l.Allow(later, "10.0.0.2:1") || !l.Allow(later, "10.0.0.1:1") {
		t.Errorf("%d addresses are remembered", len(l.accounts))
	}
}
