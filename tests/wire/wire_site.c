/* Routes:
 *   GET  /hello                "hello\n"
 *   POST /echo                 the body (BODY_WHOLE)
 *   POST /take                 the body, which the handler takes itself (BODY_STREAM)
 *   POST /first                "first\n" once some of the body is there (BODY_STREAM), "none\n" without one
 *   POST /ignore               "ignored\n", without wanting the body
 *   GET  /users/:id{int}       the id
 *   GET  /stream               "one\ntwo\nthree\n" in three pieces
 *   GET  /long                 LONG_PIECES pieces of 1,000 bytes, waiting for on_drain()
 *   GET  /sized                "12345", announced and written in two pieces
 *   GET  /short                announces 10 bytes, writes 5: must be cut
 *   GET  /late                 "late\n", WIRE_LATE_MS later
 *   GET  /late/half-close      the same, also for clients that shut their side meanwhile
 *   GET  /big                  300,000 bytes, borrowed
 *   GET  /empty                204
 *   GET  /host                 the value of Host, as handlers find it
 *   GET  /authority            the request's authority: of the target, or Host
 *   GET  /slow/hello, POST /slow/echo, /slow/take, /slow/ignore    as above
 * Rules: what is below /slow is held for WIRE_LATE_MS, and then below /slow/no refused with 403; its responses have
 * "X-Rule: 1" and no ETag. /moved/(rest) is redirected to /(rest) with 308.
 * Files: index.html "index\n", a.txt "plain\n", letters.txt (a to z), empty.txt, big.bin (100,000 bytes),
 * sub/index.html "sub\n", nothing/ (empty),
 *   .secret, .well-known/ok.txt "ok\n", "sp ace.txt" "space\n", evil -> /etc, up -> .., same.txt -> a.txt,
 *   z/index.html "z\n", z/style.css "style\n", z/half.js "half\n", z/old.js "old\n", z/big.bin (100,000 bytes); and
 *   beside them style.css.br, .zst and .gz, index.html.gz, half.js.gz, big.bin.gz (50,000 bytes), each with its coding
 *   as contents ("br\n", "zstd\n", "gzip\n"), and old.js.gz, which is older than old.js
 *   fifo and socket, and changing/, which cases may change: a.txt "one\n", big.bin (100,000 bytes), huge.bin (300,000),
 *   c.css "css\n" with c.css.gz "gzip\n", index.html "index\n"
 * Mounts besides:
 *   /slow/files   pub/
 *   /raw   z/ without its siblings
 *   /app   app/ with every option (see add_mounts()): index.htm "app\n", 404.html "lost\n", a.txt, data.foo, .dot, sub/,
 *          out (a link to ../a.txt)
 *   /lost  app/ with not_found alone
 *   /pub   pub/ listed: "<b>.txt", .hidden, sub/, indexed/index.html */

#include "tests/wire/wire_site.h"

#include "core/reactor.h"
#include "http/dispatch.h"
#include "http/exchange.h"
#include "http/response.h"
#include "http/router.h"
#include "http/rules/rule_fields.h"
#include "http/rules/rule_redirect.h"
#include "http/rules/rules.h"
#include "http/site.h"
#include "http/static_files.h"
#include "http/static_mounts.h"
#include "tests/lib/handlers.h"
#include "tests/lib/remove_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    CHANGES_MAX = 8,
    LONG_PIECES = 100,
    BIG_LEN = 300000,
    BIG_FILE_LEN = 100000,
    MTIME_S = 784080000, /* 1994-11-06 00:00:00: well before the fake clock, so that dates are comparable */
};

static char files[] = "/tmp/evserve-wire-XXXXXX";
static char big[BIG_LEN];

/* Files. */

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void write_file_at(const char *name, const char *content, size_t len, time_t mtime_s)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", files, name);
    FILE *file = fopen(path, "w");
    if (file == NULL || fwrite(content, 1, len, file) != len || fclose(file) != 0) {
        die(path);
    }
    struct timespec times[2] = {{.tv_sec = mtime_s}, {.tv_sec = mtime_s}};
    if (utimensat(AT_FDCWD, path, times, 0) < 0) {
        die(path);
    }
}

