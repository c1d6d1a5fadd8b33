/* The command line. Exit status: 0 after an orderly stop, 1 when the server cannot start or fails, 2 for usage; with
 * --request 0 for an answer with a status below 400, else 1. */

#include "evserve.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
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
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    EXIT_USAGE = 2,
    DRAIN_MS = 10000,
    WATCH_MS = 1000, /* how often --watch looks at the files */
    LISTEN_TEXT_MAX = 4096,
    FIRST_PASSED_FD = 3, /* of systemd's: sd_listen_fds(3) */
    PASSED_FDS_MAX = 64, /* more are not looked at; the library refuses far fewer, with a text */
    REQUEST_HEADERS_MAX = 100,
    REQUEST_TIMEOUT_S = 30,
    ANSWER_HEAD_MAX = 65536, /* bytes of an answer's head, more than the server ever sends */
};

/* What getopt_long(3) returns for our options: no character, so that optopt tells an unknown "-x" from all of them. */
enum {
    OPTION_LISTEN = 256,
    OPTION_ROOT,
    OPTION_REACTORS,
    OPTION_WATCH,
    OPTION_CHECK,
    OPTION_ROUTES,
    OPTION_REQUEST,
    OPTION_HEADER,
    OPTION_BODY,
    OPTION_TIMEOUT,
    OPTION_VERSION,
    OPTION_HELP
};

static const char usage[] =
    "Usage: evserve [--listen ADDR]... [--root DIR] [--reactors N] [--watch] [SITE.lua]\n"
    "       evserve --check | --routes [SITE.lua]\n"
    "       evserve --request REQ [--header LINE]... [--body TEXT] [--timeout S] [SITE.lua]\n"
    "\n"
    "Serve a directory, or what a Lua script says, over HTTP/1.1.\n"
    "\n"
    "  --listen ADDR  listen here: HOST:PORT, [IPv6]:PORT, :PORT, unix:PATH or fd:N; may be given several times\n"
    "                 (default: what the script says, else 127.0.0.1:8080)\n"
    "  --root DIR     serve the files of DIR at / (default without a script: public)\n"
    "  --reactors N   serve with N threads, each with a Lua state of its own; auto: one for each CPU\n"
    "                 (default: one event loop, one Lua state)\n"
    "  --watch        reload when the script, or a file that it required, changes\n"
    "  --check        load everything, print what there is or what is wrong, and exit\n"
    "  --routes       print the route table and exit: methods, path, name and place of each route\n"
    "  --request REQ  answer one request, such as \"GET /users/7\", without listening: the whole server is at work, but\n"
    "                 the answer is printed (head and content) and the log goes to standard error. The exit status is\n"
    "                 0 for an answer below 400, else 1\n"
    "  --header LINE  a header field of it, such as \"Accept: text/html\"; may be given several times\n"
    "  --body TEXT    its content; @FILE takes that of a file, @- standard input\n"
    "  --timeout S    give up after so many seconds (default: 30)\n"
    "  --version      print the version and exit\n"
    "  --help         print this text and exit\n"
    "\n"
    "What is given here wins over the script. SIGINT and SIGTERM let requests in flight finish, for 10 s at most.\n"
    "SIGHUP reloads the script; what does not load leaves the old one serving.\n";

