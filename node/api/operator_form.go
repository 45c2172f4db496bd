package api

import (
	"net/http"
	"net/url"
	"time"

	"clusterd/node/mesos"
)

// readForm reads the form of a POST endpoint that takes no calls. It answers requests that have none, and
// those that another site's page makes a browser send: a form needs no permission to cross sites.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	if r.Method != http.MethodPost {
		refuseMethod(w, r, http.MethodPost).respond(w)
		return nil, false
	}
	if err := new(http.CrossOriginProtection).Check(r); err != nil {
		Answer{Status: http.StatusForbidden, Body: err.Error()}.respond(w)
		return nil, false
	}
	body, refused := readBody(w, r)
	if refused != nil {
		refused.respond(w)
		return nil, false
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		badRequest("Unable to decode query string: " + err.Error()).respond(w)
		return nil, false
	}
	return form, true
}

// required returns a value of a form, or answers the request that lacks it.
func required(w http.ResponseWriter, form url.Values, name string) (string, bool) {
	if !form.Has(name) {
		badRequest("Missing '" + name + "' query parameter in the request body").respond(w)
		return "", false
	}
	return form.Get(name), true
}

// teardown serves the older form of the operator call TEARDOWN (OPR-125).
func (m *master) teardown(w http.ResponseWriter, r *http.Request) {
	form, ok := readForm(w, r)
	if !ok {
		return
	}
	if id, ok := required(w, form, "frameworkId"); ok {
		m.tearDown(w, r, mesos.FrameworkID(id))
	}
}

func (m *master) tearDown(w http.ResponseWriter, r *http.Request, id mesos.FrameworkID) {
	answer, err := m.Operator.Teardown(r.Context(), "", id)
	if err != nil {
		answer = failed(r, m.Logger, err)
	}
	answer.respond(w)
}

// kill serves POST /kill with frameworkId, taskId and, optionally, gracePeriod such as "5secs". Mesos has
// nothing like it: there only the framework can kill its tasks.
func (m *master) kill(w http.ResponseWriter, r *http.Request) {
	form, ok := readForm(w, r)
	if !ok {
		return
	}
	framework, ok := required(w, form, "frameworkId")
	if !ok {
		return
	}
	task, ok := required(w, form, "taskId")
	if !ok {
		return
	}
	grace := time.Duration(-1)
	if form.Has("gracePeriod") {
		var err error
		if grace, err = mesos.ParseDuration(form.Get("gracePeriod")); err != nil {
			badRequest("Invalid 'gracePeriod': " + err.Error()).respond(w)
			return
		}
		if grace < 0 {
			badRequest("Invalid 'gracePeriod': it must not be negative").respond(w)
			return
		}
	}
	answer, err := m.Operator.Kill(r.Context(), "", mesos.FrameworkID(framework), mesos.TaskID(task), grace)
	if err != nil {
		answer = failed(r, m.Logger, err)
	}
	answer.respond(w)
}
