#include "tests/lib/h1_scene.h"

#include "http/limits.h"
#include "http/router.h"
#include "http/static_files.h"
#include "http/static_mounts.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

struct h1_scene h1_scene;
struct exchange *held_exchange;
int held_gones, held_drains, held_stops, held_data;

/* The transport. conn.c, which calls the rest of its functions, is not there. */

static ssize_t buffer_recv(struct transport *transport, void *data, size_t len)
{
    if (h1_scene.error != 0) {
        return h1_scene.error;
    }
    size_t there = h1_scene.in_len - h1_scene.in_used;
    len = len < there ? len : there;
    len = len < h1_scene.read_max ? len : h1_scene.read_max;
    if (len == 0 && !h1_scene.is_ended) {
        return -EAGAIN;
    }
    memcpy(data, h1_scene.in + h1_scene.in_used, len);
    h1_scene.in_used += len;
    transport->is_at_end = len == 0;
    return (ssize_t)len;
}

static ssize_t buffer_sendv(struct transport *transport, const struct iovec *parts, size_t count)
{
    size_t sum = 0;
    if (h1_scene.error != 0) {
        return h1_scene.error;
    }
    transport->is_full = false;
    for (size_t i = 0; i < count && !transport->is_full; i++) {
        size_t len = parts[i].iov_len < h1_scene.room ? parts[i].iov_len : h1_scene.room;
        assert_true(h1_scene.out_len + len < WIRE_MAX);
        memcpy(h1_scene.out + h1_scene.out_len, parts[i].iov_base, len);
        h1_scene.out_len += len;
        h1_scene.room -= len;
        sum += len;
        transport->is_full = len < parts[i].iov_len;
    }
    h1_scene.write_max = sum > h1_scene.write_max ? sum : h1_scene.write_max;
    return sum == 0 ? -EAGAIN : (ssize_t)sum;
}

static ssize_t buffer_send(struct transport *transport, const void *data, size_t len, bool more)
{
    (void)more;
    struct iovec part = {.iov_base = (char *)(uintptr_t)data, .iov_len = len};
    return buffer_sendv(transport, &part, 1);
}

static ssize_t buffer_sendfile(struct transport *transport, int file_fd, int64_t *offset, size_t len)
{
    static char bytes[WIRE_MAX];
    if (h1_scene.sendfile_error != 0) {
        transport->is_full = h1_scene.sendfile_error == -EAGAIN;
        return h1_scene.sendfile_error;
    }
    ssize_t got = pread(file_fd, bytes, len < h1_scene.room ? len : h1_scene.room, *offset);
    assert_true(got >= 0);
    ssize_t sent = got == 0 && h1_scene.room > 0 ? 0 : buffer_send(transport, bytes, (size_t)got, false);
    transport->is_full = h1_scene.room == 0;
    *offset += sent > 0 ? sent : 0;
    return sent;
}

static const struct transport_ops buffer_ops = {.recv = buffer_recv, .send = buffer_send, .sendv = buffer_sendv};
static const struct transport_ops file_ops = {.recv = buffer_recv,
                                              .send = buffer_send,
                                              .sendv = buffer_sendv,
                                              .sendfile = buffer_sendfile};

/* Handlers. */

static void write_chunks(struct exchange *exchange, int64_t length)
{
    response_begin(exchange, 200, "text/plain", length);
    response_write(exchange, "one", 3);
    response_write(exchange, "two", 3);
    response_end(exchange);
}

static void serve_chunks(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    write_chunks(exchange, RESPONSE_LENGTH_UNKNOWN);
}

static void serve_sized(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    write_chunks(exchange, 6);
}

static void serve_body(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_send(exchange, 200, "text/plain", exchange->body, exchange->body_len);
}

static void on_held_gone(struct exchange *exchange)
{
    (void)exchange;
    held_gones++;
    held_exchange = NULL;
}

static void on_held_drain(struct exchange *exchange)
{
    (void)exchange;
    held_drains++;
}

static void on_held_stopping(struct exchange *exchange)
{
    exchange->on_stopping = NULL; /* it has heard */
    held_stops++;
}

