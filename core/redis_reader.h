#ifndef EVSERVE_CORE_REDIS_READER_H
#define EVSERVE_CORE_REDIS_READER_H

/* What a Redis server sends (RESP, version 2), read as it comes by hiredis, which is loaded at first use. Where it is
 * not installed, or in a build without EVSERVE_HAS_HIREDIS, it is not there. A reader belongs to one thread. */

#include <stdbool.h>
#include <stddef.h>

struct redis_reader;

enum { REDIS_REPLY_BYTES_MAX = 32 << 20 }; /* of a reply as it is sent */

enum redis_kind { REDIS_TEXT, REDIS_LIST, REDIS_NUMBER, REDIS_NOTHING, REDIS_STATUS, REDIS_ERROR };

struct redis_reply {
    enum redis_kind kind;
    long long number; /* of REDIS_NUMBER */
    const char *text; /* of REDIS_TEXT, REDIS_STATUS and REDIS_ERROR: len bytes, and a NUL behind them */
    size_t len;
    size_t count;      /* of REDIS_LIST: items of redis_reply_item() */
    const void *items; /* of them, as hiredis has them */
};

/* Whether replies can be read. The first call loads hiredis: it has to come before the sandbox, where nothing is loaded
 * any more. Any thread. */
bool redis_reader_is_there(void);

/* Make a reader. Returns 0, -ENOMEM, or -ENOSYS if hiredis is not there. redis_reader_destroy() takes NULL. */
int redis_reader_create(struct redis_reader **reader);
void redis_reader_destroy(struct redis_reader *reader);

/* Take bytes that the server has sent, all of them. Returns 0; -EMSGSIZE if a reply would have more than
 * REDIS_REPLY_BYTES_MAX; or -ENOMEM. After a failure, here or in redis_reader_next(), the reader is only to be
 * destroyed. */
int redis_reader_feed(struct redis_reader *reader, const char *data, size_t len);

/* The next reply, valid until the next call with this reader. Returns 1, 0 if none is there as a whole, -EPROTO for
 * what is not RESP, or -ENOMEM. */
int redis_reader_next(struct redis_reader *reader, struct redis_reply *reply);

/* The n-th item of a list: n is less than its count. Valid as long as the list. */
struct redis_reply redis_reply_item(const struct redis_reply *list, size_t n);

/* Whether it is this text, of whatever kind with a text. */
bool redis_reply_is(const struct redis_reply *reply, const char *text);

#endif
