package master

import (
	"fmt"
	"strings"
	"testing"

	"clusterd/node/mesos/v1scheduler"
)

// TestTaskValidation launches one task from an offer of a fresh agent and compares the message of
// the TASK_ERROR; "" is a task that starts. "@" in a task stands for two usual resources.
func TestTaskValidation(t *testing.T) {
	const res = `"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},{"name":"mem","type":"SCALAR","scalar":{"value":32}}]`
	const id = `"name":"n","task_id":{"value":"t"},"agent_id":{"value":"m-S0"},`
	const cmd = `,"command":{"value":"true"}`
	const available = "ports(allocated: *):[31000-32000]; cpus(allocated: *):4; mem(allocated: *):2048; disk(allocated: *):4096"
	one := func(resource string) string { return id + `"resources":[` + resource + `]` + cmd }
	executor := func(fields string) string { return id + `@,"executor":{` + fields + `}` }
	variable := func(fields string) string {
		return id + `@,"command":{"value":"x","environment":{"variables":[{"name":"A",` + fields + `}]}}`
	}
	tests := []struct {
		ids, name, task, want string
	}{
		// SCH-161 SCH-163 SCH-169 SCH-170
		{"SCH-170", "empty id", `"name":"n","task_id":{"value":""},"agent_id":{"value":"m-S0"},@` + cmd, "ID must not be empty"},
		{"SCH-170", "slash", `"name":"n","task_id":{"value":"a/b"},"agent_id":{"value":"m-S0"},@` + cmd, "'a/b' contains invalid characters"},
		{"SCH-170", "dot", `"name":"n","task_id":{"value":"."},"agent_id":{"value":"m-S0"},@` + cmd, "'.' is disallowed"},
		{"SCH-170", "long", `"name":"n","task_id":{"value":"` + strings.Repeat("x", 256) + `"},"agent_id":{"value":"m-S0"},@` + cmd, "ID must not be greater than 255 characters"},
		{"SCH-170", "blank", `"name":"n","task_id":{"value":"a b"},"agent_id":{"value":"m-S0"},@` + cmd, ""},
		{"SCH-171", "agent", `"name":"n","task_id":{"value":"t"},"agent_id":{"value":"zz"},@` + cmd, "Task uses invalid agent zz while agent m-S0 is expected"},
		{"SCH-172", "nothing to run", id + `@`, "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"},
		{"SCH-172", "both", id + `@` + cmd + `,"executor":{"executor_id":{"value":"e"},"command":{"value":"x"}}`, "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"},
		// SCH-173
		{"SCH-173", "no resources", id + `"resources":[]` + cmd, "Task uses no resources"},
		{"SCH-173", "negative", one(`{"name":"cpus","type":"SCALAR","scalar":{"value":-1}}`), "Resource 'cpus:-1' is invalid: Invalid scalar resource: value <= 0"},
		{"SCH-173", "rounds to zero", one(`{"name":"cpus","type":"SCALAR","scalar":{"value":0.0004}}`), "Resource 'cpus:0' is invalid: Invalid scalar resource: value <= 0"},
		{"SCH-173", "no value", one(`{"name":"cpus","type":"SCALAR"}`), "Resource 'cpus:0' is invalid: Invalid scalar resource"},
		{"SCH-173", "reversed range", one(`{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31010,"end":31005}]}}`), "Resource 'ports:[31010-31005]' is invalid: Invalid ranges resource: begin > end"},
		{"SCH-173", "only mem", one(`{"name":"mem","type":"SCALAR","scalar":{"value":32}}`), ""},
		{"SCH-173", "zero", one(`{"name":"cpus","type":"SCALAR","scalar":{"value":0}}`), ""},
		{"SCH-173", "two roles", one(`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"allocation_info":{"role":"*"}},{"name":"mem","type":"SCALAR","scalar":{"value":1},"allocation_info":{"role":"foo"}}`), "Invalid task resources: The resources have multiple allocation roles ('foo' and '*') but only one allocation role is allowed"},
		{"SCH-173", "revocable mixed", one(`{"name":"cpus","type":"SCALAR","scalar":{"value":1}},{"name":"cpus","type":"SCALAR","scalar":{"value":1},"revocable":{}}`), "Task mixes revocable and non-revocable resources: Cannot use both revocable and non-revocable 'cpus' at the same time"},
		// SCH-174
		{"SCH-174", "too much", one(`{"name":"cpus","type":"SCALAR","scalar":{"value":100}},{"name":"mem","type":"SCALAR","scalar":{"value":32}}`), "Total resources cpus(allocated: *):100; mem(allocated: *):32 required by task and its executor is more than available " + available},
		{"SCH-174", "foreign role", one(`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"allocation_info":{"role":"other"}}`), "Total resources cpus(allocated: other):1 required by task and its executor is more than available " + available},
		{"SCH-174", "ports outside", one(`{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":80,"end":80}]}}`), "Total resources ports(allocated: *):[80-80] required by task and its executor is more than available " + available},
		{"SCH-174", "with its executor", id + `"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":4}}],"executor":{"executor_id":{"value":"e"},"command":{"value":"x"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}}]}`, "Total resources cpus(allocated: *):4.1 required by task and its executor is more than available " + available},
		{"SCH-175", "half a gpu", one(`{"name":"gpus","type":"SCALAR","scalar":{"value":0.5}}`), "Task uses invalid resources: Invalid 'gpus' resource: The 'gpus' resource must be an unsigned integer"},
		{"SCH-176", "ports of task and executor", id + `"resources":[{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31005}]}}],"executor":{"executor_id":{"value":"e"},"command":{"value":"x"},"resources":[{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31005,"end":31006}]}}]}`,
			"There are overlapping resources in the task resources ports(allocated: *):[31000-31005] and executor resources ports(allocated: *):[31005-31006]"},
		{"SCH-177", "grace period", id + `@` + cmd + `,"kill_policy":{"grace_period":{"nanoseconds":-1}}`, "Task's 'kill_policy.grace_period' must be non-negative"},
		{"SCH-177", "completion time", id + `@` + cmd + `,"max_completion_time":{"nanoseconds":-1}`, "Task's `max_completion_time` must be non-negative"},
		// SCH-178
		{"SCH-178", "check without type", id + `@` + cmd + `,"check":{}`, "Task uses invalid check: CheckInfo must specify 'type'"},
		{"SCH-178", "check unknown", id + `@` + cmd + `,"check":{"type":"UNKNOWN"}`, "Task uses invalid check: 'UNKNOWN' is not a valid check type"},
		{"SCH-178", "check command", id + `@` + cmd + `,"check":{"type":"COMMAND"}`, "Task uses invalid check: Expecting 'command' to be set for COMMAND check"},
		{"SCH-178", "check http", id + `@` + cmd + `,"check":{"type":"HTTP"}`, "Task uses invalid check: Expecting 'http' to be set for HTTP check"},
		{"SCH-178", "check tcp", id + `@` + cmd + `,"check":{"type":"TCP"}`, "Task uses invalid check: Expecting 'tcp' to be set for TCP check"},
		{"SCH-178", "check shell", id + `@` + cmd + `,"check":{"type":"COMMAND","command":{"command":{}}}`, "Task uses invalid check: Command check must contain 'shell command'"},
		{"SCH-178", "check executable", id + `@` + cmd + `,"check":{"type":"COMMAND","command":{"command":{"shell":false}}}`, "Task uses invalid check: Command check must contain 'executable path'"},
		{"SCH-178", "check path", id + `@` + cmd + `,"check":{"type":"HTTP","http":{"port":1,"path":"x"}}`, "Task uses invalid check: The path 'x' of HTTP check must start with '/'"},
		{"SCH-178", "check delay", id + `@` + cmd + `,"check":{"type":"TCP","tcp":{"port":1},"delay_seconds":-1}`, "Task uses invalid check: Expecting 'delay_seconds' to be non-negative"},
		{"SCH-178", "check fine", id + `@` + cmd + `,"check":{"type":"HTTP","http":{"port":1,"path":"/x"}}`, ""},
		// SCH-179 SCH-165
		{"SCH-179", "health without type", id + `@` + cmd + `,"health_check":{"tcp":{"port":1}}`, "Task uses invalid health check: HealthCheck must specify 'type'"},
		{"SCH-165", "health type from http", id + `@` + cmd + `,"health_check":{"http":{"port":1}}`, ""},
		{"SCH-165", "health type from command", id + `@` + cmd + `,"health_check":{"command":{"value":"x"}}`, ""},
		{"SCH-179", "health unknown", id + `@` + cmd + `,"health_check":{"type":"UNKNOWN"}`, "Task uses invalid health check: 'UNKNOWN' is not a valid health check type"},
		{"SCH-179", "health http", id + `@` + cmd + `,"health_check":{"type":"HTTP"}`, "Task uses invalid health check: Expecting 'http' to be set for HTTP health check"},
		{"SCH-179", "health command", id + `@` + cmd + `,"health_check":{"type":"COMMAND"}`, "Task uses invalid health check: Expecting 'command' to be set for COMMAND health check"},
		{"SCH-179", "health shell", id + `@` + cmd + `,"health_check":{"type":"COMMAND","command":{}}`, "Task uses invalid health check: Command health check must contain 'shell command'"},
		{"SCH-179", "health tcp", id + `@` + cmd + `,"health_check":{"type":"TCP"}`, "Task uses invalid health check: Expecting 'tcp' to be set for TCP health check"},
		{"SCH-179", "health path", id + `@` + cmd + `,"health_check":{"type":"HTTP","http":{"port":1,"path":"x"}}`, "Task uses invalid health check: The path 'x' of HTTP health check must start with '/'"},
		{"SCH-179", "health scheme", id + `@` + cmd + `,"health_check":{"type":"HTTP","http":{"port":1,"scheme":"ftp"}}`, "Task uses invalid health check: Unsupported HTTP health check scheme: 'ftp'"},
		{"SCH-179", "health grace", id + `@` + cmd + `,"health_check":{"type":"TCP","tcp":{"port":1},"grace_period_seconds":-1}`, "Task uses invalid health check: Expecting 'grace_period_seconds' to be non-negative"},
		{"SCH-179", "health interval", id + `@` + cmd + `,"health_check":{"type":"TCP","tcp":{"port":1},"interval_seconds":-1}`, "Task uses invalid health check: Expecting 'interval_seconds' to be non-negative"},
		// SCH-180
		{"SCH-180", "no value", variable(`"type":"VALUE"`), "Task's `CommandInfo` is invalid: Environment variable 'A' of type 'VALUE' must have a value set"},
		{"SCH-180", "value and secret", variable(`"value":"v","secret":{"type":"VALUE","value":{"data":"YQ=="}}`), "Task's `CommandInfo` is invalid: Environment variable 'A' of type 'VALUE' must not have a secret set"},
		{"SCH-180", "no secret", variable(`"type":"SECRET"`), "Task's `CommandInfo` is invalid: Environment variable 'A' of type 'SECRET' must have a secret set"},
		{"SCH-180", "secret and value", variable(`"type":"SECRET","value":"v","secret":{"type":"VALUE","value":{"data":"YQ=="}}`), "Task's `CommandInfo` is invalid: Environment variable 'A' of type 'SECRET' must not have a value set"},
		{"SCH-180", "unknown", variable(`"type":"UNKNOWN"`), "Task's `CommandInfo` is invalid: Environment variable of type 'UNKNOWN' is not allowed"},
		{"SCH-180", "null byte", variable(`"type":"SECRET","secret":{"type":"VALUE","value":{"data":"AA=="}}`), "Task's `CommandInfo` is invalid: Environment variable 'A' specifies a secret containing null bytes, which is not allowed in the environment"},
		{"SCH-180", "no reference", variable(`"type":"SECRET","secret":{"type":"REFERENCE"}`), "Task's `CommandInfo` is invalid: Environment variable 'A' specifies an invalid secret: Secret of type REFERENCE must have the 'reference' field set"},
		{"SCH-180", "executor", executor(`"executor_id":{"value":"e"},"command":{"environment":{"variables":[{"name":"A"}]}}`), "Executor's `CommandInfo` is invalid: Environment variable 'A' of type 'VALUE' must have a value set"},
		// SCH-181
		{"SCH-181", "two sources", id + `@` + cmd + `,"container":{"type":"MESOS","volumes":[{"mode":"RW","container_path":"p","host_path":"h","source":{"type":"SECRET"}}]}`, "Task's `ContainerInfo` is invalid: Invalid volume: Only one of them should be set: 'host_path', 'image' and 'source'"},
		{"SCH-181", "no source", id + `@` + cmd + `,"container":{"type":"MESOS","volumes":[{"mode":"RW","container_path":"p"}]}`, "Task's `ContainerInfo` is invalid: Invalid volume: Only one of them should be set: 'host_path', 'image' and 'source'"},
		{"SCH-181", "source type", id + `@` + cmd + `,"container":{"type":"MESOS","volumes":[{"mode":"RW","container_path":"p","source":{}}]}`, "Task's `ContainerInfo` is invalid: Invalid volume: 'source.type' is unknown"},
		{"SCH-181", "sandbox path", id + `@` + cmd + `,"container":{"type":"MESOS","volumes":[{"mode":"RW","container_path":"p","source":{"type":"SANDBOX_PATH"}}]}`, "Task's `ContainerInfo` is invalid: Invalid volume: 'source.sandbox_path' is not set for SANDBOX_PATH volume"},
		{"SCH-181", "secret volume", id + `@` + cmd + `,"container":{"type":"MESOS","volumes":[{"mode":"RW","container_path":"p","source":{"type":"SECRET"}}]}`, "Task's `ContainerInfo` is invalid: Invalid volume: 'source.secret' is not set for SECRET volume"},
		{"SCH-181", "docker", id + `@` + cmd + `,"container":{"type":"DOCKER"}`, "Task's `ContainerInfo` is invalid: DockerInfo 'docker' is not set for DOCKER typed ContainerInfo"},
		{"SCH-181", "docker name", id + `@` + cmd + `,"container":{"type":"DOCKER","docker":{"image":"i","parameters":[{"key":"name","value":"x"}]}}`, "Task's `ContainerInfo` is invalid: Parameter in DockerInfo must not be 'name'"},
		{"SCH-181", "docker on mesos", id + `@` + cmd + `,"container":{"type":"MESOS","docker":{"image":"i"}}`, ""},
		// SCH-182
		{"SCH-182", "limit of disk", id + `@` + cmd + `,"limits":{"disk":{"value":1}}`, "Only cpus and mem may be included in a task's resource limits"},
		{"SCH-182", "small limit", id + `@` + cmd + `,"limits":{"cpus":{"value":0.05}}`, "The cpu limit must be greater than or equal to the cpu request"},
		{"SCH-182", "small mem limit", id + `@` + cmd + `,"limits":{"mem":{"value":1}}`, "The memory limit must be greater than or equal to the memory request"},
		{"SCH-182", "limit without request", id + `"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}]` + cmd + `,"limits":{"mem":{"value":64}}`, "When a memory limit is specified, a memory request must also be specified"},
		{"SCH-182", "no limit", id + `@` + cmd + `,"limits":{"cpus":{"value":"Infinity"}}`, ""},
		{"SCH-183", "share_cgroups false", id + `@` + cmd + `,"container":{"type":"MESOS","linux_info":{"share_cgroups":false}}`, "Only tasks in a task group may have 'share_cgroups' set to 'false'"},
		{"SCH-183", "share_cgroups true", id + `@` + cmd + `,"container":{"type":"MESOS","linux_info":{"share_cgroups":true}}`, ""},
		{"SCH-183", "executor's share_cgroups", executor(`"executor_id":{"value":"e"},"command":{"value":"x"},"container":{"type":"MESOS","linux_info":{"share_cgroups":true}}`), "The 'share_cgroups' field cannot be set to 'true' on executor containers"},
		// SCH-184
		{"SCH-184", "executor id", executor(`"executor_id":{"value":""},"command":{"value":"x"}`), "ID must not be empty"},
		{"SCH-184", "no command", executor(`"executor_id":{"value":"e"}`), "'ExecutorInfo.command' must be set"},
		{"SCH-184", "custom without command", executor(`"type":"CUSTOM","executor_id":{"value":"e"}`), "'ExecutorInfo.command' must be set for 'CUSTOM' executor"},
		{"SCH-184", "default", executor(`"type":"DEFAULT","executor_id":{"value":"e"}`), "'ExecutorInfo.type' must be 'CUSTOM'"},
		{"SCH-184", "framework id", executor(`"executor_id":{"value":"e"},"command":{"value":"x"},"framework_id":{"value":"zz"}`), "ExecutorInfo has an invalid FrameworkID (Actual: zz vs Expected: m-0000)"},
		{"SCH-184", "grace period", executor(`"executor_id":{"value":"e"},"command":{"value":"x"},"shutdown_grace_period":{"nanoseconds":-1}`), "ExecutorInfo's 'shutdown_grace_period' must be non-negative"},
		{"SCH-186", "tiny executor", executor(`"executor_id":{"value":"e"},"command":{"value":"x"}`), ""},
	}
	for _, test := range tests {
		t.Run(test.ids+" "+test.name, func(t *testing.T) {
			h, _, _ := running(t, aware("f"))
			h.launch(1, offersIn(h.take(1))[0], 0, "{"+strings.ReplaceAll(test.task, "@", res)+"}")
			h.expectError(test.want, "REASON_TASK_INVALID")
		})
	}
}