static void on_held_data(struct exchange *exchange)
{
    (void)exchange;
    held_data++;
}

static void hold(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    held_exchange = exchange;
    exchange->on_gone = on_held_gone;
    exchange->on_drain = on_held_drain;
    exchange->on_stopping = on_held_stopping;
    exchange->on_data = on_held_data;
}

static char hello_text[] = "hello\n";
static const struct {
    const char *pattern;
    struct handler handler;
} routes[] = {
    {"/hello", {.serve = serve_text, .ctx = hello_text}},
    {"/echo", {.serve = serve_body, .body_mode = BODY_WHOLE}},
    {"/stream-back", {.serve = serve_body_back, .body_mode = BODY_STREAM}},
    {"/chunks", {.serve = serve_chunks}},
    {"/sized", {.serve = serve_sized}},
    {"/hold", {.serve = hold}},
    {"/hold-body", {.serve = hold, .body_mode = BODY_STREAM}},
    {"/hold-whole", {.serve = hold, .body_mode = BODY_WHOLE}},
};

/* Before and after. */

static void keep_line(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    size_t used = strlen(h1_scene.log_text);
    snprintf(h1_scene.log_text + used, sizeof h1_scene.log_text - used, "%s\n", line);
}

static void end_connection(void)
{
    if (h1_scene.conn.work != NULL) {
        h1_scene.conn.protocol->lose(&h1_scene.conn);
    }
    assert_null(h1_scene.conn.work);
    assert_false(h1_scene.pool.is_read_block_lent);
}

static void begin_connection(void)
{
    h1_scene.conn = (struct conn){.pool = &h1_scene.pool, .protocol = h1_server_protocol(h1_scene.server)};
    h1_scene.conn.is_advancing = true; /* conn_resume() does nothing: the test says when the connection goes on */
    h1_scene.conn.peer.family = AF_INET;
    transport_open(&h1_scene.conn.transport, h1_scene.has_sendfile ? &file_ops : &buffer_ops, NULL, -1, AF_INET);
    h1_scene.in_len = h1_scene.in_used = h1_scene.out_len = 0;
    h1_scene.is_ended = h1_scene.is_over = false;
    h1_scene.room = h1_scene.take = h1_scene.read_max = NO_LIMIT;
    h1_scene.error = h1_scene.sendfile_error = 0;
    h1_scene.write_max = 0;
    h1_scene.last = TURN_WAIT;
}

void new_connection(void)
{
    end_connection();
    begin_connection();
}

static void serve_files(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    static_files_serve(exchange->vhost->mounts, exchange);
}

static const struct handler files = {.serve = serve_files}; /* as server.c has it */

int h1_set_up(void **state)
{
    char err[256];
    unsigned methods = 1U << METHOD_GET | 1U << METHOD_POST | 1U << METHOD_PUT;
    *state = NULL;
    fake_sys_reset();
    memset(&h1_scene, 0, sizeof h1_scene);
    h1_scene.live_at_start = fake_mem_live();
    h1_scene.log = (struct log){.sink = keep_line, .level = LOG_DEBUG};
    held_exchange = NULL;
    held_gones = held_drains = held_stops = held_data = 0;
    assert_int_equal(reactor_create(&h1_scene.reactor, &h1_scene.log), 0);
    assert_int_equal(site_create(&h1_scene.site, &h1_scene.log), 0);
    for (size_t i = 0; i < COUNT(routes); i++) {
        if (router_add(h1_scene.site->default_host.router, methods, routes[i].pattern, &routes[i].handler, "", err,
                       sizeof err) < 0) {
            fail_msg("%s", err);
        }
    }
    service_init(&h1_scene.service, h1_scene.reactor, h1_scene.site, &h1_scene.log, &files);
    assert_int_equal(conn_pool_init(&h1_scene.pool, &h1_scene.service), 0);
    assert_int_equal(h1_server_create(&h1_scene.server, &h1_scene.service), 0);
    fake_sys_clear_trace();
    begin_connection();
    return 0;
}

