/* The table of the options, a function for each that is more than a text or a flag, and the rules for their
 * combinations. */

#include "core/program/command_line.h"
#include "core/destinations.h"

#include "core/file_text.h"
#include "core/program/options.h"
#include "core/tls_dev.h"
#include "evserve.h"
#include "http/access_format.h"
#include "http/hsts.h"
#include "http/limits.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REQUEST_TIMEOUT_MAX_S = 86400 };

static const char usage[] =
    "Usage: evserve [--listen ADDR]... [--root DIR] [--reactors N] [--watch] [--reload-timeout TIME]\n"
    "               [--supervise]\n"
    "               [--tls-cert FILE [--tls-key FILE]]... [--tls-dev[=NAME,...]] [--acme DIR] [--hsts TIME]\n"
    "               [--log FILE] [--log-level LEVEL] [--log-format FORMAT] [--log-slow TIME]\n"
    "               [--access-log WHERE [--access-log-format FORMAT]]\n"
    "               [--sandbox[=require]] [--allow-read PATH]... [--allow-write PATH]...\n"
    "               [--allow-connect HOST:PORT]...\n"
    "               [--user NAME] [--pid-file PATH] [SITE.lua]\n"
    "       evserve --reload PATH | --upgrade PATH\n"
    "       evserve --check | --routes [SITE.lua]\n"
    "       evserve --test TESTS.lua [--only TEXT] SITE.lua\n"
    "       evserve --pack SITE.lua [PATH]... -o FILE\n"
    "       evserve --request REQ [--header LINE]... [--body TEXT] [--timeout S] [SITE.lua]\n"
    "\n"
    "Serve a directory, or the routes of a Lua script, over HTTP/1.1.\n"
    "\n"
    "  SITE.lua       the Lua script; - means standard input. A script read from a pipe cannot be reloaded\n"
    "  --listen ADDR  listen on HOST:PORT, [IPv6]:PORT, :PORT, unix:PATH, unix:@NAME or fd:N; may be repeated\n"
    "                 (default: the script's addresses, or 127.0.0.1:8080). unix:PATH?mode=660 sets file permissions\n"
    "                 :443?tls, and ?tls behind any other address, serves HTTPS there; :80?redirect_https redirects\n"
    "                 all requests to it; ?proxy requires the PROXY protocol (haproxy: send-proxy-v2)\n"
    "  --tls-cert FILE   the certificate, in PEM, with the intermediate ones behind it; may be repeated: the first is\n"
    "                 the default, others are chosen by server name. Without it, the script's (app.tls), which\n"
    "                 can also ask clients for certificates\n"
    "  --tls-key FILE    the key of the --tls-cert before it (default: it is in the same file)\n"
    "  --tls-dev[=NAME,...]   for development: HTTPS with a certificate that is made in memory, for localhost and\n"
    "                 these names; its fingerprint is logged. If no address has ?tls, every address gets it\n"
    "  --tls-dev-anywhere   allow that on addresses that other machines can connect to, too\n"
    "  --acme DIR     serve the challenges that an ACME client (certbot, acme.sh, ...) puts into DIR\n"
    "  --hsts TIME    have browsers keep to HTTPS for so long (Strict-Transport-Security), such as 365d or\n"
    "                 \"365d; includeSubDomains\"\n"
    "  --log FILE     append the log to FILE instead of standard error; SIGUSR1 opens it again, for logrotate\n"
    "  --log-level LEVEL   what is logged: error, warn, info (default) or debug, with what comes before it\n"
    "  --log-format FORMAT\n"
    "                 text (default), json: an object on each line, or journal: <N> priorities for journald, which is\n"
    "                 the default if standard error is its stream\n"
    "  --log-slow TIME   log each request that takes longer than TIME, such as 1s, and what its time was spent on\n"
    "  --access-log WHERE\n"
    "                 write a line for each response to WHERE: a file, stdout, or syslog: (off: none, of no host\n"
    "                 either). SIGUSR1 opens the files again, for logrotate\n"
    "  --access-log-format FORMAT\n"
    "                 combined (default), json, or a text with nginx's $variables: '$remote_addr $request $status'\n"
    "  --root DIR     serve the files of DIR at / (default without a script: public)\n"
    "  --reactors N   serve with N threads, each with its own event loop and Lua state; auto: one per CPU\n"
    "                 (default: one event loop and one Lua state)\n"
    "  --watch        reload when the script, or a file that it required or read at startup, changes\n"
    "  --reload-timeout TIME\n"
    "                 how long the script may take to load in a reload, such as 30s (the default)\n"
    "  --supervise    start the server again when it crashes, later each time, and keep its sockets meanwhile\n"
    "  --sandbox[=require]\n"
    "                 after startup, give up running programs, opening connections, and access to all files except\n"
    "                 the served directories and the script's folder; require: refuse to start if the kernel or\n"
    "                 this build cannot do all of it\n"
    "  --allow-read PATH   in the sandbox, also allow reading this directory or file; may be repeated\n"
    "  --allow-write PATH  in the sandbox, also allow reading and changing this directory or file; may be repeated\n"
    "  --allow-connect HOST:PORT\n"
    "                 in the sandbox, also allow connecting to this server: api.example.org:443, *.example.org:443,\n"
    "                 [::1]:6379, 10.0.0.0/8:5432, *:443, unix:PATH; may be repeated\n"
    "  --user NAME    start as root and become this user once all addresses are bound\n"
    "  --pid-file PATH   write the process id to PATH while serving\n"
    "  --reload PATH  have the server whose --pid-file is PATH reload, and wait for the result: the exit status is 0\n"
    "                 if it has, else 1\n"
    "  --upgrade PATH have the server whose --pid-file is PATH start the program anew, as it is installed now, and\n"
    "                 hand its sockets over; wait until the new one serves. No client is turned away. SIGUSR2 does\n"
    "                 the same\n"
    "  --check        load everything, print the configuration or the error, and exit\n"
    "  --pack         write a program, FILE of -o, that is this one with the script and these files and folders inside,\n"
    "                 and serves them without the disk: evserve --pack site.lua lib public -o board\n"
    "  --routes       print the route table (methods, path, name and place of each route), and exit\n"
    "  --request REQ  process one request, such as \"GET /users/7\", without listening: print the response (head and\n"
    "                 content), and exit. The exit status is 0 if the response status is below 400, else 1\n"
    "  --header LINE  add a header field to that request, such as \"Accept: text/html\"; may be repeated\n"
    "  --body TEXT    the content of that request; @FILE reads it from a file, @- from standard input\n"
    "  --timeout S    give up after S seconds (default: 30)\n"
    "  --test TESTS.lua   run a file of tests against SITE.lua, in this process and without listening; t:advance moves\n"
    "                 the clock. The report is in the Test Anything Protocol, and a case that fails shows the log. The\n"
    "                 exit status is 0 if all have passed, else 1\n"
    "  --only TEXT    of the tests, run only the cases whose name contains TEXT\n"
    "  --version      print the version and exit\n"
    "  --help         print this text and exit\n"
    "\n"
    "The command line takes precedence over the script. On SIGINT or SIGTERM, requests in flight, and work that\n"
    "scripts have begun, get up to drain_timeout (10 s) to finish; a second signal ends the server at once.\n"
    "SIGQUIT waits for all of them. SIGUSR1 opens the files of the logs again.\n"
    "SIGHUP reloads the script; if the new one does not load, the old one keeps serving.\n"
    "SIGUSR2 replaces the program; if the new one does not start, the old one keeps serving.\n";

