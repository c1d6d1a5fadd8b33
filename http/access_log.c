/* Happy path: begin_line() finds room in the buffer, access_line_write() fills it. The first line in an empty buffer
 * sets a timer, which writes the buffer; a full one is written at once.
 *
 * Failure modes: what the file does not take stays in the buffer, and is tried again by the timer alone, so that a pipe
 * that nobody reads costs a system call a second. While the buffer is full, lines are counted as lost. Without memory
 * for a timer a line is written at once. */

#include "http/access_log.h"

#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/access_combined.h"
#include "http/access_file.h"
#include "http/access_format.h"
#include "http/access_line.h"
#include "http/exchange.h"
#include "http/service.h"
#include "http/vhost.h"

#include <errno.h>
#include <string.h>

enum { RETRY_FIRST_MS = 10 }; /* after which a reader that has taken something gets more */

struct access_log {
    struct access_buffer buffer;  /* first: access_log_usual() knows this one */
    struct access_file *file;     /* a reference; NULL: off */
    struct access_format *format; /* likewise */
    struct reactor *reactor;      /* borrowed */
    uint64_t timer;               /* set while the buffer has lines; 0 else */
    uint64_t lost;                /* lines since the last look at the file */
    uint32_t line_max;            /* bytes of a line */
    uint32_t retry_ms;            /* after which a write that has left something behind is tried again; 0: none has */
};

int access_log_create(struct access_log **access, struct reactor *reactor)
{
    struct access_log *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->reactor = reactor;
    made->buffer.write_usual = access_combined_never;
    *access = made;
    return 0;
}

/* Writing. */

static void report_lost(struct access_log *access, int64_t now_ms)
{
    if (access->lost > 0) {
        access_file_lose(access->file, access->lost, now_ms);
        access->lost = 0;
    }
}

void access_log_flush(struct access_log *access)
{
    int64_t now_ms = reactor_now_ms(access->reactor);
    if (access->file == NULL) {
        return;
    }
    report_lost(access, now_ms);
    if (access->buffer.used > 0) {
        size_t done = access_file_write(access->file, access->buffer.block, access->buffer.used, now_ms);
        access->buffer.used -= (uint32_t)done;
        memmove(access->buffer.block, access->buffer.block + done, access->buffer.used);
    }
}

static void on_write_timer(struct reactor *reactor, uint64_t timer, void *arg);

static void set_write_timer(struct access_log *access, uint32_t delay_ms)
{
    if (access->timer != 0) {
        (void)reactor_cancel_timer(access->reactor, access->timer);
    }
    access->timer = reactor_set_timeout(access->reactor, delay_ms, on_write_timer, access);
}

/* Write the buffer. A reader that takes some of it is given the rest soon, one that takes nothing is left alone for
 * longer and longer. */
static void write_lines(struct access_log *access)
{
    uint32_t before = access->buffer.used;
    access_log_flush(access);
    if (access->buffer.used == 0) {
        access->retry_ms = 0;
        return;
    }
    uint32_t doubled = 2 * access->retry_ms;
    access->retry_ms = access->buffer.used < before || doubled == 0 ? (uint32_t)RETRY_FIRST_MS
                       : doubled < ACCESS_WRITE_MS                  ? doubled
                                                                    : (uint32_t)ACCESS_WRITE_MS;
    set_write_timer(access, access->retry_ms);
}

static void on_write_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct access_log *access = arg;
    access->timer = 0;
    write_lines(access);
}

/* Lines that the file never took are lost with it. */
static void drop_lines(struct access_log *access)
{
    for (size_t i = 0; i < access->buffer.used; i++) {
        access->lost += access->buffer.block[i] == '\n';
    }
    report_lost(access, reactor_now_ms(access->reactor));
    access->buffer.used = 0;
    access->retry_ms = 0;
    if (access->timer != 0) {
        (void)reactor_cancel_timer(access->reactor, access->timer);
        access->timer = 0;
    }
}