struct options {
    char listen[LISTEN_TEXT_MAX]; /* all --listen addresses, or systemd's sockets, separated by commas */
    bool has_listen;              /* --listen was given */
    const char *root;
    const char *script;
    unsigned reactors;
    bool watch;
    bool check;
    bool routes;
    const char *request;                      /* "GET /users/7", or NULL */
    const char *headers[REQUEST_HEADERS_MAX]; /* field lines of the request, header_count of them */
    unsigned header_count;
    const char *body; /* text or @FILE, or NULL */
    unsigned timeout_s;
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

/* Where log lines go: to memory while the server starts, since the first line on standard error is the address. */
struct log_target {
    pthread_mutex_t lock; /* threads of the server may log while it is switched */
    FILE *stream;
    char *early; /* what was logged during the start */
    size_t early_len;
};

static void log_line(void *arg, int level, const char *line)
{
    static const char *const names[] = {"log", "error", "warn", "info", "debug"};
    struct log_target *target = arg;
    char when[32] = "";
    time_t now = time(NULL);
    struct tm tm;
    if (gmtime_r(&now, &tm) != NULL) {
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    pthread_mutex_lock(&target->lock);
    fprintf(target->stream, "%s %s %s\n", when, names[level < 0 || level > EVSERVE_LOG_DEBUG ? 0 : level], line);
    pthread_mutex_unlock(&target->lock);
}

/* From here on lines go to standard error, after those that were kept. */
static void release_log(struct log_target *target)
{
    pthread_mutex_lock(&target->lock);
    if (target->stream != stderr) {
        fclose(target->stream);
        fputs(target->early, stderr);
        target->stream = stderr;
    }
    pthread_mutex_unlock(&target->lock);
}

static void print_line(void *arg, const char *text)
{
    (void)arg;
    puts(text);
}

static int add_listen(struct options *options, const char *address)
{
    size_t used = strlen(options->listen);
    int len = snprintf(options->listen + used, sizeof options->listen - used, "%s%s", used == 0 ? "" : ",", address);
    return len < 0 || (size_t)len >= sizeof options->listen - used ? -1 : 0;
}

static int usage_error(const char *what)
{
    fprintf(stderr, "evserve: %s; try 'evserve --help'\n", what);
    return EXIT_USAGE;
}

/* What getopt_long(3) complained of: verdict is ':' or '?', argument where it stopped. */
static int option_error(int verdict, const char *argument)
{
    char text[256];
    if (optopt > 0 && optopt < OPTION_LISTEN) { /* one letter of several, perhaps */
        snprintf(text, sizeof text, "unknown option -%c", optopt);
    } else if (optopt > 0) {
        snprintf(text, sizeof text, "%.200s %s", argument, verdict == ':' ? "needs a value" : "takes no value");
    } else {
        snprintf(text, sizeof text, "unknown option %.200s", argument);
    }
    return usage_error(text);
}

/* "auto", or a number of threads. */
static bool parse_reactors(const char *text, unsigned *reactors)
{
    if (strcmp(text, "auto") == 0) {
        cpu_set_t cpus;
        int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
        *reactors = count > EVSERVE_REACTORS_MAX ? EVSERVE_REACTORS_MAX : (unsigned)count;
        return true;
    }
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    *reactors = (unsigned)number;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && number >= 1 && number <= EVSERVE_REACTORS_MAX;
}

static bool parse_timeout(const char *text, unsigned *timeout_s)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    *timeout_s = (unsigned)number;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && number >= 1 && number <= 86400;
}

/* Whether the options fit together. Returns as parse_options(). */
static int check_options(const struct options *options)
{
    bool has_details = options->header_count > 0 || options->body != NULL || options->timeout_s != 0;
    if (options->check + options->routes + (options->request != NULL) > 1) {
        return usage_error("only one of --check, --routes and --request");
    }
    if (options->request == NULL) {
        return has_details ? usage_error("--header, --body and --timeout belong to --request") : -1;
    }
    if (options->listen[0] != '\0' || options->reactors != 0) {
        return usage_error("--request is served without --listen and --reactors");
    }
    if (options->request[0] == '\0' || strpbrk(options->request, "\r\n") != NULL) {
        return usage_error("--request wants a method and a target, such as \"GET /users/7\"");
    }
    for (unsigned i = 0; i < options->header_count; i++) {
        if (strchr(options->headers[i], ':') == NULL || strpbrk(options->headers[i], "\r\n") != NULL) {
            return usage_error("--header wants a line such as \"Accept: text/html\"");
        }
    }
    return -1;
}

/* Returns -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option table[] = {
        {"listen", required_argument, NULL, OPTION_LISTEN},
        {"root", required_argument, NULL, OPTION_ROOT},
        {"reactors", required_argument, NULL, OPTION_REACTORS},
        {"watch", no_argument, NULL, OPTION_WATCH},
        {"check", no_argument, NULL, OPTION_CHECK},
        {"routes", no_argument, NULL, OPTION_ROUTES},
        {"request", required_argument, NULL, OPTION_REQUEST},
        {"header", required_argument, NULL, OPTION_HEADER},
        {"body", required_argument, NULL, OPTION_BODY},
        {"timeout", required_argument, NULL, OPTION_TIMEOUT},
        {"version", no_argument, NULL, OPTION_VERSION},
        {"help", no_argument, NULL, OPTION_HELP},
        {NULL, 0, NULL, 0},
    };
    char text[256];
    int option;
    while ((option = getopt_long(argc, argv, ":", table, NULL)) != -1) {
        switch (option) {
        case OPTION_LISTEN:
            if (optarg[0] == '\0' || add_listen(options, optarg) < 0) {
                return usage_error("--listen needs an address, and not too many of them");
            }
            options->has_listen = true;
            break;
        case OPTION_ROOT:
            options->root = optarg;
            break;
        case OPTION_REACTORS:
            if (!parse_reactors(optarg, &options->reactors)) {
                snprintf(text, sizeof text, "--reactors wants auto or a number from 1 to %d, not \"%.80s\"",
                         EVSERVE_REACTORS_MAX, optarg);
                return usage_error(text);
            }
            break;
        case OPTION_WATCH:
            options->watch = true;
            break;
        case OPTION_CHECK:
            options->check = true;
            break;
        case OPTION_ROUTES:
            options->routes = true;
            break;
        case OPTION_REQUEST:
            options->request = optarg;
            break;
        case OPTION_HEADER:
            if (options->header_count == REQUEST_HEADERS_MAX) {
                snprintf(text, sizeof text, "more than %d --header", REQUEST_HEADERS_MAX);
                return usage_error(text);
            }
            options->headers[options->header_count++] = optarg;
            break;
        case OPTION_BODY:
            options->body = optarg;
            break;
        case OPTION_TIMEOUT:
            if (!parse_timeout(optarg, &options->timeout_s)) {
                snprintf(text, sizeof text, "--timeout wants a number of seconds from 1 to 86400, not \"%.80s\"",
                         optarg);
                return usage_error(text);
            }
            break;
        case OPTION_VERSION:
            printf("evserve %s\n", evserve_version());
            return EXIT_SUCCESS;
        case OPTION_HELP:
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        default:
            return option_error(option, argv[optind - 1]);
        }
    }
    if (argc - optind > 1) {
        snprintf(text, sizeof text, "one script at most, but \"%.80s\" follows \"%.80s\"", argv[optind + 1],
                 argv[optind]);
        return usage_error(text);
    }
    options->script = argv[optind];
    return check_options(options);
}

/* systemd: sockets that it passes, and news for it (sd_listen_fds(3), sd_notify(3)), without its library. */

/* The sockets that systemd passed to this very process become addresses, unless the command line names others. */
static void take_passed_sockets(struct options *options)
{
    const char *pid = getenv("LISTEN_PID");
    const char *fds = getenv("LISTEN_FDS");
    long count = fds == NULL || pid == NULL || strtol(pid, NULL, 10) != getpid() ? 0 : strtol(fds, NULL, 10);
    for (int i = 0; i < count && i < PASSED_FDS_MAX; i++) {
        char address[32];
        int fd = FIRST_PASSED_FD + i;
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

/* Tell systemd, if it started us and wants to know. */
static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path == NULL ? 0 : strlen(path);
    if (len < 2 || len >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@')) {
        return;
    }
    memcpy(address.sun_path, path, len);
    if (path[0] == '@') {
        address.sun_path[0] = '\0'; /* an abstract name */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
        close(fd);
    }
}

/* How often systemd's watchdog wants a sign of life, 0 for never: twice as often as it asks for. */
static long watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    if (usec == NULL || (pid != NULL && strtol(pid, NULL, 10) != getpid())) {
        return 0;
    }
    long long period = strtoll(usec, NULL, 10);
    return period < 2000 ? 0 : (long)(period / 2000);
}

/* Control: a thread beside the server's, which sleeps until there is a signal, or time to look at files or to calm the
 * watchdog. */

struct control {
    evserve *server;
    struct log_target *log;
    const struct options *options;
    pthread_t thread;
    sigset_t signals;    /* that it waits for, blocked in every other thread */
    atomic_bool is_over; /* the server has ended, the thread shall */
    atomic_uint
        sign_hops; /* threads of the server that the sign of life has still to visit; 0 when none is under way */
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void reload(const struct control *control)
{
    char err[EVSERVE_ERROR_MAX];
    char line[EVSERVE_ERROR_MAX + 64];
    snprintf(line, sizeof line, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)now_ms() * 1000);
    notify(line);
    int rv = evserve_reload(control->server, err, sizeof err);
    if (rv == 0) {
        snprintf(line, sizeof line, "reloaded %s", control->options->script == NULL ? "" : control->options->script);
    } else {
        snprintf(line, sizeof line, "not reloaded: %s", err);
    }
    log_line(control->log, rv == 0 ? EVSERVE_LOG_INFO : EVSERVE_LOG_ERROR, line);
    notify("READY=1");
}

/* The sign of life goes through every thread of the server: a loop that hangs stops it. */
static void pass_sign(void *arg)
{
    struct control *control = arg;
    unsigned next = atomic_fetch_sub(&control->sign_hops, 1) - 1;
    if (next == 0) {
        notify("WATCHDOG=1");
    } else if (evserve_post_to(control->server, next - 1, pass_sign, control) < 0) {
        atomic_store(&control->sign_hops, 0);
    }
}

static void send_sign(struct control *control)
{
    unsigned threads = control->options->reactors == 0 ? 1 : control->options->reactors;
    unsigned none = 0;
    if (atomic_compare_exchange_strong(&control->sign_hops, &none, threads) &&
        evserve_post_to(control->server, threads - 1, pass_sign, control) < 0) {
        atomic_store(&control->sign_hops, 0);
    }
}

/* Wait for a signal until a time; 0 when that has come first. */
static int wait_for_signal(const struct control *control, int64_t until_ms)
{
    int64_t left_ms = until_ms - now_ms();
    left_ms = left_ms < 0 ? 0 : left_ms;
    struct timespec left = {.tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000};
    int number = until_ms == INT64_MAX ? sigwaitinfo(&control->signals, NULL)
                                       : sigtimedwait(&control->signals, NULL, &left);
    return number < 0 ? 0 : number;
}

static void *run_control(void *arg)
{
    struct control *control = arg;
    int64_t watch_ms = control->options->watch ? WATCH_MS : 0;
    int64_t sign_ms = watchdog_ms();
    int64_t next_watch_ms = watch_ms == 0 ? INT64_MAX : now_ms() + watch_ms;
    int64_t next_sign_ms = sign_ms == 0 ? INT64_MAX : now_ms();
    for (int stops = 0; !control->is_over;) {
        int number = wait_for_signal(control, next_watch_ms < next_sign_ms ? next_watch_ms : next_sign_ms);
        if (control->is_over) {
            break;
        }
        if (number == SIGINT || number == SIGTERM) {
            notify("STOPPING=1");
            evserve_stop(control->server, stops++ == 0 ? DRAIN_MS : 0); /* whoever asks twice does not want to wait */
        } else if (number == SIGHUP) {
            reload(control);
        }
        if (now_ms() >= next_sign_ms) {
            next_sign_ms = now_ms() + sign_ms;
            send_sign(control);
        }
        if (now_ms() >= next_watch_ms) {
            next_watch_ms = now_ms() + watch_ms;
            if (evserve_changed(control->server)) {
                reload(control);
            }
        }
    }
    return NULL;
}

static void block_signals(struct control *control)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    sigemptyset(&control->signals);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaddset(&control->signals, numbers[i]);
    }
    pthread_sigmask(SIG_BLOCK, &control->signals, NULL);
}

