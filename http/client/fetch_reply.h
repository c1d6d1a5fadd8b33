#ifndef EVSERVE_HTTP_FETCH_REPLY_H
#define EVSERVE_HTTP_FETCH_REPLY_H

/* What a server sends in response to one request, from the bytes of its connection: interim responses are passed over,
 * the head is kept, the content handed out piece by piece. No I/O; it allocates memory for the head alone. */

#include "http/client/fetch_body.h"
#include "http/client/fetch_head.h"
#include "http/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fetch_field;

enum fetch_reply_verdict {
    REPLY_MORE,      /* all bytes are taken: more must come */
    REPLY_HEAD,      /* the head is complete, and fields are set. Call again, even if no byte is behind it */
    REPLY_CONTENT,   /* a piece of content. Call again, the same */
    REPLY_DONE,      /* the response ended at *used; *piece is its last piece, which may be empty */
    REPLY_MALFORMED, /* why says how */
    REPLY_TOO_LARGE, /* the head is; why says how */
    REPLY_CUT,       /* the connection ended before the response: why says where */
    REPLY_NO_MEMORY, /* for the head */
};

struct fetch_reply {
    struct fetch_body body;     /* behind the head */
    struct fetch_field *fields; /* head.field_count of them, from REPLY_HEAD on */
    const char *why;            /* of a failure: one static phrase */
    char *bytes;                /* of the head, or what has come of it; capacity bytes, twice max_head at most */
    uint32_t len, capacity;
    uint32_t max_head; /* what is left of it after interim responses */
    uint8_t state;     /* enum reply_state */
    uint8_t failure;   /* enum fetch_reply_verdict, of a failure */
    bool is_to_head;   /* it responds to HEAD */
    bool has_bytes;    /* something came */
    bool is_followed;  /* the response ended, and bytes came behind it */

    /* Large, and not zeroed for each response. */
    struct fetch_head head; /* of the response */
    struct limits limits;   /* of trailers, behind chunks */
};

/* Start a response. A head with more than max_head bytes, interim responses before it included, or with more than
 * FETCH_RESPONSE_FIELDS_MAX fields fails. */
void fetch_reply_init(struct fetch_reply *reply, size_t max_head, bool is_to_head);

/* Free the head. A zeroed reply is allowed. */
void fetch_reply_done(struct fetch_reply *reply);

/* Take bytes that came: *used of them are taken; *piece is content among those (offset counts from data), for
 * REPLY_CONTENT and REPLY_DONE. A failure is final. */
enum fetch_reply_verdict fetch_reply_take(struct fetch_reply *reply, const char *data, size_t len, size_t *used,
                                          struct slice *piece);

/* The server has closed the connection: REPLY_DONE or REPLY_CUT. */
enum fetch_reply_verdict fetch_reply_end(struct fetch_reply *reply);

/* The value of the first field of that name, or NULL. After REPLY_HEAD. */
const struct fetch_field *fetch_reply_find(const struct fetch_reply *reply, const char *name);

/* Whether the connection may be used for another request: the response is complete, nothing came behind it, and neither
 * side has said that it closes. */
bool fetch_reply_keeps(const struct fetch_reply *reply);

#endif
