package cluster

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"clusterd/node/mesos/wire"
	"clusterd/raft/registry"
)

const (
	// MaxSkew is how far the clock of a node may be off (CLU-22).
	MaxSkew = 5 * time.Minute
	// maxName bounds the name and the id of a node, in bytes.
	maxName = 253
)

// Refusal is why a node may not join. It is told to that node.
type Refusal struct {
	Reason string
	// Final: no other try with the same data directory will be answered otherwise.
	Final bool
}

func (r *Refusal) Error() string { return r.Reason }

// JoinContext is what the leader knows beside the registry.
type JoinContext struct {
	Version string // of this clusterd
	// TokenRole says what a token allows, or why it is worthless. The error is told to whoever sent it.
	TokenRole func(secret string) (registry.Token_Role, error)
	// At names the node that holds its stream to the leader and is reached at an address (HOST:PORT);
	// empty if there is none.
	At func(address string) (nodeID string)
	// KeyHash is that of the key in the request, as in registry.Node. Without it a known node id is not
	// looked at here: admitting it is refused if the key differs.
	KeyHash []byte
}

var joinRoles = map[string]registry.Node_Role{
	"auto": registry.Node_AUTO, "master": registry.Node_MASTER, "agent": registry.Node_AGENT, "both": registry.Node_BOTH,
}

// CheckJoin says why a node may not join, nil if it may (CLU-22). Whoever has no good token learns
// nothing else.
func CheckJoin(now time.Time, s *registry.State, ask *wire.JoinRequest, c JoinContext) *Refusal {
	if _, ok := s.Cluster(); !ok {
		return refuse("there is no cluster yet")
	}
	allowed, err := c.TokenRole(ask.GetToken())
	if err != nil {
		return refuse("%v", err)
	}
	for _, check := range []func() *Refusal{
		func() *Refusal { return checkVersion(s.Requires(), ask, c) },
		func() *Refusal { return checkClock(now, ask) },
		func() *Refusal { return checkRole(ask, allowed) },
		func() *Refusal { return checkName(s, ask, c) },
		func() *Refusal { return checkAddresses(s, ask, c) },
	} {
		if refusal := check(); refusal != nil {
			return refusal
		}
	}
	return nil
}

func refuse(format string, args ...any) *Refusal {
	return &Refusal{Reason: fmt.Sprintf(format, args...)}
}

// checkVersion looks at the version of the node; needs is what a master must know of the registry.
func checkVersion(needs string, ask *wire.JoinRequest, c JoinContext) *Refusal {
	if err := Compatible(c.Version, ask.GetVersion()); err != nil {
		return refuse("%v", err)
	}
	if (ask.GetRole() == "master" || ask.GetRole() == "both") && registry.CompareVersions(ask.GetVersion(), needs) < 0 {
		return refuse("a master of this cluster must run clusterd %s or newer, and this is %s", needs, ask.GetVersion())
	}
	return nil
}

func checkClock(now time.Time, ask *wire.JoinRequest) *Refusal {
	skew := time.Unix(0, ask.GetTime()).Sub(now)
	if skew.Abs() <= MaxSkew {
		return nil
	}
	side := "ahead of"
	if skew < 0 {
		side = "behind"
	}
	return refuse("the clock of this node is %s %s that of the cluster: set it right, %s is allowed", skew.Abs().Round(time.Second), side, MaxSkew)
}

func checkRole(ask *wire.JoinRequest, allowed registry.Token_Role) *Refusal {
	role, ok := joinRoles[ask.GetRole()]
	switch {
	case !ok:
		return refuse("role %q is unknown: auto, master, agent and both are allowed", printable(ask.GetRole()))
	case allowed != registry.Token_ANY && allowed != registry.Token_AGENT:
		return refuse("the token is for no role")
	case allowed == registry.Token_AGENT && (role == registry.Node_MASTER || role == registry.Node_BOTH):
		return refuse("the token is for agents, and this node is to be %s: get one with `clusterd token --role any`, or join with --role agent", ask.GetRole())
	}
	return nil
}