bool command_line_add_listen(struct command_line *options, const char *address)
{
    return options_append(options->listen, sizeof options->listen, ',', address);
}

static int usage_error(const char *what)
{
    fprintf(stderr, "evserve: %s; try 'evserve --help'\n", what);
    return EXIT_USAGE;
}

/* The options, with the functions that take a value: true, or false with a text in err. */

static bool set_listen(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    options->has_listen = true;
    snprintf(err, OPTION_ERROR_MAX, "--listen expects an address; all of them together may have at most %d bytes",
             LISTEN_TEXT_MAX - 1);
    return value[0] != '\0' && command_line_add_listen(options, value);
}

static bool set_reactors(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
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
    struct command_line *options = arg;
    options->sandbox = value == NULL ? EVSERVE_SANDBOX : EVSERVE_SANDBOX_REQUIRE;
    snprintf(err, OPTION_ERROR_MAX, "--sandbox accepts only =require, not \"%.80s\"", value == NULL ? "" : value);
    return value == NULL || strcmp(value, "require") == 0;
}

/* Add a path to a list of the sandbox, which has colons between the paths. */
static bool add_path(char *list, const char *option, const char *path, char *err)
{
    snprintf(err, OPTION_ERROR_MAX, "%s expects a path without a colon, and all of them in %d bytes, not \"%.80s\"",
             option, ALLOW_TEXT_MAX - 1, path);
    return path[0] != '\0' && strchr(path, ':') == NULL && options_append(list, ALLOW_TEXT_MAX, ':', path);
}

