//go:build linux && cgo

// Process 1 of a container. The program is re-executed by libcontainer's init
// as the last step; this runs before the Go runtime starts and never returns,
// so the process costs some hundred kilobytes and about a millisecond. It
// starts the task in a session of its own, reaps orphans, passes signals on
// and reports the task's wait status to the shim. It ends, and with it every
// process of the PID namespace, when the task or the shim has ended.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// The socket to the shim (init_linux.go).
#define SHIM_FD 3
#define FAILED 1

static const char default_path[] =
	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct task {
	char *path;
	char *dir;
	char **argv;
	char **envp;
};

static void die(const char *what)
{
	dprintf(STDERR_FILENO, "container init: %s: %s\n", what, strerror(errno));
	_exit(FAILED);
}

static void read_all(void *buf, size_t n)
{
	char *p = buf;

	while (n > 0) {
		ssize_t r = read(SHIM_FD, p, n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			_exit(FAILED); // the shim is gone
		p += r;
		n -= (size_t)r;
	}
}

// strings splits n NUL-terminated strings off *p and returns them as a vector.
static char **strings(char **p, const char *end, uint32_t n)
{
	char **v = calloc((size_t)n + 1, sizeof(*v));

	if (v == NULL)
		die("allocate");
	for (uint32_t i = 0; i < n; i++) {
		char *nul = memchr(*p, 0, (size_t)(end - *p));
		if (nul == NULL) {
			errno = EPROTO;
			die("read task");
		}
		v[i] = *p;
		*p = nul + 1;
	}
	return v;
}

// read_task reads: size of what follows, number of arguments, number of
// environment variables (each 4 bytes of this machine), then the executable,
// the working directory, the arguments and the environment.
static void read_task(struct task *t)
{
	uint32_t head[3];
	char *data, *p, **names;

	read_all(head, sizeof(head));
	data = malloc((size_t)head[0] + 1);
	if (data == NULL)
		die("allocate");
	read_all(data, head[0]);
	p = data;
	names = strings(&p, data + head[0], 2);
	t->path = names[0];
	t->dir = names[1];
	t->argv = strings(&p, data + head[0], head[1]);
	t->envp = strings(&p, data + head[0], head[2]);
}

// is_elf tells a program for another machine from a script without "#!".
static int is_elf(const char *path)
{
	char magic[4] = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 1; // unreadable: no shell could run it either
	ssize_t n = read(fd, magic, sizeof(magic));
	close(fd);
	return n == 4 && memcmp(magic, "\177ELF", 4) == 0;
}

static void execute(const char *path, const struct task *t)
{
	execve(path, t->argv, t->envp);
	int err = errno;
	if (err != ENOEXEC || is_elf(path)) {
		errno = err;
		return;
	}
	// As execvp does: a script without "#!" is one of the shell.
	size_t argc = 0;
	while (t->argv[argc] != NULL)
		argc++;
	char **argv = calloc(argc + 3, sizeof(*argv));
	if (argv == NULL)
		return;
	argv[0] = "sh";
	argv[1] = (char *)path;
	for (size_t i = 1; i < argc; i++)
		argv[i + 1] = t->argv[i];
	execve("/bin/sh", argv, t->envp);
	free(argv);
	errno = ENOEXEC;
}

// execute_in tries dir/name; it returns only if that did not start.
static void execute_in(const char *dir, size_t len, const struct task *t)
{
	char *full = NULL;

	if (asprintf(&full, "%.*s%s%s", (int)len, dir, len > 0 ? "/" : "./", t->path) < 0) {
		errno = ENOMEM;
		return;
	}
	execute(full, t);
	int saved = errno;
	free(full);
	errno = saved;
}

// search looks for a name without a slash in the task's PATH, then in the
// working directory (EXE-45).
static void search(const struct task *t)
{
	const char *path = default_path;
	int denied = 0;

	for (char **e = t->envp; *e != NULL; e++)
		if (strncmp(*e, "PATH=", 5) == 0)
			path = *e + 5;
	for (;;) {
		size_t len = strcspn(path, ":");
		execute_in(path, len, t);
		if (errno == EACCES)
			denied = 1;
		else if (errno != ENOENT && errno != ENOTDIR)
			return;
		if (path[len] == '\0')
			break;
		path += len + 1;
	}
	execute_in("", 0, t);
	if (errno == ENOENT && denied)
		errno = EACCES;
}

static void run_task(const struct task *t)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL); // SIGKILL and SIGSTOP refuse: they are default
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(022);
	if (setsid() < 0)
		die("new session");
	// Ours was opened in the host's mount namespace.
	int null = open("/dev/null", O_RDONLY);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		die("open /dev/null");
	if (null != STDIN_FILENO)
		close(null);
	if (chdir(t->dir) < 0) {
		dprintf(STDERR_FILENO, "Failed to enter '%s': %s\n", t->dir, strerror(errno));
		_exit(FAILED);
	}
	if (t->path[0] == '\0')
		errno = ENOENT;
	else if (strchr(t->path, '/') != NULL)
		execute(t->path, t);
	else
		search(t);
	dprintf(STDERR_FILENO, "Failed to execute '%s': %s\n", t->path, strerror(errno));
	_exit(FAILED);
}

// reap takes all ended children; when the task is one of them its status goes
// to the shim and everything else in the namespace ends with us.
static void reap(pid_t task)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			return;
		if (pid != task || !(WIFEXITED(status) || WIFSIGNALED(status)))
			continue;
		int32_t report = status;
		if (write(SHIM_FD, &report, sizeof(report)) != sizeof(report))
			_exit(FAILED); // the shim is gone: nobody is left to tell
		_exit(0);
	}
}

static void serve(pid_t task, int signals)
{
	struct pollfd fds[2] = {
		{.fd = signals, .events = POLLIN},
		{.fd = SHIM_FD, .events = POLLIN},
	};

	reap(task); // it may have ended before its end could be seen as a signal
	for (;;) {
		struct signalfd_siginfo info;

		if (poll(fds, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			die("poll");
		}
		if (fds[1].revents != 0)
			_exit(FAILED); // the shim is gone
		if (fds[0].revents == 0)
			continue;
		if (read(signals, &info, sizeof(info)) != sizeof(info))
			continue;
		if (info.ssi_signo == SIGCHLD)
			reap(task);
		else
			kill(task, (int)info.ssi_signo); // ISO-121
	}
}

// The mark is in the environment that libcontainer's init execs us with; the
// task's own comes through the socket, so it is exactly what was asked for and
// cannot influence how we are loaded.
__attribute__((constructor(101))) static void container_init(void)
{
	struct task task;
	sigset_t all;

	if (getpid() != 1 || getenv("_CLUSTERD_INIT") == NULL)
		return;
	prctl(PR_SET_NAME, "clusterd-init");
	// The sandbox and its file system must not hang on us.
	if (chdir("/") < 0)
		die("chdir");
	// The task may run as the same user: it must not trace us or take our socket.
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || fcntl(SHIM_FD, F_SETFD, FD_CLOEXEC) < 0)
		die("protect init");
	read_task(&task);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	int signals = signalfd(-1, &all, SFD_CLOEXEC);
	if (signals < 0)
		die("signalfd");
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		run_task(&task);
	serve(pid, signals);
}
