/* The command line. Exit status: 0 after an orderly stop, 1 when the server cannot start or fails, 2 for usage; with
 * --request 0 for an answer with a status below 400, else 1.
 *
 * The file is long for the usage text and the table of options. The parts, in order: usage, options, systemd's
 * sockets, control (signals, reloads, the watchdog), serving, --request, what the process starts with. */

#include "core/file_text.h"
#include "core/log.h"
#include "core/program/log_stream.h"
#include "core/program/options.h"
#include "core/program/request_client.h"
#include "core/program/systemd.h"
#include "core/program/user.h"
#include "core/sys.h"
#include "evserve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    EXIT_USAGE = 2,
    DRAIN_MS = 10000,
    WATCH_MS = 1000, /* how often --watch looks at the files */
    LISTEN_TEXT_MAX = 4096,
    ALLOW_TEXT_MAX = 4096, /* all paths of --allow-read, or of --allow-write, with colons between them */
    REQUEST_HEADERS_MAX = 100,
    REQUEST_TIMEOUT_S = 30,
    REQUEST_TIMEOUT_MAX_S = 86400,
};

static const char usage[] =
    "Usage: evserve [--listen ADDR]... [--root DIR] [--reactors N] [--watch]\n"
    "               [--sandbox[=require]] [--allow-read PATH]... [--allow-write PATH]...\n"
    "               [--user NAME] [SITE.lua]\n"
    "       evserve --check | --routes [SITE.lua]\n"
    "       evserve --request REQ [--header LINE]... [--body TEXT] [--timeout S] [SITE.lua]\n"
    "\n"
    "Serve a directory, or the routes of a Lua script, over HTTP/1.1.\n"
    "\n"
    "  SITE.lua       the Lua script; - means standard input. A script read from a pipe cannot be reloaded\n"
    "  --listen ADDR  listen on HOST:PORT, [IPv6]:PORT, :PORT, unix:PATH, unix:@NAME or fd:N; may be repeated\n"
    "                 (default: the script's addresses, or 127.0.0.1:8080). unix:PATH?mode=660 sets file permissions\n"
    "  --root DIR     serve the files of DIR at / (default without a script: public)\n"
    "  --reactors N   serve with N threads, each with its own event loop and Lua state; auto: one per CPU\n"
    "                 (default: one event loop and one Lua state)\n"
    "  --watch        reload when the script, or a file that it required or read at startup, changes\n"
    "  --sandbox[=require]\n"
    "                 after startup, give up running programs, opening connections, and access to all files except\n"
    "                 the served directories and the script's folder; require: refuse to start if the kernel or\n"
    "                 this build cannot do all of it\n"
    "  --allow-read PATH   in the sandbox, also allow reading this directory or file; may be repeated\n"
    "  --allow-write PATH  in the sandbox, also allow reading and changing this directory or file; may be repeated\n"
    "  --user NAME    start as root and become this user once all addresses are bound\n"
    "  --check        load everything, print the configuration or the error, and exit\n"
    "  --routes       print the route table (methods, path, name and place of each route), and exit\n"
    "  --request REQ  process one request, such as \"GET /users/7\", without listening: print the response (head and\n"
    "                 content), and exit. The exit status is 0 if the response status is below 400, else 1\n"
    "  --header LINE  add a header field to that request, such as \"Accept: text/html\"; may be repeated\n"
    "  --body TEXT    the content of that request; @FILE reads it from a file, @- from standard input\n"
    "  --timeout S    give up after S seconds (default: 30)\n"
    "  --version      print the version and exit\n"
    "  --help         print this text and exit\n"
    "\n"
    "The command line takes precedence over the script. On SIGINT or SIGTERM, requests in flight, and work that\n"
    "scripts have begun, get up to 10 s to finish; a second signal ends the server at once.\n"
    "SIGHUP reloads the script; if the new one does not load, the old one keeps serving.\n";

struct options {
    char listen[LISTEN_TEXT_MAX]; /* all --listen addresses, or systemd's sockets, separated by commas */
    bool has_listen;              /* --listen was given */
    const char *root;
    const char *script;
    unsigned reactors;
    int sandbox;                      /* as in the config */
    char allow_read[ALLOW_TEXT_MAX];  /* paths, separated by colons */
    char allow_write[ALLOW_TEXT_MAX]; /* likewise */
    const char *user;                 /* to become, or NULL */
    bool watch;
    bool check;
    bool routes;
    const char *request;                      /* "GET /users/7", or NULL */
    const char *headers[REQUEST_HEADERS_MAX]; /* field lines of the request, header_count of them */
    unsigned header_count;
    const char *body;   /* text or @FILE, or NULL */
    char *content;      /* what that is; NULL without it */
    size_t content_len; /* bytes of content */
    unsigned timeout_s; /* 0 when it was not given */
    bool version;
    bool help;
};

