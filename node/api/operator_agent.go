package api

import (
	"net/http"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1agent"

	"google.golang.org/protobuf/proto"
)

// call serves POST /api/v1 (OPR-77).
func (a *agent) call(w http.ResponseWriter, r *http.Request) {
	if bareType(r.Header.Get("Content-Type")) == "application/recordio" && r.Method == http.MethodPost {
		status(http.StatusNotImplemented).respond(w) // Only for calls that this version does not have.
		return
	}
	call := new(v1agent.Call)
	if refused := readCall(w, r, agentCallText, call); refused != nil {
		refused.respond(w)
		return
	}
	if err := validateOperatorCall(call); err != nil {
		badRequest("Failed to validate agent::Call: " + err.Error()).respond(w)
		return
	}
	if !a.implements(call.GetType()) {
		status(http.StatusNotImplemented).respond(w)
		return
	}
	mediaType, ok := acceptable(r)
	if !ok {
		answer := Answer{Status: http.StatusNotAcceptable}
		answer.Body = "Expecting 'Accept' to allow application/json or application/x-protobuf or application/recordio"
		if accepts(r, "application/recordio") {
			answer.Body = "Streaming response is not supported for " + call.GetType().String() + " call"
		}
		answer.respond(w)
		return
	}
	switch call.GetType() {
	case v1agent.Call_LIST_FILES, v1agent.Call_READ_FILE:
		a.callFiles(w, r, mediaType, call)
	case v1agent.Call_GET_HEALTH, v1agent.Call_GET_FLAGS, v1agent.Call_GET_VERSION, v1agent.Call_GET_METRICS:
		respondMessage(w, r, mediaType, a.callSelf(r, call))
	case v1agent.Call_GET_CONTAINERS:
		a.callContainers(w, r, mediaType)
	default:
		a.callState(w, r, mediaType, call)
	}
}

// implements tells whether this version has a call.
func (a *agent) implements(callType v1agent.Call_Type) bool {
	switch callType {
	case v1agent.Call_LIST_FILES, v1agent.Call_READ_FILE, v1agent.Call_GET_HEALTH, v1agent.Call_GET_FLAGS,
		v1agent.Call_GET_VERSION, v1agent.Call_GET_METRICS, v1agent.Call_GET_CONTAINERS:
		return true
	}
	_, ok := stateAnswers[callType]
	return ok
}

// callSelf answers the calls about this process.
func (a *agent) callSelf(r *http.Request, call *v1agent.Call) *v1agent.Response {
	switch call.GetType() {
	case v1agent.Call_GET_FLAGS:
		return &v1agent.Response{
			Type:     v1agent.Response_GET_FLAGS.Enum(),
			GetFlags: &v1agent.Response_GetFlags{Flags: protoFlags(a.Flags())},
		}
	case v1agent.Call_GET_VERSION:
		return &v1agent.Response{
			Type:       v1agent.Response_GET_VERSION.Enum(),
			GetVersion: &v1agent.Response_GetVersion{VersionInfo: a.Build.proto()},
		}
	case v1agent.Call_GET_METRICS:
		return &v1agent.Response{
			Type:       v1agent.Response_GET_METRICS.Enum(),
			GetMetrics: &v1agent.Response_GetMetrics{Metrics: protoMetrics(a.Metrics(r.Context()))},
		}
	}
	return &v1agent.Response{
		Type:      v1agent.Response_GET_HEALTH.Enum(),
		GetHealth: &v1agent.Response_GetHealth{Healthy: proto.Bool(true)},
	}
}

func (a *agent) callFiles(w http.ResponseWriter, r *http.Request, t mesos.MediaType, call *v1agent.Call) {
	if call.GetType() == v1agent.Call_LIST_FILES {
		infos, refused := a.Files.infos(call.GetListFiles().GetPath())
		if refused != nil {
			refused.respond(w)
			return
		}
		respondMessage(w, r, t, &v1agent.Response{
			Type:      v1agent.Response_LIST_FILES.Enum(),
			ListFiles: &v1agent.Response_ListFiles{FileInfos: infos},
		})
		return
	}
	read := call.GetReadFile()
	part, refused := a.Files.readPart(read.GetPath(), read.GetOffset(), read.Length)
	if refused != nil {
		refused.respond(w)
		return
	}
	respondMessage(w, r, t, &v1agent.Response{
		Type:     v1agent.Response_READ_FILE.Enum(),
		ReadFile: &v1agent.Response_ReadFile{Size: proto.Uint64(uint64(part.size)), Data: part.data},
	})
}

// callContainers lists the executor containers (OPR-82).
func (a *agent) callContainers(w http.ResponseWriter, r *http.Request, t mesos.MediaType) {
	list, err := a.Containers.Containers(r.Context())
	if err != nil {
		failed(r, a.Logger, err).respond(w)
		return
	}
	body := new(v1agent.Response_GetContainers)
	for _, c := range list {
		body.Containers = append(body.Containers, &v1agent.Response_GetContainers_Container{
			FrameworkId: c.FrameworkID.Proto(), ExecutorId: c.ExecutorID.Proto(), ExecutorName: proto.String(c.ExecutorName),
			ContainerId: c.Status.GetContainerId(), ContainerStatus: c.Status, ResourceStatistics: c.Statistics,
		})
	}
	respondMessage(w, r, t, &v1agent.Response{Type: v1agent.Response_GET_CONTAINERS.Enum(), GetContainers: body})
}