static void write_file(const char *name, const char *content, size_t len)
{
    write_file_at(name, content, len, MTIME_S);
}

static void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

static void make_dir(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", files, name);
    if (mkdir(path, 0755) < 0) {
        die(path);
    }
}

/* A directory is as old as what was made in it last: set its times when all is there. */
static void set_old(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", files, name);
    const struct timespec times[2] = {{.tv_sec = MTIME_S}, {.tv_sec = MTIME_S}};
    if (utimensat(AT_FDCWD, path, times, 0) < 0) {
        die(path);
    }
}

static void make_link(const char *name, const char *target)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", files, name);
    if (symlink(target, path) < 0) {
        die(path);
    }
}

/* Paths that the case has changed. */
static char changed[CHANGES_MAX][64];
static size_t changed_count;

bool wire_files_change(const char *change, const char *path, const char *data, size_t len, uint64_t size)
{
    char name[128], full[256], other[256];
    snprintf(name, sizeof name, "changing/%s", path);
    snprintf(full, sizeof full, "%s/%s", files, name);
    snprintf(other, sizeof other, "%s/.other", files);
    const struct timespec times[2] = {{.tv_sec = MTIME_S + 1}, {.tv_sec = MTIME_S + 1}};
    int rv = 0;
    if (changed_count == CHANGES_MAX) {
        return false;
    }
    snprintf(changed[changed_count++], sizeof changed[0], "%s", path);
    if (strcmp(change, "write") == 0) {
        write_file_at(name, data, len, MTIME_S + 1);
    } else if (strcmp(change, "replace") == 0) {
        write_file_at(".other", data, len, MTIME_S + 1);
        rv = rename(other, full);
    } else if (strcmp(change, "append") == 0) {
        FILE *file = fopen(full, "a");
        rv = file == NULL || fwrite(data, 1, len, file) != len || fclose(file) != 0 ? -1 : 0;
        rv = rv < 0 ? rv : utimensat(AT_FDCWD, full, times, 0);
    } else if (strcmp(change, "truncate") == 0) {
        rv = truncate(full, (off_t)size);
        rv = rv < 0 ? rv : utimensat(AT_FDCWD, full, times, 0);
    } else if (strcmp(change, "remove") == 0) {
        rv = remove(full);
    } else if (strcmp(change, "link") == 0) {
        rv = symlink(data, full);
    } else if (strcmp(change, "mkdir") == 0) {
        make_dir(name);
    } else {
        return false;
    }
    if (rv < 0) {
        die(full);
    }
    return true;
}

/* The files of changing/ as cases find them. */
static void make_changing(const char *path)
{
    static const struct {
        const char *path, *text; /* below changing/; NULL: len bytes */
        size_t len;
    } list[] = {{"a.txt", "one\n", 4}, {"big.bin", NULL, BIG_FILE_LEN}, {"huge.bin", NULL, BIG_LEN},
                {"c.css", "css\n", 4}, {"c.css.gz", "gzip\n", 5},       {"index.html", "index\n", 6}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        char name[128];
        snprintf(name, sizeof name, "changing/%s", list[i].path);
        if (path == NULL || strcmp(path, list[i].path) == 0) {
            write_file(name, list[i].text == NULL ? big : list[i].text, list[i].len);
        }
    }
}

void wire_files_restore(void)
{
    for (; changed_count > 0; changed_count--) {
        const char *path = changed[changed_count - 1];
        char full[256];
        snprintf(full, sizeof full, "%s/changing/%s", files, path);
        if (remove(full) < 0 && errno != ENOENT) {
            die(full);
        }
        make_changing(path);
    }
}

static void make_special(void)
{
    char path[256];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(path, sizeof path, "%s/fifo", files);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", files);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (mkfifo(path, 0666) < 0 || fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        die(path);
    }
    close(fd);
}

