/* The program. Exit status: 0 after an orderly stop, 1 when the server cannot start or fails, 2 for usage; with
 * --request, 0 for a response with a status below 400, else 1; with --test, 0 if all cases have passed, else 1.
 *
 * The parts, in order: control (signals, reloads, upgrades), serving, what the process starts with. Others are in
 * core/program/. */

#include "core/log.h"
#include "core/program/archive.h"
#include "core/program/command_line.h"
#include "core/program/fd_store.h"
#include "core/program/log_stream.h"
#include "core/program/pack_request.h"
#include "core/program/program_config.h"
#include "core/program/program_log.h"
#include "core/program/reload_request.h"
#include "core/program/serve_request.h"
#include "core/program/start_fds.h"
#include "core/program/start_signals.h"
#include "core/program/succession.h"
#include "core/program/supervise.h"
#include "core/program/systemd.h"
#include "core/program/test_report.h"
#include "core/program/upgrade_request.h"
#include "core/program/upgraded.h"
#include "core/program/user.h"
#include "core/program/watchdog.h"
#include "core/thread.h"
#include "evserve.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    REQUEST_DRAIN_MS = 10000, /* what scripts have after the request of --request */
    WATCH_MS = 1000,          /* how often --watch looks at the files */
};

static void print_line(void *arg, const char *text)
{
    (void)arg;
    puts(text);
}

/* Control: signals, reloads, the watchdog. A signal handler only sets a flag and wakes the server, which calls attend()
 * between two turns of its loop. So with one event loop the process has one thread, which spares the kernel the locks
 * of a shared table of files. With more of them the main thread serves nobody, and calls attend() itself. */

enum reload_news { RELOAD_NO_NEWS, RELOAD_SUCCEEDED, RELOAD_FAILED };

static struct {
    _Atomic(evserve *) server; /* NULL before it has started */
    const struct command_line *options;
    struct log_stream *log;
    atomic_uint stops;         /* SIGINT and SIGTERM not yet acted on */
    atomic_bool is_interrupt;  /* the last of them is SIGINT */
    atomic_bool wants_quit;    /* SIGQUIT, likewise */
    atomic_bool wants_reload;  /* SIGHUP, likewise */
    atomic_bool wants_reopen;  /* SIGUSR1, likewise */
    atomic_bool wants_upgrade; /* SIGUSR2, likewise */
    atomic_bool has_pulse;     /* SIGALRM, likewise: time to look at files, and to answer the watchdog */
    _Atomic(pid_t) sender;     /* of the signal that came last; 0 if it was not a process that we see */
    bool is_quitting;          /* a stop without a deadline has begun */
    bool is_stopping;          /* a stop with one has */
    atomic_bool is_reloading;  /* on_reloaded() will be called */
    atomic_int reload_news;    /* of a reload that is over, for the PID file; RELOAD_NO_NEWS when it has them */
    bool has_watchdog;
    struct watchdog watchdog;
    struct systemd_notifier notifier;
    atomic_bool has_ended;        /* the server, of is_apart */
    atomic_bool is_apart;         /* the server has threads of its own, so the main thread waits for signals: */
    sem_t signs;                  /* one for each, and for the end of the server */
    int64_t pulse_ms;             /* of SIGALRM, 0 for never; while an upgrade is under way, UPGRADE_LOOK_MS */
    struct upgraded upgraded;     /* from the program whose place we take */
    struct archive archive;       /* files that the program has inside */
    struct succession succession; /* to the program that is to take our place */
} control = {.notifier = {.fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER}, .succession = {.pid_file.fd = -1}};

/* The first address that no reload has closed; NULL without one. */
static const char *first_address(const evserve *server)
{
    unsigned n = 0;
    for (; evserve_is_listening(server, n) == 0; n++) {
    }
    return evserve_address(server, n);
}

static void notify(const char *news)
{
    systemd_notify(&control.notifier, news);
}

static const int signals[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM};

/* Log that a signal came, and what it does. */
static void say_signal(const char *name, const char *effect)
{
    program_log_signal(control.log, name, atomic_exchange(&control.sender, 0), effect);
}