// expectError expects one TASK_ERROR of this message (SCH-164), or a task that was sent to the agent.
func (h *harness) expectError(want, reason string) {
	h.t.Helper()
	got := "(started)"
	for _, f := range h.takeFrames(1) {
		if f.GetRunTask() != nil {
			got = ""
		}
	}
	for _, e := range h.take(1) {
		if s := e.GetUpdate().GetStatus(); s != nil {
			got = s.GetMessage()
			if s.GetState().String() != "TASK_ERROR" || s.GetReason().String() != reason || s.Uuid != nil || s.AgentId == nil ||
				s.GetSource().String() != "SOURCE_MASTER" {
				h.t.Errorf("status: %v", s)
			}
		}
	}
	if got != want {
		h.t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// TestGroupValidation is TestTaskValidation for a LAUNCH_GROUP of the tasks a and b.
func TestGroupValidation(t *testing.T) {
	const res = `"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},{"name":"mem","type":"SCALAR","scalar":{"value":32}}]`
	const full = `"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},{"name":"mem","type":"SCALAR","scalar":{"value":32}},{"name":"disk","type":"SCALAR","scalar":{"value":32}}]`
	task := func(id, extra string) string {
		return `{"name":"n","task_id":{"value":"` + id + `"},"agent_id":{"value":"m-S0"},` + res + `,"command":{"value":"x"}` + extra + `}`
	}
	usual := task("a", "") + "," + task("b", "")
	const fid = `"framework_id":{"value":"m-0000"},`
	const eid = `"executor_id":{"value":"e"},`
	const def = `"type":"DEFAULT",` + eid + fid + full
	tests := []struct{ ids, name, executor, tasks, want string }{
		{"SCH-188", "fine", def, usual, ""},
		{"SCH-188", "bad task", def, task("a", "") + "," + task("x/y", ""), "Task 'x/y' is invalid: 'x/y' contains invalid characters"},
		{"SCH-301", "same id", def, task("a", "") + "," + task("a", ""), "Task 'a' is invalid: Task has duplicate ID: a"},
		{"SCH-189", "no type", eid + fid + full, usual, "'ExecutorInfo.type' must be set"},
		{"SCH-189", "unknown type", `"type":"UNKNOWN",` + eid + fid + full, usual, "Unknown executor type"},
		{"SCH-189", "default with command", def + `,"command":{"value":"x"}`, usual, "'ExecutorInfo.command' must not be set for 'DEFAULT' executor"},
		{"SCH-189", "custom without command", `"type":"CUSTOM",` + eid + fid + full, usual, "'ExecutorInfo.command' must be set for 'CUSTOM' executor"},
		{"SCH-189", "docker executor", def + `,"container":{"type":"DOCKER","docker":{"image":"i"}}`, usual, "'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor"},
		{"SCH-189", "image", def + `,"container":{"type":"MESOS","mesos":{"image":{"type":"DOCKER"}}}`, usual, "'ExecutorInfo.container.mesos.image' must not be set for 'DEFAULT' executor"},
		{"SCH-193", "custom docker executor", `"type":"CUSTOM","command":{"value":"x"},` + eid + fid + full + `,"container":{"type":"DOCKER","docker":{"image":"i"}}`, usual, "Docker ContainerInfo is not supported on the executor"},
		{"SCH-190", "no framework id", `"type":"DEFAULT",` + eid + full, usual, "'ExecutorInfo.framework_id' must be set"},
		{"SCH-190", "other framework id", `"type":"DEFAULT",` + eid + `"framework_id":{"value":"zz"},` + full, usual, "ExecutorInfo has an invalid FrameworkID (Actual: zz vs Expected: m-0000)"},
		{"SCH-191", "no resources", `"type":"DEFAULT",` + eid + `"framework_id":{"value":"m-0000"}`, usual, "Executor 'e' uses less CPUs (None) than the minimum required (0.01)"},
		{"SCH-191", "little mem", `"type":"DEFAULT",` + eid + fid + `"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},{"name":"mem","type":"SCALAR","scalar":{"value":16}}]`, usual, "Executor 'e' uses less memory (16MB) than the minimum required (32MB)"},
		{"SCH-191", "no disk", `"type":"DEFAULT",` + eid + fid + res, usual, "Executor 'e' uses no disk"},
		{"SCH-192", "same executor", def, task("a", `,"executor":{`+def+`}`), ""},
		{"SCH-192", "other executor", def, task("a", `,"executor":{"executor_id":{"value":"q"},"command":{"value":"x"}}`), "The `ExecutorInfo` of task 'a' is different from executor 'e'"},
		{"SCH-193", "docker task", def, task("a", `,"container":{"type":"DOCKER","docker":{"image":"i"}}`), "Task 'a' is invalid: Docker ContainerInfo is not supported on the task"},
		{"SCH-193", "own network", def, task("a", `,"container":{"type":"MESOS","network_infos":[{"name":"n"}]},"health_check":{"type":"TCP","tcp":{"port":1}}`), "Task 'a' is invalid: HTTP and TCP health checks are not supported for nested containers not joining parent's network"},
		{"SCH-194", "limits", def, task("a", `,"limits":{"cpus":{"value":1}}`), "Task 'a' is invalid: Resource limits may only be set for tasks within a task group when the 'share_cgroups' field is set to 'false'."},
		{"SCH-194", "mixed share_cgroups", def, task("a", `,"container":{"type":"MESOS","linux_info":{"share_cgroups":false}}`) + "," + task("b", ""), "If set, the value of 'share_cgroups' must be the same for all tasks in each task group and under a single executor"},
		{"SCH-195", "too much", def, `{"name":"n","task_id":{"value":"a"},"agent_id":{"value":"m-S0"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":6}}],"command":{"value":"x"}}`, "Total resources cpus(allocated: *):6.1; mem(allocated: *):32; disk(allocated: *):32 required by task group and its executor are more than available ports(allocated: *):[31000-32000]; cpus(allocated: *):4; mem(allocated: *):2048; disk(allocated: *):4096"},
	}
	for _, test := range tests {
		t.Run(test.ids+" "+test.name, func(t *testing.T) {
			h, _, _ := running(t, aware("f"))
			offer := offersIn(h.take(1))[0].GetId().GetValue()
			h.send(1, fmt.Sprintf(`{"type":"ACCEPT","accept":{"offer_ids":[{"value":%q}],"operations":[{"type":"LAUNCH_GROUP","launch_group":{"executor":{%s},"task_group":{"tasks":[%s]}}}],"filters":{"refuse_seconds":0}}}`,
				offer, test.executor, test.tasks))
			if updates := brief(h.events[1]); test.want != "" && len(updates) != strings.Count(test.tasks, `"task_id"`) {
				t.Errorf("not every task is told: %v", updates)
			}
			h.expectError(test.want, "REASON_TASK_GROUP_INVALID")
		})
	}
}

// TestFrameworkValidation subscribes and compares the ERROR event; "" is a subscription.
func TestFrameworkValidation(t *testing.T) {
	multi := func(roles string) string {
		return `"user":"u","name":"n","roles":[` + roles + `],"capabilities":[{"type":"MULTI_ROLE"}]`
	}
	filters := func(quantities string) string {
		return multi(`"a"`) + `,"offer_filters":{"a":{"min_allocatable_resources":{"quantities":[` + quantities + `]}}}`
	}
	constraint := func(inner string) string {
		return `{"framework_info":{` + multi(`"a"`) + `},"offer_constraints":{"role_constraints":{"a":{"groups":[` + inner + `]}}}}`
	}
	attribute := func(selector, predicate string) string {
		return constraint(`{"attribute_constraints":[{"selector":{` + selector + `},"predicate":{` + predicate + `}}]}`)
	}
	tests := []struct{ ids, subscribe, want string }{
		// SCH-52 SCH-54 SCH-58
		{"SCH-58", multi(`"/a"`), "'FrameworkInfo.roles' contains invalid role: Role '/a' cannot start with a slash"},
		{"SCH-58", multi(`"a/"`), "'FrameworkInfo.roles' contains invalid role: Role 'a/' cannot end with a slash"},
		{"SCH-58", multi(`"a//b"`), "'FrameworkInfo.roles' contains invalid role: Role 'a//b' cannot contain two adjacent slashes"},
		{"SCH-58", multi(`"."`), "'FrameworkInfo.roles' contains invalid role: Role '.' cannot include '.' as a component"},
		{"SCH-58", multi(`"-a"`), "'FrameworkInfo.roles' contains invalid role: Role component '-a' is invalid because it starts with a dash"},
		{"SCH-58", multi(`""`), "'FrameworkInfo.roles' contains invalid role: Role names cannot be the empty string"},
		{"SCH-58", multi(`"é"`), ""},
		{"SCH-58", `"user":"u","name":"n","role":"a b"`, "'FrameworkInfo.role' is not a valid role: Role component 'a b' is invalid because it contains backspace or whitespace"},
		{"SCH-55", `"user":"u","name":"n","role":"a","capabilities":[{"type":"MULTI_ROLE"}]`, "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"},
		{"SCH-55", `"user":"u","name":"n","roles":["a"]`, "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"},
		{"SCH-57", multi(`"a","a","b"`), "'FrameworkInfo.roles' contains duplicate items: { a }"},
		{"SCH-59", multi(`"zz","a","yy"`), "Roles { yy, zz } are not present in the master's --roles"},
		{"SCH-59", multi(`"*"`), ""},
		{"SCH-60", `"user":"root","name":"n"`, "User 'root' is not allowed to run frameworks without --root_submissions set"},
		{"SCH-53", `"user":"","name":""`, "User '' is not allowed to run frameworks without --root_submissions set"},
		{"SCH-61", `"user":"u","name":"n","failover_timeout":1e300`, "The framework failover_timeout (1e+300) is invalid"},
		{"SCH-61", `"user":"u","name":"n","failover_timeout":9.3e9`, "The framework failover_timeout (9.3e+09) is invalid"},
		{"SCH-61", `"user":"u","name":"n","failover_timeout":"Infinity"`, "The framework failover_timeout (inf) is invalid"},
		{"SCH-61", `"user":"u","name":"n","failover_timeout":-1`, ""},
		{"SCH-62", filters(`{}`), "Resource quantities must contain at least one quantity"},
		{"SCH-62", filters(`{"quantities":{"cpus":{"value":-1}}}`), "Invalid resource quantity for 'cpus': Negative values not supported"},
		{"SCH-62", filters(`{"quantities":{"cpus":{"value":"Infinity"}}}`), "Invalid resource quantity for 'cpus': Infinite values not supported"},
		{"SCH-62", filters(``), ""},
		{"SCH-63", `"user":"u","name":"n","id":{"value":"a/b"}`, "'a/b' contains invalid characters"},
		{"SCH-63", `"user":"u","name":"n","id":{"value":".."}`, "'..' is disallowed"},
		{"SCH-66", `"user":"u","name":"n","id":{"value":"my own"}`, ""},
		{"SCH-50", `"user":"u","name":"n","id":{"value":""}`, ""},
		{"SCH-67", `{"framework_info":{` + multi(`"a"`) + `},"suppressed_roles":["c","b","c"]}`, "Suppressed roles { b, c } are not contained in the set of roles"},
		{"SCH-68", `{"framework_info":{` + multi(`"a"`) + `},"offer_constraints":{"role_constraints":{"b":{}}}}`, "Offer constraints specify `role_constraints` for a role 'b'not contained in the set of roles"},
		{"SCH-68", constraint(``), "Offer constraints are not valid: `RoleConstraints.groups` must not be empty"},
		{"SCH-208", constraint(`{}`), "Offer constraints are not valid: `RoleConstraints.Group.attribute_constraints` must not be empty"},
		{"SCH-68", attribute(``, `"exists":{}`), "Offer constraints are not valid: Exactly one of `AttributeConstraint::Selector::name` and `AttributeConstraint::Selector::pseudoattribute_type` must be set"},
		{"SCH-68", attribute(`"pseudoattribute_type":"UNKNOWN"`, `"exists":{}`), "Offer constraints are not valid: Unknown pseudoattribute type"},
		{"SCH-68", attribute(`"attribute_name":"rack"`, ``), "Offer constraints are not valid: Unknown predicate type"},
		{"SCH-211", attribute(`"attribute_name":"rack"`, `"text_matches":{"regex":"("}`), "Offer constraints are not valid: Failed to construct regex from pattern '(': missing closing ): ("},
		{"SCH-211", attribute(`"attribute_name":"rack"`, `"text_matches":{"regex":"(abcdefghij){50}"}`), "Offer constraints are not valid: Failed to construct regex from pattern '(abcdefghij){50}': pattern too large - compile failed"},
		{"SCH-207", attribute(`"attribute_name":"rack"`, `"text_equals":{"value":"r1"}`), ""},
	}
	for _, test := range tests {
		t.Run(test.ids, func(t *testing.T) {
			cfg := testConfig()
			cfg.Roles, cfg.RootSubmissions = []string{"a", "b", "é", "a b"}, false
			h := newHarness(t, cfg)
			text := test.subscribe
			if !strings.HasPrefix(text, "{") {
				text = `{"framework_info":{` + text + `}}`
			}
			sub := parse(t, text, &v1scheduler.Call_Subscribe{})
			r := h.raw(SchedulerCall{Stream: 1, Call: &v1scheduler.Call{
				Type: v1scheduler.Call_SUBSCRIBE.Enum(), Subscribe: sub, FrameworkId: sub.FrameworkInfo.Id,
			}})
			if r.Status != 200 {
				t.Fatalf("SUBSCRIBE: %+v", r)
			}
			events := brief(h.take(1))
			if test.want == "" {
				same(t, "events", events, []string{"SUBSCRIBED", "HEARTBEAT"})
				return
			}
			same(t, "events", events, []string{"ERROR " + test.want}) // SCH-261
			if !h.closed[1] {
				t.Error("the stream stays open")
			}
		})
	}
}