static void make_siblings(void)
{
    make_dir("z");
    write_text("z/index.html", "z\n");
    write_text("z/index.html.gz", "gzip\n");
    write_text("z/style.css", "style\n");
    write_text("z/style.css.br", "br\n");
    write_text("z/style.css.zst", "zstd\n");
    write_text("z/style.css.gz", "gzip\n");
    write_text("z/half.js", "half\n");
    write_text("z/half.js.gz", "gzip\n");
    write_text("z/old.js", "old\n");
    write_file_at("z/old.js.gz", "gzip\n", 5, MTIME_S - 1);
    write_file("z/big.bin", big, BIG_FILE_LEN);
    write_file("z/big.bin.gz", big, BIG_FILE_LEN / 2);
}

static void make_app(void)
{
    make_dir("app");
    write_text("app/index.htm", "app\n");
    write_text("app/404.html", "lost\n");
    write_text("app/a.txt", "a\n");
    write_text("app/data.foo", "foo\n");
    write_text("app/.dot", "dot\n");
    make_dir("app/sub");
    make_link("app/out", "../a.txt");
    make_dir("pub");
    write_text("pub/<b>.txt", "b\n");
    write_text("pub/.hidden", "hidden\n");
    make_dir("pub/sub");
    make_dir("pub/indexed");
    write_text("pub/indexed/index.html", "indexed\n");
    set_old("pub/sub");
    set_old("pub/indexed");
}

const char *wire_files_make(void)
{
    if (mkdtemp(files) == NULL) {
        die(files);
    }
    memset(big, 'b', sizeof big);
    write_file("index.html", "index\n", 6);
    write_file("a.txt", "plain\n", 6);
    write_file("letters.txt", "abcdefghijklmnopqrstuvwxyz", 26);
    write_file("empty.txt", "", 0);
    write_file("big.bin", big, BIG_FILE_LEN);
    write_file("sp ace.txt", "space\n", 6);
    write_file(".secret", "secret\n", 7);
    make_dir("sub");
    write_file("sub/index.html", "sub\n", 4);
    make_dir("nothing");
    make_dir(".well-known");
    write_file(".well-known/ok.txt", "ok\n", 3);
    make_link("evil", "/etc");
    make_link("up", "..");
    make_link("same.txt", "a.txt");
    make_special();
    make_siblings();
    make_app();
    make_dir("changing");
    make_changing(NULL);
    return files;
}

void wire_files_remove(void)
{
    if (remove_tree(files) < 0) {
        die(files);
    }
}

/* Routes. */

static void serve_echo(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_send(exchange, 200, "application/octet-stream", exchange->body, exchange->body_len);
}

static void serve_id(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    struct slice id = exchange->match.params[0];
    response_send(exchange, 200, "text/plain", exchange->path + id.offset, id.len);
}