// stateAnswers are the calls that are answered from the view.
var stateAnswers = map[v1agent.Call_Type]v1agent.Response_Type{
	v1agent.Call_GET_STATE:      v1agent.Response_GET_STATE,
	v1agent.Call_GET_FRAMEWORKS: v1agent.Response_GET_FRAMEWORKS,
	v1agent.Call_GET_EXECUTORS:  v1agent.Response_GET_EXECUTORS,
	v1agent.Call_GET_TASKS:      v1agent.Response_GET_TASKS,
	v1agent.Call_GET_AGENT:      v1agent.Response_GET_AGENT,
}

// callState answers the calls about frameworks, executors and tasks (OPR-80).
func (a *agent) callState(w http.ResponseWriter, r *http.Request, t mesos.MediaType, call *v1agent.Call) {
	view, err := a.State.View(r.Context())
	if err != nil {
		failed(r, a.Logger, err).respond(w)
		return
	}
	kind := stateAnswers[call.GetType()]
	response := &v1agent.Response{Type: kind.Enum()}
	switch kind {
	case v1agent.Response_GET_STATE:
		response.GetState = &v1agent.Response_GetState{
			GetTasks: agentTasks(view), GetExecutors: agentExecutors(view), GetFrameworks: agentFrameworks(view),
		}
	case v1agent.Response_GET_FRAMEWORKS:
		response.GetFrameworks = agentFrameworks(view)
	case v1agent.Response_GET_EXECUTORS:
		response.GetExecutors = agentExecutors(view)
	case v1agent.Response_GET_TASKS:
		response.GetTasks = agentTasks(view)
	case v1agent.Response_GET_AGENT:
		response.GetAgent = &v1agent.Response_GetAgent{AgentInfo: view.Info, DrainConfig: view.Drain}
		if view.Drain != nil {
			response.GetAgent.EstimatedDrainStartTime = &v1.TimeInfo{Nanoseconds: proto.Int64(view.DrainStart.UnixNano())}
		}
		respondMessage(w, r, t, response) // OPR-79
		return
	}
	respondLists(w, r, t, response)
}

func agentFrameworks(view *AgentView) *v1agent.Response_GetFrameworks {
	list := new(v1agent.Response_GetFrameworks)
	for _, f := range view.Frameworks {
		list.Frameworks = append(list.Frameworks, &v1agent.Response_GetFrameworks_Framework{FrameworkInfo: f.Info})
	}
	for _, f := range view.CompletedFrameworks {
		list.CompletedFrameworks = append(list.CompletedFrameworks, &v1agent.Response_GetFrameworks_Framework{FrameworkInfo: f.Info})
	}
	return list
}

func agentExecutors(view *AgentView) *v1agent.Response_GetExecutors {
	list := new(v1agent.Response_GetExecutors)
	view.each(func(e AgentExecutor, completed bool) {
		entry := &v1agent.Response_GetExecutors_Executor{ExecutorInfo: e.Info}
		if completed {
			list.CompletedExecutors = append(list.CompletedExecutors, entry)
		} else {
			list.Executors = append(list.Executors, entry)
		}
	})
	return list
}

func agentTasks(view *AgentView) *v1agent.Response_GetTasks {
	list := new(v1agent.Response_GetTasks)
	view.each(func(e AgentExecutor, _ bool) {
		for _, t := range e.Queued {
			list.QueuedTasks = append(list.QueuedTasks, queuedTask(t, e))
		}
		list.LaunchedTasks = append(list.LaunchedTasks, e.Launched...)
		list.TerminatedTasks = append(list.TerminatedTasks, e.Terminated...)
		list.CompletedTasks = append(list.CompletedTasks, e.Completed...)
	})
	return list
}

// each visits every executor of the view, those of completed frameworks included.
func (view *AgentView) each(visit func(e AgentExecutor, completed bool)) {
	for _, frameworks := range [][]AgentFramework{view.Frameworks, view.CompletedFrameworks} {
		for _, f := range frameworks {
			for _, e := range f.Executors {
				visit(e, false)
			}
			for _, e := range f.CompletedExecutors {
				visit(e, true)
			}
		}
	}
}

// queuedTask shows a task that its executor has not got yet as one in TASK_STAGING (EXE-26).
func queuedTask(t *v1.TaskInfo, e AgentExecutor) *v1.Task {
	task := &v1.Task{
		Name: t.Name, TaskId: t.TaskId, FrameworkId: e.Info.GetFrameworkId(), AgentId: t.AgentId,
		State: v1.TaskState_TASK_STAGING.Enum(), Resources: t.Resources, Labels: t.Labels, Discovery: t.Discovery,
		Container: t.Container, HealthCheck: t.HealthCheck, KillPolicy: t.KillPolicy, Limits: t.Limits,
	}
	if t.Executor != nil {
		task.ExecutorId = t.Executor.ExecutorId
	}
	return task
}