static bool add_allow_read(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    return add_path(options->allow_read, "--allow-read", value, err);
}

static bool add_allow_write(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    return add_path(options->allow_write, "--allow-write", value, err);
}

/* Add a server to the list, which has commas between them. */
static bool add_allow_connect(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    struct destinations *list = NULL;
    char why[OPTION_ERROR_MAX / 2] = "it is empty";
    bool is_valid = value[0] != '\0' && destinations_parse_allowed(&list, value, why, sizeof why) == 0;
    destinations_destroy(list);
    if (!is_valid) {
        snprintf(err, OPTION_ERROR_MAX, "--allow-connect: %s", why);
        return false;
    }
    snprintf(err, OPTION_ERROR_MAX, "--allow-connect: all servers must fit into %d bytes", ALLOW_TEXT_MAX - 1);
    return options_append(options->allow_connect, ALLOW_TEXT_MAX, ',', value);
}

static bool add_tls_cert(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    snprintf(err, OPTION_ERROR_MAX, "--tls-cert expects a file, and may be repeated %d times at most", TLS_PAIRS_MAX);
    if (value[0] == '\0' || options->tls_count == TLS_PAIRS_MAX) {
        return false;
    }
    options->tls[options->tls_count++].cert = value;
    return true;
}

static bool add_tls_key(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    snprintf(err, OPTION_ERROR_MAX, "--tls-key expects a file, and belongs behind its --tls-cert: \"%.80s\"", value);
    if (value[0] == '\0' || options->tls_count == 0 || options->tls[options->tls_count - 1].key != NULL) {
        return false;
    }
    options->tls[options->tls_count - 1].key = value;
    return true;
}

static bool set_tls_dev(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    char text[OPTION_ERROR_MAX];
    options->has_tls_dev = true;
    if (value == NULL) {
        return true;
    }
    snprintf(err, OPTION_ERROR_MAX, "--tls-dev=NAME,... : all names together may have at most %d bytes",
             TLS_DEV_TEXT_MAX - 1);
    if (!options_append(options->tls_dev, sizeof options->tls_dev, ',', value)) {
        return false;
    }
    if (tls_dev_check(options->tls_dev, text, sizeof text) < 0) {
        snprintf(err, OPTION_ERROR_MAX, "--tls-dev: %.200s", text);
        return false;
    }
    return true;
}

static bool set_log(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    options->log = value;
    snprintf(err, OPTION_ERROR_MAX, "--log expects a file");
    return value[0] != '\0';
}

static bool set_log_level(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    snprintf(err, OPTION_ERROR_MAX, "--log-level expects error, warn, info or debug, not \"%.80s\"", value);
    return log_text_find_level(value, &options->log_level);
}

static bool set_log_format(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    options->has_log_format = true;
    snprintf(err, OPTION_ERROR_MAX, "--log-format expects text, json or journal, not \"%.80s\"", value);
    return log_text_find_format(value, &options->log_format);
}

static bool set_access_log(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    options->access_log = value;
    snprintf(err, OPTION_ERROR_MAX, "--access-log expects a file, stdout, syslog: or off, not \"%.80s\"%s", value,
             value[0] == '\0' ? "" : "; a file of that name is written with ./ before it");
    return value[0] != '\0' && strcmp(value, "stderr") != 0 && strcmp(value, "syslog") != 0;
}

static bool set_access_log_format(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    struct access_format *format = NULL;
    char text[OPTION_ERROR_MAX];
    options->access_log_format = value;
    if (access_format_parse(&format, value, text, sizeof text) < 0) {
        snprintf(err, OPTION_ERROR_MAX, "--access-log-format: %.220s", text);
        return false;
    }
    access_format_put(format);
    return true;
}

static bool set_log_slow(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    const struct limit_info *limit = limits_find("log_slow");
    uint64_t ms = 0;
    snprintf(err, OPTION_ERROR_MAX,
             "--log-slow expects a time from 1ms to 24h, such as 1s, or 0 for none, not \"%.80s\"", value);
    bool is_time = limits_parse_value(LIMIT_MS, value, &ms, NULL, 0) == 0 && ms <= limit->most;
    options->log_slow_ms = ms == 0 ? EVSERVE_ZERO : ms;
    return is_time;
}

static bool set_hsts(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    struct hsts hsts;
    char text[OPTION_ERROR_MAX];
    options->hsts = value;
    if (hsts_parse(&hsts, value, text, sizeof text) < 0) {
        snprintf(err, OPTION_ERROR_MAX, "--%.200s", text);
        return false;
    }
    return true;
}

