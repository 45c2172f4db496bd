package api

import (
	"net/http"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1master"

	"google.golang.org/protobuf/proto"
)

// call serves POST /api/v1 (OPR-25).
func (m *master) call(w http.ResponseWriter, r *http.Request) {
	call := new(v1master.Call)
	if refused := readCall(w, r, frameworkCallText, call); refused != nil {
		refused.respond(w)
		return
	}
	if err := validateOperatorCall(call); err != nil {
		badRequest("Failed to validate master::Call: " + err.Error()).respond(w)
		return
	}
	if !m.implements(call.GetType()) {
		status(http.StatusNotImplemented).respond(w)
		return
	}
	mediaType, ok := acceptable(r)
	if !ok {
		notAcceptable.respond(w)
		return
	}
	switch call.GetType() {
	case v1master.Call_TEARDOWN:
		m.tearDown(w, r, mesos.FrameworkID(call.GetTeardown().GetFrameworkId().GetValue()))
	case v1master.Call_DRAIN_AGENT, v1master.Call_DEACTIVATE_AGENT, v1master.Call_REACTIVATE_AGENT, v1master.Call_MARK_AGENT_GONE:
		m.changeAgent(w, r, call)
	case v1master.Call_LIST_FILES, v1master.Call_READ_FILE:
		m.callFiles(w, r, mediaType, call)
	case v1master.Call_GET_HEALTH, v1master.Call_GET_FLAGS, v1master.Call_GET_VERSION, v1master.Call_GET_METRICS:
		respondMessage(w, r, mediaType, m.callSelf(r, call))
	default:
		m.callState(w, r, mediaType, call)
	}
}

// implements tells whether this version has a call; OPR-26: UNKNOWN is none.
func (m *master) implements(callType v1master.Call_Type) bool {
	switch callType {
	case v1master.Call_TEARDOWN, v1master.Call_DRAIN_AGENT, v1master.Call_DEACTIVATE_AGENT, v1master.Call_REACTIVATE_AGENT,
		v1master.Call_MARK_AGENT_GONE, v1master.Call_LIST_FILES, v1master.Call_READ_FILE, v1master.Call_GET_HEALTH,
		v1master.Call_GET_FLAGS, v1master.Call_GET_VERSION, v1master.Call_GET_METRICS:
		return true
	}
	_, ok := stateResponses[callType]
	return ok
}

// callSelf answers the calls about this process.
func (m *master) callSelf(r *http.Request, call *v1master.Call) *v1master.Response {
	switch call.GetType() {
	case v1master.Call_GET_FLAGS:
		return &v1master.Response{
			Type:     v1master.Response_GET_FLAGS.Enum(),
			GetFlags: &v1master.Response_GetFlags{Flags: protoFlags(m.Flags())},
		}
	case v1master.Call_GET_VERSION:
		return &v1master.Response{
			Type:       v1master.Response_GET_VERSION.Enum(),
			GetVersion: &v1master.Response_GetVersion{VersionInfo: m.Build.proto()},
		}
	case v1master.Call_GET_METRICS:
		return &v1master.Response{
			Type:       v1master.Response_GET_METRICS.Enum(),
			GetMetrics: &v1master.Response_GetMetrics{Metrics: protoMetrics(m.Metrics(r.Context()))},
		}
	}
	return &v1master.Response{
		Type:      v1master.Response_GET_HEALTH.Enum(),
		GetHealth: &v1master.Response_GetHealth{Healthy: proto.Bool(true)},
	}
}

func (m *master) callFiles(w http.ResponseWriter, r *http.Request, t mesos.MediaType, call *v1master.Call) {
	if call.GetType() == v1master.Call_LIST_FILES {
		infos, refused := m.Files.infos(call.GetListFiles().GetPath())
		if refused != nil {
			refused.respond(w)
			return
		}
		respondMessage(w, r, t, &v1master.Response{
			Type:      v1master.Response_LIST_FILES.Enum(),
			ListFiles: &v1master.Response_ListFiles{FileInfos: infos},
		})
		return
	}
	read := call.GetReadFile()
	part, refused := m.Files.readPart(read.GetPath(), read.GetOffset(), read.Length)
	if refused != nil {
		refused.respond(w)
		return
	}
	respondMessage(w, r, t, &v1master.Response{
		Type:     v1master.Response_READ_FILE.Enum(),
		ReadFile: &v1master.Response_ReadFile{Size: proto.Uint64(uint64(part.size)), Data: part.data},
	})
}