/* A connection is a file descriptor: take as many as we may have. */
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

static bool add_listen(struct options *options, const char *address)
{
    return options_append(options->listen, sizeof options->listen, ',', address);
}

static int usage_error(const char *what)
{
    fprintf(stderr, "evserve: %s; try 'evserve --help'\n", what);
    return EXIT_USAGE;
}

/* The options, and what each does with its value: true, or false with a text in err. */

static bool set_listen(void *arg, const char *value, char *err)
{
    struct options *options = arg;
    options->has_listen = true;
    snprintf(err, OPTION_ERROR_MAX, "--listen expects an address; all of them together may have at most %d bytes",
             LISTEN_TEXT_MAX - 1);
    return value[0] != '\0' && add_listen(options, value);
}

static bool set_reactors(void *arg, const char *value, char *err)
{
    struct options *options = arg;
    if (strcmp(value, "auto") == 0) {
        cpu_set_t cpus;
        int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
        options->reactors = count > EVSERVE_REACTORS_MAX ? EVSERVE_REACTORS_MAX : (unsigned)count;
        return true;
    }
    snprintf(err, OPTION_ERROR_MAX, "--reactors expects auto or a number from 1 to %d, not \"%.80s\"",
             EVSERVE_REACTORS_MAX, value);
    return options_parse_number(value, EVSERVE_REACTORS_MAX, &options->reactors);
}

static bool set_sandbox(void *arg, const char *value, char *err)
{
    struct options *options = arg;
    options->sandbox = value == NULL ? EVSERVE_SANDBOX : EVSERVE_SANDBOX_REQUIRE;
    snprintf(err, OPTION_ERROR_MAX, "--sandbox accepts only =require, not \"%.80s\"", value == NULL ? "" : value);
    return value == NULL || strcmp(value, "require") == 0;
}

/* A path for the sandbox, whose list has colons between them. */
static bool add_path(char *list, const char *option, const char *path, char *err)
{
    snprintf(err, OPTION_ERROR_MAX, "%s expects a path without a colon, and all of them in %d bytes, not \"%.80s\"",
             option, ALLOW_TEXT_MAX - 1, path);
    return path[0] != '\0' && strchr(path, ':') == NULL && options_append(list, ALLOW_TEXT_MAX, ':', path);
}

static bool add_allow_read(void *arg, const char *value, char *err)
{
    struct options *options = arg;
    return add_path(options->allow_read, "--allow-read", value, err);
}

static bool add_allow_write(void *arg, const char *value, char *err)
{
    struct options *options = arg;
    return add_path(options->allow_write, "--allow-write", value, err);
}

static bool add_request_header(void *arg, const char *value, char *err)
{
    struct options *options = arg;
    snprintf(err, OPTION_ERROR_MAX, "--header may be repeated %d times at most", REQUEST_HEADERS_MAX);
    if (options->header_count == REQUEST_HEADERS_MAX) {
        return false;
    }
    options->headers[options->header_count++] = value;
    return true;
}

static bool set_timeout(void *arg, const char *value, char *err)
{
    struct options *options = arg;
    snprintf(err, OPTION_ERROR_MAX, "--timeout expects a number of seconds from 1 to %d, not \"%.80s\"",
             REQUEST_TIMEOUT_MAX_S, value);
    return options_parse_number(value, REQUEST_TIMEOUT_MAX_S, &options->timeout_s);
}