static bool add_request_header(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    snprintf(err, OPTION_ERROR_MAX, "--header may be repeated %d times at most", REQUEST_HEADERS_MAX);
    if (options->header_count == REQUEST_HEADERS_MAX) {
        return false;
    }
    options->headers[options->header_count++] = value;
    return true;
}

static bool set_timeout(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    snprintf(err, OPTION_ERROR_MAX, "--timeout expects a number of seconds from 1 to %d, not \"%.80s\"",
             REQUEST_TIMEOUT_MAX_S, value);
    return options_parse_number(value, REQUEST_TIMEOUT_MAX_S, &options->timeout_s);
}

static bool set_reload_timeout(void *arg, const char *value, char *err)
{
    struct command_line *options = arg;
    snprintf(err, OPTION_ERROR_MAX, "--reload-timeout expects a time from 1ms to 24h, such as 30s, not \"%.80s\"",
             value);
    return limits_parse_value(LIMIT_MS, value, &options->reload_timeout_ms, NULL, 0) == 0 &&
           options->reload_timeout_ms >= 1 && options->reload_timeout_ms <= EVSERVE_RELOAD_TIMEOUT_MAX_MS;
}

static const struct option_row rows[] = {
    {"listen", OPTION_VALUE, 0, set_listen},
    {"tls-cert", OPTION_VALUE, 0, add_tls_cert},
    {"tls-key", OPTION_VALUE, 0, add_tls_key},
    {"tls-dev", OPTION_MAYBE, 0, set_tls_dev},
    {"tls-dev-anywhere", OPTION_FLAG, offsetof(struct command_line, tls_dev_anywhere), NULL},
    {"log", OPTION_VALUE, 0, set_log},
    {"log-level", OPTION_VALUE, 0, set_log_level},
    {"log-format", OPTION_VALUE, 0, set_log_format},
    {"log-slow", OPTION_VALUE, 0, set_log_slow},
    {"access-log", OPTION_VALUE, 0, set_access_log},
    {"access-log-format", OPTION_VALUE, 0, set_access_log_format},
    {"acme", OPTION_TEXT, offsetof(struct command_line, acme), NULL},
    {"hsts", OPTION_VALUE, 0, set_hsts},
    {"root", OPTION_TEXT, offsetof(struct command_line, root), NULL},
    {"reactors", OPTION_VALUE, 0, set_reactors},
    {"reload-timeout", OPTION_VALUE, 0, set_reload_timeout},
    {"watch", OPTION_FLAG, offsetof(struct command_line, watch), NULL},
    {"supervise", OPTION_FLAG, offsetof(struct command_line, supervise), NULL},
    {"sandbox", OPTION_MAYBE, 0, set_sandbox},
    {"allow-read", OPTION_VALUE, 0, add_allow_read},
    {"allow-write", OPTION_VALUE, 0, add_allow_write},
    {"allow-connect", OPTION_VALUE, 0, add_allow_connect},
    {"user", OPTION_TEXT, offsetof(struct command_line, user), NULL},
    {"pid-file", OPTION_TEXT, offsetof(struct command_line, pid_file), NULL},
    {"reload", OPTION_TEXT, offsetof(struct command_line, reload), NULL},
    {"upgrade", OPTION_TEXT, offsetof(struct command_line, upgrade), NULL},
    {"check", OPTION_FLAG, offsetof(struct command_line, check), NULL},
    {"pack", OPTION_FLAG, offsetof(struct command_line, pack), NULL},
    {"o", OPTION_TEXT, offsetof(struct command_line, output), NULL},
    {"routes", OPTION_FLAG, offsetof(struct command_line, routes), NULL},
    {"request", OPTION_TEXT, offsetof(struct command_line, request), NULL},
    {"header", OPTION_VALUE, 0, add_request_header},
    {"body", OPTION_TEXT, offsetof(struct command_line, body), NULL},
    {"timeout", OPTION_VALUE, 0, set_timeout},
    {"test", OPTION_TEXT, offsetof(struct command_line, test), NULL},
    {"only", OPTION_TEXT, offsetof(struct command_line, only), NULL},
    {"version", OPTION_LAST, offsetof(struct command_line, version), NULL},
    {"help", OPTION_LAST, offsetof(struct command_line, help), NULL},
};

/* In the sandbox, the log can be opened again, and made anew, only where writing is allowed: in its folder. Returns
 * whether there was room for its name. */
