/* Happy path: supervise() forks; the child sends its sockets, with their addresses, through a pair of sockets; the
 * parent sleeps until a signal, a message or the end of the child.
 *
 * Failure modes: a child that crashes is started again, later each time. Without memory or processes for that the
 * parent tries again after the same time. Sockets that cannot be sent are opened anew by the next child. */

#include "core/program/supervise.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/program/command_line.h"
#include "core/program/crash.h"
#include "core/program/kept_sockets.h"
#include "core/program/log_stream.h"
#include "core/program/program_log.h"
#include "core/sys.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child sends: NEWS_BEGIN, a NEWS_SOCKET with an fd for each socket, NEWS_SERVING; after an upgrade
 * NEWS_REPLACED. */
enum { NEWS_BEGIN = 'b', NEWS_SOCKET = 's', NEWS_SERVING = 'e', NEWS_REPLACED = 'r' };

struct supervise_news {
    char what;
    char address[EVSERVE_ADDRESS_MAX];
};

/* The parent's. */
struct supervisor {
    const struct command_line *options;
    struct kept_sockets kept; /* for the next child */
    struct kept_sockets news; /* those that the child sends, until they are all there */
    bool has_news;            /* it has begun to */
    bool restarts;            /* with --supervise; else this is only process 1 of a container */
    sigset_t signals, before; /* those that it waits for; the mask that the child gets back */
    int signal_fd;
    int news_fd;                 /* from the child; -1 while there is none */
    pid_t child;                 /* 0 while there is none */
    int64_t started_ms, next_ms; /* when the child was started; when the next one will be */
    int64_t delay_ms;            /* before the last start anew; 0: there was none */
    bool is_serving, has_served; /* this child; any */
    bool is_upgrade;             /* another program waits to hear that the first child serves */
    bool is_stopping;            /* it was told to, or another program has taken over */
    sigset_t held;               /* signals for the child that came before it served */
};

/* The child's end of the pair; -1 without --supervise. */
static int supervisor_fd = -1;
static pid_t supervisor_pid;

static int64_t supervise_clock_ms(void)
{
    return sys_now_ns() / 1000000;
}

/* The stream may begin a thread, and nobody forks while there is one: so it exists for one line, which also opens the
 * file of --log again after logrotate has renamed it. */
static void supervise_log(const struct supervisor *supervisor, const char *line)
{
    struct log_stream log;
    char err[EVSERVE_ERROR_MAX];
    log_stream_init(&log, STDERR_FILENO);
    bool is_open = program_log_open(&log, supervisor->options, err, sizeof err) == 0;
    log_stream_release(&log);
    log_stream_write(&log, EVSERVE_LOG_ERROR, line);
    if (!is_open) {
        log_stream_write(&log, EVSERVE_LOG_ERROR, err);
    }
    log_stream_done(&log);
}

/* Sockets. */

/* Nobody is started again. */
static void drop_all_sockets(struct supervisor *supervisor)
{
    kept_sockets_drop(&supervisor->kept);
    kept_sockets_drop(&supervisor->news);
}

/* All of them are there: they take the place of the former ones. */
static void renew_sockets(struct supervisor *supervisor)
{
    if (supervisor->has_news) {
        kept_sockets_drop(&supervisor->kept);
        supervisor->kept = supervisor->news;
        supervisor->news.count = 0;
    }
    supervisor->has_news = false;
}

static int send_news(char what, const struct evs_inherited *socket)
{
    struct supervise_news news = {.what = what};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr head; /* for its alignment */
    } control = {{0}};
    struct iovec part = {&news, sizeof news};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (socket != NULL) {
        memcpy(news.address, socket->address, sizeof news.address);
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(head), &socket->fd, sizeof(int));
    }
    ssize_t rv;
    do {
        rv = sendmsg(supervisor_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT); /* the parent may be stopped */
    } while (rv < 0 && errno == EINTR);
    return rv < 0 ? -errno : 0;
}

