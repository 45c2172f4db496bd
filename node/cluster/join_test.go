package cluster

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos/wire"
	"clusterd/raft/registry"
)

// joinable is a registry with the nodes n01 (the first), n02 and n03, and n04 that was removed.
func joinable(t testing.TB) *registry.State {
	w := newWorld(t, 1, 3)
	for range 3 {
		w.join(nil)
	}
	w.remove("n04")
	return w.state
}

// ask is a request to join that is granted.
func ask() *wire.JoinRequest {
	return &wire.JoinRequest{
		Token: proto.String("good"), Request: []byte("r"), NodeId: proto.String("new"), Name: proto.String("host-9"), Role: proto.String("auto"),
		Version: proto.String("0.1.0"), Time: proto.Int64(noon.UnixNano()),
		Addresses: &wire.Addresses{Peer: proto.String("10.0.0.9:5055"), Master: proto.String("10.0.0.9:5050"), Agent: proto.String("10.0.0.9:5051")},
	}
}

func keyHash(id string) []byte {
	h := sha256.Sum256([]byte(id))
	return h[:]
}

// leaderContext knows a token for each role; n02 is connected, n03 is not.
func leaderContext() JoinContext {
	return JoinContext{
		Version: "0.1.0", KeyHash: keyHash("new"),
		TokenRole: func(secret string) (registry.Token_Role, error) {
			switch secret {
			case "good":
				return registry.Token_ANY, nil
			case "agents":
				return registry.Token_AGENT, nil
			case "odd":
				return registry.Token_UNKNOWN_ROLE, nil
			case "old":
				return 0, errors.New("the token expired at 2026-01-01T00:00:00Z")
			}
			return 0, errors.New("the token is not valid, or was rotated")
		},
		At: func(address string) string {
			return map[string]string{"10.0.0.1:5055": "n01", "10.0.0.1:5050": "n01", "10.0.0.2:5055": "n02", "10.0.0.2:5050": "n02"}[address]
		},
	}
}