/* Serve until a signal comes. */
static int serve(evserve *server, const struct options *options, struct log_target *log)
{
    struct control control = {.server = server, .options = options, .log = log};
    block_signals(&control); /* whoever reads the address may send one at once */
    int rv = pthread_create(&control.thread, NULL, run_control, &control);
    if (rv != 0) {
        fprintf(stderr, "evserve: cannot start a thread: %s\n", strerror(rv));
        return EXIT_FAILURE;
    }
    const char *address;
    for (unsigned n = 0; (address = evserve_address(server, n)) != NULL; n++) {
        fprintf(stderr, "listening on %s\n", address);
    }
    release_log(log);
    char news[256];
    snprintf(news, sizeof news, "READY=1\nSTATUS=listening on %s", evserve_address(server, 0));
    notify(news);

    rv = evserve_wait(server);
    atomic_store(&control.is_over, true);
    pthread_kill(control.thread, SIGHUP); /* wakes it */
    pthread_join(control.thread, NULL);
    if (rv < 0) {
        fprintf(stderr, "evserve: the event loop failed: %s\n", strerror(-rv));
        return EXIT_FAILURE;
    }
    if (rv > 0) {
        fprintf(stderr, "evserve: %d connection%s cut\n", rv, rv == 1 ? "" : "s");
    }
    return EXIT_SUCCESS;
}