/* Have attend() called soon. Any thread, signal handlers. */
static void wake_attend(void)
{
    if (atomic_load(&control.is_apart)) {
        sem_post(&control.signs);
    } else {
        evserve_wake(atomic_load(&control.server));
    }
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (number != SIGALRM) {
        atomic_store(&control.sender, info->si_code <= 0 ? info->si_pid : 0);
    }
    if (number == SIGHUP) {
        atomic_store(&control.wants_reload, true);
    } else if (number == SIGUSR1) {
        atomic_store(&control.wants_reopen, true);
    } else if (number == SIGUSR2) {
        atomic_store(&control.wants_upgrade, true);
    } else if (number == SIGALRM) {
        atomic_store(&control.has_pulse, true);
    } else if (number == SIGQUIT) {
        atomic_store(&control.wants_quit, true);
    } else {
        atomic_store(&control.is_interrupt, number == SIGINT);
        atomic_fetch_add(&control.stops, 1);
    }
    wake_attend();
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
    bool is_fault = error != 0 && error != -ESHUTDOWN; /* a stop may come before a reload is over */
    log_stream_write(control.log, is_fault ? EVSERVE_LOG_ERROR : EVSERVE_LOG_INFO, line);
    if (error != -ESHUTDOWN) {
        systemd_notify_serving(&control.notifier, first_address(control.server), error == 0 ? NULL : err);
        atomic_store(&control.reload_news, error == 0 ? RELOAD_SUCCEEDED : RELOAD_FAILED);
        wake_attend(); /* for these, and for a SIGHUP that has come meanwhile */
    }
}

/* The script loads on a thread of its own, and on_reloaded() follows. */
static void reload_server(void)
{
    char err[EVSERVE_ERROR_MAX];
    if (atomic_exchange(&control.wants_reload, false)) {
        say_signal("SIGHUP", "reloading");
    }
    systemd_notify_reloading(&control.notifier);
    control.is_reloading = true;
    int rv = evserve_reload_later(control.server, on_reloaded, NULL, err, sizeof err);
    if (rv < 0) {
        on_reloaded(NULL, rv, err);
    }
}

static void set_pulse(int64_t ms)
{
    const struct timeval each = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    setitimer(ITIMER_REAL, &(struct itimerval){.it_interval = each, .it_value = each}, NULL);
}

/* SIGQUIT waits for every request, SIGTERM and SIGINT for drain_timeout, a second one of those for nothing. None of
 * them takes back what another has begun. */
static void heed_stop_signals(void)
{
    unsigned stops = atomic_exchange(&control.stops, 0);
    bool quits = atomic_exchange(&control.wants_quit, false) && !control.is_quitting;
    if ((stops > 0 || quits) && upgrade_is_under_way(&control.succession.upgrade)) {
        succession_look(&control.succession, control.server); /* it may have said that it serves */
        upgrade_cancel(&control.succession.upgrade);          /* nobody wants a new one either */
        set_pulse(control.pulse_ms);
    }
    if (stops > 0) {
        bool is_urgent = control.is_stopping || stops > 1;
        control.is_stopping = true;
        say_signal(atomic_load(&control.is_interrupt) ? "SIGINT" : "SIGTERM",
                   is_urgent ? "stopping at once" : "stopping");
        notify("STOPPING=1");
        evserve_stop(control.server, is_urgent ? 0 : EVSERVE_DRAIN_TIMEOUT);
    } else if (quits && !control.is_stopping) {
        control.is_quitting = true;
        say_signal("SIGQUIT", "stopping when all requests are over");
        notify("STOPPING=1");
        evserve_stop(control.server, EVSERVE_DRAIN_FOREVER);
    }
}

/* Another version of the program takes our place. The pulse is fast until it does. */
static void attend_upgrade(void)
{
    bool was_under_way = upgrade_is_under_way(&control.succession.upgrade);
    if (was_under_way) {
        succession_look(&control.succession, control.server);
    }
    if (atomic_exchange(&control.wants_upgrade, false)) {
        succession_begin(&control.succession, control.server, control.is_stopping || control.is_quitting);
    }
    bool is_under_way = upgrade_is_under_way(&control.succession.upgrade);
    if (is_under_way != was_under_way) {
        set_pulse(is_under_way ? UPGRADE_LOOK_MS : control.pulse_ms);
    }
}

