package api

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// The answers of a real master are made again from a view with the same facts, byte by byte.
//
// OPR-1 OPR-3 OPR-10 OPR-103 OPR-104 OPR-105 OPR-106 OPR-107 OPR-108 OPR-109 OPR-110 OPR-111 OPR-112
// OPR-113 OPR-114 OPR-117
func TestMasterState(t *testing.T) {
	for _, test := range []struct {
		file, facts string
		paths       []string
	}{
		{"master_state.json", "", []string{"/state", "/master/state", "/state/", "/state.json", "/master/state.json", "/state/x"}},
		{"master_state_after.json", "", []string{"/state"}},
		{"master_state_summary.json", "master_state.json", []string{"/state-summary", "/master/state-summary.json"}},
		{"master_slaves.json", "", []string{"/slaves", "/master/slaves//", "/slaves?slave_id=" + testMaster + "-S0"}},
		{"master_slaves_drain.json", "", []string{"/slaves"}},
		{"master_slaves_volume.json", "", []string{"/slaves"}},
		{"master_slaves_unreachable.json", "", []string{"/slaves"}},
		{"master_frameworks.json", "", []string{"/frameworks", "/master/frameworks/"}},
		{"master_frameworks_offers.json", "", []string{"/frameworks"}},
		{"master_tasks.json", "", []string{"/tasks", "/tasks.json", "/tasks?limit=x&offset=y&order=z", "/tasks?limit=-1"}},
		{"master_tasks_after.json", "", []string{"/tasks"}},
		{"master_roles.json", "master_state.json", []string{"/roles"}}, // OPR-116
	} {
		want, facts := recorded(t, test.file)
		if test.facts != "" {
			_, facts = recorded(t, test.facts)
		}
		cluster := newTestCluster()
		cluster.state.view = facts.masterView(t)
		cluster.flags = facts.Flags
		for _, path := range test.paths {
			w := do(cluster.master(), "GET", path, "")
			if w.Code != 200 || w.Header().Get("Content-Type") != jsonType {
				t.Errorf("%s: status %d, %v", path, w.Code, w.Header())
			}
			compareText(t, test.file+" "+path, w.Body.String(), want)
		}
	}
}

// OPR-1 OPR-3 OPR-127 OPR-128 OPR-129 EXE-182
func TestAgentState(t *testing.T) {
	for _, file := range []string{"agent_state.json", "agent_state_after.json", "agent_state_drain.json"} {
		want, facts := recorded(t, file)
		cluster := newTestCluster()
		cluster.agentState.view = facts.agentView(t)
		cluster.flags = facts.Flags
		for _, path := range []string{"/state", "/slave(1)/state", "/slave%281%29/state", "/slave(1)/state.json", "/state.json"} {
			compareText(t, file+" "+path, do(cluster.agent(), "GET", path, "").Body.String(), want)
		}
	}
}

// OPR-132 OPR-133
func TestContainers(t *testing.T) {
	want, _ := recorded(t, "agent_containers.json")
	cluster := newTestCluster()
	cluster.containers = recordedContainers(t, "agent_containers.json")
	agent := cluster.agent()
	for _, path := range []string{"/containers", "/containers?show_nested=true", "/slave(1)/containers"} {
		compareText(t, path, do(agent, "GET", path, "").Body.String(), want)
	}
	want, _ = recorded(t, "agent_statistics.json")
	cluster.containers = recordedContainers(t, "agent_statistics.json")
	cluster.containers = append(cluster.containers, Container{ExecutorID: "no statistics"})
	for _, path := range []string{"/monitor/statistics", "/monitor/statistics.json"} {
		compareText(t, path, do(agent, "GET", path, "").Body.String(), want)
	}
}

// OPR-133
func TestContainersQuery(t *testing.T) {
	cluster := newTestCluster()
	all := recordedContainers(t, "agent_containers.json")
	cluster.containers = all
	agent := cluster.agent()
	for query, want := range map[string]int{
		"": 2,
		"container_id=" + all[0].Status.GetContainerId().GetValue(): 1,
		"container_id=nope":                                        0,
		"framework_id=" + testMaster + "-0000":                     1,
		"framework_id=" + testMaster + "-0000&executor_id=sleeper": 1,
		"framework_id=" + testMaster + "-0001&executor_id=sleeper": 0,
		"executor_id=sleeper":                                      -1,
		"container_id=x&framework_id=y":                            -1,
		"container_id=x&executor_id=y":                             -1,
		"container_id=x&framework_id=y&executor_id=z":              -1,
	} {
		w := do(agent, "GET", "/containers?"+query, "")
		if want < 0 {
			if w.Code != 400 || w.Body.String() != "Supported query parameters are container_id only, framework_id only, or executor_id and framework_id only" {
				t.Errorf("%s: %d %q", query, w.Code, w.Body)
			}
			continue
		}
		var list []json.RawMessage
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list) != want {
			t.Errorf("%s: %d entries, %v; want %d", query, len(list), err, want)
		}
	}
}

func recordedContainers(t *testing.T, file string) []Container {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		ExecutorID   string          `json:"executor_id"`
		ExecutorName string          `json:"executor_name"`
		FrameworkID  string          `json:"framework_id"`
		Source       string          `json:"source"`
		Statistics   json.RawMessage `json:"statistics"`
		Status       json.RawMessage `json:"status"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	var out []Container
	for _, c := range list {
		container := Container{
			FrameworkID: mesos.FrameworkID(c.FrameworkID), ExecutorID: mesos.ExecutorID(c.ExecutorID),
			ExecutorName: c.ExecutorName, Source: c.Source, Statistics: fromJSON(t, c.Statistics, new(v1.ResourceStatistics)),
		}
		if c.Status != nil {
			container.Status = fromJSON(t, c.Status, new(v1.ContainerStatus))
		}
		out = append(out, container)
	}
	return out
}

// compareText shows where two texts part.
func compareText(t *testing.T, name, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	from := max(0, at-120)
	t.Errorf("%s: differs at byte %d\ngot  %s\nwant %s", name, at, excerpt(got, from), excerpt(want, from))
}

func excerpt(s string, from int) string {
	if from >= len(s) {
		return ""
	}
	return strings.ToValidUTF8(s[from:min(len(s), from+300)], "?")
}
