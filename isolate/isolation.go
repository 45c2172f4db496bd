package isolate

// Isolation says what a [Runtime] enforces on this machine.
type Isolation struct {
	// Containers: processes get their own mount, PID, IPC and UTS
	// namespaces. False means plain processes.
	Containers bool
	// Cgroups is "v1", "v2" or "" for none.
	Cgroups string
	// Mechanisms name what enforces each resource, for example
	// "cgroups/cpu", "posix/mem" (ISO-14 names).
	Mechanisms []string
	// Missing lists what is not enforced and why.
	Missing []Missing
}

// Missing is one thing that is not enforced.
type Missing struct {
	What string // for example "memory limit"
	Why  string // for example "not running as root"
}

// oomScoreAdj is what makes the kernel prefer a container that may use more
// than it asked for when the machine runs out of memory (ISO-70): 0 unless the
// bound is above the request.
func (r *Runtime) oomScoreAdj(l Limits) int {
	if l.MemorySoftBytes <= 0 || r.memoryBytes <= 0 || (l.MemoryHardBytes > 0 && l.MemoryHardBytes <= l.MemorySoftBytes) {
		return 0
	}
	return int(max(1000-1000*l.MemorySoftBytes/r.memoryBytes, 0))
}
