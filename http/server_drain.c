/* Stopping a server without its clients noticing.
 *
 * Happy path: server_drain() answers what has arrived, accepts what the kernel has queued, and closes the listeners.
 * Every response now says Connection: close. A connection without a request has drain_grace to send one: the first, if
 * the client has just connected, or the next, which may be on its way. Then it ends in order. Requests in flight have
 * until the deadline.
 *
 * Failure modes: the deadline cuts what is left, and a line in the log says what that was doing. Without memory for the
 * deadline everything is cut at once; without memory for the grace idle connections end at once. */

#include "http/server_drain.h"
#include "core/log.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/conn_doing.h"
#include "http/outcome.h"
#include "http/server.h"
#include "http/server_internal.h"
#include "http/site.h"

#include <stdio.h>
#include <string.h>

enum {
    CUT_KINDS_MAX = 8,  /* things that connections were doing, in the line about them */
    CUT_LINE_MAX = 512, /* bytes of that line */
};

/* The end. */

static void report_drained(struct reactor *reactor, void *arg)
{
    (void)reactor;
    struct server *server = arg;
    void (*on_drained)(void *arg, unsigned cut) = server->on_drained;
    server->on_drained = NULL;
    if (on_drained != NULL) {
        on_drained(server->on_drained_arg, server->cut);
    }
}

static void cancel_timer(struct server *server, uint64_t *timer)
{
    if (*timer != 0) {
        reactor_cancel_timer(server->service.reactor, *timer);
        *timer = 0;
    }
}

void server_forget_drain(struct server *server)
{
    cancel_timer(server, &server->drain_timer);
    cancel_timer(server, &server->grace_timer);
    cancel_timer(server, &server->ending_timer);
}

/* The memory of the last connection may still be known to a task: those run before this one. */
void server_end_drain(struct server *server)
{
    if (!server->service.is_draining || server->pool.conns != NULL || server->adopted_count > 0) {
        return;
    }
    server_forget_drain(server);
    if (server->on_drained != NULL && reactor_defer(server->service.reactor, report_drained, server) < 0) {
        report_drained(server->service.reactor, server);
    }
}

/* The deadline. */

/* Whether a close takes nothing away from the client: it has its response, or has sent nothing. */
static bool has_nothing_to_lose(const struct conn *conn)
{
    return conn->state == CONN_LINGERING ||
           (conn_is_idle(conn) && !conn->reads_next && sys_unread_bytes(conn->transport.fd) <= 0);
}

void server_cut(struct server *server)
{
    while (server->pool.conns != NULL) {
        struct conn *conn = server->pool.conns;
        server->cut += has_nothing_to_lose(conn) ? 0 : 1;
        conn->end = OUTCOME_STOPPED;
        conn_close(conn);
    }
}

/* What connections that are cut were doing, and how many of them. */
struct cut_kind {
    const char *doing;
    unsigned count;
};

static size_t count_kinds(const struct server *server, struct cut_kind kinds[CUT_KINDS_MAX])
{
    size_t used = 0;
    for (const struct conn *conn = server->pool.conns; conn != NULL; conn = conn->next) {
        const char *doing = conn_doing(conn);
        size_t i = 0;
        while (i < used && strcmp(kinds[i].doing, doing) != 0) {
            i++;
        }
        if (has_nothing_to_lose(conn) || i == CUT_KINDS_MAX) {
            continue;
        }
        if (i == used) {
            kinds[used++] = (struct cut_kind){.doing = doing};
        }
        kinds[i].count++;
    }
    return used;
}