/* --request. */

static bool has_header(const struct options *options, const char *name)
{
    size_t len = strlen(name);
    for (unsigned i = 0; i < options->header_count; i++) {
        if (strncasecmp(options->headers[i], name, len) == 0 && options->headers[i][len] == ':') {
            return true;
        }
    }
    return false;
}

/* Append the content to text: that of a file for "@FILE". Returns false when it cannot be read. */
static bool write_body(FILE *text, const char *body)
{
    if (body[0] != '@') {
        return fputs(body, text) >= 0;
    }
    FILE *file = strcmp(body, "@-") == 0 ? stdin : fopen(body + 1, "rbe");
    char block[4096];
    size_t len;
    while (file != NULL && (len = fread(block, 1, sizeof block, file)) > 0) {
        fwrite(block, 1, len, text);
    }
    bool is_read = file != NULL && !ferror(file);
    if (file != NULL && file != stdin) {
        fclose(file);
    }
    return is_read;
}

/* Make the bytes of the request; the caller frees them. Returns -1 to go on, else the exit status. */
static int make_request(const struct options *options, char **bytes, size_t *len)
{
    char *body = NULL;
    size_t body_len = 0;
    FILE *text = open_memstream(&body, &body_len);
    bool is_read = text != NULL && (options->body == NULL || write_body(text, options->body));
    if (text != NULL) {
        fclose(text);
    }
    text = is_read ? open_memstream(bytes, len) : NULL;
    if (text == NULL) {
        fprintf(stderr, "evserve: cannot read the body %s: %s\n", options->body == NULL ? "" : options->body,
                strerror(errno));
        free(body);
        return EXIT_USAGE;
    }
    bool has_method = strchr(options->request, ' ') != NULL;
    fprintf(text, "%s%s HTTP/1.1\r\n", has_method ? "" : "GET ", options->request);
    fputs(has_header(options, "host") ? "" : "Host: localhost\r\n", text);
    for (unsigned i = 0; i < options->header_count; i++) {
        fprintf(text, "%s\r\n", options->headers[i]);
    }
    if (options->body != NULL && !has_header(options, "content-length") && !has_header(options, "transfer-encoding")) {
        fprintf(text, "Content-Length: %zu\r\n", body_len);
    }
    fputs("\r\n", text);
    fwrite(body, 1, body_len, text);
    fclose(text);
    free(body);
    return -1;
}

