/* The command line. Exit status: 0 after an orderly stop, 1 when the server cannot start or fails, 2 for usage. */

#include "evserve.h"

#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { EXIT_USAGE = 2, DRAIN_MS = 10000, LISTEN_TEXT_MAX = 4096 };

/* What getopt_long(3) returns for our options: no character, so that optopt tells an unknown "-x" from all of them. */
enum { OPTION_LISTEN = 256, OPTION_ROOT, OPTION_REACTORS, OPTION_CHECK, OPTION_VERSION, OPTION_HELP };

static const char usage[] =
    "Usage: evserve [--listen ADDR]... [--root DIR] [--reactors N] [--check] [SITE.lua]\n"
    "\n"
    "Serve a directory, or what a Lua script says, over HTTP/1.1.\n"
    "\n"
    "  --listen ADDR  listen here: HOST:PORT, [IPv6]:PORT, :PORT, unix:PATH or fd:N; may be given several times\n"
    "                 (default: what the script says, else 127.0.0.1:8080)\n"
    "  --root DIR     serve the files of DIR at / (default without a script: public)\n"
    "  --reactors N   serve with N threads, each with a Lua state of its own; auto: one for each CPU\n"
    "                 (default: one event loop, one Lua state)\n"
    "  --check        load everything, print the route table or what is wrong, and exit\n"
    "  --version      print the version and exit\n"
    "  --help         print this text and exit\n"
    "\n"
    "What is given here wins over the script. SIGINT and SIGTERM let requests in flight finish, for 10 s at most.\n";

struct options {
    char listen[LISTEN_TEXT_MAX]; /* all --listen addresses, separated by commas */
    const char *root;
    const char *script;
    unsigned reactors;
    bool check;
};

/* Signal handlers have no argument to find the server by. */
static evserve *volatile running;
static volatile sig_atomic_t stops;

static void on_signal(int number)
{
    (void)number;
    evserve *server = running;
    if (server != NULL) {
        evserve_stop(server, stops++ == 0 ? DRAIN_MS : 0); /* whoever asks twice does not want to wait */
    }
}

/* SA_RESTART: the event loop wakes up all the same, and a line being written is not cut short. */
static void handle_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

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

/* Returns -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option table[] = {
        {"listen", required_argument, NULL, OPTION_LISTEN},
        {"root", required_argument, NULL, OPTION_ROOT},
        {"reactors", required_argument, NULL, OPTION_REACTORS},
        {"check", no_argument, NULL, OPTION_CHECK},
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
        case OPTION_CHECK:
            options->check = true;
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
    return -1;
}

/* Serve until a signal comes. */
static int serve(evserve *server, struct log_target *target)
{
    running = server;
    handle_signals(); /* whoever reads the address may send one at once */

    const char *address;
    for (unsigned n = 0; (address = evserve_address(server, n)) != NULL; n++) {
        fprintf(stderr, "listening on %s\n", address);
    }
    release_log(target);

    int rv = evserve_wait(server);
    if (rv < 0) {
        fprintf(stderr, "evserve: the event loop failed: %s\n", strerror(-rv));
        return EXIT_FAILURE;
    }
    if (rv > 0) {
        fprintf(stderr, "evserve: %d connection%s cut\n", rv, rv == 1 ? "" : "s");
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    int status = parse_options(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    if (options.script == NULL && options.root == NULL) {
        options.root = "public";
    }

    struct log_target target = {.lock = PTHREAD_MUTEX_INITIALIZER};
    target.stream = open_memstream(&target.early, &target.early_len);
    if (target.stream == NULL) {
        perror("evserve");
        return EXIT_FAILURE;
    }
    struct evserve_config config = {
        .size = sizeof config,
        .listen = options.listen[0] == '\0' ? NULL : options.listen,
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
    } else {
        server = evserve_start(&config, err, sizeof err);
        status = server == NULL ? EXIT_FAILURE : serve(server, &target);
    }
    release_log(&target);
    if (err[0] != '\0') {
        fprintf(stderr, "%s\n", err);
    }
    running = NULL;
    evserve_free(server);
    free(target.early);
    return status;
}