static const struct option_row rows[] = {
    {"listen", OPTION_VALUE, 0, set_listen},
    {"root", OPTION_TEXT, offsetof(struct options, root), NULL},
    {"reactors", OPTION_VALUE, 0, set_reactors},
    {"watch", OPTION_FLAG, offsetof(struct options, watch), NULL},
    {"sandbox", OPTION_MAYBE, 0, set_sandbox},
    {"allow-read", OPTION_VALUE, 0, add_allow_read},
    {"allow-write", OPTION_VALUE, 0, add_allow_write},
    {"user", OPTION_TEXT, offsetof(struct options, user), NULL},
    {"check", OPTION_FLAG, offsetof(struct options, check), NULL},
    {"routes", OPTION_FLAG, offsetof(struct options, routes), NULL},
    {"request", OPTION_TEXT, offsetof(struct options, request), NULL},
    {"header", OPTION_VALUE, 0, add_request_header},
    {"body", OPTION_TEXT, offsetof(struct options, body), NULL},
    {"timeout", OPTION_VALUE, 0, set_timeout},
    {"version", OPTION_LAST, offsetof(struct options, version), NULL},
    {"help", OPTION_LAST, offsetof(struct options, help), NULL},
};

/* Whether the options fit together. Returns as parse_options(). */
static int check_options(const struct options *options)
{
    if (options->sandbox == 0 && (options->allow_read[0] != '\0' || options->allow_write[0] != '\0')) {
        return usage_error("--allow-read and --allow-write require --sandbox");
    }
    bool has_details = options->header_count > 0 || options->body != NULL || options->timeout_s != 0;
    if (options->check + options->routes + (options->request != NULL) > 1) {
        return usage_error("--check, --routes and --request exclude each other");
    }
    if (options->request == NULL) {
        return has_details ? usage_error("--header, --body and --timeout require --request") : -1;
    }
    if (options->listen[0] != '\0' || options->reactors != 0) {
        return usage_error("--request cannot be combined with --listen or --reactors");
    }
    if (options->request[0] == '\0' || strpbrk(options->request, "\r\n") != NULL) {
        return usage_error("--request expects a method and a target, such as \"GET /users/7\"");
    }
    for (unsigned i = 0; i < options->header_count; i++) {
        if (strchr(options->headers[i], ':') == NULL || strpbrk(options->headers[i], "\r\n") != NULL) {
            return usage_error("--header expects a line such as \"Accept: text/html\"");
        }
    }
    return -1;
}

/* Returns -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, struct options *options)
{
    char text[OPTION_ERROR_MAX];
    int next = options_read(rows, sizeof rows / sizeof rows[0], argc, argv, options, text);
    if (next < 0) {
        return usage_error(text);
    }
    if (options->version) {
        printf("evserve %s\n", evserve_version());
        return EXIT_SUCCESS;
    }
    if (options->help) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (argc - next > 1) {
        snprintf(text, sizeof text, "only one script is allowed, but \"%.80s\" follows \"%.80s\"", argv[next + 1],
                 argv[next]);
        return usage_error(text);
    }
    options->script = argv[next] != NULL && strcmp(argv[next], "-") == 0 ? "/dev/stdin" : argv[next];
    if (options->script == NULL && options->root == NULL) {
        options->root = "public";
    }
    return check_options(options);
}

/* The sockets that systemd passed to this very process become addresses, unless the command line names others. */
static void take_passed_sockets(struct options *options)
{
    int count = systemd_passed_fds(getenv("LISTEN_PID"), getenv("LISTEN_FDS"), getpid());
    for (int fd = SYSTEMD_FIRST_FD; fd < SYSTEMD_FIRST_FD + count; fd++) {
        char address[32];
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        snprintf(address, sizeof address, "fd:%d", fd);
        if (!options->has_listen) {
            add_listen(options, address);
        }
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

/* Control: signals, reloads, the watchdog. A handler only notes what was asked for and wakes the server, which calls
 * attend() between two turns of its loop: so the program has no thread of its own, and with one event loop none at all,
 * which spares the kernel the locks of a shared table of files. */

static struct {
    _Atomic(evserve *) server; /* NULL before it has started */
    const struct options *options;
    struct log_stream *log;
    atomic_uint stops;        /* SIGINT and SIGTERM not yet acted on */
    atomic_bool wants_reload; /* SIGHUP, likewise */
    atomic_bool has_pulse;    /* SIGALRM, likewise: time to look at files, and to calm the watchdog */
    bool is_stopping;
    bool has_watchdog;
    atomic_uint sign_hops; /* threads that the sign of life has still to visit; 0 when none is under way */
    struct systemd_notifier notifier;
} control = {.notifier = {.fd = -1}};

static void notify(const char *news)
{
    systemd_notify(&control.notifier, news);
}

static int64_t now_ms(void)
{
    return sys_now_ns() / 1000000;
}

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGALRM};

static void handle(const int *numbers, size_t count, void (*handler)(int number))
{
    const struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    for (size_t i = 0; i < count; i++) {
        sigaction(numbers[i], &action, NULL);
    }
}

/* How a signal is ignored here. Programs that a script runs inherit SIG_IGN, but not a handler: they start with the
 * default action, so "yes | head" ends. */
static void do_nothing(int number)
{
    (void)number;
}

/* A pipe without a reader and a file that may not grow are errors of write(2) that the writer handles: EPIPE, EFBIG. */
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
    } else if (number == SIGALRM) {
        atomic_store(&control.has_pulse, true);
    } else {
        atomic_fetch_add(&control.stops, 1);
    }
    if (server != NULL) {
        evserve_wake(server);
    }
}