/* Those who keep the sockets while the program restarts: reloads may have changed which there are. */
static void renew_keepers(void)
{
    fd_store_fill(&control.notifier, getenv("FDSTORE"), &control.upgraded, control.server);
    supervise_keep_sockets(control.server);
}

/* The PID file says how a reload ended; not yet if there is a SIGHUP to act on: whoever sent it, perhaps --reload,
 * waits for the one that follows. */
static void tell_of_reload(void)
{
    int news = atomic_load(&control.wants_reload) ? RELOAD_NO_NEWS
                                                  : atomic_exchange(&control.reload_news, RELOAD_NO_NEWS);
    if (news == RELOAD_NO_NEWS) {
        return;
    }
    if (!control.succession.is_replaced) {
        renew_keepers(); /* after a failure, too: another one may have come before */
    }
    pid_file_tell_reload(&control.succession.pid_file, news == RELOAD_FAILED);
}

/* Act on the signals that have come. On the main thread. */
static void attend(void *arg)
{
    (void)arg;
    heed_stop_signals();
    attend_upgrade();
    if (atomic_exchange(&control.wants_reopen, false)) {
        program_log_reopen(control.log, control.server, atomic_exchange(&control.sender, 0));
    }
    bool has_pulse = atomic_exchange(&control.has_pulse, false);
    if (has_pulse && control.has_watchdog) {
        watchdog_send_sign(&control.watchdog);
    }
    tell_of_reload();
    bool may_have_changed = has_pulse && control.options->watch;
    if (!control.is_reloading &&
        (atomic_load(&control.wants_reload) || (may_have_changed && evserve_changed(control.server)))) {
        reload_server();
    }
}

/* Install the signal handlers. The pulse is as fast as the faster of its two duties. */
static void take_signals(void)
{
    const struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_RESTART | SA_SIGINFO};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        sigaction(signals[i], &action, NULL);
    }
    int64_t watch_ms = control.options->watch ? WATCH_MS : 0;
    int64_t pulse_ms = systemd_watchdog_ms(getenv("WATCHDOG_PID"), getenv("WATCHDOG_USEC"), getpid());
    control.has_watchdog = pulse_ms > 0;
    if (pulse_ms == 0 || (watch_ms > 0 && watch_ms < pulse_ms)) {
        pulse_ms = watch_ms;
    }
    control.pulse_ms = pulse_ms;
    set_pulse(pulse_ms);
}

static void *await_end(void *result)
{
    *(int *)result = evserve_wait(control.server);
    atomic_store(&control.has_ended, true);
    sem_post(&control.signs);
    return NULL;
}

/* Wait for the end of the server, and act on signals meanwhile. With one event loop the main thread serves, and the
 * loop calls attend(). Else it does nothing but attend, and another thread waits: only the main thread may fork. */
static int attend_until_end(evserve *server)
{
    pthread_t waiter;
    int result = 0;
    if (!atomic_load(&control.is_apart) || thread_start(&waiter, await_end, &result) < 0) {
        atomic_store(&control.is_apart, false);
        wake_attend(); /* for signals that have come by now */
        return evserve_wait(server);
    }
    while (!atomic_load(&control.has_ended)) {
        if (sem_wait(&control.signs) == 0) {
            attend(NULL);
        }
    }
    pthread_join(waiter, NULL);
    return result;
}

/* Everybody who waits for that learns that the server serves. */
static void announce(evserve *server)
{
    supervise_keep_sockets(server); /* first: whoever reads the lines may count on it */
    const char *address;
    char line[256];
    for (unsigned n = 0; (address = evserve_address(server, n)) != NULL; n++) {
        bool is_https = strcmp(evserve_scheme(server, n), "https") == 0;
        bool is_proxied = evserve_expects_proxy(server, n) == 1;
        const char *plain = is_proxied ? " (PROXY protocol)" : "";
        const char *secured = is_proxied ? " (HTTPS, PROXY protocol)" : " (HTTPS)";
        snprintf(line, sizeof line, "listening on %s%s", address, is_https ? secured : plain);
        log_stream_print(control.log, EVSERVE_LOG_INFO, line);
    }
    program_log_start(control.log, control.options);
    log_stream_release(control.log);
    systemd_notify_serving(&control.notifier, evserve_address(server, 0), NULL);

    pid_file_write(&control.succession.pid_file);
    upgraded_say_serving(&control.upgraded);
}

