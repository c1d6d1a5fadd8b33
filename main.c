/* The program. Exit status: 0 after an orderly stop, 1 when the server cannot start or fails, 2 for usage; with
 * --request, 0 for a response with a status below 400, else 1.
 *
 * The parts, in order: systemd's sockets, control (signals, reloads, the watchdog), serving, what the process starts
 * with. Others are in core/program/. */

#include "core/file_text.h"
#include "core/log.h"
#include "core/program/command_line.h"
#include "core/program/log_stream.h"
#include "core/program/serve_request.h"
#include "core/program/systemd.h"
#include "core/program/user.h"
#include "evserve.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    REQUEST_DRAIN_MS = 10000, /* what scripts have after the request of --request */
    WATCH_MS = 1000,          /* how often --watch looks at the files */
};

/* Each connection is a file descriptor: allow as many as possible. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void print_line(void *arg, const char *text)
{
    (void)arg;
    puts(text);
}

/* The sockets that systemd passed to this process become addresses, unless the command line names others. */
static void take_passed_sockets(struct command_line *options)
{
    int count = systemd_passed_fds(getenv("LISTEN_PID"), getenv("LISTEN_FDS"), getpid());
    for (int fd = SYSTEMD_FIRST_FD; fd < SYSTEMD_FIRST_FD + count; fd++) {
        char address[32];
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        snprintf(address, sizeof address, "fd:%d", fd);
        if (!options->has_listen) {
            (void)command_line_add_listen(options, address);
        }
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

/* Control: signals, reloads, the watchdog. A signal handler only sets a flag and wakes the server, which calls attend()
 * between two turns of its loop. So the program has no thread of its own, and with one event loop none at all, which
 * spares the kernel the locks of a shared table of files. */

static struct {
    _Atomic(evserve *) server; /* NULL before it has started */
    const struct command_line *options;
    struct log_stream *log;
    atomic_uint stops;        /* SIGINT and SIGTERM not yet acted on */
    atomic_bool wants_quit;   /* SIGQUIT, likewise */
    atomic_bool wants_reload; /* SIGHUP, likewise */
    atomic_bool wants_reopen; /* SIGUSR1, likewise */
    atomic_bool has_pulse;    /* SIGALRM, likewise: time to look at files, and to answer the watchdog */
    bool is_quitting;         /* a stop without a deadline has begun */
    bool is_stopping;         /* a stop with one has */
    bool is_reloading;        /* on_reloaded() will be called */
    bool has_watchdog;
    atomic_uint sign_hops; /* threads that the sign of life has not visited yet; 0 when none is under way */
    struct systemd_notifier notifier;
} control = {.notifier = {.fd = -1}};

static void notify(const char *news)
{
    systemd_notify(&control.notifier, news);
}

static const int signals[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGALRM};

static void handle(const int *numbers, size_t count, void (*handler)(int number))
{
    const struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    for (size_t i = 0; i < count; i++) {
        sigaction(numbers[i], &action, NULL);
    }
}

/* The handler of ignored signals. Programs that a script runs would inherit SIG_IGN, but they do not inherit a handler:
 * they start with the default action, so "yes | head" ends. */
static void do_nothing(int number)
{
    (void)number;
}

/* Writing to a pipe without a reader, or to a file that may not grow, is then an error of write(2), which the writer
 * handles: EPIPE, EFBIG. */
static void survive_writing(void)
{
    static const int numbers[] = {SIGPIPE, SIGXFSZ};
    handle(numbers, sizeof numbers / sizeof numbers[0], do_nothing);
}

static void on_signal(int number)
{
    evserve *server = atomic_load(&control.server);
    if (number == SIGHUP) {
        atomic_store(&control.wants_reload, true);
    } else if (number == SIGUSR1) {
        atomic_store(&control.wants_reopen, true);
    } else if (number == SIGALRM) {
        atomic_store(&control.has_pulse, true);
    } else if (number == SIGQUIT) {
        atomic_store(&control.wants_quit, true);
    } else {
        atomic_fetch_add(&control.stops, 1);
    }
    if (server != NULL) {
        evserve_wake(server);
    }
}

/* What systemctl status shows: where the server listens, and why the last reload has failed, if it has. */
static void notify_status(const char *failure)
{
    char news[EVSERVE_ERROR_MAX + 320];
    snprintf(news, sizeof news, "READY=1\nSTATUS=listening on %s%s%s", evserve_address(control.server, 0),
             failure == NULL ? "" : "; not reloaded: ", failure == NULL ? "" : failure);
    for (char *at = strstr(news, "STATUS="); (at = strchr(at, '\n')) != NULL;) {
        *at = ' '; /* a newline would begin another variable */
    }
    notify(news);
}

/* On the server's first thread. */
static void on_reloaded(void *arg, int error, const char *err)
{
    (void)arg;
    char line[EVSERVE_ERROR_MAX + 64];
    control.is_reloading = false;
    if (error == 0) {
        const char *script = control.options->script;
        snprintf(line, sizeof line, "reloaded%s%s", script == NULL ? "" : " ", script == NULL ? "" : script);
    } else {
        snprintf(line, sizeof line, "not reloaded: %s", err);
    }
    log_stream_write(control.log, error == 0 ? EVSERVE_LOG_INFO : EVSERVE_LOG_ERROR, line);
    if (error != -ESHUTDOWN) {
        notify_status(error == 0 ? NULL : err);
    }
    if (atomic_load(&control.wants_reload)) { /* it came meanwhile */
        evserve_wake(control.server);
    }
}

/* The script loads on a thread of its own, and on_reloaded() follows. */
static void reload_server(void)
{
    char err[EVSERVE_ERROR_MAX];
    atomic_store(&control.wants_reload, false);
    systemd_notify_reloading(&control.notifier);
    control.is_reloading = true;
    int rv = evserve_reload_later(control.server, on_reloaded, NULL, err, sizeof err);
    if (rv < 0) {
        on_reloaded(NULL, rv, err);
    }
}

static void reopen_logs(void)
{
    char err[EVSERVE_ERROR_MAX], line[EVSERVE_ERROR_MAX + 64];
    if (evserve_reopen_logs(control.server, err, sizeof err) < 0) {
        snprintf(line, sizeof line, "%s; lines go on to where they went", err);
        log_stream_write(control.log, EVSERVE_LOG_ERROR, line);
    }
}

/* The sign of life passes through every thread of the server, so a loop that hangs stops it. */
static void pass_sign(void *arg)
{
    (void)arg;
    unsigned next = atomic_fetch_sub(&control.sign_hops, 1) - 1;
    if (next == 0) {
        notify("WATCHDOG=1");
    } else if (evserve_post_to(control.server, next - 1, pass_sign, NULL) < 0) {
        atomic_store(&control.sign_hops, 0);
    }
}

static void send_sign(void)
{
    unsigned threads = control.options->reactors == 0 ? 1 : control.options->reactors;
    unsigned none = 0;
    if (atomic_compare_exchange_strong(&control.sign_hops, &none, threads) &&
        evserve_post_to(control.server, threads - 1, pass_sign, NULL) < 0) {
        atomic_store(&control.sign_hops, 0);
    }
}

/* SIGQUIT waits for every request, SIGTERM and SIGINT for drain_timeout, a second one of those for nothing. None of them
 * takes back what another has begun. */
static void heed_stop_signals(void)
{
    unsigned stops = atomic_exchange(&control.stops, 0);
    bool quits = atomic_exchange(&control.wants_quit, false) && !control.is_quitting;
    if (stops > 0) {
        bool is_urgent = control.is_stopping || stops > 1;
        control.is_stopping = true;
        notify("STOPPING=1");
        evserve_stop(control.server, is_urgent ? 0 : EVSERVE_DRAIN_TIMEOUT);
    } else if (quits && !control.is_stopping) {
        control.is_quitting = true;
        notify("STOPPING=1");
        evserve_stop(control.server, EVSERVE_DRAIN_FOREVER);
    }
}

/* Act on the signals that have come. On the server's thread. */
static void attend(void *arg)
{
    (void)arg;
    heed_stop_signals();
    if (atomic_exchange(&control.wants_reopen, false)) {
        reopen_logs();
    }
    bool has_pulse = atomic_exchange(&control.has_pulse, false);
    if (has_pulse && control.has_watchdog) {
        send_sign();
    }
    bool may_have_changed = has_pulse && control.options->watch;
    if (!control.is_reloading &&
        (atomic_load(&control.wants_reload) || (may_have_changed && evserve_changed(control.server)))) {
        reload_server();
    }
}

/* Install the signal handlers. The pulse is as fast as the faster of its two duties. */
static void take_signals(void)
{
    handle(signals, sizeof signals / sizeof signals[0], on_signal);
    int64_t watch_ms = control.options->watch ? WATCH_MS : 0;
    int64_t pulse_ms = systemd_watchdog_ms(getenv("WATCHDOG_PID"), getenv("WATCHDOG_USEC"), getpid());
    control.has_watchdog = pulse_ms > 0;
    if (pulse_ms == 0 || (watch_ms > 0 && watch_ms < pulse_ms)) {
        pulse_ms = watch_ms;
    }
    const struct timeval each = {.tv_sec = pulse_ms / 1000, .tv_usec = pulse_ms % 1000 * 1000};
    setitimer(ITIMER_REAL, &(struct itimerval){.it_interval = each, .it_value = each}, NULL);
}

/* A script that can be read only once cannot be watched. */
static void warn_of_watch(const struct command_line *options)
{
    if (options->watch && options->script != NULL && file_text_is_passing(options->script)) {
        char line[256];
        snprintf(line, sizeof line, "--watch has no effect: %.120s came through a pipe and cannot be read again",
                 options->script);
        log_stream_write(control.log, EVSERVE_LOG_WARN, line);
    }
}

/* Whoever takes over a server that runs as root has the whole machine. */
static void warn_of_root(const struct command_line *options)
{
    if (options->user == NULL && geteuid() == 0) {
        log_stream_write(control.log, EVSERVE_LOG_WARN,
                         "serving as root: --user NAME gives up root once all addresses are bound");
    }
}

/* Serve until a signal comes. */
static int serve_until_stopped(evserve *server)
{
    atomic_store(&control.server, server);
    evserve_wake(server); /* for signals that came before it could be woken */
    const char *address;
    char line[256];
    for (unsigned n = 0; (address = evserve_address(server, n)) != NULL; n++) {
        snprintf(line, sizeof line, "listening on %s", address);
        log_stream_print(control.log, line);
    }
    warn_of_root(control.options);
    log_stream_release(control.log);
    notify_status(NULL);

    int rv = evserve_wait(server);
    handle(signals, sizeof signals / sizeof signals[0], do_nothing); /* there is nothing left to wake */
    if (rv < 0) {
        snprintf(line, sizeof line, "evserve: the server failed: %s", errno_text(-rv));
        log_stream_print(control.log, line);
        return EXIT_FAILURE;
    }
    if (rv > 0) {
        snprintf(line, sizeof line, "evserve: %d connection%s cut", rv, rv == 1 ? "" : "s");
        log_stream_print(control.log, line);
    }
    return EXIT_SUCCESS;
}

/* The argument of our callbacks. The log comes first, since log_stream_write() takes the same argument. */
struct host {
    struct log_stream log;
    const char *user; /* of --user, or NULL */
};

/* All addresses are bound, and the sandbox is not in force yet. */
static int on_listening(void *arg, char *err, size_t errlen)
{
    const struct host *host = arg;
    if (control.options->request == NULL) {
        systemd_notifier_open(&control.notifier, getenv("NOTIFY_SOCKET"));
        take_signals();
    }
    return host->user == NULL ? 0 : user_become(host->user, err, errlen);
}

/* Do what the options say. Returns the exit status, with a text in err if the server has one. */
static int run(const struct command_line *options, struct host *host, char *err, size_t errlen)
{
    struct evs_certificate certificates[TLS_PAIRS_MAX + 1] = {{0}};
    for (unsigned i = 0; i < options->tls_count; i++) {
        certificates[i].cert_file = options->tls[i].cert;
        certificates[i].key_file = options->tls[i].key;
    }
    const struct evserve_config config = {
        .size = sizeof config,
        .listen = options->request != NULL     ? "none"
                  : options->listen[0] == '\0' ? NULL
                                               : options->listen,
        .root = options->root,
        .script = options->script,
        .reactors = options->reactors,
        .log = log_stream_write,
        .on_listening = on_listening,
        .on_wake = attend,
        .sandbox = options->sandbox,
        .allow_read = options->allow_read,
        .allow_write = options->allow_write,
        .certificates = certificates,
        .acme = options->acme,
        .hsts = options->hsts,
        .access_log = options->request != NULL ? "off" : options->access_log, /* that request is a trial */
        .access_log_format = options->access_log_format,
        .tls_dev = options->has_tls_dev ? options->tls_dev : NULL,
        .tls_dev_anywhere = options->tls_dev_anywhere ? 1 : 0,
        .reload_timeout_ms = options->reload_timeout_ms,
        .arg = host,
    };
    control.options = options;
    control.log = &host->log;
    if (options->check) {
        return evserve_check(&config, print_line, NULL, err, errlen) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    if (options->routes) {
        return evserve_routes(&config, print_line, NULL, err, errlen) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    if (options->request == NULL) {
        warn_of_watch(options);
    }
    evserve *server = evserve_start(&config, err, errlen);
    if (server == NULL) {
        return EXIT_FAILURE;
    }
    int status = options->request == NULL ? serve_until_stopped(server)
                                          : serve_request(server, options, REQUEST_DRAIN_MS, &host->log);
    evserve_free(server);
    systemd_notifier_close(&control.notifier);
    return status;
}

/* What the process starts with. */

/* If a standard fd were closed, the next file or connection would get its number, and what is meant for standard error
 * would go there. */
static void open_standard_fds(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd && open("/", O_PATH | O_DIRECTORY) != fd) {
            exit(EXIT_FAILURE); /* there is no place for a reason */
        }
    }
}

int main(int argc, char **argv)
{
    open_standard_fds();
    survive_writing();
    struct command_line options = {0};
    int status = command_line_read(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    if (options.body != NULL && !serve_request_read_body(&options)) {
        fprintf(stderr, "evserve: cannot read the body %s: %s\n", options.body, errno_text(errno));
        free(options.content);
        return EXIT_USAGE;
    }
    take_passed_sockets(&options);
    raise_file_limit();

    tzset(); /* for os.date: reads the time zone, which a sandbox keeps away */
    struct host host = {.user = options.user};
    log_stream_init(&host.log,
                    STDERR_FILENO); /* lines are held back while the server starts: the address comes first */
    char err[EVSERVE_ERROR_MAX] = "";
    status = run(&options, &host, err, sizeof err);
    log_stream_release(&host.log);
    if (err[0] != '\0') {
        log_stream_print(&host.log, err);
    }
    log_stream_done(&host.log);
    free(options.content);
    return status;
}