static void reload_server(void)
{
    char err[EVSERVE_ERROR_MAX];
    char line[EVSERVE_ERROR_MAX + 64];
    snprintf(line, sizeof line, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)now_ms() * 1000);
    notify(line);
    int rv = evserve_reload(control.server, err, sizeof err);
    if (rv == 0) {
        snprintf(line, sizeof line, "reloaded %s", control.options->script == NULL ? "" : control.options->script);
    } else {
        snprintf(line, sizeof line, "not reloaded: %s", err);
    }
    log_stream_write(control.log, rv == 0 ? EVSERVE_LOG_INFO : EVSERVE_LOG_ERROR, line);
    notify("READY=1");
}

/* The sign of life goes through every thread of the server: a loop that hangs stops it. */
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

/* Do what signals have asked for; on the server's thread. */
static void attend(void *arg)
{
    (void)arg;
    unsigned stops = atomic_exchange(&control.stops, 0);
    if (stops > 0) {
        bool is_urgent = control.is_stopping || stops > 1; /* whoever asks twice does not want to wait */
        control.is_stopping = true;
        notify("STOPPING=1");
        evserve_stop(control.server, is_urgent ? 0 : DRAIN_MS);
    }
    bool has_pulse = atomic_exchange(&control.has_pulse, false);
    bool wants_reload = atomic_exchange(&control.wants_reload, false);
    if (has_pulse && control.has_watchdog) {
        send_sign();
    }
    if (wants_reload || (has_pulse && control.options->watch && evserve_changed(control.server))) {
        reload_server();
    }
}

/* From here on signals are ours. The pulse is as fast as the faster of its two duties. */
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