static void serve_stream(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_begin(exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    response_write(exchange, "one\n", 4);
    response_write(exchange, "two\n", 4);
    response_write(exchange, "three\n", 6);
    response_end(exchange);
}

/* user counts the pieces that are left. */
static void write_long(struct exchange *exchange)
{
    size_t left = (size_t)(uintptr_t)exchange->user;
    int rv = 1;
    while (left > 0 && rv == 1) {
        rv = response_write(exchange, big, 1000);
        left--;
    }
    exchange->user = (void *)(uintptr_t)left;
    if (left == 0 && rv >= 0) {
        exchange->on_drain = NULL;
        response_end(exchange);
    }
}

static void serve_long(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    exchange->user = (void *)(uintptr_t)LONG_PIECES;
    exchange->on_drain = write_long;
    response_begin(exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    write_long(exchange);
}

static void serve_sized(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_begin(exchange, 200, "text/plain", 5);
    response_write(exchange, "12", 2);
    response_write(exchange, "345", 3);
    response_end(exchange);
}

static void serve_short(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_begin(exchange, 200, "text/plain", 10);
    response_write(exchange, "12345", 5);
    response_end(exchange);
}

static void answer_late(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct exchange *exchange = arg;
    exchange->on_gone = NULL;
    response_send(exchange, 200, "text/plain", "late\n", 5);
}

static void cancel_late(struct exchange *exchange)
{
    reactor_cancel_timer(exchange->handler->ctx, exchange->evs.timer);
}

static void serve_late(struct exchange *exchange, void *ctx)
{
    exchange->evs.timer = reactor_set_timeout(ctx, WIRE_LATE_MS, answer_late, exchange);
    exchange->on_gone = cancel_late;
}

static void serve_big(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_send_borrowed(exchange, 200, "text/plain", big, sizeof big, NULL, NULL);
}

static void serve_empty(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_send(exchange, 204, NULL, NULL, 0);
}

static void serve_host(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    size_t len = 0;
    const char *host = exchange_field(exchange, "host", &len);
    response_send(exchange, 200, "text/plain", host, len);
}

static void serve_authority(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    struct slice authority = exchange->head.authority;
    response_send(exchange, 200, "text/plain", exchange_text(exchange, authority), authority.len);
}

static void take_first(struct exchange *exchange)
{
    const char *data;
    size_t len;
    int verdict = exchange_read_body(exchange, &data, &len);
    if (verdict == BODY_DATA) {
        response_send(exchange, 200, "text/plain", "first\n", 6);
    } else if (verdict == BODY_END) {
        response_send(exchange, 200, "text/plain", "none\n", 5);
    } else if (verdict != BODY_WAIT) {
        response_error(exchange, -verdict, exchange->body_reason);
    }
}

static void serve_first(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    exchange->on_data = take_first;
    take_first(exchange);
}

/* The rule that needs time. */

static struct reactor *rule_reactor; /* of this run */

static void decide_late(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct exchange *exchange = arg;
    exchange->on_gone = NULL;
    if (strncmp(exchange->path, "/slow/no", 8) == 0) {
        response_error(exchange, 403, NULL);
    } else {
        dispatch_go_on(exchange);
    }
}

static void cancel_decision(struct exchange *exchange)
{
    reactor_cancel_timer(rule_reactor, (uint64_t)(uintptr_t)exchange->user);
}

static enum rules_verdict hold_for_a_while(struct exchange *exchange, const struct rule *first)
{
    (void)first;
    uint64_t timer = reactor_set_timeout(rule_reactor, WIRE_LATE_MS, decide_late, exchange);
    if (timer == 0) {
        response_error(exchange, 503, NULL);
        return RULES_ANSWERED;
    }
    exchange->user = (void *)(uintptr_t)timer;
    exchange->on_gone = cancel_decision;
    return RULES_HELD;
}

static void keep_data(void *data)
{
    (void)data;
}

static int add_rules(struct site *site)
{
    static const struct rules_kind slow = {.order = RULE_AUTH,
                                           .decide = hold_for_a_while,
                                           .destroy = keep_data,
                                           .name = "slow"};
    static const struct rule_field fields[] = {{"X-Rule", "1"}, {"ETag", NULL}};
    struct rules **rules = &site->default_host.rules;
    char err[256];
    int rv = 0;
    if (rules_add(rules, &slow, "/slow", NULL, &rv, err, sizeof err) == NULL) {
        return rv;
    }
    rv = rule_fields_add(rules, "/slow", fields, 2, false, err, sizeof err);
    return rv < 0 ? rv : rule_redirect_add(rules, "/moved/*rest", "/*rest", 308, "", err, sizeof err);
}

/* Static, since handlers must outlive the site; only serve_late() needs a context of the run. */
static char hello[] = "hello\n", ignored[] = "ignored\n";
static struct handler late_handler = {.serve = serve_late};
static struct handler late_half_close_handler = {.serve = serve_late, .half_close = true};
static const struct handler hello_handler = {.serve = serve_text, .ctx = hello};
static const struct handler echo_handler = {.serve = serve_echo, .body_mode = BODY_WHOLE};
static const struct handler take_handler = {.serve = serve_body_back, .body_mode = BODY_STREAM};
static const struct handler first_handler = {.serve = serve_first, .body_mode = BODY_STREAM};
static const struct handler ignore_handler = {.serve = serve_text, .ctx = ignored};
static const struct handler id_handler = {.serve = serve_id};
static const struct handler stream_handler = {.serve = serve_stream};
static const struct handler long_handler = {.serve = serve_long};
static const struct handler sized_handler = {.serve = serve_sized};
static const struct handler short_handler = {.serve = serve_short};
static const struct handler big_handler = {.serve = serve_big};
static const struct handler empty_handler = {.serve = serve_empty};
static const struct handler authority_handler = {.serve = serve_authority};
static const struct handler host_handler = {.serve = serve_host};

static int add_mount(struct site *site, const char *prefix, const char *directory, const struct static_options *options)
{
    char path[128];
    char err[256];
    snprintf(path, sizeof path, "%s/%s", files, directory);
    return static_mounts_add(site->default_host.mounts, prefix, path, options, err, sizeof err);
}

static int add_mounts(struct site *site)
{
    static const struct static_field headers[] = {{"X-Frame-Options", "DENY"}, {"X-App", "1"}};
    static const char *const index[] = {"index.html", "index.htm"};
    static const struct mime_override types[] = {{"foo", "application/x-foo"}, {".TXT", "text/x-own; charset=utf-8"}};
    static const struct static_options app = {
        .cache_s = 3600,
        .headers = headers,
        .header_count = 2,
        .index = index,
        .index_count = 2,
        .fallback = "/index.htm",
        .not_found = "404.html",
        .types = types,
        .type_count = 2,
        .dotfiles = true,
    };
    static const struct static_options lost = {
        .cache_s = 3600, .headers = headers, .header_count = 2, .not_found = "404.html", .no_index = true};
    int rv = add_mount(site, "/", "", NULL);
    rv = rv < 0 ? rv : add_mount(site, "/slow/files", "pub", NULL);
    rv = rv < 0 ? rv : add_mount(site, "/raw", "z", &(struct static_options){.no_precompressed = true});
    rv = rv < 0 ? rv : add_mount(site, "/app", "app", &app);
    rv = rv < 0 ? rv : add_mount(site, "/lost", "app", &lost);
    return rv < 0 ? rv : add_mount(site, "/pub/", "pub", &(struct static_options){.list = true});
}

int wire_site_fill(struct site *site, struct reactor *reactor)
{
    static const struct {
        enum method method;
        const char *pattern;
        const struct handler *handler;
    } routes[] = {
        {METHOD_GET, "/hello", &hello_handler},      {METHOD_POST, "/echo", &echo_handler},
        {METHOD_POST, "/ignore", &ignore_handler},   {METHOD_GET, "/users/:id{int}", &id_handler},
        {METHOD_GET, "/stream", &stream_handler},    {METHOD_GET, "/long", &long_handler},
        {METHOD_GET, "/sized", &sized_handler},      {METHOD_GET, "/short", &short_handler},
        {METHOD_GET, "/late", &late_handler},        {METHOD_GET, "/big", &big_handler},
        {METHOD_GET, "/empty", &empty_handler},      {METHOD_GET, "/authority", &authority_handler},
        {METHOD_GET, "/host", &host_handler},        {METHOD_POST, "/take", &take_handler},
        {METHOD_GET, "/slow/hello", &hello_handler}, {METHOD_POST, "/slow/echo", &echo_handler},
        {METHOD_POST, "/slow/take", &take_handler},  {METHOD_POST, "/slow/ignore", &ignore_handler},
        {METHOD_POST, "/first", &first_handler},     {METHOD_GET, "/late/half-close", &late_half_close_handler},
    };
    char err[256];
    late_handler.ctx = reactor;
    late_half_close_handler.ctx = reactor;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        int rv = router_add(site->default_host.router, 1U << routes[i].method, routes[i].pattern, routes[i].handler,
                            "wire", err, sizeof err);
        if (rv < 0) {
            return rv;
        }
    }
    uint64_t methods = 0;
    int rv = route_methods_add(router_method_names(site->default_host.router), "PROPFIND", 8, &methods, err,
                               sizeof err);
    rv = rv < 0 ? rv : router_add(site->default_host.router, methods, "/dav/*", &echo_handler, "wire", err, sizeof err);
    rule_reactor = reactor;
    rv = rv < 0 ? rv : add_rules(site);
    return rv < 0 ? rv : add_mounts(site);
}