// callState answers the calls about the cluster.
func (m *master) callState(w http.ResponseWriter, r *http.Request, t mesos.MediaType, call *v1master.Call) {
	view, err := m.State.View(r.Context())
	if err != nil {
		failed(r, m.Logger, err).respond(w)
		return
	}
	kind := stateResponses[call.GetType()]
	response := &v1master.Response{Type: kind.Enum()}
	state := view.State
	switch kind {
	case v1master.Response_GET_STATE:
		response.GetState = &v1master.Response_GetState{
			GetTasks: orEmpty(state.GetTasks), GetExecutors: orEmpty(state.GetExecutors),
			GetFrameworks: operatorFrameworks(state.GetFrameworks), GetAgents: operatorAgents(state.GetAgents),
		}
	case v1master.Response_GET_AGENTS:
		response.GetAgents = operatorAgents(state.GetAgents)
	case v1master.Response_GET_FRAMEWORKS:
		response.GetFrameworks = operatorFrameworks(state.GetFrameworks)
	case v1master.Response_GET_EXECUTORS:
		response.GetExecutors = orEmpty(state.GetExecutors)
	case v1master.Response_GET_TASKS:
		response.GetTasks = orEmpty(state.GetTasks)
	case v1master.Response_GET_ROLES:
		response.GetRoles = &v1master.Response_GetRoles{Roles: protoRoles(view)}
		respondMessage(w, r, t, response)
		return
	case v1master.Response_GET_MASTER:
		response.GetMaster = &v1master.Response_GetMaster{
			MasterInfo: view.Info, StartTime: proto.Float64(unixSeconds(view.Started)),
		}
		if !view.Elected.IsZero() {
			response.GetMaster.ElectedTime = proto.Float64(unixSeconds(view.Elected))
		}
		respondMessage(w, r, t, response)
		return
	}
	respondLists(w, r, t, response)
}

// stateResponses are the calls that are answered from the view.
var stateResponses = map[v1master.Call_Type]v1master.Response_Type{
	v1master.Call_GET_STATE:      v1master.Response_GET_STATE,
	v1master.Call_GET_AGENTS:     v1master.Response_GET_AGENTS,
	v1master.Call_GET_FRAMEWORKS: v1master.Response_GET_FRAMEWORKS,
	v1master.Call_GET_EXECUTORS:  v1master.Response_GET_EXECUTORS,
	v1master.Call_GET_TASKS:      v1master.Response_GET_TASKS,
	v1master.Call_GET_ROLES:      v1master.Response_GET_ROLES,
	v1master.Call_GET_MASTER:     v1master.Response_GET_MASTER,
}

// orEmpty lets a message that is not there be shown with empty lists.
func orEmpty[M any](m *M) *M {
	if m == nil {
		return new(M)
	}
	return m
}

// operatorAgents copies agents with their resources in both forms (OPR-39); the view is not changed.
func operatorAgents(list *v1master.Response_GetAgents) *v1master.Response_GetAgents {
	out := &v1master.Response_GetAgents{RecoveredAgents: list.GetRecoveredAgents()}
	for _, a := range list.GetAgents() {
		out.Agents = append(out.Agents, &v1master.Response_GetAgents_Agent{
			AgentInfo: a.AgentInfo, Active: a.Active, Deactivated: a.Deactivated, Version: a.Version, Pid: a.Pid,
			RegisteredTime: a.RegisteredTime, ReregisteredTime: a.ReregisteredTime,
			TotalResources:     allBothForms(a.TotalResources),
			AllocatedResources: allBothForms(a.AllocatedResources),
			OfferedResources:   allBothForms(a.OfferedResources),
			Capabilities:       a.Capabilities, ResourceProviders: a.ResourceProviders,
			DrainInfo: a.DrainInfo, EstimatedDrainStartTime: a.EstimatedDrainStartTime,
		})
	}
	return out
}

// operatorFrameworks does the same for frameworks (OPR-40).
func operatorFrameworks(list *v1master.Response_GetFrameworks) *v1master.Response_GetFrameworks {
	return &v1master.Response_GetFrameworks{
		Frameworks:          copyFrameworks(list.GetFrameworks()),
		CompletedFrameworks: copyFrameworks(list.GetCompletedFrameworks()),
	}
}

func copyFrameworks(list []*v1master.Response_GetFrameworks_Framework) []*v1master.Response_GetFrameworks_Framework {
	out := make([]*v1master.Response_GetFrameworks_Framework, 0, len(list))
	for _, f := range list {
		out = append(out, &v1master.Response_GetFrameworks_Framework{
			FrameworkInfo: f.FrameworkInfo, Active: f.Active, Connected: f.Connected, Recovered: f.Recovered,
			RegisteredTime: f.RegisteredTime, ReregisteredTime: f.ReregisteredTime, UnregisteredTime: f.UnregisteredTime,
			Offers: f.Offers, InverseOffers: f.InverseOffers,
			AllocatedResources: allBothForms(f.AllocatedResources), OfferedResources: allBothForms(f.OfferedResources),
			OfferConstraints: orEmpty(f.OfferConstraints),
		})
	}
	return out
}

// infos lists a directory for LIST_FILES (OPR-36).
func (f *Files) infos(virtual string) ([]*v1.FileInfo, *Answer) {
	entries, err := f.list(virtual)
	if err != nil {
		a := filesAnswer(virtual, err)
		return nil, &a
	}
	owners := make(ownerNames)
	infos := make([]*v1.FileInfo, 0, len(entries))
	for _, e := range entries {
		infos = append(infos, fileStatus(e, owners))
	}
	return infos, nil
}

// readPart reads for READ_FILE (OPR-37).
func (f *Files) readPart(virtual string, offset uint64, length *uint64) (filePart, *Answer) {
	from, count := number64(offset), int64(-1)
	if length != nil {
		count = number64(*length)
	}
	if refused := readFileError("offset", from); refused != nil {
		return filePart{}, refused
	}
	if refused := readFileError("length", count); refused != nil {
		return filePart{}, refused
	}
	part, refused := f.read(virtual, from, count)
	if part.data == nil {
		part.data = []byte{} // The field is required.
	}
	return part, refused
}
