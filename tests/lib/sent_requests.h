#ifndef EVSERVE_TESTS_SENT_REQUESTS_H
#define EVSERVE_TESTS_SENT_REQUESTS_H

/* What a client has sent over one connection, as the parsers read it when it lies there whole: the oracle for how many
 * answers there may be, and which of them are answers to HEAD. */

#include "http/h1/chunked.h"
#include "http/h1/parser.h"
#include "http/h1/parser_scalar.h"
#include "http/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { SENT_REQUESTS_MAX = 400, SENT_FIELDS_MAX = 100 };

struct sent_requests {
    size_t whole;                    /* requests whose head and body have come */
    size_t begun;                    /* those, and one more that is refused or has not come to its end */
    size_t expecting;                /* of begun, those that expect 100 */
    bool is_refused;                 /* the last of begun has a head or a body that is malformed */
    bool is_last;                    /* the last one said that there is none after it, or is refused */
    bool is_head[SENT_REQUESTS_MAX]; /* of begun; false for a head that is refused: its method is not known for sure */
};

/* Take a body from *data. Returns whether it came to its end. */
static inline bool sent_body(struct sent_requests *sent, const struct head *head, const struct limits *limits,
                             const char **data, size_t *len)
{
    struct chunk_parser chunk;
    if (!head->chunked) {
        bool is_whole = head->content_length <= *len;
        size_t taken = is_whole ? (size_t)head->content_length : *len;
        *data += taken;
        *len -= taken;
        return is_whole;
    }
    chunk_parser_reset(&chunk);
    while (*len > 0) {
        size_t used = 0;
        struct slice piece;
        enum parse_verdict verdict = parse_chunked(&chunk, limits, *data, *len, &used, &piece);
        if (verdict == PARSE_ERROR) {
            sent->is_refused = true;
            return false;
        }
        *data += used;
        *len -= used;
        if (verdict == PARSE_COMPLETE) {
            return true;
        }
    }
    return false;
}

static inline void sent_requests_read(struct sent_requests *sent, const struct limits *limits, const char *data,
                                      size_t len)
{
    static struct field fields[SENT_FIELDS_MAX];
    memset(sent, 0, sizeof *sent);
    while (len > 0 && !sent->is_last && sent->begun < SENT_REQUESTS_MAX) {
        struct parser parser;
        struct head head = {.fields = fields, .field_capacity = SENT_FIELDS_MAX};
        parser_reset(&parser);
        enum parse_verdict verdict = parse_head_scalar(&parser, &head, limits, data, len);
        if (verdict != PARSE_COMPLETE) {
            sent->is_refused = sent->is_last = verdict == PARSE_ERROR;
            sent->begun += verdict == PARSE_ERROR || parser_has_begun(&parser) ? 1 : 0;
            return;
        }
        sent->is_head[sent->begun++] = head.method == METHOD_HEAD;
        sent->expecting += head.expect_continue ? 1 : 0;
        data += head.len;
        len -= head.len;
        if (!sent_body(sent, &head, limits, &data, &len)) {
            sent->is_last = sent->is_refused;
            return;
        }
        sent->whole++;
        sent->is_last = !head.keep_alive;
    }
}

#endif