/* A script that is gone once it is read cannot be watched. */
static void warn_of_watch(const struct options *options)
{
    if (options->watch && options->script != NULL && file_text_is_passing(options->script)) {
        char line[256];
        snprintf(line, sizeof line, "--watch has no effect: %.120s came through a pipe and cannot be read again",
                 options->script);
        log_stream_write(control.log, EVSERVE_LOG_WARN, line);
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
    log_stream_release(control.log);
    char news[256];
    snprintf(news, sizeof news, "READY=1\nSTATUS=listening on %s", evserve_address(server, 0));
    notify(news);

    int rv = evserve_wait(server);
    handle(signals, sizeof signals / sizeof signals[0], do_nothing); /* there is nothing left to wake */
    if (rv < 0) {
        snprintf(line, sizeof line, "evserve: the event loop failed: %s", errno_text(-rv));
        log_stream_print(control.log, line);
        return EXIT_FAILURE;
    }
    if (rv > 0) {
        snprintf(line, sizeof line, "evserve: %d connection%s cut", rv, rv == 1 ? "" : "s");
        log_stream_print(control.log, line);
    }
    return EXIT_SUCCESS;
}

/* --request. */

/* Copy a file to its end. NULL for a file that could not be opened. */
static bool copy_file(FILE *to, FILE *from)
{
    char block[4096];
    size_t len;
    while (from != NULL && (len = fread(block, 1, sizeof block, from)) > 0) {
        fwrite(block, 1, len, to);
    }
    return from != NULL && !ferror(from);
}

/* Append the content to text: that of a file for "@FILE". Returns false when it cannot be read. */
static bool write_body(FILE *text, const char *body)
{
    if (body[0] != '@') {
        return fputs(body, text) >= 0;
    }
    if (strcmp(body, "@-") == 0) {
        return copy_file(text, stdin);
    }
    FILE *file = fopen(body + 1, "rbe");
    bool is_read = copy_file(text, file);
    if (file != NULL) {
        fclose(file);
    }
    return is_read;
}

/* Read the content of the request; the caller frees it, whatever the verdict. */
static bool read_body(const char *body, char **content, size_t *len)
{
    FILE *text = open_memstream(content, len);
    bool is_read = text != NULL && write_body(text, body);
    if (text != NULL) {
        fclose(text);
    }
    return is_read;
}

static void print_answer(void *arg, const char *data, size_t len)
{
    (void)arg;
    fwrite(data, 1, len, stdout);
}

/* Let the server work until the answer is there. Returns NULL, or what went wrong. */
static const char *exchange(evserve *server, int fd, struct request_client *client, unsigned timeout_s)
{
    int64_t end_ms = now_ms() + timeout_s * 1000LL;
    enum request_progress progress = REQUEST_WAITS;
    while (progress == REQUEST_WAITS) {
        int64_t left_ms = end_ms - now_ms();
        short wanted = request_client_wants_room(client) ? POLLIN | POLLOUT : POLLIN;
        struct pollfd fds[] = {{.fd = fd, .events = wanted}, {.fd = evserve_fd(server), .events = POLLIN}};
        if (left_ms <= 0) {
            return "no complete response before the timeout";
        }
        poll(fds, 2, (int)left_ms);
        if (evserve_poll(server, 0) < 0) {
            return "the event loop failed";
        }
        progress = request_client_advance(client);
        if (fflush(stdout) != 0) {
            return "cannot write to standard output";
        }
    }
    return progress == REQUEST_ANSWERED ? NULL : "the connection was closed before the response was complete";
}

/* Make a connection of the server's to the client and let them talk. Returns NULL, or what went wrong. */
static const char *ask(evserve *server, const struct options *options, int *status)
{
    const struct request_text text = {
        .request = options->request,
        .headers = options->headers,
        .header_count = options->header_count,
        .body = options->content,
        .body_len = options->content_len,
    };
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
        return errno_text(errno);
    }
    struct request_client *client = NULL;
    int rv = evserve_adopt(server, fds[1]);
    rv = rv < 0 ? rv : request_client_create(&client, fds[0], &text, print_answer, NULL);
    const char *error = rv < 0 ? errno_text(-rv)
                               : exchange(server, fds[0], client,
                                          options->timeout_s == 0 ? REQUEST_TIMEOUT_S : options->timeout_s);
    *status = client == NULL ? 0 : request_client_status(client);
    request_client_destroy(client);
    close(fds[0]);
    return error;
}

/* Serve the one request of --request. Returns the exit status. */
static int serve_request(evserve *server, const struct options *options, struct log_stream *log)
{
    int status = 0;
    log_stream_release(log);
    const char *error = ask(server, options, &status);
    if (error != NULL) {
        char line[256];
        snprintf(line, sizeof line, "evserve: %s", error);
        log_stream_print(log, line);
    }
    evserve_stop(server, error == NULL ? DRAIN_MS : 0);
    evserve_wait(server); /* what the script does when it stops */
    return error == NULL && status < 400 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* What the library hands back to our functions: the log comes first, since that is what log_stream_write() wants. */
struct host {
    struct log_stream log;
    const char *user; /* of --user, or NULL */
};

/* All addresses are bound; a sandbox is not there yet. */
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
static int run(const struct options *options, struct host *host, char *err, size_t errlen)
{
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
    int status = options->request == NULL ? serve_until_stopped(server) : serve_request(server, options, &host->log);
    evserve_free(server);
    systemd_notifier_close(&control.notifier);
    return status;
}

/* What the process starts with. */

/* A closed standard fd would be the number of the next file or connection, and what is meant for standard error would
 * go there. */
static void open_standard_fds(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) {
            exit(EXIT_FAILURE); /* nobody hears a reason */
        }
    }
}

int main(int argc, char **argv)
{
    open_standard_fds();
    survive_writing();
    struct options options = {0};
    int status = parse_options(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    if (options.body != NULL && !read_body(options.body, &options.content, &options.content_len)) {
        fprintf(stderr, "evserve: cannot read the body %s: %s\n", options.body, errno_text(errno));
        free(options.content);
        return EXIT_USAGE;
    }
    take_passed_sockets(&options);
    raise_file_limit();

    tzset(); /* reads the time zone, which a sandbox keeps away, for os.date */
    struct host host = {.user = options.user};
    log_stream_init(&host.log, STDERR_FILENO); /* held back while the server starts: the address is the first line */
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