/* An answer being read and printed: its head with plain line ends, then its content, taken out of its chunks. */
struct answer {
    enum { HEAD, CONTENT, CONTENT_TO_END, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER, COMPLETE } at;
    bool is_head; /* of a HEAD request: there is no content */
    int status;
    unsigned long long left;    /* bytes of the content or the chunk still to come */
    size_t line_len;            /* bytes of the line of a trailer so far */
    size_t head_len;            /* of head */
    char head[ANSWER_HEAD_MAX]; /* with its empty line */
};

/* The head is there: print it, and find out how the content ends. */
static void begin_content(struct answer *answer)
{
    answer->head[answer->head_len] = '\0';
    answer->status = atoi(answer->head + strcspn(answer->head, " "));
    answer->head_len = 0;
    if (answer->status < 200) { /* another head follows */
        return;
    }
    const char *length = strcasestr(answer->head, "\r\nContent-Length:");
    for (const char *c = answer->head; *c != '\0'; c++) {
        if (*c != '\r') {
            putchar(*c);
        }
    }
    answer->left = length == NULL ? 0 : strtoull(strchr(length, ':') + 1, NULL, 10);
    if (answer->is_head || answer->status == 204 || answer->status == 304) {
        answer->at = COMPLETE;
    } else if (strcasestr(answer->head, "\r\nTransfer-Encoding:") != NULL) {
        answer->at = CHUNK_SIZE;
    } else if (length == NULL) {
        answer->at = CONTENT_TO_END;
    } else {
        answer->at = answer->left == 0 ? COMPLETE : CONTENT;
    }
}

