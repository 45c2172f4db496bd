// Package executor is the built-in command executor: it runs one command task and reports it to the
// agent over the v1 executor API, as any executor would.
//
// It runs inside the shim beside the task's container, on the host and outside of the task's
// namespaces and output files, so it has to be small. [Run] is the shell: two HTTP connections to
// the agent, one [Process], one loop. The core that the loop steps is pure: what it learns is an
// event, what it wants done an effect, and time is a parameter.
//
// # Life
//
// Subscribe; LAUNCH; TASK_STARTING; start the process; TASK_RUNNING; wait for it; terminal update;
// end when the agent has acknowledged that (EXE-58 to EXE-70). A container that hit a limit is
// the agent's to report: then no terminal update is sent.
//
// # Nothing is lost
//
// An update is kept until the agent acknowledges it, and repeated with the next SUBSCRIBE. Without
// checkpointing the executor ends with its task when the agent is gone; with it, it waits for a
// new agent for MESOS_RECOVERY_TIMEOUT, while the task goes on (EXE-147, EXE-156).
package executor
