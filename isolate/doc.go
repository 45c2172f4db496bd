// Package isolate runs containers and knows what became of them.
//
// A container is a sandbox directory, a set of limits and the processes in it.
// [Runtime.Launch] re-executes this program as the container's shim: a small
// process in a session of its own that survives the daemon. The shim starts
// the container's first process (with libcontainer where the machine allows
// it, else as a plain process), waits for it, ends all that it left behind and
// writes the exit record. The daemon learns of the end by waiting for the
// shim; a daemon that was restarted finds its containers again with
// [Runtime.Containers].
//
// # Who owns what
//
// The daemon makes and removes cgroups and state directories. The shim owns
// the container's processes and the exit record. A shim that dies takes its
// container along: the container's init holds a socket to the shim and ends
// when that closes. A shim that has not been told what to run (because the
// daemon died while starting it) ends by itself.
//
// # State on disk
//
//	<StateDir>/
//	  rootfs/               mount point of the host's file system (empty on the host)
//	  <container id>/
//	    shim                shim pid, its start time, boot id, sandbox, limits
//	    task                the first process (plain processes only)
//	    exit                the exit record: written aside, synced, renamed
//	    runc/<container id>/ libcontainer's own state
//
// A directory without a shim record is a launch that did not come to its end;
// [Open] removes what it left. Environments are never written to disk: they
// may hold secrets.
//
// # Cgroups
//
// Version 1: shim and task share <hierarchy>/<CgroupRoot>/<container id> in the
// hierarchies cpu, cpuacct, memory, pids and freezer; the shim joins before it
// is told what to run and everything below inherits, so nothing is ever
// outside its limits. Version 2: <CgroupRoot>/<container id> carries the
// limits, its children shim and task the processes.
//
// Without root, cgroups or namespaces, and off Linux, containers are plain
// process trees: nothing is enforced, usage is still measured, and
// [Runtime.Isolation] names what is missing.
package isolate