/* Take one byte of what is not content. */
static void take_framing(struct answer *answer, char byte)
{
    switch (answer->at) {
    case HEAD:
        answer->head[answer->head_len++] = byte;
        if (answer->head_len >= 4 && memcmp(answer->head + answer->head_len - 4, "\r\n\r\n", 4) == 0) {
            begin_content(answer);
        } else if (answer->head_len == ANSWER_HEAD_MAX - 1) {
            answer->head_len = 0; /* no server of ours sends that; the answer ends up incomplete */
        }
        break;
    case CHUNK_SIZE:
        if (byte == '\n') {
            answer->at = answer->left == 0 ? TRAILER : CHUNK;
            answer->line_len = 0;
        } else if (byte != '\r') {
            answer->left = answer->left * 16 + (unsigned)(byte <= '9' ? byte - '0' : (byte | ' ') - 'a' + 10);
        }
        break;
    case CHUNK_END:
        answer->at = byte == '\n' ? CHUNK_SIZE : CHUNK_END;
        break;
    case TRAILER:
        if (byte == '\n' && answer->line_len == 0) {
            answer->at = COMPLETE;
        }
        answer->line_len = byte == '\n' ? 0 : answer->line_len + (byte != '\r');
        break;
    default:
        break;
    }
}

/* Take what came, and print it. */
static void take_answer(struct answer *answer, const char *data, size_t len)
{
    while (len > 0 && answer->at != COMPLETE) {
        size_t used = 1;
        if (answer->at == CONTENT || answer->at == CHUNK) {
            used = answer->left < len ? (size_t)answer->left : len;
            fwrite(data, 1, used, stdout);
            answer->left -= used;
            if (answer->left == 0) {
                answer->at = answer->at == CHUNK ? CHUNK_END : COMPLETE;
            }
        } else if (answer->at == CONTENT_TO_END) {
            used = len;
            fwrite(data, 1, used, stdout);
        } else {
            take_framing(answer, *data);
        }
        data += used;
        len -= used;
    }
    fflush(stdout);
}