void supervise_keep_sockets(evserve *server)
{
    if (supervisor_fd < 0) {
        return;
    }
    struct evs_inherited *sockets = mem_alloc(KEPT_SOCKETS_MAX * sizeof *sockets);
    int count = sockets == NULL ? 0 : evserve_listeners(server, sockets, KEPT_SOCKETS_MAX);
    count = count > KEPT_SOCKETS_MAX ? KEPT_SOCKETS_MAX : count;
    int rv = count < 0 ? count : send_news(NEWS_BEGIN, NULL);
    for (int i = 0; i < count; i++) {
        if (rv == 0 && strncmp(sockets[i].address, "fd:", 3) != 0) { /* those are the parent's already */
            rv = send_news(NEWS_SOCKET, &sockets[i]);
        }
        close(sockets[i].fd);
    }
    if (send_news(NEWS_SERVING, NULL) == 0) {
        (void)evserve_hand_over(server, EVSERVE_KEPT);
    }
    mem_free(sockets);
}

void supervise_say_replaced(void)
{
    if (supervisor_fd >= 0) {
        (void)send_news(NEWS_REPLACED, NULL);
    }
}

/* Signals that a server heeds when it serves, and that end one that is still starting. */
static const int served_signals[] = {SIGHUP, SIGUSR1, SIGUSR2};

static bool awaits_serving(int number)
{
    for (size_t i = 0; i < sizeof served_signals / sizeof served_signals[0]; i++) {
        if (served_signals[i] == number) {
            return true;
        }
    }
    return false;
}

/* The child serves, so it can have the signals that came before. */
static void heed_serving(struct supervisor *supervisor)
{
    supervisor->is_serving = supervisor->has_served = true;
    for (size_t i = 0; i < sizeof served_signals / sizeof served_signals[0]; i++) {
        if (sigismember(&supervisor->held, served_signals[i]) == 1) {
            kill(supervisor->child, served_signals[i]);
        }
    }
    sigemptyset(&supervisor->held);
}

/* Take one message of the child. Returns whether there was one. */
static bool take_news(struct supervisor *supervisor)
{
    struct supervise_news news;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr head;
    } control;
    struct iovec part = {&news, sizeof news};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    if (recvmsg(supervisor->news_fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != (ssize_t)sizeof news) {
        return false;
    }
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    int fd = -1;
    if (head != NULL && head->cmsg_type == SCM_RIGHTS) {
        memcpy(&fd, CMSG_DATA(head), sizeof fd);
    }
    if (news.what == NEWS_BEGIN) {
        kept_sockets_drop(&supervisor->news);
        supervisor->has_news = true;
    } else if (news.what == NEWS_SERVING) {
        renew_sockets(supervisor);
        heed_serving(supervisor);
    } else if (news.what == NEWS_REPLACED) {
        supervisor->is_stopping = true;
        drop_all_sockets(supervisor);
    } else if (fd >= 0 && supervisor->restarts && !supervisor->is_stopping) {
        kept_sockets_add(&supervisor->news, fd, news.address);
        return true;
    }
    if (fd >= 0) {
        close(fd);
    }
    return true;
}

/* The child. */

void supervise_end_with_parent(void)
{
    if (supervisor_fd >= 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != supervisor_pid) {
            raise(SIGTERM);
        }
    }
}

bool supervise_is_wanted(const struct command_line *options)
{
    bool serves = options->request == NULL && options->test == NULL && !options->check && !options->routes;
    return options->supervise || (getpid() == 1 && serves);
}

bool supervise_is_init(void)
{
    return getpid() == 1 || supervisor_pid == 1;
}

/* Become a server with the kept sockets. A process group of its own: a terminal sends Ctrl-C to the parent alone, which
 * passes it on once. */
static void become_server(struct supervisor *supervisor, struct upgraded *upgraded, int fd)
{
    if (upgraded->count == 0) {
        kept_sockets_give(&supervisor->kept, upgraded);
    }
    setpgid(0, 0);
    close(supervisor->signal_fd);
    supervisor_fd = fd;
    char watchdog_pid[16];
    if (getenv("WATCHDOG_PID") != NULL) {
        snprintf(watchdog_pid, sizeof watchdog_pid, "%d", (int)getpid());
        setenv("WATCHDOG_PID", watchdog_pid, 1);
    }
    sigprocmask(SIG_SETMASK, &supervisor->before, NULL);
    mem_free(supervisor);
    supervise_end_with_parent();
    crash_report_faults();
}