/* The old program has crashed during the upgrade, and its parent starts it again: there would be two of us. */
static void withdraw(evserve *server)
{
    log_stream_write(control.log, EVSERVE_LOG_WARN,
                     "the program to be replaced has crashed, and is started again by its parent: this one stops");
    log_stream_release(control.log);
    evserve_hand_over(server, EVSERVE_SERVED);
    evserve_stop(server, EVSERVE_DRAIN_TIMEOUT);
}

/* Serve until a signal comes. */
static int serve_until_stopped(evserve *server)
{
    char line[256];
    atomic_store(&control.server, server);
    control.watchdog.server = server;
    control.watchdog.notifier = &control.notifier;
    control.watchdog.threads = control.options->reactors == 0 ? 1 : control.options->reactors;
    wake_attend(); /* for signals that came before it could be woken */
    if (control.options->supervise && upgraded_is_forsaken(&control.upgraded)) {
        withdraw(server);
    } else {
        announce(server);
    }
    int rv = attend_until_end(server);
    upgrade_cancel(&control.succession.upgrade);                          /* the loop has failed */
    start_signals_disregard(signals, sizeof signals / sizeof signals[0]); /* there is nothing left to wake */
    if (rv < 0) {
        snprintf(line, sizeof line, "evserve: the server failed: %s", errno_text(-rv));
        log_stream_print(control.log, EVSERVE_LOG_ERROR, line);
        return EXIT_FAILURE;
    }
    if (rv > 0) {
        snprintf(line, sizeof line, "evserve: %d connection%s cut", rv, rv == 1 ? "" : "s");
        log_stream_print(control.log, EVSERVE_LOG_WARN, line);
    }
    snprintf(line, sizeof line, "evserve has stopped, process %ld", (long)getpid()); /* others may share the log */
    log_stream_write(control.log, EVSERVE_LOG_INFO, line);
    return EXIT_SUCCESS;
}

/* The argument of our callbacks. The log comes first, since log_stream_take() takes the same argument. */
struct host {
    struct log_stream log;
    struct test_report report; /* of --test */
    const char *user;          /* of --user, or NULL */
};

/* Whoever starts a second server with the PID file of the first would reload and stop the wrong one by it. */
static void warn_of_pid_file(const char *path)
{
    struct pid_file_news news;
    char err[EVSERVE_ERROR_MAX], line[EVSERVE_ERROR_MAX];
    if (path != NULL && control.upgraded.fd < 0 && pid_file_read(path, &news, err, sizeof err) == 0 && news.pid > 0) {
        snprintf(line, sizeof line,
                 "--pid-file %.500s is the file of process %d, which still runs: from now on it names this process",
                 path, (int)news.pid);
        log_stream_write(control.log, EVSERVE_LOG_WARN, line);
    }
}

/* All addresses are bound, and the sandbox is not in force yet. */
static int on_listening(void *arg, char *err, size_t errlen)
{
    const struct host *host = arg;
    if (control.options->request == NULL && control.options->test == NULL) {
        systemd_notifier_open(&control.notifier, getenv("NOTIFY_SOCKET"));
        take_signals();
        warn_of_pid_file(control.options->pid_file);
        if (pid_file_open(&control.succession.pid_file, control.options->pid_file, host->user, err, errlen) < 0) {
            return -1;
        }
    }
    if (host->user != NULL && user_become(host->user, err, errlen) < 0) {
        return -1;
    }
    supervise_end_with_parent(); /* another user lets the kernel forget it */
    return 0;
}

static void hold_line(void *arg, int level, const char *line)
{
    struct host *host = arg;
    (void)level;
    test_report_log(&host->report, line);
}