/* Read once. Returns whether more may come. */
static bool read_answer(struct answer *answer, int fd)
{
    char block[16384];
    ssize_t len = recv(fd, block, sizeof block, MSG_DONTWAIT);
    if (len > 0) {
        take_answer(answer, block, (size_t)len);
        return answer->at != COMPLETE;
    }
    if (len == 0 && answer->at == CONTENT_TO_END) {
        answer->at = COMPLETE;
    }
    return len < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Let the server work until the answer is there. Returns NULL, or what went wrong. */
static const char *exchange(evserve *server, int fd, const char *bytes, size_t len, unsigned timeout_s,
                            struct answer *answer)
{
    int64_t end_ms = now_ms() + timeout_s * 1000LL;
    bool goes_on = true;
    while (goes_on) {
        int64_t left_ms = end_ms - now_ms();
        short wanted = len > 0 ? POLLIN | POLLOUT : POLLIN;
        struct pollfd fds[] = {{.fd = fd, .events = wanted}, {.fd = evserve_fd(server), .events = POLLIN}};
        if (left_ms <= 0) {
            return "there was no whole answer in time";
        }
        poll(fds, 2, (int)left_ms);
        if (len > 0) {
            ssize_t sent = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
            bool is_refused = sent < 0 && errno != EAGAIN && errno != EINTR; /* what was answered can still be read */
            bytes += sent > 0 ? sent : 0;
            len -= is_refused ? len : sent > 0 ? (size_t)sent : 0;
        }
        if (evserve_poll(server, 0) < 0) {
            return "the event loop failed";
        }
        goes_on = read_answer(answer, fd);
    }
    return answer->at == COMPLETE ? NULL : "the connection was closed before the end of the answer";
}

/* Serve the one request of --request. Returns the exit status. */
static int serve_request(evserve *server, struct log_target *target, const struct options *options, const char *bytes,
                         size_t len)
{
    release_log(target);
    static struct answer answer;
    int fds[2];
    answer.is_head = strncmp(options->request, "HEAD ", 5) == 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        fprintf(stderr, "evserve: no socket for the request: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    int rv = evserve_adopt(server, fds[1]);
    const char *error = rv < 0 ? strerror(-rv)
                               : exchange(server, fds[0], bytes, len,
                                          options->timeout_s == 0 ? REQUEST_TIMEOUT_S : options->timeout_s, &answer);
    close(fds[0]);
    if (error != NULL) {
        fprintf(stderr, "evserve: %s\n", error);
    }
    evserve_stop(server, error == NULL ? DRAIN_MS : 0);
    evserve_wait(server); /* what the script does when it stops */
    return error == NULL && answer.status < 400 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    int status = parse_options(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    take_passed_sockets(&options);
    if (options.script == NULL && options.root == NULL) {
        options.root = "public";
    }
    char *request = NULL;
    size_t request_len = 0;
    if (options.request != NULL) {
        status = make_request(&options, &request, &request_len);
        if (status >= 0) {
            return status;
        }
    }

    struct log_target target = {.lock = PTHREAD_MUTEX_INITIALIZER};
    target.stream = open_memstream(&target.early, &target.early_len);
    if (target.stream == NULL) {
        perror("evserve");
        return EXIT_FAILURE;
    }
    struct evserve_config config = {
        .size = sizeof config,
        .listen = options.request != NULL     ? "none"
                  : options.listen[0] == '\0' ? NULL
                                              : options.listen,
        .root = options.root,
        .script = options.script,
        .reactors = options.reactors,
        .log = log_line,
        .arg = &target,
    };
    char err[EVSERVE_ERROR_MAX] = "";
    raise_file_limit();
    evserve *server = NULL;
    if (options.check) {
        status = evserve_check(&config, print_line, NULL, err, sizeof err) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    } else if (options.routes) {
        status = evserve_routes(&config, print_line, NULL, err, sizeof err) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    } else {
        server = evserve_start(&config, err, sizeof err);
        status = server == NULL            ? EXIT_FAILURE
                 : options.request == NULL ? serve(server, &options, &target)
                                           : serve_request(server, &target, &options, request, request_len);
    }
    release_log(&target);
    if (err[0] != '\0') {
        fprintf(stderr, "%s\n", err);
    }
    evserve_free(server);
    free(target.early);
    free(request);
    return status;
}
