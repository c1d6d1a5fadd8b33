#ifndef EVSERVE_HTTP_ACCESS_LINE_H
#define EVSERVE_HTTP_ACCESS_LINE_H

/* One line of the access log, written by the parts of a format. Nothing here allocates, makes a system call (except
 * when the second has changed) or fails: what does not fit into the room of a line is left out. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access_format;
struct access_memo;
struct exchange;
struct peer;

enum {
    ACCESS_LINE_MAX = 32768, /* bytes of a line with its newline */
    ACCESS_LINE_SLACK = 64,  /* bytes behind a line that may be written to */
};

/* What a line is about. */
struct access_entry {
    const struct exchange *exchange; /* NULL if no head has arrived */
    const struct peer *peer;         /* the client, or NULL if it is not known */
    const char *raw;                 /* without an exchange: what has come of the request, raw_len bytes, or NULL */
    size_t raw_len;                  /* bytes of raw */
    const char *route;               /* pattern of the route that responded, or NULL */
    int status;                      /* of the response; 0 if there is none */
    bool is_complete;                /* the response is */
    uint64_t bytes;                  /* of the response, head and framing included */
    uint64_t body_bytes;             /* without its head */
    uint64_t request_bytes;          /* of the request that have come, head and body */
    int64_t duration_us;             /* from the first byte of the request to the last one of the response */
    int64_t now_s;                   /* the time, in seconds since the epoch */
};

/* Write a line with its newline at at, where max bytes are free, 4096 to ACCESS_LINE_MAX, and ACCESS_LINE_SLACK behind
 * them. Returns its end. */
char *access_line_write(const struct access_format *format, const struct access_entry *entry, struct access_memo *memo,
                        char *at, size_t max);

#endif
