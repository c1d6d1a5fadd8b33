/* Nanoseconds for what an answer is made of: a look-up in the file cache, a head made beforehand put in place, and a
 * head made from a status, fields and content. The exchange is a real one: a request comes in over a socket pair, and
 * its handler measures. */

#include "core/reactor.h"
#include "core/sys.h"
#include "core/write_buffer.h"
#include "http/cached_file.h"
#include "http/file_cache.h"
#include "http/file_root.h"
#include "http/h1/h1.h"
#include "http/response.h"
#include "http/response_file.h"
#include "http/router.h"
#include "http/server.h"
#include "http/site.h"
#include "http/site_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUNDS = 1000000, RUNS = 5, SMALL_BYTES = 1300 };

static const char request[] = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

/* What one round of a measurement does. */
typedef void round_fn(struct exchange *exchange, void *arg);

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench_http: %s\n", what);
    exit(1);
}

/* The best of a few runs, in nanoseconds a round. */
static void measure(const char *name, struct exchange *exchange, round_fn *round, void *arg)
{
    double best = 1e9;
    for (int run = 0; run < RUNS; run++) {
        int64_t start_ns = sys_now_ns();
        for (int i = 0; i < ROUNDS; i++) {
            round(exchange, arg);
        }
        double each = (double)(sys_now_ns() - start_ns) / ROUNDS;
        best = each < best ? each : best;
    }
    printf("%-52s %7.1f ns\n", name, best);
}

/* The answer is not sent: the next round makes it anew. */
static void forget_answer(struct exchange *exchange)
{
    exchange_clear(exchange);
    write_buffer_consume(&h1_of(exchange)->out, SIZE_MAX);
}

static void send_text(struct exchange *exchange, void *arg)
{
    (void)arg;
    response_send(exchange, 200, "text/plain; charset=utf-8", "hello, world\n", 13);
    forget_answer(exchange);
}

static void send_fields(struct exchange *exchange, void *arg)
{
    response_add_field(exchange, "Cache-Control", 13, "no-store", 8);
    response_add_field(exchange, "X-Request-Id", 12, "0123456789abcdef", 16);
    send_text(exchange, arg);
}

/* What the look-ups need. */
struct files {
    struct file_cache *cache;
    struct file_root root;
    char folder[64];
};

static struct cached_file *look_up(struct files *files)
{
    struct cached_file *file;
    if (file_cache_get(files->cache, &files->root, "small.txt", 9, 1000, &file) < 0) {
        fail("the file is not there");
    }
    return file;
}

static void hit(struct exchange *exchange, void *arg)
{
    (void)exchange;
    cached_file_put(look_up(arg));
}

static void send_file(struct exchange *exchange, void *arg)
{
    struct cached_file *file = look_up(arg);
    response_send_prebuilt(exchange, &file->full, NULL, 0);
    cached_file_put(file);
    forget_answer(exchange);
}

static void serve(struct exchange *exchange, void *ctx)
{
    measure("file cache hit", exchange, hit, ctx);
    measure("file cache hit, head and 1300 bytes queued", exchange, send_file, ctx);
    measure("head made, 13 bytes of content queued", exchange, send_text, NULL);
    measure("the same with two fields of the handler's", exchange, send_fields, NULL);
    response_send(exchange, 204, NULL, NULL, 0);
}

static void make_files(struct files *files, const struct limits *limits)
{
    char path[80];
    snprintf(files->folder, sizeof files->folder, "/tmp/evserve-bench-XXXXXX");
    if (mkdtemp(files->folder) == NULL) {
        fail("cannot make a folder");
    }
    snprintf(path, sizeof path, "%s/small.txt", files->folder);
    FILE *file = fopen(path, "w");
    for (int i = 0; file != NULL && i < SMALL_BYTES; i++) {
        fputc('x', file);
    }
    char err[256];
    if (file == NULL || fclose(file) != 0 || file_cache_create(&files->cache, limits, NULL) < 0 ||
        file_root_open(&files->root, files->folder, "", err, sizeof err) < 0) {
        fail("cannot make a file");
    }
}

int main(void)
{
    struct reactor *reactor;
    struct site *site;
    struct server *server;
    int pair[2];
    if (reactor_create(&reactor, NULL) < 0 || site_create(&site, NULL) < 0 ||
        server_create(&server, reactor, site, NULL) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0 ||
        write(pair[0], request, sizeof request - 1) < 0) {
        fail("cannot start");
    }
    struct files files = {.cache = NULL};
    make_files(&files, &site->limits);
    struct handler handler = {.serve = serve, .ctx = &files};
    char err[256];
    if (router_add(site->default_host.router, 1U << METHOD_GET, "/x", &handler, NULL, err, sizeof err) < 0) {
        fail(err);
    }
    if (server_adopt(server, pair[1]) < 0 || reactor_run_once(reactor, 0) < 0) {
        fail("cannot open a connection");
    }

    close(pair[0]);
    server_destroy(server);
    site_destroy(site);
    file_cache_destroy(files.cache);
    file_root_close(&files.root);
    reactor_destroy(reactor);
    char path[80];
    snprintf(path, sizeof path, "%s/small.txt", files.folder);
    unlink(path);
    rmdir(files.folder);
    return 0;
}
