// Package isolate runs containers and knows what became of them.
//
// A container is a sandbox directory, a set of limits and the processes in it.
// [Runtime.Launch] re-executes this program as the container's shim: a small
// process in a session of its own that survives the daemon. Meanwhile the
// daemon has libcontainer make the container: namespaces, cgroups, and a small
// init as process 1 that waits for a task at a socket. The shim holds the other
// end. It tells the init what to run, at once or when its [Supervisor] says so,
// learns the wait status from it, and writes the exit record. The daemon learns
// of the end by waiting for the shim; a daemon that was restarted finds its
// containers again with [Runtime.Containers].
//
// Where the machine allows no containers the shim starts plain processes.
//
// # Who owns what
//
// The daemon makes and removes containers, cgroups and state directories. The
// shim owns the task and the exit record. A shim that dies takes its container
// along: the init ends when its socket closes, and with it every process of
// its PID namespace. A shim that has not been given its order (because the
// daemon died while launching) ends by itself.
//
// # State on disk
//
//	<StateDir>/
//	  .rootfs/          mount point of the host's file system (empty on the host)
//	  .runc/<id>/       libcontainer's state while it starts a container, where
//	                    neither /run nor /dev/shm is in memory
//	  <container id>/
//	    shim            shim pid, its start time, boot id, sandbox, limits
//	    task            the first process (plain processes only)
//	    exit            the exit record: written aside, synced, renamed
//
// A directory without a shim record is a launch that did not come to its end;
// [Open] removes what it left. Environments are never written to disk: they
// may hold secrets.
//
// # Cgroups
//
// Version 1: shim and task share <hierarchy>/<CgroupRoot>/<container id> of cpu,
// cpuacct, memory and pids; the task alone is in that of freezer. Version 2:
// <CgroupRoot>/<container id> carries the limits, its children shim and task
// the processes. The root goes with its last container.
//
// Without root, cgroups or namespaces, and off Linux, containers are plain
// process trees: nothing is enforced, usage is still measured, and
// [Runtime.Isolation] names what is missing.
package isolate
