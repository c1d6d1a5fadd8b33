#ifndef EVSERVE_LUA_RECEIVE_PATTERN_H
#define EVSERVE_LUA_RECEIVE_PATTERN_H

/* What a script waits for on a socket, and how it is cut out of the bytes that have come so far: so many bytes, a line,
 * everything up to a delimiter. This knows neither Lua nor sockets, and allocates nothing. However the bytes arrive,
 * each is looked at once, so the time is linear in their number. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RECEIVE_DELIMITER_MAX = 65536 }; /* bytes of a delimiter */

enum receive_kind {
    RECEIVE_LINE,  /* up to a newline, which is dropped; so are all carriage returns (receive_drop_returns()) */
    RECEIVE_COUNT, /* so many bytes, at least 1 */
    RECEIVE_ANY,   /* whatever there is, at most so many bytes */
    RECEIVE_ALL,   /* up to the end of the connection */
    RECEIVE_UNTIL, /* up to a delimiter */
};

/* What receive_look() finds. */
enum receive_verdict {
    RECEIVE_MORE,     /* more bytes are needed */
    RECEIVE_DONE,     /* the result is there */
    RECEIVE_TOO_LONG, /* it would have more than pattern.most bytes */
};

struct receive_delimiter {
    const char *text;         /* borrowed: len bytes */
    const uint32_t *fallback; /* borrowed: what receive_prepare() has filled in */
    size_t len;               /* 1 to RECEIVE_DELIMITER_MAX */
    bool is_inclusive;        /* the result ends with the delimiter */
};

/* Zeroed, then filled in. scanned and matched are for receive_look(): set both to 0 when the bytes it has seen are no
 * longer the first of the buffer. */
struct receive_pattern {
    enum receive_kind kind;
    size_t count;                              /* bytes of COUNT and ANY; of UNTIL: of a piece, 0: not in pieces */
    size_t most;                               /* bytes of a result of LINE, ALL and UNTIL */
    const struct receive_delimiter *delimiter; /* of UNTIL */
    size_t scanned;                            /* bytes that have been looked at */
    size_t matched;                            /* how much of the delimiter the last of them are */
};

/* The result: the first len bytes. Then drop the first taken. */
struct receive_cut {
    size_t len;
    size_t taken;
    bool is_end; /* of UNTIL: the delimiter has come. In pieces, the last one; it is empty if nothing was left of it */
};

/* Fill the len values of fallback, for a delimiter of these bytes. */
void receive_prepare(const char *text, size_t len, uint32_t *fallback);

/* Look at the bytes that are there: those of the last call with this pattern, unless they were dropped by its cut, and
 * what has come since. cut is filled in with RECEIVE_DONE. */
enum receive_verdict receive_look(struct receive_pattern *pattern, const char *bytes, size_t len,
                                  struct receive_cut *cut);

/* No more bytes will come (is_end), or not in time. receive_look() has seen the len bytes and said RECEIVE_MORE. cut is
 * what the script gets of them: all, except that the beginning of a delimiter stays if the rest may still come. */
void receive_give_up(struct receive_pattern *pattern, size_t len, bool is_end, struct receive_cut *cut);

/* Move the carriage returns of a line to its end, in place. Returns the number of bytes before them. */
size_t receive_drop_returns(char *line, size_t len);

#endif
