package node

import (
	"fmt"

	"clusterd/ui"
)

// problems are the known conditions of this node that an operator should know about, worst first.
// Each is declared once, here: code, severity, text and what to do.
func (n *Node) problems() []ui.Problem {
	var out []ui.Problem
	if total, free := diskUsage(n.config.DataDir); total > 0 && float64(free) < 0.05*float64(total) {
		out = append(out, ui.Problem{
			Code: "disk-nearly-full", Severity: "error",
			Text: fmt.Sprintf("The disk below %s has %d MB left.", n.config.DataDir, free>>20),
			Do:   "Free space or lower --gc-delay: without space the registry and the agent stop.",
		})
	}
	for _, m := range n.Isolation().Missing {
		out = append(out, ui.Problem{
			Code: "isolation-missing", Severity: "warning",
			Text: fmt.Sprintf("Tasks on this node run without %s: %s.", m.What, m.Why),
			Do:   "Run clusterd as root on a kernel with cgroups, or give it no untrusted tasks.",
		})
	}
	return out
}