/* The parent. */

/* Returns the child, 0 in the child, or -errno. */
static pid_t start_child(struct supervisor *supervisor, struct upgraded *upgraded)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return -errno;
    }
    pid_t child = fork();
    if (child == 0) {
        close(pair[0]);
        become_server(supervisor, upgraded, pair[1]);
        return 0;
    }
    int error = errno;
    close(pair[1]);
    if (child < 0) {
        close(pair[0]);
        return -error;
    }
    supervisor->child = child;
    supervisor->news_fd = pair[0];
    supervisor->started_ms = supervise_clock_ms();
    supervisor->is_serving = false;
    upgraded_close_sockets(upgraded); /* the child has them, and sends those that it uses */
    if (upgraded->fd >= 0) {
        close(upgraded->fd);
        upgraded->fd = -1;
    }
    return child;
}

int64_t supervise_delay_ms(int64_t delay_ms, int64_t served_ms)
{
    if (delay_ms == 0 || served_ms >= SUPERVISE_CALM_MS) {
        return SUPERVISE_DELAY_MS;
    }
    return 2 * delay_ms > SUPERVISE_DELAY_MAX_MS ? SUPERVISE_DELAY_MAX_MS : 2 * delay_ms;
}

/* The next child will be started, later each time. */
static void plan_next(struct supervisor *supervisor, const char *why)
{
    char line[256];
    int64_t now_ms = supervise_clock_ms();
    int64_t served_ms = supervisor->is_serving ? now_ms - supervisor->started_ms : 0;
    supervisor->delay_ms = supervise_delay_ms(supervisor->delay_ms, served_ms);
    supervisor->next_ms = now_ms + supervisor->delay_ms;
    snprintf(line, sizeof line, "%s; it is started again in %lld ms", why, (long long)supervisor->delay_ms);
    supervise_log(supervisor, line);
}

/* Whether a child has ended by a signal that ends one that is still starting, as it was told to. */
static bool ended_as_told(const struct supervisor *supervisor, int status)
{
    int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return supervisor->is_stopping && (number == SIGTERM || number == SIGINT || number == SIGQUIT);
}

/* The exit status that stands for that of the child. */
static int exit_status_of(const struct supervisor *supervisor, int status)
{
    return WIFEXITED(status)                   ? WEXITSTATUS(status)
           : ended_as_told(supervisor, status) ? EXIT_SUCCESS
           : supervisor->restarts              ? EXIT_FAILURE
                                               : 128 + WTERMSIG(status); /* as shells do */
}

/* Whether no child follows the one that has ended. */
static bool is_last_child(const struct supervisor *supervisor, int status)
{
    bool has_exited = WIFEXITED(status);
    return (has_exited && WEXITSTATUS(status) == EXIT_SUCCESS) || supervisor->is_stopping || !supervisor->restarts ||
           (!supervisor->has_served && (has_exited || supervisor->is_upgrade));
}

/* The child has ended. Returns the exit status of the parent, or -1 to go on. */
static int heed_end(struct supervisor *supervisor, int status)
{
    char why[160];
    int exit_status = exit_status_of(supervisor, status);
    pid_t child = supervisor->child;
    while (take_news(supervisor)) { /* which came before */
    }
    close(supervisor->news_fd);
    supervisor->news_fd = -1;
    supervisor->child = 0;
    if (WIFSIGNALED(status)) {
        snprintf(why, sizeof why, "the server (process %d) was ended by signal %d%s", (int)child, WTERMSIG(status),
                 WTERMSIG(status) == SIGKILL ? ", as when the system has no memory left" : "");
    } else {
        snprintf(why, sizeof why, "the server (process %d) ended with status %d", (int)child, exit_status);
    }
    kept_sockets_drop(&supervisor->news); /* not all have come */
    supervisor->has_news = false;
    kept_sockets_drop_shut(&supervisor->kept);
    bool is_over = is_last_child(supervisor, status);
    if (!is_over) {
        plan_next(supervisor, why);
    } else if (WIFSIGNALED(status) && exit_status != EXIT_SUCCESS) {
        supervise_log(supervisor, why);
    }
    return is_over ? exit_status : -1;
}

