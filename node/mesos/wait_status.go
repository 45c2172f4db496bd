package mesos

import (
	"strconv"
	"syscall"
)

// WaitStatusText says how a process ended, from its raw wait status: "exited with status 3",
// "terminated with signal Segmentation fault (core dumped)". Status texts are made of it (EXE-59).
func WaitStatusText(status int) string {
	signal := status & 0x7f
	if signal == 0 {
		return "exited with status " + strconv.Itoa(status>>8&0xff)
	}
	text := "terminated with signal " + SignalText(signal)
	if status&0x80 != 0 {
		text += " (core dumped)"
	}
	return text
}

// SignalText names a signal as strsignal(3) of the GNU C library does.
func SignalText(signal int) string {
	if text, ok := signalTexts[syscall.Signal(signal)]; ok {
		return text
	}
	const firstRealtime, lastRealtime = 34, 64
	if firstRealtime <= signal && signal <= lastRealtime {
		return "Real-time signal " + strconv.Itoa(signal-firstRealtime)
	}
	return "Unknown signal " + strconv.Itoa(signal)
}

// The numbers differ between systems, the names do not.
var signalTexts = map[syscall.Signal]string{
	syscall.SIGHUP:    "Hangup",
	syscall.SIGINT:    "Interrupt",
	syscall.SIGQUIT:   "Quit",
	syscall.SIGILL:    "Illegal instruction",
	syscall.SIGTRAP:   "Trace/breakpoint trap",
	syscall.SIGABRT:   "Aborted",
	syscall.SIGBUS:    "Bus error",
	syscall.SIGFPE:    "Floating point exception",
	syscall.SIGKILL:   "Killed",
	syscall.SIGUSR1:   "User defined signal 1",
	syscall.SIGSEGV:   "Segmentation fault",
	syscall.SIGUSR2:   "User defined signal 2",
	syscall.SIGPIPE:   "Broken pipe",
	syscall.SIGALRM:   "Alarm clock",
	syscall.SIGTERM:   "Terminated",
	syscall.SIGCHLD:   "Child exited",
	syscall.SIGCONT:   "Continued",
	syscall.SIGSTOP:   "Stopped (signal)",
	syscall.SIGTSTP:   "Stopped",
	syscall.SIGTTIN:   "Stopped (tty input)",
	syscall.SIGTTOU:   "Stopped (tty output)",
	syscall.SIGURG:    "Urgent I/O condition",
	syscall.SIGXCPU:   "CPU time limit exceeded",
	syscall.SIGXFSZ:   "File size limit exceeded",
	syscall.SIGVTALRM: "Virtual timer expired",
	syscall.SIGPROF:   "Profiling timer expired",
	syscall.SIGWINCH:  "Window changed",
	syscall.SIGIO:     "I/O possible",
	syscall.SIGSYS:    "Bad system call",
}