/* "the stop cuts connections: 2 while sending the response, 1 while a handler was at work". */
static void say_cut(const struct server *server, const char *why)
{
    struct cut_kind kinds[CUT_KINDS_MAX];
    char line[CUT_LINE_MAX];
    size_t len = 0;
    size_t used = count_kinds(server, kinds);
    line[0] = '\0';
    for (size_t i = 0; i < used && len < sizeof line; i++) {
        int put = snprintf(line + len, sizeof line - len, "%s%u %s", i == 0 ? "" : ", ", kinds[i].count,
                           kinds[i].doing);
        len += put > 0 ? (size_t)put : 0;
    }
    if (used > 0) {
        log_write(server->service.log, LOG_WARN, "%s, connections are cut: %s", why, line);
    }
}

/* Only the host itself is connected, and gives no time: it needs no line about that. */
static void on_drain_at_once(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct server *server = arg;
    server->drain_timer = 0;
    server_cut(server);
}

static void on_drain_deadline(struct reactor *reactor, uint64_t timer, void *arg)
{
    say_cut(arg, "the time for stopping (drain_timeout) is over");
    on_drain_at_once(reactor, timer, arg);
}

/* The host has no time, after a second signal perhaps. */
static void on_drain_without_time(struct reactor *reactor, uint64_t timer, void *arg)
{
    say_cut(arg, "the server stops at once");
    on_drain_at_once(reactor, timer, arg);
}

/* The grace. */

static void begin_spell(struct server *server)
{
    server->pool.drain_spell_ns = sys_now_ns() + DRAIN_SPELL_NS;
}

static void end_grace(struct server *server)
{
    server->service.ends_idle = true;
    begin_spell(server);
    for (struct conn *conn = server->pool.conns, *next; conn != NULL; conn = next) {
        next = conn->next;
        conn_retire(conn);
    }
}

static void on_grace_over(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct server *server = arg;
    server->grace_timer = 0;
    end_grace(server);
}

/* The beginning. */

void server_announce_stop(struct server *server)
{
    service_note_stop(&server->service);
}

void server_announce_replacement(struct server *server)
{
    server->service.is_replaced = true;
}

bool server_is_stopping(const struct server *server)
{
    return server->service.is_stopping && !server->service.is_replaced;
}

static void begin_drain(struct server *server, uint32_t drain_ms)
{
    struct service *service = &server->service;
    uint64_t grace_ms = service->site->limits.drain_grace_ms;
    grace_ms = grace_ms < drain_ms ? grace_ms : drain_ms;
    service_note_stop(service);
    service->is_draining = true;
    cancel_timer(server, &server->ending_timer); /* its connections get the grace of the others */
    begin_spell(server);
    for (struct conn *conn = server->pool.conns, *next; conn != NULL; conn = next) {
        next = conn->next;
        conn_drain(conn);
    }
    for (unsigned i = 0; i < server->listener_count; i++) {
        net_listener_finish(&server->listeners[i]);
    }
    if (grace_ms > 0) {
        server->grace_timer = reactor_set_timeout(service->reactor, (uint32_t)grace_ms, on_grace_over, server);
    }
    if (server->grace_timer == 0) {
        end_grace(server);
    }
}

void server_drain(struct server *server, uint32_t drain_ms, void (*on_drained)(void *arg, unsigned cut), void *arg)
{
    bool has_deadline = drain_ms != SERVER_DRAIN_NEVER;
    server->on_drained = NULL; /* never before this returns */
    cancel_timer(server, &server->drain_timer);
    server->service.has_drain_deadline = has_deadline;
    if (!server->service.is_draining) {
        begin_drain(server, drain_ms);
    }
    bool is_private = drain_ms == 0 && server->listener_count == 0;
    if (has_deadline) {
        server->drain_timer = reactor_set_timeout(server->service.reactor, drain_ms,
                                                  is_private      ? on_drain_at_once
                                                  : drain_ms == 0 ? on_drain_without_time
                                                                  : on_drain_deadline,
                                                  server);
    }
    server->on_drained = on_drained;
    server->on_drained_arg = arg;
    if (has_deadline && server->drain_timer == 0) {
        server_cut(server); /* without memory for a deadline there would be none */
    }
    server_end_drain(server);
}