int access_log_change(struct access_log *access, struct access_file *file, struct access_format *format)
{
    if (file != NULL && access->buffer.block == NULL) {
        access->buffer.block = mem_alloc(ACCESS_BLOCK_BYTES + ACCESS_LINE_MAX + ACCESS_LINE_SLACK);
        if (access->buffer.block == NULL) {
            return -ENOMEM;
        }
    }
    if (access->file != file) {
        access_log_flush(access);
        if (access->file != NULL) {
            drop_lines(access);
        }
    }
    struct access_file *old_file = access->file;
    struct access_format *old_format = access->format;
    access->file = access_file_ref(file);
    access->format = access_format_ref(format);
    access->buffer.write_usual = file != NULL && format->is_combined ? access_combined_best() : access_combined_never;
    access->buffer.is_timed = format != NULL && format->is_timed;
    access->line_max = file == NULL ? 0 : (uint32_t)access_file_line_max(file);
    access_file_put(old_file);
    access_format_put(old_format);
    if (file == NULL) {
        mem_free(access->buffer.block);
        access->buffer.block = NULL;
    }
    return 0;
}

void access_log_destroy(struct access_log *access)
{
    if (access != NULL) {
        (void)access_log_change(access, NULL, NULL);
        mem_free(access);
    }
}

bool access_log_is_on(const struct access_log *access)
{
    return access->file != NULL;
}

/* Lines. */

/* The buffer has a new line behind used. */
static void end_line(struct access_log *access, const char *end)
{
    bool was_empty = access->buffer.used == 0;
    access->buffer.used = (uint32_t)(end - access->buffer.block);
    if (was_empty && access->timer == 0) {
        set_write_timer(access, ACCESS_WRITE_MS);
    }
    if (access->timer == 0 || (access->buffer.used >= ACCESS_BLOCK_BYTES && access->retry_ms == 0)) {
        write_lines(access);
    }
}

static void write_entry(struct access_log *access, struct access_entry *entry)
{
    bool is_tried_later = access->retry_ms > 0 && access->timer != 0;
    if (access->buffer.used >= ACCESS_BLOCK_BYTES && !is_tried_later) { /* access_log_usual() has filled it */
        write_lines(access);
    }
    if (access->buffer.used >= ACCESS_BLOCK_BYTES) { /* stuck */
        access->lost++;
        return;
    }
    entry->now_s = sys_wall_time_s();
    end_line(access, access_line_write(access->format, entry, &access->buffer.memo,
                                       access->buffer.block + access->buffer.used, access->line_max));
}

/* A request that was in flight when a reload brought a format with times has no begin. */
static int64_t duration_of(const struct exchange *exchange)
{
    return exchange->began_ns == 0 ? 0 : (sys_now_ns() - exchange->began_ns) / 1000;
}

void access_log_exchange(struct exchange *exchange, enum outcome_end end, uint64_t bytes, uint64_t body_bytes,
                         const char *raw, size_t raw_len)
{
    struct access_log *own = exchange->vhost->access;
    struct access_log *access = own == NULL ? exchange->service->access : own;
    const struct route *route = exchange_route(exchange);
    exchange->dues.is_logged = LOGGED_NOT;
    if (access->file == NULL || exchange->is_unlogged) {
        return;
    }
    bool has_head = exchange->head_data != NULL;
    struct access_entry entry = {
        .exchange = has_head ? exchange : NULL,
        .peer = exchange_client(exchange),
        .raw = raw,
        .raw_len = raw_len,
        .route = route == NULL ? NULL : route->pattern,
        .status = exchange->status == 0 ? outcome_status_without(end) : exchange->status,
        .is_complete = end == OUTCOME_COMPLETE,
        .bytes = bytes,
        .body_bytes = bytes < exchange->head_bytes ? 0 : bytes - exchange->head_bytes,
        .request_bytes = has_head ? exchange->head.len + body_bytes : raw_len,
        .duration_us = access->format->is_timed ? duration_of(exchange) : 0,
    };
    write_entry(access, &entry);
}

void access_log_turned_away(struct service *service, const struct peer *newcomer, int status, uint64_t bytes,
                            const char *raw, size_t raw_len, bool is_complete)
{
    struct access_entry entry = {.peer = newcomer,
                                 .raw = raw,
                                 .raw_len = raw_len,
                                 .request_bytes = raw_len,
                                 .status = status,
                                 .bytes = bytes,
                                 .is_complete = is_complete};
    if (service->access->file != NULL) {
        write_entry(service->access, &entry);
    }
}
