package cluster

import (
	"net/netip"
	"time"
)

const (
	// maxFailures is how many tries of one address may fail within failureWindow (CLU-22).
	maxFailures   = 10
	failureWindow = time.Minute
	// maxAddresses bounds what a limiter remembers. Beyond it, addresses that it does not know share one
	// account.
	maxAddresses = 4096
)

// Limiter bounds the tries to join that fail, for each address: 10 a minute. The port does not count,
// and of an IPv6 address only the first 64 bits do. It is not safe for concurrent use.
type Limiter struct {
	accounts map[netip.Prefix]*account
	others   account // of all addresses for which there is no room
}

// account is the newest failures of one address, as a ring.
type account struct {
	at   [maxFailures]time.Time
	next int
}

// NewLimiter returns a limiter that has seen no failure.
func NewLimiter() *Limiter { return &Limiter{accounts: make(map[netip.Prefix]*account)} }

// Allow says whether a remote address (HOST:PORT or HOST, numeric) may try now.
func (l *Limiter) Allow(now time.Time, remote string) bool {
	if a, ok := l.accounts[subnet(remote)]; ok {
		return a.allows(now)
	}
	return len(l.accounts) < maxAddresses || l.others.allows(now)
}

// Failed notes that a try has failed.
func (l *Limiter) Failed(now time.Time, remote string) {
	from := subnet(remote)
	a, ok := l.accounts[from]
	if !ok {
		if len(l.accounts) >= maxAddresses {
			l.forget(now)
		}
		a = &l.others
		if len(l.accounts) < maxAddresses {
			a = &account{}
			l.accounts[from] = a
		}
	}
	a.at[a.next] = now
	a.next = (a.next + 1) % maxFailures
}

// forget drops the addresses that have not failed for long.
func (l *Limiter) forget(now time.Time) {
	for from, a := range l.accounts {
		if newest := a.at[(a.next+maxFailures-1)%maxFailures]; now.Sub(newest) >= failureWindow {
			delete(l.accounts, from)
		}
	}
}

// allows says whether the tenth newest failure is long ago.
func (a *account) allows(now time.Time) bool {
	oldest := a.at[a.next]
	return oldest.IsZero() || now.Sub(oldest) >= failureWindow
}

// subnet is what counts of an address. All that are not numeric are one.
func subnet(remote string) netip.Prefix {
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		port, err := netip.ParseAddrPort(remote)
		if err != nil {
			return netip.Prefix{}
		}
		addr = port.Addr()
	}
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(addr, bits).Masked()
}