// Each fault of a request gives one clear text, and none is granted. CLU-3 CLU-22 CLU-36
func TestCheckJoin(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*wire.JoinRequest, *JoinContext)
		want   string // empty: granted
	}{
		{"good", func(*wire.JoinRequest, *JoinContext) {}, ""},
		{"agents' token, agent", func(r *wire.JoinRequest, _ *JoinContext) { *r.Token, *r.Role = "agents", "agent" }, ""},
		{"agents' token, auto", func(r *wire.JoinRequest, _ *JoinContext) { *r.Token = "agents" }, ""},
		{"any token, agent", func(r *wire.JoinRequest, _ *JoinContext) { *r.Role = "agent" }, ""},
		{"any token, both", func(r *wire.JoinRequest, _ *JoinContext) { *r.Role = "both" }, ""},
		{"no agent", func(r *wire.JoinRequest, _ *JoinContext) { *r.Role, r.Addresses.Agent = "master", nil }, ""},

		{"wrong token", func(r *wire.JoinRequest, _ *JoinContext) { *r.Token = "bad" }, "the token is not valid, or was rotated"},
		{"no token", func(r *wire.JoinRequest, _ *JoinContext) { r.Token = nil }, "the token is not valid, or was rotated"},
		{"expired token", func(r *wire.JoinRequest, _ *JoinContext) { *r.Token = "old" }, "the token expired at 2026-01-01T00:00:00Z"},
		{"token for nothing", func(r *wire.JoinRequest, _ *JoinContext) { *r.Token = "odd" }, "the token is for no role"},
		{"wrong token and all else", func(r *wire.JoinRequest, _ *JoinContext) { *r = wire.JoinRequest{} }, "the token is not valid, or was rotated"},
		{"agents' token, master", func(r *wire.JoinRequest, _ *JoinContext) { *r.Token, *r.Role = "agents", "master" },
			"the token is for agents, and this node is to be master: get one with `clusterd token --role any`, or join with --role agent"},
		{"agents' token, both", func(r *wire.JoinRequest, _ *JoinContext) { *r.Token, *r.Role = "agents", "both" },
			"the token is for agents, and this node is to be both: get one with `clusterd token --role any`, or join with --role agent"},
		{"unknown role", func(r *wire.JoinRequest, _ *JoinContext) { *r.Role = "ki\x00ng" }, `role "ki?ng" is unknown: auto, master, agent and both are allowed`},

		{"next version", func(r *wire.JoinRequest, _ *JoinContext) { *r.Version = "0.2.3-dev" }, ""},
		{"far version", func(r *wire.JoinRequest, _ *JoinContext) { *r.Version = "0.3.0" }, "clusterd 0.3.0 is too far from version 0.1.0 of the cluster: 0.0 to 0.2 are allowed"},
		{"next major version", func(r *wire.JoinRequest, _ *JoinContext) { *r.Version = "1.1.0" }, "clusterd 1.1.0 is too far from version 0.1.0 of the cluster: 0.0 to 0.2 are allowed"},
		{"no version", func(r *wire.JoinRequest, _ *JoinContext) { *r.Version = "\xff" }, `version "?" is not MAJOR.MINOR.PATCH`},

		{"clock a bit off", func(r *wire.JoinRequest, _ *JoinContext) { *r.Time = noon.Add(5 * time.Minute).UnixNano() }, ""},
		{"clock ahead", func(r *wire.JoinRequest, _ *JoinContext) { *r.Time = noon.Add(5*time.Minute + 1).UnixNano() }, "the clock of this node is 5m0s ahead of that of the cluster: set it right, 5m0s is allowed"},
		{"clock behind", func(r *wire.JoinRequest, _ *JoinContext) { *r.Time = noon.Add(-time.Hour).UnixNano() }, "the clock of this node is 1h0m0s behind that of the cluster: set it right, 5m0s is allowed"},
		{"no clock", func(r *wire.JoinRequest, _ *JoinContext) { *r.Time = 0 }, "the clock of this node is 472222h13m20s behind that of the cluster: set it right, 5m0s is allowed"},

		{"no id", func(r *wire.JoinRequest, _ *JoinContext) { *r.NodeId = "" }, `node id "" is not 1 to 253 letters, digits, dots, dashes and underscores`},
		{"odd id", func(r *wire.JoinRequest, _ *JoinContext) { *r.NodeId = "../etc" }, `node id "../etc" is not 1 to 253 letters, digits, dots, dashes and underscores`},
		{"no name", func(r *wire.JoinRequest, _ *JoinContext) { *r.Name = "" }, `node name "" is not 1 to 253 bytes of printable text`},
		{"odd name", func(r *wire.JoinRequest, _ *JoinContext) { *r.Name = "a\x1b[2J" }, `node name "a?[2J" is not 1 to 253 bytes of printable text`},
		{"removed id", func(r *wire.JoinRequest, _ *JoinContext) { *r.NodeId = "n04" }, "node n04 was removed from the cluster: join again with an empty --data-dir"},
		{"taken id", func(r *wire.JoinRequest, _ *JoinContext) { *r.NodeId = "n02" }, "node id n02 belongs to node n02, which has another key: join with an empty --data-dir"},
		{"own id again", func(r *wire.JoinRequest, c *JoinContext) { *r.NodeId, c.KeyHash = "n02", keyHash("n02") }, ""},
		{"own id and address again", func(r *wire.JoinRequest, c *JoinContext) {
			*r.NodeId, c.KeyHash = "n02", keyHash("n02")
			*r.Addresses.Peer, *r.Addresses.Master = "10.0.0.2:5055", "10.0.0.2:5050"
		}, ""},
		{"key unknown", func(r *wire.JoinRequest, c *JoinContext) { *r.NodeId, c.KeyHash = "n02", nil }, ""},

		{"address of a live node", func(r *wire.JoinRequest, _ *JoinContext) { *r.Addresses.Peer = "10.0.0.2:5055" }, "peer address 10.0.0.2:5055 is that of node n02 (n02), which is alive"},
		{"master address of a live node", func(r *wire.JoinRequest, _ *JoinContext) { *r.Addresses.Master = "10.0.0.2:5050" }, "master address 10.0.0.2:5050 is that of node n02 (n02), which is alive"},
		{"crossed address of a live node", func(r *wire.JoinRequest, _ *JoinContext) { *r.Addresses.Agent = "10.0.0.2:5050" }, "agent address 10.0.0.2:5050 is that of node n02 (n02), which is alive"},
		{"address of a wiped node", func(r *wire.JoinRequest, _ *JoinContext) {
			*r.Addresses.Peer, *r.Addresses.Master = "10.0.0.3:5055", "10.0.0.3:5050"
		}, ""},
		{"address of a removed node", func(r *wire.JoinRequest, _ *JoinContext) { *r.Addresses.Peer = "10.0.0.4:5055" }, ""},
		{"no addresses", func(r *wire.JoinRequest, _ *JoinContext) { r.Addresses = nil }, `peer address "" is not HOST:PORT that other nodes can reach: set --advertise`},
		{"no master address", func(r *wire.JoinRequest, _ *JoinContext) { r.Addresses.Master = nil }, `master address "" is not HOST:PORT that other nodes can reach: set --advertise`},
		{"any address", func(r *wire.JoinRequest, _ *JoinContext) { *r.Addresses.Peer = "0.0.0.0:5055" }, `peer address "0.0.0.0:5055" is not HOST:PORT that other nodes can reach: set --advertise`},
		{"no port", func(r *wire.JoinRequest, _ *JoinContext) { *r.Addresses.Agent = "10.0.0.9:0" }, `agent address "10.0.0.9:0" is not HOST:PORT that other nodes can reach: set --advertise`},
		{"one address twice", func(r *wire.JoinRequest, _ *JoinContext) { *r.Addresses.Master = "10.0.0.9:5055" }, "peer address 10.0.0.9:5055 is the master address too"},
	} {
		t.Run(test.name, func(t *testing.T) {
			request, c := ask(), leaderContext()
			test.change(request, &c)
			got := CheckJoin(noon, joinable(t), request, c)
			if (got == nil) != (test.want == "") || got != nil && got.Error() != test.want {
				t.Errorf("refused %v, want %q", got, test.want)
			}
			if final := strings.Contains(test.want, "empty --data-dir"); got != nil && got.Final != final {
				t.Errorf("final: %v", got.Final)
			}
		})
	}
	if got := CheckJoin(noon, registry.New(), ask(), leaderContext()); got == nil || got.Reason != "there is no cluster yet" {
		t.Errorf("without a cluster: %v", got)
	}
}