static bool allow_log(struct command_line *options)
{
    char folder[ALLOW_TEXT_MAX] = ".", err[OPTION_ERROR_MAX];
    if (options->sandbox == 0 || options->log == NULL) {
        return true;
    }
    const char *slash = strrchr(options->log, '/');
    size_t len = slash == NULL ? 1 : slash == options->log ? 1 : (size_t)(slash - options->log);
    if (slash != NULL && len < sizeof folder) {
        memcpy(folder, options->log, len);
        folder[len] = '\0';
    }
    return len < sizeof folder && add_path(options->allow_write, "--log", folder, err);
}

/* Check the combination of options. Returns as command_line_read(). */
static int check_options(const struct command_line *options)
{
    if (options->sandbox == 0 &&
        (options->allow_read[0] != '\0' || options->allow_write[0] != '\0' || options->allow_connect[0] != '\0')) {
        return usage_error("--allow-read, --allow-write and --allow-connect require --sandbox");
    }
    if (options->has_tls_dev && options->tls_count > 0) {
        return usage_error("--tls-dev makes a certificate for development, so it cannot be combined with --tls-cert");
    }
    if (options->tls_dev_anywhere && !options->has_tls_dev) {
        return usage_error("--tls-dev-anywhere requires --tls-dev");
    }
    bool has_details = options->header_count > 0 || options->body != NULL || options->timeout_s != 0;
    bool is_trial = options->request != NULL || options->test != NULL;
    if (options->check + options->routes + (options->request != NULL) + (options->test != NULL) +
            (options->reload != NULL) + (options->upgrade != NULL) + options->pack >
        1) {
        return usage_error("--check, --routes, --request, --test, --reload, --upgrade and --pack exclude each other");
    }
    if (options->pack && (options->output == NULL || options->output[0] == '\0' || options->script == NULL ||
                          strcmp(options->script, "/dev/stdin") == 0)) {
        return usage_error("--pack needs a script and the file to write: evserve --pack site.lua public -o board");
    }
    if (!options->pack && options->output != NULL) {
        return usage_error("-o requires --pack");
    }
    if (options->supervise &&
        (options->check || options->routes || is_trial || options->upgrade != NULL || options->pack)) {
        return usage_error("--supervise is for serving, so it cannot be combined with --check, --routes, --request, "
                           "--test, --upgrade or --pack");
    }
    if (options->supervise && options->script != NULL && file_text_is_passing(0, options->script)) {
        return usage_error("--supervise needs a script that can be read again, not one from a pipe");
    }
    if (is_trial && (options->listen[0] != '\0' || options->reactors != 0)) {
        return usage_error(options->test != NULL ? "--test cannot be combined with --listen or --reactors"
                                                 : "--request cannot be combined with --listen or --reactors");
    }
    if (options->only != NULL && options->test == NULL) {
        return usage_error("--only requires --test");
    }
    if (options->test != NULL && options->script == NULL) {
        return usage_error("--test needs the script to test, such as evserve --test site_test.lua site.lua");
    }
    if (options->request == NULL) {
        return has_details ? usage_error("--header, --body and --timeout require --request") : -1;
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

int command_line_read(int argc, char **argv, struct command_line *options)
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
    int scripts = argc - next;
    if (options->pack && scripts > 1) {
        options->pack_paths = argv + next + 1;
        options->pack_count = (unsigned)(scripts - 1);
        scripts = 1;
    }
    if (options->packed_script != NULL && scripts > 0 && !options->pack) {
        snprintf(text, sizeof text,
                 "this program has its script inside, %.80s, so it takes no other, but \"%.80s\" is there",
                 options->packed_script, argv[next]);
        return usage_error(text);
    }
    if (scripts > 1) {
        snprintf(text, sizeof text, "only one script is allowed, but \"%.80s\" follows \"%.80s\"", argv[next + 1],
                 argv[next]);
        return usage_error(text);
    }
    if ((options->reload != NULL || options->upgrade != NULL) && argc > next) {
        snprintf(text, sizeof text, "%s takes no script, but \"%.80s\" is there: the server keeps its arguments",
                 options->reload != NULL ? "--reload" : "--upgrade", argv[next]);
        return usage_error(text);
    }
    options->script = argv[next] != NULL && strcmp(argv[next], "-") == 0 ? "/dev/stdin" : argv[next];
    if (!options->pack && options->reload == NULL && options->upgrade == NULL && options->packed_script != NULL) {
        options->script = options->packed_script;
    } else {
        options->script_files = NULL;
    }
    if (options->script == NULL && options->root == NULL) {
        options->root = "public";
    }
    int status = check_options(options);
    return status < 0 && !allow_log(options) ? usage_error("the folder of --log has too long a name, or a colon in it")
                                             : status;
}
