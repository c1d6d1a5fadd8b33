#ifndef EVSERVE_HTTP_ACCESS_LOG_H
#define EVSERVE_HTTP_ACCESS_LOG_H

/* The access log of one thread: a line for each response, whoever wrote it, kept in a buffer that is written once a
 * second, or when 64 KiB are full. A service without one pays for a branch. Everything here belongs to the thread of
 * its reactor.
 *
 * When a line is due: an exchange that is_logged writes its line when its response is handed to the kernel, or, with
 * pipelined requests behind it, when it stands in the queue. So its head is still there, nothing is copied, and
 * responses to pipelined requests still leave with one write. */

#include "http/access_combined.h"
#include "http/outcome.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access_file;
struct access_format;
struct access_log;
struct exchange;
struct peer;
struct reactor;
struct service;

enum {
    ACCESS_WRITE_MS = 1000, /* how long a line may wait */
};

/* Make the log of one thread, without a file: nothing is logged until access_log_change(). reactor is borrowed.
 * Returns 0 or -ENOMEM. */
int access_log_create(struct access_log **access, struct reactor *reactor);

/* Write what waits, and log to file in format from now on, both of which it takes a reference of; NULL for both: no
 * longer. Returns 0, or -ENOMEM with everything as it was. */
int access_log_change(struct access_log *access, struct access_file *file, struct access_format *format);

/* Write what waits, as far as there is room at once. */
void access_log_flush(struct access_log *access);

/* Write what waits, and free it. NULL is allowed. */
void access_log_destroy(struct access_log *access);

/* Whether exchanges are to be logged. */
bool access_log_is_on(const struct access_log *access);

/* Whether the begin of exchanges is to be timed. */
static inline bool access_log_is_timed(const struct access_log *access)
{
    return ((const struct access_buffer *)(const void *)access)->is_timed;
}

/* A response is complete: write its line, if it is one as nearly all are (http/access_combined.h). bytes: of the
 * response. Returns whether the line was written; if not, call access_log_exchange(). */
static inline bool access_log_usual(struct access_log *access, struct exchange *exchange, uint64_t bytes)
{
    struct access_buffer *buffer = (struct access_buffer *)(void *)access;
    return buffer->write_usual(buffer, exchange, bytes);
}

/* The exchange is over: write its line, to the log of its host if that has one, unless its route wants none. bytes: of its response, head and framing included,
 * that were handed to the kernel, or are queued for it with OUTCOME_COMPLETE. body_bytes: of the request's body, that
 * have come. raw: what has come of a head that was never complete, raw_len bytes; unused otherwise. */
void access_log_exchange(struct exchange *exchange, enum outcome_end end, uint64_t bytes, uint64_t body_bytes,
                         const char *raw, size_t raw_len);

/* A client was turned away with status, and bytes of a response, before it had a connection. newcomer knows its
 * address, or is NULL; raw is what it has sent. */
void access_log_turned_away(struct service *service, const struct peer *newcomer, int status, uint64_t bytes,
                            const char *raw, size_t raw_len, bool is_complete);

#endif
