package ui

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// reasonTexts say what a reason of a status update means, where the message
// adds nothing that an operator needs.
var reasonTexts = map[string]string{
	"REASON_AGENT_DISCONNECTED":              "the agent lost its connection before it could start the task",
	"REASON_AGENT_DRAINING":                  "the agent is being drained",
	"REASON_AGENT_REMOVED":                   "the agent was removed",
	"REASON_AGENT_REMOVED_BY_OPERATOR":       "an operator marked the agent as gone",
	"REASON_AGENT_RESTARTED":                 "the agent restarted and did not find the task again",
	"REASON_AGENT_REREGISTERED":              "the agent came back without the task",
	"REASON_AGENT_UNKNOWN":                   "the master does not know the agent",
	"REASON_CONTAINER_PREEMPTED":             "its resources were taken back for a task with more right to them",
	"REASON_CONTAINER_UPDATE_FAILED":         "the limits of its container could not be changed",
	"REASON_EXECUTOR_REGISTRATION_TIMEOUT":   "its executor did not subscribe in time",
	"REASON_EXECUTOR_REREGISTRATION_TIMEOUT": "its executor did not come back in time after the agent restarted",
	"REASON_EXECUTOR_UNREGISTERED":           "its executor had gone before the task was started",
	"REASON_FRAMEWORK_REMOVED":               "its framework was removed",
	"REASON_INVALID_OFFERS":                  "the offer it was launched on was no longer valid",
	"REASON_MAX_COMPLETION_TIME_REACHED":     "it ran longer than the completion time it was given",
	"REASON_RESOURCES_UNKNOWN":               "the agent does not have the resources that it was given",
	"REASON_TASK_KILLED_DURING_LAUNCH":       "it was killed before it started",
	"REASON_TASK_UNAUTHORIZED":               "its framework may not launch it",
}

var (
	memoryUse  = regexp.MustCompile(`Memory limit exceeded: Requested: (\d+(?:\.\d+)?)\s?([KMGT]?B) Maximum Used: (\d+(?:\.\d+)?)\s?([KMGT]?B)`)
	exitStatus = regexp.MustCompile(`(?:Command|Container) exited with status (\d+)`)
	endSignal  = regexp.MustCompile(`(?:Command|Container) terminated with signal ([A-Za-z][A-Za-z ]*)`)
)

// exitHints say what shells and runtimes mean by these exit codes.
var exitHints = map[string]string{
	"126": " (found, but not executable)",
	"127": " (command not found)",
	"137": " (ended by signal 9, Killed)",
	"139": " (ended by signal 11, Segmentation fault)",
	"143": " (ended by signal 15, Terminated)",
}

// explain says in one sentence why the task is in the state it is in, from the
// reason and the message of its last status. Host is the agent's host name and
// may be empty. A task that just runs or has just finished needs no words.
func explain(t *Task, host string) string {
	var s Status
	if n := len(t.Statuses); n > 0 {
		s = t.Statuses[n-1]
	}
	if host == "" {
		host = "its agent"
	}
	switch t.State {
	case "TASK_STAGING":
		return "Waiting for " + host + " to start it."
	case "TASK_STARTING":
		return "Its executor has it and has not said yet that it runs."
	case "TASK_RUNNING":
		if t.Healthy != nil && !*t.Healthy {
			return sentence("Running, but its health check fails", detail(s.Message))
		}
		return ""
	case "TASK_KILLING":
		return "Asked to end; when its grace period is over it will be killed."
	case "TASK_FINISHED":
		return ""
	case "TASK_UNREACHABLE":
		return "The master has lost " + host + "; the task may still be running there."
	case "TASK_UNKNOWN":
		return "The master does not know what became of it."
	case "TASK_KILLED":
		return explainKilled(s)
	case "TASK_ERROR":
		return sentence("Refused", detail(s.Message, reason(s.Reason)))
	case "TASK_GONE", "TASK_GONE_BY_OPERATOR":
		return sentence("Ended with its agent", detail(reasonTexts[s.Reason], s.Message))
	case "TASK_DROPPED":
		return sentence("Never started", detail(reasonTexts[s.Reason], s.Message, reason(s.Reason)))
	case "TASK_LOST":
		return sentence("Lost", detail(reasonTexts[s.Reason], s.Message, reason(s.Reason)))
	}
	return explainFailed(s)
}

func explainKilled(s Status) string {
	if text, ok := reasonTexts[s.Reason]; ok {
		return sentence("Killed", text)
	}
	if m := endSignal.FindStringSubmatch(s.Message); m != nil && strings.TrimSpace(m[1]) == "Killed" {
		return "Killed on request, by force: it did not end within its grace period."
	}
	return "Killed on request."
}

func explainFailed(s Status) string {
	switch s.Reason {
	case "REASON_CONTAINER_LIMITATION_MEMORY":
		if m := memoryUse.FindStringSubmatch(s.Message); m != nil {
			return fmt.Sprintf("Killed: it used %s %s of its limit of %s %s memory.", m[3], m[4], m[1], m[2])
		}
		return "Killed: it used more memory than its limit."
	case "REASON_CONTAINER_LIMITATION_DISK":
		return sentence("Killed: it used more disk than it asked for", detail(s.Message))
	case "REASON_CONTAINER_LIMITATION":
		return sentence("Killed: it went over a limit of its container", detail(s.Message))
	case "REASON_CONTAINER_LAUNCH_FAILED":
		if strings.Contains(s.Message, "fetch all URIs") {
			return "Never started: its files could not be fetched; its stderr says why."
		}
		return sentence("Never started", detail(strings.TrimPrefix(s.Message, "Failed to launch container: "), "its container could not be made"))
	case "REASON_EXECUTOR_TERMINATED":
		return sentence("Its executor ended before the task", detail(strings.TrimPrefix(s.Message, "Abnormal executor termination: ")))
	}
	if text, ok := reasonTexts[s.Reason]; ok {
		return sentence("Failed", text)
	}
	if m := exitStatus.FindStringSubmatch(s.Message); m != nil {
		return "Failed: the command exited with status " + m[1] + exitHints[m[1]] + "."
	}
	if m := endSignal.FindStringSubmatch(s.Message); m != nil {
		return "Failed: the command was ended by the signal " + strings.TrimSpace(m[1]) + "."
	}
	return sentence("Failed", detail(s.Message, reason(s.Reason), "no reason was given"))
}

// sentence joins what happened and why.
func sentence(what, why string) string {
	if why == "" {
		return what + "."
	}
	return what + ": " + strings.TrimRight(why, ". ") + "."
}

const maxDetailRunes = 200

// detail is the first line of the first text that has one, kept short.
func detail(texts ...string) string {
	for _, text := range texts {
		line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
		line = strings.TrimSpace(line)
		if utf8.RuneCountInString(line) > maxDetailRunes {
			line = string([]rune(line)[:maxDetailRunes]) + "…"
		}
		if line != "" {
			return line
		}
	}
	return ""
}

// reason turns REASON_GC_ERROR into words.
func reason(name string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "REASON_"), "_", " "))
}