/* Do what the options say. Returns the exit status, with a text in err if the server has one. */
static int run(const struct command_line *options, struct host *host, char *err, size_t errlen)
{
    struct evserve_config config;
    struct evs_certificate certificates[TLS_PAIRS_MAX + 1];
    program_config_fill(&config, certificates, options);
    config.log_entry = log_stream_take;
    config.on_listening = on_listening;
    config.on_wake = attend;
    config.arg = host;
    config.inherited = control.upgraded.sockets;
    config.inherited_count = control.upgraded.count;
    control.options = options;
    atomic_store(&control.is_apart, options->reactors > 0);
    control.log = &host->log;
    control.succession.options = options;
    control.succession.log = &host->log;
    control.succession.notifier = &control.notifier;
    if (options->check) {
        return evserve_check(&config, print_line, NULL, err, errlen) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    if (options->routes) {
        return evserve_routes(&config, print_line, NULL, err, errlen) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    if (options->test != NULL) {
        config.log_entry = NULL;
        config.log = hold_line;
        return test_report_run(&host->report, &config, options->test, options->only, err, errlen);
    }
    if (options->request == NULL) {
        program_config_warn(options, control.log);
    }
    evserve *server = evserve_start(&config, err, errlen);
    if (server != NULL && options->request == NULL) {
        fd_store_fill(&control.notifier, getenv("FDSTORE"), &control.upgraded, server);
    }
    upgraded_close_sockets(&control.upgraded);
    if (server == NULL) {
        pid_file_close(&control.succession.pid_file);
        return EXIT_FAILURE;
    }
    int status = options->request == NULL ? serve_until_stopped(server)
                                          : serve_request(server, options, REQUEST_DRAIN_MS, &host->log);
    evserve_free(server);
    pid_file_close(&control.succession.pid_file);
    systemd_notifier_close(&control.notifier);
    return status;
}

/* What this program has inside, which stays mapped until the process ends. Returns 0, or -errno with a text in err. */
static int open_archive(struct command_line *options, char err[EVSERVE_ERROR_MAX])
{
    int rv = archive_open(&control.archive, "/proc/self/exe", err, EVSERVE_ERROR_MAX);
    if (rv == 0) {
        options->packed_script = control.archive.script;
        options->script_files = control.archive.files;
    }
    return rv == -ENOENT ? 0 : rv;
}

int main(int argc, char **argv)
{
    start_fds_open();
    start_signals();
    struct command_line options = {0};
    char err[EVSERVE_ERROR_MAX] = "";
    if (open_archive(&options, err) < 0) {
        fprintf(stderr, "evserve: %s\n", err);
        return EXIT_FAILURE;
    }
    int status = command_line_read(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    if (options.body != NULL && !serve_request_read_body(&options)) {
        fprintf(stderr, "evserve: cannot read the body %s: %s\n", options.body, errno_text(errno));
        free(options.content);
        return EXIT_USAGE;
    }
    if (options.reload != NULL) {
        return reload_request(options.reload);
    }
    if (options.upgrade != NULL) {
        return upgrade_request(options.upgrade);
    }
    if (options.pack) {
        return pack_request(&options);
    }
    if (upgraded_take(&control.upgraded, &options, err, sizeof err) < 0) {
        fprintf(stderr, "evserve: %s\n", err);
        upgraded_say_failed(&control.upgraded, err);
        return EXIT_FAILURE;
    }
    start_fds_raise_limit();
    status = supervise_is_wanted(&options) ? supervise(&control.upgraded, &options) : -1;
    if (status >= 0) {
        free(options.content);
        return status;
    }
    upgrade_init(&control.succession.upgrade, argv);
    sem_init(&control.signs, 0, 0);
    tzset(); /* for os.date: reads the time zone, which a sandbox keeps away */
    struct host host = {.user = options.user};
    log_stream_init(&host.log, STDERR_FILENO); /* lines are held back at first: the address comes first */
    status = program_log_open(&host.log, &options, err, sizeof err) < 0 ? EXIT_FAILURE
                                                                        : run(&options, &host, err, sizeof err);
    log_stream_release(&host.log);
    if (err[0] != '\0') {
        log_stream_print(&host.log, EVSERVE_LOG_ERROR, err);
        upgraded_say_failed(&control.upgraded, err);
    }
    log_stream_done(&host.log);
    free(options.content);
    return status;
}