// checkName looks at what the node calls itself.
func checkName(s *registry.State, ask *wire.JoinRequest, c JoinContext) *Refusal {
	id := ask.GetNodeId()
	switch {
	case !plain(id):
		return refuse("node id %q is not 1 to %d letters, digits, dots, dashes and underscores", printable(id), maxName)
	case ask.GetName() == "" || len(ask.GetName()) > maxName || printable(ask.GetName()) != ask.GetName():
		return refuse("node name %q is not 1 to %d bytes of printable text", printable(ask.GetName()), maxName)
	}
	if _, removed := s.RemovedNode(id); removed {
		return &Refusal{Reason: fmt.Sprintf("node %s was removed from the cluster: join again with an empty --data-dir", id), Final: true}
	}
	if known, ok := s.Node(id); ok && c.KeyHash != nil && !bytes.Equal(known.GetKeyHash(), c.KeyHash) {
		return &Refusal{Reason: fmt.Sprintf("node id %s belongs to node %s, which has another key: join with an empty --data-dir", id, known.GetName()), Final: true}
	}
	return nil
}

// checkAddresses looks at where the node says that it is reached: at no address of a node that lives. A
// node that was wiped joins again at the addresses of the one that it was (CLU-36).
func checkAddresses(s *registry.State, ask *wire.JoinRequest, c JoinContext) *Refusal {
	a := ask.GetAddresses()
	own := map[string]string{a.GetPeer(): "peer", a.GetMaster(): "master"}
	if a.GetAgent() != "" {
		own[a.GetAgent()] = "agent"
	}
	for _, address := range []struct{ what, at string }{{"peer", a.GetPeer()}, {"master", a.GetMaster()}, {"agent", a.GetAgent()}} {
		if address.at == "" && address.what == "agent" {
			continue
		}
		if !reachable(address.at) {
			return refuse("%s address %q is not HOST:PORT that other nodes can reach: set --advertise", address.what, printable(address.at))
		}
		if own[address.at] != address.what {
			return refuse("%s address %s is the %s address too", address.what, address.at, own[address.at])
		}
	}
	for _, address := range []struct{ what, at string }{{"peer", a.GetPeer()}, {"master", a.GetMaster()}, {"agent", a.GetAgent()}} {
		if address.at == "" {
			continue
		}
		if id := c.At(address.at); id != "" && id != ask.GetNodeId() {
			n, _ := s.Node(id)
			return refuse("%s address %s is that of node %s (%s), which is alive", address.what, address.at, n.GetName(), id)
		}
	}
	return nil
}

// reachable says whether an address can be dialled from another machine, as far as its text tells.
func reachable(address string) bool {
	end := strings.LastIndexByte(address, ':')
	if end <= 0 || len(address) > maxName+8 {
		return false
	}
	host := address[:end]
	if port, err := strconv.ParseUint(address[end+1:], 10, 16); err != nil || port == 0 {
		return false
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		ip, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && strings.HasSuffix(inner, "]") && !ip.IsUnspecified()
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Is4() && !ip.IsUnspecified()
	}
	return plain(host)
}

// plain says whether a text is made of letters, digits, dots, dashes and underscores only.
func plain(text string) bool {
	if text == "" || len(text) > maxName {
		return false
	}
	for _, r := range text {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_') {
			return false
		}
	}
	return true
}

// printable is a text from outside that may be shown: cut off, and without what is not printable.
func printable(text string) string {
	if len(text) > maxName {
		text = text[:maxName]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, text)
}

// Forgettable are the ids of the removed nodes of which no certificate is good any more, so that the
// registry need not remember them (CLU-21).
func Forgettable(now time.Time, s *registry.State) []string {
	var ids []string
	for _, r := range s.RemovedNodes() {
		if r.GetUntil() <= now.UnixNano() {
			ids = append(ids, r.GetNodeId())
		}
	}
	return ids
}