// Nobody joins as a master with a version that the masters' registry has left behind. CLU-38
func TestJoinVersionRequired(t *testing.T) {
	c := leaderContext()
	for role, want := range map[string]string{
		"auto": "", "agent": "", "both": "a master of this cluster must run clusterd 0.2.0 or newer, and this is 0.1.0",
		"master": "a master of this cluster must run clusterd 0.2.0 or newer, and this is 0.1.0",
	} {
		request := ask()
		*request.Role = role
		if got := checkVersion("0.2.0", request, c); (got == nil) != (want == "") || got != nil && got.Reason != want {
			t.Errorf("%s: %v, want %q", role, got, want)
		}
		*request.Version = "0.2.0"
		if got := checkVersion("0.2.0", request, c); got != nil {
			t.Errorf("%s with the version: %v", role, got)
		}
	}
}

func TestReachable(t *testing.T) {
	for address, want := range map[string]bool{
		"10.0.0.1:5055": true, "host:1": true, "a.b-c.example:65535": true, "[2001:db8::1]:5055": true, "[fe80::1%eth0]:5055": true, "127.0.0.1:5055": true,
		"": false, ":5055": false, "host": false, "host:": false, "host:0": false, "host:65536": false, "host:-1": false, "host:5055x": false,
		"0.0.0.0:1": false, "[::]:1": false, "[10.0.0.1:1": false, "[host]:1": false, "2001:db8::1:5055": false, "::1": false, "a b:1": false, "h\x00st:1": false,
		strings.Repeat("a", 300) + ":1": false,
	} {
		if reachable(address) != want {
			t.Errorf("%q: %v", address, !want)
		}
	}
}

// Any request: an answer that can be shown, and nothing is learnt without a token. CLU-22 CLU-23
func FuzzCheckJoin(f *testing.F) {
	f.Add("good", "new", "name", "auto", "0.1.0", "10.0.0.9:5055", "10.0.0.9:5050", "", int64(0))
	f.Add("agents", "n02", "n\xff", "master", "9999999999999.1.1", "[::1]:1", "::1", "x:y:z", int64(1)<<62)
	f.Add("bad", "n04", "", "", "", "", "", "", int64(-1)<<63)
	s := joinable(f)
	f.Fuzz(func(t *testing.T, token, id, name, role, version, peer, master, agent string, at int64) {
		request := &wire.JoinRequest{
			Token: &token, NodeId: &id, Name: &name, Role: &role, Version: &version, Time: &at,
			Addresses: &wire.Addresses{Peer: &peer, Master: &master, Agent: &agent},
		}
		got := CheckJoin(noon, s, request, leaderContext())
		if !slices.Contains([]string{"good", "agents", "odd", "old"}, token) && (got == nil || got.Reason != "the token is not valid, or was rotated") {
			t.Errorf("without a token: %v", got)
		}
		if got == nil {
			if !plain(id) || !reachable(peer) || !reachable(master) || id == "n04" || id == "n02" {
				t.Errorf("granted: %v", request)
			}
			return
		}
		if len(got.Reason) > 2000 || got.Reason == "" || strings.ContainsFunc(got.Reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("reason %q", got.Reason)
		}
	})
}

// Removed nodes are forgotten when their certificates have ended. CLU-21
func TestForgettable(t *testing.T) {
	w := newWorld(t, 1, 3)
	for range 4 {
		w.join(nil)
	}
	for i, id := range []string{"n03", "n02", "n05"} {
		w.must(&registry.Op{Op: &registry.Op_RemoveNode{RemoveNode: &registry.RemoveNode{
			NodeId: &id, Time: proto.Int64(1), Until: proto.Int64(noon.Add(time.Duration(i) * time.Hour).UnixNano()),
		}}})
	}
	for after, want := range map[time.Duration][]string{
		-1: nil, 0: {"n03"}, time.Hour - 1: {"n03"}, time.Hour: {"n02", "n03"}, 3 * time.Hour: {"n02", "n03", "n05"},
	} {
		if got := Forgettable(noon.Add(after), w.state); !slices.Equal(got, want) {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
}
