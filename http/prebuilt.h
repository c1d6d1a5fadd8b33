#ifndef EVSERVE_HTTP_PREBUILT_H
#define EVSERVE_HTTP_PREBUILT_H

/* Responses of the file cache whose HTTP/1.1 head was written beforehand: a head without Connection and with a blank
 * Date, and perhaps the content right behind it. To send one takes a copy and the current date. */

#include <stdbool.h>
#include <stdint.h>

struct prebuilt {
    char *bytes;           /* head, then content */
    uint32_t head_len;     /* with the empty line */
    uint32_t content_len;  /* of the content that follows in bytes */
    uint32_t date_offset;  /* of the Date value in bytes */
    uint32_t lines_offset; /* of the field lines that prebuilt_init() was given */
    uint32_t lines_len;    /* bytes of them */
    int status;
    const char *type; /* of what it is about, borrowed; of a 304, too, which does not show it. NULL: unknown */
    bool has_hsts;    /* Strict-Transport-Security is among these lines */
};

enum { PREBUILT_COPY_MAX = 16384 }; /* content up to here is queued with its head; more is sent from where it is */

/* Write a head of status with type (or NULL), more field lines (each with CRLF, or ""), and, unless the status has no
 * content, Content-Length, leaving content_room bytes for content behind it; content_len is 0 until the caller has
 * written the content. Returns 0 or -ENOMEM. */
int prebuilt_init(struct prebuilt *prebuilt, int status, const char *type, const char *fields, uint64_t content_length,
                  uint32_t content_room);
void prebuilt_done(struct prebuilt *prebuilt); /* one of zeros is allowed */

#endif