int h1_tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    end_connection();
    uint64_t calls = fake_sys_count(FAKE_RECV) + fake_sys_count(FAKE_SEND) + fake_sys_count(FAKE_SENDV) +
                     fake_sys_count(FAKE_EPOLL_WAIT) + count_epoll_changes();
    assert_int_equal(calls, 0);
    h1_server_destroy(h1_scene.server);
    conn_pool_done(&h1_scene.pool);
    site_destroy(h1_scene.site);
    reactor_destroy(h1_scene.reactor);
    assert_int_equal(fake_sys_open_fds(), 0);
    fake_sys_reset();
    assert_int_equal(fake_mem_live(), h1_scene.live_at_start);
    return 0;
}

void mount_files(const char *path)
{
    char err[256] = "";
    if (static_mounts_add(h1_scene.site->default_host.mounts, "/files", path, NULL, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

void set_limit(const char *name, uint64_t value)
{
    char err[256] = "";
    const struct limit_info *info = limits_find(name);
    assert_non_null(info);
    if (limits_set(&h1_scene.site->limits, info, value, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    h1_server_renew(h1_scene.server); /* what is in the pool has the former limits */
}

/* Moving. */

void client_sends_bytes(const char *data, size_t len)
{
    assert_true(h1_scene.in_len + len <= WIRE_MAX);
    memcpy(h1_scene.in + h1_scene.in_len, data, len);
    h1_scene.in_len += len;
}

void client_sends(const char *text)
{
    client_sends_bytes(text, strlen(text));
}

void client_ends(void)
{
    h1_scene.is_ended = true;
}

unsigned wants(void)
{
    return h1_scene.conn.work == NULL ? (unsigned)CONN_READS : h1_scene.conn.protocol->wants(&h1_scene.conn);
}

enum wait waits_for(void)
{
    return h1_scene.conn.work == NULL ? WAIT_IDLE : h1_scene.conn.protocol->waits_for(&h1_scene.conn);
}

void take_turn(void)
{
    assert_false(h1_scene.is_over);
    do {
        h1_scene.last = h1_scene.conn.protocol->advance(&h1_scene.conn);
    } while (h1_scene.last == TURN_AGAIN);
    if (h1_scene.last != TURN_WAIT) {
        h1_scene.is_over = true;
        end_connection();
    }
    assert_false(h1_scene.pool.is_read_block_lent); /* no other connection could read */
}

/* Read, and one turn. Returns false when there was nothing to read. */
static bool read_once(void)
{
    bool is_end_news = h1_scene.is_ended && !h1_scene.conn.transport.is_at_end;
    if ((wants() & (unsigned)CONN_READS) == 0 || (h1_scene.in_used == h1_scene.in_len && !is_end_news)) {
        return false;
    }
    ssize_t len = h1_scene.conn.protocol->read(&h1_scene.conn);
    if (len < 0) { /* of the transport, or -ENOMEM */
        h1_scene.last = TURN_CLOSE;
        h1_scene.is_over = true;
        end_connection();
        return true;
    }
    take_turn();
    return true;
}

void pump(void)
{
    while (!h1_scene.is_over) {
        if ((wants() & (unsigned)CONN_WRITES) != 0 && (h1_scene.room > 0 || h1_scene.take > 0)) {
            h1_scene.room = h1_scene.room > 0 ? h1_scene.room : h1_scene.take;
            take_turn();
        } else if (!read_once()) {
            return;
        }
    }
}

void say(const char *text)
{
    client_sends(text);
    pump();
}

const char *read_output(void)
{
    static char text[WIRE_MAX + 1];
    static const char date[] = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    size_t len = 0;
    const char *end = h1_scene.out + h1_scene.out_len;
    for (const char *at = h1_scene.out; at < end;) {
        if ((size_t)(end - at) >= sizeof date - 1 && memcmp(at, "\r\nDate: ", 8) == 0) {
            assert_memory_equal(at + sizeof date - 1 - 3, "GMT\r\n", 5);
            at += sizeof date - 1; /* the CRLF before it, and the line without its own */
        } else {
            text[len++] = *at++;
        }
    }
    text[len] = '\0';
    return text;
}
