package ui

import (
	"encoding/json"
	"mime"
	"net/http"
)

// serveKill asks for a task to be killed: {"framework":"...","task":"..."}.
// Only a page of this node may do it: a form or a script of another site can
// send neither our origin nor JSON.
func (h *Hub) serveKill(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if !sameOrigin(r) || r.Header.Get("Sec-Fetch-Site") == "cross-site" || r.Header.Get("Sec-Fetch-Site") == "same-site" {
		reply(w, http.StatusForbidden, "the request comes from another site")
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		reply(w, http.StatusUnsupportedMediaType, "the content type must be application/json")
		return
	}
	var in struct {
		Framework string `json:"framework"`
		Task      string `json:"task"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCallBytes)).Decode(&in); err != nil {
		reply(w, http.StatusBadRequest, "the body must be JSON: "+err.Error())
		return
	}
	if in.Framework == "" || in.Task == "" {
		reply(w, http.StatusBadRequest, "framework and task are needed")
		return
	}
	if err := h.source.Kill(r.Context(), in.Framework, in.Task); err != nil {
		reply(w, statusOf(err), err.Error())
		return
	}
	h.log.Info("a task is to be killed, asked for on the dashboard", "framework_id", in.Framework, "task_id", in.Task)
	reply(w, http.StatusAccepted, "")
}

// reply answers with JSON: {} or {"error":"..."}.
func reply(w http.ResponseWriter, status int, text string) {
	out := map[string]string{}
	if text != "" {
		out["error"] = text
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// An error here is the browser going away; there is nobody to tell.
	_, _ = w.Write(encode(out))
}