/* Processes have ended: the child, or, since the parent may be process 1 of a container, any that has lost its own
 * parent. Returns as heed_end(). */
static int reap_children(struct supervisor *supervisor)
{
    int status, rv = -1;
    pid_t ended;
    while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
        rv = ended == supervisor->child ? heed_end(supervisor, status) : rv;
    }
    return rv;
}

/* Act on a signal. Returns as heed_end(). */
static int heed_signal(struct supervisor *supervisor, int number)
{
    if (number == SIGCHLD) {
        return reap_children(supervisor);
    }
    if (number == SIGTERM || number == SIGINT || number == SIGQUIT) {
        supervisor->is_stopping = true;
        drop_all_sockets(supervisor); /* those of the child are the last ones then */
        if (supervisor->child == 0) {
            return EXIT_SUCCESS;
        }
    }
    if (awaits_serving(number) && (supervisor->child == 0 || !supervisor->is_serving)) {
        sigaddset(&supervisor->held, number);
    } else if (supervisor->child != 0) {
        kill(supervisor->child, number);
    }
    return -1;
}

/* Wait for something to do, and do it. Returns as heed_end(). */
static int supervise_turn(struct supervisor *supervisor)
{
    struct pollfd fds[] = {{supervisor->signal_fd, POLLIN, 0}, {supervisor->news_fd, POLLIN, 0}};
    int64_t left_ms = supervisor->child != 0 ? -1 : supervisor->next_ms - supervise_clock_ms();
    int timeout_ms = supervisor->child != 0 ? -1 : left_ms < 0 ? 0 : (int)left_ms;
    if (poll(fds, 2, timeout_ms) <= 0) {
        return -1;
    }
    bool has_news = (fds[1].revents & POLLIN) != 0 && take_news(supervisor);
    if (fds[1].revents != 0 && !has_news) { /* the child has closed it: SIGCHLD follows */
        fds[1].fd = -1;
        (void)poll(fds, 1, -1);
    }
    struct signalfd_siginfo info;
    if ((fds[0].revents & POLLIN) != 0 && read(supervisor->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        return heed_signal(supervisor, (int)info.ssi_signo);
    }
    return -1;
}

/* Returns as supervise(). */
static int supervise_all(struct supervisor *supervisor, struct upgraded *upgraded)
{
    int status = -1;
    while (status < 0) {
        if (supervisor->child == 0 && supervise_clock_ms() >= supervisor->next_ms) {
            pid_t rv = start_child(supervisor, upgraded);
            if (rv == 0) {
                return -1;
            }
            if (rv < 0) {
                plan_next(supervisor, errno_text((int)-rv));
            }
        }
        status = supervise_turn(supervisor);
    }
    drop_all_sockets(supervisor);
    close(supervisor->signal_fd);
    mem_free(supervisor);
    return status;
}

int supervise(struct upgraded *upgraded, const struct command_line *options)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
    struct supervisor *supervisor = mem_zalloc(sizeof *supervisor);
    if (supervisor == NULL) {
        fprintf(stderr, "evserve: cannot supervise: %s\n", errno_text(ENOMEM));
        return EXIT_FAILURE;
    }
    sigemptyset(&supervisor->held);
    sigemptyset(&supervisor->signals);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaddset(&supervisor->signals, numbers[i]);
    }
    sigprocmask(SIG_BLOCK, &supervisor->signals, &supervisor->before);
    supervisor->signal_fd = signalfd(-1, &supervisor->signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (supervisor->signal_fd < 0) {
        fprintf(stderr, "evserve: cannot supervise: %s\n", errno_text(errno));
        mem_free(supervisor);
        return EXIT_FAILURE;
    }
    supervisor->news_fd = -1;
    supervisor->options = options;
    supervisor->restarts = options->supervise;
    supervisor->is_upgrade = upgraded->fd >= 0;
    supervisor_pid = getpid();
    return supervise_all(supervisor, upgraded);
}
